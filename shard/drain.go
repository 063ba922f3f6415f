package shard

import (
	"context"
	"fmt"
)

// Trouble returns why the node's last step towards its place in the cluster failed, or nil.
func (n *Node) Trouble() error {
	if t := n.trouble.Load(); t != nil {
		return *t
	}
	return nil
}

// Assigned returns the shards of which the placement gives this node a replica.
func (n *Node) Assigned() []uint32 { return n.assigned(n.Map()) }

// Status tells of all of the node's replicas.
func (n *Node) Status(ctx context.Context) (*Status, error) {
	out := &Status{}
	for _, shard := range n.shards() {
		s, err := n.status(ctx, shard)
		if err != nil {
			return nil, err
		}
		out.Shards = append(out.Shards, *s)
	}
	return out, nil
}

// held returns the node's replica of a shard, or why there is none.
func (n *Node) held(shard uint32) (*Replica, error) {
	if r := n.Replica(shard); r != nil {
		return r, nil
	}
	return nil, fmt.Errorf("node %s holds no replica of shard %d: %w", n.options.Node, shard, ErrUnavailable)
}

// status tells of one replica.
func (n *Node) status(ctx context.Context, shard uint32) (*ReplicaStatus, error) {
	r, err := n.held(shard)
	if err != nil {
		return nil, err
	}
	s, err := r.Status(ctx)
	if err != nil {
		return nil, err
	}
	one := &s.Shards[0]
	if t := n.Trouble(); t != nil && one.Trouble == "" {
		one.Trouble = t.Error()
	}
	return one, nil
}

// Drain hands leadership over, takes no new requests, and waits for those under way to end, until the context does. Close is to follow.
func (n *Node) Drain(ctx context.Context) error {
	n.health.Shutdown()
	n.handOver(ctx)
	ended := make(chan struct{})
	go func() {
		n.server.GracefulStop() // also ended by Close
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("drain node %s: requests are still under way, they are cut: %w", n.options.Node, ctx.Err())
	}
}

// handOver gives away the leadership of all of the node's shards.
func (n *Node) handOver(ctx context.Context) {
	for _, s := range n.shards() {
		if r := n.Replica(s); r.group.IsLeader() && len(r.options.Replicas) > 1 {
			if err := r.Transfer(ctx); err != nil {
				n.options.Logger.Warn("leadership is not handed over: the others elect", "shard", s, "error", err)
			}
		}
	}
}
