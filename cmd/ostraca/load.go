package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"ostraca/ops/dataset"
	"ostraca/retrieval"
)

// loadOptions are the flags of load.
type loadOptions struct {
	target
	kind      kindOptions
	create    bool
	format    string
	split     bool
	maxTokens int
	batch     int
	parallel  int
	all       bool
	limit     int // documents at most, 0 is all: the demo's, no flag
	rejects   string
	strict    bool
}

// Defaults of load: batches that a router encodes within a second or so, and enough of them on the way that it never waits.
const (
	loadBatch    = 64
	loadParallel = 4
	maxParallel  = 256
)

func newLoad(a *app) *cobra.Command {
	var o loadOptions
	c := &cobra.Command{
		Use:   "load PATH --collection C",
		Short: "Stream a data set into a collection of a live cluster",
		Long: "Loads a BEIR directory, a .jsonl file (of texts, or of an export with --codes) or a directory of token vectors. Documents that the\n" +
			"collection holds with the same text and fields (codes, where the data set has them) are not written again: so after Ctrl-C, a\n" +
			"crash or kill -9 the same command goes on where it stood, and --all writes everything. A row that cannot be loaded (bad JSON,\n" +
			"no id, an id for the second time, over a limit) is told with its number and reason, and does not stop the rest; the exit code\n" +
			"stays 0, unless --strict or nothing at all could be loaded. Where the cluster fails or is full, a batch is repeated under its\n" +
			"operation id until it is done, or nothing has moved for --timeout.",
		Example: "  ostraca load testdata/corpora/xquad_en -c xquad --create\n  ostraca load books.jsonl -c books --split --rejects bad.jsonl\n  ostraca load vectors/ -c colbert --create --encoder none",
		Args:    needs("PATH", false),
		RunE: func(c *cobra.Command, args []string) error {
			return a.loadVerb(c.Context(), args[0], o)
		},
	}
	f := c.Flags()
	o.register(f)
	o.registerCollection(f)
	o.kind.register(f)
	f.BoolVar(&o.create, "create", false, "make the collection if it is not there")
	f.StringVar(&o.format, "format", "", "beir, jsonl or npy (default: what PATH looks like)")
	f.BoolVar(&o.split, "split", false, "cut texts over the cluster's limit of tokens at sentence ends, into passages ID#0, ID#1, ... with fields start and end")
	f.IntVar(&o.maxTokens, "max-tokens", 0, "cut texts to this many tokens, [CLS] and [SEP] counted (default: the router's setting)")
	f.IntVar(&o.batch, "batch", loadBatch, "documents of one write, at most")
	f.IntVar(&o.parallel, "parallel", loadParallel, "writes at a time")
	f.BoolVar(&o.all, "all", false, "write documents that are there already, too")
	f.StringVar(&o.rejects, "rejects", "", "write all rejected rows to this file, a JSON object a line")
	f.BoolVar(&o.strict, "strict", false, "fail if a row was rejected, at the end")
	return c
}

// check tells before the work what cannot be.
func (o *loadOptions) check(path string) error {
	if err := o.needsCollection(); err != nil {
		return err
	}
	layout, err := dataset.Detect(path)
	switch {
	case err != nil:
		return err
	case o.format != "" && o.format != string(layout):
		return fmt.Errorf("--format is %q, and %s is %s: %w", o.format, path, layout, retrieval.ErrInvalid)
	case o.split && o.maxTokens != 0:
		return fmt.Errorf("--split and --max-tokens are two ways to treat a long text, choose one: %w", retrieval.ErrInvalid)
	case o.split && layout == dataset.NPY, o.maxTokens != 0 && layout == dataset.NPY:
		return fmt.Errorf("%s holds vectors, which are not cut: %w", path, retrieval.ErrInvalid)
	case o.batch < 1 || o.batch > retrieval.MaxBatch:
		return fmt.Errorf("--batch is %d, it must be 1 to %d: %w", o.batch, retrieval.MaxBatch, retrieval.ErrInvalid)
	case o.parallel < 1 || o.parallel > maxParallel:
		return fmt.Errorf("--parallel is %d, it must be 1 to %d: %w", o.parallel, maxParallel, retrieval.ErrInvalid)
	}
	text := textOptions{maxTokens: o.maxTokens}
	o.format = string(layout)
	return errors.Join(text.check(), checkWritable(o.rejects))
}

// loadReport is what load --json prints.
type loadReport struct {
	Collection string   `json:"collection"`
	Loaded     int      `json:"loaded"`
	Unchanged  int      `json:"unchanged"`
	Rejected   int      `json:"rejected"`
	Split      int      `json:"split"` // texts that became passages
	Tokens     int64    `json:"tokens"`
	Cut        int64    `json:"tokens_cut"`
	Seconds    float64  `json:"seconds"`
	DocumentsS float64  `json:"documents_per_s"`
	TokensS    float64  `json:"tokens_per_s"`
	Rejects    []reject `json:"rejects,omitempty"` // the first of them

	Forecast *forecastJSON `json:"forecast,omitempty"` // of the whole, made after its first documents
}

// reject is a row that was not loaded.
type reject struct {
	Row    int    `json:"row"` // line of the file, or row of the vectors, from 1
	ID     string `json:"id,omitempty"`
	Reason string `json:"reason"`
}

// rejectsShown is how many of them a report has; --rejects has all.
const rejectsShown = 10

func (a *app) loadVerb(ctx context.Context, path string, o loadOptions) error {
	if err := o.check(path); err != nil {
		return err
	}
	r, err := a.connect(ctx, o.target)
	if err != nil {
		return err
	}
	defer r.close()
	l, err := r.loader(ctx, path, o)
	if err != nil {
		return err
	}
	report, err := l.run(ctx)
	if errors.Is(err, context.Canceled) {
		fmt.Fprintf(a.err, "%s loaded, %d unchanged: the same command goes on from here\n", plural(report.Loaded, "document"), report.Unchanged)
	}
	if err != nil {
		return errors.Join(err, l.undo(ctx, err))
	}
	if o.rejects != "" {
		if err := writeLines(o.rejects, l.rejects); err != nil {
			return err
		}
	}
	if err := l.nothing(); err != nil {
		return errors.Join(err, l.undo(ctx, err))
	}
	if o.strict && report.Rejected > 0 {
		return fmt.Errorf("%d of %d rows were rejected, the first: %s", report.Rejected, report.Loaded+report.Unchanged+report.Rejected, l.rejects[0])
	}
	if a.json {
		return a.printJSON(report)
	}
	a.printLoad(report, o)
	return nil
}

func (x reject) String() string {
	if x.ID == "" {
		return fmt.Sprintf("row %d: %s", x.Row, x.Reason)
	}
	return fmt.Sprintf("row %d, %q: %s", x.Row, x.ID, x.Reason)
}

func (a *app) printLoad(r loadReport, o loadOptions) {
	a.printf("%s: %s loaded, %d unchanged, %d rejected\n", r.Collection, plural(r.Loaded, "document"), r.Unchanged, r.Rejected)
	if r.Split > 0 {
		a.printf("%s were cut into passages\n", plural(r.Split, "long text"))
	}
	if r.Cut > 0 {
		a.printf("%d tokens were cut off\n", r.Cut)
	}
	if r.Loaded > 0 {
		a.printf("%d tokens in %.1f s: %.0f documents/s, %.0f tokens/s\n", r.Tokens, r.Seconds, r.DocumentsS, r.TokensS)
	}
	for _, x := range r.Rejects {
		a.printf("    %s\n", printable(x.String()))
	}
	if more := r.Rejected - len(r.Rejects); more > 0 && o.rejects == "" {
		a.printf("    and %d more: --rejects FILE has them all\n", more)
	}
}

// finish works out the rates.
func (r *loadReport) finish(start time.Time) {
	r.Seconds = time.Since(start).Seconds()
	r.DocumentsS, r.TokensS = float64(r.Loaded)/r.Seconds, float64(r.Tokens)/r.Seconds
}
