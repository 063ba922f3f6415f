package consensus

import (
	"io"

	"github.com/hashicorp/raft"

	"ostraca/storage"
)

// Entry is one committed entry of a group's log that somebody proposed.
type Entry struct {
	Index, Term uint64
	Data        []byte
}

// StateMachine is what a group replicates. Its state file is its own snapshot.
type StateMachine interface {
	// Apply applies committed entries in order and returns one result for each, which the proposer gets where it proposed. Indices
	// grow, not always by one. It is called by one goroutine; entries that the state file already holds are never given.
	Apply(entries []Entry) []any
	// Store is the replica's state file; the same one for as long as the group is open.
	Store() *storage.Store
	// Restored says that the state file was replaced by a received snapshot: what is in memory has to be built anew. It is called by
	// the goroutine of Apply, and again if it failed.
	Restored() error
}

// machine is a StateMachine as Raft's FSM.
type machine struct {
	StateMachine
	snapshots *snapshots
}

var _ raft.BatchingFSM = machine{}

// Apply implements raft.FSM.
func (m machine) Apply(l *raft.Log) any { return m.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch implements raft.BatchingFSM. Raft replays from the index of the recorded snapshot, which the state file may be ahead
// of, and hands on configurations too.
func (m machine) ApplyBatch(logs []*raft.Log) []any {
	results := make([]any, len(logs))
	applied := m.Store().Position().Applied
	var entries []Entry
	var at []int
	for i, l := range logs {
		if l.Type == raft.LogCommand && l.Index > applied {
			entries = append(entries, Entry{l.Index, l.Term, l.Data})
			at = append(at, i)
		}
	}
	if len(entries) == 0 {
		return results
	}
	for i, r := range m.StateMachine.Apply(entries) {
		results[at[i]] = r
	}
	return results
}

// Snapshot implements raft.FSM. There is nothing to capture: the state file may be newer than the index that Raft names.
func (m machine) Snapshot() (raft.FSMSnapshot, error) { return persister{}, nil }

// Restore implements raft.FSM. The content came by the sink already.
func (m machine) Restore(io.ReadCloser) error {
	return m.snapshots.restore(m.Restored)
}

type persister struct{}

func (persister) Persist(to raft.SnapshotSink) error { return to.(*sink).persist() }
func (persister) Release()                           {}
