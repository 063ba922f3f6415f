package index

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"ostraca/retrieval"
	"ostraca/retrieval/kernel"
)

// TestCandidatesOfFew: of an index whose pieces are as large as they are in use, a plan finds the candidates that docs/cascade.md names, and counts the
// sketches of the living, whether all of its documents live, or half, or one in a hundred. There are documents without tokens, of one sketch and of several,
// and many that are equal, in one large segment and some small ones: ties lie over all of them.
func TestCandidatesOfFew(t *testing.T) {
	const width, n, late = 16, 3000, 200
	rng := rand.New(rand.NewPCG(5, 77))
	var kinds []retrieval.Codes
	for _, tokens := range []int{0, 1, 1, 2, 30, 256, 257, 600, 1100} {
		kinds = append(kinds, Pool(someCodes(rng, tokens, width)))
	}
	docs := make([]retrieval.Document, n)
	for i := range docs {
		docs[i] = retrieval.Document{ID: fmt.Sprintf("%06d", (i*7+3)%n), Codes: kinds[rng.IntN(len(kinds))]}
		if rng.IntN(3) == 0 {
			docs[i].Codes = Pool(someCodes(rng, 1+rng.IntN(3), width))
		}
	}
	for _, set := range []*kernel.Set{kernel.Best(), kernel.All()[0]} {
		b, err := NewBuilder(width, Options{Threads: 2, Kernel: set}, n, 40*n)
		if err != nil {
			t.Fatal(err)
		}
		large := slices.SortedFunc(slices.Values(docs[late:]), byID)
		for _, d := range large {
			if err := b.Add(d); err != nil {
				t.Fatal(err)
			}
		}
		x := b.Index()
		x.Close() // no merges
		for some := range slices.Chunk(docs[:late], late/4) {
			put(t, x, some...)
		}
		for _, share := range []float64{1, .55, .45, .01} {
			some, left := map[string]retrieval.Document{}, []retrieval.Document(nil)
			for _, d := range docs {
				if rng.Float64() < share {
					some[d.ID], left = d, append(left, d)
				}
			}
			checkFound(t, fmt.Sprintf("%s, a filter of %g", set.Name(), share), restrict(x.View(), some), left, rng)
		}
		var gone []string
		for _, d := range docs[:n*6/10] {
			gone = append(gone, d.ID)
		}
		x.Delete(gone)
		checkFound(t, set.Name()+", more than half deleted", x.View(), docs[n*6/10:], rng)
	}
}

// checkFound asks a view that holds these documents by several plans.
func checkFound(t *testing.T, name string, v View, held []retrieval.Document, rng *rand.Rand) {
	t.Helper()
	sketches := int64(0)
	for _, d := range held {
		sketches += int64(retrieval.Windows(d.Codes.Len()))
	}
	for i, p := range []retrieval.Plan{{Sketched: 1, Scored: 1}, {Sketched: 20, Scored: 5}, {Sketched: 300, Scored: 40}, {Sketched: 33}} {
		q := someQuery(rng, 1+i*5, v.index.width, 1)
		q.Plan = p
		found, stats, err := v.candidates(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range found {
			got = append(got, v.parts[c.part].records[c.at].id)
		}
		slices.Sort(got)
		if want := candidatesByHand(q, p, held); !slices.Equal(got, want) {
			t.Fatalf("%s, %+v: %q, want %q", name, p, got, want)
		}
		if len(held) > p.Sketched && stats.Sketches != sketches {
			t.Fatalf("%s, %+v: %d sketches were scanned, %d live", name, p, stats.Sketches, sketches)
		}
	}
}
