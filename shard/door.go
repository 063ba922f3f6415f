package shard

import (
	"fmt"

	"ostraca/retrieval"
)

// A batch is checked here, at every door: a router's, a client's, a replica's. What concerns all of it refuses it; an operation that may not
// pass has that for its result, and the others go on.

// admitted is the operations of a batch that may pass, and where their results belong.
type admitted struct {
	operations []Operation
	at         []int
	results    []Result // of the whole batch
}

// admit checks a batch: each operation by itself, by what the door adds, and that no two have one id, for the second would be taken
// for a retry of the first.
func admit(operations []Operation, door func(*Operation) error) (*admitted, error) {
	if len(operations) > MaxBatch {
		return nil, fmt.Errorf("write: %d operations, the limit is %d: write several batches: %w", len(operations), MaxBatch, retrieval.ErrTooLarge)
	}
	a := &admitted{results: make([]Result, len(operations))}
	ids := make(map[OperationID]int, len(operations))
	for i := range operations {
		o := &operations[i]
		err := o.check()
		if err == nil {
			err = door(o)
		}
		if first, again := ids[o.ID]; again && err == nil && o.ID != (OperationID{}) {
			err = fmt.Errorf("it has the id of operation %d: give each its own (OperationID.Plus): %w", first, retrieval.ErrInvalid)
		}
		if err != nil {
			a.results[i].Err = fmt.Errorf("write: operation %d: %w", i, err)
			continue
		}
		ids[o.ID] = i
		a.operations, a.at = append(a.operations, *o), append(a.at, i)
	}
	return a, nil
}

// with returns the results of the whole batch, given those of the operations that passed; none of a batch that was refused.
func (a *admitted) with(results []Result) []Result {
	if a == nil {
		return nil
	}
	for i, r := range results {
		a.results[a.at[i]] = r
	}
	return a.results
}

// checkRead checks what every read through a router names.
func checkRead(collection string, r Read) error {
	if err := CheckCollection(collection); err != nil {
		return err
	}
	switch {
	case r.Pin != nil:
		return fmt.Errorf("states are held by replicas, not by a router: %w", retrieval.ErrInvalid)
	case r.Level > Local:
		return fmt.Errorf("read level %d is unknown: %w", r.Level, retrieval.ErrInvalid)
	case r.Level == Bounded && r.Bound <= 0:
		return fmt.Errorf("the bound is %v, it must be above 0: %w", r.Bound, retrieval.ErrInvalid)
	case len(r.After) > MaxReceipts:
		return fmt.Errorf("%d receipts, the limit is %d: %w", len(r.After), MaxReceipts, retrieval.ErrTooLarge)
	}
	return nil
}

func checkIDs(ids []string) error {
	for _, id := range ids {
		if err := retrieval.CheckID(id); err != nil {
			return err
		}
	}
	return nil
}

// within reports why a number cannot be asked for, or nil: 1 to most can.
func within(what string, n, most int) error {
	switch {
	case n < 1:
		return fmt.Errorf("%s is %d, it must be 1 to %d: %w", what, n, most, retrieval.ErrInvalid)
	case n > most:
		return fmt.Errorf("%s is %d, it must be 1 to %d: %w", what, n, most, retrieval.ErrTooLarge)
	}
	return nil
}
