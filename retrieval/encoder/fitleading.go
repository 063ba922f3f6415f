package encoder

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/lapack/lapack64"
	"gonum.org/v1/gonum/mat"
)

// This file finds some leading principal directions of wide vectors, without the others: subspace iteration (Bauer 1957) of a block of vectors, with the
// projection of Rayleigh and Ritz, and Chebyshev polynomials in place of powers (Rutishauser 1969), so that a round does what many powers would. A round of
// n dimensions and a block of b takes some n*n*b products, all of them n*n*n.

const (
	wholeFrom     = 1024   // dimensions up to which all directions are computed
	wholeShare    = 4      // and where more than this part of them is wanted: then a block is hardly less than the whole
	leastGuard    = 32     // directions of a block beyond those that are wanted, at least; else half as many
	leastResidual = 1e-10  // |Mv - lv| at which a direction is taken for one: lengths of vectors, and so the sum of all l, are 1
	maxRounds     = 100    // after which what is there is taken: then neighbours are so nearly alike that either does
	maxDegree     = 16     // of the polynomial of a round
	maxParting    = 1e10   // by which a round may part the first direction from the last that is wanted: float64 holds 1e16
	momentRows    = 256    // of the moments that are floats at a time
	blockSeed     = 0x5eed // of the vectors that it starts from
)

// leading returns the count greatest eigenvalues of the moments, falling, and their directions in the columns of a matrix, each with the residual that
// leastResidual tells, and how many rounds that took. The same sample gives the same on one machine, whatever its processors do.
func (f *Fit) leading(count int) (values []float64, directions *mat.Dense, rounds int) {
	n := f.from
	block := min(n, count+max(leastGuard, count/2))
	random := rand.New(rand.NewPCG(blockSeed, uint64(n)))
	q, image, next := mat.NewDense(n, block, nil), mat.NewDense(n, block, nil), mat.NewDense(n, block, nil)
	for i := range q.RawMatrix().Data {
		q.RawMatrix().Data[i] = random.NormFloat64()
	}
	orthonormal(q)
	for {
		f.times(image, q)
		values = ritz(q, image, next)
		if rounds++; rounds == maxRounds || residual(q, image, values[:count]) <= leastResidual {
			return values[:count], mat.DenseCopyOf(q.Slice(0, n, 0, count)), rounds
		}
		q, image, next = f.filter(q, image, next, values, count)
		orthonormal(q)
	}
}

// times sets dst to the moments times q.
func (f *Fit) times(dst, q *mat.Dense) {
	_, block := q.Dims()
	scale := 1 / (fitUnit * fitUnit * float64(f.rows))
	rows := make([]float64, momentRows*f.from)
	for first := 0; first < f.from; first += momentRows {
		n := min(momentRows, f.from-first)
		for i, v := range f.sums[first*f.from : (first+n)*f.from] {
			rows[i] = float64(v) * scale
		}
		dst.Slice(first, first+n, 0, block).(*mat.Dense).Mul(mat.NewDense(n, f.from, rows[:n*f.from]), q)
	}
}

// orthonormal makes the columns of x orthonormal.
func orthonormal(x *mat.Dense) {
	_, block := x.Dims()
	raw, tau, size := x.RawMatrix(), make([]float64, block), []float64{0}
	lapack64.Geqrf(raw, tau, size, -1)
	work := make([]float64, int(size[0]))
	lapack64.Geqrf(raw, tau, work, len(work))
	lapack64.Orgqr(raw, tau, size, -1)
	work = make([]float64, int(size[0]))
	lapack64.Orgqr(raw, tau, work, len(work))
}

// ritz turns orthonormal columns q, and their image under the moments, to the directions that are nearest to eigenvectors, greatest eigenvalue first, and returns
// these values. scratch is a third matrix of this shape.
func ritz(q, image, scratch *mat.Dense) []float64 {
	_, block := q.Dims()
	var inner mat.Dense
	inner.Mul(q.T(), image)
	small := mat.NewSymDense(block, nil)
	for i := range block {
		for j := i; j < block; j++ {
			small.SetSym(i, j, (inner.At(i, j)+inner.At(j, i))/2)
		}
	}
	values, directions := falling(small) // of a symmetric matrix of finite numbers there are some
	for _, x := range []*mat.Dense{q, image} {
		scratch.Mul(x, directions)
		x.Copy(scratch)
	}
	return values
}

// residual returns the greatest |Mv - lv| of the first columns.
func residual(q, image *mat.Dense, values []float64) float64 {
	n, _ := q.Dims()
	squares := make([]float64, len(values))
	for i := range n {
		v, m := q.RawRowView(i), image.RawRowView(i)
		for j, l := range values {
			d := m[j] - l*v[j]
			squares[j] += d * d
		}
	}
	worst := 0.
	for _, s := range squares {
		worst = max(worst, s)
	}
	return math.Sqrt(worst)
}

// filter applies the Chebyshev polynomial that is small on all eigenvalues below those of the block, and returns it with the other two matrices for scratch: by the
// recurrence T(k+1) = 2x T(k) - T(k-1), where x is the moments less their middle, over the half width.
func (f *Fit) filter(q, image, next *mat.Dense, values []float64, count int) (filtered, one, two *mat.Dense) {
	half := max(values[len(values)-1], 1e-12*values[0]) / 2 // of 0 to the least of the block
	degree := degreeOf(values[0]/half-1, values[count-1]/half-1)
	before, now := q, image
	shift(now, before, half, 1, nil)
	for range degree - 1 {
		f.times(next, now)
		shift(next, now, half, 2, before)
		before, now, next = now, next, before
	}
	return now, before, next
}

// shift makes of x, the moments times y, factor * (x/half - y), less old.
func shift(x, y *mat.Dense, half, factor float64, old *mat.Dense) {
	to, from := x.RawMatrix().Data, y.RawMatrix().Data
	for i, v := range from {
		to[i] = factor * (to[i]/half - v)
	}
	if old != nil {
		for i, v := range old.RawMatrix().Data {
			to[i] -= v
		}
	}
}

// degreeOf returns the degree of the polynomial whose values at the first direction and at the last that is wanted, outside -1 to 1, are parted by maxParting at most.
func degreeOf(first, last float64) int {
	growth := math.Acosh(max(1, first)) - math.Acosh(max(1, last)) // T(m) is cosh(m acosh x)
	if growth <= 0 {
		return maxDegree
	}
	return int(min(maxDegree, max(1, math.Log(maxParting)/growth)))
}
