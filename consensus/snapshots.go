package consensus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/hashicorp/raft"

	"ostraca/storage"
)

// snapshotValue is the name in the log file of the one record kept.
const snapshotValue = "snapshot"

// snapshots is Raft's SnapshotStore. There is one snapshot, the state file; what is stored is the record of the newest: what index
// it stands for, at least.
type snapshots struct {
	logs  *logStore
	store *storage.Store
	ctx   context.Context // ends with the group: a flush may take long

	mu       sync.Mutex
	received *sink // received whole, not yet restored
	replaced bool  // the state file is another one, and what is in memory not yet
}

var _ raft.SnapshotStore = (*snapshots)(nil)

// Create implements raft.SnapshotStore.
func (s *snapshots) Create(_ raft.SnapshotVersion, index, term uint64, c raft.Configuration, at uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	return &sink{s: s, meta: raft.SnapshotMeta{
		Version: raft.SnapshotVersionMax, ID: snapshotID(index, term),
		Index: index, Term: term, Configuration: c, ConfigurationIndex: at,
	}}, nil
}

// List implements raft.SnapshotStore.
func (s *snapshots) List() ([]*raft.SnapshotMeta, error) {
	m, ok := s.logs.newest()
	if !ok {
		return nil, nil
	}
	return []*raft.SnapshotMeta{&m}, nil
}

// Open implements raft.SnapshotStore: it pins a read transaction of the state file, whose content may be newer than the
// snapshot's index. For a snapshot just received, which only Raft's own restore opens, there is nothing to read: the file is
// swapped, and a pinned transaction would stand in its way.
func (s *snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.mu.Lock()
	r := s.received
	s.mu.Unlock()
	if r != nil && r.meta.ID == id {
		m := r.meta
		return &m, io.NopCloser(eof{}), nil
	}
	m, ok := s.logs.newest()
	if !ok || m.ID != id {
		return nil, nil, fmt.Errorf("consensus: snapshot %s is gone, %s is the newest", id, m.ID)
	}
	pinned, err := s.store.Snapshot()
	if err != nil {
		return nil, nil, fmt.Errorf("consensus: open snapshot %s: %w", id, err)
	}
	if p := pinned.Position(); p.Covered < m.Index {
		err := fmt.Errorf("consensus: snapshot %s: the state file covers %d: %w", id, p.Covered, storage.ErrCorrupt)
		return nil, nil, errors.Join(err, pinned.Close())
	}
	m.Size = pinned.Size()
	return &m, pinned, nil
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// restore takes over the snapshot that was received last, if one is needed, and has what depends on the state file built anew.
// Where that failed, the next call begins with it.
func (s *snapshots) restore(rebuild func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.received; r != nil {
		if !r.needless {
			if err := s.store.Adopt(); err != nil && !errors.Is(err, storage.ErrStale) { // stale: the replica got there by itself
				return fmt.Errorf("consensus: take over snapshot %s: %w", r.meta.ID, err)
			}
			s.replaced = true
			if p := s.store.Position(); p.Covered < r.meta.Index {
				return fmt.Errorf("consensus: snapshot %s covers %d only: %w", r.meta.ID, p.Covered, storage.ErrCorrupt)
			}
		}
		if r.keepsLog {
			s.logs.keepOnce()
		}
		s.received = nil
	}
	if !s.replaced {
		return nil
	}
	if err := rebuild(); err != nil {
		return fmt.Errorf("consensus: rebuild after a snapshot: %w", err)
	}
	s.replaced = false
	return nil
}

// sink is a snapshot in the making: our own, by persist, or one received, by Write.
type sink struct {
	s    *snapshots
	meta raft.SnapshotMeta

	receiver *storage.Receiver
	began    bool
	done     bool
	// needless: the state file covers the index already, so what comes is not kept, and a replica never steps back. Raft sends such
	// snapshots: late ones, from a connection that it gave up.
	needless bool
	// keepsLog: the log holds the snapshot's last entry, or follows an even newer one, so what comes after it in the log is right,
	// perhaps acknowledged, and must stay, although Raft is about to delete it.
	keepsLog bool
}

func (k *sink) ID() string { return k.meta.ID }

// persist makes the state file cover the snapshot, on the disk, and records that.
func (k *sink) persist() error {
	k.done = true
	if err := k.s.cover(k.meta.Index); err != nil {
		return err
	}
	k.meta.Size = 0 // the file's, at the time of opening
	return k.s.logs.write(k.meta)
}

// cover flushes the state file up to an index that the state machine has reached, and reads back that it did.
func (s *snapshots) cover(index uint64) error {
	s.store.Cover(index)
	if err := s.store.Sync(s.ctx, index); err != nil {
		return fmt.Errorf("consensus: flush up to %d: %w", index, err)
	}
	p, err := s.store.Durable()
	if err != nil {
		return fmt.Errorf("consensus: flush up to %d: %w", index, err)
	}
	if p.Covered < index {
		return fmt.Errorf("consensus: flushed up to %d, but the state file covers %d: %w", index, p.Covered, storage.ErrCorrupt)
	}
	return nil
}

// begin decides, before the first byte, what a received snapshot is good for.
func (k *sink) begin() (err error) {
	k.began = true
	newest, _ := k.s.logs.newest()
	if k.meta.Index <= newest.Index {
		k.keepsLog = true
	} else if k.keepsLog, err = k.s.logs.has(k.meta.Index, k.meta.Term); err != nil {
		return err
	}
	if k.needless = k.s.store.Position().Covered >= k.meta.Index; k.needless {
		return nil
	}
	if k.receiver, err = k.s.store.Receive(); err != nil {
		return fmt.Errorf("consensus: receive snapshot %s: %w", k.meta.ID, err)
	}
	return nil
}

// Write takes bytes of a snapshot that another replica sends.
func (k *sink) Write(b []byte) (int, error) {
	if !k.began {
		if err := k.begin(); err != nil {
			return 0, err
		}
	}
	if k.needless {
		return len(b), nil
	}
	k.meta.Size += int64(len(b))
	return k.receiver.Write(b)
}

// Close ends a snapshot. One that was received is verified, made durable and recorded, to be taken over by restore; a crash in between
// is finished by storage.Open.
func (k *sink) Close() error {
	if k.done {
		return nil
	}
	k.done = true
	switch {
	case !k.began:
		return fmt.Errorf("consensus: snapshot %s is empty: %w", k.meta.ID, storage.ErrCorrupt)
	case k.needless:
		if err := k.s.cover(k.meta.Index); err != nil {
			return err
		}
	default:
		if err := k.receiver.Commit(); err != nil {
			return fmt.Errorf("consensus: receive snapshot %s: %w", k.meta.ID, err)
		}
	}
	if err := k.s.logs.write(k.meta); err != nil {
		return err
	}
	k.s.mu.Lock()
	k.s.received = k
	k.s.mu.Unlock()
	return nil
}

// Cancel gives up a snapshot that is not closed.
func (k *sink) Cancel() error {
	if !k.done && k.receiver != nil {
		k.receiver.Abort()
	}
	k.done = true
	return nil
}
