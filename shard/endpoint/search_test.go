package endpoint_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"ostraca/api"
	"ostraca/shard/endpoint"
)

// corpus are texts of some words each.
func corpus(n int) []*api.PutDocument {
	words := strings.Fields("the of and car red blue house river runs fast slow over under bridge king wood stone light dark water")
	var out []*api.PutDocument
	for i := range n {
		var text []string
		for j := range 3 + i%9 {
			text = append(text, words[(i*i+7*j*i+j*j)%len(words)])
		}
		out = append(out, textDocument(fmt.Sprint("d", i), strings.Join(text, " ")))
	}
	return out
}

const asked = "red cars run fast over the bridge"

// Search tells the same through one shard and three, through either door, to the last bit.
func TestSearch(t *testing.T) {
	var first *api.SearchResponse
	for _, r := range []*rig{one, three} {
		each(t, r, func(t *testing.T, d door) {
			name := d.collection(t, &api.CreateCollectionRequest{})
			receipts := d.put(t, name, corpus(120)...).Receipts
			a := &api.SearchResponse{}
			d.ask(t, "Search", &api.SearchRequest{Collection: name, Text: asked, Explain: true, Read: "bounded:5s", After: receipts}, a)
			if s := a.Stats; len(a.Hits) != endpoint.DefaultK || s.Plan != "exact" || s.DocumentsScored != 120 || s.QueryTokens < 7 || int(s.Shards) != len(r.router.Map().Shards) || s.SearchUs == 0 || s.EncodeUs == 0 {
				t.Fatalf("%d hits, %v", len(a.Hits), a.Stats)
			}
			checkExplained(t, a)
			for _, h := range a.Hits {
				h.Version = 0
			}
			if first == nil {
				first = a
			}
			if !proto.Equal(&api.SearchResponse{Hits: a.Hits}, &api.SearchResponse{Hits: first.Hits}) {
				t.Errorf("other hits than from one shard:\n%v\n%v", a.Hits, first.Hits)
			}
			few := &api.SearchResponse{}
			d.ask(t, "Search", &api.SearchRequest{Collection: name, Text: asked, K: 3, IdsOnly: true, Unweighted: true, QueryTokens: 5}, few)
			if len(few.Hits) != 3 || few.Hits[0].Text != "" || few.Hits[0].Score == 0 || few.Stats.QueryTokens != 3 || few.Hits[0].Alignments != nil {
				t.Errorf("%v", few)
			}
		})
	}
}

// checkExplained checks that alignments are of the texts that they speak of, and add up to the scores.
func checkExplained(t *testing.T, a *api.SearchResponse) {
	t.Helper()
	for _, h := range a.Hits {
		sum := 0.
		for _, x := range h.Alignments {
			if x.QueryToken != asked[x.QuerySpan.Start:x.QuerySpan.End] || x.Text != h.Text[x.Span.Start:x.Span.End] || x.QueryToken == "" || x.Text == "" {
				t.Errorf("%v of %q", x, h.Text)
			}
			if math.Abs(x.Cosine*x.Weight-x.Score) > 1e-9 || x.Weight <= 0 || math.Abs(x.Cosine) > 1.02 {
				t.Errorf("%v does not multiply", x)
			}
			sum += x.Score
		}
		if math.Abs(sum-h.Score) > 1e-9 || len(h.Alignments) != int(a.Stats.QueryTokens) {
			t.Errorf("%q: the alignments add up to %v, the score is %v", h.Id, sum, h.Score)
		}
	}
}

func TestSearchFilter(t *testing.T) {
	each(t, three, func(t *testing.T, d door) {
		name := d.collection(t, &api.CreateCollectionRequest{})
		documents := corpus(40)
		for i, x := range documents {
			x.Fields = fields(t, map[string]any{"n": i, "lang": []string{"en", "de"}[i%2]})
		}
		d.put(t, name, documents...)
		a := &api.SearchResponse{}
		d.ask(t, "Search", &api.SearchRequest{Collection: name, Text: asked, K: 40, Filter: `fields.lang == "de" && fields.n < 10.0`}, a)
		if len(a.Hits) != 5 {
			t.Fatalf("%d hits", len(a.Hits))
		}
		for _, h := range a.Hits {
			if f := h.Fields.Fields; f["lang"].GetStringValue() != "de" || f["n"].GetNumberValue() >= 10 {
				t.Errorf("%v", h)
			}
		}
	})
}

func TestSearchRefuses(t *testing.T) {
	each(t, three, func(t *testing.T, d door) {
		name, vectors := d.collection(t, &api.CreateCollectionRequest{}), d.collection(t, &api.CreateCollectionRequest{Encoder: "none", Width: 4})
		vector := []*api.Vector{{Values: []float32{1, 0, 0, 0}}}
		for _, c := range []struct {
			q                     *api.SearchRequest
			code, reason, message string
		}{
			{&api.SearchRequest{Collection: "nowhere", Text: "x"}, "NOT_FOUND", "NOT_FOUND", "nowhere"},
			{&api.SearchRequest{Collection: "No", Text: "x"}, "INVALID_ARGUMENT", "INVALID", "a-z"},
			{&api.SearchRequest{Collection: name}, "INVALID_ARGUMENT", "INVALID", "no question"},
			{&api.SearchRequest{Collection: name, Text: "x", Tokens: vector}, "INVALID_ARGUMENT", "INVALID", "the one or the other"},
			{&api.SearchRequest{Collection: name, Text: "x", K: 1e9}, "INVALID_ARGUMENT", "", "10000"},
			{&api.SearchRequest{Collection: name, Text: "x", QueryTokens: 1e9}, "INVALID_ARGUMENT", "", ""},
			{&api.SearchRequest{Collection: name, Text: "x", QueryTokens: 1}, "INVALID_ARGUMENT", "", ""},
			{&api.SearchRequest{Collection: name, Text: "x", Filter: "fields."}, "INVALID_ARGUMENT", "INVALID", ""},
			{&api.SearchRequest{Collection: name, Text: "x", Read: "bounded:-1s"}, "INVALID_ARGUMENT", "INVALID", "bounded:-1s"},
			{&api.SearchRequest{Collection: vectors, Text: "x"}, "INVALID_ARGUMENT", "INVALID", "text"},
			{&api.SearchRequest{Collection: vectors, Tokens: []*api.Vector{{Values: []float32{1}}}}, "INVALID_ARGUMENT", "INVALID", "1"},
			{&api.SearchRequest{Collection: vectors, Tokens: []*api.Vector{{}}}, "INVALID_ARGUMENT", "INVALID", "0 values"},
			{&api.SearchRequest{Collection: vectors, Tokens: []*api.Vector{{Values: make([]float32, 4)}}}, "INVALID_ARGUMENT", "INVALID", "norm"},
		} {
			e := d.call(t, "Search", c.q, &api.SearchResponse{})
			if e.Code != c.code || c.reason != "" && e.Reason != c.reason || !strings.Contains(e.Message, c.message) {
				t.Errorf("%v: %+v, not %s, %s with %q", c.q, e, c.code, c.reason, c.message)
			}
		}
		d.put(t, vectors, &api.PutDocument{Id: "v", Tokens: []*api.Vector{{Values: []float32{2, 0, 0, 0}}, {Values: []float32{0, 3, 4, 0}}}})
		a := &api.SearchResponse{}
		d.ask(t, "Search", &api.SearchRequest{Collection: vectors, Tokens: vector, Explain: true}, a)
		if len(a.Hits) != 1 || math.Abs(a.Hits[0].Score-1) > .01 || a.Hits[0].Alignments[0].Position != 0 || a.Hits[0].Alignments[0].QueryToken != "" {
			t.Errorf("%v", a)
		}
	})
}

func TestSearchBatch(t *testing.T) {
	each(t, three, func(t *testing.T, d door) {
		name := d.collection(t, &api.CreateCollectionRequest{})
		d.put(t, name, corpus(50)...)
		q := &api.SearchBatchRequest{Collection: name}
		for i := range 30 {
			q.Searches = append(q.Searches, &api.SearchRequest{Text: fmt.Sprint(asked, " ", i), K: uint32(1 + i%3)})
		}
		q.Searches[7].Text = ""
		q.Searches[8].Collection = "other"
		q.Searches[9].Collection = name
		q.Searches[10].QueryTokens = 8
		q.Searches[11].Unweighted = true
		q.Searches[12].K = 1e9
		q.Searches[13].Text = strings.Repeat("x", 2<<20)
		a := &api.SearchBatchResponse{}
		d.ask(t, "SearchBatch", q, a)
		if len(a.Results) != 30 {
			t.Fatalf("%d results", len(a.Results))
		}
		for i, x := range a.Results {
			if bad := i == 7 || i == 8 || i == 12 || i == 13; bad != (x.Error != nil) || bad && (x.Error.Code != "INVALID_ARGUMENT" || x.Error.Message == "") {
				t.Errorf("%d: %v", i, x.Error)
			}
			if x.Error != nil {
				continue
			}
			alone := &api.SearchResponse{}
			own := proto.CloneOf(q.Searches[i])
			own.Collection = name
			d.ask(t, "Search", own, alone)
			if !proto.Equal(&api.SearchResponse{Hits: alone.Hits}, &api.SearchResponse{Hits: x.Hits}) || len(x.Hits) != int(own.K) {
				t.Errorf("%d: %v in the batch, %v alone", i, x.Hits, alone.Hits)
			}
		}
		d.refuse(t, "SearchBatch", &api.SearchBatchRequest{Collection: name, Searches: slicesOf(endpoint.MaxSearches + 1)}, "INVALID_ARGUMENT", "OVER_LIMIT", "several batches")
	})
}

func slicesOf(n int) []*api.SearchRequest {
	out := make([]*api.SearchRequest, n)
	for i := range out {
		out[i] = &api.SearchRequest{Text: "x"}
	}
	return out
}

// Texts are scored as the same texts would be that the collection holds, to the last bit.
func TestRerank(t *testing.T) {
	var sample []string
	for _, x := range corpus(60) {
		sample = append(sample, x.Text)
	}
	each(t, three, func(t *testing.T, d door) {
		for _, create := range []*api.CreateCollectionRequest{{}, {Width: 16, Projection: &api.Projection{SampleTexts: sample}}} {
			name := d.collection(t, create)
			documents := corpus(100)
			d.put(t, name, documents...)
			searched := &api.SearchResponse{}
			d.ask(t, "Search", &api.SearchRequest{Collection: name, Text: asked, K: 100}, searched)
			scores, q, byID := map[string]float64{}, &api.RerankRequest{Collection: name, Text: asked, Explain: true}, &api.RerankRequest{Collection: name, Text: asked, Explain: true}
			for _, h := range searched.Hits {
				scores[h.Id] = h.Score
			}
			for _, x := range documents {
				q.Texts = append(q.Texts, x.Text)
			}
			texts := &api.SearchResponse{}
			d.ask(t, "Rerank", q, texts)
			if len(texts.Hits) != 100 {
				t.Fatalf("%d hits of 100 texts", len(texts.Hits))
			}
			checkExplained(t, texts)
			for _, h := range texts.Hits {
				if h.Score != scores["d"+h.Id] {
					t.Errorf("text %s has score %v, the document %v", h.Id, h.Score, scores["d"+h.Id])
				}
			}
			byID.Ids, byID.K = []string{"d3", "none", "d50", "d3", "d7"}, 2
			ids := &api.SearchResponse{}
			d.ask(t, "Rerank", byID, ids)
			checkExplained(t, ids)
			if len(ids.Hits) != 2 || ids.Hits[0].Score != scores[ids.Hits[0].Id] || ids.Hits[0].Score < ids.Hits[1].Score {
				t.Errorf("%v", ids.Hits)
			}
			byID.K, byID.Ids[0] = 0, "d9"
			d.ask(t, "Rerank", byID, ids)
			if len(ids.Hits) != 4 {
				t.Errorf("%d hits of 4 ids that are held", len(ids.Hits))
			}
			d.refuse(t, "Rerank", &api.RerankRequest{Collection: name, Text: "x"}, "INVALID_ARGUMENT", "INVALID", "0 ids and 0 texts")
			d.refuse(t, "Rerank", &api.RerankRequest{Collection: name, Text: "x", Ids: []string{"a"}, Texts: []string{"b"}}, "INVALID_ARGUMENT", "INVALID", "the one or the other")
			d.refuse(t, "Rerank", &api.RerankRequest{Collection: name, Text: "x", Ids: make([]string, endpoint.MaxCandidates+1)}, "INVALID_ARGUMENT", "OVER_LIMIT", "1000")
			d.refuse(t, "Rerank", &api.RerankRequest{Collection: name, Text: "x", Texts: []string{"a", strings.Repeat("word ", 5000)}}, "INVALID_ARGUMENT", "OVER_LIMIT", "text 1")
		}
	})
}

func TestEncode(t *testing.T) {
	each(t, three, func(t *testing.T, d door) {
		a := &api.EncodeResponse{}
		d.ask(t, "Encode", &api.EncodeRequest{Texts: []string{"the red car", ""}, Query: true, Vectors: true, MaxTokens: 4}, a)
		if len(a.Results) != 2 || len(a.Results[0].Tokens) != 2 || a.Results[0].TokensCut == 0 || len(a.Results[1].Tokens) != 0 || a.Width != 64 || len(a.Encoder) != 64 {
			t.Fatalf("%v", a)
		}
		if x := a.Results[0].Tokens[0]; x.Piece != "the" || x.Span.End != 3 || x.Id == 0 || x.Weight <= 0 || len(x.Vector) != 64 {
			t.Errorf("%v", x)
		}
		d.ask(t, "Encode", &api.EncodeRequest{Texts: []string{"the red car"}}, a)
		if x := a.Results[0].Tokens[0]; x.Vector != nil || x.Weight != 0 {
			t.Errorf("%v", x)
		}
		d.refuse(t, "Encode", &api.EncodeRequest{Texts: make([]string, endpoint.MaxEncode+1)}, "INVALID_ARGUMENT", "OVER_LIMIT", "256")
		d.refuse(t, "Encode", &api.EncodeRequest{Texts: []string{"a", strings.Repeat("word ", 5000)}}, "INVALID_ARGUMENT", "OVER_LIMIT", "text 1")
		d.refuse(t, "Encode", &api.EncodeRequest{Texts: []string{"a"}, MaxTokens: 1e9}, "INVALID_ARGUMENT", "INVALID", "")
	})
}

func TestStatus(t *testing.T) {
	each(t, three, func(t *testing.T, d door) {
		a := &api.StatusResponse{}
		d.ask(t, "Status", &api.StatusRequest{}, a)
		if len(a.Nodes) != 3 || len(a.Shards) != 3 || a.Router != "router-t" || len(a.Encoder) != 64 || a.Cluster == "" || a.TimeMs == 0 {
			t.Fatalf("%v", a)
		}
		leads := uint32(0)
		for _, n := range a.Nodes {
			if !n.Alive || n.Address == "" || n.Replicas != 3 {
				t.Errorf("%v", n)
			}
			leads += n.Leads
		}
		for _, s := range a.Shards {
			if s.Leader == "" || s.Commit == 0 || !s.DigestsAgree || len(s.Replicas) != 3 || s.Replicas[0].Digest == "" || s.Replicas[0].Generation == "" || s.Replicas[0].StateBytes == 0 {
				t.Errorf("%v", s)
			}
		}
		if leads != 3 {
			t.Errorf("%d leaders of 3 shards", leads)
		}
	})
}

// A shard that does not answer is named.
func TestPartial(t *testing.T) {
	r, err := open(rigOptions{dir: t.TempDir(), nodes: 2, shards: 4, replicas: 1, timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	d := door{"http", r.byHTTP}
	name := "papers"
	created := told{Reason: "OUTCOME_UNKNOWN"}
	for created.Reason == "OUTCOME_UNKNOWN" || created.Reason == "UNAVAILABLE" { // the shards are electing their leaders
		created = d.call(t, "CreateCollection", &api.CreateCollectionRequest{Name: name, IfAbsent: true}, &api.Collection{})
	}
	if created.Code != "" {
		t.Fatalf("%+v", created)
	}
	d.put(t, name, corpus(40)...)
	away := r.nodes[1]
	r.waits[1] = func() error { return nil }
	if err := away.Close(); err != nil {
		t.Fatal(err)
	}
	a := &api.SearchResponse{}
	if e := d.call(t, "Search", &api.SearchRequest{Collection: name, Text: asked, AllowPartial: true, Read: "local"}, a); e.Code != "" || len(a.MissingShards) == 0 || len(a.Hits) == 0 || a.MissingShards[0].Reason == "" {
		t.Fatalf("%+v: %v", e, a)
	}
	if e := d.call(t, "Search", &api.SearchRequest{Collection: name, Text: asked, Read: "local"}, a); e.Code != "UNAVAILABLE" || e.Reason != "SHARDS_MISSING" || !strings.Contains(e.Message, "shard ") {
		t.Errorf("%+v", e)
	}
	s := &api.StatusResponse{}
	d.ask(t, "Status", &api.StatusRequest{}, s)
	if n := s.Nodes[1]; n.Alive || n.Address != "" || n.Replicas == 0 || s.Collections[0].Digest != "" {
		t.Errorf("%v", s)
	}
}
