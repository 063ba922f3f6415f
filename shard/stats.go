package shard

import (
	"strings"
	"sync/atomic"
)

// RouterStats counts what a router has done since it was opened.
type RouterStats struct {
	Hedges       uint64 // reads for which a second replica was asked because the first was slow
	WriteRetries uint64 // requests to a shard that repeat writes without an outcome
	Partial      uint64 // answers that lacked a shard, whether they were given or became an error
}

// routerCounts are the counters of [RouterStats].
type routerCounts struct{ hedges, writeRetries, partial atomic.Uint64 }

// Stats returns the router's counters.
func (r *Router) Stats() RouterStats {
	return RouterStats{Hedges: r.counts.hedges.Load(), WriteRetries: r.counts.writeRetries.Load(), Partial: r.counts.partial.Load()}
}

// Nodes returns the addresses of the nodes that gossip holds for alive, by id. Routers are not among them.
func (r *Router) Nodes() map[string]string {
	out := map[string]string{}
	for id, m := range r.options.Link.alive() {
		if !strings.HasPrefix(id, routerPrefix) {
			out[id] = m.Address
		}
	}
	return out
}
