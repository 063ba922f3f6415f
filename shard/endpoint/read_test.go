package endpoint_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"ostraca/api"
	"ostraca/api/nodeapi"
)

// reads calls every method that reads, with how fresh the state must be.
func (r *rig) reads(ctx context.Context, collection, read string, after []*api.Receipt) map[string]error {
	out := map[string]error{}
	_, out["Get"] = r.client.Get(ctx, &api.GetRequest{Collection: collection, Ids: []string{"a"}, Read: read, After: after})
	_, out["List"] = r.client.List(ctx, &api.ListRequest{Collection: collection, Read: read, After: after})
	_, out["Count"] = r.client.Count(ctx, &api.CountRequest{Collection: collection, Read: read, After: after})
	_, out["Search"] = r.client.Search(ctx, &api.SearchRequest{Collection: collection, Text: "red", Read: read, After: after})
	_, out["Rerank"] = r.client.Rerank(ctx, &api.RerankRequest{Collection: collection, Text: "red", Ids: []string{"a"}, Read: read, After: after})
	s, err := r.client.Export(ctx, &api.ExportRequest{Collection: collection, Read: read, After: after})
	for err == nil {
		_, err = s.Recv()
	}
	if err == io.EOF {
		err = nil
	}
	out["Export"] = err
	return out
}

// What a request says of its state reaches the nodes, whichever method it is of; and a receipt of another generation is refused.
func TestReadsAreAsFreshAsAskedFor(t *testing.T) {
	r := one
	d := door{"grpc", r.byGRPC}
	name := d.collection(t, &api.CreateCollectionRequest{})
	after := d.put(t, name, textDocument("a", "the red car")).Receipts
	if len(after) != 1 {
		t.Fatalf("%v", after)
	}
	var mu sync.Mutex
	var seen []*nodeapi.Read
	watch := func(q any) {
		if of, ok := q.(interface{ GetCollection() string }); !ok || of.GetCollection() != name {
			return
		}
		if q, ok := q.(interface{ GetRead() *nodeapi.Read }); ok {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, q.GetRead())
		}
	}
	r.asked.Store(&watch)
	defer r.asked.Store(nil)
	for read, want := range map[string]*nodeapi.Read{"local": {Level: nodeapi.Read_LOCAL}, "bounded:700ms": {Level: nodeapi.Read_BOUNDED, BoundNs: int64(700 * time.Millisecond)}, "": {}} {
		mu.Lock()
		seen = nil
		mu.Unlock()
		for method, err := range r.reads(t.Context(), name, read, after) {
			if err != nil {
				t.Errorf("%s, %q: %v", method, read, err)
			}
		}
		mu.Lock()
		asked := slices.Clone(seen)
		mu.Unlock()
		right := 0
		for _, got := range asked {
			fresh := got.GetLevel() == want.GetLevel() && got.GetBoundNs() == want.GetBoundNs()
			if fresh && len(got.GetAfter()) == 1 && got.GetAfter()[0].GetIndex() == after[0].Index && strconv.FormatUint(got.GetAfter()[0].GetGeneration(), 10) == after[0].Generation {
				right++
			} else if got.GetPin() == nil { // else it is of the state that gave the scores
				t.Errorf("%q is asked of a node as %v", read, got)
			}
		}
		if right < 6 {
			t.Errorf("%q: only %d of 6 methods ask for it: %v", read, right, asked)
		}
	}
	r.asked.Store(nil)
	for method, err := range r.reads(t.Context(), name, "local", []*api.Receipt{{Generation: "5"}}) {
		if e := toldOf(err); e.Reason != "GENERATION_CHANGED" {
			t.Errorf("%s after a receipt of another generation: %+v", method, e)
		}
	}
	for method, err := range r.reads(t.Context(), name, "fresh", nil) {
		if e := toldOf(err); e.Reason != "INVALID" {
			t.Errorf("%s, read as fresh: %+v", method, e)
		}
	}
}

// A drop that is repeated finds nothing: no error where that is allowed. What else is wrong with it is one.
func TestDropMissing(t *testing.T) {
	d := door{"grpc", three.byGRPC}
	drop := func(q *api.DropCollectionRequest) (uint32, told) {
		a := &api.DropCollectionResponse{}
		e := d.call(t, "DropCollection", q, a)
		return a.Count, e
	}
	name := d.collection(t, &api.CreateCollectionRequest{})
	d.put(t, name, textDocument("a", "the red car"), textDocument("b", "a blue car"))
	for i, want := range []uint32{2, 0, 0} {
		if n, e := drop(&api.DropCollectionRequest{Collection: name, AllowMissing: true}); e != (told{}) || n != want {
			t.Errorf("drop %d: %d documents, %+v", i, n, e)
		}
	}
	if _, e := drop(&api.DropCollectionRequest{Collection: name}); e.Reason != "NOT_FOUND" {
		t.Errorf("not allowed: %+v", e)
	}
	if _, e := drop(&api.DropCollectionRequest{Collection: "Upper", AllowMissing: true}); e.Reason != "INVALID" {
		t.Errorf("no name of a collection: %+v", e)
	}
	for query, want := range map[string]int{"?allow_missing=true": http.StatusOK, "?allow_missing=false": http.StatusNotFound, "": http.StatusNotFound} {
		if code, body, _ := three.http(t, http.MethodDelete, "/v1/collections/"+name+query, ""); code != want {
			t.Errorf("DELETE %s: %d %s", query, code, body)
		}
	}
	all := &api.ListCollectionsResponse{}
	d.ask(t, "ListCollections", &api.ListCollectionsRequest{}, all)
	if slices.ContainsFunc(all.Collections, func(c *api.Collection) bool { return c.Name == name }) {
		t.Errorf("%s is still there", name)
	}
}
