package shard_test

import (
	"errors"
	"fmt"
	"testing"

	"ostraca/retrieval"
	"ostraca/retrieval/encoder"
	"ostraca/retrieval/encoder/encodertest"
	"ostraca/shard"
	"ostraca/shard/shardtest"
)

// TestProjectedCollection: a collection is made with a projection that was fitted on a sample, takes texts and vectors, and answers for both, also
// by another router, and after its nodes have started again.
func TestProjectedCollection(t *testing.T) {
	small, err := encoder.Load(encodertest.Float32(), nil)
	if err != nil {
		t.Fatal(err)
	}
	e := shard.TextEncoder{Encoder: small, Threads: 1}
	bubble(t, shardtest.Options{Nodes: 1, Shards: 2, Replicas: 1, Seed: 3, Encoder: e}, func(t *testing.T, c *shardtest.Cluster) {
		var in []shard.Input
		sample := shard.Sample{Name: "numbers"}
		for i := range 100 {
			text := fmt.Sprintf("the wing number %d in flow %d", i, i*i)
			in, sample.Texts = append(in, shard.Input{ID: fmt.Sprint(i), Text: text}), append(sample.Texts, text)
		}
		to := shard.Configuration{Codec: retrieval.Int8, Width: e.Width() / 4, Encoder: e.Hash(), Epoch: 1}
		r := c.Router()
		if to.Projection, err = r.ProjectionFor(t.Context(), to, sample); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Prepare(t.Context(), "papers", in, 0); !errors.Is(err, retrieval.ErrNotFound) {
			t.Errorf("a collection that is not there: %v", err)
		}
		if _, err := r.Configure(t.Context(), "papers", shard.Configure{Change: shard.Create, Configuration: to}); err != nil {
			t.Fatal(err)
		}
		prepared, err := r.Prepare(t.Context(), "papers", in, 0)
		if err != nil {
			t.Fatal(err)
		}
		w := &shard.WriteRequest{}
		for _, p := range prepared {
			if p.Err != nil {
				t.Fatal(p.Err)
			}
			w.Operations = append(w.Operations, p.Operation)
		}
		results, err := r.Write(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range results {
			if err := x.Failure(); err != nil {
				t.Fatal(err)
			}
		}
		best := func(r *shard.Router) string {
			q, err := r.Ask(t.Context(), "papers", in[42].Text, shard.AskOptions{K: 1, Unweighted: true})
			if err != nil {
				t.Fatal(err)
			}
			a, err := r.Search(t.Context(), &shard.SearchRequest{Collection: "papers", Query: q.Query})
			if err != nil {
				t.Fatal(err)
			}
			if h := a.Hits[0]; q.Width != to.Width || h.Score < 0.95*float64(q.Len()) {
				t.Errorf("a text finds itself with %v of %d tokens", h.Score, q.Len())
			}
			return a.Hits[0].ID
		}
		if id := best(r); id != "42" {
			t.Errorf("document 42 finds %s", id)
		}
		c.Stop(0)
		c.Up(0)
		c.Settle(t)
		if id := best(c.AddRouter()); id != "42" {
			t.Errorf("after a restart document 42 finds %s", id)
		}
		if held := c.Router().Map().Collections["papers"]; held.Projection != to.Projection || held.VectorWidth() != e.Width() {
			t.Errorf("the projection is lost: %v", held.Projection.Sample())
		}
	})
}
