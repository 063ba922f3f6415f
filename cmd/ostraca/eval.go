package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
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
		Args:    needs("PATH", false),
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
	Texts     string  `json:"texts"`      // whole, cut, or as the vectors were stored
	MaxTokens int     `json:"max_tokens"` // 0: not cut here
	Missing   int     `json:"judged_documents_missing"`
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
	if err := checkWritable(o.perQuery); err != nil {
		return nil, err
	}
	o.text.noEncoder = o.vectors
	m, err := a.open(path, o.text)
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
	questions, err := prepare(ctx, path, queries, ask)
	if err != nil {
		return nil, err
	}
	if err := m.load(ctx, 0); err != nil {
		return nil, err
	}
	missing, err := m.missing(judgements)
	if err != nil {
		return nil, err
	}
	rankings, p50, err := m.rank(ctx, queries, questions)
	if err != nil {
		return nil, err
	}
	r := &evalReport{Corpus: filepath.Base(path), loadStats: m.loaded, Shards: 1, Texts: o.text.describe(m.vectors), MaxTokens: o.text.maxTokens, Missing: missing, Weights: "idf", SearchP50: p50, Kernel: m.kernel.Name()}
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
	rows := r.PerQuery
	r.PerQuery = nil
	if perQuery == "" {
		return nil
	}
	return writeLines(perQuery, rows)
}

func ndcg(s eval.Scores) float64 { return s.NDCG10 }

// judged reads the queries that have judgements, and these.
func judged(path string, o evalOptions) ([]dataset.Query, dataset.Judgements, error) {
	if layout, err := dataset.Detect(path); err == nil && layout != dataset.BEIR && (o.qrels == "" || o.queries == "" && layout == dataset.JSONL) {
		return nil, nil, fmt.Errorf("%s has no judgements beside it: name the files with --queries and --qrels: %w", path, retrieval.ErrInvalid)
	}
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
	if o.only != "" {
		keep, err := readLines(o.only)
		if err != nil {
			return nil, nil, err
		}
		maps.DeleteFunc(judgements, func(id string, _ map[string]int) bool { return !keep[id] })
	}
	queries = slices.DeleteFunc(queries, func(q dataset.Query) bool { return judgements[q.ID] == nil })
	if len(queries) == 0 {
		return nil, nil, fmt.Errorf("%s: no query has a judgement: --queries, --qrels and --only must be of one set: %w", path, retrieval.ErrInvalid)
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

// prepare makes questions of all queries.
func prepare(ctx context.Context, path string, queries []dataset.Query, ask asker) ([]question, error) {
	var out []question
	for batch := range slices.Chunk(queries, queryBatch) {
		texts := make([]string, len(batch))
		for i, q := range batch {
			texts[i] = q.Text
		}
		qs, err := ask(ctx, texts, rankedHits)
		if err != nil {
			return nil, fmt.Errorf("queries of %s: %w", path, err)
		}
		out = append(out, qs...)
	}
	return out, nil
}

// queryBatch is the queries that are encoded at a time.
const queryBatch = 256

// missing counts the judged documents that the corpus does not hold. If it holds none, the two do not belong together.
func (m *memory) missing(judgements dataset.Judgements) (int, error) {
	absent := map[string]bool{}
	found := 0
	for _, grades := range judgements {
		for id := range grades {
			if _, err := m.index.Get(id); err != nil {
				absent[id] = true
			} else {
				found++
			}
		}
	}
	if found == 0 {
		return 0, fmt.Errorf("%s holds none of the %d judged documents: the judgements are of another corpus: %w", m.path, len(absent), retrieval.ErrInvalid)
	}
	return len(absent), nil
}

// rank asks the questions, one after the other, and returns the ids found for each query and the median time of a search.
func (m *memory) rank(ctx context.Context, queries []dataset.Query, questions []question) (map[string][]string, float64, error) {
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

// describe says how documents were read.
func (o *textOptions) describe(vectors bool) string {
	switch {
	case vectors:
		return "vectors as stored"
	case o.maxTokens > 0:
		return fmt.Sprintf("texts cut at %d", o.maxTokens)
	}
	return "texts whole"
}

func (a *app) printReport(r *evalReport) {
	a.printf("%s: %d documents, %d tokens, %d queries\n", r.Corpus, r.Documents, r.Tokens, r.Queries)
	a.printf("nDCG@10     %.4f   (95 %% interval %.4f to %.4f)\n", r.NDCG10, r.NDCGInterval.Low, r.NDCGInterval.High)
	a.printf("MRR@10      %.4f\nRecall@100  %.4f\nSuccess@5   %.4f\n", r.MRR10, r.Recall100, r.Success5)
	if d := r.Difference; d != nil {
		a.printf("difference  %+.4f  (paired bootstrap, 95 %% interval %+.4f to %+.4f)\n", d.Mean, d.Low, d.High)
	}
	if r.Missing > 0 {
		a.printf("note: %d judged documents are not in the corpus\n", r.Missing)
	}
	a.printf("%s, query weights %s, kernel %s: loaded in %.1f s, search p50 %.2f ms\n", r.Texts, r.Weights, r.Kernel, r.Seconds, r.SearchP50)
}

// readPerQuery reads what --per-query wrote; no path, nothing.
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
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("%s: is empty, want a file of --per-query: %w", path, retrieval.ErrInvalid)
	}
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
