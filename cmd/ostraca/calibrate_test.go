package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ostraca/retrieval"
)

// halves writes a corpus of short texts, and questions that have words of them, in the BEIR layout.
func halves(t *testing.T, n int) string {
	t.Helper()
	words := strings.Fields("river mountain harbour engine painter battle treaty planet virus market poem bridge forest castle orchestra desert island glacier senate railway")
	var corpus, queries, judgements strings.Builder
	judgements.WriteString("query-id\tcorpus-id\tscore\n")
	for i := range n {
		a, b, c := words[i%20], words[(i/20*7+i)%20], words[(i*3+5)%20]
		fmt.Fprintf(&corpus, "{\"_id\":\"d%d\",\"text\":\"The %s near the %s. A %s was there.\"}\n", i, a, b, c)
		if i%8 == 0 {
			fmt.Fprintf(&queries, "{\"_id\":\"q%d\",\"text\":\"which %s has a %s?\"}\n", i, a, c)
			fmt.Fprintf(&judgements, "q%d\td%d\t1\n", i, i)
		}
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"corpus.jsonl": corpus.String(), "queries.jsonl": queries.String(), "qrels.tsv": judgements.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestCalibrate: plans are measured on questions of a file or on sentences of the documents, half of which are held out to tell what the plans reach, and are followed
// once they are installed.
func TestCalibrate(t *testing.T) {
	router, dir := sharedRouter(t), halves(t, 160)
	object(t, "load", dir, "-c", "calibrated", "--create", "--codec", "4bit", "--router", router)
	collection := func() map[string]any {
		for _, c := range object(t, "collection", "list", "--router", router)["collections"].([]any) {
			if c := c.(map[string]any); c["name"] == "calibrated" {
				return c
			}
		}
		t.Fatal("no collection")
		return nil
	}
	check := func(v map[string]any, queries float64) {
		t.Helper()
		if v["queries"] != queries || v["held_out"] != queries || len(v["plans"].([]any)) != 2*len(retrieval.Targets) {
			t.Fatalf("%v", v)
		}
		for _, p := range v["plans"].([]any) {
			p := p.(map[string]any)
			target, err := retrieval.ParseTarget(p["recall_target"].(string))
			exact := p["scored"] == 0.0
			if recall := p["recall"].(float64); err != nil || exact && recall < 1-1e-9 || 1000*recall < float64(target)-300 || recall > 1+1e-9 || p["vectors_of_exact"].(float64) > 1 {
				t.Errorf("%v: %v", err, p)
			}
		}
	}
	check(object(t, "collection", "calibrate", "calibrated", "--queries", dir, "--dry-run", "--router", router), 10)
	if c := collection(); c["codec"] != "4bit" || len(c["calibration"].([]any)) != 0 {
		t.Errorf("a dry run installed something: %v", c)
	}
	v := object(t, "collection", "calibrate", "calibrated", "--limit", "12", "--router", router)
	check(v, 6)
	if c := collection(); len(c["calibration"].([]any)) != 2*len(retrieval.Targets) {
		t.Errorf("%v", c)
	}
	first := v["plans"].([]any)[0].(map[string]any)
	stats := object(t, "search", "a river near a castle", "-c", "calibrated", "-k", "10", "--recall-target", "0.9", "--router", router)["stats"].(map[string]any)
	if plan, _ := stats["cascade"].(map[string]any); first["scored"] != 0.0 && (plan["scored"] != first["scored"] || plan["sketched"] != first["sketched"]) {
		t.Errorf("%v follows another plan than %v", stats, first)
	}
	code, out, _ := command("search", "a river", "-c", "calibrated", "--recall-target", "0.95", "--router", router)
	if code != 0 || !strings.Contains(out, "scored exactly") {
		t.Errorf("exit %d: %s", code, out)
	}
}

// TestRecallTargetAndCodec: eval measures any codec and target, here and in a cluster, and says which.
func TestRecallTargetAndCodec(t *testing.T) {
	dir := halves(t, 80)
	for _, flags := range [][]string{{"--codec", "1bit"}, {"--codec", "2bit", "--recall-target", "0.9"}} {
		want := object(t, append([]string{"eval", dir}, flags...)...)
		got := object(t, append([]string{"eval", dir, "--router", sharedRouter(t)}, flags...)...)
		if got["codec"] != flags[1] || want["codec"] != flags[1] || got["recall_target"] != want["recall_target"] {
			t.Errorf("%v, in process %v", got, want)
		}
		if len(flags) == 2 { // by a plan two shards find no less, and maybe more
			sameFigures(t, flags[1], got, want)
		}
	}
	found := object(t, "search", "a river", "--corpus", dir, "--recall-target", "0.9")["stats"].(map[string]any)
	plan := found["cascade"].(map[string]any)
	if exact := object(t, "search", "a river", "--corpus", dir)["stats"].(map[string]any); found["plan"] != "cascade" || exact["plan"] != "exact" || exact["cascade"] != nil { // as the API names them
		t.Errorf("%v, %v", found, exact)
	}
	if want := retrieval.Default.Plan(retrieval.Recall90, 5); plan["scored"] != float64(want.Scored) || plan["sketched"] != float64(want.Sketched) {
		t.Errorf("%v, want %+v", plan, want)
	}
	for _, args := range [][]string{
		{"search", "x", "--corpus", dir, "--recall-target", "0.5"}, {"search", "x", "-c", "c", "--recall-target", "all"}, {"eval", dir, "--recall-target", "1"}, {"eval", dir, "--codec", "7bit"},
		{"collection", "create", "c", "--codec", "float"}, {"demo", "--codec", "no"}, {"eval", dir, "--router", "127.0.0.1:1", "-c", "c", "--codec", "int8"},
	} {
		if code, _, err := command(args...); code != 1 && code != 2 || !strings.Contains(err, "--recall-target") && !strings.Contains(err, "--codec") {
			t.Errorf("%v: exit %d: %s", args, code, err)
		}
	}
}

// TestExportPacked: an export of packed codes is loaded again as it was, not into a collection of another codec; a directory of vectors has those that
// the codes stand for.
func TestExportPacked(t *testing.T) {
	router, dir, out := sharedRouter(t), small(t), filepath.Join(t.TempDir(), "packed.jsonl")
	object(t, "load", dir, "-c", "packed", "--create", "--codec", "2bit", "--router", router)
	object(t, "export", "-c", "packed", "--codes", "--out", out, "--router", router)
	if v := object(t, "load", out, "-c", "packed", "--router", router); v["unchanged"] != 3.0 {
		t.Errorf("%v", v)
	}
	if v := object(t, "load", out, "-c", "packed2", "--create", "--codec", "2bit", "--router", router); v["loaded"] != 3.0 {
		t.Errorf("%v", v)
	}
	if v := object(t, "load", out, "-c", "packed2", "--router", router); v["unchanged"] != 3.0 {
		t.Errorf("%v", v)
	}
	if code, _, err := command("load", out, "-c", "packed8", "--create", "--router", router); code == 0 || !strings.Contains(err, "codec 2bit") {
		t.Errorf("exit %d: %s", code, err)
	}
	vectors := filepath.Join(t.TempDir(), "v")
	if v := object(t, "export", "-c", "packed", "--format", "npy", "--out", vectors, "--router", router); v["documents"] != 3.0 || v["tokens"].(float64) < 3 {
		t.Errorf("%v", v)
	}
	if v := object(t, "load", vectors, "-c", "packed-vectors", "--create", "--encoder", "none", "--router", router); v["loaded"] != 3.0 {
		t.Errorf("%v", v)
	}
}

// TestRecallIsAShare: all of the answers of all questions are 1, not more.
func TestRecallIsAShare(t *testing.T) {
	c := newCalibrator(nil, "c", nil, nil)
	c.answers[asking{k: 10}] = slices.Repeat([]retrieval.Answer{{Hits: []retrieval.Hit{{ID: "a"}}}}, 100)
	if got, err := c.reached(t.Context(), retrieval.Calibrated{Target: retrieval.Recall90, K: 10}); err != nil || got.Recall != 1 {
		t.Errorf("%v: %v", err, got)
	}
}

// TestCalibrationShowsProgress: how many questions were asked is told every few seconds, though nobody knows of how many.
func TestCalibrationShowsProgress(t *testing.T) {
	var log bytes.Buffer
	bar := (&app{err: &log}).progress("asking", 0)
	c := counted{newCalibrator(nil, "c", nil, nil), bar}
	c.Searcher.(*calibrator).answers[asking{}] = make([]retrieval.Answer, 1)
	for range 3 {
		bar.told = bar.told.Add(-linePeriod)
		if _, err := c.Search(t.Context(), &retrieval.Query{Weights: []uint16{1}}); err != nil {
			t.Fatal(err)
		}
	}
	bar.end()
	if got := log.String(); !strings.Contains(got, "asking: 3, ") || strings.Contains(got, "of 0") {
		t.Error(got)
	}
}

func TestPlanIsShown(t *testing.T) {
	for want, s := range map[string]statsJSON{
		"1 document, 9 tokens scored exactly": {Documents: 1, Tokens: 9},
		"1 document, 9 tokens scored exactly (plan: sketched all, scored 5; met 0 sketch and 7 coarse vectors)":                {Documents: 1, Tokens: 9, Cascade: &planJSON{Scored: 5}, Coarse: 7},
		"1 document, 9 tokens scored exactly (plan: sketched 2/8, scored 5; met 20 centroids, 30 sketch and 7 coarse vectors)": {Documents: 1, Tokens: 9, Cascade: &planJSON{Lists: 2, Sketched: 8, Scored: 5}, Lists: 20, Sketches: 30, Coarse: 7},
	} {
		if got := s.scored(); got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
}
