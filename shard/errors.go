package shard

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
	errRows        = errors.New("rows of another release")    // whose format this one does not read
	errHalted      = errors.New("replica has halted")         // its state file or log cannot be trusted
	errUnspecified = errors.New("failure of an unknown kind") // from a node of another release
)

// kinds maps errors to gRPC codes and reasons, and back: here and nowhere else. Of several that match the first counts. Codes between nodes
// go on from 17 with our own, for nodes of one release speak to each other; public codes are gRPC's, and a reason keeps its meaning for
// ever. No write that may have been done has a public code that clients take for "try again".
var kinds = []kind{
	{ErrUnknown, codes.Aborted, codes.Unknown, "OUTCOME_UNKNOWN"},
	{ErrMoved, codes.DataLoss + 1, codes.Aborted, "STATE_MOVED"},
	{ErrWrongShard, codes.DataLoss + 3, codes.Unavailable, "WRONG_SHARD"},
	{ErrGeneration, codes.DataLoss + 4, codes.FailedPrecondition, "GENERATION_CHANGED"},
	{ErrNotLeader, codes.DataLoss + 5, codes.Unavailable, "NOT_LEADER"},
	{ErrRetry, codes.DataLoss + 6, codes.Aborted, "EPOCH_CHANGED"},
	{ErrPartial, codes.DataLoss + 8, codes.Unavailable, "SHARDS_MISSING"},
	{ErrUnavailable, codes.DataLoss + 7, codes.Unavailable, "UNAVAILABLE"}, // a node's word that nothing was done; gRPC's own is of the way there, see broken
	{ErrExpired, codes.OutOfRange, codes.FailedPrecondition, "OPERATION_EXPIRED"},
	{ErrExists, codes.AlreadyExists, codes.AlreadyExists, "ALREADY_EXISTS"},
	{ErrChanged, codes.FailedPrecondition, codes.Aborted, "VERSION_DIFFERS"},
	{ErrExhausted, codes.ResourceExhausted, codes.ResourceExhausted, "EXHAUSTED"},
	{storage.ErrFull, codes.ResourceExhausted, codes.ResourceExhausted, "EXHAUSTED"},
	{retrieval.ErrTooLarge, codes.DataLoss + 2, codes.InvalidArgument, "OVER_LIMIT"},
	{retrieval.ErrInvalid, codes.InvalidArgument, codes.InvalidArgument, "INVALID"},
	{retrieval.ErrNotFound, codes.NotFound, codes.NotFound, "NOT_FOUND"},
	{retrieval.ErrCorrupt, codes.DataLoss, codes.DataLoss, "CORRUPT"},
	{storage.ErrCorrupt, codes.DataLoss, codes.DataLoss, "CORRUPT"},
	{context.DeadlineExceeded, codes.DeadlineExceeded, codes.DeadlineExceeded, "DEADLINE_EXCEEDED"},
	{context.Canceled, codes.Canceled, codes.Canceled, "CANCELLED"},
	{consensus.ErrNotLeader, codes.DataLoss + 5, codes.Unavailable, "NOT_LEADER"},
	{consensus.ErrUnknownOutcome, codes.Aborted, codes.Unknown, "OUTCOME_UNKNOWN"},
	{ErrUnavailable, codes.Unavailable, codes.Unavailable, "UNAVAILABLE"},
	{consensus.ErrNoQuorum, codes.Unavailable, codes.Unavailable, "UNAVAILABLE"},
	{consensus.ErrClosed, codes.Unavailable, codes.Unavailable, "UNAVAILABLE"},
	{storage.ErrClosed, codes.Unavailable, codes.Unavailable, "UNAVAILABLE"},
	{errHalted, codes.Unavailable, codes.Unavailable, "UNAVAILABLE"},
	{errUnspecified, codes.Internal, codes.Internal, "INTERNAL"}, // and whatever is not here
}

// kind is one kind of error: its code between nodes, and what the public sees.
type kind struct {
	err          error
	code, public codes.Code
	reason       string
}

// kindOf returns the kind of an error, the last if it is of none.
func kindOf(err error) kind {
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return k
		}
	}
	return kinds[len(kinds)-1]
}

// codeOf returns the code of an error between nodes, OK of nil.
func codeOf(err error) codes.Code {
	if err == nil {
		return codes.OK
	}
	return kindOf(err).code
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
	if broken(status.Code(err)) {
		return fmt.Errorf("write: %w: %w", ErrUnknown, fromWire(err))
	}
	return fromWire(err)
}

// broken tells whether gRPC gives a code by itself when a call broke on its way: the far end may have done all or nothing.
func broken(code codes.Code) bool {
	return slices.Contains([]codes.Code{codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Unknown, codes.Internal}, code)
}

// failure is the error of a code and its text.
func failure(code codes.Code, text string) error {
	if code == codes.OK {
		return nil
	}
	for _, k := range kinds {
		if k.code == code {
			return remote{text, k.err}
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
