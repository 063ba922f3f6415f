package encoder

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"

	"ostraca/retrieval"
)

// Limits of a safetensors file.
const (
	maxSafetensorsHeader = 16 << 20
	maxSafetensors       = 1 << 16 // tensors in one file
	maxTensorRank        = 4
)

// safetensors is a checked file of named tensors: eight bytes of length, a header in JSON, then the data.
type safetensors struct {
	name    string // of the file, for errors
	data    []byte
	tensors map[string]safetensor
}

type safetensor struct {
	Type    string   `json:"dtype"`
	Shape   []int    `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

var safetensorBytes = map[string]int64{"F32": 4, "F16": 2, "BF16": 2, "F64": 8, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}

func parseSafetensors(name string, data []byte) (*safetensors, error) {
	wrong := func(format string, a ...any) error {
		return fmt.Errorf("%s: %s: %w", name, fmt.Sprintf(format, a...), retrieval.ErrCorrupt)
	}
	if len(data) < 8 {
		return nil, wrong("%d bytes are too few for a header", len(data))
	}
	size := binary.LittleEndian.Uint64(data)
	if size > maxSafetensorsHeader {
		return nil, wrong("a header of %d bytes, the limit is %d", size, maxSafetensorsHeader)
	}
	if size > uint64(len(data)-8) {
		return nil, wrong("a header of %d bytes in a file of %d", size, len(data))
	}
	var header map[string]json.RawMessage
	if err := json.Unmarshal(data[8:8+size], &header); err != nil {
		return nil, wrong("header: %v", err)
	}
	if len(header) > maxSafetensors {
		return nil, wrong("%d tensors, the limit is %d", len(header), maxSafetensors)
	}
	s := &safetensors{name: name, data: data[8+size:], tensors: map[string]safetensor{}}
	for key, raw := range header {
		if key == "__metadata__" {
			continue
		}
		var t safetensor
		if err := json.Unmarshal(raw, &t); err != nil {
			return nil, wrong("tensor %q: %v", key, err)
		}
		if err := t.check(int64(len(s.data))); err != nil {
			return nil, wrong("tensor %q: %v", key, err)
		}
		s.tensors[key] = t
	}
	return s, nil
}

// check demands a tensor that lies in data of so many bytes and is as long as its shape asks for.
func (t *safetensor) check(most int64) error {
	size, known := safetensorBytes[t.Type]
	if !known {
		return fmt.Errorf("unknown type %q", t.Type)
	}
	if len(t.Shape) > maxTensorRank {
		return fmt.Errorf("%d dimensions, the limit is %d", len(t.Shape), maxTensorRank)
	}
	for _, d := range t.Shape {
		if d < 0 || d > 0 && size > most/int64(d) {
			return fmt.Errorf("shape %v in a file of %d bytes", t.Shape, most)
		}
		size *= int64(d)
	}
	if start, end := t.Offsets[0], t.Offsets[1]; start < 0 || end > most || end-start != size {
		return fmt.Errorf("%s %v at bytes %d to %d of %d", t.Type, t.Shape, start, end, most)
	}
	return nil
}

// floats reads a tensor of the given shape as float32. Numbers that are not finite are refused: one would spread to every vector.
func (s *safetensors) floats(name string, shape ...int) ([]float32, error) {
	t, found := s.tensors[name]
	if !found {
		return nil, fmt.Errorf("%s: no tensor %q: %w", s.name, name, retrieval.ErrInvalid)
	}
	if fmt.Sprint(t.Shape) != fmt.Sprint(shape) {
		return nil, fmt.Errorf("%s: tensor %q is %v, not %v as the configuration asks: %w", s.name, name, t.Shape, shape, retrieval.ErrInvalid)
	}
	b := s.data[t.Offsets[0]:t.Offsets[1]]
	var out []float32
	switch t.Type {
	case "F32":
		out = make([]float32, len(b)/4)
		for i := range out {
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		}
	case "F16", "BF16":
		out = make([]float32, len(b)/2)
		widen := widenHalf
		if t.Type == "BF16" {
			widen = func(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }
		}
		for i := range out {
			out[i] = widen(binary.LittleEndian.Uint16(b[2*i:]))
		}
	default:
		return nil, fmt.Errorf("%s: tensor %q is %s; F32, F16 and BF16 are read: %w", s.name, name, t.Type, retrieval.ErrInvalid)
	}
	for i, x := range out {
		if v := float64(x); math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("%s: tensor %q: element %d is %v: %w", s.name, name, i, v, retrieval.ErrCorrupt)
		}
	}
	return out, nil
}

// widenHalf turns IEEE 754 binary16 into binary32; every number of the former is one of the latter.
func widenHalf(h uint16) float32 {
	sign, exponent, fraction := uint32(h>>15)<<31, uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exponent {
	case 0: // zero and subnormal: fraction * 2^-24
		x := float32(fraction) * (1.0 / (1 << 24))
		return math.Float32frombits(math.Float32bits(x) | sign)
	case 0x1f:
		return math.Float32frombits(sign | 0xff<<23 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
}
