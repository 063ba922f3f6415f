package index

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"ostraca/retrieval"
	"ostraca/retrieval/kernel"
)

// crowd is documents about some of many subjects, and queries about them: the coarser tiers say something of their tokens, and not all.
type crowd struct {
	rng      *rand.Rand
	codec    retrieval.Codec
	width    int
	subjects []float32
	docs     []retrieval.Document
	lists    Lists
}

func newCrowd(codec retrieval.Codec, n, width int) *crowd {
	c := &crowd{rng: rand.New(rand.NewPCG(uint64(n), uint64(width))), codec: codec, width: width}
	c.subjects = floats(c.rng, 60, width)
	for i := range n {
		codes, err := Quantize(codec, c.text(1+c.rng.IntN(24)), width)
		if err != nil {
			panic(err)
		}
		c.docs = append(c.docs, retrieval.Document{ID: fmt.Sprintf("%x", c.rng.Uint32()&0xffff<<16|uint32(i)), Codes: Pool(codes)})
	}
	return c
}

// text returns n tokens about two subjects.
func (c *crowd) text(n int) []float32 {
	x, about := floats(c.rng, n, c.width), [2]int{c.rng.IntN(60), c.rng.IntN(60)}
	for i := range x {
		x[i] = .8*x[i] + c.subjects[about[i/c.width%2]*c.width+i%c.width]
	}
	return x
}

func (c *crowd) query(tokens, k int) *retrieval.Query {
	q, err := QuantizeQuery(c.codec, c.text(tokens), c.width, nil, k)
	if err != nil {
		panic(err)
	}
	return q
}

// parts deals the documents out to n indexes.
func (c *crowd) parts(t testing.TB, n int, o Options) retrieval.Union {
	docs, out := make([][]retrieval.Document, n), make(retrieval.Union, n)
	for i, d := range c.docs {
		docs[i*i%n] = append(docs[i*i%n], d)
	}
	for i := range out {
		o.Codec, o.Lists = c.codec, c.lists
		x, err := New(c.width, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(x.Close)
		put(t, x, docs[i]...)
		out[i] = x
	}
	return out
}

// found returns how many of the best k of all are among the best k of a plan.
func found(t testing.TB, s retrieval.Searcher, q *retrieval.Query, p retrieval.Plan, truth []retrieval.Hit) (n int) {
	ask := *q
	ask.Plan = p
	for _, h := range search(t, s, &ask).Hits {
		if slices.ContainsFunc(truth, func(x retrieval.Hit) bool { return x.ID == h.ID }) {
			n++
		}
	}
	return n
}

// Answers by a plan do not depend on threads, kernel or how documents lie in segments, and those deleted or replaced leave no trace in them.
func TestPlannedAnswersDoNotDependOnLayout(t *testing.T) {
	for _, codec := range []retrieval.Codec{retrieval.Int8, retrieval.Bits2} {
		c := newCrowd(codec, 300, 21)
		whole := c.parts(t, 1, Options{Threads: 1, Kernel: kernel.All()[0]})[0]
		var queries []*retrieval.Query
		var want []retrieval.Answer
		for range 6 {
			for _, p := range []retrieval.Plan{{Sketched: 50, Scored: 12}, {Sketched: 30}, {Scored: 9}, {Sketched: 1, Scored: 1}, {Sketched: 400, Scored: 30}} {
				q := c.query(1+c.rng.IntN(40), 1+c.rng.IntN(40))
				q.Plan = p
				queries, want = append(queries, q), append(want, search(t, whole, q))
			}
		}
		for _, set := range kernel.All() {
			for _, threads := range []int{1, 3} {
				x := newIndex(t, c.width, Options{Codec: codec, Threads: threads, Kernel: set})
				disturbed(t, x, c)
				for i, q := range queries {
					got := search(t, x, q)
					got.Stats.Segments = want[i].Stats.Segments
					if !reflect.DeepEqual(got, want[i]) {
						t.Fatalf("%s, %s, %d threads, %+v:\n%+v\n%+v", codec, set.Name(), threads, q.Plan, got, want[i])
					}
				}
			}
		}
	}
}

// disturbed puts the documents of c into x a few at a time, after and between others that are deleted or replaced.
func disturbed(t *testing.T, x *Index, c *crowd) {
	other := slices.Clone(c.docs)
	for i := range other {
		other[i].Codes = c.docs[(i+7)%len(other)].Codes
		if i%3 == 0 {
			other[i].ID = fmt.Sprint("gone", i)
		}
	}
	for i := range slices.Chunk(other, 40) {
		put(t, x, i...)
	}
	for some := range slices.Chunk(c.docs, 11) {
		put(t, x, some...)
	}
	for i := 0; i < len(other); i += 3 {
		x.Delete([]string{other[i].ID})
	}
	if x.Len() != len(c.docs) {
		t.Fatalf("%d documents, want %d", x.Len(), len(c.docs))
	}
}

// Of documents that score alike the smaller ids pass every stage, in one index and in many, and a document without tokens passes none.
func TestTiesAtTheCut(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 5))
	for _, codec := range retrieval.Codecs {
		codes := Pool(quantizeBy(t, codec, floats(rng, 12, 16), 16))
		c := &crowd{rng: rng, codec: codec, width: 16, subjects: floats(rng, 60, 16)}
		var ids []string
		for _, i := range rng.Perm(300) {
			d := retrieval.Document{ID: fmt.Sprintf("%03d", i), Codes: codes}
			if i%5 == 0 {
				d.Codes = retrieval.Codes{}
			} else {
				ids = append(ids, d.ID)
			}
			c.docs = append(c.docs, d)
		}
		slices.Sort(ids)
		q := c.query(4, 7)
		for _, n := range []int{1, 3, 7} {
			for _, p := range []retrieval.Plan{{Sketched: 20, Scored: 7}, {Sketched: 7}, {Scored: 7}, {Sketched: 7, Scored: 20}, {Sketched: 250, Scored: 9}} {
				q.Plan = p
				var got []string
				for _, h := range search(t, c.parts(t, n, Options{Threads: 2}), q).Hits {
					got = append(got, h.ID)
				}
				if !slices.Equal(got, ids[:7]) {
					t.Fatalf("%s, %d parts, %+v: %v", codec, n, p, got)
				}
			}
		}
	}
}

// A calibration reaches its targets on the queries it was measured with, for less than an exact search costs, and has nothing where nothing is cheaper.
func TestCalibrate(t *testing.T) {
	c := newCrowd(retrieval.Int8, 700, 32)
	x := c.parts(t, 1, Options{Threads: 1})[0]
	var queries []*retrieval.Query
	for range 25 {
		queries = append(queries, c.query(5, 3))
	}
	got, err := retrieval.Calibrate(t.Context(), x, queries)
	if err != nil || got.Validate() != nil || len(got) < 4 {
		t.Fatalf("%+v: %v, %v", got, err, got.Validate())
	}
	if again, _ := retrieval.Calibrate(t.Context(), c.parts(t, 1, Options{Threads: 3})[0], queries); !reflect.DeepEqual(again, got) {
		t.Errorf("calibrated once %+v, twice %+v", got, again)
	}
	for _, m := range got {
		cost, exact, share := int64(0), int64(0), 0.
		for _, q := range queries {
			ask := *q
			ask.K = m.K
			whole := search(t, x, &ask)
			share += float64(found(t, x, &ask, m.Plan, whole.Hits)) / float64(len(whole.Hits)) / float64(len(queries))
			ask.Plan = m.Plan
			s := search(t, x, &ask).Stats
			cost, exact = cost+s.Tokens+s.Coarse+s.Sketches, exact+whole.Stats.Tokens
		}
		if 1000*share < float64(m.Target)-1e-6 || cost >= exact {
			t.Errorf("%+v finds %.4f for %d of %d vectors", m, share, cost, exact)
		}
		t.Logf("%+v finds %.4f for %d of %d vectors", m, share, cost, exact)
	}
	for _, q := range queries {
		if q.K != 3 || !q.Plan.Exact() {
			t.Fatal("a query was changed")
		}
	}
}

func TestCalibrateWhereNothingIsCheaper(t *testing.T) {
	few := newCrowd(retrieval.Bits4, 9, 16)
	for i := range few.docs {
		few.docs[i].Codes = quantizeBy(t, few.codec, few.text(1), few.width)
	}
	q := few.query(3, 1)
	if got, err := retrieval.Calibrate(t.Context(), few.parts(t, 1, Options{})[0], []*retrieval.Query{q}); err != nil || len(got) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	empty := newIndex(t, few.width, Options{Codec: few.codec})
	if got, err := retrieval.Calibrate(t.Context(), empty, []*retrieval.Query{q}); err != nil || len(got) != 0 {
		t.Errorf("of no documents: %+v, %v", got, err)
	}
	if _, err := retrieval.Calibrate(t.Context(), empty, nil); !errors.Is(err, retrieval.ErrInvalid) {
		t.Errorf("without queries: %v", err)
	}
	q.Codec = retrieval.Bits1
	if _, err := retrieval.Calibrate(t.Context(), empty, []*retrieval.Query{q}); !errors.Is(err, retrieval.ErrInvalid) {
		t.Errorf("of another codec: %v", err)
	}
}
