package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ostraca/ops/dataset"
)

// TestDemo runs the whole of it: a node dies and nobody notices, and what is forgotten is gone.
func TestDemo(t *testing.T) {
	v := object(t, "demo", "--exit", "--corpus", beginning(t, 24))
	need(t, v, "documents", "queries", "ndcg@10", "failed_during_kill", "forgotten_found", "seconds", "writes_during_kill", "queries_during_kill",
		"longest_write_gap_ms", "longest_query_gap_ms", "restart_s", "answers")
	if v["ndcg@10"].(float64) < .95 || len(v["answers"].([]any)) != 3 {
		t.Errorf("%v", v)
	}
	if v["documents"] != 24.0 || v["queries"].(float64) < 100 {
		t.Errorf("%v documents, %v queries", v["documents"], v["queries"])
	}
	for name, want := range map[string]any{"failed_during_kill": 0.0, "acknowledged_writes_lost": 0.0, "forgotten_found": 0.0, "replicas_asked": 3.0, "digest_as_if_never_inserted": true} {
		if v[name] != want {
			t.Errorf("%s is %v, want %v", name, v[name], want)
		}
	}
	if v["writes_during_kill"].(float64) < 1 || v["queries_during_kill"].(float64) < 1 {
		t.Errorf("nothing happened during the kill: %v", v)
	}
}

// TestDemoInterrupted: Ctrl-C leaves neither processes nor files.
func TestDemoInterrupted(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var out, err bytes.Buffer
	code := run(ctx, []string{"demo", "--exit", "--corpus", xquad}, &out, &err)
	if code == 0 || strings.Contains(out.String(), "Measured") {
		t.Errorf("exit %d: %s %s", code, out.String(), err.String())
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "*")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

// beginning copies so many documents of the corpus, and what is asked of them: .ci/run runs the demo over all.
func beginning(t *testing.T, documents int) string {
	t.Helper()
	dir, held := t.TempDir(), map[string]bool{}
	copyLines := func(name string, keep func(line string) bool) {
		text, err := os.ReadFile(filepath.Join(xquad, name))
		if err != nil {
			t.Fatal(err)
		}
		var kept []string
		for line := range strings.Lines(string(text)) {
			if keep(line) {
				kept = append(kept, line)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Join(kept, "")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for d, err := range dataset.Documents(xquad) {
		if held[d.ID] = true; err != nil {
			t.Fatal(err)
		} else if len(held) == documents {
			break
		}
	}
	n := 0
	copyLines("corpus.jsonl", func(string) bool { n++; return n <= documents })
	copyLines("queries.jsonl", func(string) bool { return true })
	first := true
	copyLines("qrels.tsv", func(line string) bool {
		defer func() { first = false }()
		return first || held[strings.Split(line, "\t")[1]] // the head, and what is of these documents
	})
	return dir
}
