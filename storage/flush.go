package storage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// maxBackoff is the longest wait between two tries of a flush that fails.
const maxBackoff = time.Second

// run is the flusher: some time after something was published, at once when much was or when somebody waits.
func (s *Store) run() {
	defer close(s.stopped)
	var due <-chan time.Time
	backoff := time.Duration(0)
	for {
		try := false
		select {
		case <-s.closing:
			return
		case <-s.wake:
		case <-due:
			due, try = nil, true
		}
		dirty, urgent := s.pending()
		switch {
		case !dirty:
		case try || urgent && backoff == 0: // after a failure nothing is tried before its time, however many wait
			if s.attempt() == nil {
				backoff, due = 0, nil
				s.poke() // for what came meanwhile
			} else {
				backoff = min(max(2*backoff, s.options.FlushEvery), maxBackoff)
				due = time.After(backoff)
			}
		case due == nil:
			due = time.After(s.options.FlushEvery)
		}
	}
}

// pending reports whether there is something to flush, and whether it should not wait.
func (s *Store) pending() (dirty, urgent bool) {
	s.mu.Lock()
	waiting := s.urgent > 0
	s.mu.Unlock()
	p := s.now.Load()
	return s.dirty(p, waiting), waiting || p.bytes() >= s.options.FlushBytes
}

// dirty reports whether the file lacks something of p; what only elections and barriers moved counts if asked for.
func (s *Store) dirty(p *published, covered bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return p.flushing != nil || p.active != nil || p.position.Applied != s.durable.Applied || covered && p.position.Covered != s.durable.Covered
}

// attempt makes one flush. It waits for the open transaction, unless the rows of a failed flush are still to go.
func (s *Store) attempt() error {
	ctx := context.Background()
	if s.take(ctx, s.flushSlot) != nil {
		return nil // closing: the flusher sees it too
	}
	defer func() { <-s.flushSlot }()
	if s.now.Load().flushing == nil {
		if s.take(ctx, s.writer) != nil {
			return nil
		}
		s.freeze()
		<-s.writer
	}
	return s.bring()
}

// freeze makes the active layer the one to be flushed. The caller holds both slots.
func (s *Store) freeze() {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := *s.now.Load()
	if next.flushing != nil {
		return
	}
	layer := next.active
	if layer == nil {
		layer = layer.clone()
	}
	next.flushing = &generation{layer: layer, number: next.flushed + 1, position: next.position, records: next.records}
	next.active = nil
	s.now.Store(&next)
}

// bring writes the frozen generation to the file and tells everybody how it went. The caller holds the flush slot.
func (s *Store) bring() error {
	p := s.now.Load()
	err := s.write(p.file, p.flushing)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.health = err
	if err == nil {
		next := *s.now.Load()
		next.flushing, next.flushed = nil, p.flushing.number
		s.now.Store(&next)
		s.durable = p.flushing.position
	}
	s.announce()
	return err
}

// announce wakes all who wait for a change. The caller holds mu.
func (s *Store) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// write brings a generation to the file in one transaction: rows, digests and position.
func (s *Store) write(f *file, g *generation) error {
	if err := s.options.at(f.path, "flush.begin"); err != nil {
		return failed("flush", f.path, err)
	}
	err := f.update(g.number, func(tx *bolt.Tx) error {
		if err := g.write(tx); err != nil {
			return err
		}
		return s.options.at(f.path, "flush.rows")
	})
	if err == nil {
		err = s.options.at(f.path, "flush.commit")
	}
	return failed("flush", f.path, err)
}

func (g *generation) write(tx *bolt.Tx) error {
	paths := slices.Sorted(maps.Keys(g.layer.deltas))
	meta := map[string][]byte{positionName: g.position.encode()}
	for _, b := range paths { // before any is made: one may be made above or below one that goes
		if g.layer.deltas[b].void {
			if err := drop(tx, b); err != nil {
				return fmt.Errorf("drop bucket %s: %w", b, err)
			}
		}
	}
	for _, b := range paths {
		r, ok := g.records.Get(record{path: b})
		if !ok {
			meta[recordPrefix+string(b)] = nil
			continue
		}
		meta[recordPrefix+string(b)] = r.encode()
		if err := fill(tx, b, g.layer.deltas[b]); err != nil {
			return fmt.Errorf("bucket %s: %w", b, err)
		}
	}
	return writeMeta(tx, meta)
}

// fill makes a bucket if need be and changes its rows.
func fill(tx *bolt.Tx, path Bucket, d *delta) error {
	var b *bolt.Bucket
	var err error
	for e := range strings.SplitSeq(string(path), "/") {
		if b == nil {
			b, err = tx.CreateBucketIfNotExists([]byte(e))
		} else {
			b, err = b.CreateBucketIfNotExists([]byte(e))
		}
		if err != nil {
			return err
		}
	}
	d.rows.Ascend(func(w row) bool {
		if w.gone {
			err = b.Delete(w.key)
		} else {
			err = b.Put(w.key, append(append(make([]byte, 0, len(w.hash)+len(w.value)), w.hash[:]...), w.value...))
		}
		return err == nil
	})
	return err
}

// drop removes a bucket with its rows, and the buckets above it that become empty.
func drop(tx *bolt.Tx, path Bucket) error {
	if nested(tx, path) == nil {
		return nil
	}
	for {
		at := strings.LastIndexByte(string(path), '/')
		if at < 0 {
			return tx.DeleteBucket([]byte(path))
		}
		parent := nested(tx, path[:at])
		if err := parent.DeleteBucket([]byte(path[at+1:])); err != nil {
			return err
		}
		if k, _ := parent.Cursor().First(); k != nil {
			return nil
		}
		path = path[:at]
	}
}

// writeMeta sets values of the bucket meta; nil deletes.
func writeMeta(tx *bolt.Tx, values map[string][]byte) error {
	b, err := tx.CreateBucketIfNotExists([]byte(metaBucket))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if err != nil {
			break
		}
		if value := values[name]; value == nil {
			err = b.Delete([]byte(name))
		} else {
			err = b.Put([]byte(name), seal([]byte(name), value))
		}
	}
	return err
}

// Sync flushes until the file covers index and all that is published at the call. It waits while flushes fail, and then
// returns the context's error with the flush's. An index that nothing published covers is an error. Whoever calls it with a
// transaction open waits for itself.
func (s *Store) Sync(ctx context.Context, index uint64) error {
	want := s.Position()
	if index > want.Covered {
		return s.says("sync", fmt.Errorf("entry %d is not covered, only %d is", index, want.Covered))
	}
	s.mu.Lock()
	s.urgent++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.urgent--
		s.mu.Unlock()
	}()
	for {
		s.mu.Lock()
		done, changed, health := s.durable.Covered >= want.Covered && s.durable.Applied >= want.Applied, s.changed, s.health
		s.mu.Unlock()
		if done {
			return nil
		}
		if err := s.now.Load().file.halt(); err != nil {
			return s.says("sync", err)
		}
		s.poke()
		select {
		case <-changed:
		case <-s.closing:
			return s.says("sync", ErrClosed)
		case <-ctx.Done():
			return s.says("sync", errors.Join(ctx.Err(), health))
		}
	}
}
