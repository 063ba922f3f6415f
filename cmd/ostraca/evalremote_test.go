package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// figures are what must not depend on where the corpus lies.
var figures = []string{"ndcg@10", "mrr@10", "recall@100", "success@5", "queries", "documents", "tokens", "tokens_cut", "judged_documents_missing", "query_weights", "texts", "max_tokens"}

func sameFigures(t *testing.T, what string, got, want map[string]any) {
	t.Helper()
	for _, name := range figures {
		if got[name] != want[name] || got[name] == nil {
			t.Errorf("%s: %s is %v, in process %v", what, name, got[name], want[name])
		}
	}
}

// TestEvalCluster: a cluster gives the figures of one process to the last digit: one of its own, a live one, and a collection that is there.
func TestEvalCluster(t *testing.T) {
	router, corpus := sharedRouter(t), small(t)
	for _, flags := range [][]string{nil, {"--no-idf", "--max-tokens", "8", "--query-tokens", "5"}} {
		want := object(t, append([]string{"eval", corpus}, flags...)...)
		got := object(t, append([]string{"eval", corpus, "--router", router}, flags...)...)
		sameFigures(t, "live", got, want)
		if got["shards"] != 2.0 || got["nodes"] != 1.0 || got["search_p50_ms"].(float64) <= 0 || got["load_s"].(float64) <= 0 {
			t.Errorf("live: %v", got)
		}
	}
	want := object(t, "eval", corpus)
	object(t, "load", corpus, "-c", "eval", "--create", "--router", router)
	got := object(t, "eval", corpus, "--router", router, "-c", "eval")
	if got["texts"] != "texts as loaded" || got["collection"] != "eval" || got["width"] != 384.0 || got["load_s"] != nil {
		t.Errorf("loaded already: %v", got)
	}
	got["texts"] = want["texts"]
	sameFigures(t, "loaded already", got, want)
	got = object(t, "eval", corpus, "--shards", "3")
	sameFigures(t, "of its own", got, want)
	if got["shards"] != 3.0 || got["nodes"] != 1.0 || got["kernel"] != want["kernel"] {
		t.Errorf("of its own: %v", got)
	}
	for _, c := range object(t, "collection", "list", "--router", router)["collections"].([]any) {
		if name := c.(map[string]any)["name"].(string); strings.HasPrefix(name, "eval-") {
			t.Errorf("%s was left", name)
		}
	}
}

// TestEvalOwnModel: a model without weights of its own is not said to have them, here and through a router; what its length cuts is told.
func TestEvalOwnModel(t *testing.T) {
	corpus, model := small(t), filepath.Join("..", "..", "retrieval", "encoder", "testdata", "models", "pylate-bert")
	want := object(t, "eval", corpus, "--encoder", model)
	if want["query_weights"] != "none" || want["tokens_cut"] != 0.0 && want["texts"] != "texts cut at the model's length" {
		t.Errorf("in process: %v", want)
	}
	sameFigures(t, "of its own", object(t, "eval", corpus, "--encoder", model, "--shards", "1"), want)
	code, _, err := command("eval", corpus, "--router", sharedRouter(t), "-c", "other")
	if code == 0 || !strings.Contains(err, `there is no collection "other"`) {
		t.Errorf("exit %d: %s", code, err)
	}
	object(t, "load", write(t, "other.jsonl", `{"id":"other","text":"of another corpus"}`), "-c", "other", "--create", "--router", sharedRouter(t))
	code, _, err = command("eval", corpus, "--router", sharedRouter(t), "-c", "other")
	if code == 0 || !strings.Contains(err, `collection "other" holds none of the`) {
		t.Errorf("exit %d: %s", code, err)
	}
}

// TestLineTooLong: a line of a list that is over the limit is named, with the limit.
func TestLineTooLong(t *testing.T) {
	path := write(t, "ids.txt", "a\n"+strings.Repeat("x", 2<<20))
	code, _, err := command("rerank", "river", "-c", "c", "--ids", path)
	if code == 0 || !strings.Contains(err, "ids.txt:2: the line is longer than 1048576 bytes") {
		t.Errorf("exit %d: %s", code, err)
	}
}

// TestEvalClusterVectors: vectors, asked with texts or with vectors.
func TestEvalClusterVectors(t *testing.T) {
	router, corpus, dir := sharedRouter(t), small(t), filepath.Join(t.TempDir(), "vectors")
	object(t, "encode", corpus, "--out", dir)
	qrels := filepath.Join(corpus, "qrels.tsv")
	for _, flags := range [][]string{nil, {"--query-vectors"}} {
		args := append([]string{"eval", dir, "--qrels", qrels}, flags...)
		sameFigures(t, strings.Join(flags, ""), object(t, append(args, "--router", router)...), object(t, args...))
	}
}

// TestEvalClusterRefused: flags that contradict each other, and a corpus that does not go in whole.
func TestEvalClusterRefused(t *testing.T) {
	router, corpus := sharedRouter(t), small(t)
	long := write(t, "long.jsonl", `{"id":"rome","text":"`+strings.Repeat("word ", 5000)+`"}`)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{corpus, "--router", router, "--nodes", "3"}, "choose one"},
		{[]string{corpus, "--router", ""}, "--router is empty"},
		{[]string{corpus, "-c", "notes"}, "name it with --router"},
		{[]string{corpus, "--router", router, "-c", "notes", "--max-tokens", "9"}, "holds already"},
		{[]string{corpus, "--router", router, "-c", "nowhere"}, "there is no collection"},
		{[]string{corpus, "--router", router, "--encoder", "x"}, "--encoder cannot"},
		{[]string{corpus, "--nodes", "0", "--shards", "3"}, "--nodes is 0, it must be 1 to 16"},
		{[]string{corpus, "--nodes", "1000000000"}, "--nodes is 1000000000, it must be 1 to 16"},
		{[]string{corpus, "--shards", "1000000000"}, "--shards is 1000000000, it must be 1 to 4096"},
		{[]string{corpus, "--nodes", "2", "--replicas", "3"}, "--replicas is 3, it must be 1 to 2, for there are 2 nodes"},
		{[]string{corpus, "--router", "127.0.0.1:1"}, "no router answers"},
		{[]string{long, "--router", router, "--queries", filepath.Join(corpus, "queries.jsonl"), "--qrels", filepath.Join(corpus, "qrels.tsv")}, "--max-tokens cuts"},
	} {
		code, _, err := command(append([]string{"eval"}, c.args...)...)
		if code == 0 || !strings.Contains(err, c.want) {
			t.Errorf("%q: exit %d, %q does not say %q", c.args, code, err, c.want)
		}
	}
}
