package shard_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"ostraca/api/nodeapi"
	"ostraca/shard"
	"ostraca/shard/shardtest"
)

// searches stands between a router and its nodes, and does to each of its searches what way says; nil lets them pass.
type searches struct {
	mu  sync.Mutex
	way func(ctx context.Context, q *nodeapi.SearchRequest, a *nodeapi.SearchResponse, call func() error) error
}

func (s *searches) set(way func(ctx context.Context, q *nodeapi.SearchRequest, a *nodeapi.SearchResponse, call func() error) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.way = way
}

func (s *searches) unary(ctx context.Context, method string, request, answer any, c *grpc.ClientConn, invoke grpc.UnaryInvoker, o ...grpc.CallOption) error {
	call := func() error { return invoke(ctx, method, request, answer, c, o...) }
	s.mu.Lock()
	way := s.way
	s.mu.Unlock()
	if q, ok := request.(*nodeapi.SearchRequest); ok && way != nil {
		return way(ctx, q, answer.(*nodeapi.SearchResponse), call)
	}
	return call()
}

// hang waits until the caller has given up.
func hang(ctx context.Context) error {
	<-ctx.Done()
	return status.FromContextError(ctx.Err()).Err()
}

// bundled starts three nodes with more shards than that, and a router that has made its connections.
func bundled(t *testing.T, f func(t *testing.T, r *shard.Router, s *searches, q *shard.SearchRequest)) {
	bubble(t, shardtest.Options{Nodes: 3, Shards: 7, Replicas: 3, Seed: 18}, func(t *testing.T, c *shardtest.Cluster) {
		create(t, c, "papers")
		puts(t, c.Router(), "a", 30)
		settled(t, c)
		s := &searches{}
		r := c.AddRouter(grpc.WithChainUnaryInterceptor(s.unary))
		q := &shard.SearchRequest{Collection: "papers", Query: shardtest.Query(1, 10)}
		for range 6 {
			if _, err := r.Search(t.Context(), q); err != nil {
				t.Fatal(err)
			}
		}
		f(t, r, s, q)
	})
}

// TestBundleHedge: where all are slow, a bundle is hedged as a shard is: once.
func TestBundleHedge(t *testing.T) {
	bundled(t, func(t *testing.T, r *shard.Router, s *searches, q *shard.SearchRequest) {
		var mu sync.Mutex
		times, calls, before := map[uint32]int{}, 0, r.Stats().Hedges
		s.set(func(ctx context.Context, q *nodeapi.SearchRequest, _ *nodeapi.SearchResponse, call func() error) error {
			mu.Lock()
			calls++
			for _, shard := range q.GetShards() {
				times[shard]++
			}
			mu.Unlock()
			time.Sleep(6 * shard.DefaultHedge)
			return call()
		})
		a, err := r.Search(t.Context(), q)
		if err != nil || len(a.States) != 7 {
			t.Fatal(err, a)
		}
		time.Sleep(time.Second)
		hedges := r.Stats().Hedges - before
		for shard := range uint32(7) {
			if times[shard] != 2 {
				t.Errorf("shard %d is searched %d times", shard, times[shard])
			}
		}
		if first := calls - 7; hedges != uint64(first) || first < 1 || first > 3 {
			t.Errorf("%d calls, and %d hedges", calls, hedges)
		}
	})
}

// TestBundleInPart: a node answers late, and not for one shard. That one is asked for elsewhere, and nobody waits for the others, which hang there.
func TestBundleInPart(t *testing.T) {
	bundled(t, func(t *testing.T, r *shard.Router, s *searches, q *shard.SearchRequest) {
		var mu sync.Mutex
		answered := map[uint32]bool{}
		s.set(func(ctx context.Context, q *nodeapi.SearchRequest, a *nodeapi.SearchResponse, call func() error) error {
			shards := q.GetShards()
			if len(shards) > 1 {
				mu.Lock()
				for _, shard := range shards[1:] {
					answered[shard] = true
				}
				mu.Unlock()
				time.Sleep(shard.DefaultHedge + 10*time.Millisecond)
				err := call()
				if err == nil {
					a.Answers[0] = &nodeapi.ShardAnswer{Failure: uint32(codes.Unavailable), FailureText: "no leader"}
				}
				return err
			}
			mu.Lock()
			known := answered[shards[0]]
			mu.Unlock()
			if known {
				return hang(ctx)
			}
			return call()
		})
		within(t, "a search", 3*shard.DefaultHedge, func() {
			if a, err := r.Search(t.Context(), q); err != nil || len(a.States) != 7 || len(a.Hits) != 10 {
				t.Error(err, a)
			}
		})
		if len(answered) == 0 {
			t.Error("no node was asked for several shards")
		}
	})
}

// TestBundleInVain: where the time is over before anybody else is asked, the error names the node.
func TestBundleInVain(t *testing.T) {
	bundled(t, func(t *testing.T, r *shard.Router, s *searches, q *shard.SearchRequest) {
		s.set(func(ctx context.Context, _ *nodeapi.SearchRequest, _ *nodeapi.SearchResponse, _ func() error) error {
			return hang(ctx)
		})
		ctx, cancel := context.WithTimeout(t.Context(), shard.DefaultHedge/2)
		defer cancel()
		_, err := r.Search(ctx, q)
		oneOf(t, "a search", err, shard.ErrUnavailable)
		for _, line := range strings.Split(err.Error(), ";") {
			if !strings.Contains(line, "node n") {
				t.Errorf("%q names no node", line)
			}
		}
	})
}
