// Command ostraca is the memory's client and workbench. It loads, asks and looks after a live cluster through one of its routers; and it
// encodes, searches, evaluates and measures in its own process, over one index in memory.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"ostraca/ops"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// Exit codes, beside 0.
const (
	exitFailed      = 1
	exitInterrupted = 130
)

// version is the release that CHANGELOG.md names.
const version = ops.Version

// run is the whole command: tests call it.
func run(ctx context.Context, args []string, out, err io.Writer) int {
	sink := &sink{w: out}
	a := &app{out: sink, err: err, terminal: isTerminal(out), model: inside().Name}
	root := newRoot(a)
	root.SetArgs(args)
	root.SetOut(sink)
	root.SetErr(err)
	e := root.ExecuteContext(ctx)
	if e == nil {
		e = sink.err
	}
	if e == nil {
		return 0
	}
	code := exitFailed
	if errors.Is(e, context.Canceled) {
		e, code = errors.New("interrupted"), exitInterrupted
	}
	fmt.Fprintf(err, "ostraca: %v\n", e)
	if a.json || slices.Contains(args, "--json") { // though the flags may be what is wrong
		_ = a.printJSON(map[string]string{"error": e.Error()}) // the exit code tells as well
	}
	return code
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:     "ostraca",
		Short:   "Token-level retrieval with explained answers",
		Long:    "Ostraca stores documents as token vectors and finds them by late interaction (MaxSim):\nevery token of a question looks for its best match in every document, and the answer shows which.",
		Version: version,
		PersistentPreRunE: func(*cobra.Command, []string) error { // of all verbs, also those that only pass by them
			_, err := a.set()
			return err
		},
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	flags := root.PersistentFlags()
	flags.BoolVar(&a.json, "json", false, "print one JSON object on standard output; of a failure {\"error\": ...}")
	flags.StringVar(&a.kernel, "kernel", "", "force a kernel variant: go, avx2, avx512vnni, avx512amx or neon (default: the fastest this CPU has)")
	flags.IntVar(&a.threads, "threads", 0, "threads to encode and search with (default: all)")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w (%s --help lists the flags)", err, c.CommandPath())
	})
	root.AddCommand(newDemo(a), newEncode(a), newSearch(a), newEval(a), newBench(a))
	root.AddCommand(newDaemons()...)
	root.AddCommand(newLoad(a), newGet(a), newList(a), newCount(a), newForget(a), newRerank(a), newExport(a), newCollection(a), newCluster(a))
	return root
}
