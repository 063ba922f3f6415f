package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"ostraca/ops"
)

// Times of the HTTP server. An answer may take as long as it takes, for exports stream, while its reader takes some of it from time to time:
// every part of progressBytes within ops.ProgressTime.
const (
	headerTime = 5 * time.Second // of a request's headers to arrive
	bodyTime   = time.Minute     // of its body
	idleTime   = 2 * time.Minute // of a connection
	lastTime   = time.Second     // of answers that are complete to reach their callers, at the end
)

const (
	maxHeaderBytes = 64 << 10 // of the headers of a request
	progressBytes  = 64 << 10
)

// web is the HTTP side of a process. It answers from the start: that the process lives, and, until the rest is there, that it is not ready.
type web struct {
	server   *http.Server
	listener net.Listener
	ready    atomic.Pointer[func(context.Context) ops.Readiness]
	api      atomic.Pointer[http.Handler]
	failed   chan error // at most one
}

// openWeb listens and serves.
func openWeb(address string, metrics prometheus.Gatherer, log *slog.Logger) (*web, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--http: %w", err)
	}
	w := &web{listener: l, failed: make(chan error, 1)}
	w.is(func(context.Context) ops.Readiness {
		return ops.NotReady("it has only just started: files are being opened")
	})
	routes := http.NewServeMux()
	routes.HandleFunc("GET /healthz", func(out http.ResponseWriter, _ *http.Request) {
		writeJSON(out, http.StatusOK, map[string]bool{"alive": true})
	})
	routes.HandleFunc("GET /readyz", w.readyz)
	routes.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}))
	routes.HandleFunc("/", func(out http.ResponseWriter, q *http.Request) {
		if api := w.api.Load(); api != nil {
			(*api).ServeHTTP(out, q)
			return
		}
		http.NotFound(out, q)
	})
	w.server = &http.Server{Handler: moving(routes, ops.ProgressTime), ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	go func() {
		if err := w.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			w.failed <- fmt.Errorf("http: %w", err)
		}
	}()
	return w, nil
}

// is says how ready the process is from now on.
func (w *web) is(ready func(context.Context) ops.Readiness) { w.ready.Store(&ready) }

// drains says that the process is about to end.
func (w *web) drains() {
	w.is(func(context.Context) ops.Readiness {
		return ops.NotReady("it is about to end: requests under way are answered, new ones are not")
	})
}

func (w *web) readyz(out http.ResponseWriter, q *http.Request) {
	r := (*w.ready.Load())(q.Context())
	code := http.StatusOK
	if !r.Ready {
		code = http.StatusServiceUnavailable
	}
	writeJSON(out, code, r)
}

func writeJSON(out http.ResponseWriter, code int, v any) {
	out.Header().Set("Content-Type", "application/json")
	out.WriteHeader(code)
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // the caller may have gone
}

// address returns where it listens.
func (w *web) address() string { return w.listener.Addr().String() }

// close lets answers reach their callers, and ends.
func (w *web) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), lastTime)
	defer cancel()
	if err := w.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return w.server.Close() // somebody reads slowly
}

// timed gives bodies their time to arrive, and takes it back where one has: http.Server.ReadTimeout would go on, and cut a long answer.
func timed(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Body != http.NoBody {
			c := http.NewResponseController(w)
			_ = c.SetReadDeadline(time.Now().Add(bodyTime)) // a connection that cannot has none
			q.Body = &body{q.Body, c}
		}
		h.ServeHTTP(w, q)
	})
}

type body struct {
	io.ReadCloser
	connection *http.ResponseController
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.connection.SetReadDeadline(time.Time{})
	}
	return n, err
}

// moving ends an answer whose reader takes no part of it for so long.
func moving(h http.Handler, most time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		a := &taken{w, http.NewResponseController(w), most}
		a.renew() // the connection may have that of an earlier answer
		h.ServeHTTP(a, q)
		a.renew() // for what is still to be flushed
	})
}

// taken is an answer whose connection has a deadline for each part.
type taken struct {
	http.ResponseWriter
	connection *http.ResponseController
	most       time.Duration
}

func (a *taken) renew() { _ = a.connection.SetWriteDeadline(time.Now().Add(a.most)) } // a connection that cannot has none

func (a *taken) Write(p []byte) (int, error) {
	written := 0
	for {
		a.renew()
		n, err := a.ResponseWriter.Write(p[written:min(len(p), written+progressBytes)])
		if written += n; err != nil || written == len(p) {
			return written, err
		}
	}
}

// Flush is what a gateway looks for before it streams.
func (a *taken) Flush() {
	a.renew()
	_ = a.connection.Flush() // the next write tells
}

// Unwrap is for [http.ResponseController].
func (a *taken) Unwrap() http.ResponseWriter { return a.ResponseWriter }
