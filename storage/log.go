package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	bolt "go.etcd.io/bbolt"
)

// Names in the log file.
const (
	entriesBucket = "entries"
	valuesBucket  = "values"
	boundsName    = "bounds"
)

const logReserve = 4 << 30 // bytes of address space

// sliceEntries and sliceBytes bound one transaction of Delete, so that appending is never kept waiting for long.
const (
	sliceEntries = 4096
	sliceBytes   = 8 << 20
)

// logFill is how full pages become: indices only grow, so nothing is ever put between.
const logFill = 0.95

// A leaf page of bbolt is not split below five keys (node.go, minKeysPerPage), so it holds up to four entries however large they are, and is written
// anew with each that is appended: three to four times the bytes. Four empty keys behind a large entry make the leaf split there, and the next
// one meets a leaf of empty keys alone.
const (
	spacers     = 4
	spacedBytes = 4 << 10 // of an entry's data, from which on it has spacers
)

// spacerKey is the key of a spacer behind an entry.
func spacerKey(index uint64, i int) []byte { return append(indexKey(index), byte(1+i)) }

// space calls f for the key of each spacer that an entry of so many bytes has.
func space(index uint64, bytes int, f func(key []byte) error) error {
	if bytes < spacedBytes {
		return nil
	}
	for i := range spacers {
		if err := f(spacerKey(index, i)); err != nil {
			return err
		}
	}
	return nil
}

// Entry is one entry of a log.
type Entry struct {
	Index uint64
	Data  []byte
}

// bounds is what the log file says of itself: without it, an entry missing at an end, or a missing value, would go unnoticed.
type bounds struct{ first, last, values uint64 }

func (b bounds) encode() []byte {
	e := binary.BigEndian
	return e.AppendUint64(e.AppendUint64(e.AppendUint64(nil, b.first), b.last), b.values)
}

// Log is numbered entries without holes and a few named values. Any number may read beside one writer; writers wait for each
// other.
type Log struct {
	options Options
	file    *file

	write chan struct{} // holds a value while somebody changes the file; no mutex, for a slow disk must not stop virtual time
	stray bool          // a failed append may have left entries after last
	names map[string]bool

	mu     sync.RWMutex // of what follows, for moments only
	bounds bounds
	bytes  int64 // of data
}

// OpenLog opens or creates a log file and verifies all of it.
func OpenLog(path string, o Options) (*Log, error) {
	none, err := missing(path)
	if err == nil && none {
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			err = create(path, path+".part", o, emptyLog)
		}
	}
	if err != nil {
		return nil, failed("open", path, err)
	}
	l := &Log{options: o, write: make(chan struct{}, 1), names: map[string]bool{}}
	if l.file, err = openFile(path, o, o.reserved(logReserve), l.verify); err != nil {
		return nil, err
	}
	return l, nil
}

func emptyLog(tx *bolt.Tx) error {
	if _, err := tx.CreateBucket([]byte(entriesBucket)); err != nil {
		return err
	}
	b, err := tx.CreateBucket([]byte(valuesBucket))
	if err == nil {
		err = b.Put([]byte(formatName), seal([]byte(formatName), formatValue()))
	}
	if err == nil {
		err = bounds{}.put(tx)
	}
	return err
}

func (b bounds) put(tx *bolt.Tx) error {
	return tx.Bucket([]byte(valuesBucket)).Put([]byte(boundsName), seal([]byte(boundsName), b.encode()))
}

func indexKey(index uint64) []byte { return binary.BigEndian.AppendUint64(nil, index) }

// Bounds returns the indices of the first and the last entry, 0 and 0 of an empty log.
func (l *Log) Bounds() (first, last uint64) {
	b := l.state()
	return b.first, b.last
}

func (l *Log) state() bounds {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.bounds
}

// become is the end of a change that is durable.
func (l *Log) become(b bounds, grown int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bounds = b
	l.bytes += grown
}

// Bytes returns the bytes of data of all entries, and those of the file.
func (l *Log) Bytes() (entries, file int64) {
	l.mu.RLock()
	entries = l.bytes
	l.mu.RUnlock()
	return entries, l.file.size()
}

// Get returns a copy of an entry.
func (l *Log) Get(index uint64) (data []byte, err error) {
	b := l.state()
	if index == 0 || index < b.first || index > b.last {
		return nil, fmt.Errorf("entry %d of %s: %w", index, l.file.path, ErrNotFound)
	}
	err = l.file.read(func(tx *bolt.Tx) error {
		key := indexKey(index)
		sealed := tx.Bucket([]byte(entriesBucket)).Get(key)
		if sealed == nil {
			if first, last := l.Bounds(); index < first || index > last { // deleted meanwhile
				return fmt.Errorf("entry %d of %s: %w", index, l.file.path, ErrNotFound)
			}
			return corrupt(l.file.path, "entry %d is missing", index)
		}
		value, ok := unseal(key, sealed)
		if !ok {
			return corrupt(l.file.path, "entry %d has a wrong checksum", index)
		}
		data = bytes.Clone(value)
		return nil
	})
	return data, err
}

// Append adds entries that follow each other and the last one (any may be the first of an empty log), in one transaction,
// durable on return. On an error none of them is in the log.
func (l *Log) Append(entries []Entry) error {
	if len(entries) == 0 {
		return nil
	}
	l.write <- struct{}{}
	defer func() { <-l.write }()
	next, size, err := l.follow(entries)
	if err != nil {
		return fmt.Errorf("append to %s: %w", l.file.path, err)
	}
	err = l.change("append", func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(entriesBucket))
		b.FillPercent = logFill
		for _, e := range entries {
			key := indexKey(e.Index)
			if err := b.Put(key, seal(key, e.Data)); err != nil {
				return err
			}
			if err := space(e.Index, len(e.Data), func(key []byte) error { return b.Put(key, nil) }); err != nil {
				return err
			}
		}
		return next.put(tx)
	})
	if err == nil {
		l.become(next, size)
	}
	return err
}

// follow returns the bounds after entries, and the bytes of their data.
func (l *Log) follow(entries []Entry) (next bounds, size int64, err error) {
	next = l.state()
	for i, e := range entries {
		switch {
		case e.Index == 0 || next.last > 0 && e.Index != next.last+1:
			return next, 0, fmt.Errorf("entry %d does not follow entry %d", e.Index, next.last)
		case len(e.Data) > MaxValue:
			return next, 0, fmt.Errorf("entry %d has %d bytes: the limit is %d", e.Index, len(e.Data), MaxValue)
		case i == 0 && next.last == 0:
			next.first = e.Index
		}
		next.last = e.Index
		size += int64(len(e.Data))
	}
	return next, size, nil
}

// change runs one durable transaction; the caller holds write. A commit that fails may still be seen in the file, so
// whatever lies behind the log's end is cleared before the next change.
func (l *Log) change(step string, do func(*bolt.Tx) error) (err error) {
	path := l.file.path
	if !l.file.acquire() {
		return fmt.Errorf("%s %s: %w", step, path, ErrClosed)
	}
	defer func() { err = errors.Join(err, l.file.release()) }()
	if err := l.options.at(path, step+".begin"); err != nil {
		return failed(step, path, err)
	}
	stray := l.stray
	l.stray = true
	err = l.file.update(0, func(tx *bolt.Tx) error {
		if stray {
			if err := l.restore(tx); err != nil {
				return err
			}
		}
		return do(tx)
	})
	if err == nil {
		err = l.options.at(path, step+".commit")
	}
	if err != nil {
		return failed(step, path, err)
	}
	l.stray = false
	return nil
}

// restore deletes entries after the last, and says so in the file.
func (l *Log) restore(tx *bolt.Tx) error {
	b := l.state()
	c := tx.Bucket([]byte(entriesBucket)).Cursor()
	for k, _ := c.Seek(indexKey(b.last + 1)); k != nil; k, _ = c.Seek(indexKey(b.last + 1)) {
		if err := c.Delete(); err != nil {
			return err
		}
	}
	return b.put(tx)
}

// shown reports whether the file shows what a failed change was to bring. Then memory follows, for values and deletions:
// they may be seen before they are sure, an entry may not.
func (l *Log) shown(b bounds) bool {
	same := false
	err := l.file.read(func(tx *bolt.Tx) error {
		found, ok := unseal([]byte(boundsName), tx.Bucket([]byte(valuesBucket)).Get([]byte(boundsName)))
		same = ok && bytes.Equal(found, b.encode())
		return nil
	})
	return err == nil && same
}

// Set stores a named value, durable on return. After an error either value may be read.
func (l *Log) Set(name string, value []byte) error {
	switch {
	case name == "" || len(name) > MaxPath || name == formatName || name == boundsName:
		return fmt.Errorf("set %q in %s: the name is empty, too long or reserved", name, l.file.path)
	case len(value) > MaxValue:
		return fmt.Errorf("set %s in %s: %d bytes: the limit is %d", name, l.file.path, len(value), MaxValue)
	}
	l.write <- struct{}{}
	defer func() { <-l.write }()
	next := l.state()
	if !l.names[name] {
		next.values++
	}
	err := l.change("value", func(tx *bolt.Tx) error {
		if err := tx.Bucket([]byte(valuesBucket)).Put([]byte(name), seal([]byte(name), value)); err != nil {
			return err
		}
		return next.put(tx)
	})
	if err == nil || next != l.state() && l.shown(next) {
		l.names[name] = true
		l.become(next, 0)
	}
	return err
}

// Value returns a copy of a named value.
func (l *Log) Value(name string) (value []byte, err error) {
	err = l.file.read(func(tx *bolt.Tx) error {
		sealed := tx.Bucket([]byte(valuesBucket)).Get([]byte(name))
		if sealed == nil || name == formatName || name == boundsName {
			return fmt.Errorf("value %s of %s: %w", name, l.file.path, ErrNotFound)
		}
		found, ok := unseal([]byte(name), sealed)
		if !ok {
			return corrupt(l.file.path, "value %s has a wrong checksum", name)
		}
		value = bytes.Clone(found)
		return nil
	})
	return value, err
}

// Close closes the log; again is nil.
func (l *Log) Close() error {
	l.write <- struct{}{}
	defer func() { <-l.write }()
	l.file.mu.Lock()
	again := l.file.retired
	l.file.mu.Unlock()
	if again {
		return nil
	}
	l.file.retire()
	<-l.file.gone
	return l.file.err
}

var errMiddle = errors.New("a range in the middle would leave a hole")
