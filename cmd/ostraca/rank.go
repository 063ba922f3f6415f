package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"ostraca/ops/dataset"
	"ostraca/ops/eval"
	"ostraca/retrieval"
)

// This file asks many queries and ranks what they find: for eval and demo.

// query is a query that is measured, with its vectors where they come from a file.
type query struct {
	dataset.Query
	vectors []float32
	width   int
}

// queriesAt reads the queries of a directory or a file.
func queriesAt(path string) ([]query, error) {
	all, err := dataset.Queries(path)
	out := make([]query, len(all))
	for i, q := range all {
		out[i].Query = q
	}
	return out, err
}

// vectorQueries reads the queries of a directory of vectors.
func vectorQueries(dir string) ([]query, error) {
	v, err := dataset.OpenVectors(dir)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	var out []query
	for row, err := range v.Queries() {
		if err != nil {
			return nil, err
		}
		out = append(out, query{dataset.Query{ID: row.ID, Text: row.Text}, row.Vectors, v.Width()})
	}
	return out, nil
}

// only returns the queries that have judgements.
func only(queries []query, judgements dataset.Judgements) []query {
	return slices.DeleteFunc(queries, func(q query) bool { return judgements[q.ID] == nil })
}

// prepare makes questions of all queries, so that what is wrong with one is told before the corpus is read.
func (m *memory) prepare(ctx context.Context, queries []query) ([]question, error) {
	if m.encoder == nil {
		return m.quantizeAll(queries)
	}
	bar := m.app.progress("encoding questions", len(queries))
	defer bar.end()
	var out []question
	for batch := range slices.Chunk(queries, 4*batchOf(m.app.workers(), m.kernel)) {
		texts := make([]string, len(batch))
		for i, q := range batch {
			texts[i] = q.Text
		}
		qs, err := m.ask(ctx, texts, rankedHits)
		if err != nil {
			return nil, err
		}
		out = append(out, qs...)
		bar.add(len(batch))
	}
	return out, nil
}

func (m *memory) quantizeAll(queries []query) ([]question, error) {
	out := make([]question, len(queries))
	for i, q := range queries {
		asked, err := m.quantize(q.vectors, q.width, nil, rankedHits)
		if err != nil {
			return nil, fmt.Errorf("vectors of query %q: %w", q.ID, err)
		}
		out[i] = question{Query: asked, text: q.Text}
	}
	return out, nil
}

// weighted reports that a token of some question counts more or less than one.
func weighted(questions []question) bool {
	return slices.ContainsFunc(questions, func(q question) bool {
		return slices.ContainsFunc(q.Weights, func(w uint16) bool { return w != retrieval.UnitWeight })
	})
}

// missing counts the judged documents that the corpus does not hold. If it holds none, the two do not belong together.
func (m *memory) missing(judgements dataset.Judgements) (int, error) {
	ids := judgedIDs(judgements)
	held := 0
	for _, id := range ids {
		if _, err := m.index.Get(id); err == nil {
			held++
		}
	}
	return absent(m.path, len(ids), held)
}

// judgedIDs returns the ids of all judged documents, sorted.
func judgedIDs(judgements dataset.Judgements) []string {
	ids := map[string]bool{}
	for _, grades := range judgements {
		for id := range grades {
			ids[id] = true
		}
	}
	return slices.Sorted(maps.Keys(ids))
}

func absent(where string, judged, held int) (int, error) {
	if held == 0 {
		return 0, fmt.Errorf("%s holds none of the %d judged documents: the judgements are of another corpus: %w", where, judged, retrieval.ErrInvalid)
	}
	return judged - held, nil
}

// rankedHits is how deep a ranking is measured.
const rankedHits = 100

// rank asks the questions, one after the other, and returns the ids found for each query and the median time of a search.
func (m *memory) rank(ctx context.Context, queries []query, questions []question) (map[string][]string, float64, error) {
	bar := m.app.progress("searching", len(queries))
	defer bar.end()
	rankings := make(map[string][]string, len(queries))
	var times []float64
	for i, q := range questions {
		start := time.Now()
		answer, err := m.index.Search(ctx, q.Query)
		if err != nil {
			return nil, 0, fmt.Errorf("query %q: %w", queries[i].ID, err)
		}
		times = append(times, time.Since(start).Seconds()*1e3)
		ids := make([]string, len(answer.Hits))
		for j, h := range answer.Hits {
			ids[j] = h.ID
		}
		rankings[queries[i].ID] = ids
		bar.add(1)
	}
	return rankings, eval.Percentile(times, .5), nil
}

// recallOptions is the flag that says how much of the exact answer is to be found.
type recallOptions struct{ recall string }

func (o *recallOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.recall, "recall-target", "", "share of the exact answer to find: 0.9, 0.95, 0.99 or exact (default exact)")
}

func (o *recallOptions) target() (retrieval.Target, error) {
	if o.recall == "" {
		return retrieval.Exact, nil
	}
	t, err := retrieval.ParseTarget(o.recall)
	if err != nil {
		err = fmt.Errorf("--recall-target: %w", err)
	}
	return t, err
}

// checkCodec tells before the work that a codec is none; the empty one is the default.
func checkCodec(codec string) (retrieval.Codec, error) {
	c := cmp.Or(retrieval.Codec(codec), retrieval.Int8)
	if c.Bits() == 0 {
		return c, fmt.Errorf("--codec is %q, known are %q: %w", codec, retrieval.Codecs, retrieval.ErrInvalid)
	}
	return c, nil
}
