package ops

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"ostraca/api"
	"ostraca/retrieval"
	"ostraca/shard"
)

// TestTell: the level of a request's line, and that only what is the server's own fault says why.
func TestTell(t *testing.T) {
	for _, c := range []struct {
		method string
		err    error
		took   time.Duration
		want   []string // nil: no line
	}{
		{"/ostraca.v1.Memory/Search", nil, 0, []string{"level=DEBUG", "code=OK", "method=Search", "collection=papers"}},
		{"/ostraca.v1.Memory/Search", nil, Slow, []string{"level=WARN", "code=OK", "duration_ms=1000"}},
		{"/ostraca.v1.Memory/Put", nil, Slow, []string{"level=DEBUG", "code=OK"}},
		{"/ostraca.v1.Memory/Export", nil, Slow, []string{"level=DEBUG", "code=OK"}},
		{"/ostraca.v1.Memory/Search", shard.Public(fmt.Errorf("quoted: %w", retrieval.ErrInvalid)), 0, []string{"level=INFO", "code=InvalidArgument", "reason=INVALID"}},
		{"/ostraca.v1.Memory/Search", shard.Public(fmt.Errorf("disk: %w", shard.ErrExhausted)), 0, []string{"level=WARN", "reason=EXHAUSTED", "error="}},
		{"/ostraca.v1.Memory/Search", status.FromContextError(context.Canceled).Err(), 0, []string{"level=INFO", "code=Canceled", "reason=CANCELLED"}},
		{"/ostraca.node.v1.Node/Search", status.FromContextError(context.Canceled).Err(), 0, []string{"level=DEBUG", "code=Canceled"}},
		{"/ostraca.v1.Memory/Search", shard.Public(shard.ErrNotLeader), 0, []string{"level=INFO", "reason=NOT_LEADER"}},
		{"/ostraca.node.v1.Node/Placement", nil, 0, nil},
		{"/ostraca.node.v1.Node/Placement", nil, Slow, []string{"level=WARN"}},
		{"/grpc.health.v1.Health/Check", nil, 0, nil},
	} {
		var out bytes.Buffer
		log, err := NewLogger(&out, LogText, "debug")
		if err != nil {
			t.Fatal(err)
		}
		r := Requests{Logger: log, Reason: shard.Reason}
		r.tell(t.Context(), c.method, "id", &api.SearchRequest{Collection: "papers", Text: "secret"}, time.Now().Add(-c.took), c.err)
		line := out.String()
		if c.want == nil && line != "" {
			t.Errorf("%s, %v: %s", c.method, c.err, line)
		}
		for _, w := range c.want {
			if !strings.Contains(line, w) {
				t.Errorf("%s, %v: %q is missing in %s", c.method, c.err, w, line)
			}
		}
		if strings.Contains(line, "secret") || strings.Contains(line, "quoted") {
			t.Errorf("%s", line)
		}
	}
}

// TestLimit: places are given back, health needs none, and who is refused hears what to do.
func TestLimit(t *testing.T) {
	l := NewLimit(1, "--most")
	call := func(method string, handler grpc.UnaryHandler) error {
		_, err := l.Unary(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: method}, handler)
		return err
	}
	none := func(context.Context, any) (any, error) { return nil, nil }
	for range 2 {
		err := call("/ostraca.v1.Memory/Get", func(context.Context, any) (any, error) {
			if err := call("/grpc.health.v1.Health/Check", none); err != nil {
				t.Error(err)
			}
			return nil, call("/ostraca.v1.Memory/Get", none)
		})
		if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "1 requests are under way, the limit: try again in a while, with fewer at once, or raise --most") {
			t.Error(err)
		}
	}
	if err := call("/ostraca.v1.Memory/Get", none); err != nil || l.refused.Load() != 2 || l.now.Load() != 0 {
		t.Error(err, l.refused.Load(), l.now.Load())
	}
}
