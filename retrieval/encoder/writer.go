package encoder

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"

	"ostraca/retrieval"
)

// writer collects the tensors of a weights file, in order.
type writer struct {
	int8    bool // quantise matrices and word embeddings; else they stay float32, for tests
	tensors []tensor
	data    [][]byte
}

func (w *writer) add(name, kind string, data []byte, shape ...int) {
	w.tensors = append(w.tensors, tensor{Name: name, Type: kind, Shape: shape, Bytes: len(data)})
	w.data = append(w.data, data)
}

func (w *writer) text(name string, text []byte) { w.add(name, "text", text, len(text)) }

func (w *writer) floats(name string, x []float32, shape ...int) {
	data := make([]byte, 4*len(x))
	for i, v := range x {
		binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(v))
	}
	w.add(name, "f32", data, shape...)
}

// matrix adds rows of weights: int8 with a float32 scale a row, or float32.
func (w *writer) matrix(name string, x []float32, rows, cols int) {
	if !w.int8 {
		w.floats(name, x, rows, cols)
		return
	}
	codes, scales := quantizeRows(x, rows, cols)
	w.add(name, "i8", codes, rows, cols)
	w.floats(name+".scale", scales, rows)
}

// quantizeRows is what bge/make.py does: symmetric, the largest entry of a row at 127.
func quantizeRows(x []float32, rows, cols int) (codes []byte, scales []float32) {
	codes, scales = make([]byte, rows*cols), make([]float32, rows)
	for r := range rows {
		row := x[r*cols:][:cols]
		var top float32
		for _, v := range row {
			top = max(top, max(v, -v))
		}
		scale := float32(1)
		if top > 0 {
			scale = max(top/127, math.SmallestNonzeroFloat32)
		}
		for i, v := range row {
			q := math.RoundToEven(float64(float32(v / scale)))
			codes[r*cols+i] = byte(int8(min(max(q, -127), 127)))
		}
		scales[r] = scale
	}
	return codes, scales
}

func aligned(n int) int { return (n + align - 1) / align * align }

// bytes returns the file, of the newest version. The offsets are part of the header whose length they depend on, so they are laid
// out until they fit.
func (w *writer) bytes(h header) ([]byte, error) {
	for start := 0; ; {
		at := start
		for i := range w.tensors {
			w.tensors[i].Offset = at
			at = aligned(at + w.tensors[i].Bytes)
		}
		h.Tensors = w.tensors
		head, err := json.Marshal(h)
		if err != nil {
			return nil, err
		}
		if len(head) > maxHeaderBytes {
			return nil, fmt.Errorf("weights file: a header of %d bytes, the limit is %d: %w", len(head), maxHeaderBytes, retrieval.ErrTooLarge)
		}
		if need := aligned(len(magic) + 8 + len(head)); need > start {
			start = need
			continue
		}
		out := make([]byte, 0, at+sha256.Size)
		out = append(out, magic...)
		out = binary.LittleEndian.AppendUint32(out, version)
		out = binary.LittleEndian.AppendUint32(out, uint32(len(head)))
		out = append(out, head...)
		for i, t := range w.tensors {
			out = append(out, make([]byte, t.Offset-len(out))...)
			out = append(out, w.data[i]...)
		}
		sum := sha256.Sum256(out)
		return append(out, sum[:]...), nil
	}
}
