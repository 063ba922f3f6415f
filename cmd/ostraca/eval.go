package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"ostraca/ops/dataset"
	"ostraca/ops/eval"
	"ostraca/retrieval"
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
	codec    string
	reduced  reductionOptions
	recall   recallOptions
	target         // a live cluster, if router is not empty
	own      owned // a cluster of its own, if it has nodes
}

func newEval(a *app) *cobra.Command {
	var o evalOptions
	c := &cobra.Command{
		Use:   "eval PATH",
		Short: "Measure ranking quality against judgements",
		Long: "Loads the corpus at PATH, asks every judged query, and reports nDCG@10, MRR@10, Recall@100 and Success@5 as trec_eval defines\n" +
			"them, with the 95 % bootstrap interval of nDCG@10. --against compares with an earlier run's --per-query file, query by query.\n" +
			"It runs in this process, on a cluster of its own that is gone afterwards (--nodes, --shards), or on a live one (--router). The\n" +
			"figures are the same to the last digit; load_s and search_p50_ms are as a client sees them.",
		Example: "  ostraca eval testdata/corpora/xquad_en --max-tokens 256\n  ostraca eval DIR --per-query a.jsonl && ostraca eval DIR --no-idf --against a.jsonl\n" +
			"  ostraca eval DIR --nodes 3 --shards 3\n  ostraca eval DIR --router 127.0.0.1:7600",
		Args: needs("PATH", false),
		RunE: func(c *cobra.Command, args []string) error {
			if o.vectors && c.Flags().Changed("query-tokens") {
				return fmt.Errorf("--query-tokens cannot cut the vectors of --query-vectors: %w", retrieval.ErrInvalid)
			}
			if err := o.where(c.Flags()); err != nil {
				return err
			}
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
	f.StringVar(&o.codec, "codec", "", "how vectors are stored that are loaded: int8, 4bit, 3bit, 2bit or 1bit (default int8)")
	o.reduced.register(f)
	o.recall.register(f)
	a.registerEncoder(f)
	o.own.register(f)
	o.registerRouter(f, "", "measure a live cluster, through the router at this gRPC address")
	f.StringVarP(&o.collection, "collection", "c", "", "with --router: a collection that has the corpus already (default: load a temporary one and drop it)")
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
	Nodes     int     `json:"nodes"`                // of the cluster; 0: in this process
	Texts     string  `json:"texts"`                // whole, cut, or as they were stored or loaded
	Loaded    string  `json:"collection,omitempty"` // that was there already
	Width     int     `json:"width,omitempty"`      // of it
	MaxTokens int     `json:"max_tokens"`           // 0: not cut here
	Missing   int     `json:"judged_documents_missing"`
	Weights   string  `json:"query_weights"`
	SearchP50 float64 `json:"search_p50_ms"`
	Kernel    string  `json:"kernel"`
	Codec     string  `json:"codec"`
	Reduction string  `json:"reduction,omitempty"` // of the documents' token vectors
	Recall    string  `json:"recall_target"`
}

func (a *app) evaluate(ctx context.Context, path string, o evalOptions) (*evalReport, error) {
	if err := checkWritable(o.perQuery); err != nil {
		return nil, err
	}
	queries, judgements, err := judged(path, o)
	if err != nil {
		return nil, err
	}
	against, err := readPerQuery(o.against, judgements)
	if err != nil {
		return nil, err
	}
	measure := a.measureHere
	if o.router != "" || o.own.nodes > 0 {
		measure = a.measureRemote
	}
	target, err := o.recall.target()
	if err != nil {
		return nil, err
	}
	if _, err := checkCodec(o.codec); err != nil {
		return nil, err
	}
	found, err := measure(ctx, path, o, queries, judgements)
	if err != nil {
		return nil, err
	}
	r := &evalReport{
		Corpus: filepath.Base(path), loadStats: found.loaded, Shards: found.shards, Nodes: found.nodes, Texts: found.texts, MaxTokens: o.text.maxTokens,
		Loaded: o.collection, Width: found.width, Missing: found.missing, Weights: "none", SearchP50: found.p50, Kernel: found.kernel,
		Codec: found.codec, Reduction: found.reduction, Recall: target.String(),
	}
	if found.weighted {
		r.Weights = "idf"
	}
	if r.Report, err = eval.Evaluate(judgements, found.rankings); err != nil {
		return nil, err
	}
	return r, r.finish(o.perQuery, against)
}

// measured is what came of asking all queries.
type measured struct {
	loaded   loadStats
	rankings map[string][]string // ids found for each query, best first
	p50      float64             // of a search, in ms
	missing  int                 // judged documents that are not there
	texts    string
	width    int  // of a collection that was there already
	weighted bool // some token of a question counts more or less than others
	shards   int
	nodes    int
	kernel   string // empty: not known
	codec    string

	reduction string
}

// measureHere loads and asks in this process.
func (a *app) measureHere(ctx context.Context, path string, o evalOptions, queries []query, judgements dataset.Judgements) (*measured, error) {
	m, err := a.open(path, o.text, !o.vectors)
	if err != nil {
		return nil, err
	}
	if m.codec, err = checkCodec(o.codec); err != nil {
		return nil, err
	}
	if m.reduced, err = o.reduced.reduction(); err != nil {
		return nil, err
	}
	if m.target, err = o.recall.target(); err != nil {
		return nil, err
	}
	questions, err := m.prepare(ctx, queries)
	if err != nil {
		return nil, err
	}
	if err := m.load(ctx, 0); err != nil {
		return nil, err
	}
	out := &measured{loaded: m.loaded, texts: o.text.describe(m.vectors, m.loaded.Cut), weighted: weighted(questions), shards: 1, kernel: m.kernel.Name(), codec: string(m.codec), reduction: m.reduced.String()}
	if out.missing, err = m.missing(judgements); err != nil {
		return nil, err
	}
	out.rankings, out.p50, err = m.rank(ctx, queries, questions)
	return out, err
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
			other[i] = against[q.Query].NDCG10
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
func judged(path string, o evalOptions) ([]query, dataset.Judgements, error) {
	layout, err := dataset.Detect(path)
	switch {
	case err != nil:
		return nil, nil, err
	case layout != dataset.BEIR && o.qrels == "":
		return nil, nil, fmt.Errorf("%s has no judgements beside it: name a file with --qrels: %w", path, retrieval.ErrInvalid)
	case layout == dataset.JSONL && o.queries == "":
		return nil, nil, fmt.Errorf("%s has no queries beside it: name a file with --queries: %w", path, retrieval.ErrInvalid)
	case o.vectors && (layout != dataset.NPY || o.queries != ""):
		return nil, nil, fmt.Errorf("--query-vectors asks with the queries of a directory of vectors, not of a text: %w", retrieval.ErrInvalid)
	}
	read, from := queriesAt, cmp.Or(o.queries, path)
	if o.vectors {
		read = vectorQueries
	}
	queries, err := read(from)
	if err != nil {
		return nil, nil, err
	}
	judgements, err := dataset.ReadJudgements(cmp.Or(o.qrels, path))
	if err != nil {
		return nil, nil, err
	}
	if o.only != "" {
		if err := keepOnly(o.only, judgements); err != nil {
			return nil, nil, err
		}
	}
	if queries = only(queries, judgements); len(queries) == 0 {
		return nil, nil, fmt.Errorf("%s: no query has a judgement: queries and judgements must be of one set: %w", path, retrieval.ErrInvalid)
	}
	return queries, judgements, nil
}

// keepOnly deletes the judgements of all queries but those that a file lists, an id a line.
func keepOnly(path string, judgements dataset.Judgements) error {
	keep := map[string]bool{}
	err := eachLine(path, func(line []byte) error {
		id := string(line)
		if judgements[id] == nil {
			return fmt.Errorf("query %q has no judgement: %w", id, retrieval.ErrInvalid)
		}
		keep[id] = true
		return nil
	})
	if err == nil && len(keep) == 0 {
		err = fmt.Errorf("%s: is empty, want query ids: %w", path, retrieval.ErrInvalid)
	}
	maps.DeleteFunc(judgements, func(id string, _ map[string]int) bool { return !keep[id] })
	return err
}

// describe says how documents were read.
func (o *textOptions) describe(vectors bool, cut int64) string {
	switch {
	case vectors:
		return "vectors as stored"
	case o.maxTokens > 0:
		return fmt.Sprintf("texts cut at %d", o.maxTokens)
	case cut > 0:
		return "texts cut at the model's length"
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
	what := r.Texts
	if r.Loaded != "" {
		what += fmt.Sprintf(" into collection %s, %d wide", r.Loaded, r.Width)
	}
	what += ", query weights " + r.Weights
	if r.Codec != string(retrieval.Int8) {
		what += ", codec " + r.Codec
	}
	if r.Reduction != "" {
		what += ", " + r.Reduction
	}
	if r.Recall != retrieval.Exact.String() {
		what += ", recall target " + r.Recall
	}
	if r.Kernel != "" {
		what += ", kernel " + r.Kernel
	}
	if r.Nodes > 0 {
		what += fmt.Sprintf(", %s on %s", plural(r.Shards, "shard"), plural(r.Nodes, "node"))
	}
	if r.Seconds > 0 { // something was loaded
		what += fmt.Sprintf(": loaded in %.1f s", r.Seconds)
	}
	a.printf("%s, search p50 %.2f ms\n", what, r.SearchP50)
}

// readPerQuery reads what --per-query wrote, which must cover the judged queries; no path, nothing.
func readPerQuery(path string, judgements dataset.Judgements) (map[string]eval.Scores, error) {
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
	if err != nil {
		return nil, err
	}
	for _, id := range slices.Sorted(maps.Keys(judgements)) {
		if _, ok := out[id]; !ok && eval.Judged(judgements[id]) {
			return nil, fmt.Errorf("%s has no query %q: it is of another set: %w", path, id, retrieval.ErrInvalid)
		}
	}
	return out, nil
}

func eachLine(path string, use func([]byte) error) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s: is not a regular file: %w", path, retrieval.ErrInvalid)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	s, n := bufio.NewScanner(f), 1
	s.Buffer(nil, retrieval.MaxTextBytes)
	for ; s.Scan(); n++ {
		if err := use(bytes.TrimPrefix(s.Bytes(), []byte("\ufeff"))); err != nil {
			return fmt.Errorf("%s:%d: %w", path, n, err)
		}
	}
	if err := s.Err(); errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("%s:%d: the line is longer than %d bytes, the limit: %w", path, n, retrieval.MaxTextBytes, retrieval.ErrTooLarge)
	} else if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
