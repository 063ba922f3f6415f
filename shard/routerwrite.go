package shard

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"ostraca/retrieval"
)

// maxRequestBytes is what a router sends to a shard at once: below what a message may have.
const maxRequestBytes = 16 << 20

// Write sends each operation to its shard, a forget to all that it names, and tries again, with the same operation ids, until there is
// an outcome or the time is over. Operations whose id is zero are given one.
func (r *Router) Write(ctx context.Context, w *WriteRequest) ([]Result, error) {
	a, err := admit(w.Operations, func(o *Operation) error {
		if _, ok := o.Body.(*Configure); ok {
			return fmt.Errorf("collections are changed by Configure: %w", retrieval.ErrInvalid)
		}
		return nil
	})
	if err != nil || len(a.operations) == 0 {
		return a.with(nil), err
	}
	m, ctx, cancel, err := r.ready(ctx)
	if err != nil {
		return nil, fmt.Errorf("write: %w", err)
	}
	defer cancel()
	todo := r.place(m, a.operations)
	parts := fan(len(m.Shards), func(shard uint32) ([]Result, error) {
		return r.writeShard(ctx, m, shard, todo[shard]), nil
	})
	results, taken := make([]Result, len(a.operations)), make([]bool, len(a.operations))
	for shard, p := range parts {
		for i, got := range p.value {
			at := todo[shard][i].at
			if !taken[at] {
				results[at], taken[at] = got, true
			} else {
				results[at] = results[at].with(got)
			}
			for _, receipt := range got.Receipts {
				r.seen.raise(receipt.Time)
			}
		}
	}
	return a.with(results), nil
}

// with joins the results of one forget in two shards. One that took effect in a part of them is not undone, so its outcome is unknown until the
// same operation is repeated.
func (r Result) with(o Result) Result {
	out := r
	if out.Code == OK {
		out.Outcome = o.Outcome
	}
	out.Count = r.Count + o.Count
	out.Receipts = slices.Concat(r.Receipts, o.Receipts)
	out.Err = errors.Join(r.Err, o.Err)
	if mine, other := r.Failure(), o.Failure(); (mine == nil) != (other == nil) {
		out.Err = fmt.Errorf("done in some shards and not in others: %w: %w", ErrUnknown, errors.Join(mine, other))
	}
	return out
}

// placed is an operation of one shard, and where its result belongs.
type placed struct {
	Operation
	at    int
	bytes int // encoded, about
}

// place gives operations ids and sorts them by shard.
func (r *Router) place(m *Map, operations []Operation) [][]placed {
	shards := uint32(len(m.Shards))
	todo := make([][]placed, shards)
	put := func(shard uint32, o Operation, at int) {
		todo[shard] = append(todo[shard], placed{o, at, o.size()})
	}
	base := newID(r.seen.load())
	for i, o := range operations {
		if o.ID == (OperationID{}) {
			o.ID = base.Plus(i)
		}
		switch body := o.Body.(type) {
		case *Put:
			put(Place(body.Document.ID, shards), o, i)
		case *Patch:
			put(Place(body.ID, shards), o, i)
		case *Forget:
			parts := make([]Forget, shards)
			for _, id := range body.IDs {
				p := &parts[Place(id, shards)]
				p.IDs = append(p.IDs, id)
			}
			for _, parent := range body.Parents {
				p := &parts[PlaceParent(parent, shards)]
				p.Parents = append(p.Parents, parent)
			}
			for s := range parts {
				if len(parts[s].IDs)+len(parts[s].Parents) > 0 {
					o.Body = &parts[s]
					put(uint32(s), o, i)
				}
			}
		}
	}
	return todo
}

// writeShard writes until every operation has an outcome, or its time is over.
func (r *Router) writeShard(ctx context.Context, m *Map, shard uint32, todo []placed) []Result {
	results := make([]Result, len(todo))
	open := make([]int, len(todo))
	for i := range open {
		open[i] = i
	}
	nodes := r.order(m, shard, Read{Level: Linearizable}, r.options.Link.alive()) // kept: the next try is another replica's
	for turn := 0; len(open) > 0; turn++ {
		if turn > 0 && pause(ctx, againAfter) != nil {
			break
		}
		var left []int
		for _, batch := range batches(todo, open) {
			if turn > 0 {
				r.counts.writeRetries.Add(1)
			}
			r.writeOnce(ctx, nodes[turn%len(nodes)], shard, attemptTime<<min(turn, 2), todo, batch, results)
			for _, i := range batch {
				if results[i].Err != nil && retriable(results[i].Err) {
					left = append(left, i)
				}
			}
		}
		open = left
		if ctx.Err() != nil {
			break
		}
	}
	return results
}

// batches cuts operations into requests that a message can carry.
func batches(todo []placed, open []int) [][]int {
	var out [][]int
	bytes := 0
	for _, i := range open {
		size := todo[i].bytes
		if len(out) == 0 || bytes+size > maxRequestBytes {
			out, bytes = append(out, nil), 0
		}
		out[len(out)-1], bytes = append(out[len(out)-1], i), bytes+size
	}
	return out
}

// writeOnce sends one request to one replica, and notes what came of it. An outcome that is unknown stays so until a try tells it.
func (r *Router) writeOnce(ctx context.Context, node string, shard uint32, most time.Duration, todo []placed, batch []int, results []Result) {
	w := &WriteRequest{Seen: r.seen.load()}
	for _, i := range batch {
		w.Operations = append(w.Operations, todo[i].Operation)
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	got, err := r.options.Link.Replica(node, shard).Write(ctx, w)
	if err == nil && len(got) != len(batch) {
		err = fmt.Errorf("node %s gave %d results for %d operations: %w", node, len(got), len(batch), ErrUnknown)
	}
	if err != nil {
		r.leaders.CompareAndDelete(shard, node)
	}
	for j, i := range batch {
		next := Result{Err: err}
		if err == nil {
			next = got[j]
		}
		if next.Err != nil && errors.Is(results[i].Err, ErrUnknown) && !errors.Is(next.Err, ErrUnknown) {
			next.Err = fmt.Errorf("%w: an earlier try may have taken effect: %w", ErrUnknown, next.Err)
		}
		results[i] = next
	}
}

// Configure creates, changes or drops a collection in every shard, and returns when all have it. A key that is zero is drawn by a create, and
// kept by a change. It returns how many documents a drop has forgotten.
func (r *Router) Configure(ctx context.Context, collection string, c Configure) (uint64, error) {
	drawn := c.Change == Create && c.Configuration.Key == ([32]byte{})
	if drawn {
		rand.Read(c.Configuration.Key[:])
	}
	if held, ok := r.Map().Collections[collection]; ok && c.Change == Alter && c.Configuration.Key == ([32]byte{}) {
		c.Configuration.Key = held.Key
	}
	o := Operation{Collection: collection, Body: &c}
	err := o.check()
	if e := r.options.Encoder; err == nil && c.Change != Drop && e != nil && c.Configuration.Encoder == e.Hash() {
		err = target{Configuration: c.Configuration, name: collection}.suits(e)
	}
	if err != nil {
		return 0, fmt.Errorf("configure: %w", err)
	}
	_, ctx, cancel, err := r.ready(ctx)
	if err != nil {
		return 0, fmt.Errorf("configure: %w", err)
	}
	defer cancel()
	id := newID(0)
	job := &Job{ID: hex.EncodeToString(id[:]), Collection: collection, Change: c.Change, To: c.Configuration, Drawn: drawn, Began: r.seen.load()}
	for {
		err := r.options.Link.propose(ctx, &placementCommand{Job: job})
		if err == nil {
			break
		}
		if !retriable(err) {
			return 0, fmt.Errorf("configure: %w", err)
		}
		if pause(ctx, againAfter) != nil {
			return 0, fmt.Errorf("configure: %w", err)
		}
	}
	for {
		r.look(ctx)
		if j, ok := r.Map().finished(job.ID); ok {
			if err := (Outcome{Code: j.Code}).Err(); err != nil {
				return j.Count, fmt.Errorf("configure: collection %q, in a shard: %w", collection, err)
			}
			return j.Count, nil
		}
		if err := pause(ctx, againAfter); err != nil {
			return 0, fmt.Errorf("configure: the change of collection %q goes on, not every shard has it yet: %w: %w", collection, ErrUnknown, err)
		}
	}
}

// Now returns the cluster time that the router saw last, ms: what operation ids are made of.
func (r *Router) Now() int64 { return r.seen.load() }

// NewBatch returns an operation id that a writer can keep, to repeat a batch with: operation i of it has Plus(i).
func (r *Router) NewBatch(ctx context.Context) (OperationID, error) {
	_, _, cancel, err := r.ready(ctx)
	if err != nil {
		return OperationID{}, err
	}
	cancel()
	return newID(r.Now()), nil
}
