package shard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ostraca/retrieval"
	"ostraca/retrieval/encoder"
)

// RouterOptions of a router.
type RouterOptions struct {
	Link    *Link   // its own, whose node name begins with "router-"; stays the caller's to close
	Encoder Encoder // nil: documents and queries come as vectors or codes
	Hedge   time.Duration
	Timeout time.Duration // of a request whose context has no deadline
	Logger  *slog.Logger

	Projection encoder.Projection // of the encoder's vectors, best dimensions first: what ProjectionFor cuts where no sample is given; zero: none
}

// Defaults of a router, and how patient it is.
const (
	DefaultHedge   = 50 * time.Millisecond // after which a second replica is asked, once
	DefaultTimeout = 10 * time.Second

	attemptTime = 2 * time.Second        // one replica's time for a read
	againAfter  = 50 * time.Millisecond  // between rounds over all replicas, and between tries of a write
	routeEvery  = 250 * time.Millisecond // between looks at the placement
	searchTries = 3                      // of a search whose states were given up before its documents were fetched
)

// Router is all shards as one [Memory]. It keeps nothing but what it has seen of the placement and of cluster time.
type Router struct {
	options RouterOptions
	current atomic.Pointer[Map]
	seen    highWater // cluster time, ms
	turn    atomic.Uint32
	leaders sync.Map // shard -> node that was last known to lead
	counts  routerCounts
	cancel  context.CancelFunc
	running sync.WaitGroup

	projectors projectors
	fitting    chan struct{} // full while a projection is fitted
}

// OpenRouter starts a router.
func OpenRouter(o RouterOptions) *Router {
	if o.Hedge <= 0 {
		o.Hedge = DefaultHedge
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Router{options: o, fitting: make(chan struct{}, 1)}
	r.current.Store(&Map{})
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.running.Go(func() {
		for {
			r.look(ctx)
			if pause(ctx, routeEvery) != nil {
				return
			}
		}
	})
	return r
}

// Close ends the router's own work. Requests under way go on.
func (r *Router) Close() {
	r.cancel()
	r.running.Wait()
}

// look takes over a newer map and a later cluster time.
func (r *Router) look(ctx context.Context) {
	newest, at := r.options.Link.fetchMap(ctx, r.current.Load())
	r.seen.raise(at)
	for known := r.current.Load(); newest != nil && newest.Version > known.Version && !r.current.CompareAndSwap(known, newest); known = r.current.Load() {
	}
}

// Map returns the placement that the router knows.
func (r *Router) Map() *Map { return r.current.Load() }

// ready returns the map once there is one, and the context of one request.
func (r *Router) ready(ctx context.Context) (*Map, context.Context, context.CancelFunc, error) {
	cancel := func() {}
	if _, ok := ctx.Deadline(); !ok {
		ctx, cancel = context.WithTimeout(ctx, r.options.Timeout)
	}
	for {
		if m := r.current.Load(); len(m.Shards) > 0 && r.seen.load() > 0 {
			return m, ctx, cancel, nil
		}
		if err := pause(ctx, againAfter); err != nil {
			cancel()
			return nil, nil, nil, fmt.Errorf("no node has told the placement yet: %w: %w", ErrUnavailable, err)
		}
	}
}

// Search answers one phase over all shards: one replica each, in parallel, with one hedge, and one call to a node for all that it is asked; answers
// fold in shard order.
func (r *Router) Search(ctx context.Context, q *SearchRequest) (*SearchAnswer, error) {
	if q.Phase != Statistics {
		if q.Query == nil {
			return nil, fmt.Errorf("search: there is no query: %w", retrieval.ErrInvalid)
		}
		if err := q.Query.Validate(); err != nil {
			return nil, fmt.Errorf("search: %w", err)
		}
	}
	if len(q.IDs) > retrieval.MaxK {
		return nil, fmt.Errorf("search: scores of %d ids, the limit is %d: %w", len(q.IDs), retrieval.MaxK, retrieval.ErrTooLarge)
	}
	if q.Hold {
		return nil, fmt.Errorf("search: states are held by replicas, not by a router: %w", retrieval.ErrInvalid)
	}
	if err := errors.Join(checkRead(q.Collection, q.Read), checkIDs(q.IDs), CheckFilter(q.Filter)); err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	m, ctx, cancel, err := r.ready(ctx)
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	defer cancel()
	for try := 1; ; try++ {
		a, err := r.search(ctx, m, q)
		if errors.Is(err, ErrMoved) && try < searchTries && ctx.Err() == nil {
			continue
		}
		if err != nil {
			err = fmt.Errorf("search: %w", err)
		}
		return a, err
	}
}

func (r *Router) search(ctx context.Context, m *Map, q *SearchRequest) (*SearchAnswer, error) {
	asked := ctx
	if deadline, ok := ctx.Deadline(); ok && q.Documents { // a shard that does not answer leaves the others time to give theirs
		var cancel context.CancelFunc
		asked, cancel = context.WithTimeout(ctx, time.Until(deadline)*3/4)
		defer cancel()
	}
	ask := *q
	ask.Documents = q.Documents && q.Phase != Statistics
	ask.Hold = ask.Documents
	parts := r.searchShards(asked, m, &ask)
	out := &SearchAnswer{}
	var answers []retrieval.Answer
	have := map[string]Found{} // documents that came along with the hits
	for shard, p := range parts {
		if p.err != nil {
			if !retriable(p.err) {
				return nil, p.err
			}
			out.Missing = append(out.Missing, Missing{uint32(shard), p.err})
			continue
		}
		answers = append(answers, p.value.Answer)
		out.Held.Documents, out.Held.Tokens = out.Held.Documents+p.value.Held.Documents, out.Held.Tokens+p.value.Held.Tokens
		out.States = append(out.States, p.value.States...)
		out.Candidates += p.value.Candidates
		for _, d := range p.value.Documents {
			have[d.ID] = d
		}
		r.saw(p.value.States)
	}
	if q.Query != nil {
		out.Answer = retrieval.Merge(q.Query.K, answers...)
	}
	if q.Documents && q.Phase != Statistics {
		if err := r.documents(ctx, m, q.Collection, out, have); err != nil {
			return nil, err
		}
	}
	if len(out.Missing) > 0 {
		r.counts.partial.Add(1)
	}
	if len(out.Missing) > 0 && !q.AllowPartial {
		return nil, &PartialError{out.Missing, out}
	}
	return out, nil
}

// saw keeps what states tell: the cluster's time, and who leads.
func (r *Router) saw(states []State) {
	for _, s := range states {
		r.seen.raise(s.Time)
		if s.Leader != "" {
			r.leaders.Store(s.Shard, s.Leader)
		}
	}
}

// documents adds the documents of the hits to an answer, given those that came along with them.
func (r *Router) documents(ctx context.Context, m *Map, collection string, a *SearchAnswer, have map[string]Found) error {
	if slices.ContainsFunc(a.States, func(s State) bool { return s.Pin != nil }) {
		if err := r.fetch(ctx, m, collection, a, have); err != nil {
			return err
		}
	}
	for _, h := range a.Hits {
		d, ok := have[h.ID]
		if !ok {
			return fmt.Errorf("document %q has a score and no row: %w", h.ID, retrieval.ErrCorrupt)
		}
		a.Documents = append(a.Documents, d)
	}
	return nil
}

// fetch gets what documents did not come along with the hits, of the very states that gave the scores, and gives these up.
func (r *Router) fetch(ctx context.Context, m *Map, collection string, a *SearchAnswer, have map[string]Found) error {
	ids := make([][]string, len(m.Shards))
	for _, h := range a.Hits {
		if _, there := have[h.ID]; !there {
			shard := Place(h.ID, uint32(len(m.Shards)))
			ids[shard] = append(ids[shard], h.ID)
		}
	}
	pins := make([]*Pin, len(m.Shards))
	for _, s := range a.States {
		pins[s.Shard] = s.Pin
	}
	parts := fan(len(m.Shards), func(shard uint32) ([]Found, error) {
		var all []Found
		pin, rest := pins[shard], ids[shard]
		for pin != nil { // also where there is nothing to get: the replica need not keep the state
			n := min(len(rest), MaxBatch)
			got, err := r.options.Link.Replica(pin.Node, shard).Get(ctx, &GetRequest{Collection: collection, IDs: rest[:n], Read: Read{Pin: pin}, Last: n == len(rest)})
			if err != nil && len(ids[shard]) > 0 {
				return nil, err
			}
			if err != nil {
				break // the state was given up, or its replica went: nothing is missed
			}
			all = append(all, got.Documents...)
			if rest = rest[n:]; len(rest) == 0 {
				break
			}
		}
		return all, nil
	})
	for shard, p := range parts {
		if p.err != nil && retriable(p.err) {
			r.leaders.CompareAndDelete(uint32(shard), pins[shard].Node) // another one is asked first next time
			return fmt.Errorf("documents: %w: %w", ErrMoved, p.err)
		}
		if p.err != nil {
			return p.err
		}
		for _, d := range p.value {
			have[d.ID] = d
		}
	}
	return nil
}

// Get fetches documents from the shards that hold them.
func (r *Router) Get(ctx context.Context, q *GetRequest) (*GetAnswer, error) {
	if len(q.IDs) > MaxBatch {
		return nil, fmt.Errorf("get: %d ids, the limit is %d: %w", len(q.IDs), MaxBatch, retrieval.ErrTooLarge)
	}
	if err := errors.Join(checkRead(q.Collection, q.Read), checkIDs(q.IDs)); err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	m, ctx, cancel, err := r.ready(ctx)
	if err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	defer cancel()
	ids := make([][]string, len(m.Shards))
	for _, id := range q.IDs {
		shard := Place(id, uint32(len(m.Shards)))
		ids[shard] = append(ids[shard], id)
	}
	alive := r.options.Link.alive()
	parts := fan(len(m.Shards), func(shard uint32) (*GetAnswer, error) {
		if len(ids[shard]) == 0 {
			return &GetAnswer{}, nil
		}
		ask := *q
		ask.IDs = ids[shard]
		return hedged(ctx, r, r.options.Hedge, shard, r.order(m, shard, q.Read, alive), func(ctx context.Context, p Peer) (*GetAnswer, error) { return p.Get(ctx, &ask) })
	})
	out, found := &GetAnswer{}, map[string]Found{}
	if err := whole(r, "get", parts, func(a *GetAnswer) []State { return a.States }); err != nil {
		return nil, err
	}
	for _, p := range parts {
		out.States = append(out.States, p.value.States...)
		for _, d := range p.value.Documents {
			found[d.ID] = d
		}
	}
	for _, id := range q.IDs {
		if d, ok := found[id]; ok {
			out.Documents = append(out.Documents, d)
		}
	}
	return out, nil
}

// Status asks every replica of every shard. One that does not answer says why in Trouble.
func (r *Router) Status(ctx context.Context) (*Status, error) {
	m, ctx, cancel, err := r.ready(ctx)
	if err != nil {
		return nil, fmt.Errorf("status: %w", err)
	}
	defer cancel()
	out := &Status{}
	for _, p := range fan(len(m.Shards), func(shard uint32) ([]ReplicaStatus, error) {
		nodes := m.Shards[shard].Replicas
		all := make([]ReplicaStatus, len(nodes))
		var asked sync.WaitGroup
		for i, node := range nodes {
			asked.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, attemptTime)
				defer cancel()
				s, err := r.options.Link.Replica(node, shard).Status(ctx)
				if err != nil {
					all[i] = ReplicaStatus{Shard: shard, Shards: uint32(len(m.Shards)), Node: node, Role: "unreachable", Trouble: err.Error()}
					return
				}
				all[i] = s.Shards[0]
				r.seen.raise(all[i].Time)
			})
		}
		asked.Wait()
		return all, nil
	}) {
		out.Shards = append(out.Shards, p.value...)
	}
	return out, nil
}
