package kernel

import (
	"fmt"
	"math"
	"unsafe"
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

	next     []byte  // what the call after the next one scores
	fetch    []byte  // what is left to be fetched during a call
	unpacked []byte  // of a block of rows
	base     []int32 // the pair scores of coarse vectors, rows of the query's columns
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
	return m
}

// Score sets Best and Pos to the alignment of every query token with the document: rows of codes plus 128, each as wide as
// the query rounded up to 4, and a scale a row.
func (m *MaxSim) Score(rows []byte, scales []uint16) {
	m.Reset()
	stride := m.query.stride
	rows = rows[:len(scales)*stride]
	m.orFetch(rows[min(scanAhead, len(rows)):])
	atOnce := m.atOnce()
	for first := 0; first < len(scales); first += atOnce {
		m.add(rows[first*stride:], scales[first:min(first+atOnce, len(scales))], nil, first, 8)
	}
}

// Next says which rows, packed or not, and scales the document after the next one has: they are fetched meanwhile. Where documents lie anywhere in memory that
// matters.
func (m *MaxSim) Next(rows []byte, scales []uint16) {
	m.next = rows
	m.soon(scaleBytes(scales))
}

// NextResidual is Next where all tokens of a document, and its coarse vectors, come by AddResidual.
func (m *MaxSim) NextResidual(r Residual) {
	m.Next(r.Rows, r.Scales)
	m.soon(r.Clusters)
	m.soon(r.Coarse)
	m.soon(scaleBytes(r.CoarseScales))
}

// soon fetches at once, of much the head: the hardware sees how it goes on.
func (m *MaxSim) soon(b []byte) {
	m.set.Prefetch(b[:min(len(b), fetchAhead)])
}

func scaleBytes(s []uint16) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), 2*len(s))
}

// Reset forgets the last document.
func (m *MaxSim) Reset() {
	for i := range m.Best {
		m.Best[i], m.Pos[i] = math.MinInt32, -1
	}
	m.fetch, m.next = m.next, nil
}

// orFetch has a document's own rows from some way on be fetched, if there is nothing else to fetch and it costs nothing.
func (m *MaxSim) orFetch(own []byte) {
	if len(m.fetch) == 0 && m.set.loops.maxsim != nil {
		m.fetch = own
	}
}

// atOnce is how many rows add takes at a time.
func (m *MaxSim) atOnce() int {
	if m.set.loops.maxsim != nil {
		return max(1, scanBytes/m.query.stride)
	}
	return maxTokensAtOnce
}

// add takes some rows of a document into Best and Pos, of which the first has the position first, and fetches rate bytes for every 8 of them. With
// clusters, a row's scores begin from those of its cluster in m.base.
func (m *MaxSim) add(rows []byte, scales []uint16, clusters []byte, first, rate int) {
	q, l := m.query, &m.set.loops
	part := min(len(m.fetch), len(scales)*q.stride/8*rate)
	fetch := m.fetch
	m.fetch = fetch[part:]
	if clusters == nil && l.maxsim != nil || clusters != nil && l.residual != nil {
		m.fused(rows, scales, clusters, first, fetch, rate)
		return
	}
	m.set.Prefetch(fetch[:part])
	m.block.set(m.set, rows, q, len(scales))
	m.tile = grow(m.tile, maxTokensAtOnce*2*Lanes)
	for p := 0; p < q.Cols()/Lanes; {
		count := m.set.product(m.tile, 2*Lanes, &m.block, q, p)
		for i := range count {
			m.fold((p+i)*Lanes, m.tile[i*Lanes:], scales, clusters, int32(first))
		}
		p += count
	}
}

// fused is add by the assembly's product that ends with the fold. It may fetch a little more than its share.
func (m *MaxSim) fused(rows []byte, scales []uint16, clusters []byte, first int, fetch []byte, rate int) {
	q, l := m.query, &m.set.loops
	if len(fetch) == 0 {
		fetch = rows[:1]
	}
	for p := 0; p < q.Cols()/Lanes; {
		count := min(2, q.Cols()/Lanes-p)
		at := p * Lanes
		if clusters == nil {
			l.maxsim[count-1](&m.Best[at], &m.Pos[at], &rows[0], len(scales), q.stride, &q.panels[p*q.panel], q.panel, &m.bias[at], &scales[0], m.lift, first,
				&fetch[0], &fetch[len(fetch)-1], rate)
		} else {
			l.residual[count-1](&m.Best[at], &m.Pos[at], &rows[0], len(scales), q.stride, &q.panels[p*q.panel], q.panel, &m.bias[at], &scales[0], m.lift, first,
				&fetch[0], &fetch[len(fetch)-1], rate, &m.base[at], 4*q.Cols(), &clusters[0])
		}
		fetch, rate = rows[:1], 0
		p += count
	}
}

// fold takes the dot products of some document tokens with the 16 query tokens from at on, rows of 32 in c, into Best and Pos.
func (m *MaxSim) fold(at int, c []int32, scales []uint16, clusters []byte, first int32) {
	const ldc = 2 * Lanes
	best, pos, bias, cols := m.Best[at:][:Lanes], m.Pos[at:][:Lanes], m.bias[at:][:Lanes], m.query.Cols()
	_ = c[:(len(scales)-1)*ldc+Lanes]
	l := &m.set.loops
	switch {
	case clusters == nil && l.fold != nil:
		l.fold(&best[0], &pos[0], &c[0], 4*ldc, &bias[0], &scales[0], m.lift, first, len(scales))
		return
	case clusters != nil && l.foldBase != nil:
		l.foldBase(&best[0], &pos[0], &c[0], 4*ldc, &bias[0], &scales[0], m.lift, first, len(scales), &m.base[at], 4*cols, &clusters[0])
		return
	}
	var zero [Lanes]int32
	for j, scale := range scales {
		base := zero[:]
		if clusters != nil {
			base = m.base[int(clusters[j])*cols+at:][:Lanes]
		}
		for i, dot := range c[j*ldc:][:Lanes] {
			if score := base[i] + pairScore(dot-bias[i], m.lift, scale); score > best[i] {
				best[i], pos[i] = score, first+int32(j)
			}
		}
	}
}

// pairScore is that of docs/score.md.
func pairScore(dot int32, lift int, scale uint16) int32 {
	return int32(int64(dot<<lift) * int64(scale) >> 16)
}
