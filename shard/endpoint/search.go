package endpoint

import (
	"context"
	"fmt"
	"time"

	"ostraca/api"
	"ostraca/retrieval"
	"ostraca/shard"
)

// question is a request that asks: by text, or by vectors.
type question interface {
	GetText() string
	GetTokens() []*api.Vector
	GetQueryTokens() uint32
	GetUnweighted() bool
}

// ask makes a query of a question.
func (s *Service) ask(ctx context.Context, collection string, q question, o shard.AskOptions) (*shard.Question, error) {
	if err := checkQuestion(q); err != nil {
		return nil, err
	}
	if len(q.GetTokens()) == 0 {
		return s.router.Ask(ctx, collection, q.GetText(), o)
	}
	vectors, width, err := vectorsOf(q.GetTokens())
	if err != nil {
		return nil, err
	}
	return s.router.AskVectors(ctx, collection, vectors, width, o)
}

// checkQuestion reports why a question is not one question, or nil.
func checkQuestion(q question) error {
	switch {
	case len(q.GetTokens()) > 0 && q.GetText() != "":
		return fmt.Errorf("there are text and tokens: give the one or the other: %w", retrieval.ErrInvalid)
	case len(q.GetTokens()) == 0 && q.GetText() == "":
		return fmt.Errorf("there is no question: give text, or tokens: %w", retrieval.ErrInvalid)
	}
	return nil
}

func optionsOf(q question, k int) shard.AskOptions {
	return shard.AskOptions{K: k, MaxTokens: int(q.GetQueryTokens()), Unweighted: q.GetUnweighted()}
}

// searchOptions returns how a search asks.
func searchOptions(q *api.SearchRequest) (shard.AskOptions, error) {
	o := optionsOf(q, kOf(q))
	var err error
	if q.GetRecallTarget() != "" {
		if o.Target, err = retrieval.ParseTarget(q.GetRecallTarget()); err == nil && q.GetPlan() != nil {
			err = fmt.Errorf("there are recall_target and plan: give the one or the other: %w", retrieval.ErrInvalid)
		}
	}
	o.Plan = planOf(q.GetPlan())
	return o, err
}

func planOf(p *api.Plan) retrieval.Plan {
	return retrieval.Plan{Lists: int(p.GetLists()), Sketched: int(p.GetSketched()), Scored: int(p.GetScored())}
}

// ToPlan returns a plan as the contract has it.
func ToPlan(p retrieval.Plan) *api.Plan {
	return &api.Plan{Lists: uint32(p.Lists), Sketched: uint32(p.Sketched), Scored: uint32(p.Scored)}
}

func (s *Service) search(ctx context.Context, q *api.SearchRequest) (*api.SearchResponse, error) {
	if err := shard.CheckCollection(q.GetCollection()); err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	began := time.Now()
	o, err := searchOptions(q)
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	asked, err := s.ask(ctx, q.GetCollection(), q, o)
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	return s.find(ctx, q, asked, time.Since(began))
}

func kOf(q *api.SearchRequest) int {
	if q.GetK() == 0 {
		return DefaultK
	}
	return int(q.GetK())
}

// find searches with a question that is encoded.
func (s *Service) find(ctx context.Context, q *api.SearchRequest, asked *shard.Question, encoding time.Duration) (*api.SearchResponse, error) {
	read, err := readOf(q)
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	began := time.Now()
	a, err := s.router.Search(ctx, &shard.SearchRequest{Collection: q.GetCollection(), Phase: shard.Candidates, Query: asked.Query, Filter: q.GetFilter(),
		Read: read, SumsOnly: !q.GetExplain(), Documents: !q.GetIdsOnly(), AllowPartial: q.GetAllowPartial()})
	if err != nil {
		return nil, err
	}
	return found(a, asked, q, q.GetExplain(), encoding, time.Since(began))
}

// found makes an answer of what was found: of hits with their documents, or of hits alone.
func found(a *shard.SearchAnswer, asked *shard.Question, q question, explain bool, encoding, searching time.Duration) (*api.SearchResponse, error) {
	out := &api.SearchResponse{Stats: toStats(a.Stats, asked.Plan)}
	out.Stats.QueryTokens, out.Stats.Shards = uint32(asked.Len()), uint32(len(a.States))
	out.Stats.EncodeUs, out.Stats.SearchUs = uint32(encoding.Microseconds()), uint32(searching.Microseconds())
	for i, h := range a.Hits {
		hit, d := &api.Hit{Id: h.ID, Score: h.Score}, &shard.Found{}
		if len(a.Documents) > 0 {
			d = &a.Documents[i]
			fields, err := toFields(d.Fields)
			if err != nil {
				return nil, fmt.Errorf("search: document %q: %w", d.ID, err)
			}
			hit.Text, hit.Fields, hit.Version = toText(d.Text), fields, d.Version
		}
		if explain {
			hit.Alignments = toMatches(asked, q.GetText(), h, d.Text, d.Spans)
		}
		out.Hits = append(out.Hits, hit)
	}
	for _, m := range a.Missing {
		out.MissingShards = append(out.MissingShards, &api.MissingShard{Shard: m.Shard, Reason: toText(m.Err.Error())})
	}
	return out, nil
}

// toStats tells what an answer cost, and by which plan it was found.
func toStats(s retrieval.Stats, p retrieval.Plan) *api.SearchStats {
	out := &api.SearchStats{
		Plan: "exact", DocumentsScored: uint64(s.Documents), TokensScored: uint64(s.Tokens), CentroidsScored: uint64(s.Centroids), SketchesScanned: uint64(s.Sketches), DocumentsSketched: uint64(s.Sketched),
		CoarseScored: uint64(s.Coarse), SketchUs: uint32(s.Micros.Sketch), CoarseUs: uint32(s.Micros.Coarse), ScoreUs: uint32(s.Micros.Score),
	}
	if !p.Exact() {
		out.Plan, out.Cascade = "cascade", ToPlan(p)
	}
	return out
}
