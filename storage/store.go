package storage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"
)

// Files of a replica's folder.
const (
	stateName = "state"      // the data
	partName  = "state.part" // a snapshot that is being received, or a file that is being created
	newName   = "state.new"  // a snapshot received whole
)

const stateReserve = 16 << 30 // bytes of address space

// Store is the state of one replica.
//
// Locks, in the order in which they are taken: flushSlot is held by whoever changes the file, writer by the transaction or
// by whoever moves layers, mu for moments only. Readers take none of them.
type Store struct {
	dir     string
	options Options
	now     atomic.Pointer[published]

	flushSlot chan struct{} // holds a value while taken
	writer    chan struct{}
	closing   chan struct{} // closed when Close or Abandon begins
	stopped   chan struct{} // closed when the flusher has ended
	wake      chan struct{} // holds a value when the flusher should look

	mu        sync.Mutex
	changed   chan struct{} // closed and replaced after every flush and adoption
	durable   Position      // of the file
	urgent    int           // calls of Sync that wait
	health    error
	receiving bool
	closed    bool
	closeErr  error
	done      chan struct{} // closed when Close has ended
}

// Open opens or creates the state in a folder, verifies all of it, and finishes an adoption that a crash cut short.
func Open(dir string, o Options) (*Store, error) {
	o = o.withDefaults()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, failed("create", dir, err)
	}
	path := filepath.Join(dir, stateName)
	file, c, err := openState(path, o)
	if err != nil {
		return nil, err
	}
	if file, c, err = startupAdopt(dir, o, file, c); err != nil {
		return nil, err
	}
	s := &Store{dir: dir, options: o, flushSlot: make(chan struct{}, 1), writer: make(chan struct{}, 1), closing: make(chan struct{}),
		stopped: make(chan struct{}), wake: make(chan struct{}, 1), changed: make(chan struct{}), done: make(chan struct{})}
	s.now.Store(&published{file: file, position: c.position, records: c.records})
	s.durable = c.position
	go s.run()
	return s, nil
}

// openState opens a state file; nil if there is none.
func openState(path string, o Options) (*file, contents, error) {
	var c contents
	if none, err := missing(path); err != nil || none {
		return nil, c, err
	}
	f, err := openFile(path, o, o.reserved(stateReserve), c.verify)
	return f, c, err
}

// startupAdopt takes over a received state that covers more than the state does, and removes what is left over. Without
// any state it creates one.
func startupAdopt(dir string, o Options, old *file, c contents) (f *file, _ contents, err error) {
	defer func() {
		if err != nil && old != nil {
			old.retire()
		}
	}()
	path, fresh, part := filepath.Join(dir, stateName), filepath.Join(dir, newName), filepath.Join(dir, partName)
	if err := os.Remove(part); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, c, failed("remove", part, err)
	}
	next, found, err := openState(fresh, o)
	switch {
	case err != nil && !errors.Is(err, ErrCorrupt):
		return nil, c, err
	case next != nil && (old == nil || found.position.Covered > c.position.Covered):
		if err := rename(fresh, path, o); err != nil {
			next.retire()
			return nil, c, err
		}
		if old != nil {
			old.retire()
		}
		next.path = path
		return next, found, nil
	case next != nil:
		next.retire()
	}
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, c, failed("remove", fresh, err)
	}
	if old != nil {
		return old, c, nil
	}
	if err := create(path, part, o, emptyState); err != nil {
		return nil, c, err
	}
	return openState(path, o)
}

func emptyState(tx *bolt.Tx) error {
	return writeMeta(tx, map[string][]byte{formatName: formatValue(), positionName: Position{}.encode()})
}

// Close stops the flusher, flushes what is left and closes the file. It waits for the open transaction, view and
// snapshots. The error is that of the flush; then the log must replay what the file lacks.
func (s *Store) Close() error { return s.shut(true) }

// Abandon closes without flushing, and so leaves what a crash would leave.
func (s *Store) Abandon() error { return s.shut(false) }

func (s *Store) shut(flush bool) error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	if again {
		<-s.done
		return s.closeErr
	}
	close(s.closing)
	<-s.stopped
	s.flushSlot <- struct{}{}
	s.writer <- struct{}{} // never given back: whoever waits for it sees closing
	var err error
	for flush && err == nil && s.dirty(s.now.Load(), true) {
		s.freeze()
		err = s.bring()
	}
	file := s.now.Load().file
	file.retire()
	<-file.gone
	s.closeErr = errors.Join(err, file.err)
	close(s.done)
	return s.closeErr
}

func (s *Store) isClosed() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

// take waits for a slot.
func (s *Store) take(ctx context.Context, slot chan struct{}) error {
	if s.isClosed() {
		return ErrClosed
	}
	select {
	case slot <- struct{}{}:
		if s.isClosed() {
			<-slot
			return ErrClosed
		}
		return nil
	case <-s.closing:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) says(op string, err error) error {
	return failed(op, filepath.Join(s.dir, stateName), err)
}

// changes returns a channel that is closed after the next flush or adoption, failed ones included.
func (s *Store) changes() chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// poke lets the flusher look.
func (s *Store) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Position returns what is published: memory's position, at or above the file's.
func (s *Store) Position() Position { return s.now.Load().position }

// Cover says that the log up to index holds nothing more that changes rows. The next flush makes it durable, or Sync.
func (s *Store) Cover(index uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if next := *s.now.Load(); index > next.position.Covered {
		next.position.Covered = index
		s.now.Store(&next)
	}
}

// Durable returns the position read back from the file. It never exceeds what a flush has confirmed: after a failed sync a
// file shows what the disk may not hold.
func (s *Store) Durable() (Position, error) {
	for {
		p := s.now.Load()
		s.mu.Lock()
		confirmed := s.durable
		s.mu.Unlock()
		found, err := p.file.position()
		if errors.Is(err, ErrClosed) && !s.isClosed() {
			continue // adopted
		}
		if err == nil && (found.Covered < confirmed.Covered || found.Applied < confirmed.Applied) && s.now.Load().file == p.file {
			err = corrupt(p.file.path, "covers %d, but %d was written", found.Covered, confirmed.Covered)
		}
		return Position{min(found.Applied, confirmed.Applied), min(found.Covered, confirmed.Covered)}, err
	}
}

// position reads the position of a state file.
func (f *file) position() (p Position, err error) {
	err = f.read(func(tx *bolt.Tx) error {
		p, err = positionOf(f, tx)
		return err
	})
	return p, err
}

// positionOf reads the position that a transaction sees.
func positionOf(f *file, tx *bolt.Tx) (p Position, err error) {
	err = guard(f.path, func() error {
		name := []byte(positionName)
		value, ok := unseal(name, tx.Bucket([]byte(metaBucket)).Get(name))
		if ok {
			p, ok = decodePosition(value)
		}
		if !ok {
			return corrupt(f.path, "the position cannot be read")
		}
		return nil
	})
	return p, err
}

// Health returns why the last flush failed, nil once one has succeeded again. ErrFull: rows are kept in memory and writing
// is tried again until there is room; Begin waits when memory is full too.
func (s *Store) Health() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.health
}

// Size returns the bytes of the file and of the overlay in front of it.
func (s *Store) Size() (file, overlay int64) {
	p := s.now.Load()
	return p.file.size(), int64(p.bytes())
}
