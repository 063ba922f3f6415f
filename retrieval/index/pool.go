package index

import (
	"cmp"
	"math"
	"slices"

	"ostraca/retrieval"
	"ostraca/retrieval/kernel"
)

// Pool returns codes of 8 bits with the pooled vectors that a search finds candidates by: per window of at most retrieval.SketchTokens tokens one mean (the
// sketch) and, by Ward's clustering inside the window, one mean for every so many tokens (the coarse tier). They are a function of the codes alone, the
// same on every CPU: dot products are integers, and what is a float is computed in float64, in fixed order. docs/score.md. The codes must be
// valid. Packed codes come back as they are.
func Pool(c retrieval.Codes) retrieval.Codes {
	if c.Codec == retrieval.Int8 && c.Len() > 0 {
		c.Coarse, c.Sketch, _ = pool(c, c.Codec.Pool(c.Width))
	}
	return c
}

// pool returns what is pooled of codes of 8 bits, one coarse vector for every so many tokens, and the cluster of each token in its window.
func pool(c retrieval.Codes, every int) (coarse, sketch retrieval.Pooled, labels []byte) {
	n, p := c.Len(), newPooling(c)
	labels = make([]byte, 0, n)
	var means, sketches [][]float64
	for i := range retrieval.Windows(n) {
		from, to, count := retrieval.Window(i, n, every)
		sketches = append(sketches, direction(p.sum(from, to, nil, 0)))
		labels = append(labels, p.clusters(from, to, count)...)
		for k := range count {
			means = append(means, direction(p.sum(from, to, labels[from:to], byte(k))))
		}
	}
	return quantizePooled(means, p.stride, false), quantizePooled(sketches, p.stride, true), labels
}

type pooling struct {
	codes  retrieval.Codes
	stride int
	set    *kernel.Set
}

func newPooling(c retrieval.Codes) *pooling {
	return &pooling{codes: c, stride: retrieval.Stride(c.Width), set: kernel.Best()}
}

// sum adds up the tokens of a window that have the label k, or all without labels. It is exact: 256 tokens stay below 2^30.
func (p *pooling) sum(from, to int, label []byte, k byte) []int64 {
	sums := make([]int64, p.codes.Width)
	for t := from; t < to; t++ {
		if label != nil && label[t-from] != k {
			continue
		}
		scale := int64(p.codes.Scales[t])
		for i, b := range p.codes.Rows[t*p.stride:][:len(sums)] {
			sums[i] += (int64(b) - 128) * scale
		}
	}
	return sums
}

// direction returns a sum of tokens made unit length: their mean's direction, or 0 where they have none.
func direction(sums []int64) []float64 {
	out, squares := make([]float64, len(sums)), 0.
	for _, v := range sums {
		squares += float64(float64(v) * float64(v))
	}
	if squares == 0 { // opposite tokens: as a pooled vector no candidate
		return out
	}
	norm := math.Sqrt(squares)
	for i, v := range sums {
		out[i] = float64(v) / norm
	}
	return out
}

// quantizePooled returns the codes of vectors of at most unit length. With one scale for all they can be compared without it.
func quantizePooled(vectors [][]float64, stride int, one bool) retrieval.Pooled {
	out := retrieval.Pooled{Rows: make([]byte, len(vectors)*stride), Scales: make([]uint16, len(vectors))}
	greatest := func(vs ...[]float64) (m float64) {
		for _, v := range vs {
			for _, x := range v {
				m = max(m, math.Abs(x))
			}
		}
		return m
	}
	all := greatest(vectors...)
	for i, v := range vectors {
		m := all
		if !one {
			m = greatest(v)
		}
		out.Scales[i] = scaleOf(m)
		row := out.Rows[i*stride : (i+1)*stride]
		for j := range row {
			row[j] = 128
			if j < len(v) && m > 0 {
				row[j] = byte(128 + int(math.RoundToEven(v[j]/m*127)))
			}
		}
	}
	return out
}

// clusters returns the cluster, 0 to count-1, of each token of a window, by Ward's criterion (Ward 1963): those two are joined that add least to the squared distances from the
// means. Clusters are numbered by their first token.
func (p *pooling) clusters(from, to, count int) []byte {
	n := to - from
	merges := p.chain(p.distances(from, n), n)
	slices.SortStableFunc(merges, func(a, b merge) int { return cmp.Compare(a.height, b.height) })
	root := make([]int, n)
	for i := range root {
		root[i] = i
	}
	find := func(i int) int {
		for root[i] != i {
			i = root[i]
		}
		return i
	}
	for _, m := range merges[:n-count] {
		a, b := find(m.a), find(m.b)
		root[max(a, b)] = min(a, b)
	}
	label := make([]byte, n)
	number := make(map[int]byte, count)
	for i := range label {
		r := find(i)
		if _, known := number[r]; !known {
			number[r] = byte(len(number))
		}
		label[i] = number[r]
	}
	return label
}

// distances returns the squared distances of the window's tokens, n x n.
func (p *pooling) distances(from, n int) []float64 {
	rows := p.codes.Rows[from*p.stride:][:n*p.stride]
	signed := make([]int8, len(rows))
	for i, b := range rows {
		signed[i] = int8(int(b) - 128)
	}
	m := p.set.Pack(signed, n, p.stride)
	dots := make([]int32, n*m.Cols())
	p.set.Gemm8(dots, rows, m, n)
	scales, d := p.codes.Scales[from:], make([]float64, n*n)
	at := func(i, j int) float64 { // exact: below 2^53
		return float64(int64(dots[i*m.Cols()+j]-128*m.Sums[j]) * int64(scales[i]) * int64(scales[j]) >> 8)
	}
	for i := range n {
		for j := range i {
			d[i*n+j] = at(i, i) + at(j, j) - 2*at(i, j)
			d[j*n+i] = d[i*n+j]
		}
	}
	return d
}

// merge joins the clusters that hold tokens a and b.
type merge struct {
	a, b   int
	height float64
}

// chain returns the n-1 merges of Ward's clustering in no order, by chains of nearest neighbours (Murtagh 1983) with the update of Lance and Williams
// (1967); d, n x n, is used up. Of equal distances the one before in the chain wins, then the lower number.
func (p *pooling) chain(d []float64, n int) []merge {
	size := make([]float64, n) // 0: joined to another
	for i := range size {
		size[i] = 1
	}
	merges := make([]merge, 0, n)
	var chain []int
	for first := 0; len(merges) < n-1; {
		if len(chain) == 0 {
			for size[first] == 0 {
				first++
			}
			chain = append(chain, first)
		}
		at := chain[len(chain)-1]
		nearest, least := -1, math.Inf(1)
		if len(chain) > 1 {
			nearest = chain[len(chain)-2]
			least = d[at*n+nearest]
		}
		for j, v := range d[at*n : (at+1)*n] {
			if v < least && size[j] > 0 && j != at {
				nearest, least = j, v
			}
		}
		if len(chain) < 2 || nearest != chain[len(chain)-2] {
			chain = append(chain, nearest)
			continue
		}
		chain = chain[:len(chain)-2]
		a, b := min(at, nearest), max(at, nearest)
		merges = append(merges, merge{a, b, least})
		join2(d, size, n, a, b, least)
	}
	return merges
}

// join2 makes a the cluster of a and b.
func join2(d, size []float64, n, a, b int, between float64) {
	x, y := size[a], size[b]
	for k, z := range size {
		if z == 0 || k == a || k == b {
			continue
		}
		v := (float64((x+z)*d[a*n+k]) + float64((y+z)*d[b*n+k]) - float64(z*between)) / (x + y + z)
		d[a*n+k], d[k*n+a] = v, v
	}
	size[a], size[b] = x+y, 0
}
