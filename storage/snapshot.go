package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Snapshot streams a state file as it was at one moment: the pages of a pinned transaction. While it is open the file cannot
// reuse old pages.
type Snapshot struct {
	r        *reader
	position Position
	head     []byte // the two header pages, made for this transaction
	at, size int64
}

// errHead ends a copy after the header pages.
var errHead = errors.New("header pages only")

// headWriter takes the two header pages that bbolt writes first.
type headWriter struct{ pages [][]byte }

func (w *headWriter) Write(b []byte) (int, error) {
	if len(w.pages) == 2 {
		return 0, errHead
	}
	w.pages = append(w.pages, append([]byte{}, b...))
	return len(b), nil
}

// Snapshot pins what the file holds: all up to its durable position, nothing of the overlay.
func (s *Store) Snapshot() (*Snapshot, error) {
	r, err := s.pin()
	if err != nil {
		return nil, err
	}
	out := &Snapshot{r: r, size: r.tx.Size()}
	err = s.options.at(r.file.path, "snapshot.open")
	if err == nil {
		out.position, err = positionOf(r.file, r.tx)
	}
	if err == nil {
		err = guard(r.file.path, func() error {
			var w headWriter
			if _, err := r.tx.WriteTo(&w); err != nil && len(w.pages) < 2 {
				return err
			}
			out.head = append(w.pages[0], w.pages[1]...)
			return nil
		})
	}
	if err != nil {
		return nil, errors.Join(failed("snapshot", r.file.path, err), r.close())
	}
	return out, nil
}

// Size returns the bytes of the whole stream.
func (n *Snapshot) Size() int64 { return n.size }

// Position returns the position of the state in the stream.
func (n *Snapshot) Position() Position { return n.position }

// Read reads on; io.EOF after exactly Size bytes.
func (n *Snapshot) Read(b []byte) (int, error) {
	if n.r.tx == nil {
		return 0, fmt.Errorf("snapshot of %s: %w", n.r.file.path, ErrClosed)
	}
	if n.at == n.size {
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), n.size-n.at)]
	var c int
	var err error
	if n.at < int64(len(n.head)) {
		c = copy(b, n.head[n.at:])
	} else if c, err = n.r.file.f.ReadAt(b, n.at); errors.Is(err, io.EOF) && c < len(b) {
		err = corrupt(n.r.file.path, "ends at %d, the snapshot has %d bytes", n.at+int64(c), n.size)
	}
	n.at += int64(c)
	if c > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return c, err
}

// Close releases the pages; again is nil.
func (n *Snapshot) Close() error { return n.r.close() }

// Receiver writes a snapshot that arrives.
type Receiver struct {
	s *Store
	f *os.File // nil once it has ended
}

// Receive starts a snapshot; only one at a time.
func (s *Store) Receive() (*Receiver, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := filepath.Join(s.dir, partName)
	switch {
	case s.closed:
		return nil, failed("receive", path, ErrClosed)
	case s.receiving:
		return nil, failed("receive", path, errors.New("another snapshot is being received"))
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, failed("receive", path, err)
	}
	s.receiving = true
	return &Receiver{s, f}, nil
}

// Write appends to the snapshot.
func (r *Receiver) Write(b []byte) (int, error) {
	if r.f == nil {
		return 0, fmt.Errorf("receive: %w", ErrClosed)
	}
	if err := r.s.options.at(r.f.Name(), "receive.write"); err != nil {
		return 0, failed("receive", r.f.Name(), err)
	}
	n, err := r.f.Write(b)
	return n, failed("receive", r.f.Name(), err)
}

// Commit makes the snapshot durable, verifies it as Open does, and keeps it for Adopt or the next Open. On an error it is
// gone.
func (r *Receiver) Commit() error {
	if r.f == nil {
		return fmt.Errorf("receive: %w", ErrClosed)
	}
	o, part, fresh := r.s.options, r.f.Name(), filepath.Join(r.s.dir, newName)
	err := o.at(part, "receive.sync")
	if err == nil && !o.NoSync {
		err = r.f.Sync()
	}
	if err == nil {
		var c contents
		_, err = verifyFile(r.f, part, c.verify)
	}
	if err == nil {
		err = o.at(part, "receive.rename")
	}
	if err != nil {
		r.Abort()
		return failed("receive", part, err)
	}
	if err = r.s.take(context.Background(), r.s.flushSlot); err == nil { // not under the hands of Adopt
		err = rename(part, fresh, o)
		<-r.s.flushSlot
	}
	r.Abort()
	if err == nil {
		err = o.at(fresh, "receive.done")
	}
	return failed("receive", fresh, err)
}

// Abort gives the snapshot up; after the end it does nothing.
func (r *Receiver) Abort() {
	if r.f == nil {
		return
	}
	name := r.f.Name()
	r.f.Close()     // nothing is lost: what counts was synced, the rest goes
	os.Remove(name) // the next Receive or Open does it, if this cannot
	r.f = nil
	r.s.mu.Lock()
	r.s.receiving = false
	r.s.mu.Unlock()
}

// Adopt replaces the state by the one received last: the rows, digests and position of the store are then the received
// ones. Views that are open keep the old state, which is closed after the last of them. Without a received state it does
// nothing. One that covers less than what is published is removed, and is ErrStale.
func (s *Store) Adopt() error {
	ctx := context.Background()
	if err := s.take(ctx, s.flushSlot); err != nil {
		return s.says("adopt", err)
	}
	defer func() { <-s.flushSlot }()
	if err := s.take(ctx, s.writer); err != nil {
		return s.says("adopt", err)
	}
	defer func() { <-s.writer }()
	fresh, path := filepath.Join(s.dir, newName), filepath.Join(s.dir, stateName)
	next, c, err := openState(fresh, s.options)
	if err != nil || next == nil {
		return err
	}
	if have := s.Position(); c.position.Covered < have.Covered {
		next.retire()
		return failed("adopt", fresh, errors.Join(fmt.Errorf("%w: it covers %d, the state %d", ErrStale, c.position.Covered, have.Covered), os.Remove(fresh)))
	}
	if err := s.options.at(fresh, "adopt.rename"); err != nil {
		next.retire()
		return failed("adopt", fresh, err)
	}
	if err := os.Rename(fresh, path); err != nil {
		next.retire()
		return failed("adopt", fresh, err)
	}
	// From here on the name belongs to the new file, so memory must follow even if the folder cannot be synced: a crash
	// leaves either the old name, with the received state still beside it, or the new one.
	next.path = path
	s.swap(next, c)
	if !s.options.NoSync {
		err = syncDir(s.dir)
	}
	if err == nil {
		err = s.options.at(path, "adopt.done")
	}
	return failed("adopt", path, err)
}

// swap publishes an adopted file.
func (s *Store) swap(next *file, c contents) {
	s.mu.Lock()
	old := s.now.Load().file
	covered := max(c.position.Covered, s.now.Load().position.Covered) // Cover may have been called meanwhile
	s.now.Store(&published{file: next, position: Position{c.position.Applied, covered}, records: c.records})
	s.durable, s.health = c.position, nil
	s.announce()
	s.mu.Unlock()
	old.retire()
}
