package retrieval

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
)

// The fixed-point ones of docs/score.md.
const (
	UnitWeight = 4096  // the weight 1.0 of a query token
	MaxScale   = 32767 // the scale of a document token whose largest coordinate is 1
)

// Query is a question in codes: what crosses to every shard unchanged.
type Query struct {
	Codec   Codec
	Width   int
	Codes   []int8   // Len() rows of Width codes, -127 to 127
	Weights []uint16 // one a token, UnitWeight is 1.0
	Max     float32  // the largest magnitude of the float vectors, which became 127
	K       int      // hits wanted
	Plan    Plan     // how many documents are looked at more closely; none: all
}

// Len returns the number of query tokens.
func (q *Query) Len() int { return len(q.Weights) }

// Validate reports why q cannot be asked, or nil. Errors wrap [ErrInvalid] or [ErrTooLarge].
func (q *Query) Validate() error {
	switch {
	case q.Len() == 0:
		return fmt.Errorf("query has no tokens: %w", ErrInvalid)
	case q.Len() > MaxQueryTokens:
		return fmt.Errorf("query has %d tokens, the limit is %d: %w", q.Len(), MaxQueryTokens, ErrTooLarge)
	case q.Codec.Bits() == 0:
		return fmt.Errorf("query of codec %q, known are %q: %w", q.Codec, Codecs, ErrInvalid)
	case q.Width < 1 || q.Width > MaxWidth:
		return fmt.Errorf("query vectors are %d wide, the limit is 1 to %d: %w", q.Width, MaxWidth, ErrInvalid)
	case len(q.Codes) != q.Len()*q.Width:
		return fmt.Errorf("query has %d codes for %d tokens of width %d: %w", len(q.Codes), q.Len(), q.Width, ErrInvalid)
	case slices.Contains(q.Codes, math.MinInt8):
		return fmt.Errorf("token %d of the query has a code of -128: %w", slices.Index(q.Codes, math.MinInt8)/q.Width, ErrInvalid)
	case !(q.Max > 0 && q.Max <= math.MaxFloat32):
		return fmt.Errorf("the query's maximum is %v: %w", q.Max, ErrInvalid)
	case !slices.ContainsFunc(q.Weights, func(w uint16) bool { return w > 0 }):
		return fmt.Errorf("every weight of the query is 0: %w", ErrInvalid)
	case q.K < 1:
		return fmt.Errorf("k is %d, it must be 1 to %d: %w", q.K, MaxK, ErrInvalid)
	case q.K > MaxK:
		return fmt.Errorf("k is %d, it must be 1 to %d: %w", q.K, MaxK, ErrTooLarge)
	case q.K*q.Len() > MaxAlignments:
		return fmt.Errorf("k is %d with %d query tokens: at most %d alignments are kept, so k must be %d or less: %w",
			q.K, q.Len(), MaxAlignments, MaxAlignments/q.Len(), ErrTooLarge)
	}
	return q.Plan.Validate()
}

// Lift returns the left shift that every dot product of a width takes before it is scaled: the largest one that keeps
// the worst case, 127 * 127 * width, inside int32.
func Lift(width int) uint {
	return uint(bits.Len32(uint32(math.MaxInt32/(127*127*width))) - 1)
}

// Score turns a weighted integer sum into the float that people read.
func (q *Query) Score(sum int64) float64 {
	unit := math.Ldexp(float64(q.Max), 16-int(Lift(q.Width))) / (UnitWeight * MaxScale * 127 * 127)
	return float64(sum) * unit
}
