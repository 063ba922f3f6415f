package shard

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ostraca/consensus"
	"ostraca/retrieval"
)

// How fresh the state of a read is.

// verified is a commit index that the leader confirmed in an answer to a request sent at a moment of this node's monotonic clock.
type verified struct {
	index uint64
	sent  time.Time
}

// read waits until this replica's state is as fresh as asked for, and returns it. Release it.
func (r *Replica) read(ctx context.Context, q Read) (view, func(), error) {
	if q.Pin != nil {
		return r.pins.take(q.Pin)
	}
	if err := r.await(ctx, q); err != nil {
		return view{}, nil, err
	}
	v, err := r.machine.view()
	return v, v.close, err
}

func (v view) close() { v.rows.Close() }

// await waits until the state is as fresh as asked for.
func (r *Replica) await(ctx context.Context, q Read) error {
	index := uint64(0)
	if len(q.After) > MaxReceipts {
		return fmt.Errorf("%d receipts, the limit is %d: %w", len(q.After), MaxReceipts, retrieval.ErrTooLarge)
	}
	for _, a := range q.After {
		if a.Shard != r.options.Shard {
			continue
		}
		if a.Generation != r.options.Generation {
			return fmt.Errorf("receipt of generation %x, shard %d is of %x: %w", a.Generation, a.Shard, r.options.Generation, ErrGeneration)
		}
		index = max(index, a.Index)
	}
	switch q.Level {
	case Local:
	case Linearizable:
		committed, err := r.committed(ctx)
		if err != nil {
			return err
		}
		index = max(index, committed)
	case Bounded:
		if q.Bound <= 0 {
			return fmt.Errorf("the bound is %v, it must be above 0: %w", q.Bound, retrieval.ErrInvalid)
		}
		if f := r.fresh.Load(); f != nil && time.Since(f.sent) <= q.Bound {
			index = max(index, f.index)
			break
		}
		committed, err := r.committed(ctx)
		if err != nil {
			return err
		}
		index = max(index, committed)
	default:
		return fmt.Errorf("read level %d is unknown: %w", q.Level, retrieval.ErrInvalid)
	}
	return r.machine.wait(ctx, index)
}

// committed returns an index that covers all that was acknowledged before the call.
func (r *Replica) committed(ctx context.Context) (uint64, error) {
	sent, changed := time.Now(), r.group.LeaderChanged()
	index, err := r.ReadIndex(ctx)
	if errors.Is(err, ErrNotLeader) {
		err = fmt.Errorf("shard %d has no leader: %w", r.options.Shard, ErrUnavailable)
		if leader, _ := r.group.Leader(); leader != "" && leader != r.options.Node {
			asking, cancel := r.whileLeading(ctx, changed)
			index, err = r.options.Peers.Replica(leader, r.options.Shard).ReadIndex(asking)
			if err != nil && asking.Err() != nil && ctx.Err() == nil {
				err = fmt.Errorf("leadership moved meanwhile: %w", ErrUnavailable) // the next leader may answer
			}
			cancel()
		}
	}
	if err != nil {
		return 0, err
	}
	if f := r.fresh.Load(); f == nil || sent.After(f.sent) {
		r.fresh.Store(&verified{index, sent})
	}
	return index, nil
}

// whileLeading returns a context that also ends when leadership moves: a leader that is stopped, or cut off, answers nothing, and holds its
// connections, so whoever waits for it would wait for long.
func (r *Replica) whileLeading(ctx context.Context, changed <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-changed:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// ReadIndex is answered by the leader alone.
func (r *Replica) ReadIndex(ctx context.Context) (uint64, error) {
	index, err := r.group.ReadIndex(ctx)
	if errors.Is(err, consensus.ErrNotLeader) {
		return 0, fmt.Errorf("read index: %w", ErrNotLeader)
	}
	return index, err
}
