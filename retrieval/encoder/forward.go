package encoder

import (
	"math"
	"unsafe"

	"ostraca/retrieval/kernel"
)

// sequence is what the model reads at once: token ids, [CLS] first. Of these the first so many are attended to.
type sequence struct {
	ids      []int32
	attended int
}

// workspace is the scratch of one thread. Rows of all sequences of a call lie end to end, nothing is padded.
type workspace struct {
	hidden  []float32 // rows x Hidden: the vectors between layers
	wide    []float32 // rows x 3 Hidden, or a block's rows x Intermediate
	out     []float32 // rows x width: the projected vectors
	context []float32 // rows x Hidden: what attention read
	codes   activations
	attention
}

// activations are rows of floats as unsigned bytes, a scale and a zero point a row.
type activations struct {
	bytes  []byte
	scales []float32
	zeros  []int32
}

// rowsAtOnce bounds the rows whose wide intermediate results are alive together, so that they stay in the second-level cache.
const rowsAtOnce = 96

// forward runs the model over sequences laid end to end and returns their token vectors, unit length, in w's memory.
func (m *model) forward(w *workspace, sequences []sequence) []float32 {
	rows := 0
	for _, s := range sequences {
		rows += len(s.ids)
	}
	H := m.Hidden
	w.hidden = grow(w.hidden, rows*H)
	w.context = grow(w.context, rows*max(H, m.embedding()))
	w.wide = grow(w.wide, max(rows*3*H, min(rows, rowsAtOnce)*m.Intermediate))
	m.embedAll(w, sequences)
	for i := range m.layers {
		l := &m.layers[i]
		m.apply(w, &l.qkv, w.wide, w.hidden, rows)
		at := 0
		for _, s := range sequences {
			m.attend(w, at, len(s.ids), s.attended)
			at += len(s.ids)
		}
		for at := 0; at < rows; at += rowsAtOnce {
			m.finish(w, l, at, min(rowsAtOnce, rows-at))
		}
	}
	out := w.hidden
	if m.project != nil {
		w.out = grow(w.out, rows*m.project.out)
		m.apply(w, m.project, w.out, w.hidden, rows)
		out = w.out
	}
	W := m.width()
	for r := range rows {
		m.unit(out[r*W:][:W])
	}
	return out
}

// vanishing is the length below which a projected vector has no direction: its squares could vanish, and it would become infinite.
const vanishing = 1e-16

// unit makes a vector unit length. One that vanishes is left at 0.
func (m *model) unit(x []float32) {
	if m.project != nil {
		if lo, hi := m.set.Bounds(x, len(x), len(x), 1); max(-lo, hi) < vanishing {
			clear(x)
			return
		}
	}
	m.set.Normalize(x)
}

func (m *model) embedAll(w *workspace, sequences []sequence) {
	E, at := m.embedding(), 0
	into := w.hidden
	if m.enter != nil {
		into = w.context
	}
	zero := grow(w.wide, E)[:E]
	clear(zero)
	for _, s := range sequences {
		position := 0
		for _, id := range s.ids {
			row := into[at*E:][:E]
			if id == m.pad {
				m.embed(row, id, m.padPosition)
			} else {
				m.embed(row, id, m.position[position*E:][:E])
				position++
			}
			m.set.AddNorm(row, zero, m.norm.gain, m.norm.bias, m.Epsilon)
			at++
		}
	}
	if m.enter != nil {
		m.apply(w, m.enter, w.hidden, into, at)
	}
}

// finish takes some rows from attention's output through the rest of the layer.
func (m *model) finish(w *workspace, l *layer, at, rows int) {
	H := m.Hidden
	hidden, y := w.hidden[at*H:][:rows*H], w.wide
	m.apply(w, &l.out, y, w.context[at*H:][:rows*H], rows)
	m.addNorm(hidden, y, l.afterAttention)
	m.apply(w, &l.up, y, hidden, rows)
	m.set.Gelu(y[:rows*m.Intermediate])
	m.apply(w, &l.down, y, y[:rows*m.Intermediate], rows)
	m.addNorm(hidden, y, l.last)
}

func (m *model) addNorm(hidden, y []float32, n norm) {
	H := m.Hidden
	for r := range len(hidden) / H {
		m.set.AddNorm(hidden[r*H:][:H], y[r*H:][:H], n.gain, n.bias, m.Epsilon)
	}
}

// apply sets y = x W + b for rows of x. y may be x's memory when the weights are int8: x is quantised before y is written.
func (m *model) apply(w *workspace, l *linear, y, x []float32, rows int) {
	if l.floats != nil {
		m.applyFloat(l, y, x, rows)
		return
	}
	a := &w.codes
	a.quantize(m.set, x, l.in, rows)
	y = y[:rows*l.out]
	sums := integers(y) // the sums become floats in place
	m.set.Gemm8(sums, a.bytes, l.packed, rows)
	for r := range rows {
		row := y[r*l.out:][:l.out]
		m.set.Dequantize(row, integers(row), l.packed.Sums, l.affine, a.scales[r], a.zeros[r])
	}
}

func (m *model) applyFloat(l *linear, y, x []float32, rows int) {
	out := make([]float32, rows*l.out)
	kernel.GemmFloat(out, x, l.floats, rows, l.out, l.in)
	for i := range out {
		y[i] = out[i] + l.affine.Bias[i%l.out]
	}
}

// quantize follows docs/encoder.md: the range always holds 0, so that 0 is exact.
func (a *activations) quantize(set *kernel.Set, x []float32, width, rows int) {
	a.bytes, a.scales, a.zeros = grow(a.bytes, rows*width), grow(a.scales, rows), grow(a.zeros, rows)
	for r := range rows {
		row := x[r*width:][:width]
		lo, hi := set.Bounds(row, width, width, 1)
		lo, hi = min(lo, 0), max(hi, 0)
		scale := (hi - lo) / 255
		if !(scale > 0) {
			scale = 1
		}
		inv := 1 / scale
		zero := int32(math.RoundToEven(float64(-lo * inv)))
		set.Quantize8(a.bytes[r*width:][:width], row, inv, zero)
		a.scales[r], a.zeros[r] = scale, zero
	}
}

// integers views floats as the 32-bit integers of the same memory.
func integers(x []float32) []int32 { return unsafe.Slice((*int32)(unsafe.Pointer(&x[0])), len(x)) }

func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
