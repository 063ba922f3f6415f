package shard

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ostraca/retrieval"
)

// filled puts documents into collections, all in a few entries, and returns a view.
func (r *rig) filled(puts map[string][]*Put) view {
	r.t.Helper()
	for name, all := range puts {
		r.expect(OK, r.op(name, create(testPapers)))
		for part := range slices.Chunk(all, 2000) {
			var operations []Operation
			for _, p := range part {
				operations = append(operations, r.op(name, p))
			}
			for _, o := range r.do(operations...) {
				if o.Code != OK {
					r.t.Fatal(o)
				}
			}
		}
	}
	v, err := r.view()
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(v.close)
	return v
}

func testQuery(k int) *retrieval.Query {
	return &retrieval.Query{Codec: retrieval.Int8, Width: testWidth, Codes: []int8{1, -2, 127, 4, 5, 6, -7, 8}, Weights: []uint16{4096, 100}, Max: 1, K: k}
}

// testFilters are filters, and the same in Go.
var testFilters = []struct {
	expression string
	lets       func(id string, number int) bool
}{
	{"", func(string, int) bool { return true }},
	{"fields.number >= 5", func(_ string, n int) bool { return n >= 5 }},
	{"fields.number == 3 || parent == 'a'", func(id string, n int) bool { return n == 3 || Parent(id) == "a" }},
	{"fields.number in [1.0, 2, 9] && !id.startsWith('b')", func(id string, n int) bool { return (n == 1 || n == 2 || n == 9) && id[0] != 'b' }},
	{"fields.number > 'x'", func(string, int) bool { return false }},
	{"id < 'b'", func(id string, _ int) bool { return id < "b" }},
}

// TestListPages: the pages of any number of shards, of any limit, however little a page may look at, are all documents that pass, once and
// in order; and so many are counted. Collections stand for shards.
func TestListPages(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		shards := rapid.SampledFrom([]int{1, 3, 7}).Draw(rt, "shards")
		numbers := rapid.MapOfN(rapid.StringMatching(`[abc]#?[ab]{0,3}`), rapid.IntRange(0, 9), 0, 40).Draw(rt, "numbers")
		filter := rapid.SampledFrom(testFilters).Draw(rt, "filter")
		limit, most := rapid.IntRange(1, 9).Draw(rt, "limit"), rapid.IntRange(1, 9).Draw(rt, "most")
		puts, want := map[string][]*Put{}, []string(nil)
		for i := range shards {
			puts[fmt.Sprint(i)] = nil
		}
		for id, n := range numbers {
			p := putOf(id, n, 1)
			p.Document.ID = id
			at := fmt.Sprint(Place(id, uint32(shards)))
			puts[at] = append(puts[at], p)
			if filter.lets(id, n) {
				want = append(want, id)
			}
		}
		slices.Sort(want)
		r := newRig(t)
		defer r.store.Abandon()
		v := r.filled(puts)
		defer v.close()
		f, err := compileFilter(filter.expression)
		if err != nil {
			rt.Fatal(err)
		}
		page := func(q ListRequest) *ListAnswer {
			parts := make([]*ListAnswer, shards)
			for i := range parts {
				q.Collection = fmt.Sprint(i)
				if parts[i], err = v.list(t.Context(), &q, f, most); err != nil {
					rt.Fatal(err)
				}
			}
			return mergeLists(q.Limit, parts)
		}
		var got []string
		for q, pages := (ListRequest{Limit: limit}), 0; ; pages++ {
			a := page(q)
			for _, d := range a.Documents {
				got = append(got, d.ID)
			}
			if len(a.Documents) > limit || a.More != (a.Next != "") || pages > 2*len(numbers) || a.More && a.Next <= q.After {
				rt.Fatalf("page %d of %d, after %q: %+v", pages, limit, q.After, a)
			}
			if q.After = a.Next; !a.More {
				break
			}
		}
		if !slices.Equal(got, want) {
			rt.Fatalf("the pages have %q, want %q", got, want)
		}
		count := uint64(0)
		for i := range shards {
			for q := (ListRequest{Collection: fmt.Sprint(i), Count: true}); ; {
				a, err := v.list(t.Context(), &q, f, most)
				if err != nil || len(a.Documents) > 0 {
					rt.Fatal(err, a)
				}
				count += a.Count
				if q.After = a.Next; !a.More {
					break
				}
			}
		}
		if count != uint64(len(want)) {
			rt.Fatalf("%d are counted, of %d", count, len(want))
		}
	})
}

// many returns puts of so many documents.
func many(n, tokens int) []*Put {
	out := make([]*Put, n)
	for i := range out {
		out[i] = putOf(fmt.Sprintf("%c#%06d", 'a'+i%3, i), i%10, tokens)
	}
	return out
}

// TestListScans: a page looks at MaxScanned rows, or fewer where filtering is work, and says where to go on.
func TestListScans(t *testing.T) {
	r := newRig(t)
	v := r.filled(map[string][]*Put{"many": many(MaxScanned+7, 0)})
	defer v.close()
	ask := func(q ListRequest) *ListAnswer {
		t.Helper()
		q.Collection = "many"
		f, err := q.check()
		if err != nil {
			t.Fatal(err)
		}
		a, err := v.list(t.Context(), &q, f, MaxScanned)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	const none = "fields.number > 10"
	a := ask(ListRequest{Limit: 1, Filter: none})
	if !a.More || len(a.Documents) != 0 || a.Next == "" {
		t.Fatalf("%+v", a)
	}
	if b := ask(ListRequest{Limit: 1, Filter: none, After: a.Next}); b.More || b.Next != "" || len(b.Documents) != 0 {
		t.Errorf("%+v", b)
	}
	if b := ask(ListRequest{Count: true, After: a.Next}); b.More || b.Count != 7 {
		t.Errorf("%+v", b)
	}
	if b := ask(ListRequest{Count: true}); b.More || b.Count != MaxScanned+7 {
		t.Errorf("%+v", b)
	}
	if b := ask(ListRequest{Count: true, Filter: "true"}); b.More || b.Count != MaxScanned+7 {
		t.Errorf("%+v", b)
	}
	if b := ask(ListRequest{Count: true, Filter: "fields.number == 3", After: a.Next}); b.More || b.Count > 1 {
		t.Errorf("%+v", b)
	}
	if b := ask(ListRequest{Limit: 1, Filter: "id > '" + a.Next + "'", After: "a"}); !b.More || len(b.Documents) != 0 {
		t.Errorf("%+v", b)
	}
	if b := ask(ListRequest{Count: true, Filter: "id > '" + a.Next + "'"}); b.More || b.Count != 7 {
		t.Errorf("%+v", b)
	}
	if b := ask(ListRequest{Limit: 7, Filter: "id > '" + a.Next + "'", After: "a"}); b.More || len(b.Documents) != 7 { // the count has found them
		t.Errorf("%+v", b)
	}
	work := ask(ListRequest{Count: true, Filter: `id != "" && [1,2,3,4,5,6,7,8,9].all(x, [1,2,3,4,5,6,7,8,9].all(y, [1,2,3,4,5,6,7,8,9].all(z, x + y + z > 0)))`})
	if !work.More || work.Count < 100 || work.Count > MaxScanned/4 || work.Next == "" {
		t.Errorf("%+v", work)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := v.list(ctx, &ListRequest{Collection: "many", Limit: 1}, nil, MaxScanned); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := v.list(t.Context(), &ListRequest{Collection: "none", Count: true}, nil, MaxScanned); !errors.Is(err, retrieval.ErrNotFound) {
		t.Error(err)
	}
}

// TestFilteredSearch: of however many documents pass, all are scored, and the best are those of an index that holds them alone.
func TestFilteredSearch(t *testing.T) {
	r := newRig(t)
	puts := many(2500, 2)
	v := r.filled(map[string][]*Put{"many": puts})
	defer v.close()
	c := v.collections["many"]
	for _, filter := range testFilters {
		f, err := compileFilter(filter.expression)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for i, p := range puts {
			if filter.lets(p.Document.ID, i%10) {
				ids = append(ids, p.Document.ID)
			}
		}
		for _, k := range []int{1, 10, retrieval.MaxK} {
			q := &SearchRequest{Collection: "many", Query: testQuery(k)}
			want, err := c.Score(t.Context(), q.Query, ids)
			if err != nil {
				t.Fatal(err)
			}
			got, err := v.candidates(t.Context(), q, f)
			if err != nil || len(got.Hits) != min(k, len(ids)) || len(got.Hits) > 0 && !reflect.DeepEqual(got, want) {
				t.Fatalf("%s, best %d: %v, %d hits and %+v, want %d and %+v", filter.expression, k, err, len(got.Hits), got.Stats, len(want.Hits), want.Stats)
			}
		}
	}
	whole, err := c.Search(t.Context(), testQuery(100))
	if err != nil {
		t.Fatal(err)
	}
	all, err := compileFilter("true")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := v.candidates(t.Context(), &SearchRequest{Collection: "many", Query: testQuery(100)}, all); err != nil || !reflect.DeepEqual(got, whole) {
		t.Errorf("%v: a filter that lets all through changes the answer", err)
	}
}
