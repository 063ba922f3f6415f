package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"ostraca/api"
	"ostraca/ops/dataset"
	"ostraca/retrieval"
	"ostraca/retrieval/kernel"
	"ostraca/shard"
)

// coded writes n documents with codes of their own, which nobody has to encode.
func coded(t *testing.T, n int) string {
	t.Helper()
	var b bytes.Buffer
	for i := range n {
		line, err := dataset.StoredLine(dataset.Stored{
			Document: dataset.Document{ID: fmt.Sprintf("d%05d", i), Text: fmt.Sprintf("document %d", i), Fields: map[string]any{"n": float64(i)}},
			Codes:    &retrieval.Codes{Codec: retrieval.Int8, Width: 4, Rows: []byte{255, byte(1 + i%255), 128, 128}, Scales: []uint16{30000}},
		})
		if err != nil {
			t.Fatal(err)
		}
		b.Write(line)
	}
	return write(t, "coded.jsonl", b.String())
}

// TestLoadAfterKill: a load that was killed with kill -9 goes on where it stood: no document is missing or twice, and those that were there
// are left alone.
func TestLoadAfterKill(t *testing.T) {
	const all = 3000
	router, path := sharedRouter(t), coded(t, all)
	object(t, "collection", "create", "killed", "--encoder", "none", "--width", "4", "--router", router)
	count := func() int {
		return int(object(t, "count", "-c", "killed", "--router", router)["count"].(float64))
	}
	load := exec.Command(os.Args[0], "load", path, "-c", "killed", "--router", router, "--batch", "2", "--parallel", "1")
	if err := load.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- load.Wait() }()
	for count() < 50 {
		select {
		case err := <-ended:
			t.Fatalf("the load ended too early: %v", err)
		default:
		}
	}
	if err := load.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended // it says that it was killed
	before := count()
	if before >= all { // a write under way may still land: it is one batch
		t.Fatalf("all %d were loaded before the kill", before)
	}
	v := object(t, "load", path, "-c", "killed", "--router", router)
	loaded, unchanged := int(v["loaded"].(float64)), int(v["unchanged"].(float64))
	if loaded+unchanged != all || unchanged < before || unchanged > before+2 || loaded == 0 {
		t.Errorf("%d were there, then %d were loaded and %d unchanged, of %d", before, loaded, unchanged, all)
	}
	var ids []string
	for _, d := range object(t, "list", "-c", "killed", "--all", "--router", router)["documents"].([]any) {
		ids = append(ids, d.(map[string]any)["id"].(string))
	}
	if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != all || len(ids) != all {
		t.Errorf("%d ids, want %d, each once", len(ids), all)
	}
	if v := object(t, "load", path, "-c", "killed", "--router", router); v["unchanged"] != float64(all) {
		t.Errorf("a third time: %v", v)
	}
}

// TestExportDigest: an export with codes, loaded again after everything was forgotten, gives the very same data: the digest of every shard.
func TestExportDigest(t *testing.T) {
	router, file := sharedRouter(t), filepath.Join(t.TempDir(), "e.jsonl")
	object(t, "load", coded(t, 40), "-c", "digest", "--create", "--encoder", "none", "--width", "4", "--router", router)
	digest := func() string {
		for _, c := range object(t, "collection", "list", "--router", router)["collections"].([]any) {
			if c := c.(map[string]any); c["name"] == "digest" {
				return c["digest"].(string)
			}
		}
		return ""
	}
	before := digest()
	object(t, "export", "-c", "digest", "--out", file, "--codes", "--router", router)
	args := []string{"forget", "-c", "digest", "--router", router}
	for i := range 40 {
		args = append(args, fmt.Sprintf("d%05d", i))
	}
	if v := object(t, args...); v["count"] != 40.0 || digest() == before {
		t.Fatalf("forgot %v", v)
	}
	object(t, "load", file, "-c", "digest", "--router", router)
	if after := digest(); after != before || before == "" {
		t.Errorf("digest %s became %s", before, after)
	}
}

// TestLoadReducedForecast: what is forecast of vectors that a collection reduces is of those that it keeps.
func TestLoadReducedForecast(t *testing.T) {
	v := object(t, "load", benchVectors(t, 60, 1, 8), "-c", "reduced-forecast", "--create", "--encoder", "none", "--pool", "4", "--router", sharedRouter(t))
	if f := v["forecast"].(map[string]any); f["tokens"].(float64) > 1.1*v["tokens"].(float64) {
		t.Errorf("forecast %v, loaded %v", f, v["tokens"])
	}
}

// TestLoadSplit: a text over the limit becomes passages that say where they stand in it, and a second load finds them.
func TestLoadSplit(t *testing.T) {
	if kernel.Best().Name() == "go" {
		t.Skip("too many tokens to encode without a kernel")
	}
	router, text := sharedRouter(t), strings.TrimSpace(strings.Repeat("One by one they go. ", 900))
	path := write(t, "long.jsonl", fmt.Sprintf("{\"id\":\"long\",\"text\":%q}\n{\"id\":\"short\",\"text\":\"It is short.\"}\n", text))
	v := object(t, "load", path, "-c", "split", "--create", "--router", router)
	if v["loaded"] != 1.0 || v["rejected"] != 1.0 || !strings.Contains(fmt.Sprint(v["rejects"]), "4096") {
		t.Errorf("without --split: %v", v)
	}
	v = object(t, "load", path, "-c", "split", "--split", "--router", router)
	if v["loaded"] != 5.0 || v["unchanged"] != 1.0 || v["split"] != 1.0 || v["rejected"] != 0.0 {
		t.Errorf("with --split: %v", v)
	}
	end := 0
	for _, d := range object(t, "list", "-c", "split", "--router", router)["documents"].([]any) {
		d := d.(map[string]any)
		if d["id"] == "short" {
			continue
		}
		f := d["fields"].(map[string]any)
		start := int(f["start"].(float64))
		if start != end && start != end+1 {
			t.Errorf("%v starts at %d, the one before ends at %d", d["id"], start, end)
		}
		if end = int(f["end"].(float64)); d["text"] != text[start:end] {
			t.Errorf("%v is not what stands at %d to %d", d["id"], start, end)
		}
	}
	if end != len(text) {
		t.Errorf("the passages end at %d of %d", end, len(text))
	}
	if v = object(t, "load", path, "-c", "split", "--split", "--router", router); v["loaded"] != 0.0 || v["unchanged"] != 6.0 {
		t.Errorf("again: %v", v)
	}
}

// flaky is a router that fails as it is told to.
type flaky struct {
	api.UnimplementedMemoryServer
	mu         sync.Mutex
	operations int
	puts       []*api.PutRequest
	script     []func(*api.PutRequest) (*api.WriteResponse, error) // a put each; then all succeed
}

func (f *flaky) ListCollections(context.Context, *api.ListCollectionsRequest) (*api.ListCollectionsResponse, error) {
	return &api.ListCollectionsResponse{Collections: []*api.Collection{{Name: "c", Codec: "int8", Width: 4, VectorWidth: 4}}}, nil
}

func (f *flaky) NewOperation(context.Context, *api.NewOperationRequest) (*api.NewOperationResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.operations++
	return &api.NewOperationResponse{OperationId: fmt.Sprintf("op-%d", f.operations)}, nil
}

func (f *flaky) Get(_ context.Context, q *api.GetRequest) (*api.GetResponse, error) {
	return &api.GetResponse{Missing: q.Ids}, nil
}

func (f *flaky) Put(_ context.Context, q *api.PutRequest) (*api.WriteResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.puts = append(f.puts, q)
	if len(f.script) > 0 {
		next := f.script[0]
		f.script = f.script[1:]
		return next(q)
	}
	return written(q), nil
}

func written(q *api.PutRequest) *api.WriteResponse {
	out := &api.WriteResponse{}
	for _, d := range q.Documents {
		out.Outcomes = append(out.Outcomes, &api.WriteOutcome{Id: d.Id, Version: 1, Tokens: 1})
	}
	return out
}

// fails is a put that fails as a whole.
func fails(err error) func(*api.PutRequest) (*api.WriteResponse, error) {
	return func(*api.PutRequest) (*api.WriteResponse, error) { return nil, shard.Public(err) }
}

// hangs is a put that is never answered within a test's timeout.
func hangs(*api.PutRequest) (*api.WriteResponse, error) {
	time.Sleep(2 * time.Second)
	return nil, shard.Public(shard.ErrUnavailable)
}

// failsOne is a put of which the first document fails.
func failsOne(code, reason, message string) func(*api.PutRequest) (*api.WriteResponse, error) {
	return func(q *api.PutRequest) (*api.WriteResponse, error) {
		out := written(q)
		out.Outcomes[0] = &api.WriteOutcome{Id: out.Outcomes[0].Id, Error: &api.Error{Code: code, Reason: reason, Message: message}}
		return out, nil
	}
}

// serve runs a flaky router and returns its address.
func (f *flaky) serve(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	api.RegisterMemoryServer(s, f)
	healthpb.RegisterHealthServer(s, health.NewServer())
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return l.Addr().String()
}

// TestLoadPersists: while the cluster fails, the same batch is written again under the same operation id; what a document is refused for
// is told; and what cannot be mended ends the load.
func TestLoadPersists(t *testing.T) {
	for _, c := range []struct {
		name       string
		script     []func(*api.PutRequest) (*api.WriteResponse, error)
		operations []string // of the puts, in order
		loaded     float64
		rejected   float64
		fails      string
	}{
		{"nothing", nil, []string{"op-1"}, 3, 0, ""},
		{"unavailable, then unknown", []func(*api.PutRequest) (*api.WriteResponse, error){fails(shard.ErrUnavailable), fails(shard.ErrUnknown)}, []string{"op-1", "op-1", "op-1"}, 3, 0, ""},
		{"one unknown", []func(*api.PutRequest) (*api.WriteResponse, error){failsOne("ABORTED", reasonOf(shard.ErrUnknown), "told so")}, []string{"op-1", "op-1"}, 3, 0, ""},
		{"one full for a while", slices.Repeat([]func(*api.PutRequest) (*api.WriteResponse, error){failsOne("RESOURCE_EXHAUSTED", reasonOf(shard.ErrExhausted), "disk full")}, 2), slices.Repeat([]string{"op-1"}, 3), 3, 0, ""},
		{"one full for good", slices.Repeat([]func(*api.PutRequest) (*api.WriteResponse, error){failsOne("RESOURCE_EXHAUSTED", reasonOf(shard.ErrExhausted), "disk full")}, 100), nil, 0, 0, "disk full: make room and run the same command again"},
		{"a full parent", []func(*api.PutRequest) (*api.WriteResponse, error){failsOne("RESOURCE_EXHAUSTED", reasonOf(shard.ErrExhausted), "parent \"p\" holds 100000 passages, the limit: resource exhausted")}, []string{"op-1"}, 2, 1, ""},
		{"one too long", []func(*api.PutRequest) (*api.WriteResponse, error){failsOne("INVALID_ARGUMENT", reasonOf(retrieval.ErrTooLarge), "told so")}, []string{"op-1"}, 2, 1, ""},
		{"expired", []func(*api.PutRequest) (*api.WriteResponse, error){fails(shard.ErrUnavailable), fails(shard.ErrExpired)}, []string{"op-1", "op-1", "op-2"}, 3, 0, ""},
		{"the whole refused", []func(*api.PutRequest) (*api.WriteResponse, error){fails(retrieval.ErrTooLarge), fails(retrieval.ErrTooLarge)}, []string{"op-1", "op-2", "op-3", "op-4"}, 2, 1, ""},
		{"dropped", []func(*api.PutRequest) (*api.WriteResponse, error){fails(retrieval.ErrNotFound)}, []string{"op-1"}, 0, 0, "not found"},
		{"silent, after a reason", []func(*api.PutRequest) (*api.WriteResponse, error){fails(shard.ErrUnavailable), hangs}, nil, 0, 0, "gave no answer within 700ms (--timeout): whether it was done is unknown, the same command can be repeated; the last reason that it gave: unavailable"},
		{"down", slices.Repeat([]func(*api.PutRequest) (*api.WriteResponse, error){fails(shard.ErrUnavailable)}, 100), nil, 0, 0, "gave up after 700ms without progress"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &flaky{script: c.script}
			args := []string{"load", coded(t, 3), "-c", "c", "--router", f.serve(t), "--json", "--timeout", "700ms"}
			if c.fails == "" {
				args[len(args)-1] = "1m"
			}
			code, out, stderr := command(args...)
			if c.fails != "" {
				if code == 0 || !strings.Contains(stderr, c.fails) || !strings.Contains(stderr, "ostraca: ") {
					t.Errorf("exit %d: %s", code, stderr)
				}
				return
			}
			var v map[string]any
			if err := json.Unmarshal([]byte(out), &v); err != nil || v["loaded"] != c.loaded || v["rejected"] != c.rejected {
				t.Errorf("%v: %s%s", err, out, stderr)
			}
			var operations []string
			for _, p := range f.puts {
				operations = append(operations, p.OperationId)
			}
			if !slices.Equal(operations, c.operations) {
				t.Errorf("puts of %v, want %v", operations, c.operations)
			}
		})
	}
}

func reasonOf(err error) string {
	_, reason := shard.Reason(err)
	return reason
}

// TestLoadInterrupted: Ctrl-C ends a load at once, and says how far it came.
func TestLoadInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	f := &flaky{script: []func(*api.PutRequest) (*api.WriteResponse, error){func(q *api.PutRequest) (*api.WriteResponse, error) {
		return written(q), nil
	}, func(*api.PutRequest) (*api.WriteResponse, error) {
		cancel()
		return nil, shard.Public(shard.ErrUnavailable)
	}}}
	var out, stderr bytes.Buffer
	start := time.Now()
	code := run(ctx, []string{"load", coded(t, 3), "-c", "c", "--router", f.serve(t), "--batch", "2", "--parallel", "1"}, &out, &stderr)
	if code != exitInterrupted || !strings.Contains(stderr.String(), "2 documents loaded, 0 unchanged: the same command goes on from here") || time.Since(start) > 5*time.Second {
		t.Errorf("exit %d: %s", code, stderr.String())
	}
}
