package encoder

import (
	"math"
	"unsafe"

	"ostraca/retrieval/kernel"
)

// Self-attention (Vaswani et al. 2017, section 3.2) of one sequence at a time, in 16-bit integers: exact sums, so the
// order of additions does not matter, and twice the rate of floats. docs/encoder.md has the numbers.

// attentionShape is what attention derives from the model's widths.
type attentionShape struct {
	hidden, heads, width int   // width of a head
	limit                int32 // the largest magnitude of q, k and v in 16 bits: scores stay within 2^30
}

func newAttentionShape(hidden, heads int) attentionShape {
	width := hidden / heads
	return attentionShape{hidden, heads, width, int32(min(4095, math.Floor(math.Sqrt(float64(1<<30/width)))))}
}

// attention is the scratch of one head.
type attention struct {
	query, rows   []int16
	keys, values  kernel.Words
	scores, mixed []int32
	probabilities []int16
}

// queriesAtOnce bounds the rows of scores that are alive together.
const queriesAtOnce = 48

// attend reads q, k and v of n rows from w.wide and writes what every head mixed to w.context. Only the first keys rows are attended to.
func (m *model) attend(w *workspace, first, n, keys int) {
	s := &m.attention
	for h := range s.heads {
		qkv := w.wide[first*3*s.hidden+h*s.width:]
		q := w.attention.quantize(m.set, s, &w.query, qkv, n)
		k := w.attention.quantize(m.set, s, &w.rows, qkv[s.hidden:], keys)
		w.packKeys(s.width, keys)
		v := w.attention.quantize(m.set, s, &w.rows, qkv[2*s.hidden:], keys)
		w.packValues(s.width, keys)
		scale := float32(float64(q) * float64(k) / math.Sqrt(float64(s.width)) * math.Log2E)
		for at := 0; at < n; at += queriesAtOnce {
			rows := min(queriesAtOnce, n-at)
			w.mix(m.set, s.width, at, rows, keys, scale)
			m.set.Spread(w.context[(first+at)*s.hidden+h*s.width:], s.hidden, w.mixed, s.width, v/32767, s.width, rows)
		}
	}
}

// quantize turns one head's rows of q, k or v into 16 bits and returns the value of 1.
func (a *attention) quantize(set *kernel.Set, s *attentionShape, dst *[]int16, x []float32, n int) float32 {
	*dst = grow(*dst, n*s.width)
	lo, hi := set.Bounds(x, 3*s.hidden, s.width, n)
	top := max(-lo, hi)
	if !(top > 0) {
		clear(*dst)
		return 0
	}
	set.Quantize16(*dst, s.width, x, 3*s.hidden, float32(s.limit)/top, s.width, n)
	return top / float32(s.limit)
}

// packKeys lays the keys out as columns: two neighbours of a row are one 32-bit word of the packed layout.
func (a *attention) packKeys(width, n int) {
	a.keys.Reset(n, width)
	src, dst := pairs(a.rows), pairs(a.keys.Data)
	half := width / 2
	for j := range n {
		at := j/kernel.Lanes*half*kernel.Lanes + j%kernel.Lanes
		for p, x := range src[j*half:][:half] {
			dst[at+p*kernel.Lanes] = x
		}
	}
}

// packValues lays the values out with the sequence as depth: two rows alternate.
func (a *attention) packValues(width, n int) {
	a.values.Reset(width, n)
	depth := a.values.K / 2
	for j := 0; j < n; j += 2 {
		even, odd := a.rows[j*width:][:width], zeros[:width]
		if j+1 < n {
			odd = a.rows[(j+1)*width:][:width]
		}
		for c := 0; c < width; c += kernel.Lanes {
			dst := a.values.Data[(c/kernel.Lanes*depth+j/2)*2*kernel.Lanes:][:2*kernel.Lanes]
			e, o := even[c:][:kernel.Lanes], odd[c:][:kernel.Lanes]
			for i, x := range e {
				dst[2*i], dst[2*i+1] = x, o[i]
			}
		}
	}
}

var zeros [maxHidden]int16

// mix computes scores, probabilities and the mixed values of some rows of queries.
func (a *attention) mix(set *kernel.Set, width, at, rows, n int, scale float32) {
	cols := a.keys.Cols()
	a.scores, a.probabilities = grow(a.scores, rows*cols), grow(a.probabilities, rows*cols)
	set.Gemm16(a.scores, a.query[at*width:], width, &a.keys, rows)
	for r := range rows {
		set.Softmax(a.probabilities[r*cols:][:cols], a.scores[r*cols:][:cols], n, scale)
	}
	a.mixed = grow(a.mixed, rows*width)
	set.Gemm16(a.mixed, a.probabilities, cols, &a.values, rows)
}

// pairs views 16-bit integers two by two, to move them together.
func pairs(x []int16) []uint32 { return unsafe.Slice((*uint32)(unsafe.Pointer(&x[0])), len(x)/2) }
