package shard_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ostraca/consensus/simnet"
	"ostraca/retrieval"
	"ostraca/shard"
	"ostraca/shard/shardtest"
	"ostraca/storage"
)

// This file holds what reviewers broke, kept as they broke it.

func leader(t *testing.T, c *shardtest.Cluster) int {
	t.Helper()
	for i := range 3 {
		if n := c.Node(i); n != nil {
			if s, err := n.Replica(0).Status(t.Context()); err == nil && s.Shards[0].Role == "Leader" {
				return i
			}
		}
	}
	t.Fatal("no leader")
	return 0
}

// TestLostVotes: the folder of one replica is moved away while another is behind, and the leader fails. What the two that are left
// know is not what was acknowledged, so they may not agree on anything, and nothing is lost.
func TestLostVotes(t *testing.T) {
	bubble(t, shardtest.Options{Nodes: 3, Shards: 1, Replicas: 3, Seed: 5}, func(t *testing.T, c *shardtest.Cluster) {
		create(t, c, "papers")
		puts(t, c.Router(), "a", 3)
		settled(t, c)
		l := leader(t, c)
		behind, emptied := (l+1)%3, (l+2)%3
		c.Crash(behind, true)
		puts(t, c.Router(), "b", 3)
		time.Sleep(2 * time.Second)
		c.Crash(emptied, true)
		dir := filepath.Join(c.Disks[emptied].Mount(), "shard-0")
		if err := os.Rename(dir, dir+".away"); err != nil {
			t.Fatal(err)
		}
		c.Crash(l, true)
		c.Up(emptied)
		c.Up(behind)
		time.Sleep(10 * time.Second)
		if n, err := listed(t.Context(), c.Router(), shard.Read{}); err == nil {
			t.Errorf("a quorum of one that is behind and one that knows nothing reads %d documents", n)
		}
		c.Up(l)
		settled(t, c)
		if n, err := listed(t.Context(), c.Router(), shard.Read{}); n != 6 || err != nil {
			t.Errorf("%d of 6 acknowledged documents: %v", n, err)
		}
		for range 100 { // until it votes again
			if s, err := c.Node(leader(t, c)).Replica(0).Status(t.Context()); err == nil && len(s.Shards[0].Voters) == 3 {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Error("the replica that was filled anew has no vote")
	})
}

// TestDoubt: a follower forwards a write, and the leader is gone before it answers: the write may have taken effect.
func TestDoubt(t *testing.T) {
	var arm atomic.Int32
	arm.Store(-1)
	var hit chan struct{}
	o := shardtest.Options{Nodes: 3, Shards: 1, Replicas: 3, Seed: 5, Hook: func(node int, p storage.Point) error {
		if int(arm.Load()) == node && p.Step == "append.commit" && strings.Contains(p.Path, "shard-0") {
			arm.Store(-1)
			hit <- struct{}{}
		}
		return nil
	}}
	bubble(t, o, func(t *testing.T, c *shardtest.Cluster) {
		hit = make(chan struct{}, 10)
		create(t, c, "papers")
		puts(t, c.Router(), "a", 3)
		settled(t, c)
		l := leader(t, c)
		follower, third := (l+1)%3, (l+2)%3
		arm.Store(int32(l))
		done := make(chan error)
		o := shardtest.Put("papers", shardtest.Document("b", 1), shard.Condition{})
		o.ID = shard.NewOperationID(c.Router().Now(), 1)
		go func() {
			results, err := c.Node(follower).Replica(0).Write(t.Context(), &shard.WriteRequest{Operations: []shard.Operation{o}})
			if err == nil {
				err = results[0].Failure()
			}
			done <- err
		}()
		<-hit
		go c.Crash(third, true)
		c.Crash(l, true)
		if err := <-done; !errors.Is(err, shard.ErrUnknown) {
			t.Errorf("the writer is told %v", err)
		}
		c.Up(l)
		c.Up(third)
		settled(t, c)
	})
}

// TestLateDrop: the first try of a drop comes when the collection has been made anew.
func TestLateDrop(t *testing.T) {
	bubble(t, shardtest.Options{Nodes: 3, Shards: 1, Replicas: 3, Seed: 5}, func(t *testing.T, c *shardtest.Cluster) {
		create(t, c, "papers")
		puts(t, c.Router(), "a", 3)
		if _, err := c.Router().Configure(t.Context(), "papers", shard.Configure{Change: shard.Drop}); err != nil {
			t.Fatal(err)
		}
		finished := c.Router().Map().Finished
		first := shard.Operation{ID: shard.JobOperation(&finished[len(finished)-1]), Collection: "papers", Body: &shard.Configure{Change: shard.Drop}}
		create(t, c, "papers")
		puts(t, c.Router(), "b", 3)
		for _, after := range []time.Duration{30 * time.Second, 20 * time.Minute} {
			time.Sleep(after)
			results, err := c.Node(0).Replica(0).Write(t.Context(), &shard.WriteRequest{Operations: []shard.Operation{first}})
			if err != nil {
				t.Fatal(err)
			}
			if n, err := listed(t.Context(), c.Router(), shard.Read{}); n != 3 || err != nil {
				t.Errorf("after %v, %+v: %d of 3 acknowledged documents, %v", after, results[0], n, err)
			}
		}
	})
}

// TestSeen: a writer that takes nanoseconds for milliseconds does not move cluster time.
func TestSeen(t *testing.T) {
	bubble(t, shardtest.Options{Nodes: 3, Shards: 1, Replicas: 3, Seed: 5}, func(t *testing.T, c *shardtest.Cluster) {
		create(t, c, "papers")
		for i, m := range []shard.Memory{c.Router(), c.Node(0).Replica(0), c.Node(1).Replica(0), c.Node(2).Replica(0)} {
			now := c.Router().Now()
			o := shardtest.Put("papers", shardtest.Document(fmt.Sprint(i), 1), shard.Condition{})
			o.ID = shard.NewOperationID(now, uint64(i))
			results, err := m.Write(t.Context(), &shard.WriteRequest{Operations: []shard.Operation{o}, Seen: math.MaxInt64})
			if err != nil || results[0].Failure() != nil {
				t.Fatal(err, results)
			}
			if at := results[0].Receipts[0].Time; at > now+2*shard.MaxEarly.Milliseconds() {
				t.Fatalf("cluster time is %d ms ahead", at-now)
			}
		}
	})
}

// TestSameID: two operations of one batch with one id are not a try and its retry, nor is an id that comes again with something else.
func TestSameID(t *testing.T) {
	bubble(t, shardtest.Options{Nodes: 3, Shards: 3, Replicas: 3, Seed: 5}, func(t *testing.T, c *shardtest.Cluster) {
		create(t, c, "papers")
		id, err := c.Router().NewBatch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w := &shard.WriteRequest{}
		for i := range 12 {
			o := shardtest.Put("papers", shardtest.Document(fmt.Sprint("d", i), 1), shard.Condition{})
			o.ID = id
			w.Operations = append(w.Operations, o)
		}
		results, err := c.Router().Write(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range results {
			if err := r.Failure(); (err == nil) != (i == 0) || i > 0 && !errors.Is(err, retrieval.ErrInvalid) {
				t.Errorf("operation %d: %v", i, err)
			}
		}
		again := w.Operations[0]
		again.Body = &shard.Put{Epoch: 1, Document: shardtest.Document("d0", 2)}
		results, err = c.Router().Write(t.Context(), &shard.WriteRequest{Operations: []shard.Operation{again}})
		if err != nil || !errors.Is(results[0].Failure(), retrieval.ErrInvalid) {
			t.Errorf("%v, %+v", err, results)
		}
	})
}

// TestFounding: four nodes are started where three are expected, at about the same time, and see each other in any order. However it goes,
// there are never two clusters; and once the operator has taken one away, there is one.
func TestFounding(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) { foundFour(t, seed, dir) })
		})
	}
}

func foundFour(t *testing.T, seed uint64, dir string) {
	f := simnet.New(seed)
	f.SetFaults(simnet.Faults{MinDelay: time.Millisecond, MaxDelay: 20 * time.Millisecond})
	rng := rand.New(rand.NewPCG(seed, 9))
	nodes := make([]*shard.Node, 4)
	var seeds []string
	for i := range nodes {
		f.Name(fmt.Sprintf("n%d.test", i), fmt.Sprintf("10.0.0.%d", i+1))
		seeds = append(seeds, fmt.Sprintf("n%d.test:7400", i))
	}
	up := func(i int) {
		ip := fmt.Sprintf("10.0.0.%d", i+1)
		n, err := shard.OpenNode(shard.NodeOptions{Node: fmt.Sprint("n", i), Dir: filepath.Join(dir, fmt.Sprint(i)), Network: f.Host(ip), Listen: ip + ":7400",
			Seeds: seeds, Expect: 3, Replicas: 3, Shards: 1, Storage: storage.Options{NoSync: true, MmapBytes: 64 << 20}})
		if err != nil {
			t.Fatal(err)
		}
		nodes[i] = n
	}
	for _, i := range rng.Perm(len(nodes)) {
		up(i)
		time.Sleep(time.Duration(rng.Int64N(int64(400 * time.Millisecond))))
	}
	time.Sleep(20 * time.Second)
	away := rng.IntN(len(nodes))
	if err := nodes[away].Close(); err != nil {
		t.Error(err)
	}
	time.Sleep(30 * time.Second)
	up(away)
	time.Sleep(20 * time.Second)
	clusters, voters := map[uint64]bool{}, map[string]bool{}
	for _, n := range nodes {
		if m := n.Map(); m.Cluster != 0 {
			clusters[m.Cluster] = true
			voters[strings.Join(m.Voters, " ")] = true
		}
		if v := shard.Founded(n); len(v) > 0 {
			voters[strings.Join(slices.Sorted(slices.Values(v)), " ")] = true
		}
	}
	if len(clusters) != 1 || len(voters) != 1 {
		t.Errorf("%d clusters, voters %v", len(clusters), voters)
	}
	for _, n := range nodes {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
	f.Close()
	time.Sleep(time.Minute)
}
