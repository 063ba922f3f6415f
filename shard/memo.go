package shard

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"ostraca/storage"
)

// memory of a node of itself and its cluster over a restart.
type memory struct {
	Node    string   `json:"node"`
	Boot    uint64   `json:"boot"`              // grows with every start of this node
	Granted string   `json:"granted,omitempty"` // the node that may found the cluster, by this one's promise
	Voters  []string `json:"voters,omitempty"`  // of the placement group, where this node is one
	Map     *Map     `json:"map"`               // as it was last seen

	// Opened says that the placement group has begun here: should its files be lost after that, its votes are lost with them.
	Opened bool `json:"opened,omitempty"`
	// Learning are the groups in which this node lost its files, and was readmitted without a vote until it is filled.
	Learning []uint32 `json:"learning,omitempty"`
}

// memo keeps a node's memory in a small JSON file, replaced whole.
type memo struct {
	path string
	lock *os.File
	mu   sync.Mutex
	now  memory
}

// openMemo reads the memo of a folder, counts this start, and takes the folder for this process.
func openMemo(dir, node string, now time.Time) (_ *memo, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	m := &memo{path: filepath.Join(dir, "node.json"), now: memory{Node: node, Map: &Map{}}}
	if m.lock, err = storage.LockDir(dir); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(m.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, errors.Join(err, m.close())
	default:
		if err := json.Unmarshal(b, &m.now); err != nil {
			err = fmt.Errorf("%s: %v: %w: move the folder away and start the node: the others fill it anew", m.path, err, storage.ErrCorrupt)
			return nil, errors.Join(err, m.close())
		}
	}
	if m.now.Node != node {
		return nil, errors.Join(fmt.Errorf("%s is the folder of node %q, not of %q: %w", dir, m.now.Node, node, ErrExists), m.close())
	}
	if m.now.Map == nil {
		m.now.Map = &Map{}
	}
	return m, m.change(func(is *memory) error { // by the clock where the folder was emptied: gossip believes the highest
		is.Boot = max(is.Boot+1, uint64(max(now.UnixMilli(), 0)))
		return nil
	})
}

// get returns what is remembered. Slices in it are not changed.
func (m *memo) get() memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// change changes what is remembered: on an error of the change, or of the disk, nothing. Slices are replaced, not changed.
func (m *memo) change(f func(is *memory) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := m.now
	if err := f(&next); err != nil {
		return err
	}
	b, err := json.MarshalIndent(next, "", " ")
	if err == nil {
		err = storage.ReplaceFile(m.path, b)
	}
	if err != nil {
		return fmt.Errorf("remember %s: %w", m.path, err)
	}
	m.now = next
	return nil
}

// learning tells whether this node has no vote in a group yet.
func (m *memo) learning(group uint32) bool { return slices.Contains(m.get().Learning, group) }

// learns notes that this node has no vote in a group, or that it has one again.
func (m *memo) learns(group uint32, learning bool) error {
	return m.change(func(is *memory) error {
		is.Learning = slices.DeleteFunc(slices.Clone(is.Learning), func(g uint32) bool { return g == group })
		if learning {
			is.Learning = append(is.Learning, group)
		}
		return nil
	})
}

func (m *memo) close() error { return m.lock.Close() }
