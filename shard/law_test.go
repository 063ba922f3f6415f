package shard_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ostraca/retrieval"
	"ostraca/shard"
	"ostraca/shard/shardtest"
	"ostraca/storage"
)

// world is what a writer believes is held, by collection and id, and the one that writes it.
type world struct {
	t     *testing.T
	c     *shardtest.Cluster
	rng   *rand.Rand
	held  map[string]map[string]shard.Document
	said  []batch // that a retry may repeat
	count uint64
}

type batch struct {
	operations []shard.Operation
	results    []shard.Result
	at         time.Time
}

func newWorld(t *testing.T, c *shardtest.Cluster, seed uint64) *world {
	w := &world{t: t, c: c, rng: rand.New(rand.NewPCG(seed, 3)), held: map[string]map[string]shard.Document{}}
	for _, name := range []string{"papers", "notes"} {
		create(t, c, name)
		w.held[name] = map[string]shard.Document{}
	}
	return w
}

// name draws an id of few, so that histories meet.
func (w *world) name() string {
	id := fmt.Sprintf("d%d", w.rng.IntN(12))
	for range w.rng.IntN(3) {
		id += fmt.Sprintf("#%d", w.rng.IntN(3))
	}
	return id
}

// write sends a batch until every operation has an outcome.
func (w *world) write(operations []shard.Operation) []shard.Result {
	w.t.Helper()
	id, err := w.c.Router().NewBatch(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range operations {
		operations[i].ID = id.Plus(i)
	}
	for range 5 {
		results, err := w.c.Router().Write(w.t.Context(), &shard.WriteRequest{Operations: operations})
		if err != nil {
			w.t.Fatal(err)
		}
		if !slices.ContainsFunc(results, func(r shard.Result) bool { return r.Err != nil }) {
			w.said = append(w.said, batch{operations, results, time.Now()})
			return results
		}
		if i := slices.IndexFunc(results, func(r shard.Result) bool {
			return r.Err != nil && !errors.Is(r.Err, shard.ErrUnavailable) && !errors.Is(r.Err, shard.ErrUnknown)
		}); i >= 0 {
			w.t.Fatal(results[i].Err)
		}
	}
	w.t.Fatal("a batch has no outcome after five tries")
	return nil
}

// change writes a random batch, and expects what it must do.
func (w *world) change() {
	name := []string{"papers", "papers", "papers", "notes"}[w.rng.IntN(4)]
	held := w.held[name]
	var operations []shard.Operation
	var want []uint64 // documents that a forget of these shall count
	for range 1 + w.rng.IntN(8) {
		id, count := w.name(), uint64(0)
		switch w.rng.IntN(6) {
		case 0, 1, 2:
			w.count++
			d := shardtest.Document(id, w.count%50)
			held[id] = d
			operations = append(operations, shardtest.Put(name, d, shard.Condition{}))
		case 3:
			patch := fmt.Sprintf(`{"p%d":%d}`, w.rng.IntN(3), w.rng.IntN(100))
			if w.rng.IntN(3) == 0 {
				patch = `{"number":null}`
			}
			operations = append(operations, shard.Operation{Collection: name, Body: &shard.Patch{ID: id, Fields: []byte(patch)}})
			if d, ok := held[id]; ok {
				d.Fields = merged(w.t, d.Fields, patch)
				held[id] = d
			}
		case 4:
			other := w.name()
			for _, id := range []string{id, other} {
				if _, ok := held[id]; ok {
					count++
				}
				delete(held, id)
			}
			operations = append(operations, shardtest.Forget(name, id, other))
		case 5:
			maps.DeleteFunc(held, func(held string, _ shard.Document) bool {
				gone := shard.Parent(held) == id
				if gone {
					count++
				}
				return gone
			})
			operations = append(operations, shard.Operation{Collection: name, Body: &shard.Forget{Parents: []string{id}}})
		}
		want = append(want, count)
	}
	for i, r := range w.write(operations) {
		_, patched := operations[i].Body.(*shard.Patch)
		if err := r.Failure(); err != nil && !(patched && errors.Is(err, retrieval.ErrNotFound)) || r.Count != want[i] {
			w.t.Fatalf("operation %d: %v, %d forgotten, want %d", i, err, r.Count, want[i])
		}
	}
}

// retry repeats a batch that has had its outcome: it is told the same, and changes nothing.
func (w *world) retry() {
	if len(w.said) == 0 {
		return
	}
	b := w.said[w.rng.IntN(len(w.said))]
	results, err := w.c.Router().Write(w.t.Context(), &shard.WriteRequest{Operations: b.operations})
	if err != nil {
		w.t.Fatal(err)
	}
	for i, r := range results {
		if errors.Is(r.Failure(), shard.ErrExpired) && time.Since(b.at) > shard.RetryWindow/2 {
			continue
		}
		if r.Err != nil || r.Code != b.results[i].Code || r.Version != b.results[i].Version || r.Count != b.results[i].Count {
			w.t.Fatalf("a retry after %v is told %+v, the first try %+v", time.Since(b.at), r, b.results[i])
		}
	}
}

// drop drops a collection and makes it anew: of the same key, for the digest is to be compared.
func (w *world) drop(name string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	if _, err := w.c.Router().Configure(ctx, name, shard.Configure{Change: shard.Drop}); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.c.Router().Configure(ctx, name, shard.Configure{Change: shard.Create, Configuration: shardtest.Configuration()}); err != nil {
		w.t.Fatal(err)
	}
	clear(w.held[name])
}

// shake does to the cluster what must not matter.
func (w *world) shake(nodes int) {
	i := w.rng.IntN(nodes)
	n := w.c.Node(i)
	shards := len(n.Map().Shards)
	r := n.Replica(uint32(w.rng.IntN(shards)))
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	switch w.rng.IntN(6) {
	case 0, 1:
		w.c.Crash(i, w.rng.IntN(2) == 0)
		if w.rng.IntN(2) == 0 {
			w.change()
		}
		w.c.Up(i)
	case 2, 3:
		_ = r.Snapshot(ctx) // a follower that applied nothing has nothing to take a snapshot of
	default:
		_ = r.Transfer(ctx) // not by one that leads nothing
	}
}

// merged is the merge of fields that a patch shall make, done the slow way.
func merged(t *testing.T, fields []byte, patch string) []byte {
	t.Helper()
	parts := map[string]string{}
	for _, object := range []string{string(fields), patch} {
		for _, pair := range bytes.Split(bytes.Trim([]byte(object), "{}"), []byte(",")) {
			if name, value, ok := bytes.Cut(pair, []byte(":")); ok {
				parts[string(name)] = string(value)
			}
		}
	}
	out := ""
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		if parts[name] != "null" {
			out += "," + name + ":" + parts[name]
		}
	}
	if out == "" {
		return nil
	}
	return []byte("{" + out[1:] + "}")
}

// settled returns the digests of collections, summed over shards, once all replicas of each shard are at one index, and fails
// unless they agree there.
func settled(t *testing.T, c *shardtest.Cluster) map[string]storage.Digest {
	t.Helper()
	return settledFor(t, c.Router())
}

// settledFor is settled, as a router sees it.
func settledFor(t *testing.T, r *shard.Router) map[string]storage.Digest {
	t.Helper()
	for range 300 {
		a, err := r.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if out, ok := agreed(t, a); ok {
			return out
		}
		time.Sleep(100 * time.Millisecond)
	}
	a, err := r.Status(t.Context())
	t.Fatalf("the replicas are not at one index after half a minute: %v %+v", err, a)
	return nil
}

func agreed(t *testing.T, a *shard.Status) (map[string]storage.Digest, bool) {
	t.Helper()
	out, first := map[string]storage.Digest{}, map[uint32]shard.ReplicaStatus{}
	for _, r := range a.Shards {
		one, ok := first[r.Shard]
		switch {
		case r.Trouble != "" || ok && one.Applied != r.Applied:
			return nil, false
		case ok && (one.Digest != r.Digest || !slices.EqualFunc(one.Collections, r.Collections, shard.CollectionStatus.Equal) || one.Time != r.Time || one.Operations != r.Operations):
			t.Fatalf("replicas of shard %d differ at entry %d:\n%+v\n%+v", r.Shard, r.Applied, one, r)
		case !ok:
			first[r.Shard] = r
			for _, c := range r.Collections {
				out[c.Name] = out[c.Name].Add(c.Digest)
			}
		}
	}
	return out, true
}

// rows returns what a stopped node's shard holds below data/, in cursor order.
func rows(t *testing.T, c *shardtest.Cluster, node int, number int) [][3]string {
	t.Helper()
	s, err := storage.Open(filepath.Join(c.Disks[node].Mount(), fmt.Sprintf("shard-%d", number)), storage.Options{NoSync: true, MmapBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	v, err := s.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	var out [][3]string
	for _, b := range v.Buckets("data") {
		for k, row := range v.Scan(b, nil) {
			out = append(out, [3]string{string(b), string(k), string(row)})
		}
	}
	if err := v.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestLaw3 says that what a memory holds is a function of the living documents: after any history, it is what a fresh cluster
// becomes that was given the survivors alone, row by row; and nothing, when everything was forgotten.
func TestLaw3(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			const nodes = 3
			shards := int(1 + seed%3)
			var digests map[string]storage.Digest
			var held map[string]map[string]shard.Document
			var lived, fresh [][][3]string
			bubble(t, shardtest.Options{Nodes: nodes, Shards: shards, Replicas: nodes, Seed: seed, SnapshotBytes: 64 << 10}, func(t *testing.T, c *shardtest.Cluster) {
				w := newWorld(t, c, seed)
				for step := range 50 {
					switch w.rng.IntN(5) {
					case 0:
						w.shake(nodes)
					case 1:
						w.retry()
					default:
						w.change()
					}
					if step%20 == 10 {
						w.drop("notes")
					}
				}
				digests, held = settled(t, c), w.held
				for name, documents := range held {
					sameDocuments(t, c, name, documents)
				}
				lived = stopped(t, c, nodes, shards)
			})
			bubble(t, shardtest.Options{Nodes: 1, Shards: shards, Replicas: 1, Seed: seed}, func(t *testing.T, c *shardtest.Cluster) {
				w := newWorld(t, c, seed+100)
				w.refill(held)
				if got := settled(t, c); !maps.Equal(got, digests) {
					t.Errorf("data digests are %v, a fresh cluster's %v", digests, got)
				}
				fresh = stopped(t, c, 1, shards)
			})
			for i, rows := range lived {
				if !slices.Equal(rows, fresh[i%shards]) {
					t.Errorf("node %d, shard %d has %d rows that differ from the %d of a fresh cluster", i/shards, i%shards, len(rows), len(fresh[i%shards]))
				}
			}
			bubble(t, shardtest.Options{Nodes: 1, Shards: 5, Replicas: 1, Seed: seed}, func(t *testing.T, c *shardtest.Cluster) { // on as many shards as you like
				w := newWorld(t, c, seed+200)
				w.refill(held)
				if got := settled(t, c); !maps.Equal(got, digests) {
					t.Errorf("data digests are %v, on five shards %v", digests, got)
				}
				w.forgetAll()
				for name, d := range settled(t, c) {
					if d != (storage.Digest{}) {
						t.Errorf("collection %s is empty and has digest %v", name, d)
					}
				}
				for s, rows := range stopped(t, c, 1, 5) {
					if len(rows) != 0 {
						t.Errorf("%d rows are left in shard %d", len(rows), s)
					}
				}
			})
		})
	}
}

// refill writes documents in an order of its own.
func (w *world) refill(held map[string]map[string]shard.Document) {
	var operations []shard.Operation
	for _, name := range slices.Sorted(maps.Keys(held)) {
		for _, id := range slices.Sorted(maps.Keys(held[name])) {
			operations = append(operations, shardtest.Put(name, held[name][id], shard.Condition{}))
		}
	}
	w.rng.Shuffle(len(operations), func(i, j int) { operations[i], operations[j] = operations[j], operations[i] })
	for part := range slices.Chunk(operations, 7) {
		for i, r := range w.write(part) {
			if err := r.Failure(); err != nil {
				w.t.Fatal(i, err)
			}
		}
	}
}

// forgetAll forgets all documents, by id and by parent.
func (w *world) forgetAll() {
	for name := range w.held {
		all, err := shardtest.All(w.t.Context(), w.c.Router(), name, 10)
		if err != nil {
			w.t.Fatal(err)
		}
		f := &shard.Forget{}
		for i, d := range all {
			if i%2 == 0 {
				f.IDs = append(f.IDs, d.ID)
			} else {
				f.Parents = append(f.Parents, shard.Parent(d.ID))
			}
		}
		if len(all) == 0 {
			continue
		}
		if r := w.write([]shard.Operation{{Collection: name, Body: f}})[0]; r.Failure() != nil || r.Count != uint64(len(all)) {
			w.t.Fatalf("%+v, want %d forgotten", r, len(all))
		}
	}
}

func sameDocuments(t *testing.T, c *shardtest.Cluster, name string, want map[string]shard.Document) {
	t.Helper()
	got, err := shardtest.All(t.Context(), c.Router(), name, 10)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%s: %d documents, want %d: %v", name, len(got), len(want), err)
	}
	for _, d := range got {
		if !shardtest.SameDocument(d.Document, want[d.ID]) {
			t.Errorf("%s: document is\n%+v\nwant\n%+v", name, d.Document, want[d.ID])
		}
	}
}

// stopped stops all nodes in order, and returns the rows of their shards.
func stopped(t *testing.T, c *shardtest.Cluster, nodes, shards int) [][][3]string {
	t.Helper()
	for i := range nodes {
		c.Stop(i)
	}
	var out [][][3]string
	for i := range nodes {
		for s := range shards {
			out = append(out, rows(t, c, i, s))
		}
	}
	return out
}

// TestLaw1 says that an answer does not depend on how documents lie on shards, to the bit.
func TestLaw1(t *testing.T) {
	type told struct {
		hits [][]retrieval.Hit
		list []shard.Document
	}
	var all []told
	for _, shards := range []int{1, 3, 7} {
		var one told
		bubble(t, shardtest.Options{Nodes: 3, Shards: shards, Replicas: 3, Seed: uint64(shards), SnapshotBytes: 64 << 10}, func(t *testing.T, c *shardtest.Cluster) {
			w := newWorld(t, c, uint64(shards))
			for range 6 { // a past of its own: other documents, restarts, snapshots, other leaders, retries
				w.change()
				w.shake(3)
				w.retry()
			}
			w.forgetAll()
			documents := map[string]shard.Document{}
			for i := range 150 {
				id := fmt.Sprintf("p%d#%d", i/3, i)
				documents[id] = shardtest.Document(id, uint64(i%60))
				documents[id] = shard.Document{ID: id, Text: id, Codes: documents[id].Codes}
			}
			w.refill(map[string]map[string]shard.Document{"papers": documents})
			for i := range 3 {
				c.Crash(i, i == 0)
				c.Up(i)
			}
			settled(t, c)
			for i, k := range []int{1, 10, 149, 1000} {
				for _, phase := range []shard.Phase{shard.Candidates, shard.Scores} {
					q := &shard.SearchRequest{Collection: "papers", Phase: phase, Query: shardtest.Query(uint64(i), k), IDs: slices.Sorted(maps.Keys(documents))[20:60]}
					a, err := c.Router().Search(t.Context(), q)
					if err != nil {
						t.Fatal(err)
					}
					one.hits = append(one.hits, a.Hits)
				}
			}
			list, err := shardtest.All(t.Context(), c.Router(), "papers", 11)
			if err != nil || len(list) != len(documents) {
				t.Fatal(len(list), err)
			}
			for _, d := range list {
				one.list = append(one.list, d.Document)
			}
		})
		all = append(all, one)
	}
	for i, one := range all[1:] {
		if !reflect.DeepEqual(one.hits, all[0].hits) {
			t.Errorf("on %d shards the answers are others than on one", []int{3, 7}[i])
		}
		if !slices.EqualFunc(one.list, all[0].list, shardtest.SameDocument) {
			t.Errorf("on %d shards the list is another than on one", []int{3, 7}[i])
		}
	}
}

// TestLaw2 says that replicas at the same index hold the same: also one that was away, one that was sent a snapshot, and one that
// crashed.
func TestLaw2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := shardtest.Start(t, shardtest.Options{Nodes: 3, Shards: 2, Replicas: 3, Seed: 9, SnapshotBytes: 16 << 10})
		defer c.Close()
		w := newWorld(t, c, 9)
		settled(t, c)
		for i := range 3 {
			for range 4 {
				w.change()
			}
			c.Fabric.Isolate(c.IP(i))
			time.Sleep(2 * time.Second)
			for range 40 {
				w.change()
			}
			for s := range uint32(2) {
				for n := range 3 {
					if r := c.Node(n).Replica(s); n != i {
						_ = r.Snapshot(t.Context())
					}
				}
			}
			c.Fabric.Heal()
			settled(t, c)
			c.Crash((i+1)%3, i == 1)
			w.change()
			c.Up((i + 1) % 3)
			settled(t, c)
		}
		for name, documents := range w.held {
			sameDocuments(t, c, name, documents)
		}
	})
}
