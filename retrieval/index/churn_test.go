package index

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"ostraca/retrieval"
)

// topical draws documents and questions whose tokens lie around some of many topics.
type topical struct {
	rng     *rand.Rand
	width   int
	centres []float32
}

func newTopical(seed uint64, topics, width int) *topical {
	rng := rand.New(rand.NewPCG(seed, 1))
	return &topical{rng, width, floats(rng, topics, width)}
}

func (c *topical) vectors(n int) []float32 {
	x, topics := floats(c.rng, n, c.width), len(c.centres)/c.width
	about := []int{c.rng.IntN(topics), c.rng.IntN(topics)}
	for i := range x {
		x[i] = x[i]*.7 + c.centres[about[i/c.width%2]*c.width+i%c.width]
	}
	return x
}

func (c *topical) document(t testing.TB, id, tokens int) retrieval.Document {
	return retrieval.Document{ID: fmt.Sprintf("%07x", uint32(id)*2654435761>>4), Codes: Pool(quantize(t, c.vectors(tokens), c.width))}
}

func (c *topical) queries(t testing.TB, n, tokens, k int) (out []*retrieval.Query) {
	for range n {
		q, err := QuantizeQuery(retrieval.Int8, c.vectors(tokens), c.width, nil, k)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, q)
	}
	return out
}

// work is what queries by a plan found and cost.
type work struct {
	recall   float64
	vectors  int64 // scanned or scored
	scanned  int   // sketch vectors that lie in the segments, those of dead documents included
	segments int
}

func measureWork(t testing.TB, x *Index, queries []*retrieval.Query, plan retrieval.Plan) (w work, answers []retrieval.Answer) {
	t.Helper()
	found, wanted := 0, 0
	for _, q := range queries {
		p := *q
		p.Plan = plan
		truth := map[string]bool{}
		for _, h := range search(t, x, q).Hits {
			truth[h.ID] = true
		}
		a := search(t, x, &p)
		for _, h := range a.Hits {
			if truth[h.ID] {
				found++
			}
		}
		wanted += len(truth)
		w.vectors += a.Stats.Vectors()
		answers = append(answers, a)
	}
	for _, p := range x.snapshot() {
		w.scanned += len(p.sketch.scales)
	}
	w.recall, w.segments = float64(found)/float64(wanted), len(x.snapshot())
	return w, answers
}

// A corpus is replaced whole, a twentieth at a time. At every step a plan finds, and meets, what it does in an index built of the same documents at once; what lies
// about of dead ones is an eighth at most.
func TestChurn(t *testing.T) {
	const width, n, tokens, steps = 32, 800, 20, 20
	c := newTopical(5, 80, width)
	held := make([]retrieval.Document, n)
	for i := range held {
		held[i] = c.document(t, i, 1+c.rng.IntN(2*tokens))
	}
	queries, plan := c.queries(t, 40, 8, 10), retrieval.Plan{Sketched: 120, Scored: 25}
	build := func() *Index {
		x, err := New(width, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for part := range slices.Chunk(held, n/steps) {
			put(t, x, part...)
		}
		return x
	}
	x := build()
	begun, _ := measureWork(t, x, queries, plan)
	if begun.recall < .5 || begun.recall == 1 {
		t.Fatalf("recall is %v: the test sees nothing", begun.recall)
	}
	for step := range steps {
		for i := step * n / steps; i < (step+1)*n/steps; i++ {
			x.Delete([]string{held[i].ID})
			held[i] = c.document(t, n+i, 1+c.rng.IntN(2*tokens))
			put(t, x, held[i])
		}
		checkShape(t, x)
		fresh := build()
		fresh.Settle()
		got, answers := measureWork(t, x, queries, plan)
		want, whole := measureWork(t, fresh, queries, plan)
		for i := range answers {
			if !reflect.DeepEqual(answers[i].Hits, whole[i].Hits) {
				t.Fatalf("step %d: %v\nanew: %v", step, answers[i].Hits, whole[i].Hits)
			}
		}
		if got.recall != want.recall || got.vectors != want.vectors {
			t.Fatalf("step %d: %+v, anew: %+v", step, got, want)
		}
		if 7*got.scanned > 8*want.scanned+7 || got.segments > want.segments+8 {
			t.Fatalf("step %d: %d sketches lie in %d segments, anew %d in %d", step, got.scanned, got.segments, want.scanned, want.segments)
		}
		t.Logf("step %2d: recall %.3f, %d vectors, %d sketches in %d segments; anew %d in %d", step, got.recall, got.vectors, got.scanned, got.segments, want.scanned, want.segments)
	}
}

// BenchmarkChurn replaces a corpus of 1.2 million tokens, a twentieth at a time, one document after the other, and measures a plan after each step, and in an index built
// anew at the end.
func BenchmarkChurn(b *testing.B) {
	const width, tokens, n, steps = 128, 60, 20_000, 20
	c := newTopical(6, 600, width)
	documents := make([]retrieval.Document, 2*n)
	for i := range documents {
		documents[i] = c.document(b, i, tokens)
	}
	queries, plan := c.queries(b, 40, 8, 10), retrieval.Plan{Sketched: 400, Scored: 60}
	for b.Loop() {
		x, err := New(width, Options{})
		if err != nil {
			b.Fatal(err)
		}
		held := slices.Clone(documents[:n])
		for part := range slices.Chunk(held, n/steps) {
			put(b, x, part...)
		}
		x.Settle()
		tell := func(what string, x *Index) {
			w, _ := measureWork(b, x, queries, plan)
			var times []time.Duration
			for range 5 {
				for _, q := range queries {
					p := *q
					p.Plan = plan
					start := time.Now()
					search(b, x, &p)
					times = append(times, time.Since(start))
				}
			}
			slices.Sort(times)
			b.Logf("%s: recall %.3f, %d vectors, %d sketches of %d documents in %d segments, median %v", what, w.recall, w.vectors, w.scanned, x.Len(), w.segments, times[len(times)/2])
		}
		tell("begun", x)
		for step := range steps {
			start := time.Now()
			for i := step * n / steps; i < (step+1)*n/steps; i++ {
				x.Delete([]string{held[i].ID})
				held[i] = documents[n+i]
				put(b, x, held[i])
			}
			took := time.Since(start)
			x.Settle()
			if step%4 == 3 {
				tell(fmt.Sprintf("step %d, %v a document", step+1, took/(n/steps)), x)
			}
		}
		fresh, err := New(width, Options{})
		if err != nil {
			b.Fatal(err)
		}
		for part := range slices.Chunk(held, n/steps) {
			put(b, fresh, part...)
		}
		fresh.Settle()
		tell("anew", fresh)
	}
}
