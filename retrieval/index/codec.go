package index

import (
	"fmt"
	"math"
	"slices"

	"ostraca/retrieval"
)

// Quantize returns the codes of a document's token vectors, rows of width floats, by docs/score.md; those of 8 bits without pooled ones, which [Pool] adds. Rows
// need not be unit length, and there may be none. The same row gives the same codes on every CPU, whatever its neighbours are.
//
// Errors wrap retrieval.ErrTooLarge for more than retrieval.MaxDocumentTokens rows, else retrieval.ErrInvalid: a width out
// of range, floats that are not whole rows, and, with the token's number, a row that has no direction (NaN, infinite, zero).
func Quantize(codec retrieval.Codec, vectors []float32, width int) (retrieval.Codes, error) {
	n, err := countRows(vectors, width, retrieval.MaxDocumentTokens)
	if err != nil {
		return retrieval.Codes{}, err
	}
	if codec.Bits() == 0 {
		return retrieval.Codes{}, fmt.Errorf("codec %q, known are %q: %w", codec, retrieval.Codecs, retrieval.ErrInvalid)
	}
	x := make([]float32, n*width)
	for t := range n {
		if err := unit(x[t*width:(t+1)*width], vectors[t*width:]); err != nil {
			return retrieval.Codes{}, fmt.Errorf("token %d: %w", t, err)
		}
	}
	if codec == retrieval.Int8 {
		return quantize8(x, width), nil
	}
	return quantizePacked(codec, x, width), nil
}

// quantize8 returns codes of 8 bits of unit vectors.
func quantize8(x []float32, width int) retrieval.Codes {
	n, stride := len(x)/width, retrieval.Stride(width)
	c := retrieval.Codes{Codec: retrieval.Int8, Width: width, Rows: make([]byte, n*stride), Scales: make([]uint16, n)}
	for t := range n {
		v := x[t*width : (t+1)*width]
		m := largest(v)
		c.Scales[t] = scaleOf(float64(m))
		row8(c.Rows[t*stride:(t+1)*stride], v, 127/m)
	}
	return c
}

// scaleOf returns the scale of a row whose greatest code, 127, stands for m.
func scaleOf(m float64) uint16 {
	return uint16(min(max(math.RoundToEven(float64(float32(m)*retrieval.MaxScale)), 1), retrieval.MaxScale))
}

// row8 writes the codes of x, of 8 bits each, and pads them.
func row8(row []byte, x []float32, step float32) {
	for i, v := range x {
		row[i] = byte(code(v, step) + 128)
	}
	for i := len(x); i < len(row); i++ {
		row[i] = 128
	}
}

// QuantizeQuery returns the query of token vectors, rows of width floats, that wants k hits. weights has one entry a token,
// retrieval.UnitWeight being 1.0; nil weighs all alike. Errors are those of [Quantize] and of retrieval.Query.Validate.
func QuantizeQuery(codec retrieval.Codec, vectors []float32, width int, weights []uint16, k int) (*retrieval.Query, error) {
	n, err := countRows(vectors, width, retrieval.MaxQueryTokens)
	switch {
	case err != nil:
		return nil, err
	case weights == nil:
		weights = slices.Repeat([]uint16{retrieval.UnitWeight}, n)
	case len(weights) != n:
		return nil, fmt.Errorf("%d weights for %d tokens: %w", len(weights), n, retrieval.ErrInvalid)
	}
	x := make([]float32, n*width)
	for t := range n {
		if err := unit(x[t*width:(t+1)*width], vectors[t*width:]); err != nil {
			return nil, fmt.Errorf("token %d: %w", t, err)
		}
		if codec != retrieval.Int8 {
			rotate(x[t*width : (t+1)*width])
		}
	}
	q := &retrieval.Query{Codec: codec, Width: width, Codes: make([]int8, len(x)), Weights: slices.Clone(weights), Max: largest(x), K: k}
	for i, v := range x {
		q.Codes[i] = int8(code(v, 127/q.Max))
	}
	return q, q.Validate()
}

// countRows returns how many rows of width floats the vectors are.
func countRows(vectors []float32, width, limit int) (int, error) {
	switch {
	case width < 1 || width > retrieval.MaxWidth:
		return 0, fmt.Errorf("vectors are %d wide, the limit is 1 to %d: %w", width, retrieval.MaxWidth, retrieval.ErrInvalid)
	case len(vectors)%width != 0:
		return 0, fmt.Errorf("%d floats are not rows of %d: %w", len(vectors), width, retrieval.ErrInvalid)
	case len(vectors)/width > limit:
		return 0, fmt.Errorf("%d tokens, the limit is %d: %w", len(vectors)/width, limit, retrieval.ErrTooLarge)
	}
	return len(vectors) / width, nil
}

// unit sets dst to the row x, of the same length, made unit length: squares added in float64 in order, their root, and one
// float64 division an element, rounded to float32. A float32's square is exact in float64 and neither overflows nor
// vanishes, so every finite row but zero has a norm, and no product here can be fused into another result.
func unit(dst, x []float32) error {
	x = x[:len(dst)]
	var squares float64
	for _, v := range x {
		squares += float64(float64(v) * float64(v))
	}
	if !(squares > 0 && squares <= math.MaxFloat64) {
		return fmt.Errorf("the vector's norm is %v: %w", math.Sqrt(squares), retrieval.ErrInvalid)
	}
	norm := math.Sqrt(squares)
	for i, v := range x {
		dst[i] = float32(float64(v) / norm)
	}
	return nil
}

// largest returns the largest magnitude of x, which has no NaN. Without the sign, floats are ordered as their bits are, and
// integers are compared several times faster.
func largest(x []float32) float32 {
	var m uint32
	for _, v := range x {
		m = max(m, math.Float32bits(v)&math.MaxInt32)
	}
	return math.Float32frombits(m)
}

// code returns the code of x where step is 127 / the largest magnitude.
func code(x, step float32) int {
	return min(max(round(float32(x*step)), -127), 127)
}

func round(x float32) int { return int(math.RoundToEven(float64(x))) }
