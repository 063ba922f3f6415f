package index

import (
	"fmt"

	"ostraca/retrieval"
)

// Reduce returns fewer token vectors for those of a document, rows of width floats that need not be unit length: in each window of at most
// retrieval.SketchTokens tokens one for every so many, rounded up, the means of Ward's clusters, as those of [Pool] are found. Each stands where
// its medoid stood, the token that has the greatest dot product with the mean, of equal ones the first: medoids has these rows, rising. Tokens
// whose mean has no direction are spoken for by their medoid. The same rows give the same bits on every CPU: what is compared are integers.
//
// Errors are those of [Quantize], and retrieval.ErrInvalid where every is below 1.
func Reduce(vectors []float32, width, every int) (means []float32, medoids []int, err error) {
	if every < 1 {
		return nil, nil, fmt.Errorf("one vector for every %d tokens: it must be at least 1: %w", every, retrieval.ErrInvalid)
	}
	c, err := Quantize(retrieval.Int8, vectors, width)
	if err != nil {
		return nil, nil, err
	}
	n, p := c.Len(), newPooling(c)
	for i := range retrieval.Windows(n) {
		from, to, count := retrieval.Window(i, n, every)
		mean := p.reduce(from, to, p.clusters(from, to, count), count)
		for t := from; t < to; t++ {
			if mean[t-from] != nil {
				means, medoids = append(means, mean[t-from]...), append(medoids, t)
			}
		}
	}
	return means, medoids, nil
}

// reduce returns the means of a window's clusters, unit length, each at the place of its medoid.
func (p *pooling) reduce(from, to int, label []byte, count int) [][]float32 {
	out := make([][]float32, to-from)
	for k := range count {
		sums := p.sum(from, to, label, byte(k))
		at := p.medoid(sums, from, to, label, byte(k))
		x := direction(sums)
		if allZero(sums) {
			x = direction(p.sum(at, at+1, nil, 0))
		}
		mean := make([]float32, len(x))
		for i, v := range x {
			mean[i] = float32(v)
		}
		out[at-from] = mean
	}
	return out
}

// medoid returns the token of a cluster that its sum is nearest to. Dot products are exact: 2^10 dimensions of 2^7 times 2^30, times a scale of 2^15.
func (p *pooling) medoid(sums []int64, from, to int, label []byte, k byte) int {
	at, greatest := -1, int64(0)
	for t := from; t < to; t++ {
		if label[t-from] != k {
			continue
		}
		dot := int64(0)
		for i, b := range p.codes.Rows[t*p.stride:][:len(sums)] {
			dot += (int64(b) - 128) * sums[i]
		}
		if dot *= int64(p.codes.Scales[t]); at < 0 || dot > greatest {
			at, greatest = t, dot
		}
	}
	return at
}

func allZero(sums []int64) bool {
	for _, v := range sums {
		if v != 0 {
			return false
		}
	}
	return true
}
