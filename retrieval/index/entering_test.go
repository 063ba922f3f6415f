package index

import (
	"cmp"
	"math"
	"slices"
	"testing"

	"ostraca/retrieval"
)

// pooledScores returns the scores of a document's sketch and of its coarse vectors, by docs/score.md in plain loops.
func pooledScores(q *retrieval.Query, c retrieval.Codes) (sketch, coarse int64) {
	for t, w := range q.Weights {
		dot, score := int64(math.MinInt64), int64(math.MinInt64)
		for j := range c.Sketch.Len() {
			var d int64
			for i := range q.Width {
				d += int64(q.Codes[t*q.Width+i]) * (int64(c.Sketch.Rows[j*retrieval.Stride(q.Width)+i]) - 128)
			}
			dot = max(dot, d)
		}
		for j := range c.Coarse.Len() {
			score = max(score, rowScore(q, t, c.Coarse.Rows, c.Coarse.Scales, j))
		}
		sketch, coarse = sketch+int64(w)*dot, coarse+int64(w)*score
	}
	return sketch >> 8 * int64(c.Sketch.Scales[0]), coarse
}

// candidatesByHand is the rule of docs/cascade.md: of the documents by their sketches the first Sketched; and of these each for which fewer than Scored of
// those before it have a better coarse score.
func candidatesByHand(q *retrieval.Query, p retrieval.Plan, docs []retrieval.Document) []string {
	type scores struct {
		id             string
		sketch, coarse int64
	}
	better := func(a, b int64, x, y string) int { return cmp.Or(cmp.Compare(b, a), cmp.Compare(x, y)) }
	var all []scores
	for _, d := range docs {
		if d.Codes.Len() > 0 {
			sketch, coarse := pooledScores(q, d.Codes)
			all = append(all, scores{d.ID, sketch, coarse})
		}
	}
	slices.SortFunc(all, func(a, b scores) int {
		if p.Sketched == 0 {
			return better(a.coarse, b.coarse, a.id, b.id)
		}
		return better(a.sketch, b.sketch, a.id, b.id)
	})
	if p.Sketched > 0 {
		all = all[:min(p.Sketched, len(all))]
	}
	var out []string
	for i, x := range all {
		before := 0
		for _, y := range all[:i] {
			if better(y.coarse, x.coarse, y.id, x.id) < 0 {
				before++
			}
		}
		if p.Scored == 0 || before < p.Scored {
			out = append(out, x.id)
		}
	}
	slices.Sort(out)
	return out
}

func TestCandidatesByHand(t *testing.T) {
	for _, codec := range retrieval.Codecs {
		c := newCrowd(codec, 150, 18)
		for i := range c.docs {
			switch {
			case i%9 == 0:
				c.docs[i].Codes = retrieval.Codes{}
			case i%4 == 0: // ties, or any bytes
				c.docs[i].Codes = c.docs[1].Codes
			case i%4 == 1:
				c.docs[i].Codes = Pool(someCodesOf(c.rng, codec, 1+i*3, c.width))
			}
		}
		x := c.parts(t, 1, Options{Threads: 2})[0]
		for range 40 {
			q := c.query(1+c.rng.IntN(20), 1)
			p := retrieval.Plan{Sketched: c.rng.IntN(170), Scored: c.rng.IntN(60)}
			got, want := candidates(t, x, q, p), candidatesByHand(q, p, c.docs)
			if !slices.Equal(got, want) {
				t.Fatalf("%s, %+v: %d candidates, by hand %d:\n%q\n%q", codec, p, len(got), len(want), got, want)
			}
		}
	}
}
