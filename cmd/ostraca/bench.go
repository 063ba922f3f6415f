package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"ostraca/ops/dataset"
	"ostraca/ops/eval"
	"ostraca/retrieval"
	"ostraca/retrieval/index"
)

// benchOptions are the flags of bench.
type benchOptions struct {
	queries int
	recall  int
	ids     string
	served  servedOptions
}

func newBench(a *app) *cobra.Command {
	var o benchOptions
	c := &cobra.Command{
		Use:   "bench DIR",
		Short: "Measure speed, memory and recall on token vectors",
		Long: "Loads the vectors in DIR (made by encode, or by any other tool in the same layout), asks its queries for 10 and 100 documents\n" +
			"with the exact engine, and reports times, memory, and recall against MaxSim of the same vectors in float32.\n" +
			"Times are of the search alone, in process. cpu is processor time, which a busy machine disturbs least: quote it for one thread.\n" +
			"With --nodes and --shards, or --router, it also loads a cluster and asks it beside the engine, in turn, by several clients at once.",
		Example: "  ostraca encode DIR --out vectors && ostraca bench vectors --threads 1",
		Args:    needs("DIR", false),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.served.where(c.Flags()); err != nil {
				return err
			}
			r, err := a.bench(c.Context(), args[0], o)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(r)
			}
			a.printBench(r)
			return nil
		},
	}
	f := c.Flags()
	f.IntVar(&o.queries, "queries", 200, "queries to ask, spread evenly over the rows")
	f.IntVar(&o.recall, "recall-queries", 20, "of those, how many to check against float32, which is slow; 0 checks none")
	o.served.register(f)
	f.StringVar(&o.ids, "ids", "", "write the rows found to this file: a JSON object a line with recall_target, k and ids")
	return c
}

// benchReport is what bench --json prints.
type benchReport struct {
	Documents      int           `json:"documents"`
	Tokens         int64         `json:"tokens"`
	Width          int           `json:"width"`
	QueryTokens    float64       `json:"query_tokens"` // mean of a query
	BuildS         float64       `json:"build_s"`
	BytesPerMemory float64       `json:"bytes_per_token_memory"`
	BytesPerDisk   float64       `json:"bytes_per_token_disk"` // 0: this index lives in memory
	PeakRSS        float64       `json:"peak_rss_mb"`
	Kernel         string        `json:"kernel"`
	Codec          string        `json:"codec"`
	Results        []benchResult `json:"results"`

	Nodes  int            `json:"nodes,omitempty"` // of the cluster that was measured, and its shards
	Shards int            `json:"shards,omitempty"`
	Served []servedResult `json:"served,omitempty"`
}

// benchResult is one setting.
type benchResult struct {
	RecallTarget  string   `json:"recall_target"`
	K             int      `json:"k"`
	Threads       int      `json:"threads"`
	Recall10      *float64 `json:"recall@10,omitempty"`
	Recall100     *float64 `json:"recall@100,omitempty"`
	RecallQueries int      `json:"recall_queries"` // how many recall was measured on
	P50           float64  `json:"p50_us"`
	P95           float64  `json:"p95_us"`
	CPU           float64  `json:"cpu_us"`         // processor time of a query, mean
	Rate          float64  `json:"tokens_per_cpu"` // document tokens scored per processor second
}

// idsLine is a line of --ids.
type idsLine struct {
	RecallTarget string  `json:"recall_target"`
	K            int     `json:"k"`
	IDs          [][]int `json:"ids"` // rows of the documents, a list a query, best first
}

const exact = "exact"

func (a *app) bench(ctx context.Context, dir string, o benchOptions) (*benchReport, error) {
	if o.queries < 1 || o.recall < 0 {
		return nil, fmt.Errorf("--queries is %d and --recall-queries %d: at least 1 and 0: %w", o.queries, o.recall, retrieval.ErrInvalid)
	}
	if err := checkWritable(o.ids); err != nil {
		return nil, err
	}
	set, err := a.set()
	if err != nil {
		return nil, err
	}
	if layout, err := dataset.Detect(dir); err != nil {
		return nil, err
	} else if layout != dataset.NPY {
		return nil, fmt.Errorf("%s holds texts: make vectors of them with ostraca encode: %w", dir, retrieval.ErrInvalid)
	}
	v, err := dataset.OpenVectors(dir)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	if v.QueryLen() == 0 {
		return nil, fmt.Errorf("%s: no queries to ask: it needs query_tokens.npy and query_lens.npy: %w", dir, retrieval.ErrInvalid)
	}
	b := &bench{app: a, dir: dir, vectors: v, rows: map[string]int{}}
	if b.index, err = index.New(v.Width(), index.Options{Kernel: set, Threads: a.threads}); err != nil {
		return nil, err
	}
	start := time.Now()
	if err := b.build(ctx); err != nil {
		return nil, err
	}
	r := &benchReport{Documents: b.index.Len(), Tokens: v.Tokens(), Width: v.Width(), BuildS: time.Since(start).Seconds(), Kernel: set.Name(), Codec: string(retrieval.Int8)}
	r.BytesPerMemory = float64(b.index.Bytes()) / float64(max(1, v.Tokens()))
	if err := b.pick(o.queries); err != nil {
		return nil, err
	}
	for _, q := range b.queries {
		r.QueryTokens += float64(len(q.Vectors)/v.Width()) / float64(len(b.queries))
	}
	var found []idsLine
	for _, k := range []int{10, 100} {
		result, ids, err := b.run(ctx, k)
		if err != nil {
			return nil, err
		}
		r.Results, found = append(r.Results, result), append(found, idsLine{exact, k, ids})
	}
	r.PeakRSS = peakRSS() // of loading and searching: the float32 check comes after
	if err := b.recall(ctx, r, found, min(o.recall, len(b.queries))); err != nil {
		return nil, err
	}
	if o.served.wanted() {
		if err := b.served(ctx, o.served, r); err != nil {
			return nil, err
		}
	}
	if o.ids == "" {
		return r, nil
	}
	return r, writeLines(o.ids, found)
}

// bench is one run.
type bench struct {
	app     *app
	dir     string
	vectors *dataset.Vectors
	index   *index.Index
	rows    map[string]int // of the documents by id
	queries []dataset.Row
}

func (b *bench) build(ctx context.Context) error {
	bar := b.app.progress("building", b.vectors.Len())
	defer bar.end()
	bare := func(yield func(dataset.Row, error) bool) { // only the index is measured, not the texts
		for row, err := range b.vectors.Documents() {
			if !yield(dataset.Row{Document: dataset.Document{ID: row.ID}, Vectors: row.Vectors}, err) {
				return
			}
		}
	}
	return putVectors(ctx, b.index, bare, b.dir, func(d retrieval.Document) {
		b.rows[d.ID] = len(b.rows)
		bar.add(1)
	})
}

// pick keeps n queries, rows int(linspace(0, all-1, n)), those without tokens left out.
func (b *bench) pick(n int) error {
	want := map[int]bool{}
	for _, row := range spread(n, b.vectors.QueryLen()) {
		want[row] = true
	}
	i := 0
	for row, err := range b.vectors.Queries() {
		if err != nil {
			return err
		}
		if want[i] && len(row.Vectors) > 0 {
			b.queries = append(b.queries, row)
		}
		i++
	}
	if len(b.queries) == 0 {
		return fmt.Errorf("no query has a token: %w", retrieval.ErrInvalid)
	}
	return nil
}

// spread returns n of all rows, evenly: int(linspace(0, all-1, n)).
func spread(n, all int) []int {
	n = min(n, all)
	out := make([]int, n)
	for i := range out {
		out[i] = i * (all - 1) / max(1, n-1)
	}
	return out
}

// warmup is the queries asked before the clock starts.
const warmup = 5

// ask makes every query ask for k documents.
func (b *bench) ask(k int) ([]*retrieval.Query, error) {
	out := make([]*retrieval.Query, len(b.queries))
	for i, v := range b.queries {
		var err error
		if out[i], err = index.QuantizeQuery(v.Vectors, b.vectors.Width(), nil, k); err != nil {
			return nil, fmt.Errorf("%s: query %q: %w", b.dir, v.ID, err)
		}
	}
	return out, nil
}

// run asks every query for k documents.
func (b *bench) run(ctx context.Context, k int) (benchResult, [][]int, error) {
	r := benchResult{RecallTarget: exact, K: k, Threads: b.app.workers()}
	asked, err := b.ask(k)
	if err != nil {
		return r, nil, err
	}
	for _, q := range asked[:min(warmup, len(asked))] {
		if _, err := b.index.Search(ctx, q); err != nil {
			return r, nil, err
		}
	}
	var wall []float64
	var ids [][]int
	var tokens int64
	bar, before := b.app.progress(fmt.Sprintf("searching k=%d", k), len(asked)), cpuSeconds()
	defer bar.end()
	for _, q := range asked {
		start := time.Now()
		answer, err := b.index.Search(ctx, q)
		if err != nil {
			return r, nil, err
		}
		wall = append(wall, time.Since(start).Seconds()*1e6)
		tokens += answer.Stats.Tokens
		rows := make([]int, len(answer.Hits))
		for i, h := range answer.Hits {
			rows[i] = b.rows[h.ID]
		}
		ids = append(ids, rows)
		bar.add(1)
	}
	cpu := cpuSeconds() - before
	r.P50, r.P95 = eval.Percentile(wall, .5), eval.Percentile(wall, .95)
	r.CPU = cpu * 1e6 / float64(len(asked))
	if cpu > 0 { // not known on every system
		r.Rate = float64(tokens) / cpu
	}
	return r, ids, nil
}

// recall measures the overlap with float32 on n of the queries, spread evenly.
func (b *bench) recall(ctx context.Context, r *benchReport, found []idsLine, n int) error {
	if n == 0 {
		return nil
	}
	var sample [][]float32
	var at []int
	for _, i := range spread(n, len(b.queries)) {
		at, sample = append(at, i), append(sample, b.queries[i].Vectors)
	}
	bar := b.app.progress("float32 check", b.vectors.Len())
	defer bar.end()
	best, err := eval.FloatMaxSim(b.matrices(ctx, bar), sample, b.vectors.Width(), 100)
	if err != nil {
		return err
	}
	for i := range r.Results {
		x := &r.Results[i]
		share := 0.0
		for j, row := range at {
			share += eval.Overlap(found[i].IDs[row], best[j], x.K)
		}
		share /= float64(n)
		x.RecallQueries = n
		if x.K == 10 {
			x.Recall10 = &share
		} else {
			x.Recall100 = &share
		}
	}
	return nil
}

// matrices yields the documents' vectors as they lie in the files.
func (b *bench) matrices(ctx context.Context, bar *progress) func(func([]float32, error) bool) {
	return func(yield func([]float32, error) bool) {
		for row, err := range b.vectors.Documents() {
			if err == nil {
				err = ctx.Err()
			}
			if !yield(row.Vectors, err) || err != nil {
				return
			}
			bar.add(1)
		}
	}
}

func (a *app) printBench(r *benchReport) {
	a.printf("%d documents, %d tokens x %d, queries of %.1f tokens; codec %s, kernel %s\n", r.Documents, r.Tokens, r.Width, r.QueryTokens, r.Codec, r.Kernel)
	a.printf("built in %.2f s, %.1f bytes/token in memory, peak resident %.0f MB\n", r.BuildS, r.BytesPerMemory, r.PeakRSS)
	a.printf("%-8s %5s %8s %9s %10s %10s %10s %12s\n", "target", "k", "threads", "recall", "p50 ms", "p95 ms", "cpu ms", "Mtokens/cpu s")
	for _, x := range r.Results {
		recall := "-"
		for _, v := range []*float64{x.Recall10, x.Recall100} {
			if v != nil {
				recall = fmt.Sprintf("%.4f", *v)
			}
		}
		a.printf("%-8s %5d %8d %9s %10.3f %10.3f %10.3f %12.1f\n", x.RecallTarget, x.K, x.Threads, recall, x.P50/1e3, x.P95/1e3, x.CPU/1e3, x.Rate/1e6)
	}
	a.printServed(r)
}
