package shard_test

import (
	"testing"
	"time"

	"ostraca/shard"
	"ostraca/shard/shardtest"
)

// opened starts a cluster with the suite's collection; it closes with the test.
func opened(t *testing.T, nodes, shards int, config shard.Configuration) *shardtest.Cluster {
	t.Helper()
	c := shardtest.Start(t, shardtest.Options{Nodes: nodes, Shards: shards, Replicas: nodes, Seed: 1})
	t.Cleanup(c.Close)
	createAs(t, c, shardtest.Collection, config)
	return c
}

// role returns a node that leads the shard, or one that does not.
func role(t *testing.T, c *shardtest.Cluster, s uint32, nodes int, leads bool) int {
	t.Helper()
	for range 200 {
		for i := range nodes {
			n := c.Node(i)
			if n == nil || n.Replica(s) == nil {
				continue
			}
			if a, err := n.Replica(s).Status(t.Context()); err == nil && a.Shards[0].Leader != "" && (a.Shards[0].Leader == c.Name(i)) == leads {
				return i
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("no replica of shard %d, leader: %v", s, leads)
	return 0
}

// statusTime returns the cluster time that a replica tells.
func statusTime(t *testing.T, m shard.Memory) func() int64 {
	return func() int64 {
		a, err := m.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return a.Shards[0].Time
	}
}

// TestConformance: a replica, a client of one, and routers over one and many shards promise the same.
func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name string
		open func(*testing.T, shard.Configuration) (shard.Memory, func() int64)
	}{
		{"Leader", func(t *testing.T, config shard.Configuration) (shard.Memory, func() int64) {
			c := opened(t, 3, 1, config)
			r := c.Node(role(t, c, 0, 3, true)).Replica(0)
			return r, statusTime(t, r)
		}},
		{"Follower", func(t *testing.T, config shard.Configuration) (shard.Memory, func() int64) {
			c := opened(t, 3, 1, config)
			r := c.Node(role(t, c, 0, 3, false)).Replica(0)
			return r, statusTime(t, r)
		}},
		{"Client", func(t *testing.T, config shard.Configuration) (shard.Memory, func() int64) {
			c := opened(t, 3, 1, config)
			leader := role(t, c, 0, 3, true)
			p := c.Node((leader+1)%3).Link().Replica(c.Name(leader), 0)
			return p, statusTime(t, p)
		}},
		{"Forwarding", func(t *testing.T, config shard.Configuration) (shard.Memory, func() int64) {
			c := opened(t, 3, 1, config)
			follower := role(t, c, 0, 3, false)
			p := c.Node((follower+1)%3).Link().Replica(c.Name(follower), 0)
			return p, statusTime(t, p)
		}},
		{"Router1", func(t *testing.T, config shard.Configuration) (shard.Memory, func() int64) {
			c := opened(t, 3, 1, config)
			return c.Router(), c.Router().Now
		}},
		{"Router3", func(t *testing.T, config shard.Configuration) (shard.Memory, func() int64) {
			c := opened(t, 3, 3, config)
			return c.Router(), c.Router().Now
		}},
		{"Router7", func(t *testing.T, config shard.Configuration) (shard.Memory, func() int64) {
			c := opened(t, 1, 7, config)
			return c.Router(), c.Router().Now
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			shardtest.Conformance(t, c.open)
		})
	}
}
