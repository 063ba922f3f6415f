package endpoint

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"ostraca/api"
	"ostraca/retrieval"
	"ostraca/shard"
)

// one is a search of a batch.
type one struct {
	*api.SearchRequest
	asked    *shard.Question
	encoding time.Duration
	err      error
}

// searchBatch answers each search on its own: texts are encoded together, and then several are searched for at a time.
func (s *Service) searchBatch(ctx context.Context, q *api.SearchBatchRequest) (*api.SearchBatchResponse, error) {
	if err := cmp.Or(shard.CheckCollection(q.GetCollection()), atMost(len(q.GetSearches()), MaxSearches, "searches of a batch", "ask several batches")); err != nil {
		return nil, fmt.Errorf("search batch: %w", err)
	}
	all := s.askBatch(ctx, q)
	out := &api.SearchBatchResponse{Results: make([]*api.SearchResponse, len(all))}
	room := make(chan struct{}, searchesAtOnce)
	var asking sync.WaitGroup
	for i := range all {
		room <- struct{}{}
		asking.Go(func() {
			defer func() { <-room }()
			x := &all[i]
			if x.err != nil {
				x.err = fmt.Errorf("search: %w", x.err)
			} else {
				x.err = s.guard(ctx, func() (err error) {
					out.Results[i], err = s.find(ctx, x.SearchRequest, x.asked, x.encoding)
					return err
				})
			}
			if x.err != nil {
				out.Results[i] = &api.SearchResponse{Error: toError(x.err)}
			}
		})
	}
	asking.Wait()
	return out, nil
}

// askBatch makes queries of a batch: of texts that are to be asked alike together.
func (s *Service) askBatch(ctx context.Context, q *api.SearchBatchRequest) []one {
	all, alike := make([]one, len(q.GetSearches())), map[shard.AskOptions][]int{}
	for i, search := range q.GetSearches() {
		x := &all[i]
		x.SearchRequest = proto.CloneOf(search)
		x.Collection = q.GetCollection()
		var o shard.AskOptions
		if c := search.GetCollection(); c != "" && c != q.GetCollection() {
			x.err = fmt.Errorf("it is of collection %q, in a batch of %q: leave that out: %w", c, q.GetCollection(), retrieval.ErrInvalid)
		} else if o, x.err = searchOptions(search); x.err != nil {
			continue
		} else if x.err = checkQuestion(search); x.err == nil && len(search.GetTokens()) > 0 {
			x.asked, x.err = s.ask(ctx, x.Collection, search, o)
		} else if x.err == nil {
			alike[o] = append(alike[o], i)
		}
	}
	for o, rest := range alike {
		for len(rest) > 0 {
			texts := make([]string, len(rest))
			for j, i := range rest {
				texts[j] = all[i].GetText()
			}
			n := together(texts)
			began := time.Now()
			asked, err := s.router.AskAll(ctx, q.GetCollection(), texts[:n], o)
			for j, i := range rest[:n] {
				if all[i].err, all[i].encoding = err, time.Since(began)/time.Duration(n); err == nil {
					all[i].asked, all[i].err = &asked[j], asked[j].Err
				}
			}
			rest = rest[n:]
		}
	}
	return all
}
