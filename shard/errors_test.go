package shard_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"ostraca/retrieval"
	"ostraca/shard"
	"ostraca/shard/shardtest"
)

// TestErrorsCross: what a caller can act on is the same at the far end of a wire.
func TestErrorsCross(t *testing.T) {
	for _, kind := range []error{shard.ErrUnavailable, shard.ErrUnknown, shard.ErrExists, shard.ErrChanged, shard.ErrRetry, shard.ErrExpired, shard.ErrExhausted,
		shard.ErrMoved, shard.ErrWrongShard, shard.ErrPartial, shard.ErrGeneration, shard.ErrNotLeader, retrieval.ErrInvalid, retrieval.ErrTooLarge,
		retrieval.ErrNotFound, retrieval.ErrCorrupt, context.DeadlineExceeded, context.Canceled} {
		err := fmt.Errorf("outside: %w", fmt.Errorf("inside: %w", kind))
		for name, far := range map[string]error{"call": shard.CrossCall(err), "twice": shard.CrossCall(shard.CrossCall(err)), "result": shard.CrossResult(err)} {
			if !errors.Is(far, kind) || far.Error() != err.Error() {
				t.Errorf("%s: %q became %v", name, kind, far)
			}
		}
	}
	if err := errors.Join(shard.CrossCall(nil), shard.CrossResult(nil)); err != nil {
		t.Errorf("nothing became %v", err)
	}
	partial := &shard.PartialError{Missing: []shard.Missing{{Shard: 3, Err: shard.ErrMoved}}}
	oneOf(t, "partial", shard.CrossCall(partial), shard.ErrPartial)
}

// TestErrorsOfPeers: a replica on another node says what it cannot do, over the wire.
func TestErrorsOfPeers(t *testing.T) {
	bubble(t, shardtest.Options{Nodes: 3, Shards: 3, Replicas: 2, Seed: 21}, func(t *testing.T, c *shardtest.Cluster) {
		create(t, c, "papers")
		m := c.Router().Map()
		link := c.Node(0).Link()
		id := "a"
		at := shard.Place(id, 3)
		node := m.Shards[at].Replicas[0]
		other := (at + 1) % 3
		operation := shardtest.Put("papers", shardtest.Document(id, 1), shard.Condition{})
		operation.ID = shard.NewOperationID(c.Router().Now(), 1)
		w := &shard.WriteRequest{Operations: []shard.Operation{operation}}

		w.Operations = append(w.Operations, []shard.Operation{shardtest.Forget("papers", id), {Collection: "papers", Body: &shard.Forget{Parents: []string{id}}}, {Collection: "papers", Body: &shard.Patch{ID: id}}}...)
		for i := range w.Operations {
			w.Operations[i].ID = operation.ID.Plus(i)
		}
		results, err := link.Replica(m.Shards[other].Replicas[0], other).Write(t.Context(), w)
		if err != nil || len(results) != 4 {
			t.Fatal(err, results)
		}
		for _, r := range results {
			oneOf(t, "a document of another shard", r.Failure(), shard.ErrWrongShard)
		}
		for i := range 3 { // each shard has no replica on one node
			for s, place := range m.Shards {
				if name := c.Name(i); !slices.Contains(place.Replicas, name) {
					_, err := c.Node((i+1)%3).Link().Replica(name, uint32(s)).Status(t.Context())
					oneOf(t, "a shard that is not there", err, shard.ErrUnavailable)
				}
			}
		}
		_, err = link.Replica("nobody", 0).Status(t.Context())
		oneOf(t, "a node that is not there", err, shard.ErrUnavailable)
		_, err = link.Replica("nobody", 0).Write(t.Context(), w)
		oneOf(t, "a write to a node that is not there", err, shard.ErrUnavailable, shard.ErrUnknown)

		settled(t, c)
		refused := 0
		for _, name := range m.Shards[at].Replicas {
			peer := c.Node((indexOf(c, name)+1)%3).Link().Replica(name, at)
			if _, err := peer.ReadIndex(t.Context()); err != nil {
				oneOf(t, "read index", err, shard.ErrNotLeader)
				refused++
				_, err = peer.Forward(t.Context(), w)
				oneOf(t, "forward", err, shard.ErrNotLeader)
				results, err := peer.Write(t.Context(), w)
				if err != nil || results[0].Failure() != nil {
					t.Errorf("a follower that is asked to write: %v, %+v", err, results)
				}
			}
		}
		if refused != 1 {
			t.Errorf("%d of 2 replicas follow", refused)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		future := shard.Receipt{Shard: at, Generation: m.Shards[at].Generation, Index: 1 << 40}
		_, err = link.Replica(node, at).Get(ctx, &shard.GetRequest{Collection: "papers", Read: shard.Read{Level: shard.Local, After: []shard.Receipt{future}}})
		oneOf(t, "a receipt of the future", err, context.DeadlineExceeded)
	})
}

func indexOf(c *shardtest.Cluster, name string) int {
	for i := range c.Wall {
		if c.Name(i) == name {
			return i
		}
	}
	return -1
}
