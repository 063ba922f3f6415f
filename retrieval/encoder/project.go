package encoder

import (
	"fmt"
	"math"

	"ostraca/retrieval"
	"ostraca/retrieval/kernel"
)

const (
	vectorUnit = 1 << 14 // length of a vector in integers, before it is projected
	applyRows  = 64      // vectors that are projected together
)

// Projector applies a projection. It is safe for concurrent use.
type Projector struct {
	projection Projection
	from       int
	width      int
	set        *kernel.Set
	words      kernel.Words
}

// Pack prepares a projection that is not zero for one kernel variant; nil is kernel.Best(). All variants give the same bits.
func (p Projection) Pack(set *kernel.Set) *Projector {
	if set == nil {
		set = kernel.Best()
	}
	h, weights := p.head()
	j := &Projector{projection: p, from: h.from, width: h.width, set: set}
	j.words.Reset(j.width, pad(j.from))
	for n := range j.width {
		for k := range j.from {
			j.words.Data[j.words.At(n, k)] = weightAt(weights, n*j.from+k)
		}
	}
	return j
}

// pad rounds a width up to whole lanes.
func pad(width int) int { return (width + kernel.Lanes - 1) / kernel.Lanes * kernel.Lanes }

// Projection returns what it applies.
func (j *Projector) Projection() Projection { return j.projection }

// Apply returns the projected vectors, unit length, of rows that need not be; there may be none. It is a function of each row and the projection
// alone. Errors wrap retrieval.ErrInvalid and name the row: it has no direction (NaN, infinite, zero), or none that the projection keeps.
func (j *Projector) Apply(vectors []float32) ([]float32, error) {
	if len(vectors)%j.from != 0 {
		return nil, fmt.Errorf("%d floats are not rows of %d: %w", len(vectors), j.from, retrieval.ErrInvalid)
	}
	n, lda, cols := len(vectors)/j.from, pad(j.from), j.words.Cols()
	out := make([]float32, n*j.width)
	block := min(n, applyRows)
	row, codes, sums, y := make([]float32, lda), make([]int16, block*lda), make([]int32, block*cols), make([]float32, cols)
	for first := 0; first < n; first += block {
		rows := min(block, n-first)
		for i := range rows {
			if err := integers16(j.set, codes[i*lda:][:lda], row, vectors[(first+i)*j.from:][:j.from], vectorUnit); err != nil {
				return nil, fmt.Errorf("token %d: %w", first+i, err)
			}
		}
		j.set.Gemm16(sums, codes, lda, &j.words, rows)
		for i := range rows {
			j.set.Spread(y, cols, sums[i*cols:], cols, 1, cols, 1)
			if lo, hi := j.set.Bounds(y, cols, cols, 1); lo == 0 && hi == 0 {
				return nil, fmt.Errorf("token %d: nothing is left of the vector in %d of %d dimensions: %w", first+i, j.width, j.from, retrieval.ErrInvalid)
			}
			j.set.Normalize(y)
			copy(out[(first+i)*j.width:][:j.width], y)
		}
	}
	return out, nil
}

// integers16 sets dst to a vector of the given length, rounded: squares added in float64 in order, one float64 product an element, rounded to
// float32, then to an integer. row is scratch, as long as dst, with zeros behind the vector.
func integers16(set *kernel.Set, dst []int16, row, x []float32, length float64) error {
	var squares float64
	for _, v := range x {
		squares += float64(float64(v) * float64(v))
	}
	if !(squares > 0 && squares <= math.MaxFloat64) {
		return fmt.Errorf("the vector's norm is %v: %w", math.Sqrt(squares), retrieval.ErrInvalid)
	}
	scale := length / math.Sqrt(squares)
	for i, v := range x {
		row[i] = float32(float64(v) * scale)
	}
	set.Quantize16(dst, len(dst), row, len(row), 1, len(row), 1)
	return nil
}
