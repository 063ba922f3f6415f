package daemon

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"ostraca/consensus"
	"ostraca/shard"
)

// TestDrainingNode: a node that is about to end says that it is not ready as long as a request is under way, and then ends.
func TestDrainingNode(t *testing.T) {
	t.Parallel()
	node := start(t, NodeCommand(), "--id", "n1", "--dir", t.TempDir(), "--bootstrap-expect", "1", "--shards", "1", "--drain-timeout", "10s")
	node.ready()
	link, err := shard.OpenLink(shard.LinkOptions{Node: "router-t", Boot: 1, Network: consensus.Wire{}, Listen: "127.0.0.1:0", Seeds: []string{node.at.Listen}})
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	var s *shard.Status
	node.until("known", func() error {
		s, err = link.Replica("n1", 0).Status(t.Context())
		return err
	})
	const started = "ostraca_grpc_server_started_total"
	before := node.scrape()[started]
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	answered := make(chan error, 1)
	go func() { // it waits for an entry that nobody writes
		_, err := link.Replica("n1", 0).Get(ctx, &shard.GetRequest{Collection: "papers", IDs: []string{"a"}, Read: shard.Read{Level: shard.Local,
			After: []shard.Receipt{{Generation: s.Shards[0].Generation, Index: 1 << 40}}}})
		answered <- err
	}()
	node.until("asked", func() error {
		if n := node.scrape()[started]; n <= before {
			return fmt.Errorf("%g requests, as before", n)
		}
		return nil
	})
	node.stop()
	node.until("draining", func() error {
		if r := node.readiness(); r.Ready || !strings.Contains(strings.Join(r.Missing, "\n"), "about to end") {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	select {
	case err := <-answered:
		t.Errorf("the request under way ended: %v", err)
	default:
	}
	cancel()
	<-answered
	if err := node.end(); err != nil {
		t.Error(err)
	}
	if s := node.log.String(); strings.Contains(s, "not all requests have ended in time") {
		t.Error(s)
	}
}
