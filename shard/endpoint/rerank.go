package endpoint

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	"ostraca/api"
	"ostraca/retrieval"
	"ostraca/retrieval/index"
	"ostraca/shard"
)

// rerank scores candidates exactly: documents where they are, texts here, as the collection would.
func (s *Service) rerank(ctx context.Context, q *api.RerankRequest) (*api.SearchResponse, error) {
	n := len(q.GetIds()) + len(q.GetTexts())
	read, err := readOf(q)
	err = cmp.Or(err, shard.CheckCollection(q.GetCollection()), atMost(n, MaxCandidates, "candidates", "rerank several batches, scores are comparable"))
	if err == nil && (n == 0 || len(q.GetIds()) > 0 && len(q.GetTexts()) > 0) {
		err = fmt.Errorf("%d ids and %d texts: give the one or the other: %w", len(q.GetIds()), len(q.GetTexts()), retrieval.ErrInvalid)
	}
	if err != nil {
		return nil, fmt.Errorf("rerank: %w", err)
	}
	k := int(q.GetK())
	if k == 0 {
		k = n
	}
	began := time.Now()
	asked, err := s.ask(ctx, q.GetCollection(), q, optionsOf(q, k))
	if err != nil {
		return nil, fmt.Errorf("rerank: %w", err)
	}
	searching := time.Now()
	var a *shard.SearchAnswer
	var encoding time.Duration // of candidates
	if len(q.GetIds()) > 0 {
		a, err = s.router.Search(ctx, &shard.SearchRequest{Collection: q.GetCollection(), Phase: shard.Scores, Query: asked.Query, IDs: q.GetIds(), Read: read, SumsOnly: !q.GetExplain(), Documents: true})
	} else {
		a, encoding, err = s.score(ctx, q.GetCollection(), q.GetTexts(), asked.Query)
	}
	if err != nil {
		return nil, fmt.Errorf("rerank: %w", err)
	}
	return found(a, asked, q, q.GetExplain(), searching.Sub(began)+encoding, time.Since(searching)-encoding)
}

// score scores texts as if the collection held them: prepared in the same way, in an index of their own. It returns
// also how long preparing them took.
func (s *Service) score(ctx context.Context, collection string, texts []string, q *retrieval.Query) (_ *shard.SearchAnswer, encoding time.Duration, err error) {
	held, err := index.New(q.Width, index.Options{Codec: q.Codec})
	if err != nil {
		return nil, 0, err
	}
	documents := make(map[string]shard.Document, len(texts))
	for first, rest := 0, texts; len(rest) > 0; {
		n := together(rest)
		inputs := make([]shard.Input, n)
		for i := range inputs {
			inputs[i] = shard.Input{ID: strconv.Itoa(first + i), Text: rest[i]}
		}
		began := time.Now()
		prepared, err := s.router.Prepare(ctx, collection, inputs, 0)
		if err != nil {
			return nil, 0, err
		}
		encoding += time.Since(began)
		var batch []retrieval.Document
		for i, p := range prepared {
			if p.Err != nil {
				return nil, 0, fmt.Errorf("text %d: %w", first+i, p.Err)
			}
			d := p.Operation.Body.(*shard.Put).Document
			documents[d.ID] = d
			batch = append(batch, retrieval.Document{ID: d.ID, Codes: d.Codes})
		}
		if err := held.Put(batch); err != nil {
			return nil, 0, err
		}
		first, rest = first+n, rest[n:]
	}
	a, err := held.Search(ctx, q)
	if err != nil {
		return nil, 0, err
	}
	out := &shard.SearchAnswer{Answer: a}
	for _, h := range a.Hits {
		out.Documents = append(out.Documents, shard.Found{Document: documents[h.ID]})
	}
	return out, encoding, nil
}
