package consensus

import (
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"

	"ostraca/storage"
)

// ErrPurge is what a deletion from the log fails with that would lose what no state file holds.
var ErrPurge = errors.New("consensus: these entries may not be deleted")

// errNoValue is what Raft knows a value that was never set by: it compares the text.
var errNoValue = errors.New("not found")

// logStore is a replica's log file as Raft's LogStore and StableStore. It knows the state file, for entries may be deleted only
// once that holds what they did.
type logStore struct {
	log     *storage.Log
	durable func() (storage.Position, error) // of the state file, read back from the disk
	cut     chan struct{}                    // closed when nothing of the group reaches others any more

	mu     sync.Mutex
	record raft.SnapshotMeta // the newest recorded snapshot; index 0 for none
	// keep refuses the deletion of everything that Raft asks for after it installed a snapshot, once: the log goes on where the
	// snapshot ends. ghosts is the last index that such a deletion took beyond the snapshot: Raft 1.8 goes on believing in those
	// entries, asks for them, and would refuse all new ones when told that they are gone.
	keep   bool
	ghosts uint64
	// others holds the entries from known on that are no commands: elections, barriers, configurations. There are few.
	others map[uint64]struct{}
	known  uint64
	// voted is the term of a vote whose candidate Raft has not named yet.
	voted uint64
}

var (
	_ raft.LogStore          = (*logStore)(nil)
	_ raft.StableStore       = (*logStore)(nil)
	_ raft.MonotonicLogStore = (*logStore)(nil)
)

// openLogStore reads the record of the snapshot. It fails with storage.ErrCorrupt.
func openLogStore(log *storage.Log, durable func() (storage.Position, error)) (*logStore, error) {
	s := &logStore{log: log, durable: durable, cut: make(chan struct{}), others: map[uint64]struct{}{}}
	_, last := log.Bounds()
	s.known = last + 1
	b, err := log.Value(snapshotValue)
	if errors.Is(err, storage.ErrNotFound) {
		return s, nil
	}
	if err == nil {
		s.record, err = decodeSnapshot(b)
	}
	return s, err
}

// IsMonotonic tells Raft that entries follow each other without gaps.
func (s *logStore) IsMonotonic() bool { return true }

func (s *logStore) FirstIndex() (uint64, error) {
	first, _ := s.log.Bounds()
	return first, nil
}

func (s *logStore) LastIndex() (uint64, error) {
	_, last := s.log.Bounds()
	return last, nil
}

// GetLog implements raft.LogStore. The entry at the newest snapshot's index is known also when it is gone: Raft asks for its term.
func (s *logStore) GetLog(index uint64, l *raft.Log) error {
	b, err := s.log.Get(index)
	if err == nil {
		return decodeLog(index, b, l)
	}
	if !errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("consensus: log entry %d: %w", index, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ghosts > 0 && index == s.record.Index:
		*l = raft.Log{Index: index, Term: s.record.Term, Type: raft.LogNoop}
	case index > s.record.Index && index <= s.ghosts: // of no term: any entry replaces it
		*l = raft.Log{Index: index, Type: raft.LogNoop}
	default:
		return raft.ErrLogNotFound
	}
	return nil
}

func (s *logStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore: durable when it returns, all or nothing. It fails with storage.ErrFull where no room is left.
func (s *logStore) StoreLogs(logs []*raft.Log) error {
	entries := make([]storage.Entry, len(logs))
	for i, l := range logs {
		entries[i] = storage.Entry{Index: l.Index, Data: encodeLog(l)}
	}
	if _, last := s.log.Bounds(); last == 0 && len(logs) > 0 {
		if m, _ := s.newest(); logs[0].Index > m.Index+1 {
			return fmt.Errorf("consensus: entry %d does not follow the snapshot at %d: %w", logs[0].Index, m.Index, storage.ErrCorrupt)
		}
	}
	if err := s.log.Append(entries); err != nil {
		return fmt.Errorf("consensus: append to the log: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range logs {
		if l.Type == raft.LogCommand {
			delete(s.others, l.Index)
		} else {
			s.others[l.Index] = struct{}{}
		}
	}
	return nil
}

// isCommand tells whether the entry changes the state machine.
func (s *logStore) isCommand(index uint64) (bool, error) {
	s.mu.Lock()
	_, other := s.others[index]
	known := index >= s.known
	s.mu.Unlock()
	if known {
		return !other, nil
	}
	var l raft.Log
	err := s.GetLog(index, &l)
	return l.Type == raft.LogCommand, err
}

// DeleteRange implements raft.LogStore. Raft deletes for three reasons: entries before a snapshot (the front), entries that a new
// leader contradicts (the back), and all, after a snapshot was installed. It fails with ErrPurge where
// the state file, as it stands on the disk, does not hold what the entries did.
func (s *logStore) DeleteRange(least, most uint64) error {
	first, last := s.log.Bounds()
	all := least <= first && most >= last && first > 0
	record, done, err := s.request(least, last, all)
	if done || err != nil {
		return err
	}
	// What follows goes to the disk, perhaps for long. Appends and reads go on meanwhile, so the mutex is not held.
	p, err := s.durable()
	if err != nil {
		return fmt.Errorf("consensus: delete %d to %d from the log: %w", least, most, err)
	}
	switch {
	case record > p.Covered && least <= record:
		return fmt.Errorf("%w: %d to %d: the state file covers %d, the recorded snapshot is at %d", ErrPurge, least, most, p.Covered, record)
	case most > p.Covered && most < last:
		return fmt.Errorf("%w: %d to %d: the state file covers %d only", ErrPurge, least, most, p.Covered)
	}
	haunted := all && last > record && least <= record
	if haunted {
		s.haunt(last) // before they go, so that nobody finds them missing
	}
	if err := s.log.Delete(least, most); err != nil {
		if haunted {
			s.haunt(0)
		}
		return fmt.Errorf("consensus: delete %d to %d from the log: %w", least, most, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.others {
		if i >= least && i <= most {
			delete(s.others, i)
		}
	}
	return nil
}

// request tells what a deletion from least in a log that ends at last has to know: the index of the recorded snapshot, or that there is
// nothing to do.
func (s *logStore) request(least, last uint64, all bool) (record uint64, done bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if all && s.keep {
		s.keep = false
		return 0, false, fmt.Errorf("%w: the log holds entries after the installed snapshot, which stay", ErrPurge)
	}
	if s.ghosts > 0 && least > s.record.Index && (last == 0 || least > last) {
		s.ghosts = 0 // Raft clears what is long gone
		return 0, true, nil
	}
	return s.record.Index, false, nil
}

func (s *logStore) haunt(last uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ghosts = last
}

// has tells whether the log holds the entry of this index and term.
func (s *logStore) has(index, term uint64) (bool, error) {
	b, err := s.log.Get(index)
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	var l raft.Log
	if err == nil {
		err = decodeLog(index, b, &l)
	}
	return l.Term == term, err
}

// newest returns the newest recorded snapshot, and whether there is one.
func (s *logStore) newest() (raft.SnapshotMeta, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record, s.record.Index > 0
}

// write records a snapshot, which the state file must cover. An older one than is recorded changes nothing.
func (s *logStore) write(m raft.SnapshotMeta) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Index < s.record.Index {
		return nil
	}
	if err := s.log.Set(snapshotValue, encodeSnapshot(m)); err != nil {
		return fmt.Errorf("consensus: record the snapshot at %d: %w", m.Index, err)
	}
	s.record = m
	return nil
}

// reconcile makes log and snapshot one history after a crash: between the receipt of a snapshot and the deletion of the log that
// it replaces there is a moment when both are there. It fails with storage.ErrCorrupt where the log begins too late.
func (s *logStore) reconcile() error {
	first, last := s.log.Bounds()
	m, ok := s.newest()
	switch {
	case first > m.Index+1:
		return fmt.Errorf("consensus: the log begins at %d, the snapshot ends at %d: %w", first, m.Index, storage.ErrCorrupt)
	case !ok || last == 0 || first == m.Index+1:
		return nil
	case last >= m.Index:
		if same, err := s.has(m.Index, m.Term); err != nil || same {
			return err
		}
	}
	if err := s.DeleteRange(first, last); err != nil {
		return err
	}
	s.ghosts = 0 // Raft has not begun to believe in anything
	return nil
}

// keepOnce saves the log from the next deletion of all of it, if it holds anything.
func (s *logStore) keepOnce() {
	_, last := s.log.Bounds()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep = last > 0
}
