package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rivo/uniseg"
	"github.com/spf13/cobra"

	"ostraca/api"
	"ostraca/ops/dataset"
	"ostraca/retrieval"
	"ostraca/shard/endpoint"
)

// This file measures by which plans a collection of a live cluster reaches recall targets, and installs them.

const (
	minCalibration   = 50  // queries: plans measured on fewer fit others badly
	maxCalibration   = 200 // queries, unless --limit says otherwise: more make plans little better, and take longer
	calibrationBatch = 64  // of them sent together
)

type calibrateOptions struct {
	target
	queries string
	limit   int
	dryRun  bool
	text    textOptions
}

func newCollectionCalibrate(a *app) *cobra.Command {
	var o calibrateOptions
	c := &cobra.Command{
		Use:   "calibrate NAME",
		Short: "Measure which plans reach recall targets, and install them",
		Long: "Asks every other question exactly and by plans, keeps for each recall target (0.9, 0.95, 0.99) and k (10, 100) the cheapest plan that finds\n" +
			"that share of the exact answers, in the mean over these questions, and installs them with the collection. Where none is cheaper than scoring\n" +
			"everything, the target is served exactly. The recall that is told is that over the other questions, which no plan was chosen by.\n" +
			"Sketched 20/400 keeps 400 documents of the best 20 lists, in a collection that has lists. Without --queries the questions are the first\n" +
			"sentences of documents: real ones are better.",
		Example: "  ostraca collection calibrate notes --queries testdata/corpora/xquad_en\n  ostraca collection calibrate notes --dry-run",
		Args:    needs("NAME", false),
		RunE: func(c *cobra.Command, args []string) error {
			o.collection = args[0]
			return a.calibrate(c.Context(), o)
		},
	}
	f := c.Flags()
	o.register(f)
	f.StringVar(&o.queries, "queries", "", "questions: a .jsonl file, a BEIR directory, or a directory of token vectors with queries (default: first sentences of documents)")
	f.IntVar(&o.limit, "limit", maxCalibration, "questions to ask, spread over those that there are")
	f.BoolVar(&o.dryRun, "dry-run", false, "only measure")
	o.text.registerQuery(c)
	o.text.registerWeights(c)
	return c
}

// calibratedJSON is what calibrate --json prints.
type calibratedJSON struct {
	Collection string       `json:"collection"`
	Queries    int          `json:"queries"`  // that plans were chosen by
	HeldOut    int          `json:"held_out"` // other ones, that recall and cost are of; 0: they are of the same, as there is but one
	Installed  bool         `json:"installed"`
	Plans      []reachedOne `json:"plans"`
}

// reachedOne is a plan, and what it reached.
type reachedOne struct {
	planOf
	Recall float64 `json:"recall"`
	Cost   float64 `json:"vectors_of_exact"` // vectors met, as a share of those of an exact search
}

func (a *app) calibrate(ctx context.Context, o calibrateOptions) error {
	if o.limit < 1 {
		return fmt.Errorf("--limit is %d, it must be at least 1: %w", o.limit, retrieval.ErrInvalid)
	}
	if err := o.text.check(); err != nil {
		return err
	}
	r, err := a.connect(ctx, o.target)
	if err != nil {
		return err
	}
	defer r.close()
	held, err := r.mustFind(ctx, o.collection)
	if err != nil {
		return err
	}
	questions, err := r.questions(ctx, o, held)
	if err != nil {
		return err
	}
	fitted, others := halve(questions)
	bar := a.progress("asking", 0) // how many plans it takes, the answers tell
	defer bar.end()
	c := newCalibrator(r, o.collection, fitted, bar)
	plans, err := c.measure(ctx)
	if err != nil {
		return err
	}
	out := calibratedJSON{Collection: o.collection, Queries: len(fitted), HeldOut: len(others), Installed: !o.dryRun}
	if len(others) > 0 {
		c = newCalibrator(r, o.collection, others, bar)
	}
	for _, p := range plans {
		reached, err := c.reached(ctx, p)
		if err != nil {
			return err
		}
		out.Plans = append(out.Plans, reached)
	}
	if !o.dryRun {
		if err := r.persist(ctx, func(ctx context.Context) error {
			_, err := r.ChangeCollection(ctx, &api.ChangeCollectionRequest{Collection: o.collection, Calibration: &api.Calibration{Plans: endpoint.ToCalibration(plans)}})
			return err
		}); err != nil {
			return err
		}
	}
	if a.json {
		return a.printJSON(out)
	}
	a.printCalibration(out)
	return nil
}

// halve returns every other element, from the first on, and those between.
func halve[T any](all []T) (even, odd []T) {
	for i, x := range all {
		if i%2 == 0 {
			even = append(even, x)
		} else {
			odd = append(odd, x)
		}
	}
	return even, odd
}

func (a *app) printCalibration(c calibratedJSON) {
	a.printf("target    k  sketched   scored    recall  vectors\n")
	for _, p := range c.Plans {
		a.printf("%-6s %4d  %8s %8s    %.4f   %5.1f %%\n", p.RecallTarget, p.K, p.sketched(), keeps(p.Scored), p.Recall, 100*p.Cost)
	}
	on := fmt.Sprintf("%s that were held out", plural(c.HeldOut, "question"))
	if c.HeldOut == 0 {
		on = "the same"
	}
	a.printf("plans chosen by %s, recall and vectors told of %s; sketched and scored: documents kept in each shard; vectors: met, of those of an exact search\n", plural(c.Queries, "question"), on)
	if c.Installed {
		a.printf("installed with %s: searches with --recall-target follow these plans\n", c.Collection)
	}
}

// questions returns what is asked: questions of a file, or sentences of the documents.
func (r *remote) questions(ctx context.Context, o calibrateOptions, c *api.Collection) ([]*api.SearchRequest, error) {
	if o.queries == "" && c.Encoder == "" {
		return nil, fmt.Errorf("%s holds vectors from outside: name a directory of vectors that has queries with --queries: %w", c.Name, retrieval.ErrInvalid)
	}
	var all []query
	var err error
	if o.queries == "" {
		all, err = r.sentences(ctx, o)
	} else if layout, e := dataset.Detect(o.queries); e == nil && layout == dataset.NPY {
		all, err = vectorQueries(o.queries)
	} else {
		all, err = queriesAt(o.queries)
	}
	if err != nil {
		return nil, err
	}
	var out []*api.SearchRequest
	for _, i := range spread(o.limit, len(all)) {
		q := &api.SearchRequest{IdsOnly: true, Unweighted: o.text.noIDF}
		if x := all[i]; x.vectors != nil {
			q.Tokens = wireVectors(x.vectors, x.width)
		} else {
			q.Text, q.QueryTokens = x.Text, uint32(o.text.queryTokens)
		}
		out = append(out, q)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("there is nothing to ask %s: it holds no text, and --queries names none: %w", c.Name, retrieval.ErrInvalid)
	}
	return out, nil
}

// sentences returns the first sentences of documents, so many at most.
func (r *remote) sentences(ctx context.Context, o calibrateOptions) ([]query, error) {
	var out []query
	in := &api.ListRequest{Collection: o.collection, Limit: uint32(min(o.limit, maxCalibration))}
	for {
		var page *api.ListResponse
		err := r.persist(ctx, func(ctx context.Context) (err error) {
			page, err = r.List(ctx, in)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, d := range page.Documents {
			sentence, _, _ := uniseg.FirstSentenceInString(strings.TrimSpace(d.Text), -1)
			if sentence = strings.TrimSpace(sentence); sentence != "" && len(out) < o.limit {
				out = append(out, query{Query: dataset.Query{ID: d.Id, Text: sentence}})
			}
		}
		if in.Cursor = page.NextCursor; in.Cursor == "" || len(out) >= o.limit {
			return out, nil
		}
	}
}

// asking is how all questions are asked once.
type asking struct {
	plan retrieval.Plan
	k    int
}

// calibrator asks a collection the same questions by many plans. It is a retrieval.Searcher whose queries only stand for the questions: the router
// makes codes of them.
type calibrator struct {
	*remote
	collection string
	questions  []*api.SearchRequest
	bar        *progress       // of questions, each asked by many plans
	numbers    map[*uint16]int // of questions, by the weights of the queries that stand for them
	answers    map[asking][]retrieval.Answer
}

func newCalibrator(r *remote, collection string, questions []*api.SearchRequest, bar *progress) *calibrator {
	return &calibrator{remote: r, collection: collection, questions: questions, bar: bar, answers: map[asking][]retrieval.Answer{}}
}

// measure returns a plan for every target and k, the exact one where no other is cheaper.
func (c *calibrator) measure(ctx context.Context) (retrieval.Calibration, error) {
	queries := make([]*retrieval.Query, len(c.questions))
	c.numbers = map[*uint16]int{}
	for i := range queries {
		queries[i] = &retrieval.Query{Weights: []uint16{retrieval.UnitWeight}}
		c.numbers[&queries[i].Weights[0]] = i
	}
	fmt.Fprintf(c.app.err, "asking %s, exactly and by plans\n", plural(len(queries), "question"))
	if len(queries) < minCalibration {
		fmt.Fprintf(c.app.err, "%s: plans measured on fewer than %d fit other questions badly\n", plural(len(queries), "question"), minCalibration)
	}
	out, err := retrieval.Calibrate(ctx, c, queries)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(c.answers[asking{k: out.Complete()[0].K}], func(a retrieval.Answer) bool { return len(a.Hits) > 0 }) {
		return nil, fmt.Errorf("no question finds a document: load the collection before its plans are measured: %w", retrieval.ErrInvalid)
	}
	out = out.Complete()
	return out, out.Validate()
}

// Search answers one of the queries. With the first of a plan all are asked, for the router encodes many together.
func (c *calibrator) Search(ctx context.Context, q *retrieval.Query) (retrieval.Answer, error) {
	all, err := c.all(ctx, asking{q.Plan, q.K})
	if err != nil {
		return retrieval.Answer{}, err
	}
	return all[c.numbers[&q.Weights[0]]], nil
}

// all returns the answers to all questions, which are asked at the first call.
func (c *calibrator) all(ctx context.Context, a asking) ([]retrieval.Answer, error) {
	if c.answers[a] == nil {
		all, err := c.ask(ctx, a)
		if err != nil {
			return nil, err
		}
		c.answers[a] = all
	}
	return c.answers[a], nil
}

// ask asks all questions by a plan.
func (c *calibrator) ask(ctx context.Context, a asking) ([]retrieval.Answer, error) {
	var out []retrieval.Answer
	for batch := range slices.Chunk(c.questions, calibrationBatch) {
		in := &api.SearchBatchRequest{Collection: c.collection}
		for _, q := range batch {
			in.Searches = append(in.Searches, &api.SearchRequest{Text: q.Text, Tokens: q.Tokens, QueryTokens: q.QueryTokens, Unweighted: q.Unweighted, IdsOnly: true, K: uint32(a.k), Plan: endpoint.ToPlan(a.plan)})
		}
		var found *api.SearchBatchResponse
		err := c.persist(ctx, func(ctx context.Context) (err error) {
			if found, err = c.SearchBatch(ctx, in); err != nil {
				return err
			}
			for i, one := range found.Results {
				if one.Error != nil {
					return errors.Join(err, fmt.Errorf("question %q: %w", shorten(batch[i].Text, 60), outcomeError(one.Error)))
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		for _, one := range found.Results {
			out = append(out, answerOf(one))
		}
		c.bar.add(len(batch))
	}
	return out, nil
}

// answerOf returns the ids that were found, and what that cost.
func answerOf(found *api.SearchResponse) retrieval.Answer {
	s := found.Stats
	out := retrieval.Answer{Stats: retrieval.Stats{Tokens: int64(s.GetTokensScored()), Centroids: int64(s.GetCentroidsScored()), Sketches: int64(s.GetSketchesScanned()), Coarse: int64(s.GetCoarseScored())}}
	for _, h := range found.Hits {
		out.Hits = append(out.Hits, retrieval.Hit{ID: h.Id})
	}
	return out
}

// reached tells what a plan reaches with the questions.
func (c *calibrator) reached(ctx context.Context, p retrieval.Calibrated) (reachedOne, error) {
	out := reachedOne{planOf: planOf{RecallTarget: p.Target.String(), K: p.K, planJSON: planJSON(p.Plan)}}
	exact, err := c.all(ctx, asking{retrieval.Plan{}, p.K})
	if err != nil {
		return out, err
	}
	found, err := c.all(ctx, asking{p.Plan, p.K})
	if err != nil {
		return out, err
	}
	var cost, whole int64
	for i, a := range found {
		out.Recall += shareOf(exact[i].Hits, a.Hits)
		cost, whole = cost+a.Stats.Vectors(), whole+exact[i].Stats.Vectors()
	}
	out.Recall /= float64(len(found)) // of the sum: shares of it would add up to more than 1
	out.Cost = float64(cost) / float64(max(1, whole))
	return out, nil
}

// shareOf returns the share of what is true that was found: all of nothing.
func shareOf(truth, found []retrieval.Hit) float64 {
	if len(truth) == 0 {
		return 1
	}
	both := 0
	for _, h := range truth {
		if slices.ContainsFunc(found, func(o retrieval.Hit) bool { return o.ID == h.ID }) {
			both++
		}
	}
	return float64(both) / float64(len(truth))
}
