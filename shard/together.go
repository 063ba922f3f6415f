package shard

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"ostraca/api/nodeapi"
	"ostraca/consensus"
	"ostraca/retrieval"
)

// This file asks a node for all of its shards that a search needs in one call: what a search costs on its way, which for a small one is most of
// it, is then spent once a node, not once a shard.

// maxTogetherBytes is what the answers to one call may come to, in bytes; where there could be more, there are more calls.
const maxTogetherBytes = maxMessageBytes / 2

// group is shards that have one node to ask first.
type group struct {
	shards []uint32   // ascending
	orders [][]string // replicas of each, in the order to ask; the first is the same of all
}

// answers are what shards said to a search.
type answers = map[uint32]part[*SearchAnswer]

// searchShards asks every shard for one phase, and returns what they said in shard order.
func (r *Router) searchShards(ctx context.Context, m *Map, q *SearchRequest) []part[*SearchAnswer] {
	groups := r.groups(m, q, r.options.Link.alive())
	out := make([]part[*SearchAnswer], len(m.Shards))
	fan(len(groups), func(i uint32) (struct{}, error) {
		for shard, p := range r.together(ctx, m, groups[i], q) {
			out[shard] = p
		}
		return struct{}{}, nil
	})
	return out
}

// groups returns all shards, by the nodes to ask first.
func (r *Router) groups(m *Map, q *SearchRequest, alive map[string]consensus.Member) []group {
	var out []group
	open := map[string]int{} // the group of a node that has room
	most := atOnce(q)
	for shard := range m.Shards {
		order := r.order(m, uint32(shard), q.Read, alive)
		i, ok := open[order[0]]
		if !ok || len(out[i].shards) == most {
			i, out = len(out), append(out, group{})
			open[order[0]] = i
		}
		out[i].shards, out[i].orders = append(out[i].shards, uint32(shard)), append(out[i].orders, order)
	}
	return out
}

// atOnce returns how many shards may answer a search in one message, however long their ids are.
func atOnce(q *SearchRequest) int {
	const alignment = 8           // bytes of one, at most
	bytes := retrieval.MaxIDBytes // of what is no hit
	if q.Query != nil {
		hit := retrieval.MaxIDBytes + 64 // with a sum, and what is around both
		if !q.SumsOnly {
			hit += alignment * q.Query.Len()
		}
		bytes += hit * q.Query.K
	}
	if q.Documents {
		bytes += MaxHitBytes
	}
	return max(maxTogetherBytes/bytes, 1)
}

// together asks a group's node. Shards that have no answer from there, or none soon, are asked each by itself, of their other replicas first.
func (r *Router) together(ctx context.Context, m *Map, g group, q *SearchRequest) answers {
	if len(g.shards) == 1 {
		return r.apart(ctx, m, g, q)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop() // whoever is still at it may stop
	first, cancel := context.WithTimeout(ctx, attempt(ctx))
	defer cancel()
	node, others := g.orders[0][0], group{shards: g.shards}
	for _, nodes := range g.orders {
		others.orders = append(others.orders, append(slices.Clone(nodes[1:]), node))
	}
	hedge, slow := time.Duration(math.MaxInt64), make(chan answers, 1)
	if slices.ContainsFunc(g.orders, func(nodes []string) bool { return len(nodes) > 1 }) {
		hedge = r.options.Hedge
	}
	timer := time.AfterFunc(hedge, func() {
		r.counts.hedges.Add(1)
		slow <- r.apart(ctx, m, others, q)
		cancel()
	})
	out := r.options.Link.search(first, node, g.shards, asked(q, m, g.shards))
	left := others.of(func(shard uint32) bool { return out[shard].err != nil && retriable(out[shard].err) })
	var again answers
	if timer.Stop() {
		again = r.apart(ctx, m, left, q)
	} else if len(left.shards) > 0 {
		again = <-slow
	}
	for _, shard := range left.shards {
		out[shard] = again[shard]
	}
	return out
}

// apart asks for each shard of a group by itself.
func (r *Router) apart(ctx context.Context, m *Map, g group, q *SearchRequest) answers {
	out := answers{}
	for i, p := range fan(len(g.shards), func(i uint32) (*SearchAnswer, error) {
		ask := asked(q, m, g.shards[i:i+1])
		return hedged(ctx, r, g.shards[i], g.orders[i], func(ctx context.Context, p Peer) (*SearchAnswer, error) { return p.Search(ctx, ask) })
	}) {
		out[g.shards[i]] = p
	}
	return out
}

// of returns some shards of a group.
func (g group) of(which func(shard uint32) bool) group {
	var out group
	for i, shard := range g.shards {
		if which(shard) {
			out.shards, out.orders = append(out.shards, shard), append(out.orders, g.orders[i])
		}
	}
	return out
}

// asked returns what of a request concerns some shards.
func asked(q *SearchRequest, m *Map, shards []uint32) *SearchRequest {
	if q.Phase != Scores {
		return q
	}
	ask := *q
	ask.IDs = slices.DeleteFunc(slices.Clone(q.IDs), func(id string) bool { return !slices.Contains(shards, Place(id, uint32(len(m.Shards)))) })
	return &ask
}

// search asks a node for some shards.
func (l *Link) search(ctx context.Context, node string, shards []uint32, q *SearchRequest) answers {
	out := answers{}
	c, err := l.conn(node)
	if err != nil {
		for _, shard := range shards {
			out[shard] = part[*SearchAnswer]{err: err}
		}
		return out
	}
	for i, p := range searchOn(ctx, nodeapi.NewNodeClient(c), shards, q) {
		if p.err != nil {
			p.err = fmt.Errorf("node %s: %w", node, p.err)
		}
		out[shards[i]] = p
	}
	return out
}
