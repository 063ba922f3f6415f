package retrieval

import (
	"math"
	"testing"
)

func TestExplain(t *testing.T) {
	q := query(3)
	q.Max, q.Weights = .5, []uint16{UnitWeight, UnitWeight / 2, 3 * UnitWeight}
	h := Hit{ID: "a", Alignments: []Alignment{{0, 1 << 28}, {2, 1 << 27}, {1, -7}}}
	for i, a := range h.Alignments {
		h.Sum += int64(a.Score) * int64(q.Weights[i])
	}
	h.Score = q.Score(h.Sum)
	spans := []Span{{0, 2}, {2, 2}, {3, 5}}
	matches := q.Explain(h, "ab cd", spans)
	sum := 0.
	for i, m := range matches {
		if m.Span != spans[m.Position] || m.Score != m.Cosine*m.Weight && math.Abs(m.Score-m.Cosine*m.Weight) > 1e-12 {
			t.Errorf("match %d: %+v", i, m)
		}
		sum += m.Score
	}
	if len(matches) != 3 || matches[1].Text != "cd" || matches[2].Text != "" || matches[1].Weight != .5 || math.Abs(sum-h.Score) > 1e-12*math.Abs(h.Score) {
		t.Errorf("%v in all, not %v: %+v", sum, h.Score, matches)
	}
	if m := q.Explain(h, "", nil); len(m) != 3 || m[0].Text != "" || m[0].Span != (Span{}) {
		t.Errorf("without spans: %+v", m)
	}
}
