package shard

import (
	"time"

	"ostraca/retrieval/index"
	"ostraca/storage"
)

// share gives all indexes of the node one arena and one budget of merges.
func (n *Node) share() (err error) {
	o := &n.options
	n.arena, err = storage.NewArena(storage.ArenaOptions{Dir: o.Dir, Limit: o.MemoryLimit, Logger: o.Logger})
	if err != nil {
		return err
	}
	if o.Index.Memory == nil {
		o.Index.Memory = n.arena
	}
	m := &o.Index.Merging
	if m.Slots == nil {
		m.Slots = make(chan struct{}, 1)
	}
	if m.Clock == nil {
		m.Clock = o.Index.Clock
	}
	if m.Sleep == nil {
		m.Sleep = func(micros int64) { time.Sleep(time.Duration(micros) * time.Microsecond) }
	}
	return nil
}

// Memory returns the bytes of vectors that the node's indexes have in blocks of their own.
func (n *Node) Memory() storage.ArenaUsage { return n.arena.Usage() }

// closeIndexes ends the merges of collections.
func closeIndexes(all map[string]*collection) {
	for _, c := range all {
		c.index.Close()
	}
}

var _ index.Memory = (*storage.Arena)(nil)
