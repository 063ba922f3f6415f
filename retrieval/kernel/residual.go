package kernel

import (
	"encoding/binary"
	"fmt"
)

// Residual is some document tokens as packed differences from coarse vectors of 8 bits.
type Residual struct {
	Rows         []byte // packed: see [Set.Unpack]
	Scales       []uint16
	Bits         int
	Table        *Table
	Clusters     []byte // which coarse vector each token's is
	Coarse       []byte // rows of codes plus 128, as wide as the query rounded up to 4
	CoarseScales []uint16
}

// AddResidual takes tokens of a document into Best and Pos, of which the first has the position first. The score of a token is that of its coarse vector plus that of its
// difference, each by the formula of docs/score.md. A token of a coarse vector that is not there is a panic.
func (m *MaxSim) AddResidual(r Residual, first int) {
	clusters, count := r.Clusters[:len(r.Scales)], len(r.CoarseScales)
	if !within(clusters, count) {
		panic(fmt.Sprintf("kernel: a token of a cluster that is not of %d", count))
	}
	if len(clusters) == 0 {
		return
	}
	m.base = grow(m.base, count*m.query.Cols())
	m.scores(m.base, r.Coarse, r.CoarseScales)
	m.addPacked(r, clusters, first)
}

// addPacked takes packed rows into Best and Pos, of which the first has the position first. Their scores begin from those of m.base. What the codes behind the
// query's width stand for counts nothing.
func (m *MaxSim) addPacked(r Residual, clusters []byte, first int) {
	stride, wide := m.query.stride, (m.query.K+7)&^7
	packed := wide * r.Bits / 8
	rows := r.Rows[:len(r.Scales)*packed]
	m.orFetch(rows[min(maxTokensAtOnce*packed, len(rows)):])
	m.unpacked = grow(m.unpacked, maxTokensAtOnce*wide)
	for at := 0; at < len(r.Scales); at += maxTokensAtOnce {
		n := min(maxTokensAtOnce, len(r.Scales)-at)
		m.set.Unpack(m.unpacked, rows[at*packed:], n, wide, r.Bits, r.Table)
		if stride != wide {
			for i := 1; i < n; i++ {
				copy(m.unpacked[i*stride:], m.unpacked[i*wide:][:stride])
			}
		}
		m.add(m.unpacked, r.Scales[at:at+n], clusters[at:at+n], first+at, r.Bits)
	}
}

// scores sets out, rows of the query's columns, to the pair scores of rows with every query token.
func (m *MaxSim) scores(out []int32, rows []byte, scales []uint16) {
	const ldc = 2 * Lanes
	q, cols := m.query, m.query.Cols()
	_, _ = out[:len(scales)*cols], rows[:len(scales)*q.stride]
	m.tile = grow(m.tile, maxTokensAtOnce*ldc)
	for first := 0; first < len(scales); first += maxTokensAtOnce {
		some := scales[first:min(first+maxTokensAtOnce, len(scales))]
		m.block.set(m.set, rows[first*q.stride:], q, len(some))
		for p := 0; p < cols/Lanes; {
			count := m.set.product(m.tile, ldc, &m.block, q, p)
			for i := p; i < p+count; i++ {
				m.pairScores(out[first*cols+i*Lanes:], m.tile[(i-p)*Lanes:], m.bias[i*Lanes:][:Lanes], some)
			}
			p += count
		}
	}
}

// pairScores sets rows of 16 in out, the query's columns apart, to the pair scores of dot products, rows of 32 in c.
func (m *MaxSim) pairScores(out, c, bias []int32, scales []uint16) {
	const ldc = 2 * Lanes
	cols, last := m.query.Cols(), len(scales)-1
	_, _ = out[:last*cols+Lanes], c[:last*ldc+Lanes]
	if f := m.set.loops.scores; f != nil {
		f(&out[0], 4*cols, &c[0], 4*ldc, &bias[0], &scales[0], m.lift, len(scales))
		return
	}
	for j, scale := range scales {
		for i, dot := range c[j*ldc:][:Lanes] {
			out[j*cols+i] = pairScore(dot-bias[i], m.lift, scale)
		}
	}
}

// within tells whether all clusters are below n. Eight go at a time, in two halves: what is not below carries into the ninth bit of its 16.
func within(clusters []byte, n int) bool {
	const lanes, low = 0x0001000100010001, 0x00ff00ff00ff00ff
	carry := uint64(256-min(n, 256)) * lanes
	var all uint64
	for ; len(clusters) >= 8; clusters = clusters[8:] {
		x := binary.LittleEndian.Uint64(clusters)
		all |= (x&low + carry) | (x>>8&low + carry)
	}
	for _, c := range clusters {
		all |= uint64(c) + carry
	}
	return all&(lanes<<8) == 0
}
