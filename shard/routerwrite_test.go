package shard

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"ostraca/api/nodeapi"
	"ostraca/retrieval"
)

// scripted returns a router whose node "a" does not run: each of its answers is the next try of a script, an error of the call or a
// *nodeapi.WriteResponse.
func scripted(t *testing.T, tries *[]any) *Router {
	t.Helper()
	next := func(_ context.Context, method string, _, reply any, _ *grpc.ClientConn, _ grpc.UnaryInvoker, _ ...grpc.CallOption) error {
		if method != nodeapi.Node_Write_FullMethodName || len(*tries) == 0 {
			return fmt.Errorf("%s is not in the script", method)
		}
		try := (*tries)[0]
		*tries = (*tries)[1:]
		if a, ok := try.(*nodeapi.WriteResponse); ok {
			reply.(*nodeapi.WriteResponse).Results = a.GetResults()
			return nil
		}
		return try.(error)
	}
	c, err := grpc.NewClient("passthrough:///nowhere", grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUnaryInterceptor(next))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &Router{options: RouterOptions{Link: &Link{conns: map[string]*grpc.ClientConn{"a": c}}}}
}

func told(results ...Result) *nodeapi.WriteResponse {
	out := &nodeapi.WriteResponse{}
	for _, r := range results {
		out.Results = append(out.Results, toResult(r))
	}
	return out
}

// TestDoubtStays: once a try may have taken effect, no later one that was refused tells that nothing was changed; only an outcome does.
func TestDoubtStays(t *testing.T) {
	cut := status.Error(codes.Unavailable, "the connection broke") // gRPC's own: on the way there, or back
	refused := toWire(fmt.Errorf("no leader: %w", ErrUnavailable)) // a node's word
	for name, c := range map[string]struct {
		tries   []any
		unknown bool
		is      error // nil: none at all
	}{
		"refused":                {[]any{refused}, false, ErrUnavailable},
		"refused twice":          {[]any{refused, toWire(ErrNotLeader)}, false, ErrNotLeader},
		"cut":                    {[]any{cut}, true, ErrUnavailable},
		"cut, refused":           {[]any{cut, refused}, true, ErrUnavailable},
		"cut, refused by result": {[]any{cut, told(Result{Err: fmt.Errorf("full: %w", ErrExhausted)})}, true, ErrExhausted},
		"cut, refused twice":     {[]any{cut, refused, toWire(ErrNotLeader)}, true, ErrNotLeader},
		"unknown by result":      {[]any{told(Result{Err: ErrUnknown}), refused}, true, ErrUnavailable},
		"refused, cut, refused":  {[]any{refused, cut, refused}, true, ErrUnavailable},
		"too few results":        {[]any{told(), refused}, true, ErrUnavailable},
		"cut, done":              {[]any{cut, told(Result{Outcome: Outcome{Version: 7}})}, false, nil},
		"cut, refused, done":     {[]any{cut, refused, told(Result{Outcome: Outcome{Version: 7}})}, false, nil},
		"cut, an outcome, no":    {[]any{cut, told(Result{Outcome: Outcome{Code: Exists}})}, false, nil},
		"cut, done, refused":     {[]any{cut, told(Result{}), refused}, false, ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			tries := c.tries
			r := scripted(t, &tries)
			todo := []placed{{Operation: Operation{ID: NewOperationID(1, 1), Collection: "papers", Body: &Forget{IDs: []string{"x"}}}}}
			results := make([]Result, 1)
			for range c.tries {
				r.writeOnce(t.Context(), "a", 0, time.Minute, todo, []int{0}, results)
			}
			err := results[0].Err
			if len(tries) > 0 || errors.Is(err, ErrUnknown) != c.unknown || (err == nil) != (c.is == nil) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%d tries are left; the writer is told %v, wanted unknown %v and %v", len(tries), err, c.unknown, c.is)
			}
		})
	}
}

// TestWithOneForget: a forget that took effect in some shards and failed in others is neither done nor undone.
func TestWithOneForget(t *testing.T) {
	done := func(shard uint32, count uint64) Result {
		return Result{Outcome: Outcome{Count: count}, Receipts: []Receipt{{Shard: shard, Index: 10 + uint64(shard)}}}
	}
	outcome := func(code Code) Result {
		return Result{Outcome: Outcome{Code: code}, Receipts: []Receipt{{Shard: 1, Index: 11}}}
	}
	failed := func(err error) Result { return Result{Err: fmt.Errorf("shard 1: %w", err)} }
	for name, c := range map[string]struct {
		a, b     Result
		unknown  bool
		is       error
		count    uint64
		receipts int
	}{
		"both":             {done(0, 2), done(1, 3), false, nil, 5, 2},
		"one, unavailable": {done(0, 2), failed(ErrUnavailable), true, ErrUnavailable, 2, 1},
		"one, full":        {done(0, 2), failed(ErrExhausted), true, ErrExhausted, 2, 1},
		"one, expired":     {done(0, 2), outcome(Expired), true, ErrExpired, 2, 2},
		"one, gone":        {done(0, 2), outcome(NotFound), true, retrieval.ErrNotFound, 2, 2},
		"one, unknown":     {done(0, 2), failed(ErrUnknown), true, ErrUnknown, 2, 1},
		"neither":          {Result{Err: ErrUnavailable}, failed(ErrUnavailable), false, ErrUnavailable, 0, 0},
		"both expired":     {outcome(Expired), outcome(Expired), false, ErrExpired, 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			for order, r := range []Result{c.a.with(c.b), c.b.with(c.a)} {
				err := r.Failure()
				if errors.Is(err, ErrUnknown) != c.unknown || (err == nil) != (c.is == nil) || c.is != nil && !errors.Is(err, c.is) {
					t.Errorf("order %d: %v, wanted unknown %v and %v", order, err, c.unknown, c.is)
				}
				if r.Count != c.count || len(r.Receipts) != c.receipts {
					t.Errorf("order %d: %d forgotten, receipts %v, wanted %d and %d", order, r.Count, r.Receipts, c.count, c.receipts)
				}
			}
		})
	}
	three := done(0, 2).with(failed(ErrUnavailable)).with(done(2, 4)) // as Write joins them: the doubt stays
	if !errors.Is(three.Failure(), ErrUnknown) || three.Count != 6 || len(three.Receipts) != 2 || three.Receipts[1].Shard != 2 {
		t.Errorf("%v: %+v", three.Failure(), three)
	}
}
