package bge_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ostraca/ops/dataset"
	"ostraca/retrieval/encoder"
	"ostraca/retrieval/encoder/bge"
	"ostraca/retrieval/kernel"
)

// make projection runs TestProjectionIsMade with it.
var shared = flag.String("shared", "", "directory with techdocs/corpus.jsonl.gz and splits.json: fit the projection anew and compare; with -update, write it")

const (
	projectionFile = "bge-small-en-v1.5.projection"
	sampleEvery    = 20  // passages of the corpus, of which one is in the sample
	sampleTokens   = 256 // that it is cut to
)

func shipped(t *testing.T) encoder.Projection {
	t.Helper()
	p, err := encoder.ParseProjection(bge.Projection())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestProjection: the file is the encoder's, is named in NOTICE, was fitted on nothing that we evaluate on, and its rows are at right angles.
func TestProjection(t *testing.T) {
	p := shipped(t)
	width := load(t, nil).Width()
	if p.From() != width || p.Width() != width || p.Len() > 400_000 {
		t.Fatalf("from %d to %d of %d dimensions, %d bytes", p.From(), p.Width(), width, p.Len())
	}
	notice, err := os.ReadFile("NOTICE")
	if err != nil {
		t.Fatal(err)
	}
	if s := p.Sample(); !strings.Contains(string(notice), p.Hash()) || !strings.Contains(string(notice), s.Name) {
		t.Errorf("NOTICE does not name %s, or what it was fitted on: %v", p.Hash(), s)
	}
	for _, set := range []string{"scifact", "cranfield", "xquad", "squad"} {
		if strings.Contains(strings.ToLower(p.Sample().Name), set) {
			t.Errorf("fitted on %s", set)
		}
	}
	axes := make([]float32, width*width) // their images are the columns
	for i := range width {
		axes[i*width+i] = 1
	}
	columns, err := p.Pack(nil).Apply(axes)
	if err != nil {
		t.Fatal(err)
	}
	for i := range width {
		for j := range i {
			var dot float64
			for k := range width {
				dot += float64(columns[i*width+k]) * float64(columns[j*width+k])
			}
			if math.Abs(dot) > 1e-3 {
				t.Fatalf("%v between columns %d and %d", dot, i, j)
			}
		}
	}
}

// TestProjectedCodesHash: the same text gives the same projected codes on every CPU and in every kernel variant.
func TestProjectedCodesHash(t *testing.T) {
	questions, err := dataset.Queries(corpora + "xquad_en")
	if err != nil {
		t.Fatal(err)
	}
	p, err := shipped(t).Cut(128)
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	e := load(t, kernel.Best()) // whose variants TestCodesHash compares
	for _, q := range questions[:20] {
		m := encode(t, e, encoder.Options{MaxTokens: 9}, q.Text)[0]
		var first []float32
		for _, set := range kernel.All() {
			y, err := p.Pack(set).Apply(m.Vectors)
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = y
			}
			if !slices.Equal(y, first) {
				t.Fatalf("%s gives other vectors of %q", set.Name(), q.Text)
			}
		}
		h.Write(quantize(t, encoder.Matrix{Vectors: first}, 128).Rows)
	}
	compare(t, "projected.sha256", hex.EncodeToString(h.Sum(nil))+"\n")
}

// TestProjectionIsMade fits the projection anew, to the byte: on every 20th passage of techdocs, but those of packages whose synopses are
// queries set aside for tuning and testing. No judgement is read.
func TestProjectionIsMade(t *testing.T) {
	if *shared == "" {
		t.Skip("-shared is not given")
	}
	raw, err := os.ReadFile(filepath.Join(*shared, "splits.json"))
	if err != nil {
		t.Fatal(err)
	}
	var splits struct{ Techdocs struct{ Tune, Test []string } }
	if err := json.Unmarshal(raw, &splits); err != nil {
		t.Fatal(err)
	}
	aside := map[string]bool{}
	for _, id := range slices.Concat(splits.Techdocs.Tune, splits.Techdocs.Test) {
		aside[id] = true
	}
	e := load(t, kernel.Best())
	f, err := encoder.NewFit("techdocs (Debian package descriptions, Linux documentation, WordNet), every 20th passage", e.Width(), e.Width())
	if err != nil {
		t.Fatal(err)
	}
	read, taken := 0, 0
	var some []string
	flush := func() {
		for _, m := range encode(t, e, encoder.Options{MaxTokens: sampleTokens}, some...) {
			if err := f.Add(m.Vectors); err != nil {
				t.Fatal(err)
			}
		}
		taken, some = taken+len(some), nil
	}
	for d, err := range dataset.Documents(filepath.Join(*shared, "techdocs", "corpus.jsonl.gz")) {
		if err != nil {
			t.Fatal(err)
		}
		name, _, _ := strings.Cut(d.ID, "#")
		if read++; read%sampleEvery != 0 || aside[name] {
			continue
		}
		if some = append(some, d.Text); len(some) == 64 {
			flush()
		}
	}
	flush()
	p, err := f.Projection(taken)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(p.Sample(), p.Hash())
	if *update {
		if err := os.WriteFile(projectionFile, p.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	} else if !bytes.Equal(p.Bytes(), bge.Projection()) {
		t.Errorf("%s differs from what the sample gives, %s", fmt.Sprint(shipped(t).Hash()), p.Hash())
	}
}
