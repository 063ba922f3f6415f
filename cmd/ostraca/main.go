// Command ostraca is the memory's client and workbench: it encodes, searches, evaluates and measures. In this release
// everything runs in the command's own process, over one index in memory; the verbs stay the same when a cluster answers.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// Exit codes, beside 0.
const (
	exitFailed      = 1
	exitInterrupted = 130
)

// run is the whole command: tests call it.
func run(ctx context.Context, args []string, out, err io.Writer) int {
	root := newRoot(&app{out: out, err: err})
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(err)
	switch e := root.ExecuteContext(ctx); {
	case e == nil:
		return 0
	case errors.Is(e, context.Canceled):
		fmt.Fprintln(err, "ostraca: interrupted; nothing half-done was left behind")
		return exitInterrupted
	default:
		fmt.Fprintf(err, "ostraca: %v\n", e)
		return exitFailed
	}
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:           "ostraca",
		Short:         "Token-level retrieval with explained answers",
		Long:          "Ostraca stores documents as token vectors and finds them by late interaction (MaxSim):\nevery token of a question looks for its best match in every document, and the answer shows which.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	flags := root.PersistentFlags()
	flags.BoolVar(&a.json, "json", false, "print one JSON object on standard output")
	flags.StringVar(&a.kernel, "kernel", "", "force a kernel variant: go, avx2 or avx512vnni (default: the fastest this CPU has)")
	flags.IntVar(&a.threads, "threads", 0, "threads to encode and search with (default: all)")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newDemo(a), newEncode(a), newSearch(a), newEval(a), newBench(a))
	return root
}
