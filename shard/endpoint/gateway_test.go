package endpoint_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"

	"ostraca/api"
	"ostraca/retrieval"
	"ostraca/shard"
	"ostraca/shard/endpoint"
)

// Bodies and paths that cannot be read are refused with a status, a reason and a message that helps.
func TestBadRequests(t *testing.T) {
	name := three.doors()[0].collection(t, &api.CreateCollectionRequest{})
	c := "/v1/collections/" + name
	for _, x := range []struct {
		verb, path, body string
		status           int
		reason, message  string
	}{
		{"POST", c + ":search", `{"text": "x"`, 400, "INVALID", "body: "},
		{"POST", c + ":search", `nonsense`, 400, "INVALID", "body: "},
		{"POST", c + ":search", `{"text": "x"} {"text": "y"}`, 400, "INVALID", "body: "},
		{"POST", c + ":search", `[]`, 400, "INVALID", "body: "},
		{"POST", c + ":search", `{"text": "x", "topk": 5}`, 400, "INVALID", "topk"},
		{"POST", c + ":search", `{"text": 5}`, 400, "INVALID", "text"},
		{"POST", c + ":search", `{"text": "x", "k": "many"}`, 400, "INVALID", "k"},
		{"POST", c + ":search", `{"text": "x", "k": -1}`, 400, "INVALID", "k"},
		{"POST", c + ":search", `{"text": "x", "k": 1.5}`, 400, "INVALID", "k"},
		{"POST", c + ":search", `{"text": "x", "k": 10000000000}`, 400, "INVALID", "k"},
		{"POST", c + ":search", `{"text": "x", "k": 1000000000}`, 400, "", "10000"},
		{"POST", c + ":search", "{\"text\": \"\xff\"}", 400, "INVALID", "UTF-8"},
		{"POST", c + ":search?k=5", `{"text": "x"}`, 400, "INVALID", `"k"`},
		{"POST", c + ":search", ``, 400, "INVALID", "no question"},
		{"POST", c + "/documents:put", `{"documents": {"id": "a"}}`, 400, "INVALID", "line 1:15"},
		{"POST", c + "/documents:put", `{"documents": [{"id": "a", "codes": {"rows": "?"}}]}`, 400, "INVALID", "rows"},
		{"POST", c + "/documents:put", `{"documents": [{"id": "a", "fields": [1]}]}`, 400, "INVALID", "line 1:38"},
		{"POST", c + "/documents:put", `{"documents": [{"id": "a", "fields": {"x": 1e999}}]}`, 400, "INVALID", "1e999"},
		{"POST", c + "/documents:put", `{"documents": [], "operation_id": "zz"}`, 400, "INVALID", "40 hexadecimal"},
		{"POST", c + "/documents:put", `{"documents": [{"id": "` + strings.Repeat("x", endpoint.MaxBodyBytes) + `"}]}`, 413, "OVER_LIMIT", "33554432"},
		{"POST", c + ":search", `{"tokens": [{"values": [` + strings.Repeat("1,", 9<<20) + `1]}]}`, 400, "OVER_LIMIT", "several smaller ones"},
		{"GET", c + "/documents?limt=5", ``, 400, "INVALID", "limt"},
		{"GET", c + "/documents?limit=x", ``, 400, "INVALID", "limit"},
		{"GET", c + "/documents?%zz=x", ``, 400, "INVALID", ""},
		{"POST", "/v1/collections/No!:search", `{"text": "x"}`, 400, "INVALID", "a-z"},
		{"POST", "/v1/collections/a%2Fb:search", `{"text": "x"}`, 404, "NOT_FOUND", "a/b"},
		{"DELETE", "/v1/collections/nowhere", ``, 404, "NOT_FOUND", "nowhere"},
		{"POST", "/v1/collections/nowhere/documents:export", `{}`, 404, "NOT_FOUND", "nowhere"},
		{"GET", "/v2/nothing", ``, 404, "NOT_FOUND", "/v2/nothing"},
		{"GET", "/", ``, 404, "NOT_FOUND", "openapi"},
		{"GET", c + ":search", ``, 405, "UNIMPLEMENTED", "GET"},
		{"PUT", "/v1/status", ``, 405, "UNIMPLEMENTED", "PUT"},
	} {
		status, body, header := three.http(t, x.verb, x.path, x.body)
		if status != x.status || header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %.60s %.60s: %d, %.200s", x.verb, x.path, x.body, status, body)
			continue
		}
		e := toldBy(t, status, body)
		if x.reason != "" && e.Reason != x.reason || !strings.Contains(e.Message, x.message) || len(e.Message) > 1000 {
			t.Errorf("%s %.60s %.60s: %+v, not %s with %q", x.verb, x.path, x.body, e, x.reason, x.message)
		}
	}
}

// What a person with curl sees.
func TestCurl(t *testing.T) {
	name := three.doors()[0].collection(t, &api.CreateCollectionRequest{})
	c := "/v1/collections/" + name
	_, body, _ := three.http(t, "POST", c+"/documents:put", `{"documents": [{"id": "a/b #1 🏺", "text": "<b>ü</b> & so on", "fields": {"n": 1, "s": null}}]}`)
	var put struct {
		Outcomes []map[string]any `json:"outcomes"`
	}
	if err := json.Unmarshal(body, &put); err != nil || len(put.Outcomes) != 1 || put.Outcomes[0]["id"] != "a/b #1 🏺" {
		t.Fatalf("%v: %s", err, body)
	}
	if _, there := put.Outcomes[0]["error"]; there || put.Outcomes[0]["tokens_cut"] != 0. {
		t.Errorf("%s: an error where there is none, or no zero", body)
	}
	_, body, header := three.http(t, "GET", c+"/documents?limit=1&filter=fields.n%20%3D%3D%201.0", "")
	want := fmt.Sprintf(`{"documents":[{"id":"a/b #1 🏺","text":"<b>ü</b> & so on","fields":{"n":1,"s":null},"version":%q,"spans":[]}],"next_cursor":""}`, put.Outcomes[0]["version"])
	if string(body) != want || header.Get("Content-Type") != "application/json" {
		t.Errorf("%s\n%s", body, want)
	}
	_, body, _ = three.http(t, "POST", c+":search", `{"text": "nothing", "filter": "fields.n == 2.0"}`)
	if !strings.HasPrefix(string(body), `{"hits":[],"stats":{"plan":"exact",`) || !strings.HasSuffix(string(body), `"missing_shards":[]}`) {
		t.Errorf("%s", body)
	}
	status, body, header := three.http(t, "GET", "/openapi.json", "")
	if status != 200 || !bytes.Equal(body, api.OpenAPI) || header.Get("Content-Type") != "application/json" {
		t.Errorf("%d, %d bytes", status, len(body))
	}
}

// An export is a document a line, and its lines can be put as they are.
func TestExportLines(t *testing.T) {
	d := three.doors()[1]
	name := d.collection(t, &api.CreateCollectionRequest{})
	d.put(t, name, corpus(300)...)
	c := "/v1/collections/" + name
	status, body, header := three.http(t, "POST", c+"/documents:export", `{"codes": true}`)
	if status != 200 || header.Get("Content-Type") != "application/x-ndjson" {
		t.Fatalf("%d: %.300s", status, body)
	}
	var lines []string
	for s := bufio.NewScanner(bytes.NewReader(body)); s.Scan(); {
		x := &api.Document{}
		if err := protojson.Unmarshal(s.Bytes(), x); err != nil || x.Id == "" || x.Codes == nil {
			t.Fatalf("%v: %.300s", err, s.Text())
		}
		lines = append(lines, s.Text())
	}
	if len(lines) != 300 {
		t.Fatalf("%d lines", len(lines))
	}
	status, body, _ = three.http(t, "POST", c+"/documents:put", `{"documents": [`+strings.Join(lines, ",")+`]}`)
	if status != 200 || strings.Contains(string(body), "error") {
		t.Errorf("%d: %.300s", status, body)
	}
	status, body, header = three.http(t, "POST", c+"/documents:export", `{"filter": "false"}`)
	if status != 200 || len(body) != 0 || header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("%d: %s", status, body)
	}
	status, body, _ = three.http(t, "POST", c+"/documents:export", `{"filter": "fields."}`)
	if e := toldBy(t, status, body); status != 400 || e.Reason != "INVALID" {
		t.Errorf("%d: %s", status, body)
	}
}

// broken is a service that fails in ways of its own.
type broken struct {
	*endpoint.Service
	export func(grpc.ServerStreamingServer[api.Document]) error
}

func (broken) Count(context.Context, *api.CountRequest) (*api.CountResponse, error) { panic("count") }

func (b broken) Export(_ *api.ExportRequest, to grpc.ServerStreamingServer[api.Document]) error {
	return b.export(to)
}

// A panic ends one request and is logged by the request's id; an error in the middle of a stream is its last line.
func TestFailures(t *testing.T) {
	var log bytes.Buffer
	r := &rig{}
	defer func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	}()
	b := broken{endpoint.New(endpoint.Options{Router: three.router, Logger: slog.New(slog.NewTextHandler(&log, nil))}), func(to grpc.ServerStreamingServer[api.Document]) error {
		if err := to.Send(&api.Document{Id: "first"}); err != nil {
			return err
		}
		return shard.Public(fmt.Errorf("the disk is gone: %w", retrieval.ErrCorrupt))
	}}
	if err := r.serve(b); err != nil {
		t.Fatal(err)
	}
	const id = "mine-17"
	status, body, _ := r.http(t, "POST", "/v1/collections/x/documents:count", "")
	e := toldBy(t, status, body)
	if status != 500 || e.Reason != "INTERNAL" || !strings.Contains(e.Message, id) || !strings.Contains(log.String(), id) || !strings.Contains(log.String(), "broken.Count") {
		t.Errorf("%+v of request %s, logged %s", e, id, log.String())
	}
	_, body, _ = r.http(t, "POST", "/v1/collections/x/documents:export", "")
	lines := strings.Split(string(body), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], `{"id":"first"`) || lines[1] != `{"error":{"code":"DATA_LOSS","reason":"CORRUPT","message":"the disk is gone: corrupt data"}}` {
		t.Errorf("%q", lines)
	}
	if status, _, _ := r.http(t, "GET", "/v1/status", ""); status != 200 {
		t.Errorf("%d after a panic", status)
	}
}

// A span that cuts a character, and a text that is not UTF-8, spoil no answer.
func TestForeignBytes(t *testing.T) {
	each(t, three, func(t *testing.T, d door) {
		name := d.collection(t, &api.CreateCollectionRequest{Encoder: "none", Width: 4})
		vector := []*api.Vector{{Values: []float32{1, 0, 0, 0}}}
		d.put(t, name, &api.PutDocument{Id: "cut", Text: "äö", Tokens: vector, Spans: []*api.Span{{Start: 1, End: 3}}})
		prepared, err := three.router.Prepare(t.Context(), name, []shard.Input{{ID: "latin", Text: "caf\xe9", Vectors: []float32{1, 0, 0, 0}, Width: 4}}, 0)
		if err != nil || prepared[0].Err != nil {
			t.Fatal(err, prepared)
		}
		if results, err := three.router.Write(t.Context(), &shard.WriteRequest{Operations: []shard.Operation{prepared[0].Operation}}); err != nil || results[0].Failure() != nil {
			t.Fatal(err, results)
		}
		a := &api.SearchResponse{}
		d.ask(t, "Search", &api.SearchRequest{Collection: name, Tokens: vector, Explain: true}, a)
		if len(a.Hits) != 2 || a.Hits[0].Alignments[0].Text != "\ufffd" && a.Hits[1].Alignments[0].Text != "\ufffd\ufffd" {
			t.Errorf("%v", a.Hits)
		}
		got := &api.GetResponse{}
		d.ask(t, "Get", &api.GetRequest{Collection: name, Ids: []string{"latin"}}, got)
		if got.Documents[0].Text != "caf\ufffd" {
			t.Errorf("%q", got.Documents[0].Text)
		}
	})
}
