package shard

import (
	"context"
	"fmt"
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

// bundle is shards that have one node to ask first.
type bundle struct {
	shards []uint32   // ascending
	orders [][]string // replicas of each, in the order to ask; the first is the same of all
}

// byShard is what shards said to a search.
type byShard = map[uint32]part[*SearchAnswer]

// searchShards asks every shard for one phase, and returns what they said in shard order.
func (r *Router) searchShards(ctx context.Context, m *Map, q *SearchRequest) []part[*SearchAnswer] {
	bundles := r.bundles(m, q, r.options.Link.alive())
	out := make([]part[*SearchAnswer], len(m.Shards))
	fan(len(bundles), func(i uint32) (struct{}, error) {
		for shard, p := range r.together(ctx, m, bundles[i], q) {
			out[shard] = p
		}
		return struct{}{}, nil
	})
	return out
}

// bundles returns all shards, by the nodes to ask first.
func (r *Router) bundles(m *Map, q *SearchRequest, alive map[string]consensus.Member) []bundle {
	var out []bundle
	open := map[string]int{} // the bundle of a node that has room
	most := atOnce(q)
	for shard := range m.Shards {
		order := r.order(m, uint32(shard), q.Read, alive)
		i, ok := open[order[0]]
		if !ok || len(out[i].shards) == most {
			i, out = len(out), append(out, bundle{})
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

// together asks a bundle's node. Shards that have no answer from there, or none soon, are asked each by itself, of their other replicas first. A node
// answers when its slowest shard has: one that is stuck there has the others asked again elsewhere, and their first states held in vain for PinTime.
func (r *Router) together(ctx context.Context, m *Map, b bundle, q *SearchRequest) byShard {
	if len(b.shards) == 1 {
		return r.apart(ctx, m, b, q, r.options.Hedge)
	}
	first, cancel := context.WithTimeout(ctx, attempt(ctx))
	defer cancel()
	node, others := b.orders[0][0], bundle{shards: b.shards}
	for _, nodes := range b.orders {
		others.orders = append(others.orders, append(slices.Clone(nodes[1:]), node))
	}
	hedge, slow := never, make(chan byShard, 1)
	if slices.ContainsFunc(b.orders, func(nodes []string) bool { return len(nodes) > 1 }) {
		hedge = r.options.Hedge
	}
	late, giveUp := context.WithCancel(ctx)
	defer giveUp() // whoever is still at it may stop
	timer := time.AfterFunc(hedge, func() {
		r.counts.hedges.Add(1)
		slow <- r.apart(late, m, others, q, never)
		cancel()
	})
	out := r.options.Link.search(first, node, b.shards, concerning(q, len(m.Shards), b.shards))
	left := others.of(func(shard uint32) bool { return out[shard].err != nil && retriable(out[shard].err) })
	var again byShard
	if fired := !timer.Stop(); fired && len(left.shards) == len(b.shards) {
		again = <-slow
	} else if len(left.shards) > 0 {
		giveUp() // it waits for shards that have answered by now
		again = r.apart(ctx, m, left, q, r.options.Hedge)
	}
	for _, shard := range left.shards {
		if p := again[shard]; p.err == nil || ctx.Err() == nil { // else the time is over, and what the node said tells more
			out[shard] = p
		}
	}
	return out
}

// apart asks for each shard of a bundle by itself, with a hedge of its own or [never].
func (r *Router) apart(ctx context.Context, m *Map, b bundle, q *SearchRequest, hedge time.Duration) byShard {
	out := byShard{}
	for i, p := range fan(len(b.shards), func(i uint32) (*SearchAnswer, error) {
		ask := concerning(q, len(m.Shards), b.shards[i:i+1])
		return hedged(ctx, r, hedge, b.shards[i], b.orders[i], func(ctx context.Context, p Peer) (*SearchAnswer, error) { return p.Search(ctx, ask) })
	}) {
		out[b.shards[i]] = p
	}
	return out
}

// of returns some shards of a bundle.
func (b bundle) of(which func(shard uint32) bool) bundle {
	var out bundle
	for i, shard := range b.shards {
		if which(shard) {
			out.shards, out.orders = append(out.shards, shard), append(out.orders, b.orders[i])
		}
	}
	return out
}

// concerning returns what of a request concerns some of all shards.
func concerning(q *SearchRequest, all int, shards []uint32) *SearchRequest {
	if q.Phase != Scores {
		return q
	}
	ask := *q
	ask.IDs = slices.DeleteFunc(slices.Clone(q.IDs), func(id string) bool { return !slices.Contains(shards, Place(id, uint32(all))) })
	return &ask
}

// search asks a node for some shards.
func (l *Link) search(ctx context.Context, node string, shards []uint32, q *SearchRequest) byShard {
	out := byShard{}
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
