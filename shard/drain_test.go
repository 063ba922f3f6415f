package shard_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"ostraca/shard"
	"ostraca/shard/shardtest"
)

// draining drains node i, and closes the channel it returns with the error in it.
func draining(t *testing.T, c *shardtest.Cluster, i int) <-chan error {
	done := make(chan error, 1)
	go func() { done <- c.Node(i).Drain(t.Context()) }()
	return done
}

// TestDrainNode: a node that drains lets a request under way end, refuses new ones meanwhile, and does not lead by then.
func TestDrainNode(t *testing.T) {
	bubble(t, shardtest.Options{Nodes: 3, Shards: 1, Replicas: 3, Seed: 7}, func(t *testing.T, c *shardtest.Cluster) {
		create(t, c, "papers")
		puts(t, c.Router(), "a", 3)
		settled(t, c)
		l := leader(t, c)
		s, err := c.Node(l).Replica(0).Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		at := c.Node((l+1)%3).Link().Replica(c.Name(l), 0)
		// It waits for an entry that is not written yet.
		q := &shard.GetRequest{Collection: "papers", IDs: []string{"a0"}, Read: shard.Read{Level: shard.Local,
			After: []shard.Receipt{{Shard: 0, Generation: s.Shards[0].Generation, Index: s.Shards[0].Applied + 20}}}}
		answered := make(chan error, 1)
		go func() {
			a, err := at.Get(t.Context(), q)
			if err == nil && len(a.Documents) != 1 {
				err = fmt.Errorf("%+v", a)
			}
			answered <- err
		}()
		time.Sleep(time.Second) // it has come
		drained := draining(t, c, l)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		select {
		case err := <-drained:
			t.Fatalf("drained, with a request under way: %v", err)
		case err := <-answered:
			t.Fatalf("the request under way ended: %v", err)
		default:
		}
		if now := leader(t, c); now == l {
			t.Error("the node drains, and leads")
		}
		if _, err := at.Status(t.Context()); !errors.Is(err, shard.ErrUnavailable) {
			t.Errorf("a new request: %v", err)
		}
		for i := range 20 { // an entry each
			puts(t, c.Router(), fmt.Sprint("b", i), 1)
		}
		if err := <-answered; err != nil {
			t.Errorf("the request under way: %v", err)
		}
		if err := <-drained; err != nil {
			t.Error(err)
		}
	})
}

// TestDrainHandsOverFirst: as long as leadership has not moved, requests are taken: a router that does not know of another leader yet would else find none.
func TestDrainHandsOverFirst(t *testing.T) {
	bubble(t, shardtest.Options{Nodes: 3, Shards: 1, Replicas: 3, Seed: 8}, func(t *testing.T, c *shardtest.Cluster) {
		create(t, c, "papers")
		settled(t, c)
		l := leader(t, c)
		c.Fabric.Partition([]string{c.IP(l)}, []string{c.IP((l + 1) % 3), c.IP((l + 2) % 3)}) // nobody to hand over to
		drained := draining(t, c, l)
		time.Sleep(100 * time.Millisecond) // a fraction of its lease
		s, err := c.Router().Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range s.Shards {
			if r.Node == c.Name(l) && r.Role != "Leader" {
				t.Errorf("the node that is still to hand over is %s: %s", r.Role, r.Trouble)
			}
		}
		c.Fabric.Heal()
		if err := <-drained; err != nil {
			t.Error(err)
		}
	})
}

// expectFilled checks what a node says of a group, and, where it is one that another leads, whether it takes its vote back.
func expectFilled(t *testing.T, n *shard.Node, group uint32, want bool) {
	t.Helper()
	if filled, err := shard.Filled(n, group); filled != want || err != nil {
		t.Errorf("group %d: filled %v, wanted %v: %v", group, filled, want, err)
	}
	if shard.Leads(n, group) {
		return
	}
	if without, err := shard.Graduate(n, group); (without == 0) != want || err != nil {
		t.Errorf("group %d: no vote in %d groups, though filled is %v: %v", group, without, want, err)
	}
}

// TestFilled: a node that lost its files is given its vote back when it has all that was acknowledged, and not before.
func TestFilled(t *testing.T) {
	bubble(t, shardtest.Options{Nodes: 3, Shards: 1, Replicas: 3, Seed: 9}, func(t *testing.T, c *shardtest.Cluster) {
		create(t, c, "papers")
		puts(t, c.Router(), "a", 3)
		settled(t, c)
		for i := range 3 {
			for group := range uint32(2) { // of the placement, of shard 0
				synctest.Wait()
				n := c.Node(i)
				undo := shard.Behind(n, group)
				expectFilled(t, n, group, false)
				undo()
				expectFilled(t, n, group, true)
			}
		}
		cut := (leader(t, c) + 1) % 3
		synctest.Wait()
		c.Fabric.Isolate(c.IP(cut)) // it cannot know what was acknowledged
		if filled, err := shard.Filled(c.Node(cut), 1); filled {
			t.Errorf("a node that reaches nobody is filled: %v", err)
		}
	})
}
