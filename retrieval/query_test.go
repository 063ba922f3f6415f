package retrieval

import (
	"errors"
	"math"
	"testing"
)

// query returns a valid query of n tokens.
func query(n int) *Query {
	q := &Query{Codec: Int8, Width: 6, Codes: make([]int8, 6*n), Weights: make([]uint16, n), Max: .5, K: 1}
	for i := range q.Weights {
		q.Weights[i], q.Codes[6*i] = UnitWeight, 127
	}
	return q
}

func TestLift(t *testing.T) {
	for width := 1; width <= 4*MaxWidth; width++ {
		worst := int64(127*127*width) << Lift(width)
		if worst > math.MaxInt32 || 2*worst <= math.MaxInt32 {
			t.Fatalf("lift of %d is %d: %d", width, Lift(width), worst)
		}
		if s := worst * MaxScale >> 16; s >= 1<<30 {
			t.Fatalf("a pair's score takes more than 30 bits at width %d", width)
		}
	}
	if Lift(384) != 8 || Lift(128) != 10 {
		t.Fatal("not those of docs/score.md")
	}
}

// One query token that meets itself, both one-hot, has cosine 1: its sum as docs/score.md has it gives the score 1.
func TestScore(t *testing.T) {
	for _, width := range []int{1, 6, 128, 384, MaxWidth} {
		q := query(1)
		q.Width, q.Max = width, 1
		s := int64(127*127) << Lift(width) * MaxScale >> 16
		if got := q.Score(UnitWeight * s); math.Abs(got-1) > 1e-3 {
			t.Errorf("width %d: %v", width, got)
		}
		if q.Score(-s) != -q.Score(s) || q.Score(0) != 0 {
			t.Errorf("width %d: not symmetric", width)
		}
	}
}

func TestQueryValidate(t *testing.T) {
	if err := query(3).Validate(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Query)
		want   error
	}{
		"no tokens":  {func(q *Query) { q.Codes, q.Weights = nil, nil }, ErrInvalid},
		"too many":   {func(q *Query) { *q = *query(MaxQueryTokens + 1) }, ErrTooLarge},
		"codec":      {func(q *Query) { q.Codec = "5bit" }, ErrInvalid},
		"width 0":    {func(q *Query) { q.Width = 0 }, ErrInvalid},
		"too wide":   {func(q *Query) { q.Width = MaxWidth + 1 }, ErrInvalid},
		"codes":      {func(q *Query) { q.Codes = q.Codes[1:] }, ErrInvalid},
		"-128":       {func(q *Query) { q.Codes[4] = -128 }, ErrInvalid},
		"max 0":      {func(q *Query) { q.Max = 0 }, ErrInvalid},
		"max NaN":    {func(q *Query) { q.Max = float32(math.NaN()) }, ErrInvalid},
		"max Inf":    {func(q *Query) { q.Max = float32(math.Inf(1)) }, ErrInvalid},
		"weights 0":  {func(q *Query) { clear(q.Weights) }, ErrInvalid},
		"k 0":        {func(q *Query) { q.K = 0 }, ErrInvalid},
		"alignments": {func(q *Query) { *q = *query(MaxQueryTokens); q.K = MaxAlignments/MaxQueryTokens + 1 }, ErrTooLarge},
		"k too many": {func(q *Query) { q.K = MaxK + 1 }, ErrTooLarge},
	} {
		q := query(3)
		c.change(q)
		if err := q.Validate(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
