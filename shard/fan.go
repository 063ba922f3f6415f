package shard

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"ostraca/consensus"
	"ostraca/retrieval"
	"ostraca/storage"
)

// part is what one shard said.
type part[T any] struct {
	value T
	err   error
}

// fan calls for every number below n at once, of shards mostly, and returns what they said in that order.
func fan[T any](n int, call func(i uint32) (T, error)) []part[T] {
	parts := make([]part[T], n)
	var calls sync.WaitGroup
	for i := 1; i < n; i++ {
		calls.Go(func() { parts[i].value, parts[i].err = call(uint32(i)) })
	}
	if n > 0 {
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
func (r *Router) order(m *Map, shard uint32, read Read, alive map[string]consensus.Member) []string {
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

// never is a hedge that does not come.
const never = time.Duration(math.MaxInt64)

// hedged asks one replica of a shard, a second one if the first has not answered after hedge, and the next whenever one fails, until one answers or the
// time is over; nodes are the replicas in the order to ask. The first is asked by the caller's own goroutine: nearly always nobody else is.
func hedged[T any](ctx context.Context, r *Router, hedge time.Duration, shard uint32, nodes []string, call func(context.Context, Peer) (T, error)) (T, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // whoever is still at it may stop
	x := &asking[T]{nodes: nodes, call: func(ctx context.Context, node string) (T, error) {
		ctx, cancel := context.WithTimeout(ctx, attempt(ctx))
		defer cancel()
		return call(ctx, r.options.Link.Replica(node, shard))
	}}
	if len(x.nodes) > 1 {
		defer time.AfterFunc(hedge, func() {
			if ctx.Err() == nil {
				r.counts.hedges.Add(1)
				x.ask(ctx, cancel)
			}
		}).Stop()
	}
	x.ask(ctx, cancel)
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.answered:
		return x.value, x.err
	case x.err == nil:
		return x.value, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
	return x.value, fmt.Errorf("%w: %w: %w", ErrUnavailable, ctx.Err(), x.err)
}

// asking is replicas that are asked for one answer, by one goroutine or two.
type asking[T any] struct {
	nodes []string
	call  func(ctx context.Context, node string) (T, error)

	mu       sync.Mutex
	asked    int      // how often one was
	flying   []string // those that are being asked
	answered bool
	value    T
	err      error // of the answer, or the last failure
}

// ask asks one replica after the other until one has answered, of whomever, or the time is over.
func (x *asking[T]) ask(ctx context.Context, cancel context.CancelFunc) {
	for ctx.Err() == nil {
		node := x.next()
		value, err := x.call(ctx, node)
		if err != nil {
			err = fmt.Errorf("node %s: %w", node, err)
		}
		if x.take(node, value, err) {
			cancel()
			return
		}
		if x.round() && pause(ctx, againAfter) != nil {
			return
		}
	}
}

// next returns the replica to ask, which nobody is asking: of two that ask, one may be stopped, and hold its connections.
func (x *asking[T]) next() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	for ; slices.Contains(x.flying, x.nodes[x.asked%len(x.nodes)]); x.asked++ {
	}
	node := x.nodes[x.asked%len(x.nodes)]
	x.flying = append(x.flying, node)
	x.asked++
	return node
}

// take takes what a replica said, and tells whether there is an answer.
func (x *asking[T]) take(node string, value T, err error) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.flying = slices.DeleteFunc(x.flying, func(n string) bool { return n == node })
	if !x.answered {
		x.answered, x.value, x.err = err == nil || !retriable(err), value, err
	}
	return x.answered
}

// round tells whether all replicas were asked, so that it is time to wait a little.
func (x *asking[T]) round() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.asked >= len(x.nodes) && (x.asked%len(x.nodes) == 0 || len(x.flying) > 0)
}
