package endpoint_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"ostraca/api"
	"ostraca/consensus"
	"ostraca/retrieval/encoder"
	"ostraca/retrieval/encoder/encodertest"
	"ostraca/shard"
	"ostraca/shard/endpoint"
)

// rig is a cluster in this process on loopback, a router with a small random encoder, and both doors of its service.
type rig struct {
	nodes   []*shard.Node
	router  *shard.Router
	service *endpoint.Service
	before  atomic.Pointer[func(texts []string)] // called before texts are encoded
	asked   atomic.Pointer[func(request any)]    // called before the router asks a node
	client  api.MemoryClient
	conn    *grpc.ClientConn
	url     string
	closes  []func() error
	waits   []func() error // of nodes and the link
}

// one has a single shard, three has three nodes that each replicate three. Tests make collections of their own in them.
var one, three *rig

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "endpoint")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(dir)
	var opening sync.WaitGroup
	var failed [2]error
	opening.Go(func() {
		one, failed[0] = open(rigOptions{dir: filepath.Join(dir, "1"), nodes: 1, shards: 1, replicas: 1})
	})
	opening.Go(func() {
		three, failed[1] = open(rigOptions{dir: filepath.Join(dir, "3"), nodes: 3, shards: 3, replicas: 3})
	})
	opening.Wait()
	defer func() {
		opening.Go(func() { one.close() })
		opening.Go(func() { three.close() })
		opening.Wait()
	}()
	if err := errors.Join(failed[:]...); err != nil {
		fmt.Println(err)
		return 1
	}
	return m.Run()
}

// hooked is an encoder that can be watched.
type hooked struct {
	shard.Encoder
	rig *rig
}

func (h hooked) Encode(ctx context.Context, texts []string, o shard.EncodeOptions) ([]shard.Matrix, error) {
	if f := h.rig.before.Load(); f != nil {
		(*f)(texts)
	}
	return h.Encoder.Encode(ctx, texts, o)
}

// watch lets a test see what the router asks of nodes.
func (r *rig) watch(ctx context.Context, method string, q, a any, c *grpc.ClientConn, call grpc.UnaryInvoker, o ...grpc.CallOption) error {
	if f := r.asked.Load(); f != nil {
		(*f)(q)
	}
	return call(ctx, method, q, a, c, o...)
}

type rigOptions struct {
	dir                     string
	nodes, shards, replicas int
	timeout                 time.Duration
}

func open(o rigOptions) (*rig, error) {
	r := &rig{}
	var seeds []string
	for i := range o.nodes {
		n, err := shard.OpenNode(shard.NodeOptions{Node: fmt.Sprint("n", i), Dir: filepath.Join(o.dir, fmt.Sprint(i)), Network: consensus.Wire{},
			Listen: "127.0.0.1:0", Seeds: seeds, Expect: o.nodes, Replicas: o.replicas, Shards: o.shards})
		if err != nil {
			return r, err
		}
		r.nodes, r.waits = append(r.nodes, n), append(r.waits, n.Abandon)
		seeds = append(slices.Clip(seeds), n.Address())
	}
	link, err := shard.OpenLink(shard.LinkOptions{Node: "router-t", Boot: 1, Network: consensus.Wire{}, Listen: "127.0.0.1:0", Seeds: seeds,
		Dial: []grpc.DialOption{grpc.WithUnaryInterceptor(r.watch)}})
	if err != nil {
		return r, err
	}
	r.waits = append(r.waits, link.Close)
	e, err := encoder.Load(encodertest.Int8(), nil)
	if err != nil {
		return r, err
	}
	texts := hooked{shard.TextEncoder{Encoder: e}, r}
	r.router = shard.OpenRouter(shard.RouterOptions{Link: link, Encoder: texts, Timeout: cmp.Or(o.timeout, 30*time.Second)})
	r.closes = append(r.closes, func() error { r.router.Close(); return nil })
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	for _, n := range r.nodes {
		if err := n.Ready(ctx); err != nil {
			return r, err
		}
	}
	r.service = endpoint.New(endpoint.Options{Router: r.router, Encoder: texts, Name: "router-t"})
	return r, r.serve(r.service)
}

// serve opens both doors to a service.
func (r *rig) serve(s interface {
	api.MemoryServer
	ServerOptions() []grpc.ServerOption
}) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer(s.ServerOptions()...)
	api.RegisterMemoryServer(server, s)
	go server.Serve(l)
	r.closes = append(r.closes, func() error { server.Stop(); return nil })
	if r.conn, err = grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(api.MaxMessageBytes))); err != nil {
		return err
	}
	r.closes = append(r.closes, r.conn.Close)
	r.client = api.NewMemoryClient(r.conn)
	handler, err := endpoint.Handler(r.conn, nil)
	if err != nil {
		return err
	}
	web := httptest.NewServer(handler)
	r.closes = append(r.closes, func() error { web.Close(); return nil })
	r.url = web.URL
	return nil
}

// close closes the doors, the latest first, and then all that waits for others to answer, at once.
func (r *rig) close() error {
	var errs []error
	for _, c := range slices.Backward(r.closes) {
		errs = append(errs, c())
	}
	failed := make([]error, len(r.waits))
	var closing sync.WaitGroup
	for i, c := range r.waits {
		closing.Go(func() { failed[i] = c() })
	}
	closing.Wait()
	return errors.Join(append(errs, failed...)...)
}

// door is a way to call a method by its name.
type door struct {
	name string
	call func(t *testing.T, method string, q, a proto.Message) told
}

// told is an error as a caller sees it; its code is empty where there is none.
type told struct{ Code, Reason, Message string }

func (r *rig) doors() []door { return []door{{"grpc", r.byGRPC}, {"http", r.byHTTP}} }

func toldOf(err error) told {
	if err == nil {
		return told{}
	}
	c, reason := shard.Reason(err)
	return told{code.Code(c).String(), reason, status.Convert(err).Message()}
}

func (r *rig) byGRPC(t *testing.T, method string, q, a proto.Message) told {
	return toldOf(r.conn.Invoke(t.Context(), "/ostraca.v1.Memory/"+method, q, a))
}

// paths of the methods, by their names.
var paths = map[string]string{
	"CreateCollection": "POST /v1/collections", "ListCollections": "GET /v1/collections", "DropCollection": "DELETE /v1/collections/{c}",
	"ChangeCollection": "PATCH /v1/collections/{c}",
	"NewOperation":     "POST /v1/operations:new", "Put": "POST /v1/collections/{c}/documents:put", "Patch": "POST /v1/collections/{c}/documents:patch",
	"Forget": "POST /v1/collections/{c}:forget", "Get": "POST /v1/collections/{c}/documents:get", "List": "POST /v1/collections/{c}/documents:list",
	"Count": "POST /v1/collections/{c}/documents:count", "Search": "POST /v1/collections/{c}:search", "SearchBatch": "POST /v1/collections/{c}:searchBatch",
	"Rerank": "POST /v1/collections/{c}:rerank", "Encode": "POST /v1/encode", "Status": "GET /v1/status",
}

func (r *rig) byHTTP(t *testing.T, method string, q, a proto.Message) told {
	t.Helper()
	verb, path, _ := strings.Cut(paths[method], " ")
	body := ""
	if verb == http.MethodPost || verb == http.MethodPatch {
		b, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		body = string(b)
	}
	if c, ok := q.(interface{ GetCollection() string }); ok {
		path = strings.ReplaceAll(path, "{c}", c.GetCollection())
	}
	httpStatus, answer, _ := r.http(t, verb, path, body)
	if httpStatus != http.StatusOK {
		return toldBy(t, httpStatus, answer)
	}
	if err := protojson.Unmarshal(answer, a); err != nil {
		t.Fatalf("%v in %s", err, answer)
	}
	return told{}
}

// toldBy reads the body of an error, and checks that it is all of it.
func toldBy(t *testing.T, httpStatus int, body []byte) told {
	t.Helper()
	var e told
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil || e.Code == "" || e.Reason == "" || e.Message == "" || httpStatus < 400 {
		t.Fatalf("status %d, %v: %q is no error", httpStatus, err, body)
	}
	return e
}

func (r *rig) http(t *testing.T, verb, path, body string) (int, []byte, http.Header) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), verb, r.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("X-Request-Id", "mine-17")
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return a.StatusCode, b, a.Header
}

// ask calls a method that must succeed.
func (d door) ask(t *testing.T, method string, q, a proto.Message) {
	t.Helper()
	if e := d.call(t, method, q, a); e.Code != "" {
		t.Fatalf("%s: %+v", method, e)
	}
}

// refuse calls a method that must fail, and tell why.
func (d door) refuse(t *testing.T, method string, q proto.Message, code, reason, message string) {
	t.Helper()
	e := d.call(t, method, q, &api.StatusResponse{})
	if e.Code != code || e.Reason != reason || !strings.Contains(e.Message, message) {
		t.Errorf("%s: %+v, not %s, %s with %q", method, e, code, reason, message)
	}
}

var collections atomic.Int64

// collection makes one of the router's encoder, unless the request says more.
func (d door) collection(t *testing.T, q *api.CreateCollectionRequest) string {
	t.Helper()
	q.Name = fmt.Sprint("c", collections.Add(1))
	d.ask(t, "CreateCollection", q, &api.Collection{})
	return q.Name
}

// put puts documents that must all be written.
func (d door) put(t *testing.T, collection string, documents ...*api.PutDocument) *api.WriteResponse {
	t.Helper()
	a := &api.WriteResponse{}
	d.ask(t, "Put", &api.PutRequest{Collection: collection, Documents: documents}, a)
	for _, o := range a.Outcomes {
		if o.Error != nil {
			t.Fatalf("%q: %v", o.Id, o.Error)
		}
	}
	if len(a.Outcomes) != len(documents) {
		t.Fatalf("%d outcomes of %d documents", len(a.Outcomes), len(documents))
	}
	return a
}

func textDocument(id, text string) *api.PutDocument { return &api.PutDocument{Id: id, Text: text} }

// each runs a test through both doors of a rig.
func each(t *testing.T, r *rig, f func(t *testing.T, d door)) {
	for _, d := range r.doors() {
		t.Run(d.name, func(t *testing.T) { f(t, d) })
	}
}
