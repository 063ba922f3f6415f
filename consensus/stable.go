package consensus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"ostraca/storage"
)

// Raft's names of a vote's two halves, and the name of the one value that holds both: term (8, big-endian) | candidate. Raft sets
// them one after the other, and a crash in between would leave the new term with the old candidate, who would be granted a second vote.
const (
	voteTerm      = "LastVoteTerm"
	voteCandidate = "LastVoteCand"
	voteValue     = "LastVote"
)

// vote returns the last durable vote. It fails with errNoValue, and with storage.ErrCorrupt.
func (s *logStore) vote() (term uint64, candidate []byte, err error) {
	b, err := s.value(voteValue)
	if err != nil {
		return 0, nil, err
	}
	if len(b) < 8 {
		return 0, nil, fmt.Errorf("consensus: %s has %d bytes: %w", voteValue, len(b), storage.ErrCorrupt)
	}
	return binary.BigEndian.Uint64(b), b[8:], nil
}

// cast keeps the vote for a candidate in the term that Raft named before.
func (s *logStore) cast(candidate []byte) error {
	s.mu.Lock()
	term := s.voted
	s.voted = 0
	s.mu.Unlock()
	if term == 0 {
		return errors.New("consensus: a vote without its term")
	}
	return s.set(voteValue, append(binary.BigEndian.AppendUint64(nil, term), candidate...))
}

// fullPause is the time between two tries of a value that found no room.
const fullPause = 100 * time.Millisecond

// Set implements raft.StableStore. A full disk is waited out, for Raft ends the process when it cannot keep its term: meanwhile this
// replica takes no part in elections, and its reads go on. Once the group is cut off from the others, at Close, it returns nil: what
// was not kept, nobody hears of.
func (s *logStore) Set(key, value []byte) error {
	if string(key) == voteCandidate {
		return s.cast(value)
	}
	return s.set(string(key), value)
}

func (s *logStore) set(key string, value []byte) error {
	for {
		err := s.log.Set(key, value)
		if err == nil {
			return nil
		}
		if !errors.Is(err, storage.ErrFull) {
			return fmt.Errorf("consensus: set %s: %w", key, err)
		}
		select {
		case <-time.After(fullPause):
		case <-s.cut:
			return nil
		}
	}
}

// Get implements raft.StableStore.
func (s *logStore) Get(key []byte) ([]byte, error) {
	if string(key) == voteCandidate {
		_, candidate, err := s.vote()
		return candidate, err
	}
	return s.value(string(key))
}

func (s *logStore) value(key string) ([]byte, error) {
	b, err := s.log.Value(key)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, errNoValue
	}
	return b, err
}

// SetUint64 implements raft.StableStore. Raft writes the term also when it is the same; that costs a sync, and where it fails,
// the process. The term of a vote is kept with its candidate, and until then seen by nobody.
func (s *logStore) SetUint64(key []byte, value uint64) error {
	if string(key) == voteTerm {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.voted = value
		return nil
	}
	if is, err := s.GetUint64(key); err == nil && is == value {
		return nil
	}
	return s.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

// GetUint64 implements raft.StableStore.
func (s *logStore) GetUint64(key []byte) (uint64, error) {
	if string(key) == voteTerm {
		term, _, err := s.vote()
		return term, err
	}
	b, err := s.Get(key)
	if err != nil {
		return 0, err
	}
	if len(b) != 8 {
		return 0, fmt.Errorf("consensus: %s has %d bytes: %w", key, len(b), storage.ErrCorrupt)
	}
	return binary.BigEndian.Uint64(b), nil
}
