package shard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"ostraca/consensus"
	"ostraca/retrieval"
	"ostraca/retrieval/index"
	"ostraca/storage"
)

// batch is entries being applied: rows in a transaction of the store, and what the index will be told of them.
type batch struct {
	machine     *machine
	tx          *storage.Tx
	time        int64
	collections map[string]*collection
	gathered    map[string]*gathering
	forgets     bool
}

// entryResult is what an entry became: an outcome and a receipt an operation.
type entryResult struct {
	outcomes []Outcome
	receipts []Receipt
}

// entry applies one entry, in the order of docs/operations.md. An error is one that halts.
func (b *batch) entry(e consensus.Entry) (*entryResult, error) {
	stamp, encoded, err := splitEntry(e.Data)
	if err != nil {
		return nil, err
	}
	operations, err := parseOperations(encoded)
	if err != nil {
		return nil, err
	}
	b.time = max(b.time, stamp)
	if err := b.tx.Put(bucketSystem, []byte("time"), timeRow(b.time)); err != nil {
		return nil, err
	}
	if err := b.expire(expiredPerEntry + 2*len(operations)); err != nil {
		return nil, err
	}
	r := &entryResult{make([]Outcome, len(operations)), make([]Receipt, len(operations))}
	for i := range operations {
		if r.outcomes[i], err = b.once(&operations[i], fingerprint(encoded[i]), e.Index<<16|uint64(i)); err != nil {
			return nil, fmt.Errorf("operation %d: %w", i, err)
		}
	}
	id := b.machine.identity
	for i, o := range operations {
		digest := b.tx.Stat(bucketDocuments(o.Collection)).Digest
		r.receipts[i] = Receipt{Shard: id.Shard, Generation: id.Generation, Index: e.Index, Digest: digest, Time: b.time}
	}
	return r, nil
}

// expire forgets outcomes that are older than the retry window, so many at most, so that no entry costs much: more than an entry adds, or
// a table that is full would never have room for as much again.
func (b *batch) expire(most int) error {
	var old [][]byte
	for id := range b.tx.Scan(bucketOperations, nil) {
		if OperationID(id).Time() >= b.time-RetryWindow.Milliseconds() || len(old) == most {
			break
		}
		old = append(old, slices.Clone(id))
	}
	for _, id := range old {
		if err := b.tx.Delete(bucketOperations, id); err != nil {
			return err
		}
	}
	return b.tx.Err()
}

// once applies an operation unless it was applied before, and remembers its outcome.
func (b *batch) once(o *Operation, print, version uint64) (Outcome, error) {
	age := b.time - o.ID.Time()
	switch {
	case age > RetryWindow.Milliseconds():
		return Outcome{Code: Expired, Reason: fmt.Sprintf("the operation id is %d s old, outcomes are remembered for %d s", age/1000, int64(RetryWindow.Seconds()))}, nil
	case -age > MaxEarly.Milliseconds():
		return Outcome{Code: Early, Reason: fmt.Sprintf("the operation id is %d s ahead of cluster time, at most %d s are allowed", -age/1000, int64(MaxEarly.Seconds()))}, nil
	}
	row, err := b.tx.Get(bucketOperations, o.ID[:])
	if err == nil {
		r := reader{rest: row}
		if first := r.fixed64("fingerprint"); r.err == nil && first != print {
			return Outcome{Code: Invalid, Reason: "the operation id was used for another operation: each needs its own"}, nil
		}
		return parseOutcome(r.rest)
	}
	if !errors.Is(err, storage.ErrNotFound) {
		return Outcome{}, err
	}
	if b.tx.Stat(bucketOperations).Rows >= b.machine.most {
		return Outcome{Code: Exhausted, Reason: fmt.Sprintf("%d operations are remembered, the limit: write again when the oldest have expired, in at most %v", b.machine.most, RetryWindow)}, nil
	}
	out, err := b.operation(o, version)
	if err != nil || !out.Code.remembered() {
		return out, err
	}
	row = appendOutcome(binary.LittleEndian.AppendUint64(nil, print), out)
	return out, b.tx.Put(bucketOperations, slices.Clone(o.ID[:]), row)
}

func (b *batch) operation(o *Operation, version uint64) (Outcome, error) {
	if c, ok := o.Body.(*Configure); ok {
		return b.configure(o.Collection, c)
	}
	c := b.collections[o.Collection]
	if c == nil {
		return Outcome{Code: NotFound, Reason: fmt.Sprintf("collection %q is not there", o.Collection)}, nil
	}
	w := writing{b, c, o.Collection, version}
	switch body := o.Body.(type) {
	case *Put:
		return w.put(body)
	case *Patch:
		return w.patch(body)
	case *Forget:
		return w.forget(body)
	}
	return Outcome{}, fmt.Errorf("operation of type %T: %w", o.Body, retrieval.ErrCorrupt)
}

func (b *batch) configure(name string, c *Configure) (Outcome, error) {
	held := b.collections[name]
	switch {
	case c.Change == Drop:
		return b.drop(name, held)
	case c.Change == Create && held != nil:
		if !held.Configuration.Equal(c.Configuration) {
			return Outcome{Code: Exists, Reason: fmt.Sprintf("collection %q is there with another configuration", name)}, nil
		}
		return Outcome{}, nil
	case c.Change == Alter && held == nil:
		return Outcome{Code: NotFound, Reason: fmt.Sprintf("collection %q is not there", name)}, nil
	case c.Change == Alter && !held.follows(c.Configuration):
		return Outcome{Code: Invalid, Reason: "key, codec, width and lists of a collection stay, its epoch does not go back, and another encoder, projection or reduction is another epoch"}, nil
	case c.Change == Create && len(b.collections) >= MaxCollections:
		return Outcome{Code: Exhausted, Reason: fmt.Sprintf("%d collections are held, the limit", MaxCollections)}, nil
	}
	next := &collection{Configuration: c.Configuration}
	if held != nil {
		next.index, next.parents = held.index, held.parents
	} else {
		var err error
		if next, err = b.machine.newCollection(c.Configuration); err != nil {
			return Outcome{}, err
		}
		err = errors.Join(b.tx.Create(bucketDocuments(name), c.Configuration.Key), b.tx.Create(bucketVersions(name), b.machine.identity.key()))
		if err != nil {
			return Outcome{}, err
		}
	}
	b.collections[name] = next
	return Outcome{}, b.tx.Put(bucketCollections, []byte(name), appendConfiguration(nil, c.Configuration))
}

func (b *batch) drop(name string, held *collection) (Outcome, error) {
	if held == nil {
		return Outcome{}, nil
	}
	count := b.tx.Stat(bucketDocuments(name)).Rows
	held.index.Close()
	b.forgets = true
	b.tx.Drop(storage.Bucket(prefixData + name))
	b.tx.Drop(bucketVersions(name))
	delete(b.collections, name)
	delete(b.gathered, name)
	return Outcome{Count: uint64(count)}, b.tx.Delete(bucketCollections, []byte(name))
}

// commit publishes what the batch did, rows and memory together.
func (b *batch) commit(applied uint64) error {
	m := b.machine
	for _, name := range slices.Sorted(maps.Keys(b.gathered)) {
		if err := b.gathered[name].flush(b.collections[name].index); err != nil {
			return err
		}
	}
	m.publishing.Lock()
	defer m.publishing.Unlock()
	p := m.store.Position()
	if err := b.tx.Commit(storage.Position{Applied: applied, Covered: max(p.Covered, applied)}); err != nil {
		return err
	}
	m.time, m.collections = b.time, b.collections
	m.publish(applied)
	if b.forgets {
		m.verdicts.forget(applied)
	}
	return nil
}

// Of a gathering, until it is flushed into the index.
const (
	loadTokens  = 1 << 16
	maxGathered = retrieval.MaxBatch
)

// gathering is what a batch puts into an index and takes out: by id, the last word on it.
type gathering struct {
	docs    map[string]*retrieval.Document // nil: gone
	touched []string                       // their fields have changed
	tokens  int
}

// put gathers a document as the index needs it: text, fields and spans stay in the store.
func (g *gathering) put(d *Document) {
	g.set(d.ID, &retrieval.Document{ID: d.ID, Codes: d.Codes})
	g.tokens += d.Codes.Len()
}

func (g *gathering) set(id string, d *retrieval.Document) {
	if g.docs == nil {
		g.docs = map[string]*retrieval.Document{}
	}
	g.docs[id] = d
}

func (g *gathering) touch(id string) { g.touched = append(g.touched, id) }

// flush tells the index, and empties g.
func (g *gathering) flush(x *index.Index) error {
	var put []retrieval.Document
	var gone []string
	for _, id := range slices.Sorted(maps.Keys(g.docs)) {
		if d := g.docs[id]; d != nil {
			put = append(put, *d)
		} else {
			gone = append(gone, id)
		}
	}
	touched := g.touched
	*g = gathering{}
	if len(touched) > 0 {
		x.Touch(touched)
	}
	if len(gone) > 0 {
		x.Delete(gone)
	}
	for part := range slices.Chunk(put, maxGathered) {
		if err := x.Put(part); err != nil {
			return fmt.Errorf("index: %w", err)
		}
	}
	return nil
}
