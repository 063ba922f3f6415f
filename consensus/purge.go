package consensus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// purgeInterval is how often the size of the log is looked at.
	purgeInterval = time.Second
	// purgePatience is the longest time between two snapshots that fail.
	purgePatience = time.Minute
	// At least minTrailing and at most maxTrailing entries stay in the log.
	minTrailing = 64
	maxTrailing = 10240
	// snapshotEntries in the log lead to a snapshot however small they are: a restart reads them all.
	snapshotEntries = 1 << 16
)

// purge is what the group remembers of the snapshots that it takes by itself.
type purge struct {
	bytes   int64 // in the log after the last one
	entries uint64
	err     error
}

// purgeLoop takes a snapshot and purges the log whenever that has grown.
func (g *Group) purgeLoop() {
	wait := purgeInterval
	for {
		select {
		case <-time.After(wait):
		case <-g.ctx.Done():
			return
		}
		if !g.due() {
			continue
		}
		err := g.snapshot(g.ctx)
		if errors.Is(err, ErrClosed) || g.ctx.Err() != nil {
			return
		}
		if errors.Is(err, ErrNothingNew) { // since the start: it is tried again when the log has grown
			err = nil
		}
		if err == nil {
			wait = purgeInterval
		} else {
			wait = min(2*wait, purgePatience)
			g.o.Logger.Warn("a snapshot failed, it is tried again", "error", err, "after", wait)
		}
		bytes, entries := g.size()
		g.mu.Lock()
		g.purge = purge{bytes, entries, err}
		g.mu.Unlock()
	}
}

func (g *Group) size() (bytes int64, entries uint64) {
	bytes, _ = g.o.Log.Bytes()
	if first, last := g.o.Log.Bounds(); last > 0 {
		entries = last - first + 1
	}
	return bytes, entries
}

// due tells whether the log is too long, and has grown by a fourth of what it may be since a snapshot could not make it shorter.
func (g *Group) due() bool {
	bytes, entries := g.size()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.purge.err != nil {
		return true
	}
	return bytes >= max(g.o.SnapshotBytes, g.purge.bytes+g.o.SnapshotBytes/4) ||
		entries >= max(snapshotEntries, g.purge.entries+snapshotEntries/4)
}

// Snapshot makes the state file cover all that is applied, records that, and purges the log but for its newest entries. Where it
// leads it commits a barrier first, so that there is always something to cover; elsewhere it fails with ErrNothingNew if
// nothing was applied since the start. It fails with ErrClosed, and when ctx ends, having begun it.
func (g *Group) Snapshot(ctx context.Context) error {
	if g.IsLeader() {
		f, err := future(g, ctx, func() raft.Future { return g.raft.Barrier(enqueueTimeout) })
		if err == nil {
			err = f.Error()
		}
		if err != nil && !errors.Is(translate(err, false), ErrNotLeader) {
			return fmt.Errorf("consensus: snapshot of group %d: %w", g.o.ID, translate(err, false))
		}
	}
	return g.snapshot(ctx)
}

func (g *Group) snapshot(ctx context.Context) error {
	bytes, entries := g.size()
	c := g.raft.ReloadableConfig()
	if c.TrailingLogs = trailing(bytes, entries, g.o.TrailingBytes); entries > 0 {
		if err := g.raft.ReloadConfig(c); err != nil {
			return fmt.Errorf("consensus: snapshot of group %d: %w", g.o.ID, err)
		}
	}
	f, err := future(g, ctx, func() raft.SnapshotFuture { return g.raft.Snapshot() })
	if err == nil {
		err = f.Error()
	}
	if errors.Is(err, raft.ErrNothingNewToSnapshot) {
		err = ErrNothingNew
	}
	if err != nil {
		return fmt.Errorf("consensus: snapshot of group %d: %w", g.o.ID, translate(err, false))
	}
	return nil
}

// trailing returns how many entries of average size are about as long as the newest that stay.
func trailing(bytes int64, entries uint64, keep int64) uint64 {
	n := uint64(maxTrailing)
	if entries > 0 && bytes > 0 {
		n = uint64(keep / max(bytes/int64(entries), 1))
	}
	return min(max(n, minTrailing), maxTrailing)
}
