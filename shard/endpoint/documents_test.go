package endpoint_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"ostraca/api"
	"ostraca/shard"
	"ostraca/shard/endpoint"
)

func fields(t *testing.T, of map[string]any) *structpb.Struct {
	t.Helper()
	out, err := structpb.NewStruct(of)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestCollections(t *testing.T) {
	each(t, three, func(t *testing.T, d door) {
		name := d.collection(t, &api.CreateCollectionRequest{})
		d.refuse(t, "CreateCollection", &api.CreateCollectionRequest{Name: name}, "ALREADY_EXISTS", "ALREADY_EXISTS", name)
		d.refuse(t, "CreateCollection", &api.CreateCollectionRequest{Name: name, IfAbsent: true, Encoder: "none", Width: 8}, "ALREADY_EXISTS", "ALREADY_EXISTS", "another kind")
		c := &api.Collection{}
		d.ask(t, "CreateCollection", &api.CreateCollectionRequest{Name: name, IfAbsent: true}, c)
		if c.Name != name || c.Codec != "int8" || c.Width != 64 || c.VectorWidth != 64 || len(c.Encoder) != 64 || c.Epoch != 1 || c.Documents != 0 || c.Digest != strings.Repeat("0", 64) {
			t.Errorf("%v", c)
		}
		d.put(t, name, textDocument("a", "the red car"), textDocument("b", "a blue car"))
		all := &api.ListCollectionsResponse{}
		d.ask(t, "ListCollections", &api.ListCollectionsRequest{}, all)
		i := slices.IndexFunc(all.Collections, func(c *api.Collection) bool { return c.Name == name })
		if i < 0 || all.Collections[i].Documents != 2 || all.Collections[i].Tokens < 4 || all.Collections[i].Digest == c.Digest {
			t.Fatalf("%v", all)
		}
		dropped := &api.DropCollectionResponse{}
		d.ask(t, "DropCollection", &api.DropCollectionRequest{Collection: name}, dropped)
		if dropped.Count != 2 {
			t.Errorf("%v", dropped)
		}
		d.refuse(t, "DropCollection", &api.DropCollectionRequest{Collection: name}, "NOT_FOUND", "NOT_FOUND", name)
		for _, c := range []struct {
			q       *api.CreateCollectionRequest
			message string
		}{
			{&api.CreateCollectionRequest{}, "no name"},
			{&api.CreateCollectionRequest{Name: "Upper"}, "a-z"},
			{&api.CreateCollectionRequest{Name: "x", Codec: "5bit"}, `"int8" "4bit"`},
			{&api.CreateCollectionRequest{Name: "x", Encoder: "none"}, "width"},
			{&api.CreateCollectionRequest{Name: "x", Encoder: "none", Width: 1e9}, "1024"},
			{&api.CreateCollectionRequest{Name: "x", Encoder: "bert"}, "not the router's"},
		} {
			d.refuse(t, "CreateCollection", c.q, "INVALID_ARGUMENT", "INVALID", c.message)
		}
	})
}

func TestProjection(t *testing.T) {
	each(t, three, func(t *testing.T, d door) {
		sample, lists := &api.Projection{Name: "cars"}, &api.Lists{Sample: corpus(9)}
		for i := range 200 {
			sample.SampleTexts = append(sample.SampleTexts, fmt.Sprintf("car %d is red and blue %d", i, i*i))
		}
		name := d.collection(t, &api.CreateCollectionRequest{Width: 8, Projection: sample, Lists: lists})
		c := &api.Collection{}
		d.ask(t, "CreateCollection", &api.CreateCollectionRequest{Name: name, Width: 8, Projection: sample, IfAbsent: true}, c)
		d.ask(t, "CreateCollection", &api.CreateCollectionRequest{Name: name, Width: 8, Lists: lists, IfAbsent: true}, c) // made by its projection
		other := &api.Projection{SampleTexts: sample.SampleTexts}
		d.refuse(t, "CreateCollection", &api.CreateCollectionRequest{Name: name, Width: 8, Projection: other, IfAbsent: true}, "ALREADY_EXISTS", "ALREADY_EXISTS", "cars: ")
		if c.Width != 8 || c.VectorWidth != 64 || !strings.HasPrefix(c.Projection, "cars: ") || !strings.Contains(c.Projection, "200 texts") {
			t.Errorf("%v", c)
		}
		d.put(t, name, textDocument("a", "a red car"))
		got := &api.GetResponse{}
		d.ask(t, "Get", &api.GetRequest{Collection: name, Ids: []string{"a"}, Codes: true}, got)
		if got.Documents[0].Codes.Width != 8 || len(got.Documents[0].Codes.Rows) != 3*8 {
			t.Errorf("%v", got)
		}
		var vectors []*api.Vector
		for i := range 40 {
			vectors = append(vectors, &api.Vector{Values: []float32{1, float32(i), 3, float32(i * i), 2, 1}})
		}
		outside := d.collection(t, &api.CreateCollectionRequest{Width: 2, VectorWidth: 6, Encoder: "none", Projection: &api.Projection{SampleTokens: vectors}})
		d.put(t, outside, &api.PutDocument{Id: "v", Tokens: vectors[:3]})
		a := &api.SearchResponse{}
		d.ask(t, "Search", &api.SearchRequest{Collection: outside, Tokens: vectors[:2]}, a)
		if len(a.Hits) != 1 {
			t.Errorf("%v", a)
		}
		for _, c := range []struct {
			q       *api.CreateCollectionRequest
			message string
		}{
			{&api.CreateCollectionRequest{Width: 8}, "sample"}, // none ships with this encoder
			{&api.CreateCollectionRequest{Width: 65}, "64"},
			{&api.CreateCollectionRequest{Width: 64, Projection: sample}, "nothing to project"},
			{&api.CreateCollectionRequest{VectorWidth: 32}, "64"},
			{&api.CreateCollectionRequest{Width: 2, VectorWidth: 8, Encoder: "none"}, "sample"},
			{&api.CreateCollectionRequest{Width: 2, VectorWidth: 8, Encoder: "none", Projection: &api.Projection{SampleTokens: vectors}}, "6 dimensions"},
			{&api.CreateCollectionRequest{Width: 2, VectorWidth: 6, Encoder: "none", Projection: &api.Projection{SampleTokens: vectors, SampleTexts: []string{"x"}}}, "the one or the other"},
			{&api.CreateCollectionRequest{Width: 2, VectorWidth: 1e9, Encoder: "none"}, ""},
		} {
			c.q.Name = "x"
			d.refuse(t, "CreateCollection", c.q, "INVALID_ARGUMENT", "INVALID", c.message)
		}
		many := &api.Projection{SampleTexts: make([]string, endpoint.MaxSampleTexts+1)}
		d.refuse(t, "CreateCollection", &api.CreateCollectionRequest{Name: "x", Width: 8, Projection: many}, "INVALID_ARGUMENT", "OVER_LIMIT", "4096")
	})
}

// TestReduction: a collection tells how its documents are reduced; alignments of what is left point at the text, and codes that go out come in again.
func TestReduction(t *testing.T) {
	each(t, three, func(t *testing.T, d door) {
		some := &api.Reduction{Pool: 2, DropPunctuation: true, Keep: .8}
		name := d.collection(t, &api.CreateCollectionRequest{Codec: "4bit", Reduction: some})
		c := &api.Collection{}
		d.ask(t, "CreateCollection", &api.CreateCollectionRequest{Name: name, Codec: "4bit", Reduction: some, IfAbsent: true}, c)
		if !proto.Equal(c.Reduction, some) {
			t.Errorf("%v", c)
		}
		d.refuse(t, "CreateCollection", &api.CreateCollectionRequest{Name: name, Codec: "4bit", IfAbsent: true}, "ALREADY_EXISTS", "ALREADY_EXISTS", "pooled by 2")
		text := "a red car, a blue car!"
		put := d.put(t, name, textDocument("a", text))
		if n := put.Outcomes[0].Tokens; n != 3 { // 6 words, 5 of them kept, in pairs
			t.Errorf("%d tokens", n)
		}
		got := &api.GetResponse{}
		d.ask(t, "Get", &api.GetRequest{Collection: name, Ids: []string{"a"}, Codes: true}, got)
		x := got.Documents[0]
		d.put(t, name, &api.PutDocument{Id: "b", Text: x.Text, Codes: x.Codes, Spans: x.Spans})
		a, b := &api.SearchResponse{}, &api.SearchResponse{}
		d.ask(t, "Search", &api.SearchRequest{Collection: name, Text: "red", Explain: true}, a)
		d.ask(t, "Rerank", &api.RerankRequest{Collection: name, Text: "red", Texts: []string{text}, Explain: true}, b)
		if len(a.Hits) != 2 || len(b.Hits) != 1 || a.Hits[0].Score != a.Hits[1].Score || a.Hits[0].Score != b.Hits[0].Score {
			t.Fatalf("%v\n%v", a, b)
		}
		for _, h := range append(a.Hits, b.Hits...) {
			m := h.Alignments[0]
			if s := x.Spans[m.Position]; m.Text != text[s.Start:s.End] || m.Text == "" || m.Text == "," {
				t.Errorf("%v of %v", m, x.Spans)
			}
		}
		for _, c := range []struct {
			q       *api.CreateCollectionRequest
			message string
		}{
			{&api.CreateCollectionRequest{Reduction: &api.Reduction{Pool: 17}}, "16"},
			{&api.CreateCollectionRequest{Reduction: &api.Reduction{Keep: 1.5}}, "thousandths"},
			{&api.CreateCollectionRequest{Encoder: "none", Width: 4, Reduction: &api.Reduction{Keep: .5}}, "no encoder"},
		} {
			c.q.Name = "x"
			d.refuse(t, "CreateCollection", c.q, "INVALID_ARGUMENT", "INVALID", c.message)
		}
	})
}

func TestPutGet(t *testing.T) {
	each(t, three, func(t *testing.T, d door) {
		name := d.collection(t, &api.CreateCollectionRequest{})
		op := &api.NewOperationResponse{}
		d.ask(t, "NewOperation", &api.NewOperationRequest{}, op)
		if len(op.OperationId) != 40 || op.ValidMs != 600_000 {
			t.Fatalf("%v", op)
		}
		odd := "a b/c?d=ä#🏺%2F"
		put := &api.PutRequest{Collection: name, OperationId: op.OperationId, Documents: []*api.PutDocument{
			{Id: odd, Text: "the quick brown fox", Fields: fields(t, map[string]any{"year": 2020, "deep": map[string]any{"list": []any{1.5, nil, "x"}}})},
			{Id: "", Text: "no id"},
			{Id: "big", Fields: fields(t, map[string]any{"n": 9007199254740993.0})},
			{Id: "both", Text: "x", Tokens: []*api.Vector{{Values: make([]float32, 64)}}, Codes: &api.Codes{}},
			{Id: "zero", Tokens: []*api.Vector{{Values: make([]float32, 64)}}},
			{Id: "absent", Text: "new", IfAbsent: true},
			{Id: "absent", Text: "again", IfAbsent: true},
			{Id: "version", Text: "x", IfVersion: proto.Uint64(7)},
			{Id: "cut", Text: strings.Repeat("word ", 30)},
		}, MaxTokens: 12}
		a := &api.WriteResponse{}
		d.ask(t, "Put", put, a)
		var told []string
		for _, o := range a.Outcomes {
			told = append(told, o.Error.GetCode()+" "+o.Error.GetReason())
		}
		want := []string{" ", "INVALID_ARGUMENT INVALID", "INVALID_ARGUMENT INVALID", "INVALID_ARGUMENT INVALID", "INVALID_ARGUMENT INVALID", " ",
			"ALREADY_EXISTS ALREADY_EXISTS", "ABORTED VERSION_DIFFERS", " "}
		if !slices.Equal(told, want) || a.OperationId != op.OperationId {
			t.Fatalf("%q\nnot %q\n%v", told, want, a)
		}
		if m := a.Outcomes[2].Error.Message; !strings.Contains(m, "string") || !strings.Contains(m, `"big"`) {
			t.Errorf("%q tells not what to do", m)
		}
		if o := a.Outcomes[6]; o.Version != a.Outcomes[5].Version || o.Version == 0 {
			t.Errorf("%v: the version in the way is %d", o, a.Outcomes[5].Version)
		}
		if o := a.Outcomes[8]; o.Tokens != 10 || o.TokensCut != 20 {
			t.Errorf("%v: cut to 12 tokens, 10 are left of 30", o)
		}
		again := &api.WriteResponse{}
		d.ask(t, "Put", put, again)
		if again.Outcomes[5].Error != nil || again.Outcomes[5].Version != a.Outcomes[5].Version {
			t.Errorf("a retry is told %v, not %v", again.Outcomes[5], a.Outcomes[5])
		}
		got := &api.GetResponse{}
		d.ask(t, "Get", &api.GetRequest{Collection: name, Ids: []string{"none", odd, "cut", "none"}, After: a.Receipts, Read: "local"}, got)
		if len(got.Documents) != 2 || !slices.Equal(got.Missing, []string{"none"}) {
			t.Fatalf("%v", got)
		}
		if x := got.Documents[0]; x.Id != odd || x.Text != "the quick brown fox" || !proto.Equal(x.Fields, put.Documents[0].Fields) || x.Version != a.Outcomes[0].Version || x.Codes != nil || x.Spans != nil {
			t.Errorf("%v", x)
		}
		patch := &api.WriteResponse{}
		d.ask(t, "Patch", &api.PatchRequest{Collection: name, Documents: []*api.PatchDocument{
			{Id: odd, Fields: fields(t, map[string]any{"year": nil, "lang": "en"})},
			{Id: "none", Fields: fields(t, map[string]any{"x": 1})},
			{Id: "cut", Fields: fields(t, map[string]any{"x": 1}), IfVersion: proto.Uint64(1)},
		}}, patch)
		if patch.Outcomes[0].Error != nil || patch.Outcomes[1].Error.GetReason() != "NOT_FOUND" || patch.Outcomes[2].Error.GetReason() != "VERSION_DIFFERS" || len(patch.OperationId) != 40 {
			t.Fatalf("%v", patch)
		}
		d.ask(t, "Get", &api.GetRequest{Collection: name, Ids: []string{odd}, Codes: true}, got)
		x := got.Documents[0]
		if _, there := x.Fields.GetFields()["year"]; there || x.Fields.Fields["lang"].GetStringValue() != "en" || x.Codes.GetWidth() != 64 || len(x.Codes.Rows) != 64*len(x.Spans) || len(x.Spans) == 0 {
			t.Errorf("%v", x)
		}
	})
}

func TestListCount(t *testing.T) {
	each(t, three, func(t *testing.T, d door) {
		name := d.collection(t, &api.CreateCollectionRequest{})
		var documents []*api.PutDocument
		for i := range 25 {
			documents = append(documents, &api.PutDocument{Id: fmt.Sprintf("d%02d", i), Text: "text", Fields: fields(t, map[string]any{"n": i})})
		}
		d.put(t, name, documents...)
		for _, c := range []struct {
			filter string
			want   int
		}{{"", 25}, {"fields.n >= 10.0 && fields.n < 20.0", 10}} {
			var ids []string
			q := &api.ListRequest{Collection: name, Limit: 4, Filter: c.filter}
			for pages := 0; ; pages++ {
				a := &api.ListResponse{}
				d.ask(t, "List", q, a)
				for _, x := range a.Documents {
					ids = append(ids, x.Id)
				}
				if q.Cursor = a.NextCursor; q.Cursor == "" {
					break
				}
				if len(a.Documents) > 4 || pages > 100 {
					t.Fatalf("%d documents on page %d", len(a.Documents), pages)
				}
			}
			if len(ids) != c.want || !slices.IsSorted(ids) {
				t.Errorf("%q: %q", c.filter, ids)
			}
			n := &api.CountResponse{}
			d.ask(t, "Count", &api.CountRequest{Collection: name, Filter: c.filter}, n)
			if int(n.Count) != c.want {
				t.Errorf("%q: %v", c.filter, n)
			}
		}
		d.refuse(t, "List", &api.ListRequest{Collection: name, Limit: 1e9}, "INVALID_ARGUMENT", "OVER_LIMIT", "1000")
		d.refuse(t, "List", &api.ListRequest{Collection: name, Filter: "fields.n >"}, "INVALID_ARGUMENT", "INVALID", "")
		d.refuse(t, "Count", &api.CountRequest{Collection: name, Filter: "1"}, "INVALID_ARGUMENT", "INVALID", "")
		d.refuse(t, "Count", &api.CountRequest{Collection: "nowhere"}, "NOT_FOUND", "NOT_FOUND", "nowhere")
		d.refuse(t, "List", &api.ListRequest{Collection: name, Read: "bounded:soon"}, "INVALID_ARGUMENT", "INVALID", "500ms")
		d.refuse(t, "Count", &api.CountRequest{Collection: name, Read: "fresh"}, "INVALID_ARGUMENT", "INVALID", "linearizable")
		d.refuse(t, "Get", &api.GetRequest{Collection: name, Ids: []string{"a"}, After: []*api.Receipt{{Generation: "x"}}}, "INVALID_ARGUMENT", "INVALID", "generation")
		d.refuse(t, "Count", &api.CountRequest{Collection: name, After: []*api.Receipt{{Generation: "5"}}}, "FAILED_PRECONDITION", "GENERATION_CHANGED", "")
		d.refuse(t, "Get", &api.GetRequest{Collection: name, Ids: make([]string, endpoint.MaxGet+1)}, "INVALID_ARGUMENT", "OVER_LIMIT", "several batches")
	})
}

func TestForget(t *testing.T) {
	each(t, three, func(t *testing.T, d door) {
		name := d.collection(t, &api.CreateCollectionRequest{})
		d.put(t, name, textDocument("book", "a"), textDocument("book#", "b"), textDocument("book#1", "c"), textDocument("book#2", "d"), textDocument("book#1#x", "e"),
			textDocument("book2#1", "f"), textDocument("page", "g"))
		q := &api.ForgetRequest{Collection: name, Ids: []string{"page", "none", "book#1"}, Parents: []string{"book", "book"}, DryRun: true}
		a := &api.ForgetResponse{}
		d.ask(t, "Forget", q, a)
		slices.Sort(a.Ids)
		if want := []string{"book", "book#", "book#1", "book#2", "page"}; a.Count != 5 || !slices.Equal(a.Ids, want) || len(a.Receipts) != 0 {
			t.Fatalf("%v, not %q", a, want)
		}
		q.DryRun = false
		a.Reset()
		d.ask(t, "Forget", q, a)
		if a.Count != 5 || len(a.Receipts) == 0 || len(a.OperationId) != 40 {
			t.Fatalf("%v", a)
		}
		left := &api.ListResponse{}
		d.ask(t, "List", &api.ListRequest{Collection: name}, left)
		if len(left.Documents) != 2 || left.Documents[0].Id != "book#1#x" || left.Documents[1].Id != "book2#1" {
			t.Errorf("%v is left", left)
		}
		q.OperationId = a.OperationId
		again := &api.ForgetResponse{}
		d.ask(t, "Forget", q, again)
		if again.Count != a.Count {
			t.Errorf("a retry is told %d, not %d", again.Count, a.Count)
		}
		d.refuse(t, "Forget", &api.ForgetRequest{Collection: name}, "INVALID_ARGUMENT", "INVALID", "no ids and no parents")
		d.refuse(t, "Forget", &api.ForgetRequest{Collection: name, Ids: []string{""}, DryRun: true}, "INVALID_ARGUMENT", "INVALID", "empty")
		d.refuse(t, "Forget", &api.ForgetRequest{Collection: name, Ids: []string{"a"}, OperationId: "12"}, "INVALID_ARGUMENT", "INVALID", "40 hexadecimal")
		d.refuse(t, "Forget", &api.ForgetRequest{Collection: name, Ids: []string{"a"}, OperationId: strings.Repeat("0", 39) + "1"}, "FAILED_PRECONDITION", "OPERATION_EXPIRED", "old")
		d.refuse(t, "Forget", &api.ForgetRequest{Collection: name, Ids: []string{"a"}, OperationId: strings.Repeat("0", 40)}, "INVALID_ARGUMENT", "INVALID", "zero")
	})
}

// What is exported and put again gives the state that was there: the same digest of the data.
func TestRoundTrip(t *testing.T) {
	d := door{"grpc", three.byGRPC}
	digest := func(name string) string {
		t.Helper()
		c := &api.Collection{}
		d.ask(t, "CreateCollection", &api.CreateCollectionRequest{Name: name, IfAbsent: true}, c)
		return c.Digest
	}
	name := d.collection(t, &api.CreateCollectionRequest{})
	var documents []*api.PutDocument
	var ids []string
	for i := range 600 { // several pages
		ids = append(ids, fmt.Sprintf("d%d", i))
		documents = append(documents, &api.PutDocument{Id: ids[i], Text: fmt.Sprintf("document %d tells of %s", i, strings.Repeat("cars ", i%7)), Fields: fields(t, map[string]any{"n": i, "x": .1 * float64(i)})})
	}
	documents[0].Text = "" // has no tokens
	d.put(t, name, documents...)
	before := digest(name)
	export := func(q *api.ExportRequest) []*api.Document {
		t.Helper()
		stream, err := three.client.Export(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		var all []*api.Document
		for {
			x, err := stream.Recv()
			if err == io.EOF {
				return all
			}
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, x)
		}
	}
	all := export(&api.ExportRequest{Collection: name, Codes: true})
	if len(all) != len(documents) || !slices.IsSortedFunc(all, func(a, b *api.Document) int { return strings.Compare(a.Id, b.Id) }) {
		t.Fatalf("%d of %d documents, or not in order", len(all), len(documents))
	}
	if rest := export(&api.ExportRequest{Collection: name, Cursor: all[499].Id}); len(rest) != 100 || rest[0].Id != all[500].Id || rest[0].Codes != nil {
		t.Errorf("%d documents follow the 500th", len(rest))
	}
	gone := &api.ForgetResponse{}
	d.ask(t, "Forget", &api.ForgetRequest{Collection: name, Ids: ids}, gone)
	if empty := digest(name); gone.Count != 600 || empty != strings.Repeat("0", 64) {
		t.Fatalf("%d forgotten, the digest is %s", gone.Count, empty)
	}
	var back []*api.PutDocument
	for _, x := range all {
		back = append(back, &api.PutDocument{Id: x.Id, Text: x.Text, Fields: x.Fields, Codes: x.Codes, Spans: x.Spans})
	}
	d.put(t, name, back...)
	if after := digest(name); after != before {
		t.Errorf("the digest is %s, it was %s", after, before)
	}
}

// A batch over a limit is refused whole; one that is large and good streams through.
func TestPutLimits(t *testing.T) {
	each(t, three, func(t *testing.T, d door) {
		name := d.collection(t, &api.CreateCollectionRequest{Encoder: "none", Width: 8})
		many := make([]*api.PutDocument, endpoint.MaxPut+1)
		for i := range many {
			many[i] = &api.PutDocument{Id: fmt.Sprint(i), Tokens: []*api.Vector{{Values: []float32{1, 2, 3, 4, 5, 6, 7, float32(i)}}}}
		}
		d.refuse(t, "Put", &api.PutRequest{Collection: name, Documents: many}, "INVALID_ARGUMENT", "OVER_LIMIT", "4096")
		d.put(t, name, many[1:]...)
		d.refuse(t, "Put", &api.PutRequest{Collection: "nowhere", Documents: many[:2]}, "NOT_FOUND", "NOT_FOUND", "nowhere")
		a := &api.WriteResponse{}
		d.ask(t, "Put", &api.PutRequest{Collection: name, Documents: []*api.PutDocument{
			textDocument("text", "words"),
			{Id: "width", Tokens: []*api.Vector{{Values: []float32{1, 2}}}},
			{Id: "ragged", Tokens: []*api.Vector{{Values: make([]float32, 8)}, {Values: make([]float32, 7)}}},
			{Id: "codes", Codes: &api.Codes{Codec: "int8", Width: 8, Rows: make([]byte, 8), Scales: []byte{1, 0}}},
			{Id: "scales", Codes: &api.Codes{Codec: "int8", Width: 8, Scales: []byte{1}}},
			{Id: "spans", Text: "ab", Tokens: many[0].Tokens, Spans: []*api.Span{{Start: 1, End: 9}}},
		}}, a)
		for _, o := range a.Outcomes {
			if o.Error.GetReason() != "INVALID" || !strings.Contains(o.Error.Message, `"`+o.Id+`"`) {
				t.Errorf("%v", o)
			}
		}
	})
}

// Answers that no message can carry are refused with what to do; pages are cut before.
func TestLargeAnswers(t *testing.T) {
	d := three.doors()[0]
	name := d.collection(t, &api.CreateCollectionRequest{Encoder: "none", Width: 4})
	vector := []*api.Vector{{Values: []float32{1, 0, 0, 0}}}
	var ids []string
	for range 2 {
		var documents []*api.PutDocument
		for range 17 {
			ids = append(ids, fmt.Sprintf("d%02d", len(ids)))
			documents = append(documents, &api.PutDocument{Id: ids[len(ids)-1], Text: strings.Repeat("x", 1<<20), Tokens: vector})
		}
		d.put(t, name, documents...)
	}
	for _, d := range three.doors() {
		d.refuse(t, "Get", &api.GetRequest{Collection: name, Ids: ids}, "INVALID_ARGUMENT", "OVER_LIMIT", "ask for fewer")
		d.refuse(t, "Search", &api.SearchRequest{Collection: name, Tokens: vector, K: 34}, "INVALID_ARGUMENT", "OVER_LIMIT", "ask for fewer")
		a := &api.SearchResponse{}
		d.ask(t, "Search", &api.SearchRequest{Collection: name, Tokens: vector, K: 34, IdsOnly: true}, a)
		if len(a.Hits) != 34 {
			t.Errorf("%d hits", len(a.Hits))
		}
	}
	var listed []string
	pages, q := 0, &api.ListRequest{Collection: name}
	for pages == 0 || q.Cursor != "" {
		a := &api.ListResponse{}
		d.ask(t, "List", q, a)
		for _, x := range a.Documents {
			listed = append(listed, x.Id)
		}
		pages, q.Cursor = pages+1, a.NextCursor
	}
	if !slices.Equal(listed, ids) || pages < 2 {
		t.Errorf("%d pages of %q", pages, listed)
	}
}

// While a put is encoded its collection gets another epoch: it is encoded anew, and its operation ids stay.
func TestEpochChanges(t *testing.T) {
	d := one.doors()[0]
	name := d.collection(t, &api.CreateCollectionRequest{})
	to := one.router.Map().Collections[name]
	to.Epoch++
	one.before.Store(new(func([]string) {
		one.before.Store(nil)
		if _, err := one.router.Configure(t.Context(), name, shard.Configure{Change: shard.Alter, Configuration: to}); err != nil {
			t.Error(err)
		}
	}))
	a := d.put(t, name, textDocument("a", "one"), textDocument("b", "two"))
	c := &api.Collection{}
	d.ask(t, "CreateCollection", &api.CreateCollectionRequest{Name: name, IfAbsent: true}, c)
	if c.Epoch != 2 || c.Documents != 2 {
		t.Errorf("%v after %v", c, a)
	}
	id, err := hex.DecodeString(a.OperationId)
	if err != nil {
		t.Fatal(err)
	}
	results, err := one.router.Write(t.Context(), &shard.WriteRequest{Operations: []shard.Operation{{ID: shard.OperationID(id), Collection: name, Body: &shard.Forget{IDs: []string{"x"}}}}})
	if err != nil || results[0].Code != shard.Invalid { // the id was used
		t.Errorf("%v: %+v", err, results)
	}
}

// A put that is given up tells of each document whether it was written, and what was not tried is not there.
func TestPutStops(t *testing.T) {
	d := one.doors()[0]
	name := d.collection(t, &api.CreateCollectionRequest{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	calls, most := 0, 0
	one.before.Store(new(func(texts []string) {
		most = max(most, len(texts))
		if calls++; calls == 3 {
			cancel()
		}
	}))
	defer one.before.Store(nil)
	a, err := one.service.Put(ctx, &api.PutRequest{Collection: name, Documents: corpus(300)})
	if err != nil || len(a.Outcomes) != 300 {
		t.Fatal(err, a)
	}
	if calls != 3 || most >= 100 {
		t.Errorf("%d encodings of up to %d texts", calls, most)
	}
	written := 0
	for i, o := range a.Outcomes {
		switch e := o.Error; {
		case e == nil:
			written++
		case e.Reason != "OUTCOME_UNKNOWN" && (e.Reason != "CANCELLED" || !strings.HasPrefix(e.Message, "not tried")) || o.Id != fmt.Sprint("d", i):
			t.Errorf("%v", o)
		}
	}
	if a.Outcomes[0].Error != nil || a.Outcomes[299].Error.GetReason() != "CANCELLED" {
		t.Errorf("the first is %v, the last %v", a.Outcomes[0], a.Outcomes[299])
	}
	n := &api.CountResponse{}
	d.ask(t, "Count", &api.CountRequest{Collection: name}, n)
	if int(n.Count) < written || int(n.Count) > 2*most {
		t.Errorf("%d are there, %d were told", n.Count, written)
	}
}
