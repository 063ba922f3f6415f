package index

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"ostraca/retrieval"
)

// candidates returns the ids of a plan's candidates, in order: those of an index, or of all that a union is of.
func candidates(t testing.TB, s retrieval.Searcher, q *retrieval.Query, p retrieval.Plan) []string {
	ids, err := candidatesOf(t, s, q, p)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(ids)
	return ids
}

func candidatesOf(t testing.TB, s retrieval.Searcher, q *retrieval.Query, p retrieval.Plan) (ids []string, err error) {
	if u, ok := s.(retrieval.Union); ok {
		for _, part := range u {
			some, wrong := candidatesOf(t, part, q, p)
			ids, err = append(ids, some...), errors.Join(err, wrong)
		}
		return ids, err
	}
	ask := *q
	ask.K, ask.Plan = 1, p
	v := s.(*Index).View()
	found, _, err := v.candidates(t.Context(), &ask)
	for _, c := range found {
		ids = append(ids, v.parts[c.part].records[c.at].id)
	}
	return ids, err
}

// lacks returns the first of some that is not among all; both are in order.
func lacks(all, some []string) (string, bool) {
	for _, id := range some {
		at, ok := slices.BinarySearch(all, id)
		if !ok {
			return id, true
		}
		all = all[at:]
	}
	return "", false
}

// splits deals the documents of c out to one index; to three, unevenly; and each of these to more, seven in all.
func (c *crowd) splits(t testing.TB) (whole *Index, three, seven retrieval.Union) {
	docs := make([][][]retrieval.Document, 3)
	for i, n := range []int{2, 2, 3} {
		docs[i] = make([][]retrieval.Document, n)
	}
	for _, d := range c.docs {
		i := []int{0, 0, 0, 1, 1, 2}[c.rng.IntN(6)]
		j := c.rng.IntN(len(docs[i]))
		docs[i][j] = append(docs[i][j], d)
	}
	made := func(docs ...[]retrieval.Document) *Index {
		x, err := New(c.width, Options{Codec: c.codec, Threads: 1, Lists: c.lists})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(x.Close)
		for some := range slices.Chunk(slices.Concat(docs...), 500) {
			put(t, x, some...)
		}
		x.Settle()
		return x
	}
	for _, part := range docs {
		three = append(three, made(part...))
		var halves retrieval.Union
		for _, some := range part {
			halves = append(halves, made(some))
		}
		seven = append(seven, halves)
	}
	return made(c.docs), three, seven
}

// checkCandidates asks by plans: every candidate of the whole is one of three parts, and every one of a part is one of the parts that it is split into.
func checkCandidates(t *testing.T, c *crowd, queries int, plans func() []retrieval.Plan) {
	whole, three, seven := c.splits(t)
	cuts := 0
	for range queries {
		q := c.query(5, 10)
		for _, p := range plans() {
			one, some, more := candidates(t, whole, q, p), candidates(t, three, q, p), candidates(t, seven, q, p)
			if id, missing := lacks(some, one); missing {
				t.Fatalf("%s, %+v: %q is a candidate of the whole, and not of 3 parts", c.codec, p, id)
			}
			if id, missing := lacks(more, some); missing {
				t.Fatalf("%s, %+v: %q is a candidate of 3 parts, and not of the 7 that they are split into", c.codec, p, id)
			}
			if len(one) < len(some) && len(some) < len(more) {
				cuts++
			}
		}
	}
	if cuts < queries {
		t.Errorf("%s: %d of %d queries had other candidates in parts: the law says little here", c.codec, cuts, queries)
	}
}

// checkHits asks by plans: every score is the exact one, to the bit, and more parts find no less of the exact answer.
func checkHits(t *testing.T, c *crowd, queries int, plans func() []retrieval.Plan) {
	whole, three, seven := c.splits(t)
	missed := 0
	for range queries {
		q := c.query(5, 10)
		all, exact := *q, map[string]retrieval.Hit{}
		all.K = retrieval.MaxK
		for _, h := range search(t, whole, &all).Hits {
			exact[h.ID] = h
		}
		truth := search(t, whole, q).Hits
		for _, p := range plans() {
			least := 0
			for _, s := range []retrieval.Searcher{whole, three, seven} {
				ask := *q
				ask.Plan = p
				for _, h := range search(t, s, &ask).Hits {
					if !reflect.DeepEqual(h, exact[h.ID]) {
						t.Fatalf("%s, %+v: %+v, in exact mode %+v", c.codec, p, h, exact[h.ID])
					}
				}
				n := found(t, s, q, p, truth)
				if n < least {
					t.Fatalf("%s, %+v: %d of the best in parts, %d in fewer", c.codec, p, n, least)
				}
				least, missed = n, missed+len(truth)-n
			}
		}
	}
	if missed == 0 {
		t.Errorf("%s: no plan missed anything: the law says nothing here", c.codec)
	}
}

// targetPlans are those of every target, for answers of 10 and of 100 hits: of collections that were not calibrated, and as measured.
func targetPlans(t *testing.T, c *crowd) (plans []retrieval.Plan) {
	var queries []*retrieval.Query
	for range 6 {
		queries = append(queries, c.query(5, 10))
	}
	measured, err := retrieval.Calibrate(t.Context(), c.parts(t, 1, Options{Threads: 2})[0], queries)
	if err != nil || len(measured) < 4 {
		t.Fatalf("%s: %+v, %v", c.codec, measured, err)
	}
	for _, x := range append(measured, retrieval.Default...) {
		plans = append(plans, x.Plan)
	}
	return plans
}

// Law 1 in approximate mode: 500 queries by the plans of all targets, and any of one stage.
func TestCandidatesOfTheWholeAreThoseOfParts(t *testing.T) {
	for codec, queries := range map[retrieval.Codec]int{retrieval.Int8: 500, retrieval.Bits2: 20, retrieval.Bits1: 20, retrieval.Bits4: 20, retrieval.Bits3: 20} {
		t.Run(string(codec), func(t *testing.T) {
			c := newCrowd(codec, lawDocuments, 16)
			all := targetPlans(t, c)
			checkCandidates(t, c, queries, func() []retrieval.Plan {
				n := 1 + c.rng.IntN(200)
				return append(slices.Clip(all), retrieval.Plan{Sketched: n}, retrieval.Plan{Scored: n})
			})
			checkHits(t, c, 10, func() []retrieval.Plan { return all })
		})
	}
}

// lawDocuments are more than any plan of retrieval.Default scores, and all but the largest sketch.
const lawDocuments = 1300

// The law holds for any plan of two stages, and the candidates of a plan are among those of a larger one.
func TestCandidatesOfAnyPlan(t *testing.T) {
	for codec, queries := range map[retrieval.Codec]int{retrieval.Int8: 300, retrieval.Bits2: 60} {
		c := newCrowd(codec, 500, 32)
		any := func() retrieval.Plan {
			n := 1 + c.rng.IntN(20)
			return retrieval.Plan{Sketched: n + c.rng.IntN(2*n), Scored: n}
		}
		checkCandidates(t, c, queries, func() []retrieval.Plan { return []retrieval.Plan{any(), any()} })
		x := c.parts(t, 1, Options{Threads: 1})[0]
		for range queries {
			q, p := c.query(5, 10), any()
			larger := retrieval.Plan{Sketched: p.Sketched + c.rng.IntN(40), Scored: p.Scored + c.rng.IntN(10)}
			if id, missing := lacks(candidates(t, x, q, larger), candidates(t, x, q, p)); missing {
				t.Fatalf("%+v keeps %q, and a larger plan does not", p, id)
			}
		}
	}
}

// A plan of fewer documents than hits are wanted finds as many as are wanted all the same, in one shard and in many.
func TestPlansFindAsManyAsAreWanted(t *testing.T) {
	c := newCrowd(retrieval.Int8, 300, 16)
	whole, three, seven := c.splits(t)
	for _, p := range []retrieval.Plan{{Sketched: 9, Scored: 3}, {Sketched: 60, Scored: 3}, {Sketched: 3}, {Scored: 3}} {
		for _, k := range []int{1, 20, 299, 301} {
			q := c.query(5, k)
			q.Plan = p
			for _, s := range []retrieval.Searcher{whole, three, seven} {
				if got := len(search(t, s, q).Hits); got != min(k, len(c.docs)) {
					t.Fatalf("%+v: %d hits, %d are wanted", p, got, k)
				}
			}
		}
	}
}
