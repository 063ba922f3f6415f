package ops

import (
	"context"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"ostraca/api"
)

// HTTP gives every request of a JSON gateway an id, which goes along to the gRPC server behind it. That server's line is the request's; one that
// the gateway answered by itself has its line here.
func (r Requests) HTTP(gateway http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		id := requestID(q.Header.Get(api.RequestIDKey))
		q.Header.Set(api.RequestIDKey, id)
		w.Header().Set(api.RequestIDKey, id)
		passed, answer, start := new(atomic.Bool), &answered{ResponseWriter: w, code: http.StatusOK}, time.Now()
		gateway.ServeHTTP(answer, q.WithContext(context.WithValue(q.Context(), passedKey{}, passed)))
		if !passed.Load() {
			level := slog.LevelDebug
			if answer.code >= http.StatusBadRequest {
				level = slog.LevelInfo
			}
			r.Logger.LogAttrs(q.Context(), level, "request", slog.String("method", q.Method), slog.Int("status", answer.code),
				slog.Float64("duration_ms", float64(time.Since(start).Microseconds())/1e3), slog.String("request_id", id), slog.String("peer", q.RemoteAddr))
		}
	})
}

// passedKey is the context's key of whether a request of the gateway went on to the gRPC server.
type passedKey struct{}

func pass(ctx context.Context) {
	if passed, ok := ctx.Value(passedKey{}).(*atomic.Bool); ok {
		passed.Store(true)
	}
}

// Passes notes, on the gateway's connection, which requests go on to the gRPC server.
func Passes() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, q, a any, c *grpc.ClientConn, invoke grpc.UnaryInvoker, o ...grpc.CallOption) error {
			pass(ctx)
			return invoke(ctx, method, q, a, c, o...)
		}),
		grpc.WithStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, c *grpc.ClientConn, method string, stream grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
			pass(ctx)
			return stream(ctx, d, c, method, o...)
		}),
	}
}

// answered keeps the status of an answer.
type answered struct {
	http.ResponseWriter
	code int
}

func (a *answered) WriteHeader(code int) {
	a.code = code
	a.ResponseWriter.WriteHeader(code)
}

// Flush is what a gateway looks for before it streams.
func (a *answered) Flush() {
	if f, ok := a.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

// Unwrap is for [http.ResponseController].
func (a *answered) Unwrap() http.ResponseWriter { return a.ResponseWriter }
