package bge_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ostraca/ops/dataset"
	"ostraca/ops/eval"
	"ostraca/retrieval"
	"ostraca/retrieval/encoder"
	"ostraca/retrieval/encoder/bge"
	"ostraca/retrieval/index"
	"ostraca/retrieval/kernel"
)

var update = flag.Bool("update", false, "write the golden files anew; commit only a difference you can explain")

const corpora = "../../../testdata/corpora/"

func golden(name string) string {
	if dir := os.Getenv("OSTRACA_GOLDEN"); dir != "" {
		return filepath.Join(dir, name)
	}
	return filepath.Join("../../../testdata/golden", name)
}

// compare checks got against a golden file, or writes it.
func compare(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(golden(name), []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(golden(name))
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs:\n%s\nwant:\n%s", name, got, want)
	}
}

func load(t *testing.T, set *kernel.Set) *encoder.Encoder {
	t.Helper()
	e, err := encoder.Load(bge.Weights(), set)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func encode(t *testing.T, e *encoder.Encoder, o encoder.Options, texts ...string) []encoder.Matrix {
	t.Helper()
	m, err := e.Encode(context.Background(), texts, o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func quantize(t *testing.T, m encoder.Matrix, width int) retrieval.Codes {
	t.Helper()
	c, err := index.Quantize(retrieval.Int8, m.Vectors, width)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCodesHash: the same text gives the same codes on every CPU and in every kernel variant. 200 texts, one of them long
// enough for two windows, hash to what is committed.
func TestCodesHash(t *testing.T) {
	questions, err := dataset.Queries(corpora + "xquad_en")
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, q := range questions[:199] {
		texts = append(texts, q.Text)
	}
	for _, set := range kernel.All() {
		e := load(t, set)
		h := sha256.New()
		all := encode(t, e, encoder.Options{MaxTokens: 9}, texts...)
		all = append(all, encode(t, e, encoder.Options{}, strings.Join(texts[:26], " "))...)
		for _, m := range all {
			c := quantize(t, m, e.Width())
			h.Write(c.Rows)
			for _, s := range c.Scales {
				h.Write(binary.LittleEndian.AppendUint16(nil, s))
			}
		}
		if n := len(all[199].Tokens); n < 260 {
			t.Fatalf("the long text has only %d tokens", n)
		}
		compare(t, "codes.sha256", hex.EncodeToString(h.Sum(nil))+"\n")
		t.Logf("%s: ok", set.Name())
	}
}

// TestCranfieldRanking keeps the top five of 15 queries over 120 documents, with their integer scores, and the figures that
// follow: a change of ranking is a readable difference. Where only the Go twin runs, a part is compared, score by score.
func TestCranfieldRanking(t *testing.T) {
	e := load(t, kernel.Best())
	x, err := index.New(e.Width(), index.Options{})
	if err != nil {
		t.Fatal(err)
	}
	queries, err := dataset.Queries(corpora + "cranfield_sample")
	if err != nil {
		t.Fatal(err)
	}
	keep := func(string) bool { return true }
	if kernel.Best().Name() == "go" {
		queries = queries[:1]
		want, err := os.ReadFile(golden("cranfield.txt"))
		if err != nil {
			t.Fatal(err)
		}
		few := strings.Fields(strings.Split(string(want), "\n")[1])[:1]
		keep = func(id string) bool { return slices.Contains(few, id) }
	}
	for d, err := range dataset.Documents(corpora + "cranfield_sample") {
		if err != nil {
			t.Fatal(err)
		}
		if !keep(d.ID) {
			continue
		}
		m := encode(t, e, encoder.Options{}, d.Text)[0]
		if err := x.Put([]retrieval.Document{{ID: d.ID, Text: d.Text, Codes: quantize(t, m, e.Width())}}); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	rankings := map[string][]string{}
	for _, q := range queries {
		m := encode(t, e, encoder.Options{MaxTokens: encoder.QueryTokens}, q.Text)[0]
		asked, err := index.QuantizeQuery(retrieval.Int8, m.Vectors, e.Width(), e.QueryWeights(m.Tokens), 100)
		if err != nil {
			t.Fatal(err)
		}
		a, err := x.Search(context.Background(), asked)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "query %s: %s\n", q.ID, q.Text)
		for i, h := range a.Hits {
			if rankings[q.ID] = append(rankings[q.ID], h.ID); i < 5 {
				fmt.Fprintf(&out, "%6s %d %.4f\n", h.ID, h.Sum, h.Score)
			}
		}
	}
	if kernel.Best().Name() == "go" {
		want, _ := os.ReadFile(golden("cranfield.txt"))
		if !strings.HasPrefix(string(want), out.String()) {
			t.Errorf("got\n%swant a beginning of\n%s", out.String(), want)
		}
		return
	}
	judgements, err := dataset.ReadJudgements(corpora + "cranfield_sample")
	if err != nil {
		t.Fatal(err)
	}
	r, err := eval.Evaluate(judgements, rankings)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&out, "ndcg@10 %.4f mrr@10 %.4f recall@100 %.4f success@5 %.4f\n", r.NDCG10, r.MRR10, r.Recall100, r.Success5)
	compare(t, "cranfield.txt", out.String())
}

// TestNotice: the NOTICE names this very file.
func TestNotice(t *testing.T) {
	notice, err := os.ReadFile("NOTICE")
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(bge.Weights()); !strings.Contains(string(notice), hex.EncodeToString(sum[:])) {
		t.Errorf("NOTICE does not name the SHA-256 of the weights, %x", sum)
	}
}

// TestProvenance: the weights file names the text that its query weights were counted on, and that is none we evaluate on. It
// cannot see how the file came about: make.py, which takes that text as an argument, and NOTICE tell.
func TestProvenance(t *testing.T) {
	from := strings.ToLower(load(t, kernel.Best()).Config().WeightsFrom)
	if from == "" {
		t.Error("the weights file does not say what its query weights were counted on")
	}
	for _, set := range []string{"scifact", "cranfield", "xquad", "squad"} {
		if strings.Contains(from, set) {
			t.Errorf("query weights were counted on %s: %s", set, from)
		}
	}
}
