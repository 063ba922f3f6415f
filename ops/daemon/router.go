package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/test/bufconn"

	"ostraca/api"
	"ostraca/consensus"
	"ostraca/ops"
	"ostraca/retrieval/encoder"
	"ostraca/shard"
	"ostraca/shard/endpoint"
)

// Of the gRPC server.
const (
	maxStreams  = 1024             // requests under way on one connection; further ones wait at the client
	connectTime = 10 * time.Second // of a connection to say hello
	pingEvery   = 30 * time.Second // of a silent connection, to find that the machine at its end is gone
	pingTime    = 10 * time.Second // for the answer
	pingLeast   = 5 * time.Second  // between pings of a client
	memoryBytes = 1 << 20          // of the pipe between the JSON gateway and the server
	placedEvery = 100 * time.Millisecond
)

// RouterCommand returns the command that runs a router until its context ends.
func RouterCommand(inside ops.Embedded) *cobra.Command {
	o := &routerOptions{}
	c := &cobra.Command{Use: "router", Short: "Run a router: it answers clients, over gRPC and HTTP",
		Long: "A router encodes texts, knows where every document is, and answers clients over gRPC and HTTP. It keeps nothing: run as many as you like.\n" +
			"It ends after SIGTERM or SIGINT: requests under way have --drain-timeout to end. A second signal ends it at once. docs/running.md shows how."}
	o.register(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := o.configure(c.ErrOrStderr(), o.check); err != nil {
			return err
		}
		ctx, cancel := o.until(c.Context(), c.InOrStdin())
		defer cancel()
		return o.run(ctx, inside)
	}
	return c
}

// run is the router's life.
func (o *routerOptions) run(ctx context.Context, inside ops.Embedded) (err error) {
	metrics := ops.NewMetrics("router", o.set.Name())
	w, err := openWeb(o.http, metrics.Registry, o.log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	public, err := net.Listen("tcp", o.grpc)
	if err != nil {
		return fmt.Errorf("--grpc: %w", err)
	}
	defer public.Close() // again after the server did: then it does nothing
	texts, projection, err := o.load(inside, metrics)
	if err != nil {
		return fmt.Errorf("--encoder %s: %w", o.encoder, err)
	}
	link, err := shard.OpenLink(shard.LinkOptions{Node: o.id, Boot: uint64(time.Now().UnixMilli()), Network: consensus.Wire{}, Listen: o.listen,
		Advertise: o.advertise, Seeds: o.join, Logger: o.log, Dial: metrics.Dial()})
	if err != nil {
		return err
	}
	defer func() {
		link.Leave()
		err = errors.Join(err, link.Close())
	}()
	r := shard.OpenRouter(shard.RouterOptions{Link: link, Encoder: texts, Projection: projection, Hedge: o.hedge, Timeout: o.timeout, Logger: o.log})
	defer r.Close()
	s, err := o.serve(r, texts, metrics, public, w)
	if err != nil {
		return err
	}
	w.is(func(ctx context.Context) ops.Readiness { return ops.RouterReadiness(ctx, r) })
	failed := o.listening(addresses{Listen: link.Address(), HTTP: w.address(), GRPC: public.Addr().String()})
	if failed == nil {
		failed = o.wait(ctx, w.failed, s.failed)
	}
	w.drains()
	var refuse http.Handler = http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		endpoint.WriteError(out, shard.Public(fmt.Errorf("the router is about to end: ask another one: %w", shard.ErrUnavailable)))
	})
	w.api.Store(&refuse)
	if !s.drain(o.drain) {
		o.log.Warn("not all requests have ended in time, the rest are cut")
	}
	return failed
}

// load loads the encoder, and the projection that ships with it; none is nil.
func (o *routerOptions) load(inside ops.Embedded, metrics *ops.Metrics) (shard.Encoder, encoder.Projection, error) {
	if o.encoder == noEncoder {
		return nil, encoder.Projection{}, nil
	}
	m, err := inside.Load(o.encoder, o.set)
	if err != nil {
		return nil, encoder.Projection{}, err
	}
	return metrics.Encoder(shard.TextEncoder{Encoder: m.Encoder, MaxTokens: o.maxTokens, QueryTokens: m.QueryLength(o.queryTokens), Threads: o.threads}), m.Projection, nil
}

// server is the gRPC side of a router.
type server struct {
	grpc   *grpc.Server
	health *health.Server
	memory *grpc.ClientConn // of the JSON gateway
	failed chan error       // at most one
	ended  context.CancelFunc
}

// serve answers clients over gRPC, and, on w, over HTTP.
func (o *routerOptions) serve(r *shard.Router, texts shard.Encoder, metrics *ops.Metrics, public net.Listener, w *web) (*server, error) {
	requests, limit := ops.Requests{Logger: o.log, Reason: shard.Reason}, ops.NewLimit(o.maxInFlight, "--max-requests")
	metrics.Router(r, limit)
	countUnary, countStream := metrics.Server()
	service := endpoint.New(endpoint.Options{Router: r, Encoder: texts, Name: o.id, Logger: o.log})
	s := &server{health: health.NewServer(), failed: make(chan error, 1)}
	s.grpc = grpc.NewServer(append([]grpc.ServerOption{
		grpc.ChainUnaryInterceptor(countUnary, requests.Unary, limit.Unary), grpc.ChainStreamInterceptor(countStream, requests.Stream, limit.Stream),
		grpc.MaxConcurrentStreams(maxStreams), grpc.ConnectionTimeout(connectTime),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingEvery, Timeout: pingTime}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingLeast, PermitWithoutStream: true}),
	}, service.ServerOptions()...)...)
	api.RegisterMemoryServer(s.grpc, service)
	healthpb.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	pipe := bufconn.Listen(memoryBytes)
	var err error
	if s.memory, err = grpc.NewClient("passthrough:///gateway", append(ops.Passes(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithIdleTimeout(0),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }))...); err != nil {
		return nil, err
	}
	gateway, err := endpoint.Handler(s.memory, func(h http.Handler) http.Handler { return limit.HTTP(h, endpoint.WriteError) })
	if err != nil {
		return nil, errors.Join(err, s.memory.Close())
	}
	gateway = requests.HTTP(timed(gateway))
	w.api.Store(&gateway)
	for _, l := range []net.Listener{public, pipe} {
		go func() {
			if err := s.grpc.Serve(l); err != nil {
				select {
				case s.failed <- fmt.Errorf("grpc: %w", err):
				default: // one is enough
				}
			}
		}()
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.ended = cancel
	go s.watch(ctx, r)
	return s, nil
}

// watch says that the service serves once the router knows the placement.
func (s *server) watch(ctx context.Context, r *shard.Router) {
	names := []string{"", api.Memory_ServiceDesc.ServiceName}
	for _, name := range names {
		s.health.SetServingStatus(name, healthpb.HealthCheckResponse_NOT_SERVING)
	}
	for t := time.NewTicker(placedEvery); ; {
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
		if ops.RouterPlaced(r) {
			for _, name := range names {
				s.health.SetServingStatus(name, healthpb.HealthCheckResponse_SERVING)
			}
			t.Stop()
			return
		}
	}
}

// drain takes no new requests and waits for those under way; it tells whether all have ended in time. The others are cut.
func (s *server) drain(most time.Duration) bool {
	s.ended()
	s.health.Shutdown()
	cut := time.AfterFunc(most, s.grpc.Stop)
	s.grpc.GracefulStop()
	_ = s.memory.Close() // its far end is gone
	return cut.Stop()
}
