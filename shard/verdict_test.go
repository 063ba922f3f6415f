package shard

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"

	"ostraca/retrieval"
)

// selects returns the ids that a filter selects of a collection.
func (v view) selects(t testing.TB, collection, expression string) (ids []string) {
	t.Helper()
	f, err := compileFilter(expression)
	if err != nil {
		t.Fatal(err)
	}
	some, err := v.selected(t.Context(), collection, f, math.MaxInt, math.MaxUint64)
	if err != nil {
		t.Fatal(err)
	}
	ids = slices.Collect(some.IDs(""))
	if some.Len() != len(ids) {
		t.Fatalf("%s: %d are counted, %d listed", expression, some.Len(), len(ids))
	}
	return ids
}

// walks returns the ids that a filter lets through as it is evaluated over every row.
func (v view) walks(t testing.TB, collection, expression string) (ids []string) {
	t.Helper()
	f, err := compileFilter(expression)
	if err != nil {
		t.Fatal(err)
	}
	w := &walk{view: v, collection: collection, filter: f, most: math.MaxInt, work: math.MaxUint64}
	ids = slices.Collect(w.ids(t.Context(), ""))
	if w.err != nil {
		t.Fatal(w.err)
	}
	return ids
}

var someFilters = []string{`fields.number > 2 && fields["late"] < 90`, `fields.late > 50 ? fields.number == 3 : "late" in fields`, `true`,
	"fields.number == 3", "fields.number > 4", `has(fields.late)`, `id < "d3"`, `fields.late < 100 || parent == "d1"`, `!has(fields.number)`}

// TestVerdicts: after any history of puts, patches, forgets, drops, restarts and snapshots, in present and older views in any order, and however little
// may be kept, a filter selects what it lets through when it is evaluated over every row.
func TestVerdicts(t *testing.T) {
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 4))
		r := newRig(t)
		var older []view
		r.scarce(seed)
		for round := range 60 {
			if _, ok := r.current.Load().collections["papers"]; !ok {
				r.expect(OK, r.op("papers", create(testPapers)))
			}
			r.do(r.someChanges(rng, round)...)
			switch {
			case round%20 == 19:
				for _, v := range older {
					v.close()
				}
				older = nil
				r.crashOrRestore(rng)
			case round%31 == 30:
				r.do(r.op("papers", &Configure{Change: Drop}))
			}
			v, err := r.view()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(v.close)
			older = append(older, v)
			for range 4 {
				v := older[rng.IntN(len(older))]
				if _, ok := v.collections["papers"]; !ok {
					continue
				}
				filter := someFilters[rng.IntN(len(someFilters))]
				if got, want := v.selects(t, "papers", filter), v.walks(t, "papers", filter); !slices.Equal(got, want) {
					t.Fatalf("seed %d, round %d, state %d: %s selects %q, want %q", seed, round, v.applied, filter, got, want)
				}
			}
		}
		if c := r.verdicts.columns; r.verdicts.bytes > r.verdicts.most || r.verdicts.bytes < 0 || c.bytes > c.most || c.bytes < 0 {
			t.Errorf("%d bytes are kept, and %d, the limits are %d and %d", r.verdicts.bytes, c.bytes, r.verdicts.most, c.most)
		}
	}
}

// scarce sets limits so low that few documents are many, and little can be kept.
func (r *rig) scarce(seed uint64) {
	if seed%2 == 0 {
		r.verdicts.few = 0
	}
	if seed%3 == 1 {
		r.verdicts.most, r.verdicts.columns.most = 300, 1000
	}
	if seed%5 == 3 {
		r.verdicts.large = 2000
	}
}

// someChanges returns a few operations on few documents.
func (r *rig) someChanges(rng *rand.Rand, round int) (out []Operation) {
	for range 1 + rng.IntN(6) {
		id := fmt.Sprintf("d%d#%d", rng.IntN(5), rng.IntN(4))
		switch rng.IntN(5) {
		case 0:
			out = append(out, r.op("papers", &Forget{IDs: []string{id}}))
		case 1, 2:
			out = append(out, r.op("papers", &Patch{ID: id, Fields: fmt.Appendf(nil, `{"late":%d}`, rng.IntN(200))}))
		case 3:
			out = append(out, r.op("papers", &Patch{ID: id, Fields: []byte(`{"number":null}`)}))
		default:
			out = append(out, r.op("papers", putOf(id, rng.IntN(10), round%3)))
		}
	}
	return out
}

// crashOrRestore has memory made anew: of the files, or of a state file that came.
func (r *rig) crashOrRestore(rng *rand.Rand) {
	r.t.Helper()
	if rng.IntN(2) == 0 {
		if err := r.store.Sync(context.Background(), r.index); err != nil {
			r.t.Fatal(err)
		}
		r.crash()
		r.scarce(rng.Uint64())
		return
	}
	if err := r.Restored(); err != nil {
		r.t.Fatal(err)
	}
}

// TestVerdictOfWhatIsNew: after a write, a filter is evaluated over what was written alone.
func TestVerdictOfWhatIsNew(t *testing.T) {
	r := newRig(t)
	v := r.filled(map[string][]*Put{"papers": many(500, 1)})
	defer v.close()
	f, err := compileFilter("fields.number == 3")
	if err != nil {
		t.Fatal(err)
	}
	unknown := func() int {
		v, err := r.view()
		if err != nil {
			t.Fatal(err)
		}
		defer v.close()
		c := v.collections["papers"]
		n := unjudged(c.View, v.verdicts.find(kept{c.Numbering(), f.expression}), math.MaxInt)
		if got, want := v.selects(t, "papers", f.expression), v.walks(t, "papers", f.expression); !slices.Equal(got, want) {
			t.Fatalf("%q are selected, want %q", got, want)
		}
		return n
	}
	for i, step := range []struct {
		body any
		want int
	}{
		{nil, 500}, {nil, 0},
		{&Patch{ID: "a#000000", Fields: []byte(`{"number":3}`)}, 1},
		{&Patch{ID: "a#000003", Fields: []byte(`{"number":4}`)}, 1},
		{putOf("a#000006", 3, 2), 1},
		{putOf("new", 3, 2), 1},
		{&Forget{IDs: []string{"a#000003", "new"}}, 0},
		{putOf("new", 4, 0), 1},
	} {
		if step.body != nil {
			r.expect(OK, r.op("papers", step.body))
		}
		if got := unknown(); got != step.want {
			t.Errorf("step %d: %d documents are to be judged, want %d", i, got, step.want)
		}
	}
	if got := v.selects(t, "papers", f.expression); len(got) != 50 {
		t.Errorf("of the state before all that, %d are selected", len(got))
	}
}

// TestVerdictsBounded: what is kept stays below its limit, the filters used last stay, and one that is too large alone is not kept.
func TestVerdictsBounded(t *testing.T) {
	r := newRig(t)
	v := r.filled(map[string][]*Put{"papers": many(1000, 0)})
	defer v.close()
	v.verdicts.most = 1500 // some five
	kept := func(expression string) bool {
		return v.verdicts.find(kept{v.collections["papers"].Numbering(), expression}).known != nil
	}
	for i := range 50 {
		v.selects(t, "papers", fmt.Sprintf("fields.number < %d", i))
		v.selects(t, "papers", "fields.number < 0")
		if v.verdicts.bytes > v.verdicts.most || !kept("fields.number < 0") || i > 0 && !kept(fmt.Sprintf("fields.number < %d", i)) || i > 10 && kept(fmt.Sprintf("fields.number < %d", i-10)) {
			t.Fatalf("after %d filters: %d bytes in %d", i, v.verdicts.bytes, v.verdicts.kept.Len())
		}
	}
	v.verdicts.most = 100
	if got := v.selects(t, "papers", "fields.number == 3"); len(got) != 100 || v.verdicts.bytes > 100 || kept("fields.number == 3") {
		t.Errorf("%d are selected, %d bytes are kept", len(got), v.verdicts.bytes)
	}
}

// TestVerdictsTogether: searches of one filter, of old states and new, while documents are written.
func TestVerdictsTogether(t *testing.T) {
	r := newRig(t)
	r.filled(map[string][]*Put{"papers": many(300, 1)}).close()
	views := make(chan view, 100)
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for v := range views {
				for _, filter := range someFilters[:3] {
					if got, want := v.selects(t, "papers", filter), v.walks(t, "papers", filter); !slices.Equal(got, want) {
						t.Errorf("state %d: %s selects %d, want %d", v.applied, filter, len(got), len(want))
					}
				}
				v.close()
			}
		})
	}
	rng := rand.New(rand.NewPCG(8, 8))
	for round := range 100 {
		r.do(r.someChanges(rng, round)...)
		v, err := r.view()
		if err != nil {
			t.Error(err)
			break
		}
		views <- v
	}
	close(views)
	readers.Wait()
}

// TestVerdictEnds: a search whose filter is too much work says so, what it found out stays, and a context ends it.
func TestVerdictEnds(t *testing.T) {
	r := newRig(t)
	v := r.filled(map[string][]*Put{"papers": many(100, 1)})
	defer v.close()
	f, err := compileFilter("fields.number == 3")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := v.selected(ctx, "papers", f, math.MaxInt, math.MaxUint64); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := v.selected(t.Context(), "papers", f, 99, math.MaxUint64); !errors.Is(err, errManyUnknown) {
		t.Error(err)
	}
	for range 100 {
		_, err = v.selected(t.Context(), "papers", f, math.MaxInt, 20)
		if err == nil {
			break
		}
		if !errors.Is(err, errManyUnknown) {
			t.Fatal(err)
		}
	}
	if err != nil {
		t.Error("what was found out did not stay")
	}
	bad := testQuery(0)
	if _, err := v.candidates(t.Context(), &SearchRequest{Collection: "papers", Query: bad}, f); !errors.Is(err, retrieval.ErrInvalid) {
		t.Error(err)
	}
}

// TestFilteredPlan: a filtered search follows the plan of its query; where it scores as many as pass, it answers as exact search.
func TestFilteredPlan(t *testing.T) {
	r := newRig(t)
	v := r.filled(map[string][]*Put{"papers": many(2000, 3)})
	defer v.close()
	f, err := compileFilter("fields.number == 3 && id < 'b'")
	if err != nil {
		t.Fatal(err)
	}
	q := &SearchRequest{Collection: "papers", Query: testQuery(10)}
	exact, err := v.candidates(t.Context(), q, f)
	if err != nil || exact.Stats.Documents != 67 {
		t.Fatalf("%v: %+v", err, exact.Stats)
	}
	for plan, scored := range map[retrieval.Plan]int64{{Sketched: 70, Scored: 67}: 67, {Sketched: 67, Scored: 20}: 20, {Sketched: 30, Scored: 12}: 12} {
		q.Query.Plan = plan
		got, err := v.candidates(t.Context(), q, f)
		if err != nil || got.Stats.Documents != scored || len(got.Hits) != 10 || scored == 67 && !reflect.DeepEqual(got.Hits, exact.Hits) {
			t.Errorf("%+v: %v, %+v", plan, err, got.Stats)
		}
	}
}

// BenchmarkFilter measures what a filter adds to a search by a plan, and a count: cold, where nothing is known of its fields; new; warm; and warm
// after one document was written.
func BenchmarkFilter(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		r := newRig(b)
		puts := many(n, 8)
		for i, p := range puts {
			p.Document.Fields = fmt.Appendf(nil, `{"lang":"en","half":%d,"rank":%d,"title":"of a document, number %d"}`, i%2, i, i)
		}
		v := r.filled(map[string][]*Put{"papers": puts})
		filters := map[string]string{"50%": "fields.half == 0", "1%": fmt.Sprintf("fields.rank < %d && fields.lang == 'en'", n/100), ".01%": fmt.Sprintf("fields.rank < %d", n/10_000), "none": ""}
		for _, name := range slices.Sorted(maps.Keys(filters)) {
			f, err := compileFilter(filters[name])
			if err != nil {
				b.Fatal(err)
			}
			q := &SearchRequest{Collection: "papers", Query: testQuery(10)}
			q.Query.Plan = retrieval.Plan{Sketched: 400, Scored: 60}
			search := func(b *testing.B, v view) {
				if _, err := v.candidates(b.Context(), q, f); err != nil {
					b.Fatal(err)
				}
			}
			at := fmt.Sprintf("/%d/%s", n, name)
			b.Run("warm"+at, func(b *testing.B) {
				search(b, v)
				for b.Loop() {
					search(b, v)
				}
			})
			if f == nil {
				continue
			}
			b.Run("cold"+at, func(b *testing.B) {
				for b.Loop() {
					v.verdicts.kept.Purge()
					v.verdicts.columns.kept.Purge()
					search(b, v)
				}
			})
			b.Run("new"+at, func(b *testing.B) { // another filter of fields that were asked for before
				for b.Loop() {
					v.verdicts.kept.Purge()
					search(b, v)
				}
			})
			b.Run("walk"+at, func(b *testing.B) { // over every row, and nothing kept
				for b.Loop() {
					w := &walk{view: v, collection: "papers", filter: f, most: math.MaxInt, work: math.MaxUint64}
					for range w.ids(b.Context(), "") {
					}
				}
			})
			b.Run("count"+at, func(b *testing.B) {
				for b.Loop() {
					if _, err := v.list(b.Context(), &ListRequest{Collection: "papers", Count: true}, f, MaxScanned); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("written"+at, func(b *testing.B) {
				for i := 0; b.Loop(); i++ {
					b.StopTimer()
					r.expect(OK, r.op("papers", &Patch{ID: puts[i%n].Document.ID, Fields: fmt.Appendf(nil, `{"late":%d}`, i)}))
					now, err := r.view()
					if err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
					search(b, now)
					b.StopTimer()
					now.close()
					b.StartTimer()
				}
			})
		}
		v.close()
	}
}
