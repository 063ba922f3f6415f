package shard

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

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

// with joins the results of one forget in two shards.
func (r Result) with(o Result) Result {
	out := r
	if out.Code == OK {
		out.Outcome = o.Outcome
	}
	out.Count = r.Count + o.Count
	out.Receipts = slices.Concat(r.Receipts, o.Receipts)
	out.Err = errors.Join(r.Err, o.Err)
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
	for turn := 0; len(open) > 0; turn++ {
		if turn > 0 && pause(ctx, againAfter) != nil {
			break
		}
		var left []int
		for _, batch := range batches(todo, open) {
			r.writeOnce(ctx, m, shard, turn, todo, batch, results)
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
func (r *Router) writeOnce(ctx context.Context, m *Map, shard uint32, turn int, todo []placed, batch []int, results []Result) {
	nodes := r.order(m, shard, Read{Level: Linearizable})
	node := nodes[turn%len(nodes)]
	w := &WriteRequest{Seen: r.seen.load()}
	for _, i := range batch {
		w.Operations = append(w.Operations, todo[i].Operation)
	}
	ctx, cancel := context.WithTimeout(ctx, leaderTime)
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
	if err := o.check(); err != nil {
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

// Text is a document before it is encoded.
type Text struct {
	ID        string
	Text      string
	Fields    []byte // a JSON object, or nothing
	Condition Condition
}

// Encoder turns texts into codes. It runs at the router: floats end before the log.
type Encoder interface {
	// Documents returns the codes and spans of texts. Errors wrap retrieval.ErrTooLarge or retrieval.ErrInvalid, and name the text.
	Documents(ctx context.Context, texts []string) ([]retrieval.Codes, [][]retrieval.Span, error)
	// Query returns the question that asks for the best k documents.
	Query(ctx context.Context, text string, k int) (*retrieval.Query, error)
	// Hash names the weights.
	Hash() string
}

// Encode makes puts of texts, in the codes of a collection's present epoch.
func (r *Router) Encode(ctx context.Context, collection string, texts []Text) ([]Operation, error) {
	if len(texts) > MaxBatch {
		return nil, fmt.Errorf("encode: %d texts, the limit is %d: %w", len(texts), MaxBatch, retrieval.ErrTooLarge)
	}
	c, err := r.encoded(ctx, collection)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	plain := make([]string, len(texts))
	for i, t := range texts {
		plain[i] = t.Text
	}
	codes, spans, err := r.options.Encoder.Documents(ctx, plain)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	out := make([]Operation, len(texts))
	for i, t := range texts {
		fields, err := CanonicalFields(t.Fields)
		if err != nil {
			return nil, fmt.Errorf("encode: document %q: %w", t.ID, err)
		}
		out[i] = Operation{Collection: collection, Body: &Put{Condition: t.Condition, Epoch: c.Epoch,
			Document: Document{ID: t.ID, Text: t.Text, Fields: fields, Codes: codes[i], Spans: spans[i]}}}
	}
	return out, nil
}

// Ask makes a query of a text, in the codes of a collection.
func (r *Router) Ask(ctx context.Context, collection, text string, k int) (*retrieval.Query, error) {
	if _, err := r.encoded(ctx, collection); err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	return r.options.Encoder.Query(ctx, text, k)
}

// encoded returns the configuration of a collection that this router's encoder can write and ask.
func (r *Router) encoded(ctx context.Context, collection string) (Configuration, error) {
	_, ctx, cancel, err := r.ready(ctx)
	if err != nil {
		return Configuration{}, err
	}
	defer cancel()
	c, ok := r.Map().Collections[collection]
	if !ok {
		r.look(ctx)
		if c, ok = r.Map().Collections[collection]; !ok {
			return c, fmt.Errorf("collection %q: %w", collection, retrieval.ErrNotFound)
		}
	}
	if r.options.Encoder == nil || c.Encoder != r.options.Encoder.Hash() {
		if c.Encoder == "" {
			return c, fmt.Errorf("collection %q takes codes, not texts: it was made without an encoder: %w", collection, retrieval.ErrInvalid)
		}
		return c, fmt.Errorf("collection %q is of encoder %.16q, which this router has not: %w", collection, c.Encoder, retrieval.ErrInvalid)
	}
	return c, nil
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
