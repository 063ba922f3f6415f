package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"ostraca/api"
	"ostraca/ops/dataset"
	"ostraca/retrieval"
)

// jsonLines writes n documents of so many bytes of text.
func jsonLines(t *testing.T, n, size int) string {
	t.Helper()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{\"id\": \"%05d\", \"text\": %q}\n", i, strings.Repeat("x", size))
	}
	return write(t, "sample.jsonl", b.String())
}

// longTexts writes a folder of n documents of one vector and a text of so many bytes.
func longTexts(t *testing.T, n, size int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "vectors")
	w, err := dataset.CreateVectors(dir, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for i := range n {
		d := dataset.Document{ID: fmt.Sprintf("%05d", i), Text: strings.Repeat("x", size)}
		if err := w.AddDocument(dataset.Row{Document: d, Vectors: []float32{1, 0}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestListsSample: what is sent is spread over the whole, and within its limits with all that a document has.
func TestListsSample(t *testing.T) {
	for what, c := range map[string]struct {
		path         string
		n, all, most int
	}{
		"few texts":  {jsonLines(t, 3, 9), 3, 3, listsTextBytes},
		"many texts": {jsonLines(t, 3*retrieval.MaxLists, 9), retrieval.MaxLists, 3 * retrieval.MaxLists, listsTextBytes},
		"long texts": {jsonLines(t, 100, 30_000), 34, 100, listsTextBytes},
		"vectors":    {longTexts(t, 30, 1<<20-99), 12, 30, listsBytes},
	} {
		l, err := (&app{err: io.Discard}).listsSample(c.path)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if n := proto.Size(&api.CreateCollectionRequest{Lists: l}); len(l.Sample) != c.n || n > c.most+9*c.n {
			t.Fatalf("%s: %d documents, %d bytes", what, len(l.Sample), n)
		}
		for i, at := range spread(c.n, c.all) {
			if want := fmt.Sprintf("%05d", at); l.Sample[i].Id != want {
				t.Fatalf("%s: document %d is %s, want %s", what, i, l.Sample[i].Id, want)
			}
		}
	}
	_, err := (&app{err: io.Discard}).listsSample(jsonLines(t, 1, 1<<20))
	if err == nil || !strings.Contains(err.Error(), "the first document") {
		t.Errorf("one that is too large: %v", err)
	}
}

// TestProjectionSample: the first documents, vectors without their texts.
func TestProjectionSample(t *testing.T) {
	var told strings.Builder
	p, err := (&app{err: &told}).projectionSample(jsonLines(t, projectionTexts+1, 9))
	if err != nil || len(p.SampleTexts) != projectionTexts || !strings.Contains(told.String(), "the first 1000 documents") {
		t.Errorf("%d texts, %q, %v", len(p.GetSampleTexts()), told.String(), err)
	}
	if p, err = (&app{err: io.Discard}).projectionSample(longTexts(t, 20, 1<<20)); err != nil || len(p.SampleTokens) != 20 || len(p.SampleTexts) > 0 {
		t.Errorf("%d vectors, %d texts, %v", len(p.GetSampleTokens()), len(p.GetSampleTexts()), err)
	}
}
