package kernel

import (
	"fmt"
	"math"
)

// Scan scores many small documents against one query, without scales and positions: the coarse tiers. It holds scratch, so one goroutine uses it.
//
// A document's score is the sum over query tokens t of weights[t] * max over its rows of dot(q[t], row - 128), in 64 bits: docs/score.md.
type Scan struct {
	set     *Set
	query   *Matrix
	weights []int32 // padded with 0 to the query's columns
	block   block
	tile    []int32
	best    []int32
}

// NewScan prepares a query of tokens of width codes, one weight a token.
func (s *Set) NewScan(codes []int8, weights []uint16, width int) *Scan {
	n := len(weights)
	if n < 1 || width < 1 || len(codes) != n*width {
		panic(fmt.Sprintf("kernel: a query of %d codes as %d x %d", len(codes), n, width))
	}
	c := &Scan{set: s, query: s.Pack(codes, n, width)}
	cols := c.query.Cols()
	c.weights, c.best, c.tile = make([]int32, cols), make([]int32, cols), make([]int32, maxTokensAtOnce*2*Lanes)
	for i, w := range weights {
		c.weights[i] = int32(w)
	}
	return c
}

// Documents sets sums[i] to the score of the document whose rows are starts[i] to starts[i+1] of rows, math.MinInt64 where it has none. There is one
// more start than sums. Rows are codes plus 128, each as wide as the query rounded up to 4.
func (c *Scan) Documents(sums []int64, rows []byte, starts []int32) {
	if len(sums) == 0 {
		return
	}
	starts = starts[:len(sums)+1]
	_ = rows[:int(starts[len(sums)])*c.query.stride]
	for i := 1; i < len(starts); i++ {
		if starts[i] < starts[i-1] || starts[0] < 0 {
			panic(fmt.Sprintf("kernel: documents start at %d, then at %d", starts[i-1], starts[i]))
		}
	}
	if f := c.set.loops.scan; f != nil && len(rows) > 0 {
		for p := 0; p < c.query.Cols()/Lanes; {
			count := min(2, c.query.Cols()/Lanes-p)
			f[count-1](&sums[0], &rows[0], &starts[0], len(sums), c.query.stride, &c.query.panels[p*c.query.panel], c.query.panel, &c.query.Sums[p*Lanes], &c.weights[p*Lanes], p > 0)
			p += count
		}
		return
	}
	for i := range sums {
		sums[i] = c.document(rows[int(starts[i])*c.query.stride:], int(starts[i+1]-starts[i]))
	}
}

// document is one document by way of the matrix product: for variants without a loop of their own.
func (c *Scan) document(rows []byte, n int) int64 {
	if n == 0 {
		return math.MinInt64
	}
	for i := range c.best {
		c.best[i] = math.MinInt32
	}
	for first := 0; first < n; first += maxTokensAtOnce {
		m := min(maxTokensAtOnce, n-first)
		c.block.set(c.set, rows[first*c.query.stride:], c.query, m)
		for p := 0; p < len(c.best)/Lanes; {
			count := c.set.product(c.tile, 2*Lanes, &c.block, c.query, p)
			for j := range m {
				for i, dot := range c.tile[j*2*Lanes:][:count*Lanes] {
					c.best[p*Lanes+i] = max(c.best[p*Lanes+i], dot)
				}
			}
			p += count
		}
	}
	var sum int64
	for i, w := range c.weights {
		sum += int64(w) * int64(c.best[i]-128*c.query.Sums[i])
	}
	return sum
}
