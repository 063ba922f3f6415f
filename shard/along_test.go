package shard_test

import (
	"strings"
	"testing"

	"ostraca/retrieval"
	"ostraca/shard"
	"ostraca/shard/shardtest"
)

// TestFoundAlong: documents come along with the hits of a replica up to MaxHitBytes, and they are those that a get finds; only where some did not
// is the state kept. Through a router all hits have theirs.
func TestFoundAlong(t *testing.T) {
	for name, along := range map[string]struct{ bytes, least, most int }{
		"Small": {10, 12, 12},
		"Half":  {20 << 10, 2, 3},
		"Large": {shard.MaxHitBytes, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, shardtest.Options{Nodes: 3, Shards: 2, Replicas: 3, Seed: 10}, func(t *testing.T, c *shardtest.Cluster) {
				create(t, c, "papers")
				held := putTexts(t, c, along.bytes)
				q := &shard.SearchRequest{Collection: "papers", Query: shardtest.Query(1, 40), Documents: true, Hold: true}
				for s := range uint32(2) {
					r := c.Node(role(t, c, s, 3, true)).Replica(s)
					a, err := r.Search(t.Context(), q)
					if err != nil || len(a.Hits) < 12 {
						t.Fatal(err, a)
					}
					if n := len(a.Documents); n < along.least || n > len(a.Hits) || along.most < 12 && n > along.most {
						t.Errorf("%d documents came along with %d hits", n, len(a.Hits))
					}
					same(t, held, a.Hits[:len(a.Documents)], a.Documents)
					pin := a.States[0].Pin
					if (pin == nil) != (len(a.Documents) == len(a.Hits)) {
						t.Errorf("%d documents of %d hits came along, and the state that is kept is %v", len(a.Documents), len(a.Hits), pin)
					}
					if pin != nil {
						_, err := r.Get(t.Context(), &shard.GetRequest{Collection: "papers", Read: shard.Read{Pin: pin}, Last: true})
						oneOf(t, "give up", err, nil)
					}
				}
				for _, k := range []int{1, 5, 40} {
					a, err := c.Router().Search(t.Context(), &shard.SearchRequest{Collection: "papers", Query: shardtest.Query(1, k), Documents: true})
					if err != nil || len(a.Hits) != k || len(a.Documents) != k {
						t.Fatalf("%d: %v", k, err)
					}
					same(t, held, a.Hits, a.Documents)
				}
			})
		})
	}
}

// putTexts puts 40 documents with texts of so many bytes, and returns what a get finds of them.
func putTexts(t *testing.T, c *shardtest.Cluster, bytes int) map[string]shard.Found {
	t.Helper()
	held := map[string]shard.Found{}
	for i := range 40 {
		d := shardtest.Document(string(rune('A'+i)), uint64(i))
		d.Text = strings.Repeat("t", bytes)
		results, err := c.Router().Write(t.Context(), &shard.WriteRequest{Operations: []shard.Operation{shardtest.Put("papers", d, shard.Condition{})}})
		if err != nil || results[0].Failure() != nil {
			t.Fatal(err, results)
		}
		got, err := c.Router().Get(t.Context(), &shard.GetRequest{Collection: "papers", IDs: []string{d.ID}})
		if err != nil || len(got.Documents) != 1 {
			t.Fatal(err)
		}
		held[d.ID] = got.Documents[0]
	}
	return held
}

// same expects the documents of hits.
func same(t *testing.T, held map[string]shard.Found, hits []retrieval.Hit, got []shard.Found) {
	t.Helper()
	for i, h := range hits {
		if !shardtest.SameDocument(got[i].Document, held[h.ID].Document) || got[i].Version != held[h.ID].Version {
			t.Errorf("hit %d is %q, and its document is %.100q %d, want %.100q %d", i, h.ID, got[i].ID, got[i].Version, held[h.ID].ID, held[h.ID].Version)
		}
	}
}
