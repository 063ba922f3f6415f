// Package storage keeps the durable bytes of a replica in bbolt: its state file, its log file, and nothing that knows a token
// or Raft. docs/state.md is the layout.
//
// A [Store] is rows in buckets, with a keyed digest per bucket. One writer at a time changes rows in memory, in an overlay in
// front of the file, and publishes them with their digests and their position in the log by one pointer; a flusher brings them to the file
// behind it, rows, digests and position in one transaction. A [View] pins what was published, over a pinned transaction of the file.
// A [Log] is numbered entries without holes, durable when Append returns, and a few named values.
//
// Nothing read from a file is believed. Before bbolt sees one, its pages are walked and all checksums and digests recomputed
// (bbolt maps files, so a bad offset would end the process); later every row is checked as it is read.
package storage

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

var (
	// ErrCorrupt says that a file does not hold what was written. The message names the file and the repair.
	ErrCorrupt = errors.New("corrupt file")
	// ErrNotFound says that there is no such row, bucket, entry or value.
	ErrNotFound = errors.New("not found")
	// ErrFormat says that a newer program wrote the file.
	ErrFormat = errors.New("file of a newer format")
	// ErrFull says that the disk, a quota or the largest file size is used up.
	ErrFull = errors.New("disk full")
	// ErrClosed says that the store, log, view or transaction is closed.
	ErrClosed = errors.New("closed")
	// ErrStale says that a received state covers less than the store already does.
	ErrStale = errors.New("received state is older")
)

// repair is what an operator does about a corrupt file: nothing is guessed, the other replicas hold the data.
const repair = "stop the node, move the folder of this replica away, and start it; the other replicas fill it anew"

func corrupt(path, format string, a ...any) error {
	return fmt.Errorf("%w: %s: %s (%s)", ErrCorrupt, path, fmt.Sprintf(format, a...), repair)
}

// failed wraps what the operating system or bbolt said, as ErrFull where that is the reason.
func failed(op, path string, err error) error {
	if err == nil {
		return nil
	}
	if full(err) && !errors.Is(err, ErrFull) {
		return fmt.Errorf("%s %s: %w: %w", op, path, ErrFull, err)
	}
	return fmt.Errorf("%s %s: %w", op, path, err)
}

// full also compares texts: bbolt flattens the error of a file that cannot grow.
func full(err error) bool {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, e) || strings.Contains(err.Error(), e.Error()) {
			return true
		}
	}
	return false
}
