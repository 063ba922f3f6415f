package shard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"ostraca/api/nodeapi"
	"ostraca/retrieval"
)

// fetchMap asks all nodes, at once, for a newer map than the one known, nil if there is none, and for the newest cluster time.
func (l *Link) fetchMap(ctx context.Context, known *Map) (best *Map, clock int64) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	nodes := l.nodes()
	type told struct {
		m     *Map
		clock int64
	}
	for _, p := range fan(len(nodes), func(i uint32) (told, error) {
		m, clock, err := l.place(ctx, nodes[i], &nodeapi.PlacementRequest{Known: known.Version})
		return told{m, clock}, err
	}) {
		if p.err != nil {
			continue // it is asked again soon, and others have answered
		}
		clock = max(clock, p.value.clock)
		if m := newer(known, p.value.m); m != known {
			best, known = m, m
		}
	}
	return best, clock
}

// nodes returns the living nodes but this one.
func (l *Link) nodes() []string {
	var out []string
	for _, m := range l.members.Alive() {
		if m.Node != l.options.Node && !strings.HasPrefix(m.Node, routerPrefix) {
			out = append(out, m.Node)
		}
	}
	return out
}

// place sends a request to a node and returns its map, nil if it is not newer than the one known, and cluster time.
func (l *Link) place(ctx context.Context, node string, request *nodeapi.PlacementRequest) (*Map, int64, error) {
	c, err := l.conn(node)
	if err != nil {
		return nil, 0, err
	}
	answer, err := nodeapi.NewNodeClient(c).Placement(ctx, request)
	if err != nil {
		return nil, 0, fromWire(err)
	}
	if len(answer.GetMap()) == 0 {
		return nil, answer.GetTimeMs(), nil
	}
	m := &Map{}
	if err := json.Unmarshal(answer.GetMap(), m); err != nil {
		return nil, 0, fmt.Errorf("placement map of node %s: %v: %w", node, err, retrieval.ErrCorrupt)
	}
	return m, answer.GetTimeMs(), nil
}

// propose places a command through any member.
func (l *Link) propose(ctx context.Context, c *placementCommand) error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	last := fmt.Errorf("placement: no node is known: %w", ErrUnavailable)
	for _, node := range l.nodes() {
		if _, _, err = l.place(ctx, node, &nodeapi.PlacementRequest{Command: b, Known: math.MaxUint64}); err == nil {
			return nil
		}
		if last = err; !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrUnavailable) {
			break
		}
	}
	return last
}
