package consensus

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"ostraca/storage"
)

// TestVoteIsOne: a crash between the two halves of a vote leaves the old one whole, and no half is seen before both are kept.
func TestVoteIsOne(t *testing.T) {
	s := newShelf(t, 0)
	halves := func(want string) {
		t.Helper()
		again, err := openLogStore(s.log, nil) // as after a crash
		if err != nil {
			t.Fatal(err)
		}
		for _, of := range []*logStore{s.logStore, again} {
			term, err1 := of.GetUint64([]byte("LastVoteTerm"))
			candidate, err2 := of.Get([]byte("LastVoteCand"))
			if got := fmt.Sprintln(term, string(candidate), err1, err2); got != want+"\n" {
				t.Errorf("%swant %s", got, want)
			}
		}
	}
	set := func(term uint64, candidate string) {
		t.Helper()
		if term > 0 {
			if err := s.SetUint64([]byte("LastVoteTerm"), term); err != nil {
				t.Fatal(err)
			}
		}
		if candidate != "" {
			if err := s.Set([]byte("LastVoteCand"), []byte(candidate)); err != nil {
				t.Fatal(err)
			}
		}
	}
	halves("0  not found not found")
	set(3, "")
	halves("0  not found not found")
	set(0, "a")
	halves("3 a <nil> <nil>")
	set(4, "")
	halves("3 a <nil> <nil>")
	set(0, "b")
	halves("4 b <nil> <nil>")
	set(5, "b")
	halves("5 b <nil> <nil>")
	if err := s.Set([]byte("LastVoteCand"), []byte("c")); err == nil || !strings.Contains(err.Error(), "without its term") {
		t.Error(err)
	}
	halves("5 b <nil> <nil>")
	if err := s.log.Set(voteValue, []byte("short")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.GetUint64([]byte("LastVoteTerm")); !errors.Is(err, storage.ErrCorrupt) {
		t.Error(err)
	}
}

// TestVotesAreKept: what a group votes is under the one name, for somebody it has elected.
func TestVotesAreKept(t *testing.T) {
	inBubble(t, 3, nil, func(t *testing.T, c *cluster) {
		l := c.leader()
		_, term := l.group.Leader()
		kept := 0
		for _, r := range c.nodes {
			of, candidate, err := r.group.logs.vote()
			if err != nil && err != errNoValue {
				t.Error(err)
			}
			if of == term && string(candidate) == l.id {
				kept++
			}
			if _, err := r.log.Value("LastVoteTerm"); !errors.Is(err, storage.ErrNotFound) {
				t.Error(err)
			}
		}
		if kept < 2 {
			t.Errorf("%d votes for the leader are on the disks", kept)
		}
	})
}

// TestDeleteHoldsNobody: while a deletion reads the state file, or waits for the disk, entries are appended and read.
func TestDeleteHoldsNobody(t *testing.T) {
	s := newShelf(t, 20)
	s.covered = 20
	begun, proceed := make(chan struct{}), make(chan struct{})
	s.durable = func() (storage.Position, error) {
		close(begun)
		<-proceed
		return storage.Position{Covered: 20}, nil
	}
	done := make(chan error, 1)
	go func() { done <- s.DeleteRange(1, 10) }()
	<-begun
	free := make(chan struct{})
	go func() {
		defer close(free)
		s.append(t, 21, 22, 1)
		if err := s.GetLog(99, &raft.Log{}); err != raft.ErrLogNotFound {
			t.Error(err)
		}
		if is, err := s.isCommand(21); !is || err != nil {
			t.Error(is, err)
		}
	}()
	select {
	case <-free:
	case <-time.After(10 * time.Second):
		t.Error("appends wait for a deletion")
	}
	close(proceed)
	if err := <-done; err != nil {
		t.Error(err)
	}
	s.bounds(t, 11, 22)
}
