package index

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"ostraca/retrieval"
)

// someKept draws a share of the documents of a model.
func someKept(rng *rand.Rand, from model, share float64) model {
	out := model{}
	for _, id := range slices.Sorted(maps.Keys(from)) {
		if rng.Float64() < share {
			out[id] = from[id]
		}
	}
	return out
}

// restrict returns a view of the documents of a model alone.
func restrict(v View, to model) View {
	var keep Set
	for n, id := range v.Unknown(nil) {
		if _, ok := to[id]; ok {
			keep = keep.With(n)
		}
	}
	return v.Restrict(keep)
}

// alone returns an index that holds the documents of a model and never held others.
func alone(t *testing.T, m model, o Options, width int) *Index {
	x := newIndex(t, width, o)
	for _, id := range slices.Sorted(maps.Keys(m)) {
		put(t, x, m[id])
	}
	return x
}

var somePlans = []retrieval.Plan{{}, {Scored: 5}, {Sketched: 40}, {Sketched: 20, Scored: 7}, {Sketched: 1, Scored: 1}, {Sketched: 1000, Scored: 1000}}

// TestRestrict: a restricted view answers in every way as an index that holds what is left and never held anything else.
func TestRestrict(t *testing.T) {
	const width = 21
	rng := rand.New(rand.NewPCG(17, 8))
	history, left := someHistory(rng, width)
	for _, threads := range []int{1, 3} {
		o := Options{Threads: threads}
		whole := play(t, history, 1, func(string) int { return 0 }, o, width)[0].(*Index).View()
		for _, share := range []float64{0, .02, .1, .5, .9, 1} {
			kept := someKept(rng, left, share)
			some, want := restrict(whole, kept), alone(t, kept, o, width).View()
			if some.Len() != len(kept) || some.Tokens() != want.Tokens() {
				t.Fatalf("%v: %d documents of %d tokens are left, want %d of %d", share, some.Len(), some.Tokens(), len(kept), want.Tokens())
			}
			if got := slices.Collect(some.List("")); !reflect.DeepEqual(got, slices.Collect(want.List(""))) {
				t.Fatalf("%v: %d documents are listed", share, len(got))
			}
			ids := slices.Sorted(maps.Keys(left))[:20]
			for _, id := range ids {
				if _, err := some.Get(id); (err == nil) != (kept[id].ID == id) {
					t.Fatalf("%v: %q: %v", share, id, err)
				}
			}
			for i, plan := range somePlans {
				q := someQuery(rng, 1+3*i, width, 1+i*i)
				q.Plan = plan
				got, truth := search(t, some, q), search(t, want, q)
				got.Stats.Segments, truth.Stats.Segments = 0, 0
				if !reflect.DeepEqual(got, truth) {
					t.Fatalf("%v, %+v:\n%+v\nwant\n%+v", share, plan, got, truth)
				}
				scored, err := some.Score(t.Context(), q, ids)
				truth, _ = want.Score(t.Context(), q, ids)
				if err != nil || !reflect.DeepEqual(scored.Hits, truth.Hits) {
					t.Fatalf("%v: %v, scores %+v, want %+v", share, err, scored.Hits, truth.Hits)
				}
			}
		}
	}
}

// TestRestrictFindsAll: however few are left, a plan finds what exact search finds where it scores as many, over 1, 3 and 7 shards; where it does not,
// its scores are those of exact search.
func TestRestrictFindsAll(t *testing.T) {
	const width, documents = 16, 1500
	rng := rand.New(rand.NewPCG(3, 5))
	whole := model{}
	for i := range documents {
		id := fmt.Sprint("d", i)
		whole[id] = retrieval.Document{ID: id, Codes: quantize(t, floats(rng, 1+rng.IntN(12), width), width)}
	}
	plan := retrieval.Plan{Sketched: 200, Scored: 60}
	for _, share := range []float64{.0003, .001, .01, .1, .5} {
		kept := someKept(rng, whole, share)
		var unions []retrieval.Union
		for _, shards := range []int{1, 3, 7} {
			var u retrieval.Union
			for s := range shards {
				mine := model{}
				for i := s; i < documents; i += shards {
					mine[fmt.Sprint("d", i)] = whole[fmt.Sprint("d", i)]
				}
				u = append(u, restrict(alone(t, mine, Options{}, width).View(), kept))
			}
			unions = append(unions, u)
		}
		for range 5 {
			q := someQuery(rng, 6, width, 10)
			truth := kept.search(q)
			sums, all := map[string]int64{}, *q
			all.K = retrieval.MaxK
			for _, h := range kept.search(&all).Hits {
				sums[h.ID] = h.Sum
			}
			for _, u := range unions {
				q.Plan = retrieval.Plan{}
				if got := search(t, u, q); !reflect.DeepEqual(got.Hits, truth.Hits) {
					t.Fatalf("%v of %d shards, exact:\n%v\nwant\n%v", share, len(u), got.Hits, truth.Hits)
				}
				q.Plan = plan
				got := search(t, u, q)
				if len(kept) <= plan.Scored && !reflect.DeepEqual(got.Hits, truth.Hits) {
					t.Fatalf("%v of %d shards, %d documents:\n%v\nwant\n%v", share, len(u), len(kept), got.Hits, truth.Hits)
				}
				for _, h := range got.Hits {
					if sum, ok := sums[h.ID]; ok && sum != h.Sum || kept[h.ID].ID == "" {
						t.Fatalf("%v of %d shards: %q has %d, exactly %d", share, len(u), h.ID, h.Sum, sum)
					}
				}
				if len(got.Hits) != min(q.K, len(kept)) {
					t.Fatalf("%v of %d shards: %d hits of %d documents", share, len(u), len(got.Hits), len(kept))
				}
			}
		}
	}
}

// TestNumbers: a number is of one state of one document, through merges, rewrites and other numberings; what is not written keeps its number.
func TestNumbers(t *testing.T) {
	const width = 5
	rng := rand.New(rand.NewPCG(9, 9))
	x, version := newIndex(t, width, Options{}), map[string]int{}
	type state struct {
		numbering *Numbering
		number    uint32
	}
	seen, last := map[state]string{}, map[string]state{}
	numberings, kept := map[*Numbering]bool{}, 0
	for round := range 3000 {
		var docs []retrieval.Document
		var ids []string
		written := map[string]bool{}
		for _, i := range rng.Perm(60)[:1+rng.IntN(8)] {
			d := someDocument(rng, fmt.Sprint("d", i), width, round)
			docs, ids, written[d.ID] = append(docs, d), append(ids, d.ID), true
		}
		switch {
		case round%3 == 0:
			for range 20 { // the quick way to use numbers up
				x.Touch(slices.Repeat(ids, 20))
			}
		case round%7 == 1:
			x.Delete(ids)
		default:
			put(t, x, docs...)
		}
		for _, id := range ids {
			version[id]++
		}
		checkShape(t, x)
		v := x.View()
		numberings[v.Numbering()] = true
		for n, id := range v.Unknown(nil) {
			s, name := state{v.Numbering(), n}, fmt.Sprint(id, " ", version[id])
			if was, ok := seen[s]; ok && was != name {
				t.Fatalf("number %d was of %s, is of %s", n, was, name)
			}
			if before, ok := last[id]; ok && !written[id] && before.numbering == s.numbering {
				if kept++; before != s {
					t.Fatalf("%s was not written and is now number %d", id, n)
				}
			}
			seen[s], last[id] = name, s
		}
	}
	if len(numberings) < 3 || kept < 1000 {
		t.Fatalf("%d numberings, %d numbers stayed: the test shows little", len(numberings), kept)
	}
}

// TestUnknown: what is known is left out, and numbers beyond a set are not in it.
func TestUnknown(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 1))
	x := newIndex(t, 4, Options{})
	if v := x.View(); v.Numbering() != nil || v.Restrict(Set{7}).Len() != 0 {
		t.Error("an empty index has numbers")
	}
	for i := range 200 {
		put(t, x, someDocument(rng, fmt.Sprint(i), 4, 1))
	}
	v := x.View()
	var known Set
	want := map[string]bool{}
	for n, id := range v.Unknown(nil) {
		if rng.IntN(2) == 0 {
			known = known.With(n)
		} else {
			want[id] = true
		}
	}
	for n, id := range v.Unknown(known) {
		if !want[id] || known.Has(n) {
			t.Errorf("%q is known", id)
		}
		delete(want, id)
	}
	if len(want) > 0 || known.Has(1<<31) {
		t.Errorf("%d are missing", len(want))
	}
}

// BenchmarkRestrict measures what it costs to leave documents out of a view.
func BenchmarkRestrict(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		x, err := New(4, Options{})
		if err != nil {
			b.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(1, 1))
		docs := make([]retrieval.Document, 0, 4096)
		for i := range n {
			if docs = append(docs, retrieval.Document{ID: fmt.Sprintf("%06d", i), Codes: someCodes(rng, 1, 4)}); len(docs) == cap(docs) || i == n-1 {
				put(b, x, docs...)
				docs = docs[:0]
			}
		}
		v := x.View()
		var all, few Set
		for number := range v.Unknown(nil) {
			if all = all.With(number); number%1000 == 0 {
				few = few.With(number)
			}
		}
		for name, keep := range map[string]Set{"all": all, "few": few} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				for b.Loop() {
					v.Restrict(keep)
				}
			})
		}
		b.Run(fmt.Sprintf("unknown/%d", n), func(b *testing.B) {
			for b.Loop() {
				for range v.Unknown(all) {
					b.Fatal()
				}
			}
		})
	}
}
