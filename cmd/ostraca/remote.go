package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"ostraca/api"
	"ostraca/retrieval"
	"ostraca/shard"
)

// This file is the one connection that all verbs of a live cluster use.

// defaultRouter is where a router serves gRPC unless it was told otherwise.
const defaultRouter = "127.0.0.1:7600"

// routerVariable is the one variable of the environment that is read: where verbs find a router if --router is not given.
const routerVariable = "OSTRACA_ROUTER"

const (
	dialPatience   = 3 * time.Second // for one attempt to reach the router
	helloPatience  = 5 * time.Second // for its first answer
	firstWait      = 100 * time.Millisecond
	longestWait    = 2 * time.Second // between two attempts
	complainPeriod = 10 * time.Second
)

// target is the flags that say which cluster is asked, and what in it.
type target struct {
	router     string
	collection string
	read       string
	timeout    time.Duration
}

func (o *target) register(f *pflag.FlagSet) {
	o.registerRouter(f, cmp.Or(os.Getenv(routerVariable), defaultRouter), "gRPC address of a router of the cluster, host:port; "+routerVariable+" in the environment is the default")
}

func (o *target) registerRouter(f *pflag.FlagSet, address, what string) {
	f.StringVar(&o.router, "router", address, what)
	f.DurationVar(&o.timeout, "timeout", time.Minute, "give up when the cluster has got nothing done for this long")
}

func (o *target) registerCollection(f *pflag.FlagSet) {
	f.StringVarP(&o.collection, "collection", "c", "", "collection of the cluster")
}

func (o *target) registerRead(f *pflag.FlagSet) {
	f.StringVar(&o.read, "read", "", "how fresh: linearizable, bounded:500ms (any duration) or local (default linearizable)")
}

// needsCollection tells that --collection is empty.
func (o *target) needsCollection() error {
	if o.collection == "" {
		return fmt.Errorf("--collection is empty, name one (ostraca collection list tells which there are): %w", retrieval.ErrInvalid)
	}
	return nil
}

// remote is a live cluster, asked through one of its routers. Errors of its methods wrap those of the packages shard and retrieval.
type remote struct {
	api.MemoryClient
	app     *app
	conn    *grpc.ClientConn
	address string
	timeout time.Duration

	mu         sync.Mutex
	progressed time.Time // when the cluster last did something that had failed before, or anything at all
	complained time.Time
}

// connect reaches the router, or says within seconds that it cannot.
func (a *app) connect(ctx context.Context, o target) (*remote, error) {
	if _, _, err := net.SplitHostPort(o.router); err != nil {
		return nil, fmt.Errorf("--router is %q, it must be host:port: %w", o.router, retrieval.ErrInvalid)
	}
	if o.timeout <= 0 {
		return nil, fmt.Errorf("--timeout is %s, it must be more than 0: %w", o.timeout, retrieval.ErrInvalid)
	}
	r := &remote{app: a, address: o.router, timeout: o.timeout}
	conn, err := grpc.NewClient("dns:///"+o.router,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(),
		grpc.WithStaticStreamWindowSize(shard.WindowBytes), grpc.WithStaticConnWindowSize(shard.WindowBytes),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: dialPatience, Backoff: backoff.Config{BaseDelay: firstWait, Multiplier: 2, MaxDelay: longestWait}}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(api.MaxMessageBytes), grpc.MaxCallSendMsgSize(api.MaxMessageBytes)),
		grpc.WithUnaryInterceptor(r.unary))
	if err != nil {
		return nil, fmt.Errorf("--router %s: %w", o.router, err)
	}
	r.conn, r.MemoryClient = conn, api.NewMemoryClient(conn)
	if err := r.hello(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return r, nil
}

func (r *remote) close() { _ = r.conn.Close() } // there is nothing to lose in it

// hello asks for the router's health: not for what it says, but to know that it is one.
func (r *remote) hello(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, helloPatience)
	defer cancel()
	_, err := healthpb.NewHealthClient(r.conn).Check(ctx, &healthpb.HealthCheckRequest{})
	switch {
	case status.Code(err) == codes.Unimplemented:
		return fmt.Errorf("%s is not the gRPC address of a router: --router takes what ostraca router --grpc serves: %w", r.address, retrieval.ErrInvalid)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s takes connections and answers nothing: is it the gRPC address of a router, and is the router well? %w", r.address, err)
	}
	return err
}

// unary gives every call an end, and turns its failure into what it stands for.
func (r *remote) unary(ctx context.Context, method string, in, out any, conn *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	end := time.Now().Add(r.timeout)
	if e, ok := ctx.Deadline(); ok && e.Before(end) {
		end = e
	}
	within, cancel := context.WithDeadline(ctx, end.Add(lastWords))
	defer cancel()
	err := r.told(ctx, call(lenient{within, end}, method, in, out, conn, opts...))
	if s := (*silence)(nil); errors.As(err, &s) {
		s.write = slices.Contains(writes, method)
	}
	return err
}

// lastWords is how long a call waits beyond its deadline, so that the reason is heard which the router gives at it.
const lastWords = time.Second

// lenient is a context that tells the router another end than its own.
type lenient struct {
	context.Context
	end time.Time
}

func (c lenient) Deadline() (time.Time, bool) { return c.end, true }

// writes are the calls that may have taken effect although no answer came.
var writes = []string{api.Memory_Put_FullMethodName, api.Memory_Patch_FullMethodName, api.Memory_Forget_FullMethodName,
	api.Memory_CreateCollection_FullMethodName, api.Memory_ChangeCollection_FullMethodName, api.Memory_DropCollection_FullMethodName}

// silence is a call that ended without a word of the cluster. It wraps context.DeadlineExceeded.
type silence struct {
	address string
	timeout time.Duration
	write   bool
}

func (s *silence) Error() string {
	text := fmt.Sprintf("%s gave no answer within %s (--timeout)", s.address, s.timeout)
	if s.write {
		text += ": whether it was done is unknown, the same command can be repeated"
	}
	return text
}

func (s *silence) Unwrap() error { return context.DeadlineExceeded }

// told is an error of a call as a person reads it: what it stands for, and of a router out of reach its address and what to do.
func (r *remote) told(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	s := status.Convert(err)
	public := shard.FromPublic(err)
	switch {
	case s.Code() == codes.Unavailable && len(s.Details()) == 0: // not the router's word, but gRPC's own
		return fmt.Errorf("no router answers at %s: start one (ostraca router --help) or name another with --router (%w)", r.address, public)
	case s.Code() == codes.DeadlineExceeded && len(s.Details()) == 0:
		return &silence{address: r.address, timeout: r.timeout}
	case s.Code() == codes.Canceled && len(s.Details()) == 0: // not by us
		return fmt.Errorf("%s broke the call off: is the router being stopped? %w", r.address, shard.ErrUnknown)
	case errors.Is(public, retrieval.ErrNotFound): // no document: a get says those in its answer
		return fmt.Errorf("%w (ostraca collection list tells which there are)", public)
	}
	return public
}

// outcomeError is why one document of several was not written.
func outcomeError(e *api.Error) error {
	if e == nil {
		return nil
	}
	return shard.FromReason(e.Code, e.Reason, e.Message)
}

// transient reports a failure of the cluster, not of what was asked: the same again may do.
func transient(err error) bool {
	for _, is := range []error{shard.ErrUnavailable, shard.ErrUnknown, shard.ErrRetry, shard.ErrExhausted, context.DeadlineExceeded} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}

// persist repeats a step for as long as the cluster cannot do it, until nothing at all has been done for the timeout. The step must be
// safe to repeat.
func (r *remote) persist(ctx context.Context, step func(context.Context) error) error {
	start := time.Now()
	var last error // that the cluster gave
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		err := step(ctx)
		if err == nil {
			r.moved()
			return nil
		}
		if !transient(err) || ctx.Err() != nil {
			return err
		}
		r.mu.Lock()
		since := r.progressed
		r.mu.Unlock()
		if since.Before(start) {
			since = start
		}
		if time.Since(since) >= r.timeout {
			return gaveUp(err, last, r.timeout)
		}
		if s := (*silence)(nil); !errors.As(err, &s) {
			last = err
		}
		r.complain(err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// gaveUp is the end of persist: with the last reason that the cluster gave, if the last attempt had none.
func gaveUp(err, last error, timeout time.Duration) error {
	s := (*silence)(nil)
	switch silent := errors.As(err, &s); {
	case silent && last != nil:
		return fmt.Errorf("%w; the last reason that it gave: %w", err, last)
	case silent:
		return err
	case errors.Is(err, shard.ErrUnknown):
		return fmt.Errorf("gave up after %s without progress (--timeout): %w: the same command can be repeated", timeout, err)
	}
	return fmt.Errorf("gave up after %s without progress (--timeout): %w", timeout, err)
}

// moved notes that the cluster has done something.
func (r *remote) moved() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.progressed = time.Now()
}

// complain says why nothing moves, now and then.
func (r *remote) complain(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.complained) < complainPeriod {
		return
	}
	r.complained = time.Now()
	if isTerminal(r.app.err) {
		fmt.Fprintln(r.app.err) // below the bar
	}
	fmt.Fprintf(r.app.err, "ostraca: trying again for up to %s: %v\n", r.timeout, err)
}

// find returns a collection, nil if there is none of this name.
func (r *remote) find(ctx context.Context, name string) (found *api.Collection, err error) {
	err = r.persist(ctx, func(ctx context.Context) error {
		all, err := r.ListCollections(ctx, &api.ListCollectionsRequest{})
		if err != nil {
			return err
		}
		for _, c := range all.Collections {
			if c.Name == name {
				found = c
			}
		}
		return nil
	})
	return found, err
}

// mustFind returns a collection that has to be there.
func (r *remote) mustFind(ctx context.Context, name string) (*api.Collection, error) {
	c, err := r.find(ctx, name)
	if err == nil && c == nil {
		err = fmt.Errorf("there is no collection %q (ostraca collection list tells which there are, ostraca collection create %s makes it): %w", name, name, retrieval.ErrNotFound)
	}
	return c, err
}

// operation draws the id under which a write is repeated until its outcome is known.
func (r *remote) operation(ctx context.Context) (id string, err error) {
	err = r.persist(ctx, func(ctx context.Context) error {
		o, err := r.NewOperation(ctx, &api.NewOperationRequest{})
		id = o.GetOperationId()
		return err
	})
	return id, err
}

// printMessage writes the one object of --json as HTTP would give it.
func (a *app) printMessage(m proto.Message) error {
	raw, err := protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return err
	}
	return a.printJSON(json.RawMessage(raw))
}
