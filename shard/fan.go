package shard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"ostraca/retrieval"
	"ostraca/storage"
)

// part is what one shard said.
type part[T any] struct {
	value T
	err   error
}

// fan calls for every shard at once, and returns what they said in shard order.
func fan[T any](shards int, call func(shard uint32) (T, error)) []part[T] {
	parts := make([]part[T], shards)
	var calls sync.WaitGroup
	for i := 1; i < shards; i++ {
		calls.Go(func() { parts[i].value, parts[i].err = call(uint32(i)) })
	}
	if shards > 0 {
		parts[0].value, parts[0].err = call(0)
	}
	calls.Wait()
	return parts
}

// whole reports the shards that did not answer: an answer that lacks one is an error that names it.
func whole[T any](r *Router, operation string, parts []part[T], states func(T) []State) error {
	var missing []Missing
	for shard, p := range parts {
		switch {
		case p.err == nil:
			r.saw(states(p.value))
		case !retriable(p.err):
			return fmt.Errorf("%s: %w", operation, p.err)
		default:
			missing = append(missing, Missing{uint32(shard), p.err})
		}
	}
	if len(missing) > 0 {
		r.counts.partial.Add(1)
		return fmt.Errorf("%s: %w", operation, &PartialError{Missing: missing})
	}
	return nil
}

// retriable tells whether another replica, or the same a little later, may do better.
func retriable(err error) bool {
	for _, kind := range []error{ErrUnavailable, ErrUnknown, ErrNotLeader, ErrMoved, context.DeadlineExceeded, context.Canceled, retrieval.ErrCorrupt, storage.ErrCorrupt, errHalted, storage.ErrClosed, errUnspecified} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// order returns a shard's replicas in the order to ask: those that gossip holds for alive first; of them the leader for a read that
// followers must ask or wait for, else each in turn.
func (r *Router) order(m *Map, shard uint32, read Read) []string {
	alive := r.options.Link.alive()
	nodes := m.Shards[shard].Replicas
	turn := int(r.turn.Add(1))
	nodes = slices.Concat(nodes[turn%len(nodes):], nodes[:turn%len(nodes)])
	leader, _ := r.leaders.Load(shard)
	rank := func(node string) int {
		_, living := alive[node]
		switch {
		case !living:
			return 2
		case node == leader && (read.Level == Linearizable || len(read.After) > 0):
			return 0
		}
		return 1
	}
	slices.SortStableFunc(nodes, func(a, b string) int { return rank(a) - rank(b) })
	return nodes
}

// attempt is one replica's time for a read: half of what is left, so that another can be asked, and no less than attemptTime.
func attempt(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return attemptTime
	}
	return max(time.Until(deadline)/2, attemptTime)
}

// hedged asks one replica of a shard, a second one if the first is slow, and the next whenever one fails, until one answers or the
// time is over.
func hedged[T any](ctx context.Context, r *Router, m *Map, shard uint32, read Read, call func(context.Context, Peer) (T, error)) (T, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // whoever is still at it may stop
	type said struct {
		part[T]
		node string
	}
	answers := make(chan said, 2) // no more than two are asked at a time
	flying := map[string]bool{}
	nodes, asked := r.order(m, shard, read), 0
	next := func() { // asks the next one that is not being asked
		for ; flying[nodes[asked%len(nodes)]]; asked++ {
		}
		node := nodes[asked%len(nodes)]
		flying[node] = true
		asked++
		go func() {
			ctx, cancel := context.WithTimeout(ctx, attempt(ctx))
			defer cancel()
			value, err := call(ctx, r.options.Link.Replica(node, shard))
			if err != nil {
				err = fmt.Errorf("node %s: %w", node, err)
			}
			answers <- said{part[T]{value, err}, node}
		}()
	}
	hedge := time.NewTimer(r.options.Hedge)
	defer hedge.Stop()
	next()
	var last error
	for {
		select {
		case a := <-answers:
			delete(flying, a.node)
			if a.err == nil || !retriable(a.err) {
				return a.value, a.err
			}
			last = a.err
			if asked >= len(nodes) && (asked%len(nodes) == 0 || len(flying) > 0) && pause(ctx, againAfter) != nil {
				break
			}
			next() // also while another is silent: it may be stopped, and hold its connections
			continue
		case <-hedge.C:
			if len(nodes) > 1 && len(flying) == 1 {
				r.counts.hedges.Add(1)
				next()
			}
			continue
		case <-ctx.Done():
		}
		var none T
		if last == nil {
			return none, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		}
		return none, fmt.Errorf("%w: %w: %w", ErrUnavailable, ctx.Err(), last)
	}
}
