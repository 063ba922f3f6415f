package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"ostraca/api"
	"ostraca/ops"
)

// TestReady: a node that waits for another, and a router that waits for a cluster, live, are not ready, and say what is missing; then they are.
func TestReady(t *testing.T) {
	t.Parallel()
	first := startNode(t, "n1", 2)
	router := startRouter(t, first.at.Listen, "--timeout", "1s")
	health := healthpb.NewHealthClient(router.conn())
	serving := func(service string) healthpb.HealthCheckResponse_ServingStatus {
		a, err := health.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil {
			t.Fatal(err)
		}
		return a.GetStatus()
	}
	for d, missing := range map[*daemon]string{first: "no place in a cluster yet", router: "no node has told the placement yet"} {
		if code, _ := d.get("/healthz"); code != http.StatusOK {
			t.Errorf("/healthz: %d", code)
		}
		if r := d.readiness(); r.Ready || !strings.Contains(strings.Join(r.Missing, "\n"), missing) {
			t.Errorf("%+v, wanted missing %q", r, missing)
		}
	}
	if s := serving(""); s != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Error(s)
	}
	second := startNode(t, "n2", 2, first.at.Listen)
	for _, d := range []*daemon{first, second, router} {
		d.ready()
	}
	for _, service := range []string{"", "ostraca.v1.Memory"} {
		if s := serving(service); s != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("%q: %v", service, s)
		}
	}
	if err := second.end(); err != nil {
		t.Errorf("%v\n%s", err, second.log)
	}
	router.until("without a leader", func() error { // two replicas of two need both
		if r := router.readiness(); r.Ready || !strings.Contains(r.Missing[0], "shard 0 has no leader") {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	_, err := api.NewMemoryClient(router.conn()).Get(t.Context(), &api.GetRequest{Collection: "papers", Ids: []string{"d"}})
	if n := router.scrape()["ostraca_router_partial_answers_total"]; status.Code(err) != codes.Unavailable || n < 1 {
		t.Errorf("%v, %g partial answers", err, n)
	}
	reflected(t, router.conn())
	if code, body := first.get("/v1/status"); code != http.StatusNotFound {
		t.Errorf("a node answers /v1/status: %d %s", code, body)
	}
}

// reflected asks the router what it serves.
func reflected(t *testing.T, c *grpc.ClientConn) {
	t.Helper()
	s, err := reflectionpb.NewServerReflectionClient(c).ServerReflectionInfo(t.Context())
	if err == nil {
		err = s.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}})
	}
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.Recv()
	var names []string
	for _, x := range a.GetListServicesResponse().GetService() {
		names = append(names, x.GetName())
	}
	if err != nil || !slices.Contains(names, "ostraca.v1.Memory") || !slices.Contains(names, "grpc.health.v1.Health") {
		t.Errorf("%v: %q", err, names)
	}
	_ = s.CloseSend()
	for err == nil {
		_, err = s.Recv()
	}
}

// loaded starts a node and a router with some documents.
func loaded(t *testing.T, documents int, flags ...string) (node, router *daemon, c api.MemoryClient) {
	t.Helper()
	node = startNode(t, "n1", 1)
	router = startRouter(t, node.at.Listen, flags...)
	router.ready()
	c = api.NewMemoryClient(router.conn())
	if _, err := c.CreateCollection(t.Context(), &api.CreateCollectionRequest{Name: "papers"}); err != nil {
		t.Fatal(err)
	}
	if documents > 0 {
		in := &api.PutRequest{Collection: "papers"}
		for i := range documents {
			in.Documents = append(in.Documents, &api.PutDocument{Id: fmt.Sprintf("d%03d", i), Text: "owl " + strings.Repeat(" ", 4000)})
		}
		a, err := c.Put(t.Context(), in)
		if err != nil || len(a.GetOutcomes()) != documents || a.GetOutcomes()[0].GetError() != nil {
			t.Fatal(err, a)
		}
	}
	return node, router, c
}

// TestRequestIDs: the caller's own id comes back and stands in the logs of router and node; one that may not be logged is replaced. What was asked
// is in no log.
func TestRequestIDs(t *testing.T) {
	t.Parallel()
	node, router, c := loaded(t, 1)
	ask := func(id string) string {
		var header metadata.MD
		ctx := metadata.AppendToOutgoingContext(t.Context(), api.RequestIDKey, id)
		if _, err := c.Search(ctx, &api.SearchRequest{Collection: "papers", Text: "xyzzy secret"}, grpc.Header(&header)); err != nil {
			t.Fatal(err)
		}
		got := header.Get(api.RequestIDKey)
		if len(got) != 1 {
			t.Fatalf("%q came back for %q", got, id)
		}
		return got[0]
	}
	logged := func(d *daemon, id string, more ...string) {
		t.Helper()
		d.until("logging "+id, func() error {
			for line := range strings.Lines(d.log.String()) {
				if strings.Contains(line, "msg=request") && strings.Contains(line, "request_id="+id+" ") && !slices.ContainsFunc(more, func(m string) bool { return !strings.Contains(line, m) }) {
					return nil
				}
			}
			return fmt.Errorf("no line of request %s with %q", id, more)
		})
	}
	own := strings.Repeat("a", ops.MaxRequestID-1) + "~"
	if got := ask(own); got != own {
		t.Errorf("%q came back as %q", own, got)
	}
	logged(router, own, "method=Search", "code=OK", "collection=papers", "duration_ms=", "peer=127.0.0.1:")
	logged(node, own, "method=Search", "code=OK", "collection=papers", `shards="[0 1]"`)
	for _, bad := range []string{own + "a", "two words", ""} {
		got := ask(bad)
		if got == bad || len(got) != 16 {
			t.Errorf("%q came back as %q", bad, got)
		}
		logged(node, got)
	}
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+router.at.HTTP+"/v1/collections/papers:search", strings.NewReader(`{"text": "xyzzy secret"}`))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("X-Request-ID", "over-http")
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	a.Body.Close()
	if a.StatusCode != http.StatusOK || a.Header.Get("X-Request-Id") != "over-http" {
		t.Errorf("%s %v", a.Status, a.Header)
	}
	logged(router, "over-http", "method=Search", "peer=127.0.0.1")
	logged(node, "over-http", "method=Search")
	if _, body := router.get("/v1/nothing"); !strings.Contains(body, "NOT_FOUND") {
		t.Error(body)
	}
	router.until("logging the path", func() error {
		if !strings.Contains(router.log.String(), "msg=request method=GET status=404") {
			return errors.New("no line")
		}
		return nil
	})
	if n := strings.Count(router.log.String(), "request_id=over-http"); n != 1 {
		t.Errorf("the request over HTTP has %d lines", n)
	}
	for _, d := range []*daemon{node, router} {
		if s := d.log.String(); strings.Contains(s, "xyzzy") || strings.Contains(s, "owl") {
			t.Errorf("text went into the log:\n%s", s)
		}
	}
}

// TestDrain: an answer that is on its way at the end arrives whole; new requests are refused meanwhile, and readiness says so. One that takes
// too long is cut.
func TestDrain(t *testing.T) {
	t.Parallel()
	const documents = 400 // with their texts, more than a connection holds for a client that does not read
	for _, patient := range []bool{true, false} {
		flags := []string{"--drain-timeout", "20s"}
		if !patient {
			flags[1] = "200ms"
		}
		_, router, c := loaded(t, documents, flags...)
		export, err := c.Export(t.Context(), &api.ExportRequest{Collection: "papers"})
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		if _, err := export.Recv(); err != nil {
			t.Fatal(err)
		}
		got++
		router.stop()
		if patient {
			router.until("draining", func() error {
				if r := router.readiness(); r.Ready || !strings.Contains(r.Missing[0], "about to end") {
					return fmt.Errorf("%+v", r)
				}
				return nil
			})
			refused, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := api.NewMemoryClient(router.conn()).Status(refused, &api.StatusRequest{}); status.Code(err) != codes.Unavailable {
				t.Errorf("a new request: %v", err)
			}
			cancel()
			if code, body := router.get("/v1/status"); code != http.StatusServiceUnavailable || !strings.Contains(body, "ask another one") {
				t.Errorf("a new request over HTTP: %d %s", code, body)
			}
		} else {
			<-router.done
		}
		for err == nil {
			if _, err = export.Recv(); err == nil {
				got++
			}
		}
		if patient && (err != io.EOF || got != documents) || !patient && (err == io.EOF || got >= documents) {
			t.Errorf("patient %v: %d documents, %v", patient, got, err)
		}
		if err := router.end(); err != nil {
			t.Errorf("patient %v: %v", patient, err)
		}
	}
}

// TestHandOver: where the leader of a shard ends, another leads within a second or so, and no write fails.
func TestHandOver(t *testing.T) {
	t.Parallel()
	nodes := map[string]*daemon{}
	var seeds []string
	for _, id := range []string{"n1", "n2", "n3"} {
		nodes[id] = startNode(t, id, 3, seeds...)
		seeds = append(seeds, nodes[id].at.Listen)
	}
	router := startRouter(t, strings.Join(seeds, ","))
	router.ready()
	c := api.NewMemoryClient(router.conn())
	if _, err := c.CreateCollection(t.Context(), &api.CreateCollectionRequest{Name: "papers"}); err != nil {
		t.Fatal(err)
	}
	leader := func() string {
		s, err := c.Status(t.Context(), &api.StatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return s.GetShards()[0].GetLeader()
	}
	was := leader()
	if nodes[was] == nil {
		t.Fatalf("shard 0 is led by %q", was)
	}
	written, stop := make(chan error, 1), make(chan struct{})
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				written <- nil
				return
			default:
			}
			a, err := c.Put(t.Context(), &api.PutRequest{Collection: "papers", Documents: []*api.PutDocument{{Id: fmt.Sprint(i), Text: "owl"}}})
			if err == nil && a.GetOutcomes()[0].GetError() != nil {
				err = errors.New(a.GetOutcomes()[0].GetError().String())
			}
			if err != nil {
				written <- fmt.Errorf("write %d: %w", i, err)
				return
			}
		}
	}()
	if err := nodes[was].end(); err != nil {
		t.Errorf("%v\n%s", err, nodes[was].log)
	}
	deadline := time.Now().Add(5 * time.Second)
	for now := leader(); now == was || now == ""; now = leader() {
		if time.Now().After(deadline) {
			t.Fatalf("%q leads", now)
		}
	}
	close(stop)
	if err := <-written; err != nil {
		t.Error(err)
	}
	if s := nodes[was].log.String(); strings.Contains(s, "leadership is not handed over") {
		t.Errorf("%s", s)
	}
}

// TestCannotStart: what keeps a process from its start is one clear line.
func TestCannotStart(t *testing.T) {
	t.Parallel()
	node := startNode(t, "n1", 1)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n := func(dir, listen, http string) *daemon {
		return begin(t, NodeCommand(), "--id", "n2", "--dir", dir, "--listen", listen, "--http", http)
	}
	r := func(args ...string) *daemon {
		return begin(t, RouterCommand(small), append(args, "--join", node.at.Listen, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0")...)
	}
	const free = "127.0.0.1:0"
	locked := t.TempDir()
	holder := start(t, NodeCommand(), "--id", "n2", "--dir", locked)
	for _, c := range []struct {
		what string
		d    *daemon
		is   error
		says string
	}{
		{"cluster port", n(t.TempDir(), node.at.Listen, free), syscall.EADDRINUSE, node.at.Listen},
		{"HTTP port", n(t.TempDir(), free, node.at.HTTP), syscall.EADDRINUSE, "--http"},
		{"folder in use", n(locked, free, free), nil, "another process or store holds it"},
		{"folder is a file", n(file, free, free), syscall.ENOTDIR, file},
		{"gRPC port", r("--grpc", node.at.HTTP), syscall.EADDRINUSE, "--grpc"},
		{"encoder", r("--grpc", free, "--encoder", "nonesuch"), nil, `encoder "nonesuch": it must be bge`},
	} {
		<-c.d.done
		if err := c.d.err; err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	if err := holder.end(); err != nil {
		t.Error(err)
	}
}

// TestTooMany: beyond its limit a router refuses, over both doors, and answers again afterwards.
func TestTooMany(t *testing.T) {
	t.Parallel()
	_, router, c := loaded(t, 400, "--max-requests", "1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	export, err := c.Export(ctx, &api.ExportRequest{Collection: "papers"})
	if err == nil {
		_, err = export.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Status(t.Context(), &api.StatusRequest{}); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "--max-requests") {
		t.Errorf("over gRPC: %v", err)
	}
	if code, body := router.get("/v1/status"); code != http.StatusTooManyRequests || !strings.Contains(body, `"code":"RESOURCE_EXHAUSTED"`) {
		t.Errorf("over HTTP: %d %s", code, body)
	}
	cancel()
	router.until("answering again", func() error {
		if code, body := router.get("/v1/status"); code != http.StatusOK {
			return errors.New(body)
		}
		_, err := c.Status(t.Context(), &api.StatusRequest{})
		return err
	})
}
