package kernel

import (
	"fmt"
	"math"
)

// maxTokensAtOnce is how many document tokens meet a query at a time: their dot products stay in the first-level cache.
const maxTokensAtOnce = 48

// MaxSim scores documents against one query by the formula of docs/score.md. It holds scratch, so one goroutine uses it.
type MaxSim struct {
	Best []int32 // per query token, the best score of the last document (math.MinInt32 if it had no tokens); then padding to 16
	Pos  []int32 // and its position (-1 without tokens); then padding

	set   *Set
	query *Matrix
	lift  int
	bias  []int32
	tile  []int32
	block block
}

// NewMaxSim prepares a query of n tokens of width codes, for documents of the same width. lift is the formula's shift.
func (s *Set) NewMaxSim(codes []int8, n, width int, lift uint) *MaxSim {
	if n < 1 || width < 1 || len(codes) != n*width {
		panic(fmt.Sprintf("kernel: a query of %d codes as %d x %d", len(codes), n, width))
	}
	q := s.Pack(codes, n, width)
	m := &MaxSim{set: s, query: q, lift: int(lift)}
	cols := q.Cols()
	both := make([]int32, 3*cols)
	m.Best, m.Pos, m.bias = both[:cols:cols], both[cols:2*cols:2*cols], both[2*cols:]
	for i, sum := range q.Sums {
		m.bias[i] = 128 * sum // documents are stored plus 128
	}
	m.tile = make([]int32, maxTokensAtOnce*2*Lanes)
	return m
}

// Score sets Best and Pos to the alignment of every query token with the document: rows of codes plus 128, each as wide as
// the query rounded up to 4, and a scale a row.
func (m *MaxSim) Score(rows []byte, scales []uint16) {
	for i := range m.Best {
		m.Best[i], m.Pos[i] = math.MinInt32, -1
	}
	stride := m.query.stride
	_ = rows[:len(scales)*stride]
	for first := 0; first < len(scales); first += maxTokensAtOnce {
		n := min(maxTokensAtOnce, len(scales)-first)
		m.block.set(m.set, rows[first*stride:], m.query, n)
		for p := 0; p < m.query.Cols()/Lanes; {
			count := m.set.product(m.tile, 2*Lanes, &m.block, m.query, p)
			for i := range count {
				at := (p + i) * Lanes
				m.set.fold(m.Best[at:], m.Pos[at:], m.tile[i*Lanes:], m.bias[at:], scales[first:first+n], m.lift, int32(first))
			}
			p += count
		}
	}
}

// fold takes the dot products of some document tokens with 16 query tokens, rows of 32 in c, into best and pos.
func (s *Set) fold(best, pos, c, bias []int32, scales []uint16, lift int, first int32) {
	const ldc = 2 * Lanes
	_, _, _, _ = best[:Lanes], pos[:Lanes], bias[:Lanes], c[:(len(scales)-1)*ldc+Lanes]
	if f := s.loops.fold; f != nil {
		f(&best[0], &pos[0], &c[0], 4*ldc, &bias[0], &scales[0], lift, first, len(scales))
		return
	}
	for j, scale := range scales {
		for i, dot := range c[j*ldc:][:Lanes] {
			score := int32(int64((dot-bias[i])<<lift) * int64(scale) >> 16)
			if score > best[i] {
				best[i], pos[i] = score, first+int32(j)
			}
		}
	}
}
