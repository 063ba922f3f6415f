package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ostraca/ops/dataset"
	"ostraca/retrieval"
	"ostraca/retrieval/index"
	"ostraca/retrieval/kernel"
	"ostraca/storage"
)

// benchOptions are the flags of bench.
type benchOptions struct {
	codec     string
	index     string
	buildOnly bool
	lists     string // folder of the sample
	queries   int
	recall    int
	targets   []string
	plans     plans
	ids       string
	writes    int
	served    servedOptions
}

func newBench(a *app) *cobra.Command {
	var o benchOptions
	c := &cobra.Command{
		Use:   "bench DIR",
		Short: "Measure speed, memory and recall on token vectors",
		Long: "Builds an index of the vectors in DIR (made by encode, or by any other tool in the same layout), asks its queries for 10 and 100\n" +
			"documents by every recall target, and reports times, memory, and recall against MaxSim of the same vectors in float32. Plans for the\n" +
			"targets are calibrated against the exact answers, on queries that are not measured, where there are enough. With --index the index and\n" +
			"the calibration stay in a folder, and the next run opens them. Times are of the search alone, in process, from float vectors to hits.\n" +
			"cpu is processor time, which a busy machine disturbs least: quote it for one thread.\n" +
			"With --nodes and --shards, or --router, it also loads a cluster and asks it beside the engine, in turn, by several clients at once.\n" +
			"docs/bench.md says what is measured, and how.",
		Example: "  ostraca encode DIR --out vectors && ostraca bench vectors --threads 1\n  ostraca bench vectors --codec 4bit --index built --build-only && ostraca bench vectors --codec 4bit --index built --threads 1",
		Args:    needs("DIR", false),
		RunE: func(c *cobra.Command, args []string) error {
			if err := errors.Join(o.served.where(c.Flags()), o.onlyBuilds(c.LocalNonPersistentFlags())); err != nil {
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
	f.StringVar(&o.codec, "codec", string(retrieval.Int8), fmt.Sprintf("how vectors are stored, one of %s", retrieval.Codecs))
	f.StringVar(&o.index, "index", "", "folder of the index: opened, or, where none is in it, built into it (default: built in memory)")
	f.BoolVar(&o.buildOnly, "build-only", false, "build the index into --index, and search nothing")
	f.StringVar(&o.lists, "lists-sample", "", "folder of vectors of other documents like these, up to 8192 of which divide the index into lists")
	f.IntVar(&o.queries, "queries", 200, "queries to ask, spread evenly over the rows")
	f.IntVar(&o.recall, "recall-queries", 20, "of those, how many to check against float32, which is slow; 0 checks none")
	f.StringSliceVar(&o.targets, "targets", []string{"0.9", "0.95", "0.99", "exact"}, "recall targets to measure")
	f.Var(&o.plans, "plans", "plans to measure beside the targets, each [LISTS/]SKETCHED:SCORED, lists looked into and documents that pass the two stages; 0 is all")
	f.IntVar(&o.writes, "writes", 0, "also measure searches beside so many writes a second, each the replacement of a document")
	o.served.register(f)
	f.StringVar(&o.ids, "ids", "", "write the rows found to this file: a JSON object a line with recall_target, k and ids")
	return c
}

// maxPlans bounds --plans.
const maxPlans = 100

// plans is --plans.
type plans []retrieval.Plan

// Set reads a list of plans, in place of an earlier one.
func (p *plans) Set(text string) error {
	*p = nil
	for _, one := range strings.Split(text, ",") {
		var x retrieval.Plan
		var errs [3]error
		lists, rest, some := strings.Cut(one, "/")
		if !some {
			lists, rest = "0", one
		}
		sketched, scored, ok := strings.Cut(rest, ":")
		x.Lists, errs[2] = strconv.Atoi(lists)
		x.Sketched, errs[0] = strconv.Atoi(sketched)
		x.Scored, errs[1] = strconv.Atoi(scored)
		if !ok || errors.Join(errs[:]...) != nil {
			return fmt.Errorf("%.40q: it must be two numbers, as in 400:60, or three, as in 200/400:60", one)
		}
		if err := x.Validate(); err != nil {
			return err
		}
		if *p = append(*p, x); len(*p) > maxPlans {
			return fmt.Errorf("more than %d plans", maxPlans)
		}
	}
	return nil
}

func (p *plans) String() string { return "" }

// Type is what help calls a value.
func (p *plans) Type() string { return "list" }

// maxWrites bounds --writes.
const maxWrites = 100_000

// check tells before the work what cannot be.
func (o *benchOptions) check() error {
	switch {
	case o.queries < 1 || o.recall < 0:
		return fmt.Errorf("--queries is %d and --recall-queries %d: at least 1 and 0: %w", o.queries, o.recall, retrieval.ErrInvalid)
	case retrieval.Codec(o.codec).Bits() == 0:
		return fmt.Errorf("--codec is %q, known are %q: %w", o.codec, retrieval.Codecs, retrieval.ErrInvalid)
	case o.buildOnly && o.index == "":
		return fmt.Errorf("--build-only builds into a folder: give --index: %w", retrieval.ErrInvalid)
	case o.writes < 0 || o.writes > maxWrites:
		return fmt.Errorf("--writes is %d, it must be 0 to %d: %w", o.writes, maxWrites, retrieval.ErrInvalid)
	case o.lists != "" && o.served.wanted():
		return fmt.Errorf("--lists-sample is of the index in this process: measure a cluster without: %w", retrieval.ErrInvalid)
	case o.lists == "" && slices.ContainsFunc(o.plans, func(p retrieval.Plan) bool { return p.Lists > 0 }):
		return fmt.Errorf("--plans names lists, and there are none: give --lists-sample: %w", retrieval.ErrInvalid)
	case len(o.targets) == 0:
		return fmt.Errorf("--targets has none: %w", retrieval.ErrInvalid)
	}
	if isIDs(o.ids) {
		return nil
	}
	return checkWritable(o.ids)
}

// buildFlags are those of bench that mean something to --build-only.
var buildFlags = []string{"codec", "index", "build-only"}

// onlyBuilds names the flags of bench that --build-only would leave out of account.
func (o *benchOptions) onlyBuilds(f *pflag.FlagSet) error {
	var idle []string
	f.VisitAll(func(x *pflag.Flag) {
		if x.Changed && !slices.Contains(buildFlags, x.Name) {
			idle = append(idle, "--"+x.Name)
		}
	})
	if !o.buildOnly || len(idle) == 0 {
		return nil
	}
	return fmt.Errorf("--build-only searches nothing: leave out %s: %w", strings.Join(idle, ", "), retrieval.ErrInvalid)
}

// parseTargets reads --targets.
func (o *benchOptions) parseTargets() (out []retrieval.Target, err error) {
	for _, name := range o.targets {
		t, err := retrieval.ParseTarget(name)
		if err != nil {
			return nil, fmt.Errorf("--targets: %w", err)
		}
		if slices.Contains(out, t) {
			return nil, fmt.Errorf("--targets has %s twice: %w", t, retrieval.ErrInvalid)
		}
		out = append(out, t)
	}
	return out, nil
}

func (a *app) bench(ctx context.Context, dir string, o benchOptions) (*benchReport, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	targets, err := o.parseTargets()
	if err != nil {
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
	if o.served.router != "" { // that there is none is told before the work, not after it
		cluster, err := a.connect(ctx, o.served.target)
		if err != nil {
			return nil, err
		}
		cluster.close()
	}
	v, err := dataset.OpenVectors(dir)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	b := &bench{app: a, dir: dir, vectors: v, kernel: set, options: o, codec: retrieval.Codec(o.codec), targets: targets}
	defer func() {
		if b.index != nil {
			b.index.Close()
		}
	}()
	r := &benchReport{Documents: v.Len(), Tokens: v.Tokens(), Width: v.Width(), Kernel: set.Name(), Codec: o.codec}
	if err := b.open(ctx, r); err != nil {
		return nil, err
	}
	r.PeakRSS = peakRSS()
	if o.buildOnly {
		return r, nil
	}
	return r, b.measure(ctx, r)
}

// bench is one run.
type bench struct {
	app     *app
	dir     string
	vectors *dataset.Vectors
	kernel  *kernel.Set
	options benchOptions
	codec   retrieval.Codec
	targets []retrieval.Target
	arena   *storage.Arena
	index   *index.Index
	lists   index.Lists
	source  index.Source  // of the vectors
	picked  []int         // of every row that was picked, its place in queries, or -1: it has no tokens, so there is nothing to ask
	queries []dataset.Row // those that are measured
	others  []dataset.Row // those that are not
	plans   retrieval.Calibration
}

// measure asks everything that was asked for.
func (b *bench) measure(ctx context.Context, r *benchReport) error {
	if b.vectors.QueryLen() == 0 {
		return fmt.Errorf("%s: no queries to ask: it needs query_tokens.npy and query_lens.npy: %w", b.dir, retrieval.ErrInvalid)
	}
	if err := b.pick(b.options.queries); err != nil {
		return err
	}
	for _, q := range b.queries {
		r.QueryTokens += float64(len(q.Vectors)/b.vectors.Width()) / float64(len(b.queries))
	}
	if err := b.calibrate(ctx, r); err != nil {
		return err
	}
	var found []idsLine
	ask := func(target recallTarget, plan func(k int) retrieval.Plan) error {
		for _, k := range []int{10, 100} {
			result, ids, err := b.run(ctx, target, plan(k), k)
			if err != nil {
				return err
			}
			r.Results, found = append(r.Results, result), append(found, idsLine{target, k, ids})
		}
		return nil
	}
	for _, t := range b.targets {
		if err := ask(recallTargetOf(t), func(k int) retrieval.Plan { return b.plans.Plan(t, k) }); err != nil {
			return err
		}
	}
	for _, p := range b.options.plans {
		if err := ask(recallTarget(planJSON(p).String()), p.For); err != nil {
			return err
		}
	}
	r.PeakRSS = peakRSS() // of loading and searching: the float32 check comes after
	if err := b.recall(ctx, r, found, min(b.options.recall, len(b.queries))); err != nil {
		return err
	}
	if b.options.served.wanted() {
		if err := b.served(ctx, b.options.served, r); err != nil {
			return err
		}
	}
	if b.options.writes > 0 { // last: it leaves another index
		if err := b.besideWrites(ctx, r); err != nil {
			return err
		}
	}
	if b.options.ids == "" {
		return nil
	}
	for i := range found {
		found[i].IDs = b.inRows(found[i].IDs)
	}
	return writeIDs(b.options.ids, found)
}

// pick keeps n queries, rows int(linspace(0, all-1, n)), and the others. Those without tokens are not asked.
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
		switch empty := len(row.Vectors) == 0; {
		case want[i] && empty:
			b.picked = append(b.picked, -1)
		case want[i]:
			b.picked, b.queries = append(b.picked, len(b.queries)), append(b.queries, row)
		case !empty:
			b.others = append(b.others, row)
		}
		i++
	}
	if len(b.queries) == 0 {
		return fmt.Errorf("none of the %d queries that were picked has a token: %w", len(b.picked), retrieval.ErrInvalid)
	}
	return nil
}

// inRows returns what was found, a list a query, as a list for every row that was picked: an empty one where there was nothing to ask.
func (b *bench) inRows(found [][]int) [][]int {
	out := make([][]int, len(b.picked))
	for i, place := range b.picked {
		out[i] = []int{}
		if place >= 0 {
			out[i] = found[place]
		}
	}
	return out
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

// ask quantises a query and asks the engine for k documents by a plan. It also returns when the query was quantised.
func (b *bench) ask(ctx context.Context, vectors []float32, plan retrieval.Plan, k int) (retrieval.Answer, time.Time, error) {
	q, err := index.QuantizeQuery(b.codec, vectors, b.vectors.Width(), nil, k)
	if err != nil {
		return retrieval.Answer{}, time.Time{}, err
	}
	q.Plan = plan
	at := time.Now()
	answer, err := b.index.Search(ctx, q)
	return answer, at, err
}

// named tells which query failed.
func (b *bench) named(row dataset.Row, err error) error {
	return fmt.Errorf("%s: query %q: %w", b.dir, row.ID, err)
}
