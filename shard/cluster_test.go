package shard_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"ostraca/shard"
	"ostraca/shard/shardtest"
)

// bubble runs a test with a cluster in virtual time.
func bubble(t *testing.T, o shardtest.Options, f func(t *testing.T, c *shardtest.Cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := shardtest.Start(t, o)
		defer c.Close()
		f(t, c)
	})
}

func create(t *testing.T, c *shardtest.Cluster, name string) {
	t.Helper()
	createAs(t, c, name, shardtest.Configuration())
}

func createAs(t *testing.T, c *shardtest.Cluster, name string, config shard.Configuration) {
	t.Helper()
	if _, err := c.Router().Configure(t.Context(), name, shard.Configure{Change: shard.Create, Configuration: config}); err != nil {
		t.Fatal(err)
	}
}

func TestSkeleton(t *testing.T) {
	bubble(t, shardtest.Options{Nodes: 3, Shards: 3, Replicas: 3, Seed: 1}, func(t *testing.T, c *shardtest.Cluster) {
		create(t, c, "papers")
		r := c.Router()
		w := &shard.WriteRequest{}
		for i := range 20 {
			w.Operations = append(w.Operations, shardtest.Put("papers", shardtest.Document(string(rune('a'+i)), uint64(i)), shard.Condition{}))
		}
		results, err := r.Write(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		for i, x := range results {
			if err := x.Failure(); err != nil {
				t.Fatal(i, err)
			}
		}
		a, err := r.Search(t.Context(), &shard.SearchRequest{Collection: "papers", Query: shardtest.Query(1, 5), Documents: true})
		if err != nil || len(a.Hits) != 5 || len(a.Documents) != 5 || len(a.States) != 3 {
			t.Fatalf("%v: %+v", err, a)
		}
		best := a.Hits[0].ID
		results, err = r.Write(t.Context(), &shard.WriteRequest{Operations: []shard.Operation{shardtest.Forget("papers", best)}})
		if err != nil || results[0].Failure() != nil || results[0].Count != 1 {
			t.Fatalf("%v: %+v", err, results)
		}
		a, err = r.Search(t.Context(), &shard.SearchRequest{Collection: "papers", Query: shardtest.Query(1, 20)})
		if err != nil || len(a.Hits) != 19 || a.Hits[0].ID == best {
			t.Fatalf("%v: %+v", err, a)
		}
	})
}

// Operations of one batch keep their order, also over several entries.
func TestOrder(t *testing.T) {
	bubble(t, shardtest.Options{Nodes: 3, Shards: 1, Replicas: 3, Seed: 2}, func(t *testing.T, c *shardtest.Cluster) {
		create(t, c, "papers")
		for range 5 {
			w := &shard.WriteRequest{}
			for i := range 24 { // of 300 KB: three make an entry
				d := shardtest.Document("a", uint64(i))
				d.Text = strings.Repeat(string(rune('a'+i)), 300<<10)
				w.Operations = append(w.Operations, shardtest.Put("papers", d, shard.Condition{}))
			}
			results, err := c.Router().Write(t.Context(), w)
			if err != nil {
				t.Fatal(err)
			}
			for i := 1; i < len(results); i++ {
				if results[i].Failure() != nil || results[i].Version <= results[i-1].Version {
					t.Fatalf("operation %d: %+v after %+v", i, results[i], results[i-1])
				}
			}
			a, err := c.Router().Get(t.Context(), &shard.GetRequest{Collection: "papers", IDs: []string{"a"}})
			if err != nil || a.Documents[0].Text[0] != 'a'+23 {
				t.Fatalf("%v: the last put is not what is held", err)
			}
		}
	})
}

// TestListManyPages: a router counts to the end where filtering is too much work for one page of a shard, and lists what passes all the same.
func TestListManyPages(t *testing.T) {
	bubble(t, shardtest.Options{Nodes: 1, Shards: 2, Replicas: 1, Seed: 3}, func(t *testing.T, c *shardtest.Cluster) {
		create(t, c, "papers")
		const n, rare = 800, 100
		w := &shard.WriteRequest{}
		for i := range n {
			fields := fmt.Appendf(nil, `{"a":%q,"n":%d}`, strings.Repeat("x", 60_000), i)
			w.Operations = append(w.Operations, shardtest.Put("papers", shard.Document{ID: fmt.Sprintf("d%04d", i), Fields: fields}, shard.Condition{}))
		}
		results, err := c.Router().Write(t.Context(), w)
		if err != nil || results[n-1].Failure() != nil {
			t.Fatal(err, results[n-1].Failure())
		}
		filter := fmt.Sprintf("fields.n %% %d == 0", rare)
		for s := range uint32(2) {
			a, err := c.Node(0).Replica(s).List(t.Context(), &shard.ListRequest{Collection: "papers", Count: true, Filter: "size(fields) == 2"})
			if err != nil || !a.More || a.Count < 200 || a.Next == "" {
				t.Fatalf("a page of shard %d: %v, %+v", s, err, a)
			}
		}
		for want, filter := range map[int]string{n: "size(fields) == 2", n / rare: filter} {
			a, err := c.Router().List(t.Context(), &shard.ListRequest{Collection: "papers", Count: true, Filter: filter})
			if err != nil || a.Count != uint64(want) || a.More || a.Next != "" || len(a.States) != 2 {
				t.Errorf("%s: %v, %+v", filter, err, a)
			}
		}
		var got []string
		for after, more := "", true; more; {
			a, err := c.Router().List(t.Context(), &shard.ListRequest{Collection: "papers", Limit: 3, Filter: filter, After: after})
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range a.Documents {
				got = append(got, d.ID)
			}
			after, more = a.Next, a.More
		}
		if fmt.Sprint(got) != "[d0000 d0100 d0200 d0300 d0400 d0500 d0600 d0700]" {
			t.Errorf("%q", got)
		}
	})
}
