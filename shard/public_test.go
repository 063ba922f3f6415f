package shard_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"ostraca/consensus"
	"ostraca/retrieval"
	"ostraca/shard"
	"ostraca/storage"
)

// TestErrorsPublic: every kind of error has a code of gRPC and a reason of its own, and clients get it back.
func TestErrorsPublic(t *testing.T) {
	for _, c := range []struct {
		err    error
		code   codes.Code
		reason string
	}{
		{shard.ErrUnknown, codes.Unknown, "OUTCOME_UNKNOWN"}, {shard.ErrUnavailable, codes.Unavailable, "UNAVAILABLE"},
		{shard.ErrExists, codes.AlreadyExists, "ALREADY_EXISTS"}, {shard.ErrChanged, codes.Aborted, "VERSION_DIFFERS"},
		{shard.ErrRetry, codes.Aborted, "EPOCH_CHANGED"}, {shard.ErrExpired, codes.FailedPrecondition, "OPERATION_EXPIRED"},
		{shard.ErrExhausted, codes.ResourceExhausted, "EXHAUSTED"}, {shard.ErrMoved, codes.Aborted, "STATE_MOVED"},
		{shard.ErrWrongShard, codes.Unavailable, "WRONG_SHARD"}, {shard.ErrPartial, codes.Unavailable, "SHARDS_MISSING"},
		{shard.ErrGeneration, codes.FailedPrecondition, "GENERATION_CHANGED"}, {shard.ErrNotLeader, codes.Unavailable, "NOT_LEADER"},
		{retrieval.ErrInvalid, codes.InvalidArgument, "INVALID"}, {retrieval.ErrTooLarge, codes.InvalidArgument, "OVER_LIMIT"},
		{retrieval.ErrNotFound, codes.NotFound, "NOT_FOUND"}, {retrieval.ErrCorrupt, codes.DataLoss, "CORRUPT"},
		{context.DeadlineExceeded, codes.DeadlineExceeded, "DEADLINE_EXCEEDED"}, {context.Canceled, codes.Canceled, "CANCELLED"},
	} {
		err := fmt.Errorf("outside: %w", fmt.Errorf("inside: %w", c.err))
		for name, err := range map[string]error{"here": err, "of another node": shard.CrossCall(err), "of a result": shard.CrossResult(err)} {
			public := shard.Public(err)
			if code, reason := shard.Reason(err); code != c.code || reason != c.reason || status.Code(public) != c.code {
				t.Errorf("%s, %s: %v, %s, and %v", err, name, code, reason, public)
			}
			if code, reason := shard.Reason(public); code != c.code || reason != c.reason || shard.Public(public).Error() != public.Error() {
				t.Errorf("%s, %s: of its status %v, %s", err, name, code, reason)
			}
			back := shard.FromPublic(public)
			if !errors.Is(back, c.err) || back.Error() != err.Error() {
				t.Errorf("%s, %s: became %v", err, name, back)
			}
			if unknown := errors.Is(back, shard.ErrUnknown); unknown != (c.err == shard.ErrUnknown) {
				t.Errorf("%s, %s: may it have been done? %v", err, name, unknown)
			}
		}
	}
	for _, err := range []error{storage.ErrFull, storage.ErrCorrupt, storage.ErrClosed, consensus.ErrNotLeader, consensus.ErrNoQuorum, consensus.ErrUnknownOutcome,
		consensus.ErrClosed, errors.New("other"), shard.CrossCall(errors.New("other")), status.Error(40, "other"), status.Error(codes.OK+23, "other")} {
		if code := status.Code(shard.Public(err)); code == codes.OK || code > codes.Unauthenticated {
			t.Errorf("%v has code %d", err, code)
		}
	}
	if code, reason := shard.Reason(nil); code != codes.OK || reason != "" || shard.Public(nil) != nil || shard.FromPublic(nil) != nil {
		t.Errorf("nothing is %v, %q", code, reason)
	}
	doubt := fmt.Errorf("%w: %w", context.DeadlineExceeded, shard.ErrUnknown)
	if code, _ := shard.Reason(doubt); code != codes.Unknown {
		t.Errorf("a write in doubt is %v", code)
	}
}

// TestErrorsPartial: clients hear which shards are missing, and why.
func TestErrorsPartial(t *testing.T) {
	partial := &shard.PartialError{Missing: []shard.Missing{{Shard: 3, Err: fmt.Errorf("deep: %w", shard.ErrMoved)}, {Shard: 10, Err: errors.New("?")}, {Shard: 11, Err: context.DeadlineExceeded}}}
	err := fmt.Errorf("search: %w", partial)
	back := shard.FromPublic(shard.Public(err))
	var got *shard.PartialError
	if !errors.As(back, &got) || !errors.Is(back, shard.ErrPartial) || !errors.Is(back, shard.ErrUnavailable) || back.Error() != err.Error() {
		t.Fatal(back)
	}
	if len(got.Missing) != 3 || got.Missing[0].Shard != 3 || got.Missing[1].Shard != 10 || !errors.Is(got.Missing[0].Err, shard.ErrMoved) || !errors.Is(got.Missing[2].Err, context.DeadlineExceeded) {
		t.Errorf("%v", got)
	}
	for i := range 4000 {
		partial.Missing = append(partial.Missing, shard.Missing{Shard: uint32(100 + i), Err: errors.New("bad \xff")})
	}
	s, _ := status.FromError(shard.Public(err))
	if n := proto.Size(s.Proto()); n > 12<<10 || !errors.As(shard.FromPublic(s.Err()), &got) || len(got.Missing) != 64 {
		t.Errorf("%d bytes, %d shards", n, len(got.Missing))
	}
}

// TestErrorsOfTheWay: where a call broke on its way, a writer hears that it may have been done, and a reader what it was.
func TestErrorsOfTheWay(t *testing.T) {
	for code, kind := range map[codes.Code]error{codes.Unavailable: shard.ErrUnavailable, codes.DeadlineExceeded: context.DeadlineExceeded, codes.Canceled: context.Canceled, codes.Unknown: nil, codes.Internal: nil} {
		err := shard.FromPublic(status.Error(code, "text"))
		if !errors.Is(err, shard.ErrUnknown) || kind != nil && !errors.Is(err, kind) || err.Error() != "text" {
			t.Errorf("%v became %v", code, err)
		}
	}
	for code, kind := range map[codes.Code]error{codes.InvalidArgument: retrieval.ErrInvalid, codes.NotFound: retrieval.ErrNotFound, codes.ResourceExhausted: shard.ErrExhausted} {
		if err := shard.FromPublic(status.Error(code, "text")); !errors.Is(err, kind) || errors.Is(err, shard.ErrUnknown) {
			t.Errorf("%v became %v", code, err)
		}
	}
	for _, code := range []codes.Code{codes.Unimplemented, codes.PermissionDenied, codes.Unauthenticated, codes.Aborted, codes.FailedPrecondition, codes.OutOfRange} {
		err := status.Error(code, "text")
		got, reason := shard.Reason(err)
		if shard.FromPublic(err) != err || got != code || reason != strings.ToUpper(reason) || status.Code(shard.Public(err)) != code {
			t.Errorf("%v became %v, %v, %s", code, shard.FromPublic(err), got, reason)
		}
	}
}
