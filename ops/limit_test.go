package ops

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"ostraca/api"
	"ostraca/shard"
)

// streaming is a stream without a network.
type streaming struct {
	grpc.ServerStream
	ctx context.Context
}

func (s streaming) Context() context.Context { return s.ctx }
func (streaming) RecvMsg(any) error          { return nil }

// TestStreams: streams have a share of the places, whichever door they came in by, and leave the rest to others.
func TestStreams(t *testing.T) {
	l := NewLimit(2*StreamShare, "--most")
	gateway := peer.NewContext(t.Context(), &peer.Peer{Addr: pipe{}})
	call := func(ctx context.Context, method string, within func() error) error {
		return l.Stream(nil, streaming{ctx: ctx}, &grpc.StreamServerInfo{FullMethod: method}, func(_ any, s grpc.ServerStream) error {
			if err := s.RecvMsg(nil); err != nil { // its request has come
				return err
			}
			return within()
		})
	}
	const export = "/ostraca.v1.Memory/Export"
	err := call(t.Context(), export, func() error {
		return call(gateway, export, func() error {
			if n := l.now.Load(); n != 1 {
				t.Errorf("%d requests, the gateway's has its place already", n)
			}
			if err := call(t.Context(), "/grpc.health.v1.Health/Watch", func() error { return nil }); err != nil {
				t.Error(err)
			}
			if _, err := l.Unary(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: "/ostraca.v1.Memory/Get"}, func(context.Context, any) (any, error) { return nil, nil }); err != nil {
				t.Error(err)
			}
			return call(gateway, export, func() error { return nil })
		})
	})
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "2 streams are under way, the limit: try again in a while, with fewer at once, or raise --most") {
		t.Error(err)
	}
	if err := call(t.Context(), export, func() error { return nil }); err != nil || l.now.Load() != 0 || l.streams.Load() != 0 {
		t.Error(err, l.now.Load(), l.streams.Load())
	}
}

type pipe struct{}

func (pipe) Network() string { return "bufconn" }
func (pipe) String() string  { return "bufconn" }

// endless is a service whose export has no end.
type endless struct {
	api.UnimplementedMemoryServer
	ended chan error
}

func (e endless) Export(_ *api.ExportRequest, to grpc.ServerStreamingServer[api.Document]) error {
	d := &api.Document{Text: strings.Repeat("x", 1<<16)}
	for {
		if err := to.Send(d); err != nil {
			e.ended <- err
			return err
		}
	}
}

// blocking tells when a message that its reader does not take is given up.
type blocking struct {
	grpc.ServerStream
	gone chan error
}

func (b blocking) SendMsg(m any) error {
	err := b.ServerStream.SendMsg(m)
	if err != nil {
		b.gone <- err
	}
	return err
}

// TestMoving: a stream whose reader takes nothing ends, and leaves its place and nothing behind.
func TestMoving(t *testing.T) {
	l, e, gone := NewLimit(1, "--most"), endless{ended: make(chan error, 1)}, make(chan error, 1)
	l.progress = 20 * time.Millisecond
	s := grpc.NewServer(grpc.ChainStreamInterceptor(func(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		return handler(server, blocking{stream, gone})
	}, l.Stream))
	defer s.Stop()
	api.RegisterMemoryServer(s, e)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(listener)
	c, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	export, err := api.NewMemoryClient(c).Export(t.Context(), &api.ExportRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-e.ended; status.Code(err) != codes.DeadlineExceeded || !strings.Contains(err.Error(), "took nothing for 20ms") {
		t.Error(err)
	}
	if err := <-gone; err == nil {
		t.Error("the message was sent")
	}
	for err == nil { // what had been sent, and then why it ended
		_, err = export.Recv()
	}
	if _, reason := shard.Reason(err); reason != "DEADLINE_EXCEEDED" {
		t.Error(err)
	}
}

// TestCaller: over HTTP the address is the gateway's word, not the client's.
func TestCaller(t *testing.T) {
	for said, want := range map[string]string{
		"127.0.0.1": "127.0.0.1", "8.8.8.8, 127.0.0.1": "127.0.0.1", strings.Repeat("1.1.1.1, ", 2000) + "::1": "::1", strings.Repeat("x", 20_000): strings.Repeat("x", maxPeer), "": "",
	} {
		ctx := metadata.NewIncomingContext(peer.NewContext(t.Context(), &peer.Peer{Addr: pipe{}}), metadata.Pairs("x-forwarded-for", said))
		if got := caller(ctx); got != want {
			t.Errorf("%.60q: %q, not %q", said, got, want)
		}
	}
}

// TestGiven: what failed because its caller gave up is told as that.
func TestGiven(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	failed := shard.Public(shard.ErrUnavailable)
	if err := given(ctx, failed); err != failed {
		t.Error(err)
	}
	cancel()
	if c, reason := shard.Reason(given(ctx, failed)); c != codes.Canceled || reason != "CANCELLED" {
		t.Error(c, reason)
	}
	if err := given(ctx, nil); err != nil {
		t.Error(err)
	}
	late, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	if err := given(late, failed); !errors.Is(err, failed) {
		t.Error(err)
	}
}
