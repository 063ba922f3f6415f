package consensus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"ostraca/storage"
)

// enqueueTimeout bounds how long a busy leader may take to take an entry where the caller's context does not.
const enqueueTimeout = 10 * time.Second

// future waits for one of Raft's futures as long as ctx lasts. The future itself is waited for to its end, by a goroutine that
// Close waits for.
func future[F raft.Future](g *Group, ctx context.Context, begin func() F) (f F, err error) {
	if err := ctx.Err(); err != nil {
		return f, err
	}
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return f, ErrClosed
	}
	g.pending.Add(1)
	g.mu.Unlock()
	done := make(chan F, 1)
	go func() {
		defer g.pending.Done()
		f := begin()
		f.Error() // the caller reads it, if it still waits
		done <- f
	}()
	select {
	case f = <-done:
		return f, nil
	case <-ctx.Done():
		return f, fmt.Errorf("%w: %w", ErrUnknownOutcome, ctx.Err())
	}
}

// translate turns Raft's errors into ours. handed says that an entry was on its way.
func translate(err error, handed bool) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return ErrNotLeader
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return ErrNoQuorum
	case errors.Is(err, storage.ErrFull): // the transaction was not made
		return err
	case errors.Is(err, raft.ErrRaftShutdown) && !handed:
		return ErrClosed
	case errors.Is(err, raft.ErrLeadershipLost) && !handed:
		return ErrNotLeader
	case handed:
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
	return err
}

// Proposal is an entry that Raft has taken.
type Proposal struct {
	g    *Group
	done chan raft.ApplyFuture
}

// Enqueue gives an entry to Raft, which takes up to patience when it is busy. Entries of one goroutine come to stand in the log in the order
// of its calls. It fails with ErrClosed, having done nothing; what else may go wrong, Wait tells. The group keeps data.
func (g *Group) Enqueue(data []byte, patience time.Duration) (*Proposal, error) {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return nil, fmt.Errorf("consensus: propose to group %d: %w", g.o.ID, ErrClosed)
	}
	g.pending.Add(1)
	g.mu.Unlock()
	p := &Proposal{g, make(chan raft.ApplyFuture, 1)}
	f := g.raft.Apply(data, max(patience, time.Millisecond))
	go func() { // the future is waited for to its end, and Close waits for that
		defer g.pending.Done()
		f.Error() // Wait reads it, if anybody waits
		p.done <- f
	}()
	return p, nil
}

// Wait returns, once the entry is committed and applied here, its index and what the state machine returned for it. It fails with ErrNotLeader
// or ErrNoQuorum or storage.ErrFull, having done nothing, or with ErrUnknownOutcome, also when ctx ends on the way. It is called once.
func (p *Proposal) Wait(ctx context.Context) (index uint64, result any, err error) {
	select {
	case f := <-p.done:
		if err = f.Error(); err == nil {
			return f.Index(), f.Response(), nil
		}
		err = translate(err, true)
	case <-ctx.Done():
		err = fmt.Errorf("%w: %w", ErrUnknownOutcome, ctx.Err())
	}
	return 0, nil, fmt.Errorf("consensus: propose to group %d: %w", p.g.o.ID, err)
}

// Propose is Enqueue and Wait.
func (g *Group) Propose(ctx context.Context, data []byte) (index uint64, result any, err error) {
	if err := ctx.Err(); err != nil {
		return 0, nil, fmt.Errorf("consensus: propose to group %d: %w", g.o.ID, err)
	}
	patience := enqueueTimeout
	if deadline, ok := ctx.Deadline(); ok {
		patience = time.Until(deadline)
	}
	p, err := g.Enqueue(data, patience)
	if err != nil {
		return 0, nil, err
	}
	return p.Wait(ctx)
}
