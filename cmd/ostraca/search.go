package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"ostraca/api"
	"ostraca/retrieval"
)

// searchOptions are the flags of search.
type searchOptions struct {
	target
	corpus, filter string
	k              int
	recall         recallOptions
	explain        bool
	partial        bool
	text           textOptions
}

func newSearch(a *app) *cobra.Command {
	var o searchOptions
	c := &cobra.Command{
		Use:   "search TEXT (--corpus PATH | --collection C)",
		Short: "Answer a question from a corpus or a live cluster, and show which tokens matched",
		Long: "Prints the best documents for a question: of a collection of a live cluster, or of a corpus (a BEIR directory, a .jsonl file, or\n" +
			"a directory of token vectors made by encode), which is loaded into memory. Encoding takes the time: encode a corpus once and\n" +
			"search its vectors, or load it into a cluster.",
		Example: "  ostraca search \"who won the game?\" --corpus testdata/corpora/xquad_en --explain\n" +
			"  ostraca search \"who won the game?\" -c xquad --router 127.0.0.1:7600 --filter 'fields.year >= 2020'",
		Args: needs("TEXT", true),
		RunE: func(c *cobra.Command, args []string) error {
			// What can be refused at once is refused before the corpus is read.
			if err := o.check(c, args); err != nil {
				return err
			}
			search := a.searchHere
			if o.corpus == "" {
				search = a.searchRemote
			}
			return search(c.Context(), strings.Join(args, " "), o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.corpus, "corpus", "", "what to search in this process: a BEIR directory, a .jsonl file, or a directory of token vectors")
	f.IntVarP(&o.k, "k", "k", 5, "documents to show")
	f.BoolVar(&o.explain, "explain", false, "show each question token beside the document span it matched")
	o.text.register(c)
	o.recall.register(f)
	a.registerEncoder(f)
	o.register(f)
	o.registerCollection(f)
	o.registerRead(f)
	registerFilter(f, &o.filter)
	f.BoolVar(&o.partial, "allow-partial", false, "an answer that lacks shards, which are named, is no error")
	return c
}

// here and there are the flags that only one kind of search knows.
var (
	here  = []string{"max-tokens", "encoder"}
	there = []string{"router", "timeout", "collection", "read", "filter", "allow-partial"}
)

func (o *searchOptions) check(c *cobra.Command, args []string) error {
	if err := checkK(o.k); err != nil {
		return err
	}
	if strings.TrimSpace(strings.Join(args, "")) == "" {
		return fmt.Errorf("the question is empty: %w", retrieval.ErrInvalid)
	}
	foreign, where := here, "--corpus"
	if c.Flags().Changed("corpus") {
		if o.corpus == "" {
			return fmt.Errorf("--corpus is empty, name what to search: %w", retrieval.ErrInvalid)
		}
		foreign, where = there, "a live cluster"
	} else if o.collection == "" {
		return fmt.Errorf("name what to search: --corpus PATH, or --collection C of a live cluster: %w", retrieval.ErrInvalid)
	}
	for _, name := range foreign {
		if c.Flags().Changed(name) {
			return fmt.Errorf("--%s is of a search in %s: %w", name, where, retrieval.ErrInvalid)
		}
	}
	if _, err := o.recall.target(); err != nil {
		return err
	}
	return o.text.check()
}

// searchHere searches a corpus in this process.
func (a *app) searchHere(ctx context.Context, text string, o searchOptions) error {
	m, err := a.open(o.corpus, o.text, true)
	if err != nil {
		return err
	}
	if m.target, err = o.recall.target(); err != nil {
		return err
	}
	qs, err := m.ask(ctx, []string{text}, o.k)
	if err != nil {
		return err
	}
	if err := m.load(ctx, 0); err != nil {
		return err
	}
	r, err := m.explain(ctx, qs[0], o.explain)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(r)
	}
	if len(r.Hits) == 0 {
		a.printf("no document has a token to match\n")
	}
	a.printf("%s\n", r.Stats.scored())
	return nil
}

// searchRemote searches a collection of a live cluster.
func (a *app) searchRemote(ctx context.Context, text string, o searchOptions) error {
	r, err := a.connect(ctx, o.target)
	if err != nil {
		return err
	}
	defer r.close()
	answer, err := r.Search(ctx, &api.SearchRequest{
		Collection: o.collection, Text: text, K: uint32(o.k), Filter: o.filter, Read: o.read, Explain: o.explain,
		AllowPartial: o.partial, RecallTarget: o.recall.recall, QueryTokens: uint32(o.text.queryTokens), Unweighted: o.text.noIDF,
	})
	if err != nil {
		return err
	}
	return a.printAnswer(answerJSON(text, answer), o.filter != "")
}

// answerJSON is what a cluster found, as --json prints it.
func answerJSON(text string, answer *api.SearchResponse) searchJSON {
	s := answer.Stats
	out := searchJSON{Query: text, Hits: make([]hitJSON, len(answer.Hits)), Stats: statsJSON{
		Plan: s.GetPlan(), ScoreUS: int64(s.GetScoreUs()), Documents: int64(s.GetDocumentsScored()), Tokens: int64(s.GetTokensScored()), Shards: int(s.GetShards()), EncodeUS: s.GetEncodeUs(), SearchUS: s.GetSearchUs(),
	}}
	if c := s.GetCascade(); c != nil {
		out.Stats.Cascade = &planJSON{int(c.Lists), int(c.Sketched), int(c.Scored)}
		out.Stats.Lists, out.Stats.Sketches, out.Stats.Sketched, out.Stats.Coarse = int64(s.CentroidsScored), int64(s.SketchesScanned), int64(s.DocumentsSketched), int64(s.CoarseScored)
		out.Stats.SketchUS, out.Stats.CoarseUS = int64(s.SketchUs), int64(s.CoarseUs)
	}
	for i, h := range answer.Hits {
		out.Hits[i] = hitOf(h)
	}
	for _, m := range answer.MissingShards {
		out.Missing = append(out.Missing, missingJSON{m.Shard, m.Reason})
	}
	return out
}

// printAnswer shows what a cluster found.
func (a *app) printAnswer(out searchJSON, filtered bool) error {
	if a.json {
		return a.printJSON(out)
	}
	for i, h := range out.Hits {
		a.printHit(i+1, h)
	}
	switch {
	case len(out.Hits) > 0:
	case filtered && out.Stats.Documents == 0:
		a.printf("the filter lets no document through\n")
	default:
		a.printf("no document, of those asked for, has a token to match\n")
	}
	for _, id := range out.NotHeld {
		a.printf("%s is not held\n", printable(id))
	}
	for _, m := range out.Missing {
		a.printf("shard %d did not answer: %s\n", m.Shard, m.Reason)
	}
	s := out.Stats
	a.printf("%s", s.scored())
	if s.Shards > 0 { // texts of the caller's own are in none
		a.printf(" in %s", plural(s.Shards, "shard"))
	}
	a.printf("; encoding %.1f ms, search %.1f ms\n", float64(s.EncodeUS)/1e3, float64(s.SearchUS)/1e3)
	return nil
}

type searchJSON struct {
	Query   string        `json:"query"`
	Hits    []hitJSON     `json:"hits"`
	Stats   statsJSON     `json:"stats"`
	Load    *loadStats    `json:"load,omitempty"` // of a corpus in this process
	Missing []missingJSON `json:"missing_shards,omitempty"`
	NotHeld []string      `json:"missing,omitempty"` // ids of a rerank
}

// statsJSON has the names of the API's stats.
type statsJSON struct {
	Plan      string `json:"plan"` // exact, or cascade
	Documents int64  `json:"documents_scored"`
	Tokens    int64  `json:"tokens_scored"`
	Segments  int64  `json:"segments,omitempty"` // of an index in this process
	Shards    int    `json:"shards,omitempty"`   // of a cluster, that answered
	EncodeUS  uint32 `json:"encode_us,omitempty"`
	SearchUS  uint32 `json:"search_us,omitempty"`
	ScoreUS   int64  `json:"score_us"` // of it, added up over shards

	// Of a cascade: all but its plan added up over shards.
	Cascade  *planJSON `json:"cascade,omitempty"`
	Lists    int64     `json:"centroids_scored,omitempty"`
	Sketches int64     `json:"sketches_scanned,omitempty"`
	Sketched int64     `json:"documents_sketched,omitempty"`
	Coarse   int64     `json:"coarse_scored,omitempty"`
	SketchUS int64     `json:"sketch_us,omitempty"`
	CoarseUS int64     `json:"coarse_us,omitempty"`
}

// scored says what was scored, and why that.
func (s *statsJSON) scored() string {
	out := fmt.Sprintf("%s, %d tokens scored exactly", plural(int(s.Documents), "document"), s.Tokens)
	if p := s.Cascade; p != nil {
		met := fmt.Sprintf("%d sketch and %d coarse vectors", s.Sketches, s.Coarse)
		if s.Lists > 0 {
			met = fmt.Sprintf("%d centroids, %s", s.Lists, met)
		}
		out += fmt.Sprintf(" (plan: sketched %s, scored %s; met %s)", p.sketched(), keeps(p.Scored), met)
	}
	return out
}

// keeps is a number of a plan, in which 0 leaves a stage out.
func keeps(n int) string {
	if n == 0 {
		return "all"
	}
	return strconv.Itoa(n)
}

// sketched is how many documents a plan keeps by their sketches, behind the lists that it looks into: 20/400.
func (p planJSON) sketched() string {
	if p.Lists == 0 {
		return keeps(p.Sketched)
	}
	return fmt.Sprintf("%d/%s", p.Lists, keeps(p.Sketched))
}

type missingJSON struct {
	Shard  uint32 `json:"shard"`
	Reason string `json:"reason"`
}

// explain answers one question, with alignments or without, and prints the hits unless --json.
func (m *memory) explain(ctx context.Context, q question, alignments bool) (searchJSON, error) {
	answer, err := m.index.Search(ctx, q.Query)
	if err != nil {
		return searchJSON{}, err
	}
	hits, err := m.answers(q, answer.Hits, alignments)
	if err != nil {
		return searchJSON{}, err
	}
	if !m.app.json {
		for i, h := range hits {
			m.app.printHit(i+1, h)
		}
	}
	s := answer.Stats
	stats := statsJSON{Plan: "exact", Documents: s.Documents, Tokens: s.Tokens, Segments: s.Segments, Sketches: s.Sketches, Sketched: s.Sketched, Coarse: s.Coarse,
		SketchUS: s.Micros.Sketch, CoarseUS: s.Micros.Coarse, ScoreUS: s.Micros.Score}
	if p := q.Plan; !p.Exact() {
		stats.Plan, stats.Cascade = "cascade", new(planJSON(p))
	}
	return searchJSON{Query: q.text, Hits: hits, Stats: stats, Load: &m.loaded}, nil
}
