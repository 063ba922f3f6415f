package shard

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"ostraca/consensus"
	"ostraca/retrieval"
	"ostraca/storage"
)

// What a caller can act on, beside the errors of package retrieval.
var (
	ErrUnavailable = errors.New("unavailable")                // no leader, no quorum, no replica in time: nothing was changed, try again
	ErrUnknown     = errors.New("outcome unknown")            // the write may or may not take effect: repeat it with the same operation ids
	ErrExists      = errors.New("already exists")             // if_absent met a document
	ErrChanged     = errors.New("version differs")            // if_version met another version
	ErrRetry       = errors.New("not this epoch")             // the collection's epoch has changed: encode anew and write again
	ErrExpired     = errors.New("operation id expired")       // older than the retry window: look whether it took effect, then use a new id
	ErrExhausted   = errors.New("resource exhausted")         // a limit of the shard, or its disk, is full
	ErrMoved       = errors.New("state no longer held")       // a later phase came too late: start the request again
	ErrWrongShard  = errors.New("another shard's")            // the document does not belong here: read the placement again
	ErrPartial     = errors.New("answer lacks shards")        // wrapped by a PartialError, which has what there is
	ErrGeneration  = errors.New("shard was restored anew")    // a receipt or pin of another generation
	ErrNotLeader   = errors.New("replica is not the leader")  // asked of a follower what only a leader knows
	errHalted      = errors.New("replica has halted")         // its state file or log cannot be trusted
	errUnspecified = errors.New("failure of an unknown kind") // from a node of another release
)

// wire maps errors to gRPC codes, and back: here and nowhere else. Of several that match the first counts.
var wire = []struct {
	err  error
	code codes.Code
}{
	{ErrUnknown, codes.Aborted},
	{ErrMoved, codes.DataLoss + 1}, // codes of our own from 17 on: nodes of one release speak to each other
	{ErrWrongShard, codes.DataLoss + 3},
	{ErrGeneration, codes.DataLoss + 4},
	{ErrNotLeader, codes.DataLoss + 5},
	{ErrRetry, codes.DataLoss + 6},
	{ErrPartial, codes.DataLoss + 8},
	{ErrUnavailable, codes.DataLoss + 7}, // a node's word that nothing was done; gRPC's own is of the way there, see writeFailure
	{ErrExpired, codes.OutOfRange},
	{ErrExists, codes.AlreadyExists},
	{ErrChanged, codes.FailedPrecondition},
	{ErrExhausted, codes.ResourceExhausted},
	{storage.ErrFull, codes.ResourceExhausted},
	{retrieval.ErrTooLarge, codes.DataLoss + 2},
	{retrieval.ErrInvalid, codes.InvalidArgument},
	{retrieval.ErrNotFound, codes.NotFound},
	{retrieval.ErrCorrupt, codes.DataLoss},
	{storage.ErrCorrupt, codes.DataLoss},
	{context.DeadlineExceeded, codes.DeadlineExceeded},
	{context.Canceled, codes.Canceled},
	{consensus.ErrNotLeader, codes.DataLoss + 5},
	{consensus.ErrUnknownOutcome, codes.Aborted},
	{ErrUnavailable, codes.Unavailable},
	{consensus.ErrNoQuorum, codes.Unavailable},
	{consensus.ErrClosed, codes.Unavailable},
	{storage.ErrClosed, codes.Unavailable},
	{errHalted, codes.Unavailable},
}

// codeOf returns the code of an error, OK of nil.
func codeOf(err error) codes.Code {
	if err == nil {
		return codes.OK
	}
	for _, w := range wire {
		if errors.Is(err, w.err) {
			return w.code
		}
	}
	return codes.Internal
}

// toWire makes an error that gRPC carries.
func toWire(err error) error {
	if err == nil {
		return nil
	}
	return status.Error(codeOf(err), err.Error())
}

// fromWire wraps what gRPC carried with the error that its code stands for.
func fromWire(err error) error {
	if err == nil {
		return nil
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	return failure(s.Code(), s.Message())
}

// writeFailure is fromWire for a write: where the way there or back broke, it may have been done.
func writeFailure(err error) error {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Unknown, codes.Internal:
		return fmt.Errorf("write: %w: %w", ErrUnknown, fromWire(err))
	}
	return fromWire(err)
}

// failure is the error of a code and its text.
func failure(code codes.Code, text string) error {
	if code == codes.OK {
		return nil
	}
	for _, w := range wire {
		if w.code == code {
			return remote{text, w.err}
		}
	}
	return remote{text, errUnspecified}
}

// remote is an error of another node: its text, and what it is.
type remote struct {
	text string
	is   error
}

func (e remote) Error() string { return e.text }
func (e remote) Unwrap() error { return e.is }

// PartialError says which shards did not answer. It wraps ErrPartial and ErrUnavailable, and the search that failed holds what the
// others said.
type PartialError struct {
	Missing []Missing
	Answer  *SearchAnswer // of the shards that answered; nil where the request was no search
}

// Missing is a shard that did not answer, and why.
type Missing struct {
	Shard uint32
	Err   error
}

func (e *PartialError) Error() string {
	text := "no answer from "
	for i, m := range e.Missing {
		if i > 0 {
			text += "; "
		}
		text += fmt.Sprintf("shard %d (%v)", m.Shard, m.Err)
	}
	return text
}

func (e *PartialError) Unwrap() []error { return []error{ErrPartial, ErrUnavailable} }
