package endpoint_test

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"ostraca/api"
	"ostraca/retrieval"
	"ostraca/retrieval/index"
)

// TestLists: a collection tells what its lists are of, plans may look into them, and what they find has its exact score.
func TestLists(t *testing.T) {
	each(t, three, func(t *testing.T, d door) {
		some := &api.Lists{Name: "others", Sample: corpus(90)[60:80]}
		name := d.collection(t, &api.CreateCollectionRequest{Codec: "4bit", Lists: some})
		c := &api.Collection{}
		d.ask(t, "CreateCollection", &api.CreateCollectionRequest{Name: name, Codec: "4bit", Lists: some, IfAbsent: true}, c)
		d.ask(t, "CreateCollection", &api.CreateCollectionRequest{Name: name, Codec: "4bit", IfAbsent: true}, &api.Collection{})
		if !strings.HasPrefix(c.Lists, "others: 20 documents") {
			t.Errorf("%v", c)
		}
		d.refuse(t, "CreateCollection", &api.CreateCollectionRequest{Name: name, Codec: "4bit", IfAbsent: true, Lists: &api.Lists{Sample: some.Sample}}, "ALREADY_EXISTS", "ALREADY_EXISTS", "others: 20 documents")
		bad := &api.Lists{Sample: []*api.PutDocument{{}}} // which is looked at only where something can come of it
		d.refuse(t, "CreateCollection", &api.CreateCollectionRequest{Name: name, Codec: "2bit", IfAbsent: true, Lists: bad}, "ALREADY_EXISTS", "ALREADY_EXISTS", "another kind")
		d.refuse(t, "CreateCollection", &api.CreateCollectionRequest{Name: d.collection(t, &api.CreateCollectionRequest{}), IfAbsent: true, Lists: bad}, "ALREADY_EXISTS", "ALREADY_EXISTS", "another kind")
		d.put(t, name, corpus(60)...)
		exact, few := &api.SearchResponse{}, &api.SearchResponse{}
		plan := &api.Plan{Lists: 4, Sketched: 8, Scored: 5}
		d.ask(t, "Search", &api.SearchRequest{Collection: name, Text: asked, K: 60}, exact)
		d.ask(t, "Search", &api.SearchRequest{Collection: name, Text: asked, K: 2, Plan: plan}, few)
		s := few.Stats
		if len(few.Hits) != 2 || s.Plan != "cascade" || !proto.Equal(s.Cascade, plan) || s.CentroidsScored != 3*20 || s.SketchesScanned >= 60 || exact.Stats.CentroidsScored > 0 {
			t.Errorf("%v", few)
		}
		for _, h := range few.Hits {
			if n := slices.IndexFunc(exact.Hits, func(e *api.Hit) bool { return e.Id == h.Id }); n < 0 || exact.Hits[n].Score != h.Score {
				t.Errorf("%v is not what it is exactly", h)
			}
		}
		plans := &api.Calibration{Plans: []*api.Calibrated{{RecallTarget: "0.9", K: 10, Plan: plan}}}
		d.ask(t, "ChangeCollection", &api.ChangeCollectionRequest{Collection: name, Calibration: plans}, c)
		d.ask(t, "Search", &api.SearchRequest{Collection: name, Text: asked, K: 2, RecallTarget: "0.9"}, few)
		if len(c.Calibration) != 1 || !proto.Equal(c.Calibration[0], plans.Plans[0]) || !proto.Equal(few.Stats.Cascade, plan) {
			t.Errorf("%v, %v", c, few)
		}
		plain := d.collection(t, &api.CreateCollectionRequest{})
		d.refuse(t, "ChangeCollection", &api.ChangeCollectionRequest{Collection: plain, Calibration: plans}, "INVALID_ARGUMENT", "INVALID", "a collection that has none")
		d.refuse(t, "Search", &api.SearchRequest{Collection: name, Text: asked, Plan: &api.Plan{Lists: retrieval.MaxLists + 1, Scored: 5}}, "INVALID_ARGUMENT", "OVER_LIMIT", "8193 lists")
	})
}

func TestListsOfVectors(t *testing.T) {
	each(t, three, func(t *testing.T, d door) {
		vectors := func(values ...float32) []*api.Vector { return []*api.Vector{{Values: values}} }
		sample := []*api.PutDocument{{Id: "a", Tokens: vectors(1, 2)}, {Id: "b", Tokens: vectors(2, 1)}}
		outside := func(lists *api.Lists) *api.CreateCollectionRequest {
			return &api.CreateCollectionRequest{Name: "x", Encoder: "none", Width: 2, Lists: lists}
		}
		name := d.collection(t, outside(&api.Lists{Sample: sample}))
		c := &api.Collection{}
		d.ask(t, "CreateCollection", &api.CreateCollectionRequest{Name: name, Encoder: "none", Width: 2, IfAbsent: true}, c)
		if !strings.HasPrefix(c.Lists, "sample: 2 documents") {
			t.Errorf("%v", c)
		}
		for _, c := range []struct {
			lists   *api.Lists
			message string
		}{
			{&api.Lists{}, "no document of the sample"},
			{&api.Lists{Sample: []*api.PutDocument{{Tokens: vectors(1, 2)}}}, "id"},
			{&api.Lists{Sample: []*api.PutDocument{{Id: "a", Tokens: vectors(1, 2, 3)}}}, `document "a" of the sample: vectors are 3 wide`},
			{&api.Lists{Sample: []*api.PutDocument{{Id: "a", Text: "a red car"}}}, "not texts"},
			{&api.Lists{Sample: []*api.PutDocument{{Id: "a", Tokens: vectors(1, 2), Codes: &api.Codes{Width: 2}}}}, "the one or the other"},
		} {
			d.refuse(t, "CreateCollection", outside(c.lists), "INVALID_ARGUMENT", "INVALID", c.message)
		}
		d.refuse(t, "CreateCollection", outside(&api.Lists{Sample: sample, Name: "a\nb"}), "INVALID_ARGUMENT", "INVALID", "control")
		d.refuse(t, "CreateCollection", outside(&api.Lists{Sample: make([]*api.PutDocument, retrieval.MaxLists+1)}), "INVALID_ARGUMENT", "OVER_LIMIT", "8192")
		d.refuse(t, "CreateCollection", outside(&api.Lists{Sample: sample, Name: strings.Repeat("x", index.MaxListsName+1)}), "INVALID_ARGUMENT", "OVER_LIMIT", "256")
	})
}
