package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"ostraca/ops/local"
)

var update = flag.Bool("update", false, "write the outputs that the scripts expect anew")

// actAsCommand, in the environment of a child, makes this test binary the command itself: so tests run real processes of it.
const actAsCommand = "OSTRACA_TEST_ACT_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(actAsCommand) != "" {
		main()
		return
	}
	os.Setenv(actAsCommand, "1")
	code := m.Run()
	if err := stopShared(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// shared is the one cluster that all tests of verbs use, each with collections of its own: started by the first that asks.
var shared struct {
	once    sync.Once
	cluster *local.Cluster
	err     error
}

func sharedRouter(t testing.TB) string {
	t.Helper()
	shared.once.Do(func() {
		shared.cluster, shared.err = local.Start(context.Background(), local.Options{Command: []string{os.Args[0]}, Nodes: 1, Shards: 2, Replicas: 1})
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.cluster.Address()
}

func stopShared() error {
	if shared.cluster == nil {
		return nil
	}
	return shared.cluster.Close()
}

// masks are what differs from run to run, and what stands for it in the scripts.
var masks = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`127\.0\.0\.1:[0-9]+`), "ADDRESS"},
	{regexp.MustCompile(`\b[0-9]+(\.[0-9]+)? (s|ms|documents/s|tokens/s)\b`), "N $2"},
	{regexp.MustCompile(`\b(version|index) [0-9]+`), "$1 N"},
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), "HASH"},
	{regexp.MustCompile(`\bencoder [0-9a-f]{12}\b`), "encoder HASH"},
	{regexp.MustCompile(`"(version|index|generation|operation_id|time_ms|epoch)": ?"[^"]*"`), `"$1": "N"`},
	{regexp.MustCompile(`"(seconds|documents_per_s|tokens_per_s|encode_us|search_us|score_us)": ?[0-9.e+-]+`), `"$1": N`},
}

func masked(text string) string {
	for _, m := range masks {
		text = m.what.ReplaceAllString(text, m.with)
	}
	return text
}

// TestScripts runs testdata/scripts: the real command against a cluster. In them `ostraca ...` leaves its masked outputs in the files
// out and err, $R is the router, and $MODELS has small random models.
func TestScripts(t *testing.T) {
	router := sharedRouter(t)
	binary, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	models, err := filepath.Abs("../../retrieval/encoder/testdata/models")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/scripts",
		UpdateScripts: *update,
		Setup: func(e *testscript.Env) error {
			e.Setenv("R", router)
			e.Setenv("MODELS", models)
			e.Setenv(actAsCommand, "1")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ostraca": func(ts *testscript.TestScript, fails bool, args []string) {
				err := ts.Exec(binary, args...)
				if fails == (err == nil) {
					ts.Fatalf("ostraca %s: %v", strings.Join(args, " "), err)
				}
				for file, text := range map[string]string{"out": ts.ReadFile("stdout"), "err": ts.ReadFile("stderr")} {
					ts.Check(os.WriteFile(ts.MkAbs(file), []byte(masked(text)), 0o666))
				}
			},
		},
	})
}
