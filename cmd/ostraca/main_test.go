package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rivo/uniseg"

	"ostraca/retrieval/kernel"
)

const xquad = "../../testdata/corpora/xquad_en"

// command runs the command and returns its exit code and both outputs.
func command(args ...string) (code int, out, err string) {
	var o, e bytes.Buffer
	code = run(context.Background(), args, &o, &e)
	return code, o.String(), e.String()
}

// object runs the command, which must succeed and print one JSON object, and decodes it.
func object(t *testing.T, args ...string) map[string]any {
	t.Helper()
	code, out, err := command(append(args, "--json")...)
	if code != 0 {
		t.Fatalf("%v: exit %d: %s", args, code, err)
	}
	d := json.NewDecoder(strings.NewReader(out))
	var v map[string]any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v: %v in %s", args, err, out)
	}
	if d.More() {
		t.Fatalf("%v: more than one object", args)
	}
	return v
}

func need(t *testing.T, v map[string]any, names ...string) {
	t.Helper()
	for _, n := range names {
		if _, ok := v[n]; !ok {
			t.Errorf("no %q in %v", n, v)
		}
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// small is a corpus with an empty document, in the BEIR layout.
func small(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"corpus.jsonl": `{"_id":"rome","title":"Rome","text":"The capital of Italy lies on the Tiber.","year":-753}
{"_id":"empty","title":"","text":""}
{"_id":"paris","title":"Paris","text":"The capital of France lies on the Seine."}
`,
		"queries.jsonl": `{"_id":"q1","text":"Which river flows through Rome?"}
{"_id":"q2","text":"What is the French capital?"}
`,
		"qrels.tsv": "query-id\tcorpus-id\tscore\nq1\trome\t1\nq2\tparis\t1\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestSearch(t *testing.T) {
	v := object(t, "search", "Which river flows through Rome?", "--corpus", small(t), "-k", "10", "--explain")
	hits := v["hits"].([]any)
	if len(hits) != 2 { // the empty document matches nothing
		t.Fatalf("%d hits", len(hits))
	}
	first := hits[0].(map[string]any)
	if first["id"] != "rome" || first["fields"].(map[string]any)["year"] != -753.0 {
		t.Errorf("first hit %v", first)
	}
	sum := 0.0
	for _, x := range first["alignments"].([]any) {
		a := x.(map[string]any)
		sum += a["score"].(float64)
		d := a["document"].(map[string]any)
		text := first["text"].(string)[int(d["start"].(float64)):int(d["end"].(float64))]
		if text != d["text"] {
			t.Errorf("span %q is not %q", text, d["text"])
		}
	}
	if score := first["score"].(float64); sum < score-1e-9 || sum > score+1e-9 {
		t.Errorf("alignments add up to %v, the score is %v", sum, score)
	}
	for _, x := range first["alignments"].([]any) {
		q := x.(map[string]any)["query"].(map[string]any)
		if text := "Which river flows through Rome?"[int(q["start"].(float64)):int(q["end"].(float64))]; text != q["text"] {
			t.Errorf("span %q of the question is not %q", text, q["text"])
		}
	}
	plain := object(t, "search", "Which river flows through Rome?", "--corpus", small(t), "--no-idf", "--explain")["hits"].([]any)[0].(map[string]any)
	if plain["score"] == first["score"] || plain["alignments"].([]any)[0].(map[string]any)["weight"] != 1.0 {
		t.Errorf("weights make no difference: %v", plain)
	}
	code, out, _ := command("search", "rome", "--corpus", small(t), "--explain")
	if code != 0 || !strings.Contains(out, "rome") || strings.Contains(out, "\x1b[") {
		t.Errorf("exit %d: %s", code, out)
	}
}

// TestEncodeSearchBench: vectors written by encode are searched with the same answer, and measured.
func TestEncodeSearchBench(t *testing.T) {
	corpus, dir := small(t), filepath.Join(t.TempDir(), "vectors")
	v := object(t, "encode", corpus, "--out", dir)
	need(t, v, "documents", "tokens", "queries", "tokens_per_s")
	if v["documents"] != 3.0 || v["queries"] != 2.0 {
		t.Errorf("encoded %v", v)
	}
	question := "Which river flows through Rome?"
	texts := object(t, "search", question, "--corpus", corpus, "--explain")["hits"].([]any)[0].(map[string]any)
	vectors := object(t, "search", question, "--corpus", dir, "--explain")["hits"].([]any)[0].(map[string]any)
	if texts["id"] != vectors["id"] || len(vectors["alignments"].([]any)) == 0 {
		t.Errorf("texts found %v, vectors %v", texts["id"], vectors["id"])
	}
	ids := filepath.Join(t.TempDir(), "ids.jsonl")
	b := object(t, "bench", dir, "--ids", ids, "--threads", "1")
	need(t, b, "tokens", "build_s", "bytes_per_token_disk", "bytes_per_token_memory", "peak_rss_mb", "kernel", "results")
	for _, x := range b["results"].([]any) {
		r := x.(map[string]any)
		need(t, r, "recall_target", "threads", "k", "p50_us", "p95_us", "cpu_us")
		if r["k"] == 10.0 && r["recall@10"] != 1.0 || r["k"] == 100.0 && r["recall@100"] != 1.0 {
			t.Errorf("recall of two documents: %v", r)
		}
	}
	if text, err := os.ReadFile(ids); err != nil || strings.Count(string(text), "\n") != 8 {
		t.Errorf("--ids: %v %s", err, text)
	}
	if v := object(t, "encode", corpus, "--out", filepath.Join(t.TempDir(), "v"), "--skip-empty"); v["documents"] != 2.0 || v["skipped"] != 1.0 {
		t.Errorf("--skip-empty: %v", v)
	}
	if code, _, err := command("encode", corpus, "--out", dir); code == 0 || !strings.Contains(err, "already") {
		t.Errorf("a second encode into the directory: %d %s", code, err)
	}
}

func TestEval(t *testing.T) {
	corpus, rows := small(t), filepath.Join(t.TempDir(), "rows.jsonl")
	v := object(t, "eval", corpus, "--per-query", rows)
	need(t, v, "ndcg@10", "mrr@10", "recall@100", "success@5", "queries", "documents", "tokens", "shards", "load_s", "search_p50_ms")
	if v["ndcg@10"] != 1.0 || v["queries"] != 2.0 {
		t.Errorf("%v", v)
	}
	v = object(t, "eval", corpus, "--no-idf", "--max-tokens", "8", "--against", rows, "--only", write(t, "only", "q2\n"))
	need(t, v, "ndcg@10_difference")
	if v["queries"] != 1.0 || v["query_weights"] != "none" {
		t.Errorf("%v", v)
	}
	// The other run found nothing: the difference is all of ours.
	worse := write(t, "worse.jsonl", `{"query":"q1","ndcg@10":0}`+"\n"+`{"query":"q2","ndcg@10":0.5}`+"\n")
	d := object(t, "eval", corpus, "--against", worse)["ndcg@10_difference"].(map[string]any)
	if d["mean"] != .75 {
		t.Errorf("difference %v, want .75", d)
	}
	dir := filepath.Join(t.TempDir(), "vectors")
	object(t, "encode", corpus, "--out", dir)
	if code, _, err := command("eval", dir, "--qrels", filepath.Join(corpus, "qrels.tsv"), "--max-tokens", "9"); code == 0 || !strings.Contains(err, "cannot cut") {
		t.Errorf("--max-tokens on vectors: %s", err)
	}
	v = object(t, "eval", dir, "--qrels", filepath.Join(corpus, "qrels.tsv"))
	if v["ndcg@10"] != 1.0 {
		t.Errorf("of vectors: %v", v)
	}
	for range 2 { // the second time with the numbers of rows for ids, since the texts are gone
		v = object(t, "eval", dir, "--qrels", filepath.Join(corpus, "qrels.tsv"), "--query-vectors")
		if v["ndcg@10"] != 1.0 || v["query_weights"] != "none" {
			t.Errorf("with query vectors: %v", v)
		}
		for _, name := range []string{"docs.jsonl", "queries.jsonl"} {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		corpus = t.TempDir()
		if err := os.WriteFile(filepath.Join(corpus, "qrels.tsv"), []byte("0\t0\t1\n1\t2\t1\n"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDepth: the hundredth of many equal documents is still found, and bench tells what it asked.
func TestDepth(t *testing.T) {
	var corpus strings.Builder
	for i := range 120 {
		fmt.Fprintf(&corpus, "{\"id\":\"d%03d\",\"text\":\"one text\"}\n", i)
	}
	path := write(t, "many.jsonl", corpus.String())
	q := write(t, "q.jsonl", `{"id":"q","text":"one text"}`+"\n")
	v := object(t, "eval", path, "--queries", q, "--qrels", write(t, "deep.tsv", "q\td099\t1\n"))
	if v["recall@100"] != 1.0 || v["ndcg@10"] != 0.0 {
		t.Errorf("the hundredth: %v", v)
	}
	v = object(t, "eval", path, "--queries", q, "--qrels", write(t, "deeper.tsv", "q\td100\t1\n"))
	if v["recall@100"] != 0.0 {
		t.Errorf("the hundred and first: %v", v)
	}
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		n, all int
		want   []int
	}{{1, 5, []int{0}}, {2, 5, []int{0, 4}}, {4, 10, []int{0, 3, 6, 9}}, {9, 3, []int{0, 1, 2}}, {3, 4, []int{0, 1, 3}}} {
		if got := spread(c.n, c.all); !slices.Equal(got, c.want) {
			t.Errorf("%d of %d: %v, want %v", c.n, c.all, got, c.want)
		}
	}
}

// TestPrinting: nothing of a text steers the terminal, and columns are as wide as they look.
func TestPrinting(t *testing.T) {
	if got := printable("a\x1b[31mb\x00\u202ec\nd"); got != "a\ufffd[31mb\ufffd\ufffdc d" {
		t.Errorf("%q", got)
	}
	for _, s := range []string{"", "word", "naïve", "nai\u0308ve", "東京タワー", "👩‍👩‍👧", strings.Repeat("東", 30), strings.Repeat("x", 30)} {
		if w := uniseg.StringWidth(cell(s, questionWidth)); w != questionWidth {
			t.Errorf("%q is %d wide", s, w)
		}
	}
	h := hitJSON{Text: "The capital of Italy lies on the Tiber.", Alignments: []alignmentJSON{{Document: tokenJSON{0, "Italy", 15, 20}, Cosine: .9, Score: 1}}}
	if got := excerpt(h, (&app{}).palette()); got != h.Text {
		t.Errorf("excerpt %q", got)
	}
	if code := run(context.Background(), []string{"--version"}, broken{}, io.Discard); code == 0 {
		t.Error("output that could not be written is success")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("no room") }

// TestRefused: bad input is a clear error, which names what is wrong, and nothing is left half-done.
func TestRefused(t *testing.T) {
	corpus := small(t)
	out := filepath.Join(t.TempDir(), "out")
	long := strings.Repeat("word ", 5000)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"serach"}, "unknown command"},
		{[]string{"search", "x"}, "corpus"},
		{[]string{"search", "x", "--corpsu", "y"}, "unknown flag"},
		{[]string{"search", "x", "--corpus", "/nonexistent"}, "/nonexistent"},
		{[]string{"search", "x", "--corpus", t.TempDir()}, "corpus.jsonl"},
		{[]string{"search", "x", "--corpus", "main.go"}, ".jsonl"},
		{[]string{"search"}, "needs one TEXT"},
		{[]string{"search", "x", "--corpus", ""}, "corpus"},
		{[]string{"search", "x", "--corpus", "/nonexistent", "-k", "0"}, "1 to 10000"}, // before the corpus is looked at
		{[]string{"search", "x", "--corpus", corpus, "-k", "1000000000"}, "1 to 10000"},
		{[]string{"search", "x", "--corpus", corpus, "--query-tokens", "2"}, "--query-tokens is 2"},
		{[]string{"search", "x", "--corpus", corpus, "--max-tokens", "-5"}, "--max-tokens is -5"},
		{[]string{"search", "  ", "--corpus", corpus}, "empty"},
		{[]string{"search", "\u200b", "--corpus", corpus}, "no tokens"},
		{[]string{"search", "x", "--corpus", corpus, "--kernel", "sse9"}, "avx2"},
		{[]string{"collection", "list", "--router", "127.0.0.1:1", "--kernel", "sse9"}, "avx2"},
		{[]string{"collection", "list", "--router", "127.0.0.1:1", "--threads", "-1"}, "--threads is -1"},
		{[]string{"search", "x", "--corpus", corpus, "--threads", "-1"}, "--threads"},
		{[]string{"search", "x", "--corpus", write(t, "a.jsonl", "{\"id\":\"a\",\"text\":\"t\"}\n{nonsense\n")}, "a.jsonl:2"},
		{[]string{"search", "x", "--corpus", write(t, "b.jsonl", "{\"id\":\"a\",\"text\":\"t\"}\n{\"id\":\"a\",\"text\":\"u\"}\n")}, "b.jsonl:2"},
		{[]string{"search", "x", "--corpus", write(t, "c.jsonl", "")}, "empty"},
		{[]string{"search", "x", "--corpus", write(t, "d.jsonl", fmt.Sprintf("{\"id\":\"long\",\"text\":%q}\n", long))}, "\"long\""},
		{[]string{"eval", corpus, "--qrels", write(t, "q.tsv", "nonsense\n")}, "q.tsv:1"},
		{[]string{"eval", corpus, "--against", write(t, "p.jsonl", "nonsense\n")}, "p.jsonl:1"},
		{[]string{"eval", write(t, "e.jsonl", "{\"id\":\"a\",\"text\":\"t\"}\n")}, "--qrels"},
		{[]string{"eval", corpus, "--against", write(t, "n.jsonl", "")}, "n.jsonl"},
		{[]string{"eval", corpus, "--per-query", filepath.Join(corpus, "corpus.jsonl")}, "already"},
		{[]string{"eval", corpus, "--only", write(t, "none", "q9\n")}, "none:1"},
		{[]string{"eval", corpus, "--only", write(t, "nothing", "")}, "nothing"},
		{[]string{"eval", corpus, "--query-vectors"}, "--query-vectors"},
		{[]string{"eval", corpus, "--against", write(t, "less.jsonl", `{"query":"q1","ndcg@10":0}`)}, "no query \"q2\""},
		{[]string{"encode", corpus, "--out", out, "--query-tokens", "0", "--max-tokens", "2"}, "--max-tokens is 2"},
		{[]string{"eval", corpus, "--qrels", write(t, "other.tsv", "q1 0 nowhere 1\n")}, "none of the 1 judged"},
		{[]string{"eval", corpus, "--queries", write(t, "u.jsonl", "{\"_id\":\"q1\",\"text\":\"\\u200b\"}\n")}, "no tokens"},
		{[]string{"bench", corpus}, "encode"},
		{[]string{"encode", corpus}, "out"},
		{[]string{"encode", "/nonexistent", "--out", out}, "/nonexistent"},
		{[]string{"encode", write(t, "f.jsonl", "{\"id\":\"a\",\"text\":\"t\"}\n{\"id\":\"a\",\"text\":\"u\"}\n"), "--out", out}, "f.jsonl:2"},
		{[]string{"demo", "--corpus", "/nonexistent"}, "/nonexistent"},
	} {
		code, stdout, err := command(append(c.args, "--json")...)
		if code == 0 || !strings.Contains(err, c.want) {
			t.Errorf("%.100q: exit %d, %q does not say %q", c.args, code, err, c.want)
		}
		var told map[string]string
		if json.Unmarshal([]byte(stdout), &told) != nil || !strings.Contains(err, told["error"]) || told["error"] == "" {
			t.Errorf("%.100q: %q on stdout", c.args, stdout)
		}
	}
	left, _ := filepath.Glob(filepath.Join(out, "*"))
	if len(left) > 0 {
		t.Errorf("a refused encode left %v", left)
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var o, e bytes.Buffer
	dir := filepath.Join(t.TempDir(), "out")
	if code := run(ctx, []string{"encode", xquad, "--out", dir}, &o, &e); code != exitInterrupted {
		t.Errorf("exit %d: %s", code, e.String())
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

// TestKernels: every variant of this CPU gives the same answer, to the last digit.
func TestKernels(t *testing.T) {
	corpus := small(t)
	var want string
	for _, s := range kernel.All() {
		v := object(t, "search", "Which river flows through Rome?", "--corpus", corpus, "--explain", "--kernel", s.Name())
		got := fmt.Sprint(v["hits"])
		if want == "" {
			want = got
		}
		if got != want {
			t.Errorf("%s answers %s, not %s", s.Name(), got, want)
		}
	}
}
