package shardtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"ostraca/retrieval"
	"ostraca/shard"
)

// Workload is clients that write and read a few documents, and what they were told.
type Workload struct {
	Collection string
	Shards     uint32 // of the cluster
	IDs        []string
	Clients    int
	Think      time.Duration // between two operations of a client, at most
	Patience   time.Duration // of one operation

	clock atomic.Int64 // orders calls and returns
	mu    sync.Mutex
	ops   []Op
	seen  []Observation
	fault error // the first answer that cannot be

	searches int
}

// Run runs the clients until the context ends.
func (w *Workload) Run(ctx context.Context, r []*shard.Router, seed uint64) {
	var clients sync.WaitGroup
	for i := range w.Clients {
		clients.Go(func() {
			c := &client{Workload: w, number: i, router: r[i%len(r)], rng: rand.New(rand.NewPCG(seed, uint64(i)+100)), last: map[string]uint64{}}
			for ctx.Err() == nil {
				c.step()
				time.Sleep(time.Duration(c.rng.Int64N(int64(w.Think))))
			}
		})
	}
	clients.Wait()
}

// client is one writer and reader.
type client struct {
	*Workload
	number   int
	router   *shard.Router
	rng      *rand.Rand
	last     map[string]uint64 // version that it saw last of each id
	receipts []shard.Receipt   // the newest state that it saw of each shard
}

func (c *client) step() {
	ctx, cancel := context.WithTimeout(context.Background(), c.Patience)
	defer cancel()
	id := c.IDs[c.rng.IntN(len(c.IDs))]
	switch n := c.rng.IntN(100); {
	case n < 40:
		c.change(ctx)
	case n < 62:
		c.read(ctx, id, shard.Read{})
	case n < 68:
		c.list(ctx, shard.Read{})
	case n < 74:
		c.search(ctx, shard.Read{})
	case n < 79:
		c.search(ctx, shard.Read{Level: shard.Local, After: c.receipts})
	case n < 90:
		c.read(ctx, id, shard.Read{Level: shard.Local, After: c.receipts})
	default:
		c.read(ctx, id, shard.Read{Level: shard.Bounded, Bound: 200 * time.Millisecond})
	}
}

// change writes one operation, or a few on different documents at once.
func (c *client) change(ctx context.Context) {
	some := 1
	if c.rng.IntN(4) == 0 {
		some += 1 + c.rng.IntN(2)
	}
	var ops []Op
	var bodies []shard.Operation
	for _, i := range c.rng.Perm(len(c.IDs))[:some] {
		o, body := c.draw(c.IDs[i])
		ops, bodies = append(ops, o), append(bodies, body)
	}
	c.write(ctx, ops, bodies)
}

// draw returns a change of a document.
func (c *client) draw(id string) (Op, shard.Operation) {
	condition := shard.Condition{}
	if c.last[id] != 0 && c.rng.IntN(4) == 0 {
		condition = shard.Condition{Kind: shard.IfVersion, Version: c.last[id]}
	}
	switch n := c.rng.IntN(20); {
	case n < 5:
		return c.begin(OpForget, id), Forget(c.Collection, id)
	case n < 6:
		o := c.begin(OpForget, shard.Parent(id))
		o.Parent = true
		return o, shard.Operation{Collection: c.Collection, Body: &shard.Forget{Parents: []string{o.ID}}}
	case n < 10:
		o := c.begin(OpPatch, id)
		o.Condition = condition
		fields := fmt.Appendf(nil, `{"patched":%d}`, o.Call)
		return o, shard.Operation{Collection: c.Collection, Body: &shard.Patch{Condition: condition, ID: id, Fields: fields}}
	}
	if c.rng.IntN(4) == 0 {
		condition = shard.Condition{Kind: shard.IfAbsent}
	}
	o := c.begin(OpPut, id)
	o.Number, o.Condition = uint64(c.number)<<32|uint64(o.Call), condition
	return o, Put(c.Collection, Document(id, o.Number), condition)
}

func (c *client) begin(kind Kind, id string) Op {
	return Op{Client: c.number, Shard: shard.Place(id, c.Shards), Kind: kind, ID: id, Call: c.clock.Add(1), Called: time.Now()}
}

func (c *client) end(o Op) {
	o.Return, o.Returned = c.clock.Add(1), time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ops = append(c.ops, o)
}

// wrong keeps an answer that cannot be.
func (w *Workload) wrong(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fault == nil {
		w.fault = fmt.Errorf(format, args...)
	}
}

// write sends operations and notes their outcomes. One that surely changed nothing is left out of the history.
func (c *client) write(ctx context.Context, ops []Op, bodies []shard.Operation) {
	results, err := c.router.Write(ctx, &shard.WriteRequest{Operations: bodies})
	for i, o := range ops {
		got := shard.Result{Err: err}
		if err == nil {
			got = results[i]
		}
		c.outcome(o, got)
	}
}

func (c *client) outcome(o Op, got shard.Result) {
	switch err := got.Err; {
	case err == nil && got.Code == shard.Invalid, err == nil && got.Code == shard.NotFound && o.Kind != OpPatch:
		c.wrong("write %v: %v", o, got.Outcome)
		return
	case err == nil && got.Code > shard.NotFound:
		return
	case err == nil:
		o.Code, o.Version, o.Count = got.Code, got.Version, got.Count
		c.receipts = newest(c.receipts, got.Receipts)
		c.last[o.ID] = o.Version
	case errors.Is(err, shard.ErrUnknown), errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, shard.ErrUnavailable):
		o.Unknown = true
	case errors.Is(err, shard.ErrUnavailable), errors.Is(err, shard.ErrNotLeader), errors.Is(err, shard.ErrExhausted), errors.Is(err, shard.ErrExpired):
		return
	default:
		c.wrong("write %v: %v", o, err)
		return
	}
	c.end(o)
}

// newest keeps one receipt a shard.
func newest(held, more []shard.Receipt) []shard.Receipt {
	out := append([]shard.Receipt{}, held...)
next:
	for _, m := range more {
		for i := range out {
			if out[i].Shard == m.Shard {
				if m.Index > out[i].Index {
					out[i] = m
				}
				continue next
			}
		}
		out = append(out, m)
	}
	return out
}

func (c *client) read(ctx context.Context, id string, read shard.Read) {
	o := c.begin(OpRead, id)
	a, err := c.router.Get(ctx, &shard.GetRequest{Collection: c.Collection, IDs: []string{id}, Read: read})
	if err != nil {
		c.failed("get", read, err)
		return
	}
	var v Value
	if len(a.Documents) > 0 {
		v = c.value(&a.Documents[0])
	}
	c.observe(a.States[0], read, map[string]Value{id: v})
	if o.Version, o.Number, o.Bound = v.Version, v.Number, read.Bound; read.Level == shard.Bounded {
		o.Kind = OpBounded
	}
	if read.Level != shard.Local {
		c.end(o)
	}
}

// list reads every shard's part.
func (c *client) list(ctx context.Context, read shard.Read) {
	call := c.begin(OpList, "")
	a, err := c.router.List(ctx, &shard.ListRequest{Collection: c.Collection, Limit: shard.MaxListed, Read: read})
	if err != nil {
		c.failed("list", read, err)
		return
	}
	c.all(call, read, a.States, a.Documents)
}

// search asks for more documents than there are: the hits are all that each shard's index has, and their rows come with them.
func (c *client) search(ctx context.Context, read shard.Read) {
	call := c.begin(OpList, "")
	a, err := c.router.Search(ctx, &shard.SearchRequest{Collection: c.Collection, Query: Query(c.rng.Uint64N(100), 2*len(c.IDs)), Documents: true, Read: read})
	if errors.Is(err, shard.ErrMoved) {
		return // the states were given up, time and again
	}
	if err != nil {
		c.failed("search", read, err)
		return
	}
	for i, h := range a.Hits {
		if len(a.Documents) != len(a.Hits) || a.Documents[i].ID != h.ID {
			c.wrong("search: %d hits with %d documents, or others", len(a.Hits), len(a.Documents))
			return
		}
	}
	c.mu.Lock()
	c.searches++
	c.mu.Unlock()
	c.all(call, read, a.States, a.Documents)
}

// all notes what every shard was found to hold.
func (c *client) all(call Op, read shard.Read, states []shard.State, documents []shard.Found) {
	if len(states) != int(c.Shards) {
		c.wrong("states of %d shards", len(states))
	}
	for _, s := range states {
		o := call
		o.Shard, o.Found = s.Shard, map[string]Value{}
		for _, id := range c.IDs {
			if shard.Place(id, c.Shards) == s.Shard {
				o.Found[id] = Value{}
			}
		}
		for i := range documents {
			if d := &documents[i]; shard.Place(d.ID, c.Shards) == s.Shard {
				o.Found[d.ID] = c.value(d)
			}
		}
		if c.observe(s, read, o.Found); read.Level == shard.Linearizable {
			c.end(o)
		}
	}
}

// failed accepts that there is no answer, and no other failure.
func (c *client) failed(what string, read shard.Read, err error) {
	if read.Level != shard.Linearizable && errors.Is(err, retrieval.ErrNotFound) {
		return // a replica that has not heard of the collection yet
	}
	if !errors.Is(err, shard.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
		c.wrong("%s: %v", what, err)
	}
}

// value checks that a document is one that was put, whole, and returns which.
func (c *client) value(d *shard.Found) Value {
	var fields map[string]uint64
	if err := json.Unmarshal(d.Fields, &fields); err != nil {
		c.wrong("fields of %s: %v", d.ID, err)
	}
	if want := Document(d.ID, fields["number"]); d.Text != want.Text {
		c.wrong("document %s has the text %q with the number %d", d.ID, d.Text, fields["number"])
	}
	return Value{d.Version, fields["number"]}
}

// observe keeps what a state holds. The client does not go back behind it.
func (c *client) observe(s shard.State, read shard.Read, found map[string]Value) {
	for _, receipt := range read.After {
		if s.Shard == receipt.Shard && s.Index < receipt.Index {
			c.wrong("a read after entry %d of shard %d was answered at %d", receipt.Index, s.Shard, s.Index)
		}
	}
	if shards := c.router.Map().Shards; int(s.Shard) < len(shards) {
		c.receipts = newest(c.receipts, []shard.Receipt{{Shard: s.Shard, Generation: shards[s.Shard].Generation, Index: s.Index}})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, v := range found {
		c.seen = append(c.seen, Observation{s.Shard, s.Index, id, v})
		c.last[id] = v.Version
	}
}

// End reads every document and lists every shard once more, linearizably: what was acknowledged must still be there.
func (w *Workload) End(ctx context.Context, r *shard.Router) error {
	c := &client{Workload: w, number: w.Clients, router: r, rng: rand.New(rand.NewPCG(1, 1)), last: map[string]uint64{}}
	for range 2 {
		before := len(w.ops)
		for _, id := range w.IDs {
			c.read(ctx, id, shard.Read{})
		}
		c.list(ctx, shard.Read{})
		c.search(ctx, shard.Read{})
		if len(w.ops) >= before+len(w.IDs)+2*int(c.Shards) {
			return nil
		}
	}
	return fmt.Errorf("the cluster does not answer after its faults have ended: %w", retrieval.ErrNotFound)
}
