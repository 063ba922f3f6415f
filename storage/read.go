package storage

import (
	"bytes"
	"errors"
	"fmt"
	"iter"

	bolt "go.etcd.io/bbolt"
)

// reader is one consistent state: a published overlay over a pinned transaction of the file. For one goroutine at a time.
type reader struct {
	*published
	tx     *bolt.Tx // nil once closed
	err    error    // the first one of a scan
	opened          // where the last row was looked up
	before opened   // and before it moved there: most reads stay in one bucket, or go between two
}

// opened is a bucket and how its rows are hashed; without a hasher, none.
type opened struct {
	path   Bucket
	bucket *bolt.Bucket
	hasher *hasher
}

// pin begins a reader of what is published now. A file that got rows which the loaded overlay does not know is newer than
// it; then the overlay is loaded again. The other way round is harmless: what the file got meanwhile is what was being flushed.
func (s *Store) pin() (*reader, error) {
	for {
		p := s.now.Load()
		if !p.file.acquire() {
			if s.isClosed() {
				return nil, fmt.Errorf("read %s: %w", p.file.path, ErrClosed)
			}
			continue // adopted: the new state was published before the old file was retired
		}
		tx, err := p.file.begin()
		if err != nil {
			return nil, errors.Join(err, p.file.release())
		}
		if number, ok := p.file.generation(tx.ID()); ok && number <= p.newest() {
			return &reader{published: p, tx: tx}, nil
		}
		if err := p.file.end(tx); err != nil {
			return nil, err
		}
	}
}

// close ends the reader; again is nil.
func (r *reader) close() error {
	tx := r.tx
	if tx == nil {
		return nil
	}
	r.tx = nil
	return r.file.end(tx)
}

// Get returns the value of a row, valid until the end of the view or transaction; the caller must not change it. ErrNotFound
// where there is no such row or bucket.
func (r *reader) Get(b Bucket, key []byte) ([]byte, error) {
	w, err := r.lookup(b, key)
	if err == nil && w.gone {
		err = fmt.Errorf("%s in %s: row of %s: %w", printable(key), r.file.path, b, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return w.value, nil
}

func printable(key []byte) string {
	if len(key) > 64 {
		return fmt.Sprintf("%q...", key[:64])
	}
	return fmt.Sprintf("%q", key)
}

// Err returns the error that ended a scan early.
func (r *reader) Err() error { return r.err }

// Has reports whether a bucket exists.
func (r *reader) Has(b Bucket) bool {
	_, ok := r.records.Get(record{path: b})
	return ok
}

// lookup returns the row of a key, marked gone where there is none.
func (r *reader) lookup(b Bucket, key []byte) (w row, err error) {
	if r.tx == nil {
		return w, fmt.Errorf("read %s: %w", r.file.path, ErrClosed)
	}
	none := row{gone: true}
	c, ok := r.records.Get(record{path: b})
	if !ok {
		return none, nil
	}
	for _, d := range r.deltas(b) {
		if w, ok := d.rows.Get(row{key: key}); ok {
			return w, nil
		}
		if d.void {
			return none, nil
		}
	}
	w = none
	err = guard(r.file.path, func() error {
		f := r.open(c)
		if f == nil {
			return nil
		}
		stored := f.Get(key)
		if stored == nil {
			return nil
		}
		w, err = r.check(key, stored)
		return err
	})
	return w, err
}

// deltas returns what changed in a bucket, the newest first.
func (r *reader) deltas(b Bucket) []*delta {
	var out []*delta
	if d := r.active.get(b); d != nil {
		out = append(out, d)
	}
	if r.flushing != nil {
		if d := r.flushing.layer.get(b); d != nil {
			out = append(out, d)
		}
	}
	return out
}

// open returns the bucket of the file, nil if it has none yet.
func (r *reader) open(c record) *bolt.Bucket {
	if r.hasher == nil || r.path != c.path {
		r.opened, r.before = r.before, r.opened
	}
	if r.hasher == nil || r.path != c.path {
		r.opened = opened{c.path, nested(r.tx, c.path), newHasher(c.key, c.path)}
	}
	return r.bucket
}

// check parts a stored row of the open bucket into hash and value, and compares the hash.
func (r *reader) check(key, stored []byte) (w row, err error) {
	if len(stored) >= len(w.hash) {
		w = row{key: key, value: stored[len(w.hash):], hash: Digest(stored[:len(w.hash)])}
		if r.hasher.sum(key, w.value) == w.hash {
			return w, nil
		}
	}
	return row{}, corrupt(r.file.path, "bucket %s: the hash of row %s differs", r.path, printable(key))
}

// Scan returns the rows of a bucket from a key on, in key order. Keys and values are valid until the end of the view or
// transaction; the caller must not change them. A missing bucket has no rows. An error ends it and is in Err. Rows that the
// same transaction changes during a scan may or may not be seen.
func (r *reader) Scan(b Bucket, from []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		if r.tx == nil {
			r.err = fmt.Errorf("scan %s: %w", r.file.path, ErrClosed)
			return
		}
		sources, err := r.sources(b, from)
		for err == nil {
			var w row
			var ok bool
			if w, ok, err = merge(sources); !ok || err != nil || !w.gone && !yield(w.key, w.value) {
				break
			}
			if r.tx == nil {
				err = fmt.Errorf("scan %s: %w", r.file.path, ErrClosed)
			}
		}
		if err != nil && r.err == nil {
			r.err = err
		}
	}
}

// source gives rows in key order.
type source interface {
	head() *row // nil at the end
	next() error
}

// sources returns where the rows of a bucket lie, the newest first.
func (r *reader) sources(b Bucket, from []byte) ([]source, error) {
	c, ok := r.records.Get(record{path: b})
	if !ok {
		return nil, nil
	}
	var out []source
	for _, d := range r.deltas(b) {
		s := &treeSource{delta: d, chunk: make([]row, 0, 16)}
		s.fill(from, true)
		out = append(out, s)
		if d.void {
			return out, nil
		}
	}
	s := &fileSource{reader: r, record: c}
	return append(out, s), s.seek(from)
}

// merge takes the row of the lowest key, from the newest source that has it.
func merge(sources []source) (row, bool, error) {
	var lowest *row
	for _, s := range sources {
		if h := s.head(); h != nil && (lowest == nil || bytes.Compare(h.key, lowest.key) < 0) {
			lowest = h
		}
	}
	if lowest == nil {
		return row{}, false, nil
	}
	w := *lowest
	for _, s := range sources {
		if h := s.head(); h != nil && bytes.Equal(h.key, w.key) {
			if err := s.next(); err != nil {
				return row{}, false, err
			}
		}
	}
	return w, true, nil
}

// treeSource reads a tree in growing chunks, since trees only call back.
type treeSource struct {
	delta *delta
	chunk []row
	at    int
}

func (s *treeSource) fill(from []byte, inclusive bool) {
	s.at, s.chunk = 0, s.chunk[:0]
	s.delta.rows.AscendGreaterOrEqual(row{key: from}, func(w row) bool {
		if inclusive || !bytes.Equal(w.key, from) {
			s.chunk = append(s.chunk, w)
		}
		return len(s.chunk) < cap(s.chunk)
	})
}

func (s *treeSource) head() *row {
	if s.at == len(s.chunk) {
		return nil
	}
	return &s.chunk[s.at]
}

func (s *treeSource) next() error {
	last := s.chunk[s.at].key
	if s.at++; s.at == len(s.chunk) && s.at == cap(s.chunk) {
		s.chunk = make([]row, 0, min(2*s.at, 512))
		s.fill(last, false)
	}
	return nil
}

// fileSource reads a bucket of the file and checks every row.
type fileSource struct {
	reader *reader
	record record
	cursor *bolt.Cursor
	row    *row
}

func (s *fileSource) head() *row { return s.row }

func (s *fileSource) seek(from []byte) error {
	return s.step(func() ([]byte, []byte) {
		b := s.reader.open(s.record)
		if b == nil {
			return nil, nil
		}
		s.cursor = b.Cursor()
		return s.cursor.Seek(from)
	})
}

func (s *fileSource) next() error { return s.step(func() ([]byte, []byte) { return s.cursor.Next() }) }

func (s *fileSource) step(move func() (key, stored []byte)) error {
	return guard(s.reader.file.path, func() error {
		s.row = nil
		key, stored := move()
		if key == nil {
			return nil
		}
		s.reader.open(s.record) // another bucket may have been read in between
		w, err := s.reader.check(key, stored)
		s.row = &w
		return err
	})
}

// View is one published state, pinned: rows, digests and position of the same moment. For one goroutine at a time; it
// must be closed, for the file keeps old pages while it is open.
type View struct{ *reader }

// View pins what is published.
func (s *Store) View() (*View, error) {
	r, err := s.pin()
	if err != nil {
		return nil, err
	}
	return &View{r}, nil
}

// Position returns the position of this state.
func (v *View) Position() Position { return v.position }

// Stat returns a bucket's digest and sizes, zero for one that does not exist.
func (r *reader) Stat(b Bucket) Stat {
	c, _ := r.records.Get(record{path: b})
	return c.Stat
}

// Buckets returns the bucket of that name and all below it, sorted; "" is all.
func (v *View) Buckets(prefix Bucket) []Bucket {
	var out []Bucket
	v.records.AscendGreaterOrEqual(record{path: prefix}, func(r record) bool {
		if r.path.within(prefix) {
			out = append(out, r.path)
		}
		return len(r.path) >= len(prefix) && r.path[:len(prefix)] == prefix
	})
	return out
}

// StateDigest returns the sum over all buckets.
func (v *View) StateDigest() (sum Digest) {
	v.records.Ascend(func(r record) bool {
		sum = sum.Add(r.Digest)
		return true
	})
	return sum
}

// Close releases the state.
func (v *View) Close() error { return v.close() }
