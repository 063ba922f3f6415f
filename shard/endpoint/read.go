package endpoint

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"ostraca/api"
	"ostraca/retrieval"
	"ostraca/shard"
)

// reading is a request that says how fresh the state must be.
type reading interface {
	GetRead() string
	GetAfter() []*api.Receipt
}

// readOf returns what a request says of its state.
func readOf(q reading) (shard.Read, error) {
	r := shard.Read{}
	level, bound, bounded := strings.Cut(q.GetRead(), ":")
	switch {
	case bounded && level == "bounded":
		d, err := time.ParseDuration(bound)
		if err != nil || d <= 0 {
			return r, fmt.Errorf("read level %q: %q is no duration above 0, such as 500ms: %w", q.GetRead(), bound, retrieval.ErrInvalid)
		}
		r.Level, r.Bound = shard.Bounded, d
	case q.GetRead() == "local":
		r.Level = shard.Local
	case q.GetRead() != "" && q.GetRead() != "linearizable":
		return r, fmt.Errorf("read level %q: it must be linearizable, bounded:DURATION (such as bounded:500ms) or local: %w", q.GetRead(), retrieval.ErrInvalid)
	}
	if err := atMost(len(q.GetAfter()), shard.MaxReceipts, "receipts", "the latest one of each shard is enough"); err != nil {
		return r, err
	}
	for i, a := range q.GetAfter() {
		generation, err := strconv.ParseUint(a.GetGeneration(), 10, 64)
		if err != nil {
			return r, fmt.Errorf("receipt %d of after: generation %q is not one that a write gave: %w", i, a.GetGeneration(), retrieval.ErrInvalid)
		}
		r.After = append(r.After, shard.Receipt{Shard: a.GetShard(), Generation: generation, Index: a.GetIndex()})
	}
	return r, nil
}

// receipts are those of many writes: of each shard the latest.
type receipts map[uint32]shard.Receipt

func (all receipts) add(more []shard.Receipt) {
	for _, r := range more {
		if r.Index >= all[r.Shard].Index {
			all[r.Shard] = r
		}
	}
}

// api returns them in the order of shards.
func (all receipts) api() []*api.Receipt {
	var out []*api.Receipt
	for _, shard := range sorted(all) {
		r := all[shard]
		out = append(out, &api.Receipt{Shard: r.Shard, Generation: strconv.FormatUint(r.Generation, 10), Index: r.Index, Digest: r.Digest.String(), TimeMs: r.Time})
	}
	return out
}

// operation returns the id that a request gave, or a new one.
func (s *Service) operation(ctx context.Context, given string) (shard.OperationID, error) {
	if given == "" {
		return s.router.NewBatch(ctx)
	}
	var id shard.OperationID
	b, err := hex.DecodeString(given)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("operation_id %.50q: it must be %d hexadecimal digits, as newOperation gives them: %w", given, 2*len(id), retrieval.ErrInvalid)
	}
	copy(id[:], b)
	if id == (shard.OperationID{}) {
		return id, fmt.Errorf("operation_id is zero, which names nothing: leave it out, or take one of newOperation: %w", retrieval.ErrInvalid)
	}
	return id, nil
}

func (s *Service) newOperation(ctx context.Context) (*api.NewOperationResponse, error) {
	id, err := s.router.NewBatch(ctx)
	if err != nil {
		return nil, fmt.Errorf("new operation: %w", err)
	}
	return &api.NewOperationResponse{OperationId: text(id), ValidMs: shard.RetryWindow.Milliseconds()}, nil
}

// text is the way of an operation id through the world.
func text(id shard.OperationID) string { return hex.EncodeToString(id[:]) }
