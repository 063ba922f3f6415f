package storage

import (
	"context"
	"fmt"

	"github.com/google/btree"
)

// Tx is the one writer. What it reads is the published state with its own changes. It must end with Commit or Abort.
type Tx struct {
	*reader // over a copy of what was published, with the records and the layer below
	s       *Store
	layer   *layer
	own     map[Bucket]bool // deltas that this transaction copied, and so may change
	hashers map[Bucket]*hasher
	copied  bool // records
}

// Begin starts a transaction: it waits for the one before, and while the overlay is full. The error is ErrClosed, the
// context's, or why nothing can be written any more.
func (s *Store) Begin(ctx context.Context) (*Tx, error) {
	for {
		changed := s.changes()
		if err := s.take(ctx, s.writer); err != nil {
			return nil, s.says("begin", err)
		}
		p := s.now.Load()
		if err := p.file.halt(); err != nil {
			<-s.writer
			return nil, s.says("begin", err)
		}
		if p.bytes() < s.options.OverlayBytes {
			return s.begin()
		}
		<-s.writer
		select {
		case <-changed:
		case <-s.closing:
		case <-ctx.Done():
			return nil, s.says("begin", ctx.Err())
		}
	}
}

func (s *Store) begin() (*Tx, error) {
	r, err := s.pin()
	if err != nil {
		<-s.writer
		return nil, err
	}
	own := *r.published // changes of this transaction are seen by its own reader alone
	r.published = &own
	own.active = own.active.clone()
	return &Tx{reader: r, s: s, layer: own.active, own: map[Bucket]bool{}, hashers: map[Bucket]*hasher{}}, nil
}

// open returns an error once the transaction has ended.
func (tx *Tx) open() error {
	if tx.tx == nil {
		return fmt.Errorf("transaction of %s: %w", tx.file.path, ErrClosed)
	}
	return nil
}

// changing returns the records, which may change.
func (tx *Tx) changing() *btree.BTreeG[record] {
	if !tx.copied {
		tx.records, tx.copied = tx.records.Clone(), true
	}
	return tx.records
}

// delta returns the changes of a bucket, which may change.
func (tx *Tx) delta(b Bucket) *delta {
	d := tx.layer.deltas[b]
	switch {
	case d == nil:
		d = newDelta(false)
	case !tx.own[b]:
		d = d.clone()
	}
	tx.layer.deltas[b], tx.own[b] = d, true
	return d
}

// Create makes an empty bucket, or does nothing if it exists with that key.
func (tx *Tx) Create(b Bucket, k Key) error {
	if err := tx.open(); err != nil {
		return err
	}
	if err := b.check(); err != nil {
		return fmt.Errorf("create bucket: %w", err)
	}
	if old, ok := tx.records.Get(record{path: b}); ok {
		if old.key != k {
			return fmt.Errorf("create bucket %s: it exists with another key", b)
		}
		return nil
	}
	var other Bucket
	tx.records.Ascend(func(r record) bool {
		if r.path.within(b) || b.within(r.path) {
			other = r.path
		}
		return other == ""
	})
	if other != "" {
		return fmt.Errorf("create bucket %s: there is %s, and a bucket holds rows or buckets", b, other)
	}
	tx.changing().ReplaceOrInsert(record{path: b, key: k})
	tx.delta(b)
	return nil
}

// Drop removes the bucket of that name and all below it, with their rows; "" is all. It costs nothing per row: the flush
// deletes them.
func (tx *Tx) Drop(prefix Bucket) {
	if tx.open() != nil {
		return
	}
	for _, b := range (&View{tx.reader}).Buckets(prefix) {
		tx.changing().Delete(record{path: b})
		if d := tx.layer.deltas[b]; d != nil {
			tx.layer.bytes -= d.bytes
		}
		tx.layer.deltas[b], tx.own[b] = newDelta(true), true
		delete(tx.hashers, b)
	}
}

// Put sets a row of an existing bucket. The value is kept, not copied.
func (tx *Tx) Put(b Bucket, key, value []byte) error {
	switch {
	case len(key) == 0 || len(key) > MaxKey:
		return fmt.Errorf("put into %s: key of %d bytes: 1 to %d are allowed", b, len(key), MaxKey)
	case len(value) > MaxValue:
		return fmt.Errorf("put into %s: value of %d bytes: the limit is %d", b, len(value), MaxValue)
	}
	return tx.change(b, row{key: append([]byte{}, key...), value: value})
}

// Delete removes a row; one that is not there is no error.
func (tx *Tx) Delete(b Bucket, key []byte) error {
	return tx.change(b, row{key: append([]byte{}, key...), gone: true})
}

// change puts w in the place of the row of its key, and moves the digest and the sizes.
func (tx *Tx) change(b Bucket, w row) error {
	if err := tx.open(); err != nil {
		return err
	}
	r, ok := tx.records.Get(record{path: b})
	if !ok && w.gone {
		return nil
	} else if !ok {
		return fmt.Errorf("put into %s: bucket: %w", b, ErrNotFound)
	}
	old, err := tx.lookup(b, w.key)
	if err != nil || old.gone && w.gone {
		return err
	}
	if !old.gone {
		r.Digest = r.Digest.Sub(old.hash)
		r.Rows--
		r.Bytes -= uint64(len(w.key) + len(old.value))
	}
	if !w.gone {
		h := tx.hashers[b]
		if h == nil {
			h = newHasher(r.key, b)
			tx.hashers[b] = h
		}
		w.hash = h.sum(w.key, w.value)
		r.Digest = r.Digest.Add(w.hash)
		r.Rows++
		r.Bytes += w.bytes()
	}
	tx.changing().ReplaceOrInsert(r)
	tx.layer.bytes += tx.delta(b).set(w)
	return nil
}

// Commit publishes rows, digests and position to readers, in memory; the flusher brings them to the file. Applied may not
// go back, Covered does not. On an error nothing is published. The transaction ends either way.
func (tx *Tx) Commit(p Position) error {
	if err := tx.open(); err != nil {
		return err
	}
	s := tx.s
	s.mu.Lock()
	next := *s.now.Load() // a flush may have ended since Begin; nobody else touches records and active layer meanwhile
	if p.Applied < next.position.Applied {
		s.mu.Unlock()
		tx.Abort()
		return fmt.Errorf("commit to %s: entry %d after entry %d", tx.file.path, p.Applied, next.position.Applied)
	}
	next.position = Position{p.Applied, max(p.Covered, p.Applied, next.position.Covered)}
	if next.records = tx.records; len(tx.layer.deltas) > 0 {
		next.active = tx.layer
	}
	s.now.Store(&next)
	s.mu.Unlock()
	tx.Abort()
	s.poke()
	return nil
}

// Abort ends the transaction and forgets its changes; after the end it does nothing.
func (tx *Tx) Abort() {
	if tx.tx == nil {
		return
	}
	if err := tx.close(); err != nil && tx.err == nil { // ending a read changes nothing that was written
		tx.err = err
	}
	<-tx.s.writer
}
