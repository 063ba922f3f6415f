package shard_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ostraca/shard"
	"ostraca/shard/shardtest"
	"ostraca/storage"
)

// writer writes documents by number and keeps which were acknowledged.
type writer struct {
	t     *testing.T
	m     shard.Memory
	next  int
	acked map[string]uint64
}

// write writes some documents, one after the other, and returns how many were acknowledged. What refuses must be one of kinds.
func (w *writer) write(n, textBytes int, kinds ...error) (acked int) {
	w.t.Helper()
	for range n {
		w.next++
		d := shardtest.Document(fmt.Sprint("w", w.next), uint64(w.next))
		d.Text = strings.Repeat("t", textBytes)
		results, err := w.m.Write(w.t.Context(), &shard.WriteRequest{Operations: []shard.Operation{shardtest.Put("papers", d, shard.Condition{})}})
		if err == nil {
			err = results[0].Failure()
		}
		if err == nil {
			w.acked[d.ID] = uint64(w.next)
			acked++
			continue
		}
		oneOf(w.t, "a write", err, kinds...)
	}
	return acked
}

// kept expects that all that was acknowledged is there.
func (w *writer) kept() {
	w.t.Helper()
	all, err := shardtest.All(w.t.Context(), w.m, "papers", 500)
	if err != nil {
		w.t.Fatal(err)
	}
	held := map[string]bool{}
	for _, d := range all {
		held[d.ID] = true
	}
	for id := range w.acked {
		if !held[id] {
			w.t.Errorf("document %s was acknowledged and is gone", id)
		}
	}
}

var refusals = []error{shard.ErrExhausted, storage.ErrFull, shard.ErrUnknown, shard.ErrUnavailable}

// TestFullDisk: a full disk refuses writes, where it must, and loses nothing; reads go on, and with room so do writes.
func TestFullDisk(t *testing.T) {
	for _, c := range []struct {
		name          string
		full          []int // places from the leader on
		writes, fresh bool  // go on
	}{
		{"Follower", []int{1}, true, true},
		{"Leader", []int{0}, false, true},
		{"Majority", []int{1, 2}, false, false},
		{"All", []int{0, 1, 2}, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, shardtest.Options{Nodes: 3, Shards: 1, Replicas: 3, Seed: 11}, func(t *testing.T, cluster *shardtest.Cluster) {
				create(t, cluster, "papers")
				w := &writer{t: t, m: cluster.Router(), acked: map[string]uint64{}}
				w.write(10, 100)
				settled(t, cluster)
				leader := role(t, cluster, 0, 3, true)
				for _, i := range c.full {
					cluster.Disks[(leader+i)%3].Fill(true)
				}
				for range 3 {
					within(t, "writes", time.Minute, func() {
						if n := w.write(3, 100, refusals...); c.writes && n != 3 {
							t.Errorf("%d of 3 writes were acknowledged", n)
						} else if len(c.full) > 1 && n > 0 {
							t.Errorf("%d writes were acknowledged by disks that are full", n)
						}
					})
					for i := range 3 {
						if n, err := listed(t.Context(), cluster.Node(i).Replica(0), shard.Read{Level: shard.Local}); err != nil || n < 10 {
							t.Errorf("a local read at node %d: %d documents, %v", i, n, err)
						}
					}
					if n, err := listed(t.Context(), cluster.Router(), shard.Read{}); c.fresh && (err != nil || n < len(w.acked)) {
						t.Errorf("a read: %d documents of %d, %v", n, len(w.acked), err)
					}
				}
				for _, d := range cluster.Disks {
					d.Fill(false)
				}
				within(t, "recovery", 20*time.Second, func() {
					for i := 0; w.write(1, 100, refusals...) == 0 && i < 20; i++ {
						time.Sleep(500 * time.Millisecond)
					}
					if n := w.write(10, 100, refusals...); n != 10 {
						t.Errorf("%d of 10 writes were acknowledged with room", n)
					}
				})
				w.kept()
				settled(t, cluster)
			})
		})
	}
}

// TestFullOverlay: where rows cannot go to the state file, memory fills up to its limit, writes are refused in bounded time, and nothing
// acknowledged is lost, also not by a crash just then.
func TestFullOverlay(t *testing.T) {
	for _, crash := range []bool{false, true} {
		t.Run(fmt.Sprint("Crash", crash), func(t *testing.T) {
			var full atomic.Bool
			o := shardtest.Options{Nodes: 3, Shards: 1, Replicas: 3, Seed: 12, OverlayBytes: 64 << 10, Hook: func(node int, p storage.Point) error {
				if full.Load() && p.Step == "flush.rows" && strings.Contains(p.Path, "shard-0") {
					return syscall.ENOSPC
				}
				return nil
			}}
			bubble(t, o, func(t *testing.T, c *shardtest.Cluster) {
				create(t, c, "papers")
				w := &writer{t: t, m: c.Router(), acked: map[string]uint64{}}
				w.write(5, 100)
				settled(t, c)
				full.Store(true)
				within(t, "filling", 3*time.Minute, func() {
					if n := w.write(12, 16<<10, refusals...); n == 12 {
						t.Error("192 KiB fit into 64")
					}
				})
				for i := range 3 {
					a, err := c.Node(i).Replica(0).Status(t.Context())
					if err != nil || a.Shards[0].OverlayBytes > 128<<10 {
						t.Errorf("node %d holds %d bytes in memory: %v", i, a.Shards[0].OverlayBytes, err)
					}
					if n, err := listed(t.Context(), c.Node(i).Replica(0), shard.Read{Level: shard.Local}); err != nil || n < 5 {
						t.Errorf("a local read at node %d: %d documents, %v", i, n, err)
					}
				}
				if crash {
					for i := range 3 {
						c.Crash(i, false)
					}
				}
				full.Store(false)
				if crash {
					for i := range 3 {
						c.Up(i)
					}
				}
				time.Sleep(5 * time.Second)
				for i := 0; w.write(1, 100, refusals...) == 0 && i < 10; i++ {
					time.Sleep(500 * time.Millisecond)
				}
				if n := w.write(10, 16<<10, refusals...); n != 10 {
					t.Errorf("%d of 10 writes were acknowledged with room", n)
				}
				w.kept()
				settled(t, c)
			})
		})
	}
}

// damage changes a file wherever it holds a text, be it in a page that is free, or cuts it there.
func damage(t *testing.T, path, text string, cut bool) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, []byte(text))
	if at < 0 {
		t.Fatalf("%s does not hold %q", path, text)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if cut {
		err = f.Truncate(int64(at))
	}
	for ; !cut && err == nil; at = bytes.Index(b, []byte(text)) {
		if at < 0 {
			return
		}
		b[at] ^= 4
		_, err = f.WriteAt(b[at:at+1], int64(at))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestDamagedFiles: a file that was cut or has a wrong bit is refused by name, with the repair; which works.
func TestDamagedFiles(t *testing.T) {
	for name, c := range map[string]struct {
		file, text string
		cut        bool
	}{
		"StateBit":     {"shard-0/state", "document a3, number 3", false},
		"StateCut":     {"shard-0/state", "document a3, number 3", true},
		"LogBit":       {"shard-0/log", "document a3, number 3", false},
		"LogCut":       {"shard-0/log", "document a3, number 3", true},
		"PlacementBit": {"placement/state", "papers", false},
		"MemoCut":      {"node.json", "papers", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, shardtest.Options{Nodes: 3, Shards: 1, Replicas: 3, Seed: 13}, func(t *testing.T, cluster *shardtest.Cluster) {
				create(t, cluster, "papers")
				puts(t, cluster.Router(), "a", 10)
				settled(t, cluster)
				i := role(t, cluster, 0, 3, name == "StateBit")
				cluster.Stop(i)
				dir := cluster.Disks[i].Mount()
				damage(t, filepath.Join(dir, c.file), c.text, c.cut)
				puts(t, cluster.Router(), "b", 10)
				for range 2 { // it is not repaired by trying again
					err := cluster.TryUp(i)
					if !errors.Is(err, storage.ErrCorrupt) || !strings.Contains(err.Error(), c.file) || !strings.Contains(err.Error(), "move the folder") {
						t.Fatalf("the node starts: %v", err)
					}
				}
				folder := filepath.Dir(filepath.Join(dir, c.file))
				if err := os.Rename(folder, folder+".away"); err != nil {
					t.Fatal(err)
				}
				cluster.Up(i)
				settled(t, cluster)
				cluster.Stop((i + 1) % 3) // its vote counts again
				puts(t, cluster.Router(), "c", 10)
				cluster.Up((i + 1) % 3)
				settled(t, cluster)
			})
		})
	}
}

// TestPromotedUnheard: a node that got its vote back, did not hear so, and leads since, has nobody to ask but itself.
func TestPromotedUnheard(t *testing.T) {
	bubble(t, shardtest.Options{Nodes: 3, Shards: 1, Replicas: 3, Seed: 16}, func(t *testing.T, cluster *shardtest.Cluster) {
		create(t, cluster, "papers")
		puts(t, cluster.Router(), "a", 10)
		settled(t, cluster)
		for i := range 3 {
			cluster.Stop(i)
			edit(t, filepath.Join(cluster.Disks[i].Mount(), "node.json"), `{`, `{"learning":[0,1],`)
		}
		for i := range 3 {
			cluster.Up(i)
		}
		time.Sleep(10 * time.Second) // the leaders among them are settled on, and have tried
		settled(t, cluster)
	})
}

// edit replaces the first such text of a file.
func edit(t *testing.T, path, from, to string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, bytes.Replace(b, []byte(from), []byte(to), 1), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestDamageWhileServing: a row that went bad under a running node is not believed, and another replica answers.
func TestDamageWhileServing(t *testing.T) {
	bubble(t, shardtest.Options{Nodes: 3, Shards: 1, Replicas: 3, Seed: 14}, func(t *testing.T, c *shardtest.Cluster) {
		create(t, c, "papers")
		puts(t, c.Router(), "a", 10)
		settled(t, c)
		time.Sleep(time.Second) // flushed
		i := role(t, c, 0, 3, true)
		damage(t, filepath.Join(c.Disks[i].Mount(), "shard-0/state"), "document a3, number 3", false)
		q := &shard.GetRequest{Collection: "papers", IDs: []string{"a3"}, Codes: true, Read: shard.Read{Level: shard.Local}}
		if a, err := c.Node(i).Replica(0).Get(t.Context(), q); err == nil {
			t.Fatalf("a row with a wrong bit is told as %+v", a)
		}
		for j := range 6 {
			q.Read = []shard.Read{{}, {Level: shard.Local}}[j%2]
			a, err := c.Router().Get(t.Context(), q)
			if err != nil || len(a.Documents) != 1 || !shardtest.SameDocument(a.Documents[0].Document, shardtest.Document("a3", 3)) {
				t.Errorf("two good replicas, and the router says %v", err)
			}
			n, err := listed(t.Context(), c.Router(), q.Read)
			if n != 10 || err != nil {
				t.Errorf("two good replicas, and the router lists %d: %v", n, err)
			}
		}
		for range 3 {
			a, err := c.Router().Search(t.Context(), &shard.SearchRequest{Collection: "papers", Query: shardtest.Query(1, 10), Documents: true})
			if err != nil || len(a.Documents) != 10 {
				t.Errorf("two good replicas, and a search with documents says %v", err)
			}
		}
	})
}

// TestDamageOfOneShard: of the shards that a node is asked for at once, one cannot answer. Another replica of it does, and the rest stands.
func TestDamageOfOneShard(t *testing.T) {
	const shards, documents = 7, 40
	bubble(t, shardtest.Options{Nodes: 3, Shards: shards, Replicas: 3, Seed: 17}, func(t *testing.T, c *shardtest.Cluster) {
		create(t, c, "papers")
		puts(t, c.Router(), "a", documents)
		settled(t, c)
		time.Sleep(time.Second) // flushed
		s := shard.Place("a3", shards)
		i := role(t, c, s, 3, true)
		damage(t, filepath.Join(c.Disks[i].Mount(), fmt.Sprintf("shard-%d/state", s)), "document a3, number 3", false)
		q := &shard.SearchRequest{Collection: "papers", Query: shardtest.Query(1, documents), Documents: true}
		if a, err := c.Node(i).Replica(s).Search(t.Context(), q); err == nil {
			t.Fatalf("a row with a wrong bit is told as %+v", a)
		}
		for range 3 {
			a, err := c.Router().Search(t.Context(), q)
			if err != nil || len(a.Documents) != documents || len(a.States) != shards {
				t.Fatalf("two good replicas, and a search with documents says %v", err)
			}
			for shard, state := range a.States {
				if state.Shard != uint32(shard) {
					t.Errorf("state %d is of shard %d", shard, state.Shard)
				}
			}
		}
	})
}

// TestMove: a node is found where it is now, and all of them; a wiped one is filled anew.
func TestMove(t *testing.T) {
	bubble(t, shardtest.Options{Nodes: 3, Shards: 2, Replicas: 3, Seed: 15}, func(t *testing.T, c *shardtest.Cluster) {
		create(t, c, "papers")
		puts(t, c.Router(), "a", 10)
		check := func(what, prefix string, r *shard.Router, limit time.Duration) {
			t.Helper()
			within(t, what, limit, func() {
				for i := 0; ; i++ {
					results, err := putAs(t.Context(), r, prefix, 10)
					if err == nil && results[0].Failure() == nil && results[9].Failure() == nil {
						break
					}
					if i == 5 {
						t.Fatal(what, err, results)
					}
				}
				settledFor(t, r)
			})
		}
		for i := range 3 {
			if c.Stop(i); i == 1 {
				c.Up(i)
				c.Crash(i, true)
			}
			c.Move(i, fmt.Sprintf("10.0.2.%d", i+1))
			c.Up(i)
			check(fmt.Sprintf("node %d moved", i), "b", c.Router(), 5*time.Second)
		}
		for round, end := range []func(int){c.Stop, func(i int) { c.Crash(i, false) }, func(i int) { c.Crash(i, true) }} {
			for i := range 3 {
				end(i)
			}
			for i := range 3 {
				c.Move(i, fmt.Sprintf("10.0.3.%d", 10*round+(i+round)%3+1)) // they also change places
			}
			for i := range 3 {
				c.Up(i)
			}
			check(fmt.Sprintf("all moved, round %d", round), "c", c.AddRouter(), 10*time.Second)
			check(fmt.Sprintf("all moved, round %d, a router that stayed", round), "c", c.Router(), time.Minute) // it misses those it knew first
		}
		for i := range 3 {
			c.Crash(i, i == 0)
			if err := os.RemoveAll(c.Disks[i].Mount()); err != nil {
				t.Fatal(err)
			}
			if i == 1 {
				c.Move(i, "10.0.4.1")
			}
			c.Up(i)
			check(fmt.Sprintf("node %d wiped", i), "d", c.Router(), 10*time.Second)
			within(t, "votes again", 30*time.Second, func() { // before that, one more loss would be the loss of the quorum
				for shard.Learning(c.Node(i)) > 0 {
					time.Sleep(100 * time.Millisecond)
				}
			})
		}
		if n, err := listed(t.Context(), c.Router(), shard.Read{}); n != 40 || err != nil {
			t.Errorf("%d documents: %v", n, err)
		}
	})
}
