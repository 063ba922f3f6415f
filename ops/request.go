package ops

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"path"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"ostraca/api"
)

const (
	// MaxRequestID bounds a caller's own, in bytes of printable ASCII; another one is replaced by one that is drawn.
	MaxRequestID = 64
	// Slow is the duration from which on a request that should be short is told at level warn.
	Slow = time.Second
	// maxPeer bounds the address of a caller in a line, in bytes.
	maxPeer = 64
	// maxShards bounds how many of a search's shards a line names.
	maxShards = 16
)

// short are the methods of routers and nodes that should take less than Slow. Others take as long as there is to write, encode or send.
var short = []string{"Search", "Get", "List", "Count", "Rerank", "ReadIndex", "Placement", "Write", "Check"}

// requestID returns the caller's own id if it may be logged, or draws one.
func requestID(own string) string {
	if own != "" && len(own) <= MaxRequestID && strings.IndexFunc(own, func(r rune) bool { return r <= ' ' || r > '~' }) < 0 {
		return own
	}
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// Requests gives every gRPC request of a server an id, and its line in the log. Of a request it tells the method and the collection, never what
// was asked or written.
type Requests struct {
	Logger *slog.Logger
	Reason func(error) (codes.Code, string) // of what the server answers: shard.Reason or shard.NodeReason
}

// Unary is the interceptor of unary methods.
func (r Requests) Unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	ctx, id := identify(ctx)
	_ = grpc.SetHeader(ctx, metadata.Pairs(api.RequestIDKey, id)) // it fails where headers are sent already: they are not
	start := time.Now()
	answer, err := handler(ctx, request)
	err = given(ctx, err)
	r.tell(ctx, info.FullMethod, id, request, start, err)
	return answer, err
}

// Stream is the interceptor of streaming methods.
func (r Requests) Stream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx, id := identify(stream.Context())
	_ = stream.SetHeader(metadata.Pairs(api.RequestIDKey, id))
	s := &identified{ServerStream: stream, ctx: ctx}
	start := time.Now()
	err := given(ctx, handler(server, s))
	r.tell(ctx, info.FullMethod, id, s.first, start, err)
	return err
}

// given makes the error of a request that its own caller gave up one that says so: what it was in the midst of failed in many ways.
func given(ctx context.Context, err error) error {
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return status.FromContextError(ctx.Err()).Err()
	}
	return err
}

// identify returns the context of a request, whose calls to other processes carry its id.
func identify(ctx context.Context) (context.Context, string) {
	id := requestID(incoming(ctx, api.RequestIDKey))
	return metadata.AppendToOutgoingContext(ctx, api.RequestIDKey, id), id
}

// incoming returns the last value of a key that came with the request.
func incoming(ctx context.Context, key string) string {
	if all := metadata.ValueFromIncomingContext(ctx, key); len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

// identified is a stream with the context of its request. It keeps the first message, for the log.
type identified struct {
	grpc.ServerStream
	ctx   context.Context
	first any
}

func (s *identified) Context() context.Context { return s.ctx }

func (s *identified) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if s.first == nil && err == nil {
		s.first = m
	}
	return err
}

// tell writes a request's line. Of an error only the server's own say why: those about a request are told to its caller, and may quote it.
func (r Requests) tell(ctx context.Context, method, id string, request any, start time.Time, err error) {
	took := time.Since(start)
	code, reason := r.Reason(err)
	level := severity(method, code, reason)
	if took >= Slow && slices.Contains(short, path.Base(method)) {
		level = max(level, slog.LevelWarn)
	}
	if !r.Logger.Enabled(ctx, level) || err == nil && level < slog.LevelWarn && quiet(method) {
		return
	}
	attributes := []slog.Attr{slog.String("method", path.Base(method)), slog.String("code", code.String()),
		slog.Float64("duration_ms", float64(took.Microseconds())/1e3), slog.String("request_id", id), slog.String("peer", caller(ctx))}
	if q, ok := request.(interface{ GetCollection() string }); ok {
		attributes = append(attributes, slog.String("collection", q.GetCollection()))
	}
	if q, ok := request.(interface{ GetShard() uint32 }); ok {
		attributes = append(attributes, slog.Uint64("shard", uint64(q.GetShard())))
	}
	if q, ok := request.(interface{ GetShards() []uint32 }); ok {
		attributes = append(attributes, slog.Any("shards", q.GetShards()[:min(len(q.GetShards()), maxShards)]))
	}
	if err != nil {
		attributes = append(attributes, slog.String("reason", reason))
	}
	if err != nil && level >= slog.LevelWarn {
		attributes = append(attributes, slog.String("error", err.Error()))
	}
	r.Logger.LogAttrs(ctx, level, "request", attributes...)
}

// severity is the level of a request that ended with a code, for a reason.
func severity(method string, code codes.Code, reason string) slog.Level {
	switch code {
	case codes.OK:
		return slog.LevelDebug
	case codes.Canceled:
		if !strings.HasPrefix(method, "/"+api.Memory_ServiceDesc.ServiceName+"/") { // of two replicas that a router asks, the slower one is cancelled
			return slog.LevelDebug
		}
	case codes.Internal, codes.Unknown, codes.DataLoss, codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted:
		if reason != "NOT_LEADER" { // routers try one after the other while there is an election
			return slog.LevelWarn
		}
	}
	return slog.LevelInfo
}

// quiet tells whether a method is asked all the time, and its successes are no news.
func quiet(method string) bool {
	return strings.HasPrefix(method, "/grpc.health.") || strings.HasPrefix(method, "/grpc.reflection.") || path.Base(method) == "Placement"
}

// caller returns the address that a request came from: over HTTP, that of the HTTP client, which the gateway puts behind what the client itself
// said.
func caller(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	address := p.Addr.String()
	if inProcess(p) {
		all := incoming(ctx, "x-forwarded-for")
		address = strings.TrimSpace(all[strings.LastIndexByte(all, ',')+1:])
	}
	return address[:min(len(address), maxPeer)]
}

// inProcess tells whether a request came from the JSON gateway of this process.
func inProcess(p *peer.Peer) bool { return p.Addr.Network() == "bufconn" }
