package shard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"ostraca/api/nodeapi"
	"ostraca/consensus"
	"ostraca/retrieval"
	"ostraca/storage"
)

// A replica that lost its files lost its votes and what it had acknowledged. Were it to go on under its name, a quorum could count it twice, and
// forget what an earlier one had agreed on. So it first has itself taken out of the group, by a quorum of the others, comes in again
// without a vote, and votes once it has been filled.

// lost tells whether a group's files are gone that were here. Half of them is not enough to go on.
func lost(dir string) (bool, error) {
	var gone []string
	for _, name := range []string{"state", "log"} {
		if _, err := os.Stat(filepath.Join(dir, name)); errors.Is(err, os.ErrNotExist) {
			gone = append(gone, name)
		} else if err != nil {
			return false, err
		}
	}
	if len(gone) == 1 {
		return false, fmt.Errorf("%s: its %s is gone: %w: move the folder away and start the node: the others fill it anew", dir, gone[0], storage.ErrCorrupt)
	}
	return len(gone) == 2, nil
}

// readmit asks whoever leads a group to take this node in again, without a vote, or with one.
func (n *Node) readmit(group uint32, nodes []string, promote bool) error {
	ctx, cancel := context.WithTimeout(n.ctx, 5*time.Second)
	defer cancel()
	last := fmt.Errorf("there is no other replica: restore it from a backup: %w", ErrUnavailable)
	for _, node := range nodes {
		if node == n.options.Node {
			if promote && n.leads(ctx, group) {
				return n.memo.learns(group, false)
			}
			continue
		}
		c, err := n.link.conn(node)
		if err == nil {
			_, err = nodeapi.NewNodeClient(c).Readmit(ctx, &nodeapi.ReadmitRequest{Group: group, Node: n.options.Node, Promote: promote})
			err = fromWire(err)
		}
		if err == nil {
			return n.memo.learns(group, !promote)
		}
		last = err
	}
	return fmt.Errorf("be readmitted to group %d: %w", group, last)
}

// leads tells whether this node leads a group, by the votes of a settled configuration: it was promoted, and did not live to hear so.
func (n *Node) leads(ctx context.Context, group uint32) bool {
	g, _, err := n.group(group)
	return err == nil && g.Promote(ctx, n.options.Node) == nil
}

// Readmit answers for a group that this node leads.
func (s *service) Readmit(ctx context.Context, m *nodeapi.ReadmitRequest) (*nodeapi.ReadmitResponse, error) {
	g, nodes, err := s.node.group(m.GetGroup())
	if err == nil && !slices.Contains(nodes, m.GetNode()) {
		err = fmt.Errorf("node %s has no place in group %d: %w", m.GetNode(), m.GetGroup(), retrieval.ErrInvalid)
	}
	if err == nil && m.GetPromote() {
		err = g.Promote(ctx, m.GetNode())
	} else if err == nil {
		err = g.Readmit(ctx, m.GetNode())
	}
	return &nodeapi.ReadmitResponse{}, toWire(err)
}

// Found answers a step of a first start.
func (s *service) Found(_ context.Context, m *nodeapi.FoundRequest) (*nodeapi.FoundResponse, error) {
	return &nodeapi.FoundResponse{}, toWire(s.node.promise(m))
}

// group returns a group of this node, and the nodes that have a place in it.
func (n *Node) group(number uint32) (*consensus.Group, []string, error) {
	m := n.Map()
	if number == 0 {
		if p := n.places.Load(); p != nil {
			return p.group, m.Voters, nil
		}
	} else if r := n.Replica(number - 1); r != nil && int(number) <= len(m.Shards) {
		return r.group, m.Shards[number-1].Replicas, nil
	}
	return nil, nil, fmt.Errorf("node %s has no replica of group %d: %w", n.options.Node, number, ErrNotLeader)
}

// graduate gives this node its vote back in the groups that have been filled since it lost their files.
func (n *Node) graduate() error {
	var errs []error
	for _, group := range n.memo.get().Learning {
		g, nodes, err := n.group(group)
		if err != nil {
			continue // not open yet
		}
		if filled, err := n.filled(group, g); err != nil || !filled {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, n.readmit(group, nodes, true))
	}
	return errors.Join(errs...)
}

// filled tells whether a group has here all that was acknowledged a moment ago.
func (n *Node) filled(group uint32, g *consensus.Group) (bool, error) {
	if group == 0 { // whose leader serves no read index: what it has committed comes with every message
		s := g.Status()
		return s.Leader != "" && s.Applied > 0 && len(n.Map().Shards) > 0 && n.places.Load().machine.current.Load().Version >= n.Map().Version, nil
	}
	ctx, cancel := context.WithTimeout(n.ctx, time.Second)
	defer cancel()
	r := n.Replica(group - 1)
	index, err := r.committed(ctx)
	if errors.Is(err, ErrUnavailable) {
		return false, nil
	}
	return err == nil && r.machine.current.Load().applied >= index, err
}
