package ops

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	"ostraca/shard"
)

const (
	// StreamShare of the requests under way may be streams, and one always: a stream lasts as long as its reader likes.
	StreamShare = 4 // the fourth part
	// ProgressTime is how long a stream waits for a reader that takes nothing, before it ends.
	ProgressTime = 30 * time.Second
)

// Limit bounds how many requests of a router are under way, each counted at the door where it came in, and how many of them are streams. One more is
// refused, with the advice to wait: a queue would only hide it.
type Limit struct {
	flag         string // that raises it
	most         int64
	now, streams atomic.Int64
	refused      atomic.Uint64
	progress     time.Duration
}

// NewLimit returns a limit, and names the flag that raises it. Health and reflection are always answered.
func NewLimit(most int, flag string) *Limit {
	return &Limit{flag: flag, most: int64(most), progress: ProgressTime}
}

// enter takes a place, which leave gives back.
func (l *Limit) enter() error { return l.take(&l.now, l.most, "requests") }

func (l *Limit) leave() { l.now.Add(-1) }

func (l *Limit) take(now *atomic.Int64, most int64, what string) error {
	if now.Add(1) <= most {
		return nil
	}
	now.Add(-1)
	l.refused.Add(1)
	return shard.Public(fmt.Errorf("%d %s are under way, the limit: try again in a while, with fewer at once, or raise %s: %w", most, what, l.flag, shard.ErrExhausted))
}

// free tells whether a gRPC request needs no place: health and reflection, and what has one from the HTTP door.
func free(ctx context.Context, method string) bool {
	p, ok := peer.FromContext(ctx)
	return strings.HasPrefix(method, "/grpc.") || ok && inProcess(p)
}

// Unary is the interceptor of unary methods.
func (l *Limit) Unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if !free(ctx, info.FullMethod) {
		if err := l.enter(); err != nil {
			return nil, err
		}
		defer l.leave()
	}
	return handler(ctx, request)
}

// Stream is the interceptor of streaming methods. A stream takes its place when its request has come, as others do.
func (l *Limit) Stream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if strings.HasPrefix(info.FullMethod, "/grpc.") {
		return handler(server, stream)
	}
	m := &moving{ServerStream: stream, limit: l, free: free(stream.Context(), info.FullMethod)}
	defer m.leave()
	return handler(server, m)
}

// moving is a stream that ends when its reader takes nothing: the handler gets an error, and when it has returned gRPC gives the message up.
type moving struct {
	grpc.ServerStream
	limit        *Limit
	free, placed bool // it needs no place among all requests; it has what it needs
}

// enter takes a place among the streams, and one among all requests.
func (m *moving) enter() error {
	if err := m.limit.take(&m.limit.streams, max(m.limit.most/StreamShare, 1), "streams"); err != nil {
		return err
	}
	if !m.free {
		if err := m.limit.enter(); err != nil {
			m.limit.streams.Add(-1)
			return err
		}
	}
	m.placed = true
	return nil
}

func (m *moving) leave() {
	if !m.placed {
		return
	}
	m.limit.streams.Add(-1)
	if !m.free {
		m.limit.leave()
	}
}

func (m *moving) RecvMsg(message any) error {
	err := m.ServerStream.RecvMsg(message)
	if err == nil && !m.placed {
		err = m.enter()
	}
	return err
}

func (m *moving) SendMsg(message any) error {
	sent := make(chan error, 1)
	go func() { sent <- m.ServerStream.SendMsg(message) }()
	late := time.NewTimer(m.limit.progress)
	defer late.Stop()
	select {
	case err := <-sent:
		return err
	case <-late.C:
		return shard.Public(fmt.Errorf("the reader of the stream took nothing for %v, the limit: go on after the last document that came: %w", m.limit.progress, context.DeadlineExceeded))
	}
}

// HTTP is the door of a JSON gateway: behind what reads bodies, since one that does not come would keep its place.
func (l *Limit) HTTP(gateway http.Handler, refuse func(http.ResponseWriter, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if err := l.enter(); err != nil {
			refuse(w, err)
			return
		}
		defer l.leave()
		gateway.ServeHTTP(w, q)
	})
}
