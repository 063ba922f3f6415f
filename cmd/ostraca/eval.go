package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"ostraca/ops/dataset"
	"ostraca/ops/eval"
	"ostraca/retrieval"
	"ostraca/retrieval/index"
)

// evalOptions are the flags of eval.
type evalOptions struct {
	text     textOptions
	queries  string
	qrels    string
	only     string
	vectors  bool // ask with the query vectors of the directory
	perQuery string
	against  string
}

func newEval(a *app) *cobra.Command {
	var o evalOptions
	c := &cobra.Command{
		Use:   "eval PATH",
		Short: "Measure ranking quality against judgements",
		Long: "Loads the corpus at PATH, asks every judged query, and reports nDCG@10, MRR@10, Recall@100 and Success@5 as trec_eval defines\n" +
			"them, with the 95 % bootstrap interval of nDCG@10. --against compares with an earlier run's --per-query file, query by query.",
		Example: "  ostraca eval testdata/corpora/xquad_en --max-tokens 256\n  ostraca eval scifact --per-query a.jsonl && ostraca eval scifact --no-idf --against a.jsonl",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := a.evaluate(c.Context(), args[0], o)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(r)
			}
			a.printReport(r)
			return nil
		},
	}
	o.text.register(c)
	f := c.Flags()
	f.StringVar(&o.queries, "queries", "", "file of queries (default: queries.jsonl in PATH)")
	f.StringVar(&o.qrels, "qrels", "", "file of judgements (default: qrels.tsv or qrels/test.tsv in PATH)")
	f.BoolVar(&o.vectors, "query-vectors", false, "ask with the query vectors of the directory PATH, unweighted: for vectors of other encoders")
	f.StringVar(&o.only, "only", "", "file of query ids, one a line: measure these alone")
	f.StringVar(&o.perQuery, "per-query", "", "write the measures of every query to this file, a JSON object a line")
	f.StringVar(&o.against, "against", "", "compare with this file of an earlier run")
	return c
}

// evalReport is what eval --json prints.
type evalReport struct {
	Corpus string `json:"corpus"`
	eval.Report
	NDCGInterval eval.Interval  `json:"ndcg@10_interval"`
	Difference   *eval.Interval `json:"ndcg@10_difference,omitempty"` // to --against
	loadStats
	Shards    int     `json:"shards"`
	MaxTokens int     `json:"max_tokens"` // 0: whole texts
	Weights   string  `json:"query_weights"`
	SearchP50 float64 `json:"search_p50_ms"`
	Kernel    string  `json:"kernel"`
}

// rankedHits is how deep a ranking is measured.
const rankedHits = 100

func (a *app) evaluate(ctx context.Context, path string, o evalOptions) (*evalReport, error) {
	against, err := readPerQuery(o.against)
	if err != nil {
		return nil, err
	}
	queries, judgements, err := judged(path, o)
	if err != nil {
		return nil, err
	}
	if o.perQuery != "" { // an unwritable place is told before the work
		f, err := os.OpenFile(o.perQuery, os.O_CREATE|os.O_WRONLY, 0o666)
		if err != nil {
			return nil, err
		}
		f.Close()
	}
	m, err := a.open(ctx, path, o.text, 0)
	if err != nil {
		return nil, err
	}
	ask := m.ask
	if o.vectors {
		o.text.noIDF = true
		if ask, err = vectorAsker(path, queries); err != nil {
			return nil, err
		}
	}
	rankings, p50, err := m.rank(ctx, queries, ask)
	if err != nil {
		return nil, err
	}
	r := &evalReport{Corpus: filepath.Base(path), loadStats: m.loaded, Shards: 1, MaxTokens: o.text.maxTokens, Weights: "idf", SearchP50: p50, Kernel: m.encoder.Kernel().Name()}
	if o.text.noIDF {
		r.Weights = "none"
	}
	if r.Report, err = eval.Evaluate(judgements, rankings); err != nil {
		return nil, err
	}
	return r, r.finish(o.perQuery, against)
}

// finish adds the intervals, and moves the measures of each query to their file.
func (r *evalReport) finish(perQuery string, against map[string]eval.Scores) (err error) {
	mine := r.Values(ndcg)
	if r.NDCGInterval, err = eval.Bootstrap(mine); err != nil {
		return err
	}
	if against != nil {
		other := make([]float64, len(r.PerQuery))
		for i, q := range r.PerQuery {
			s, ok := against[q.Query]
			if !ok {
				return fmt.Errorf("--against has no query %q: it is of another set: %w", q.Query, retrieval.ErrInvalid)
			}
			other[i] = s.NDCG10
		}
		d, err := eval.Difference(mine, other)
		if err != nil {
			return err
		}
		r.Difference = &d
	}
	if perQuery == "" {
		r.PerQuery = nil
		return nil
	}
	return writePerQuery(perQuery, r.PerQuery)
}

func ndcg(s eval.Scores) float64 { return s.NDCG10 }

// judged reads the queries and the judgements on them.
func judged(path string, o evalOptions) ([]dataset.Query, dataset.Judgements, error) {
	or := func(file string) string {
		if file != "" {
			return file
		}
		return path
	}
	queries, err := dataset.Queries(or(o.queries))
	if err != nil {
		return nil, nil, err
	}
	judgements, err := dataset.ReadJudgements(or(o.qrels))
	if err != nil {
		return nil, nil, err
	}
	if o.only == "" {
		return queries, judgements, nil
	}
	keep, err := readLines(o.only)
	if err != nil {
		return nil, nil, err
	}
	queries = slices.DeleteFunc(queries, func(q dataset.Query) bool { return !keep[q.ID] })
	for id := range judgements {
		if !keep[id] {
			delete(judgements, id)
		}
	}
	return queries, judgements, nil
}

// asker turns texts into questions: by encoding them, or by looking their vectors up.
type asker func(ctx context.Context, texts []string, k int) ([]question, error)

// vectorAsker looks queries up among the query vectors of a directory, by id.
func vectorAsker(dir string, queries []dataset.Query) (asker, error) {
	v, err := dataset.OpenVectors(dir)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	rows := map[string][]float32{}
	for row, err := range v.Queries() {
		if err != nil {
			return nil, err
		}
		rows[row.ID] = row.Vectors
	}
	next := 0 // rank asks in the order of queries
	return func(_ context.Context, texts []string, k int) ([]question, error) {
		out := make([]question, len(texts))
		for i := range texts {
			id := queries[next].ID
			next++
			q, err := index.QuantizeQuery(rows[id], v.Width(), nil, k)
			if err != nil {
				return nil, fmt.Errorf("%s: vectors of query %q: %w", dir, id, err)
			}
			out[i] = question{Query: q, text: texts[i]}
		}
		return out, nil
	}, nil
}

// rank asks all queries, one after the other, and returns the ids found for each and the median time of a search.
func (m *memory) rank(ctx context.Context, queries []dataset.Query, ask asker) (map[string][]string, float64, error) {
	bar := m.app.progress("searching", len(queries))
	rankings := make(map[string][]string, len(queries))
	var times []float64
	for batch := range slices.Chunk(queries, encodeBatch) {
		texts := make([]string, len(batch))
		for i, q := range batch {
			texts[i] = q.Text
		}
		qs, err := ask(ctx, texts, rankedHits)
		if err != nil {
			return nil, 0, err
		}
		for i, q := range qs {
			start := time.Now()
			answer, err := m.index.Search(ctx, q.Query)
			if err != nil {
				return nil, 0, fmt.Errorf("query %q: %w", batch[i].ID, err)
			}
			times = append(times, time.Since(start).Seconds()*1e3)
			ids := make([]string, len(answer.Hits))
			for j, h := range answer.Hits {
				ids[j] = h.ID
			}
			rankings[batch[i].ID] = ids
		}
		bar.add(len(batch))
	}
	return rankings, percentile(times, .5), nil
}

// percentile returns the value below which a share p of the values lies; 0 of none.
func percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))]
}

func (a *app) printReport(r *evalReport) {
	a.printf("%s: %d documents, %d tokens, %d queries\n", r.Corpus, r.Documents, r.Tokens, r.Queries)
	a.printf("nDCG@10     %.4f   (95 %% interval %.4f to %.4f)\n", r.NDCG10, r.NDCGInterval.Low, r.NDCGInterval.High)
	a.printf("MRR@10      %.4f\nRecall@100  %.4f\nSuccess@5   %.4f\n", r.MRR10, r.Recall100, r.Success5)
	if d := r.Difference; d != nil {
		a.printf("difference  %+.4f  (paired bootstrap, 95 %% interval %+.4f to %+.4f)\n", d.Mean, d.Low, d.High)
	}
	length := "whole"
	if r.MaxTokens > 0 {
		length = fmt.Sprintf("cut at %d (%d tokens left out)", r.MaxTokens, r.Cut)
	}
	a.printf("texts %s, query weights %s, kernel %s: loaded in %.1f s, search p50 %.2f ms\n", length, r.Weights, r.Kernel, r.Seconds, r.SearchP50)
}

func writePerQuery(path string, rows []eval.QueryScores) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	e := json.NewEncoder(w)
	for _, r := range rows {
		if err := e.Encode(r); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// readPerQuery reads what writePerQuery wrote; no path, nothing.
func readPerQuery(path string) (map[string]eval.Scores, error) {
	if path == "" {
		return nil, nil
	}
	out := map[string]eval.Scores{}
	err := eachLine(path, func(line []byte) error {
		var r eval.QueryScores
		if err := json.Unmarshal(line, &r); err != nil || r.Query == "" {
			return fmt.Errorf("not a line of --per-query: %w", retrieval.ErrInvalid)
		}
		out[r.Query] = r.Scores
		return nil
	})
	return out, err
}

func readLines(path string) (map[string]bool, error) {
	out := map[string]bool{}
	err := eachLine(path, func(line []byte) error { out[string(line)] = true; return nil })
	return out, err
}

func eachLine(path string, use func([]byte) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for n := 1; s.Scan(); n++ {
		if err := use(s.Bytes()); err != nil {
			return fmt.Errorf("%s:%d: %w", path, n, err)
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
