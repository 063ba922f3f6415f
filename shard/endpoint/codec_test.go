package endpoint_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"ostraca/api"
	"ostraca/retrieval"
)

// codedOf returns documents as they are stored, by id.
func codedOf(t *testing.T, d door, name string, ids ...string) []*api.Document {
	t.Helper()
	a := &api.GetResponse{}
	d.ask(t, "Get", &api.GetRequest{Collection: name, Ids: ids, Codes: true}, a)
	if len(a.Documents) != len(ids) {
		t.Fatalf("%d documents of %d", len(a.Documents), len(ids))
	}
	for _, x := range a.Documents {
		x.Version = 0
	}
	return a.Documents
}

// In every codec texts are put and searched, and codes that a get gives are taken back as they were.
func TestCodecs(t *testing.T) {
	each(t, three, func(t *testing.T, d door) {
		for _, codec := range retrieval.Codecs {
			kind := func() *api.CreateCollectionRequest { return &api.CreateCollectionRequest{Codec: string(codec)} }
			name, copied := d.collection(t, kind()), d.collection(t, kind())
			d.put(t, name, corpus(60)...)
			docs := codedOf(t, d, name, "d1", "d2", "d30")
			for _, x := range docs {
				c := x.Codes
				if whole := len(c.Sketch) > 0 && len(c.Coarse) > 0 && c.SketchScale > 0 && len(c.Clusters) > 0; c.Codec != string(codec) || whole != (codec != retrieval.Int8) {
					t.Errorf("%s: %v", codec, c)
				}
				d.put(t, copied, &api.PutDocument{Id: x.Id, Text: x.Text, Codes: c, Spans: x.Spans})
			}
			for i, x := range codedOf(t, d, copied, "d1", "d2", "d30") {
				if !proto.Equal(x, docs[i]) {
					t.Errorf("%s: %v became\n%v", codec, docs[i], x)
				}
			}
			a, few := &api.SearchResponse{}, &api.SearchResponse{}
			d.ask(t, "Search", &api.SearchRequest{Collection: name, Text: asked, K: 5}, a)
			d.ask(t, "Search", &api.SearchRequest{Collection: name, Text: asked, K: 5, Plan: &api.Plan{Sketched: 8, Scored: 5}}, few)
			if len(a.Hits) != 5 || a.Stats.Plan != "exact" || a.Stats.Cascade != nil || a.Stats.DocumentsScored != 60 || a.Stats.SketchesScanned != 0 {
				t.Errorf("%s: %v", codec, a)
			}
			s := few.Stats
			if len(few.Hits) != 5 || s.Plan != "cascade" || !proto.Equal(s.Cascade, &api.Plan{Sketched: 8, Scored: 5}) || s.DocumentsScored < 15 || s.DocumentsScored > 24 || s.DocumentsSketched != 24 || s.SketchesScanned != 60 || s.CoarseScored < 24 {
				t.Errorf("%s: %v", codec, few)
			}
			if n := slices.IndexFunc(few.Hits, func(h *api.Hit) bool { return h.Id == a.Hits[0].Id }); n >= 0 && few.Hits[n].Score != a.Hits[0].Score {
				t.Errorf("%s: %v by a plan, %v exactly", codec, few.Hits[n].Score, a.Hits[0].Score)
			}
			refusePooled(t, d, name, docs[0], codec)
		}
	})
}

// refusePooled: codes that are nothing without what is pooled of them do not come without.
func refusePooled(t *testing.T, d door, name string, x *api.Document, codec retrieval.Codec) {
	t.Helper()
	bare := proto.CloneOf(x.Codes)
	bare.Clusters, bare.Coarse, bare.CoarseScales, bare.Sketch, bare.SketchScale = nil, nil, nil, nil, 0
	odd := proto.CloneOf(x.Codes)
	odd.CoarseScales = append(odd.CoarseScales, 1)
	loud := proto.CloneOf(x.Codes)
	loud.SketchScale = 1 << 20
	a := &api.WriteResponse{}
	d.ask(t, "Put", &api.PutRequest{Collection: name, Documents: []*api.PutDocument{{Id: "bare", Codes: bare}, {Id: "odd", Codes: odd}, {Id: "loud", Codes: loud}}}, a)
	if e := a.Outcomes[0].Error; (e == nil) != (codec == retrieval.Int8) || e != nil && !strings.Contains(e.Message, "without clusters, coarse and sketch") {
		t.Errorf("%s: %v", codec, e)
	}
	for _, o := range a.Outcomes[1:] {
		if o.Error.GetReason() != "INVALID" {
			t.Errorf("%s: %v", codec, o)
		}
	}
}

// A line of an export with codes is put as it is.
func TestExportedLine(t *testing.T) {
	for _, codec := range []string{"int8", "2bit"} {
		d := door{"http", three.byHTTP}
		name, copied := d.collection(t, &api.CreateCollectionRequest{Codec: codec}), d.collection(t, &api.CreateCollectionRequest{Codec: codec})
		d.put(t, name, textDocument("a", "the red car is fast"))
		_, line, _ := three.http(t, http.MethodPost, "/v1/collections/"+name+"/documents:export", `{"codes": true}`)
		status, answer, _ := three.http(t, http.MethodPost, "/v1/collections/"+copied+"/documents:put", `{"documents": [`+string(line)+`]}`)
		a := &api.WriteResponse{}
		if err := protojson.Unmarshal(answer, a); err != nil || status != http.StatusOK || a.Outcomes[0].Error != nil {
			t.Fatalf("%v, %d: %s", err, status, answer)
		}
		if was, is := codedOf(t, d, name, "a"), codedOf(t, d, copied, "a"); !proto.Equal(was[0], is[0]) {
			t.Errorf("%v became %v", was, is)
		}
	}
}

// A recall target is the collection's plan for it; plans are installed, listed and taken away again, and what cannot be a target or a plan is refused.
func TestRecallTarget(t *testing.T) {
	each(t, three, func(t *testing.T, d door) {
		name := d.collection(t, &api.CreateCollectionRequest{})
		d.put(t, name, corpus(80)...)
		search := func(q *api.SearchRequest) *api.SearchStats {
			t.Helper()
			q.Collection, q.Text = name, asked
			one, all := &api.SearchResponse{}, &api.SearchBatchResponse{}
			d.ask(t, "Search", q, one)
			d.ask(t, "SearchBatch", &api.SearchBatchRequest{Collection: name, Searches: []*api.SearchRequest{q, {Text: asked}}}, all)
			if !proto.Equal(one.Stats.Cascade, all.Results[0].Stats.GetCascade()) || all.Results[1].Stats.GetPlan() != "exact" {
				t.Errorf("in a batch: %v", all)
			}
			return one.Stats
		}
		for _, target := range []string{"", "exact"} {
			if s := search(&api.SearchRequest{RecallTarget: target}); s.Plan != "exact" || s.DocumentsScored != 80 {
				t.Errorf("%q: %v", target, s)
			}
		}
		p := retrieval.Default.Plan(retrieval.Recall95, 10)
		if s := search(&api.SearchRequest{RecallTarget: "0.95"}); !proto.Equal(s.Cascade, &api.Plan{Sketched: uint32(p.Sketched), Scored: uint32(p.Scored)}) {
			t.Errorf("%v", s)
		}
		c := &api.Collection{}
		plans := &api.Calibration{Plans: []*api.Calibrated{{RecallTarget: "0.9", K: 10, Plan: &api.Plan{Sketched: 6, Scored: 4}}}}
		d.ask(t, "ChangeCollection", &api.ChangeCollectionRequest{Collection: name, Calibration: plans}, c)
		if c.Name != name || c.Documents != 80 || len(c.Calibration) != 1 || !proto.Equal(c.Calibration[0], plans.Plans[0]) {
			t.Errorf("%v", c)
		}
		d.ask(t, "CreateCollection", &api.CreateCollectionRequest{Name: name, IfAbsent: true}, c)
		if len(c.Calibration) != 1 {
			t.Errorf("created again: %v", c)
		}
		if s := search(&api.SearchRequest{RecallTarget: "0.9", K: 3}); !proto.Equal(s.Cascade, plans.Plans[0].Plan) || s.DocumentsScored > 18 {
			t.Errorf("%v", s)
		}
		if s := search(&api.SearchRequest{RecallTarget: "0.99"}); s.Plan != "exact" { // no plan reaches it
			t.Errorf("%v", s)
		}
		d.ask(t, "ChangeCollection", &api.ChangeCollectionRequest{Collection: name}, c)
		if len(c.Calibration) != 1 {
			t.Errorf("a change of nothing: %v", c)
		}
		c = &api.Collection{}
		if d.ask(t, "ChangeCollection", &api.ChangeCollectionRequest{Collection: name, Calibration: &api.Calibration{}}, c); len(c.Calibration) != 0 {
			t.Errorf("%v", c)
		}
		for _, q := range []*api.SearchRequest{{RecallTarget: "0.97"}, {RecallTarget: "most"}, {RecallTarget: "0.9", Plan: &api.Plan{Scored: 3}}} {
			q.Collection, q.Text = name, asked
			d.refuse(t, "Search", q, "INVALID_ARGUMENT", "INVALID", "")
		}
		d.refuse(t, "Search", &api.SearchRequest{Collection: name, Text: asked, Plan: &api.Plan{Scored: 1 << 31}}, "INVALID_ARGUMENT", "OVER_LIMIT", "1048576")
		twice := &api.Calibration{Plans: append(slices.Clone(plans.Plans), plans.Plans...)}
		d.refuse(t, "ChangeCollection", &api.ChangeCollectionRequest{Collection: name, Calibration: twice}, "INVALID_ARGUMENT", "INVALID", "two plans")
		d.refuse(t, "ChangeCollection", &api.ChangeCollectionRequest{Collection: "nowhere", Calibration: plans}, "NOT_FOUND", "NOT_FOUND", "nowhere")
	})
}
