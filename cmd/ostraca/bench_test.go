package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"ostraca/ops/dataset"
	"ostraca/retrieval"
)

// benchVectors writes documents and queries of random unit vectors, near some topics, so that there is something to find. One document has no tokens.
func benchVectors(t *testing.T, documents, queries, width int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "vectors")
	w, err := dataset.CreateVectors(dir, width)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	rng := rand.New(rand.NewPCG(1, 2))
	topics := make([]float32, 40*width)
	for i := range topics {
		topics[i] = float32(rng.NormFloat64())
	}
	row := func(id string, n int) dataset.Row {
		r := dataset.Row{Document: dataset.Document{ID: id, Text: id}, Vectors: make([]float32, 0, n*width)}
		topic := rng.IntN(40)
		for range n {
			v, squares := make([]float32, width), 0.
			for i := range v {
				v[i] = topics[topic*width+i] + 1.5*float32(rng.NormFloat64())
				squares += float64(v[i] * v[i])
			}
			for _, x := range v {
				r.Vectors = append(r.Vectors, x/float32(math.Sqrt(squares)))
			}
		}
		return r
	}
	for i := range documents {
		n := 1 + rng.IntN(30)
		if i == 3 {
			n = 0
		}
		if err := w.AddDocument(row(fmt.Sprint("doc", i), n)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range queries {
		if err := w.AddQuery(row(fmt.Sprint("query", i), 5)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// idsOf reads a file of --ids.
func idsOf(t *testing.T, path string) (out []map[string]any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var x map[string]any
		if err := json.Unmarshal([]byte(line), &x); err != nil {
			t.Fatal(err)
		}
		out = append(out, x)
	}
	return out
}

// TestBenchIndex: an index is built once, opened by later runs, and finds the same as one in memory; plans are calibrated on other queries than are measured, and kept.
func TestBenchIndex(t *testing.T) {
	dir := benchVectors(t, 400, 80, 24)
	for _, codec := range []string{"int8", "2bit"} {
		folder, first, second := filepath.Join(t.TempDir(), "built"), filepath.Join(t.TempDir(), "1"), filepath.Join(t.TempDir(), "2")
		b := object(t, "bench", dir, "--codec", codec, "--index", folder, "--build-only")
		need(t, b, "tokens", "build_s", "bytes_per_token_disk", "bytes_per_token_memory", "bytes_per_token", "peak_rss_mb", "kernel", "codec", "forecast")
		if left, _ := filepath.Glob(filepath.Join(folder, "*")); !slices.Equal(left, []string{filepath.Join(folder, indexFile)}) {
			t.Errorf("the folder has %v", left)
		}
		tiers, disk := b["bytes_per_token"].(map[string]any), b["bytes_per_token_disk"].(float64)
		if all := tiers["sketch"].(float64) + tiers["coarse"].(float64) + tiers["fine"].(float64); disk < all || disk > 1.2*all {
			t.Errorf("%s: %.2f bytes a token on disk, of vectors %.2f", codec, disk, all)
		}
		if code, _, err := command("bench", dir, "--codec", codec, "--index", folder, "--build-only"); code == 0 || !strings.Contains(err, "already") {
			t.Errorf("built over: %d, %s", code, err)
		}
		args := []string{"bench", dir, "--codec", codec, "--index", folder, "--threads", "1", "--queries", "20", "--ids"}
		b = object(t, append(args, first)...)
		if on := b["calibrated_on"].(map[string]any); on["queries"] != 60.0 || on["held_out"] != true || on["kept"] != false {
			t.Errorf("calibrated on %v", on)
		}
		if code, _, err := command(append(args, filepath.Join(folder, indexFile))...); code == 0 || !strings.Contains(err, "already") {
			t.Errorf("written over another file: %d, %s", code, err)
		}
		object(t, append(args, second)...)
		if again := object(t, append(args, second)...)["calibrated_on"].(map[string]any); again["kept"] != true {
			t.Error("calibrated a second time")
		}
		opened := idsOf(t, first)
		if !reflect.DeepEqual(opened, idsOf(t, second)) || len(opened) != 8 || opened[0]["recall_target"] != .9 || opened[7]["recall_target"] != "exact" {
			t.Errorf("%d settings, or two runs differ", len(opened))
		}
		for _, x := range b["results"].([]any) {
			r := x.(map[string]any)
			need(t, r, "recall_target", "k", "threads", "plan", "p50_us", "p95_us", "cpu_us", "stats")
			if want := (map[any]float64{.99: .93, "exact": .97})[r["recall_target"]]; r["k"] == 10.0 && codec == "int8" && r["recall@10"].(float64) < want {
				t.Errorf("recall below %v: %v", want, r)
			}
		}
		third := filepath.Join(t.TempDir(), "3")
		object(t, "bench", dir, "--codec", codec, "--queries", "20", "--targets", "exact", "--plans", "0:0,1:1", "--recall-queries", "0", "--ids", third)
		ids := idsOf(t, third)
		if len(ids) != 6 || !reflect.DeepEqual(opened[6:], ids[:2]) {
			t.Error("in memory it finds other documents")
		}
		if !reflect.DeepEqual(ids[0]["ids"], ids[2]["ids"]) || reflect.DeepEqual(ids[0]["ids"], ids[4]["ids"]) || ids[2]["recall_target"] != "all" || ids[4]["recall_target"] != "1>1" {
			t.Errorf("a plan of everything is not exact, or one of few documents is: %v, %v", ids[2]["recall_target"], ids[4]["recall_target"])
		}
	}
}

// changed returns a copy of a directory of vectors in which one float of a file is another.
func changed(t *testing.T, dir, file string) string {
	t.Helper()
	out := t.TempDir()
	if err := os.CopyFS(out, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(out, file)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-2] ^= 1 // of the last vector
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestBenchOtherVectors: vectors of equal counts are not taken for those that an index, and its plans, were made of.
func TestBenchOtherVectors(t *testing.T) {
	dir, folder := benchVectors(t, 60, 70, 8), t.TempDir()
	args := func(dir string) []string {
		return []string{"bench", dir, "--index", folder, "--recall-queries", "0", "--queries", "10"}
	}
	for _, want := range []bool{false, true} {
		if on := object(t, args(dir)...)["calibrated_on"].(map[string]any); on["kept"] != want {
			t.Fatalf("calibrated on %v", on)
		}
	}
	if code, _, err := command(args(changed(t, dir, "doc_tokens.npy"))...); code == 0 || !strings.Contains(err, "other vectors") || !strings.Contains(err, "remove "+filepath.Join(folder, indexFile)) {
		t.Errorf("one value is another: exit %d, %s", code, err)
	}
	if on := object(t, args(changed(t, dir, "query_tokens.npy"))...)["calibrated_on"].(map[string]any); on["kept"] != true {
		t.Errorf("the last query is a measured one, and plans were made anew: %v", on)
	}
	other := benchVectors(t, 60, 70, 8)
	whole, err := os.ReadFile(filepath.Join(other, "query_tokens.npy"))
	if err != nil {
		t.Fatal(err)
	}
	whole[len(whole)-4*8*5-2] ^= 1 // of the last query but one, which plans are made with
	if err := os.WriteFile(filepath.Join(other, "query_tokens.npy"), whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if on := object(t, args(other)...)["calibrated_on"].(map[string]any); on["kept"] != false {
		t.Errorf("plans of other queries were taken: %v", on)
	}
}

// TestBenchEmptyQuery: a query without tokens has an empty list among those of --ids, so that what follows stays in its row.
func TestBenchEmptyQuery(t *testing.T) {
	dir := benchVectors(t, 60, 6, 8)
	lens := filepath.Join(dir, "query_lens.npy")
	data, err := os.ReadFile(lens)
	if err != nil {
		t.Fatal(err)
	}
	first := len(data) - 4*6
	whole, short := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "short")
	args := []string{"bench", dir, "--targets", "exact", "--recall-queries", "0", "--ids"}
	object(t, append(args, whole)...)
	data[first+4*2], data[first+4*3] = 0, 10 // the third has no tokens, the fourth has its too
	if err := os.WriteFile(lens, data, 0o600); err != nil {
		t.Fatal(err)
	}
	object(t, append(args, short)...)
	for i, x := range idsOf(t, short) {
		got, want := x["ids"].([]any), idsOf(t, whole)[i]["ids"].([]any)
		if len(got) != 6 || len(got[2].([]any)) != 0 || len(got[3].([]any)) == 0 || !reflect.DeepEqual(got[4:], want[4:]) || !reflect.DeepEqual(got[:2], want[:2]) {
			t.Errorf("lists %v, without an empty query %v", got, want)
		}
	}
}

// TestBenchRefuses: an index that is torn, or of other vectors, is not measured.
func TestBenchRefuses(t *testing.T) {
	dir, folder := benchVectors(t, 30, 4, 8), t.TempDir()
	object(t, "bench", dir, "--index", folder, "--build-only")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"bench", benchVectors(t, 31, 4, 8), "--index", folder}, "other vectors"},
		{[]string{"bench", dir, "--index", folder, "--codec", "4bit"}, "codec"},
		{[]string{"bench", dir, "--codec", "5bit"}, "5bit"},
		{[]string{"bench", dir, "--build-only"}, "--index"},
		{[]string{"bench", dir, "--build-only", "--index", t.TempDir(), "--queries", "9", "--ids", "x", "--writes", "3", "--targets", "exact", "--for", "1s"}, "leave out --for, --ids, --queries, --targets, --writes"},
		{[]string{"bench", dir, "--build-only", "--index", t.TempDir(), "--nodes", "1"}, "--nodes"},
		{[]string{"bench", dir, "--targets", "0.8"}, "0.8"},
		{[]string{"bench", dir, "--plans", "40"}, "two numbers"},
		{[]string{"bench", dir, "--plans", "40:-1"}, "0 or more"},
		{[]string{"bench", dir, "--plans", "5/40:4"}, "give --lists-sample"},
		{[]string{"bench", dir, "--plans", "x/40:4"}, "or three"},
		{[]string{"bench", dir, "--lists-sample", dir, "--nodes", "1"}, "without"},
		{[]string{"bench", dir, "--lists-sample", t.TempDir()}, "--lists-sample"},
		{[]string{"bench", dir, "--lists-sample", benchVectors(t, 9, 4, 9)}, "are 9 wide"},
		{[]string{"bench", dir, "--targets", "0.9,0.90"}, "twice"},
		{[]string{"bench", dir, "--writes", "-1"}, "--writes"},
		{[]string{"bench", dir, "--queries", "0"}, "--queries"},
		{[]string{"bench", dir, "--router", "nowhere"}, "host:port"},
		{[]string{"bench", dir, "--router", "127.0.0.1:1"}, "no router answers"},
	} {
		if code, _, err := command(c.args...); code == 0 || !strings.Contains(err, c.want) || strings.Contains(err, "forecast") { // which is where the work begins
			t.Errorf("%q: exit %d, %q does not say %q", c.args, code, err, c.want)
		}
	}
	path := filepath.Join(folder, indexFile)
	if err := os.Truncate(path, 500); err != nil {
		t.Fatal(err)
	}
	if code, _, err := command("bench", dir, "--index", folder); code == 0 || !strings.Contains(err, "remove "+path) {
		t.Errorf("torn: exit %d, %s", code, err)
	}
}

// TestBenchLists: with lists of a sample fewer sketches are met, by plans of one's own and by those that are calibrated, which are kept for these lists alone.
func TestBenchLists(t *testing.T) {
	dir, sample, folder := benchVectors(t, 400, 80, 24), benchVectors(t, 60, 4, 24), t.TempDir()
	args := []string{"bench", dir, "--index", folder, "--queries", "20", "--targets", "0.9", "--recall-queries", "0"}
	b := object(t, append(args, "--lists-sample", sample, "--plans", "40:10,6/40:10,60/40:10")...)
	for _, x := range b["results"].([]any) {
		r := x.(map[string]any)
		stats, few := r["stats"].(map[string]any), r["recall_target"] == "6/40>10"
		if met := stats["centroids"] == 59.0 && stats["sketches"].(float64) < 200; r["k"] == 10.0 && r["recall_target"] != .9 && met != few { // one of the sample has no tokens
			t.Errorf("%v: %v", r["recall_target"], stats)
		}
	}
	for i, x := range [][]string{{"--lists-sample", sample}, nil, {"--lists-sample", sample}} {
		if on := object(t, append(args, x...)...)["calibrated_on"].(map[string]any); on["kept"] != (i == 0) {
			t.Errorf("run %d: plans kept %v", i, on["kept"])
		}
	}
}

// TestBenchWrites: searches beside writes are compared with searches alone, and the index still answers.
func TestBenchWrites(t *testing.T) {
	b := object(t, "bench", benchVectors(t, 100, 4, 8), "--writes", "200", "--for", "50ms", "--targets", "exact", "--recall-queries", "0")
	x := b["writes"].([]any)[0].(map[string]any)
	need(t, x, "via", "recall_target", "k", "writes_per_s", "quiet", "writing", "ratio_p50", "ratio_p95")
	if x["writes_per_s"].(float64) <= 0 {
		t.Errorf("%v", x)
	}
}

// TestBenchPrintsExact: without a target there is nothing to calibrate, and what was measured is printed all the same.
func TestBenchPrintsExact(t *testing.T) {
	code, out, err := command("bench", benchVectors(t, 30, 4, 8), "--targets", "exact", "--recall-queries", "0")
	if code != 0 || strings.Contains(out, "calibrated") || strings.Count(out, "\nexact ") != 2 {
		t.Errorf("exit %d: %s%s", code, out, err)
	}
}

// TestBenchInterrupted: a build that is interrupted ends, whatever was queued by then.
func TestBenchInterrupted(t *testing.T) {
	dir := benchVectors(t, 40, 2, 16)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	for range 30 { // reader and gatherer see the end at places that vary
		synctest.Test(t, func(t *testing.T) { // which fails where all wait for each other
			a := &app{out: io.Discard, err: io.Discard, threads: 2}
			_, err := a.bench(ctx, dir, benchOptions{codec: "int8", queries: 1, targets: []string{"exact"}})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestPace: what fails is told, and nothing more is put.
func TestPace(t *testing.T) {
	broken := errors.New("broken")
	var all sync.WaitGroup
	all.Add(6)
	stop := pace(t.Context(), 100_000, func(_ context.Context, n int) error {
		if n <= 5 {
			defer all.Done()
		}
		if n >= 5 {
			return broken
		}
		return nil
	})
	all.Wait()
	if n, err := stop(); n != 5 || !errors.Is(err, broken) {
		t.Errorf("%d put: %v", n, err)
	}
}

func TestCalibrationFile(t *testing.T) {
	path, of := filepath.Join(t.TempDir(), calibrationFile), calibrationOf{Codec: "int8", Width: 8, Documents: 2, Tokens: 9, Vectors: "a", Asked: "b", Measured: 1, Queries: 50, HeldOut: true}
	if _, kept, err := readCalibration(path, of); kept || err != nil {
		t.Errorf("of nothing: %v %v", kept, err)
	}
	for range 2 {
		if err := writeCalibration(path, of, retrieval.Default); err != nil {
			t.Fatal(err)
		}
	}
	got, kept, err := readCalibration(path, of)
	if err != nil || !kept || !slices.Equal(got, retrieval.Default) {
		t.Errorf("%v, %v: %v", got, kept, err)
	}
	for _, change := range []func(*calibrationOf){func(o *calibrationOf) { o.Measured++ }, func(o *calibrationOf) { o.Vectors = "c" }, func(o *calibrationOf) { o.Asked = "c" }} {
		other := of
		change(&other)
		if _, kept, err := readCalibration(path, other); kept || err != nil {
			t.Errorf("of something else, %+v: %v, %v", other, kept, err)
		}
	}
	for _, text := range []string{"", "{", `{"plans":[{"recall_target":"0.8"}]}`, `{"plans":[{"recall_target":"0.9","k":10,"sketched":-1}]}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := readCalibration(path, of); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestForecast: bytes are told before the work where tokens are known, and time after the first documents, once; both near the truth where documents are alike.
func TestForecast(t *testing.T) {
	var told strings.Builder
	f := (&app{err: &told}).forecaster(retrieval.Int8, 128, 1000, 0)
	f.start = f.start.Add(-2 * forecastAfter)
	for range 100 {
		f.saw(200)
	}
	x := f.report()
	if strings.Count(told.String(), "about 6") != 1 || strings.Count(told.String(), "200000 tokens") != 1 || x.From != forecastDocuments || x.Tokens != 200_000 || x.Bytes < 130*200_000 || x.Bytes > 150*200_000 || x.Seconds < 60 || x.Seconds > 70 {
		t.Errorf("%q, %+v", told.String(), x)
	}
	if x := (&app{err: &told}).forecaster(retrieval.Int8, 128, 1000, 0).report(); x != nil {
		t.Errorf("of nothing: %+v", x)
	}
	for _, c := range []struct {
		tokens int64
		want   string
	}{{200_000, "29 MB"}, {0, "a token takes 146.8 bytes"}} {
		told.Reset()
		if (&app{err: &told}).forecaster(retrieval.Int8, 128, 1000, c.tokens); !strings.Contains(told.String(), c.want) {
			t.Errorf("before the work: %q does not say %q", told.String(), c.want)
		}
	}
}
