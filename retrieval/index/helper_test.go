package index

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"ostraca/retrieval"
)

// floats returns n rows of width floats, not unit length.
func floats(rng *rand.Rand, n, width int) []float32 {
	x := make([]float32, n*width)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

// someCodes returns codes of n tokens; often extreme ones, or all tokens alike.
func someCodes(rng *rand.Rand, n, width int) retrieval.Codes {
	c := retrieval.Codes{Codec: retrieval.Int8, Width: width, Rows: make([]byte, n*retrieval.Stride(width)), Scales: make([]uint16, n)}
	kind := rng.IntN(4)
	for t := range n {
		row := c.Rows[t*retrieval.Stride(width):][:retrieval.Stride(width)]
		c.Scales[t] = []uint16{1, retrieval.MaxScale, uint16(1 + rng.IntN(retrieval.MaxScale)), 9}[kind]
		for i := range row {
			row[i] = 128
			if i < width {
				row[i] = []byte{1, byte(1 + 254*rng.IntN(2)), byte(1 + rng.IntN(255)), byte(127 + rng.IntN(3))}[kind]
			}
		}
	}
	return c
}

// someDocument returns a document of 0, 1 or some tokens whose fields and text name the version.
func someDocument(rng *rand.Rand, id string, width, version int) retrieval.Document {
	n := []int{0, 1, 2, 5, 16, 60}[rng.IntN(6)]
	d := retrieval.Document{ID: id, Text: fmt.Sprint("version ", version), Codes: someCodes(rng, n, width)}
	d.Fields = map[string]any{"version": version}
	if rng.IntN(2) == 0 {
		d.Spans = slices.Repeat([]retrieval.Span{{Start: 1, End: 3}}, n)
	}
	return d
}

// someQuery returns a query of n tokens, some of weight 0.
func someQuery(rng *rand.Rand, n, width, k int) *retrieval.Query {
	weights := make([]uint16, n)
	for i := range weights {
		weights[i] = []uint16{0, 1, retrieval.UnitWeight, math.MaxUint16}[rng.IntN(4)]
	}
	weights[0] = max(weights[0], 1) // not all may be 0
	q, err := QuantizeQuery(retrieval.Int8, floats(rng, n, width), width, weights, k)
	if err != nil {
		panic(err)
	}
	return q
}

// pooled returns a document as an index gives it back: with its pooled vectors.
func pooled(d retrieval.Document) retrieval.Document {
	d.Codes = Pool(d.Codes)
	return d
}

// model is the dumb reference of an index.
type model map[string]retrieval.Document

func (m model) put(docs []retrieval.Document) {
	for _, d := range docs {
		m[d.ID] = d
	}
}

func (m model) delete(ids []string) (n int) {
	for _, id := range ids {
		if _, ok := m[id]; ok {
			n++
		}
		delete(m, id)
	}
	return n
}

// search is docs/score.md in plain loops over int64.
func (m model) search(q *retrieval.Query) (a retrieval.Answer) {
	for _, d := range m {
		if d.Codes.Len() == 0 {
			continue
		}
		hit := retrieval.Hit{ID: d.ID}
		for t := range q.Len() {
			best := retrieval.Alignment{Token: -1, Score: math.MinInt32}
			for j := range d.Codes.Len() {
				if s := pairScore(q, t, d.Codes, j); s > int64(best.Score) {
					best = retrieval.Alignment{Token: int32(j), Score: int32(s)}
				}
			}
			hit.Alignments = append(hit.Alignments, best)
			hit.Sum += int64(q.Weights[t]) * int64(best.Score)
		}
		hit.Score = q.Score(hit.Sum)
		a.Hits = append(a.Hits, hit)
		a.Stats = a.Stats.Add(retrieval.Stats{Documents: 1, Tokens: int64(d.Codes.Len())})
	}
	slices.SortFunc(a.Hits, retrieval.Compare)
	a.Hits = a.Hits[:min(q.K, len(a.Hits))]
	return a
}

func pairScore(q *retrieval.Query, t int, c retrieval.Codes, j int) int64 {
	if c.Codec != retrieval.Int8 {
		return packedScore(q, t, c, j)
	}
	return rowScore(q, t, c.Rows, c.Scales, j)
}

// newIndex returns an index whose steps and largest merges are small, so that small tests go every way.
func newIndex(t testing.TB, width int, o Options) *Index {
	x, err := New(width, o)
	if err != nil {
		t.Fatal(err)
	}
	x.step, x.limit = 1, 300
	return x
}

func put(t testing.TB, x *Index, docs ...retrieval.Document) {
	t.Helper()
	if err := x.Put(docs); err != nil {
		t.Fatal(err)
	}
}

func search(t testing.TB, s retrieval.Searcher, q *retrieval.Query) retrieval.Answer {
	t.Helper()
	a, err := s.Search(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// checkShape tells what is wrong with the segments of x, once no merge is due.
func checkShape(t testing.TB, x *Index) {
	t.Helper()
	x.Settle()
	seen := map[string]bool{}
	parts := x.snapshot()
	for i, p := range parts {
		if i > 0 && parts[i-1].weight() < 2*p.weight() && parts[i-1].weight()+p.weight() <= x.limit {
			t.Fatalf("segments of %d and %d were not merged", parts[i-1].weight(), p.weight())
		}
		if p.decayed() || p.weight() == 0 {
			t.Fatalf("a segment of %d has %d alive", p.capacity(), p.weight())
		}
		documents, tokens := 0, 0
		for j, r := range p.records {
			if j > 0 && p.records[j-1].id >= r.id {
				t.Fatal("a segment is not sorted")
			}
			if p.dead.has(j) {
				continue
			}
			if seen[r.id] {
				t.Fatalf("%q lives twice", r.id)
			}
			seen[r.id], documents, tokens = true, documents+1, tokens+p.length(j)
		}
		if documents != p.documents || tokens != p.tokens {
			t.Fatalf("a segment counts %d, %d, and has %d, %d", p.documents, p.tokens, documents, tokens)
		}
	}
}
