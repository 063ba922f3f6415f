package shard_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ostraca/retrieval"
	"ostraca/shard"
	"ostraca/shard/shardtest"
)

const year = 365 * 24 * time.Hour

// putAs writes documents "<prefix>0" to "<prefix>n-1", whose number is theirs, and returns the failures by document.
func putAs(ctx context.Context, m shard.Memory, prefix string, n int) ([]shard.Result, error) {
	w := &shard.WriteRequest{}
	for i := range n {
		w.Operations = append(w.Operations, shardtest.Put("papers", shardtest.Document(fmt.Sprint(prefix, i), uint64(i)), shard.Condition{}))
	}
	return m.Write(ctx, w)
}

// puts is putAs, and all of it must take effect.
func puts(t *testing.T, m shard.Memory, prefix string, n int) []shard.Result {
	t.Helper()
	results, err := putAs(t.Context(), m, prefix, n)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if err := r.Failure(); err != nil {
			t.Fatalf("document %s%d: %v", prefix, i, err)
		}
	}
	return results
}

// within runs f and fails if it takes longer, by the bubble's clock.
func within(t *testing.T, what string, limit time.Duration, f func()) {
	t.Helper()
	began := time.Now()
	f()
	if took := time.Since(began); took > limit {
		t.Errorf("%s took %v, at most %v are allowed", what, took, limit)
	}
}

// oneOf expects an error of one of the kinds.
func oneOf(t *testing.T, what string, err error, kinds ...error) {
	t.Helper()
	if !slices.ContainsFunc(kinds, func(kind error) bool { return errors.Is(err, kind) }) {
		t.Errorf("%s: %v, want one of %q", what, err, kinds)
	}
}

func listed(ctx context.Context, m shard.Memory, read shard.Read) (int, error) {
	a, err := m.List(ctx, &shard.ListRequest{Collection: "papers", Limit: shard.MaxListed, Read: read})
	if err != nil {
		return 0, err
	}
	return len(a.Documents), nil
}

// TestNoQuorum: without a quorum, writes and fresh reads fail in bounded time, and local reads go on; with it, all is well again.
func TestNoQuorum(t *testing.T) {
	for name, lose := range map[string]func(c *shardtest.Cluster, alone int){
		"Crash": func(c *shardtest.Cluster, alone int) { c.Crash((alone+1)%3, false); c.Crash((alone+2)%3, false) },
		"Kill":  func(c *shardtest.Cluster, alone int) { c.Crash((alone+1)%3, true); c.Crash((alone+2)%3, true) },
		"Cut": func(c *shardtest.Cluster, alone int) {
			c.Fabric.Partition([]string{c.RouterIP(), c.IP(alone)}, []string{c.IP((alone + 1) % 3), c.IP((alone + 2) % 3)})
		},
	} {
		for _, leads := range []bool{true, false} {
			t.Run(fmt.Sprint(name, leads), func(t *testing.T) {
				t.Parallel()
				bubble(t, shardtest.Options{Nodes: 3, Shards: 1, Replicas: 3, Seed: 2}, func(t *testing.T, c *shardtest.Cluster) {
					create(t, c, "papers")
					puts(t, c.Router(), "a", 10)
					settled(t, c)
					alone := role(t, c, 0, 3, leads)
					lose(c, alone)
					r := c.Node(alone).Replica(0)
					for what, m := range map[string]shard.Memory{"router": c.Router(), "replica": r} {
						within(t, what+": a write", 17*time.Second, func() {
							w := &shard.WriteRequest{Operations: []shard.Operation{shardtest.Put("papers", shardtest.Document("b", 1), shard.Condition{})}}
							w.Operations[0].ID = shard.NewOperationID(c.Router().Now(), 1)
							results, err := m.Write(t.Context(), w)
							if err == nil {
								err = results[0].Failure()
							}
							oneOf(t, what+": a write", err, shard.ErrUnavailable, shard.ErrUnknown)
						})
						for level, read := range map[string]shard.Read{"linearizable": {}, "bounded": {Level: shard.Bounded, Bound: time.Millisecond}} {
							within(t, what+": a "+level+" read", 21*time.Second, func() {
								_, err := listed(t.Context(), m, read)
								oneOf(t, what+": a "+level+" read", err, shard.ErrUnavailable, context.DeadlineExceeded)
							})
						}
						within(t, what+": a local read", time.Second, func() {
							if n, err := listed(t.Context(), m, shard.Read{Level: shard.Local}); n < 10 || err != nil {
								t.Errorf("%s: a local read has %d documents: %v", what, n, err)
							}
							a, err := m.Search(t.Context(), &shard.SearchRequest{Collection: "papers", Query: shardtest.Query(1, 5), Read: shard.Read{Level: shard.Local}})
							if err != nil || len(a.Hits) != 5 {
								t.Errorf("%s: a local search: %v, %+v", what, err, a)
							}
						})
					}
					c.Fabric.Heal()
					for i := range 3 {
						if c.Node(i) == nil {
							c.Up(i)
						}
					}
					within(t, "recovery", 15*time.Second, func() {
						for ctx := t.Context(); ; time.Sleep(100 * time.Millisecond) {
							if results, err := putAs(ctx, c.Router(), "c", 5); err == nil && results[0].Failure() == nil {
								break
							}
						}
					})
					if n, err := listed(t.Context(), c.Router(), shard.Read{}); n != 15 && n != 16 || err != nil { // b may have taken effect
						t.Errorf("%d documents: %v", n, err)
					}
					settled(t, c)
				})
			})
		}
	}
}

// TestLateShards: shards that do not answer are named, and the others give what they have; of a batch, every operation has a result.
func TestLateShards(t *testing.T) {
	bubble(t, shardtest.Options{Nodes: 4, Shards: 4, Replicas: 2, Seed: 3}, func(t *testing.T, c *shardtest.Cluster) {
		create(t, c, "papers")
		puts(t, c.Router(), "a", 60)
		settled(t, c)
		var rest []shard.Document
		for i := range 60 {
			if d := shardtest.Document(fmt.Sprint("a", i), uint64(i)); shard.Place(d.ID, 4) >= 2 {
				rest = append(rest, d)
			}
		}
		want, err := shardtest.Reference(rest...).Search(t.Context(), shardtest.Query(1, 50))
		if err != nil {
			t.Fatal(err)
		}
		c.Fabric.Isolate(c.IP(1)) // shards 0 and 1 have one of two replicas left
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		within(t, "a batch", 5*time.Second, func() {
			results, err := putAs(ctx, c.Router(), "b", 40)
			if err != nil {
				t.Fatal(err)
			}
			for i, r := range results {
				if shard.Place(fmt.Sprint("b", i), 4) >= 2 {
					if r.Failure() != nil || len(r.Receipts) != 1 {
						t.Errorf("document b%d of a shard with its quorum: %+v", i, r)
					}
				} else {
					oneOf(t, "a document of a shard without", r.Failure(), shard.ErrUnavailable, shard.ErrUnknown)
				}
			}
		})
		for _, o := range []shard.Operation{{Collection: "papers", Body: &shard.Forget{Parents: []string{"b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8", "b9"}}}} {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			results, err := c.Router().Write(ctx, &shard.WriteRequest{Operations: []shard.Operation{o}})
			cancel()
			if err != nil {
				t.Fatal(err)
			}
			oneOf(t, "a forget over all shards", results[0].Failure(), shard.ErrUnavailable, shard.ErrUnknown)
			if len(results[0].Receipts) != 2 {
				t.Errorf("a forget over all shards: receipts of %d, want 2", len(results[0].Receipts))
			}
		}
		for _, level := range []shard.Level{shard.Linearizable, shard.Bounded} {
			q := &shard.SearchRequest{Collection: "papers", Query: shardtest.Query(1, 50), Read: shard.Read{Level: level, Bound: time.Second}}
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			within(t, "a search", 4*time.Second, func() {
				_, err := c.Router().Search(ctx, q)
				partial := &shard.PartialError{}
				if !errors.As(err, &partial) || !errors.Is(err, shard.ErrPartial) || !errors.Is(err, shard.ErrUnavailable) {
					t.Fatalf("a search: %v", err)
				}
				if len(partial.Missing) != 2 || partial.Missing[0].Shard != 0 || partial.Missing[1].Shard != 1 {
					t.Errorf("missing are %+v", partial.Missing)
				}
				if got := hitsOf(partial.Answer, "a"); !reflect.DeepEqual(got, want.Hits) {
					t.Errorf("the partial answer is\n%+v\nwant\n%+v", got, want.Hits)
				}
			})
			cancel()
			q.AllowPartial, q.Documents = true, true
			ctx, cancel = context.WithTimeout(t.Context(), 3*time.Second)
			a, err := c.Router().Search(ctx, q)
			cancel()
			if err != nil || len(a.Missing) != 2 || a.Missing[0].Shard != 0 || len(a.States) != 2 || len(a.Documents) != len(a.Hits) {
				t.Fatalf("a partial search: %v, %+v", err, a)
			}
			if got := hitsOf(a, "a"); !reflect.DeepEqual(got, want.Hits) {
				t.Errorf("the partial answer is\n%+v\nwant\n%+v", got, want.Hits)
			}
		}
		if n, err := listed(t.Context(), c.Router(), shard.Read{Level: shard.Local}); err != nil || n < 60 {
			t.Errorf("a local list: %d, %v", n, err)
		}
		c.Fabric.Heal()
		puts(t, c.Router(), "b", 40)
		settled(t, c)
	})
}

// hitsOf returns the hits whose ids begin with a letter.
func hitsOf(a *shard.SearchAnswer, prefix string) []retrieval.Hit {
	return slices.DeleteFunc(slices.Clone(a.Hits), func(h retrieval.Hit) bool { return h.ID[:1] != prefix })
}

// TestClocksJump: clocks that jump a year, either way, on one node or on all, move cluster time by no more than passed and a second
// an entry, never back, and refuse no write.
func TestClocksJump(t *testing.T) {
	bubble(t, shardtest.Options{Nodes: 3, Shards: 1, Replicas: 3, Seed: 4}, func(t *testing.T, c *shardtest.Cluster) {
		create(t, c, "papers")
		last, at := c.Router().Now(), time.Now()
		leader := role(t, c, 0, 3, true)
		writes := func(what string, slack time.Duration) {
			t.Helper()
			for range 12 {
				r := puts(t, c.Router(), "a", 1)[0].Receipts[0]
				passed := time.Since(at).Milliseconds()
				if r.Time < last || r.Time > last+passed+slack.Milliseconds() {
					t.Fatalf("%s: cluster time moved by %d ms, while %d ms passed", what, r.Time-last, passed)
				}
				last, at = r.Time, time.Now()
				time.Sleep(700 * time.Millisecond)
			}
		}
		writes("in order", 1100*time.Millisecond)
		began, first := time.Now(), last
		for i := range 3 { // the leader among them
			for _, off := range []time.Duration{year, -year} {
				c.SetWall(i, off)
				writes(fmt.Sprintf("clock of node %d off by %v, node %d leads", i, off, leader), 100*time.Millisecond)
				c.SetWall(i, 0)
				time.Sleep(3 * time.Second)
			}
		}
		if off := last - first - at.Sub(began).Milliseconds(); off < -3000 || off > 1000 {
			t.Errorf("with one clock off at a time, cluster time is off by %d ms", off)
		}
		c.SetWall(0, year)
		c.SetWall(1, -year)
		writes("no two clocks agree", 100*time.Millisecond)
		for _, off := range []time.Duration{year, -year, 0} {
			for i := range 3 {
				c.SetWall(i, off)
			}
			writes(fmt.Sprintf("all clocks off by %v", off), 1100*time.Millisecond)
			if err := c.Node(leader).Replica(0).Transfer(t.Context()); err != nil {
				t.Fatal(err)
			}
			leader = role(t, c, 0, 3, true)
			writes(fmt.Sprintf("all clocks off by %v, another leads", off), 1100*time.Millisecond)
		}
		settled(t, c)
	})
}

// TestIdle: the first write after a night is a write like any other.
func TestIdle(t *testing.T) {
	bubble(t, shardtest.Options{Nodes: 1, Shards: 2, Replicas: 1, Seed: 5}, func(t *testing.T, c *shardtest.Cluster) {
		create(t, c, "papers")
		puts(t, c.Router(), "a", 10)
		time.Sleep(2 * shard.RetryWindow)
		puts(t, c.Router(), "b", 10)
		time.Sleep(2 * shard.RetryWindow)
		puts(t, c.AddRouter(), "c", 10)
	})
}

// TestHedge: where one replica hangs, another one is asked soon; also where a node is asked for several shards at once.
func TestHedge(t *testing.T) {
	for _, shards := range []int{3, 7} {
		t.Run(fmt.Sprint(shards), func(t *testing.T) { hedge(t, shards) })
	}
}

func hedge(t *testing.T, shards int) {
	bubble(t, shardtest.Options{Nodes: 3, Shards: shards, Replicas: 3, Seed: 6}, func(t *testing.T, c *shardtest.Cluster) {
		create(t, c, "papers")
		puts(t, c.Router(), "a", 30)
		settled(t, c)
		search := func(read shard.Read) (took time.Duration) {
			began := time.Now()
			a, err := c.Router().Search(t.Context(), &shard.SearchRequest{Collection: "papers", Query: shardtest.Query(1, 10), Read: read, Documents: true})
			if err != nil || len(a.Documents) != 10 || len(a.States) != shards {
				t.Fatal(err, a)
			}
			return time.Since(began)
		}
		for range 6 { // connections are made
			search(shard.Read{Level: shard.Local})
			search(shard.Read{})
		}
		for i := range 3 {
			c.Fabric.Cut(c.RouterIP(), c.IP(i))
			c.Fabric.Cut(c.IP(i), c.RouterIP())
			hedged := 0
			for range 4 {
				for _, level := range []shard.Level{shard.Linearizable, shard.Bounded, shard.Local} {
					took := search(shard.Read{Level: level, Bound: time.Millisecond})
					if took > 3*shard.DefaultHedge {
						t.Errorf("node %d hangs, and a search at level %d takes %v", i, level, took)
					}
					if took >= shard.DefaultHedge {
						hedged++
					}
				}
			}
			if hedged == 0 {
				t.Errorf("node %d hangs, and no search asked it", i)
			}
			c.Fabric.Heal()
			time.Sleep(6 * time.Second)
			search(shard.Read{})
		}
	})
}

// TestPins: a hit's document is the one that was scored, whatever is written meanwhile.
func TestPins(t *testing.T) {
	bubble(t, shardtest.Options{Nodes: 3, Shards: 3, Replicas: 3, Seed: 7}, func(t *testing.T, c *shardtest.Cluster) {
		create(t, c, "papers")
		puts(t, c.Router(), "a", 12)
		settled(t, c)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan int)
		go func() {
			number := uint64(100)
			for ctx.Err() == nil {
				w := &shard.WriteRequest{}
				for i := range 12 {
					number++
					w.Operations = append(w.Operations, shardtest.Put("papers", shardtest.Document(fmt.Sprint("a", i), number), shard.Condition{}))
				}
				if results, err := c.Router().Write(t.Context(), w); err != nil || results[0].Failure() != nil {
					t.Error(err, results)
					break
				}
			}
			done <- int(number)
		}()
		versions := map[uint64]bool{}
		for i := range 150 {
			q := shardtest.Query(uint64(i), 12)
			read := []shard.Read{{}, {Level: shard.Local}, {Level: shard.Bounded, Bound: 10 * time.Millisecond}}[i%3]
			a, err := c.Router().Search(t.Context(), &shard.SearchRequest{Collection: "papers", Query: q, Documents: true, Read: read})
			if err != nil || len(a.Documents) != 12 {
				t.Fatal(err, a)
			}
			for j, d := range a.Documents {
				var number uint64
				if _, err := fmt.Sscanf(string(d.Fields), `{"number":%d}`, &number); err != nil {
					t.Fatal(err)
				}
				want, err := shardtest.Reference(shardtest.Document(d.ID, number)).Search(t.Context(), q)
				if err != nil || d.ID != a.Hits[j].ID || !reflect.DeepEqual(want.Hits[0], a.Hits[j]) {
					t.Fatalf("the document of hit %+v is number %d, whose hit is %+v: %v", a.Hits[j], number, want.Hits, err)
				}
				versions[d.Version] = true
			}
		}
		cancel()
		if written := <-done; written < 500 || len(versions) < 200 {
			t.Errorf("%d documents were written and %d read: too few for a test", written, len(versions))
		}
	})
}

// TestAlter: what a collection cannot become is refused, and does not stand in the way of what comes next.
func TestAlter(t *testing.T) {
	bubble(t, shardtest.Options{Nodes: 1, Shards: 3, Replicas: 1, Seed: 8}, func(t *testing.T, c *shardtest.Cluster) {
		create(t, c, "papers")
		puts(t, c.Router(), "a", 9)
		change := func(what shard.Change, alter func(*shard.Configuration)) (uint64, error) {
			to := shardtest.Configuration()
			alter(&to)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			return c.Router().Configure(ctx, "papers", shard.Configure{Change: what, Configuration: to})
		}
		_, err := change(shard.Create, func(to *shard.Configuration) { to.Width *= 2 })
		oneOf(t, "create with another width", err, shard.ErrExists)
		_, err = change(shard.Create, func(to *shard.Configuration) { to.Key = [32]byte{} })
		oneOf(t, "create once more", err, nil)
		for what, alter := range map[string]func(*shard.Configuration){
			"width": func(to *shard.Configuration) { to.Width *= 2 },
			"key":   func(to *shard.Configuration) { to.Key[0]++ },
		} {
			_, err := change(shard.Alter, alter)
			oneOf(t, "another "+what, err, retrieval.ErrInvalid)
		}
		_, err = change(shard.Alter, func(to *shard.Configuration) { to.Epoch = 2 })
		oneOf(t, "another epoch", err, nil)
		results, err := putAs(t.Context(), c.Router(), "b", 1)
		if err != nil || !errors.Is(results[0].Failure(), shard.ErrRetry) {
			t.Errorf("a put of the old epoch: %v, %+v", err, results)
		}
		if n, err := listed(t.Context(), c.Router(), shard.Read{}); n != 9 || err != nil {
			t.Errorf("%d documents: %v", n, err)
		}
		n, err := change(shard.Drop, func(*shard.Configuration) {})
		if n != 9 || err != nil {
			t.Errorf("a drop forgot %d documents: %v", n, err)
		}
		_, err = change(shard.Drop, func(*shard.Configuration) {})
		oneOf(t, "drop of nothing", err, retrieval.ErrNotFound)
		_, err = listed(t.Context(), c.Router(), shard.Read{})
		oneOf(t, "list", err, retrieval.ErrNotFound)
	})
}

// TestLargePages: a page that a shard cuts by its bytes leaves out nothing of the other shards, and too much at once is refused.
func TestLargePages(t *testing.T) {
	bubble(t, shardtest.Options{Nodes: 1, Shards: 2, Replicas: 1, Seed: 9}, func(t *testing.T, c *shardtest.Cluster) {
		create(t, c, "papers")
		var large, all []string
		text := strings.Repeat("t", retrieval.MaxTextBytes)
		for i := 0; len(large) < 18 || len(all) < 120; i++ {
			d := shard.Document{ID: fmt.Sprintf("d%03d", i)}
			if shard.Place(d.ID, 2) == 0 && len(large) < 18 {
				d.Text = text
				large = append(large, d.ID)
			}
			all = append(all, d.ID)
			results, err := c.Router().Write(t.Context(), &shard.WriteRequest{Operations: []shard.Operation{shardtest.Put("papers", d, shard.Condition{})}})
			if err != nil || results[0].Failure() != nil {
				t.Fatal(err, results)
			}
		}
		for _, limit := range []int{len(all), shard.MaxListed, 40, 55} {
			var got []string
			list, err := shardtest.All(t.Context(), c.Router(), "papers", limit)
			for _, d := range list {
				got = append(got, d.ID)
			}
			if err != nil || !slices.Equal(got, all) {
				t.Errorf("in pages of %d: %v, %q, want %q", limit, err, got, all)
			}
		}
		_, err := c.Router().Get(t.Context(), &shard.GetRequest{Collection: "papers", IDs: large})
		oneOf(t, "too much at once", err, retrieval.ErrTooLarge)
		if a, err := c.Router().Get(t.Context(), &shard.GetRequest{Collection: "papers", IDs: large[:15]}); err != nil || len(a.Documents) != 15 {
			t.Errorf("15 MiB at once: %v", err)
		}
	})
}
