package shard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ostraca/api/nodeapi"
	"ostraca/retrieval"
)

// The first start of a cluster. Whoever sees as many nodes as are expected, and has the lowest id of them, asks each for its promise, which a
// node gives once: so there is one founder, though nodes may see different sets of each other. The founder alone begins the placement group's log;
// the other voters open it empty.

// found begins a cluster, if this node is the one to do it.
func (n *Node) found() error {
	if is := n.memo.get(); len(is.Voters) > 0 { // a founder has said so, perhaps this node before it stopped
		return n.openPlacing(is.Granted == n.options.Node)
	}
	nodes, err := n.expected()
	if err != nil || len(nodes) == 0 || nodes[0] != n.options.Node {
		return err
	}
	ctx, cancel := context.WithTimeout(n.ctx, 3*time.Second)
	defer cancel()
	if err := n.all(ctx, nodes, &nodeapi.FoundRequest{Step: nodeapi.FoundRequest_GRANT, Founder: n.options.Node}); err != nil {
		released := n.all(ctx, nodes, &nodeapi.FoundRequest{Step: nodeapi.FoundRequest_RELEASE, Founder: n.options.Node})
		return fmt.Errorf("found the cluster: %w", errors.Join(err, released))
	}
	voters := nodes[:(min(3, len(nodes))-1)/2*2+1] // odd
	if err := n.memo.change(func(is *memory) error { is.Voters = voters; return nil }); err != nil {
		return err
	}
	return n.openPlacing(true)
}

// founded tells the other voters that the placement group has begun, until the cluster has.
func (n *Node) founded() error {
	is := n.memo.get()
	if is.Granted != n.options.Node {
		return nil
	}
	ctx, cancel := context.WithTimeout(n.ctx, time.Second)
	defer cancel()
	return n.all(ctx, is.Voters, &nodeapi.FoundRequest{Step: nodeapi.FoundRequest_FOUNDED, Founder: n.options.Node, Voters: is.Voters})
}

// expected returns the nodes of the cluster that is to begin, by id; none as long as some are missing.
func (n *Node) expected() ([]string, error) {
	var ids []string
	mine := nodeMeta{Expect: n.options.Expect, Replicas: n.options.Replicas, Shards: n.options.Shards}
	for id, m := range n.link.alive() {
		if strings.HasPrefix(id, routerPrefix) {
			continue
		}
		var meta nodeMeta
		if err := json.Unmarshal(m.Meta, &meta); err != nil {
			return nil, fmt.Errorf("node %s says %q of itself: %w", id, m.Meta, retrieval.ErrCorrupt)
		}
		if meta != mine {
			return nil, fmt.Errorf("node %s expects %d nodes, %d replicas, %d shards, and this one %d, %d, %d: %w",
				id, meta.Expect, meta.Replicas, meta.Shards, mine.Expect, mine.Replicas, mine.Shards, retrieval.ErrInvalid)
		}
		ids = append(ids, id)
	}
	if len(ids) > n.options.Expect {
		return nil, fmt.Errorf("%d nodes are there at the first start, %d were expected: stop those that are too many: %w", len(ids), n.options.Expect, retrieval.ErrInvalid)
	}
	if len(ids) < n.options.Expect {
		return nil, nil
	}
	slices.Sort(ids)
	return ids, nil
}

// all asks nodes, this one among them, for a step.
func (n *Node) all(ctx context.Context, nodes []string, q *nodeapi.FoundRequest) error {
	var errs []error
	for _, p := range fan(len(nodes), func(i uint32) (struct{}, error) {
		if nodes[i] == n.options.Node {
			return struct{}{}, n.promise(q)
		}
		c, err := n.link.conn(nodes[i])
		if err == nil {
			_, err = nodeapi.NewNodeClient(c).Found(ctx, q)
		}
		if err != nil {
			return struct{}{}, fmt.Errorf("node %s: %w", nodes[i], fromWire(err))
		}
		return struct{}{}, nil
	}) {
		errs = append(errs, p.err)
	}
	return errors.Join(errs...)
}

// promise answers a step of a founder. A promise is given once, and taken back by the founder alone, who has not founded.
func (n *Node) promise(q *nodeapi.FoundRequest) error {
	return n.memo.change(func(is *memory) error {
		switch q.GetStep() {
		case nodeapi.FoundRequest_GRANT:
			if len(is.Map.Shards) > 0 || len(is.Voters) > 0 && is.Granted != q.GetFounder() {
				return fmt.Errorf("node %s is of a cluster already: %w", is.Node, ErrExists)
			}
			if is.Granted != "" && is.Granted != q.GetFounder() {
				return fmt.Errorf("node %s waits for %s to found the cluster: %w", is.Node, is.Granted, ErrExists)
			}
			is.Granted = q.GetFounder()
		case nodeapi.FoundRequest_RELEASE:
			if is.Granted == q.GetFounder() && len(is.Voters) == 0 {
				is.Granted = ""
			}
		case nodeapi.FoundRequest_FOUNDED:
			if is.Granted != q.GetFounder() {
				return fmt.Errorf("node %s made no promise to %s: %w", is.Node, q.GetFounder(), ErrExists)
			}
			if slices.Contains(q.GetVoters(), is.Node) {
				is.Voters = q.GetVoters()
			}
		default:
			return fmt.Errorf("step %d of a first start is unknown: %w", q.GetStep(), retrieval.ErrInvalid)
		}
		return nil
	})
}
