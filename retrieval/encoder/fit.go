package encoder

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"ostraca/retrieval"
	"ostraca/retrieval/kernel"
)

// MaxSampleVectors is how many token vectors a projection can be fitted on.
const MaxSampleVectors = 2_000_000

const (
	minPerDimension = 4       // vectors of a sample for each dimension that they have, at least
	fitRows         = 256     // vectors whose products are added up together
	fitUnit         = 1 << 11 // length of a vector in integers: fitRows squares of it stay inside 32 bits
	fitWeight       = 32_000  // length of a row of weights, before rounding
	leastVariance   = 1e-7    // share of the sample in a dimension: less is rounding
)

// Fit takes a sample in and makes a projection of it: the principal directions of its token vectors (Pearson 1901), not centred: a mean taken
// away loses quality on other texts. Products are added up as integers, so the order of the sample counts for its hash alone.
type Fit struct {
	name          string
	from, width   int
	rows, pending int
	set           *kernel.Set
	sums          []int64 // from x from: of products
	hash          hash.Hash

	row      []float32
	codes    []int16 // fitRows x from
	turned   []int16 // from x fitRows
	products []int32
	words    kernel.Words
}

// NewFit begins a sample, whose name is told with what was fitted, of vectors of from dimensions, to be projected to width. Errors wrap
// retrieval.ErrInvalid: a width or a name that cannot be.
func NewFit(name string, from, width int) (*Fit, error) {
	if err := cmp.Or(checkShape(from, width), checkSampleName(name)); err != nil {
		return nil, fmt.Errorf("projection: %w: %w", err, retrieval.ErrInvalid)
	}
	f := &Fit{name: name, from: from, width: width, set: kernel.Best(), sums: make([]int64, from*from), hash: sha256.New()}
	f.row, f.codes, f.turned = make([]float32, pad(from)), make([]int16, fitRows*pad(from)), make([]int16, from*fitRows)
	f.words.Reset(from, fitRows)
	f.products = make([]int32, from*f.words.Cols())
	return f, nil
}

// Add takes in rows, which need not be unit length. After an error, which wraps retrieval.ErrInvalid and names the row, or retrieval.ErrTooLarge,
// the sample is spoilt.
func (f *Fit) Add(vectors []float32) error {
	n := len(vectors) / f.from
	switch {
	case len(vectors)%f.from != 0:
		return fmt.Errorf("%d floats are not rows of %d: %w", len(vectors), f.from, retrieval.ErrInvalid)
	case f.rows+n > MaxSampleVectors:
		return fmt.Errorf("a sample of over %d token vectors, the limit: leave some out: %w", MaxSampleVectors, retrieval.ErrTooLarge)
	}
	raw := make([]byte, 0, 4*f.from)
	for i := range n {
		x, lda := vectors[i*f.from:][:f.from], pad(f.from)
		if err := integers16(f.set, f.codes[f.pending*lda:][:lda], f.row, x, fitUnit); err != nil {
			return fmt.Errorf("token %d: %w", i, err)
		}
		raw = raw[:0]
		for _, v := range x {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
		}
		f.hash.Write(raw)
		f.rows++
		if f.pending++; f.pending == fitRows {
			f.flush()
		}
	}
	return nil
}

// flush adds up the products of the pending vectors.
func (f *Fit) flush() {
	lda := pad(f.from)
	clear(f.codes[f.pending*lda:])
	for k := range fitRows {
		for i, v := range f.codes[k*lda:][:f.from] {
			f.turned[i*fitRows+k] = v
			f.words.Data[f.words.At(i, k)] = v
		}
	}
	f.set.Gemm16(f.products, f.turned, fitRows, &f.words, f.from)
	cols := f.words.Cols()
	for i := range f.from {
		for j, v := range f.products[i*cols:][:f.from] {
			f.sums[i*f.from+j] += int64(v)
		}
	}
	f.pending = 0
}

// Projection returns the projection to the best dimensions, best first. texts says how many texts the vectors came from, 0 of vectors from
// outside. Errors wrap retrieval.ErrInvalid: the sample is too small, or too much alike.
func (f *Fit) Projection(texts int) (Projection, error) {
	if least := minPerDimension * f.from; f.rows < least {
		return Projection{}, fmt.Errorf("projection: a sample of %d token vectors, it must have %d, %d for each dimension: add texts: %w", f.rows, least, minPerDimension, retrieval.ErrInvalid)
	}
	f.flush()
	var values []float64
	var directions *mat.Dense
	if f.from > wholeFrom && wholeShare*f.width <= f.from {
		values, directions, _ = f.leading(f.width)
	} else if values, directions = f.all(); values == nil {
		return Projection{}, fmt.Errorf("projection: the sample has no principal directions: %w", retrieval.ErrInvalid)
	}
	if values[f.width-1] < leastVariance {
		return Projection{}, fmt.Errorf("projection: the sample has fewer than %d dimensions: take fewer, or add texts: %w", f.width, retrieval.ErrInvalid)
	}
	weights := make([]int16, 0, f.width*f.from)
	for n := range f.width {
		weights = append(weights, rowOfWeights(mat.Col(nil, n, directions))...)
	}
	h := projectionHead{f.from, f.width, Sample{Name: f.name, Texts: uint64(texts), Vectors: uint64(f.rows), Hash: [sha256.Size]byte(f.hash.Sum(nil))}}
	return newProjection(h, weights)
}

// all returns all eigenvalues of the moments, falling, and their directions in the columns of a matrix; nil where there are none.
func (f *Fit) all() ([]float64, *mat.Dense) {
	moments := mat.NewSymDense(f.from, nil)
	for i := range f.from {
		for j := i; j < f.from; j++ {
			moments.SetSym(i, j, float64(f.sums[i*f.from+j])/(fitUnit*fitUnit)/float64(f.rows))
		}
	}
	return falling(moments)
}

// falling returns the eigenvalues of a matrix, the greatest first, and their directions in the columns of another; nil where there are none.
func falling(m *mat.SymDense) ([]float64, *mat.Dense) {
	var eigen mat.EigenSym
	if !eigen.Factorize(m, true) {
		return nil, nil
	}
	var rising mat.Dense
	eigen.VectorsTo(&rising)
	values, n := eigen.Values(nil), m.SymmetricDim()
	slices.Reverse(values)
	directions := mat.NewDense(n, n, nil)
	for i := range n {
		directions.SetCol(i, mat.Col(nil, n-1-i, &rising))
	}
	return values, directions
}

// rowOfWeights rounds a unit vector, whose sign is arbitrary: the first of its largest elements becomes positive.
func rowOfWeights(x []float64) []int16 {
	largest := 0
	for i, v := range x {
		if math.Abs(v) > math.Abs(x[largest]) {
			largest = i
		}
	}
	scale := math.Copysign(fitWeight, x[largest])
	out := make([]int16, len(x))
	for i, v := range x {
		out[i] = int16(math.RoundToEven(v * scale))
	}
	return out
}
