package shard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ostraca/consensus"
	"ostraca/retrieval"
	"ostraca/storage"
)

// maxInFlight is the entries that a leader proposes before the first is committed: one is being synced, one sent, one waits.
const maxInFlight = 4

// proposeTime bounds how long an entry waits for its quorum. A leader without one steps down far earlier.
const proposeTime = 10 * time.Second

// enqueueTime bounds how long a busy leader may take to take an entry.
const enqueueTime = 2 * time.Second

// leaderTime bounds how long a write waits for a leader to be elected.
const leaderTime = 5 * time.Second

// Write applies operations of this shard: here if this replica leads, else at the leader. Each has its own result.
func (r *Replica) Write(ctx context.Context, w *WriteRequest) ([]Result, error) {
	a, err := r.admit(w)
	if err != nil || len(a.operations) == 0 {
		return a.with(nil), err
	}
	results, err := r.lead(ctx, &WriteRequest{a.operations, w.Seen})
	if err != nil {
		return nil, err
	}
	return a.with(results), nil
}

// lead brings a write to the leader, whoever it is. Where a try may have taken effect, so may the whole.
func (r *Replica) lead(ctx context.Context, w *WriteRequest) ([]Result, error) {
	ctx, cancel := context.WithTimeout(ctx, proposeTime+leaderTime)
	defer cancel()
	began := time.Now()
	last := fmt.Errorf("shard %d has no leader that a quorum follows: %w", r.options.Shard, ErrUnavailable)
	for {
		changed := r.group.LeaderChanged()
		leader, _ := r.group.Leader()
		var results []Result
		err := ErrNotLeader
		if leader == r.options.Node {
			results, err = r.leader.write(ctx, w)
		} else if leader != "" {
			asking, stop := r.whileLeading(ctx, changed)
			results, err = r.options.Peers.Replica(leader, r.options.Shard).Forward(asking, w)
			stop()
		}
		switch {
		case errors.Is(err, ErrUnknown):
			last = err
		case err == nil && slices.ContainsFunc(results, func(r Result) bool { return errors.Is(r.Err, ErrNotLeader) }):
			last = fmt.Errorf("leadership moved meanwhile: %w", ErrUnknown) // of some: a retry tells which
		case !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrUnavailable):
			return results, err
		}
		if err := r.machine.halt(nil); err != nil {
			return nil, err
		}
		pause := time.NewTimer(50 * time.Millisecond)
		select {
		case <-changed:
		case <-pause.C:
		case <-ctx.Done():
		}
		pause.Stop()
		if ctx.Err() != nil || time.Since(began) > leaderTime {
			return nil, fmt.Errorf("write: %w", last)
		}
	}
}

// Forward applies operations if this replica leads.
func (r *Replica) Forward(ctx context.Context, w *WriteRequest) ([]Result, error) {
	a, err := r.admit(w)
	if err != nil || len(a.operations) == 0 {
		return a.with(nil), err
	}
	results, err := r.leader.write(ctx, &WriteRequest{a.operations, w.Seen})
	if err != nil {
		return nil, err
	}
	return a.with(results), nil
}

// admit is this replica's door.
func (r *Replica) admit(w *WriteRequest) (*admitted, error) {
	return admit(w.Operations, func(o *Operation) error {
		if o.ID == (OperationID{}) {
			return fmt.Errorf("it has no id: a router gives one, and who writes to a replica makes it of cluster time: %w", retrieval.ErrInvalid)
		}
		return r.options.checkPlace(o)
	})
}

// proposer makes entries of the operations that wait at a leader, in one goroutine: what waits together goes together, so many
// writers share a sync of the log.
type proposer struct {
	*Replica
	queue  chan *pending
	queued atomic.Int64  // bytes in the queue and in flight
	flying chan struct{} // a place an entry in flight
	ctx    context.Context
	stop   context.CancelFunc
	done   sync.WaitGroup

	stamping sync.Mutex
	keeper   consensus.Timekeeper
	term     uint64    // that the keeper was reset for
	last     int64     // stamp
	seen     highWater // cluster time that writers saw
	start    time.Time
}

// highWater is the largest number that it was told.
type highWater struct{ v atomic.Int64 }

func (h *highWater) load() int64 { return h.v.Load() }

func (h *highWater) raise(to int64) {
	for at := h.v.Load(); to > at && !h.v.CompareAndSwap(at, to); at = h.v.Load() {
	}
}

// pending is operations that go into one entry.
type pending struct {
	encoded [][]byte
	bytes   int
	results []Result      // a window on the batch's
	done    chan struct{} // closed when results are there
}

func newProposer(r *Replica) *proposer {
	p := &proposer{Replica: r, queue: make(chan *pending, MaxWaiting), flying: make(chan struct{}, maxInFlight), start: time.Now()}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.done.Go(p.run)
	return p
}

func (p *proposer) close() {
	p.stop()
	p.done.Wait()
}

// write queues operations and waits for their results. The error is set when nothing was queued.
func (p *proposer) write(ctx context.Context, w *WriteRequest) ([]Result, error) {
	if err := p.machine.halt(nil); err != nil {
		return nil, fmt.Errorf("write: %w", err)
	}
	if err := p.store.Health(); err != nil {
		return nil, fmt.Errorf("write: %w: %w", ErrExhausted, err)
	}
	if !p.group.IsLeader() {
		return nil, fmt.Errorf("write: %w", ErrNotLeader)
	}
	p.see(w.Seen)
	results := make([]Result, len(w.Operations))
	parts, err := split(w.Operations, results)
	if err != nil {
		return nil, fmt.Errorf("write: %w", err)
	}
	for i, part := range parts {
		if p.enqueue(part) {
			continue
		}
		err := fmt.Errorf("write: %d writes or %d MiB wait at the leader, the limit: try again later: %w", MaxWaiting, MaxWaitingBytes>>20, ErrExhausted)
		if i == 0 {
			return nil, err
		}
		for _, rest := range parts[i:] {
			rest.fail(err)
		}
		break
	}
	for _, part := range parts {
		select {
		case <-part.done:
		case <-ctx.Done():
			return unknown(parts, ctx.Err()), nil
		case <-p.ctx.Done():
			return unknown(parts, consensus.ErrClosed), nil
		}
	}
	return results, nil
}

// enqueue puts a part into the queue, unless it is full.
func (p *proposer) enqueue(part *pending) bool {
	if p.queued.Add(int64(part.bytes)) <= MaxWaitingBytes {
		select {
		case p.queue <- part:
			return true
		default:
		}
	}
	p.queued.Add(-int64(part.bytes))
	return false
}

// unknown copies the results that are there; those still under way may or may not take effect.
func unknown(parts []*pending, cause error) []Result {
	var out []Result
	for _, part := range parts {
		select {
		case <-part.done:
			out = append(out, part.results...)
		default:
			for range part.encoded {
				out = append(out, Result{Err: fmt.Errorf("write: %w: %w", ErrUnknown, cause)})
			}
		}
	}
	return out
}

// split packs operations into parts that entries are made of. Each is read back: what a replica could not read must not enter the log.
func split(operations []Operation, results []Result) ([]*pending, error) {
	var parts []*pending
	for i := range operations {
		b := appendOperation(nil, &operations[i])
		if len(b) > MaxOperationBytes {
			return nil, fmt.Errorf("operation %d has %d bytes, the limit is %d: %w", i, len(b), MaxOperationBytes, retrieval.ErrTooLarge)
		}
		if _, err := parseOperation(b); err != nil {
			return nil, fmt.Errorf("operation %d: %w: %w", i, retrieval.ErrInvalid, err)
		}
		last := len(parts) - 1
		if last < 0 || parts[last].bytes+len(b) > MaxEntryBytes {
			parts = append(parts, &pending{results: results[i:i], done: make(chan struct{})})
			last++
		}
		p := parts[last]
		p.encoded, p.bytes, p.results = append(p.encoded, b), p.bytes+len(b), p.results[:len(p.results)+1]
	}
	return parts, nil
}

func (p *pending) fail(err error) {
	for i := range p.results {
		p.results[i].Err = err
	}
	close(p.done)
}

// run makes entries until the replica closes. What is left in the queue then is refused.
func (p *proposer) run() {
	var next *pending // taken from the queue, too large for the entry before
	for {
		if next == nil {
			select {
			case next = <-p.queue:
			case <-p.ctx.Done():
				return
			}
		}
		select {
		case p.flying <- struct{}{}:
		case <-p.ctx.Done():
			return
		}
		parts := []*pending{next}
		next = p.gather(&parts)
		proposal, err := p.group.Enqueue(p.entry(parts), enqueueTime) // here, so that entries keep the order of their writes
		p.done.Go(func() {
			p.finish(proposal, err, parts)
			<-p.flying
		})
	}
}

// gather adds parts that wait, and returns the first that does not fit.
func (p *proposer) gather(parts *[]*pending) *pending {
	bytes, operations := (*parts)[0].bytes, len((*parts)[0].encoded)
	for {
		select {
		case part := <-p.queue:
			if bytes += part.bytes; bytes > MaxEntryBytes || operations+len(part.encoded) > MaxEntryOperations {
				return part
			}
			operations += len(part.encoded)
			*parts = append(*parts, part)
		default:
			return nil
		}
	}
}

// entry stamps parts with cluster time.
func (p *proposer) entry(parts []*pending) []byte {
	var operations [][]byte
	bytes := 64
	for _, part := range parts {
		operations = append(operations, part.encoded...)
		bytes += part.bytes + 8*len(part.encoded)
	}
	p.stamping.Lock()
	defer p.stamping.Unlock()
	keeper, term := p.kept()
	median, known := p.median()
	p.last = keeper.Stamp(time.Since(p.start), median, known)
	p.keeper, p.term = keeper, term
	return appendEntry(make([]byte, 0, bytes), p.last, operations)
}

// kept returns the keeper that the next stamp is made by, and its term. The caller holds stamping.
func (p *proposer) kept() (consensus.Timekeeper, uint64) {
	keeper := p.keeper
	held := max(p.machine.current.Load().time, p.seen.load())
	_, term := p.group.Leader()
	if term != p.term || held > p.last {
		keeper.Reset(held)
	}
	return keeper, term
}

// see takes over the cluster time that a writer saw: a shard that was idle, or down, learns what the others have come to. It is believed
// up to a minute ahead of its voters' clocks, and not without them: what a writer says may be anything.
func (p *proposer) see(seen int64) {
	if median, known := p.median(); known {
		p.seen.raise(min(seen, median+MaxEarly.Milliseconds()))
	}
}

func (p *proposer) median() (ms int64, known bool) {
	if p.options.Clocks == nil {
		return 0, false
	}
	return p.options.Clocks.Median(p.options.Replicas, p.options.Node)
}

// now returns the cluster time that a leader has come to since its last entry, at most what the next one will say. Writers make operation ids
// of it, so that those of the first write after a night are not a night old.
func (p *proposer) now() int64 {
	p.stamping.Lock()
	defer p.stamping.Unlock()
	keeper, _ := p.kept()
	alone, at := keeper, time.Since(p.start)
	median, known := p.median()
	return min(keeper.Stamp(at, median, known), alone.Stamp(at, 0, false))
}

// finish waits for an entry and hands out its outcomes.
func (p *proposer) finish(proposal *consensus.Proposal, err error, parts []*pending) {
	ctx, cancel := context.WithTimeout(p.ctx, proposeTime)
	defer cancel()
	var result any
	if err == nil {
		_, result, err = proposal.Wait(ctx)
	}
	if err == nil {
		err, _ = result.(error)
	}
	outcomes, _ := result.(*entryResult)
	switch {
	case errors.Is(err, consensus.ErrNotLeader):
		err = fmt.Errorf("write: %w", ErrNotLeader)
	case errors.Is(err, consensus.ErrUnknownOutcome), errors.Is(err, errHalted), err == nil && outcomes == nil:
		err = fmt.Errorf("write: %w: %w", ErrUnknown, errors.Join(err, p.machine.halt(nil)))
	case errors.Is(err, storage.ErrFull):
		err = fmt.Errorf("write: %w: %w", ErrUnknown, err)
	case err != nil:
		err = fmt.Errorf("write: %w", err)
	}
	at := 0
	for _, part := range parts {
		p.queued.Add(-int64(part.bytes))
		if err != nil {
			part.fail(err)
			continue
		}
		for i := range part.results {
			part.results[i] = Result{Outcome: outcomes.outcomes[at], Receipts: outcomes.receipts[at : at+1 : at+1]}
			at++
		}
		close(part.done)
	}
}
