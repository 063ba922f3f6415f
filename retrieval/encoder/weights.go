package encoder

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"ostraca/retrieval"
	"ostraca/retrieval/kernel"
)

// The weights file of docs/weights.md.
const (
	magic   = "OSTRACAW"
	version = 1
	align   = 64

	maxHeaderBytes = 1 << 20
	maxLayers      = 48
	maxHidden      = 4096
	maxInner       = 16384
	maxPositions   = 1 << 14
)

// Config is the header of a weights file.
type Config struct {
	Model        string  `json:"model"`
	Origin       string  `json:"origin"`
	Licence      string  `json:"licence"`
	Layers       int     `json:"layers"`
	Hidden       int     `json:"hidden"`       // width of a token vector
	Heads        int     `json:"heads"`        // attention heads
	Intermediate int     `json:"intermediate"` // width inside the feed-forward layer
	Positions    int     `json:"positions"`    // longest input, with [CLS] and [SEP]
	Vocabulary   int     `json:"vocabulary"`
	Epsilon      float32 `json:"epsilon"`
	WeightsFrom  string  `json:"weights_from"` // the text that the query weights were counted on
}

type tensor struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	Shape  []int  `json:"shape"`
	Offset int    `json:"offset"`
	Bytes  int    `json:"bytes"`
}

var elementBytes = map[string]int{"i8": 1, "u16": 2, "f32": 4, "text": 1}

// file is a checked weights file: every tensor lies inside data.
type file struct {
	Config
	data    []byte
	tensors map[string]tensor
	hash    [sha256.Size]byte
	err     error // the first tensor that was missing or of another shape
}

func corrupt(format string, a ...any) error {
	return fmt.Errorf("weights file: %s: %w", fmt.Sprintf(format, a...), retrieval.ErrCorrupt)
}

// parse checks everything about data but the tensors' names and shapes, which their readers check.
func parse(data []byte) (*file, error) {
	const fixed = len(magic) + 8
	if len(data) < fixed+sha256.Size {
		return nil, corrupt("%d bytes are too few for a header and a checksum", len(data))
	}
	if string(data[:len(magic)]) != magic {
		return nil, corrupt("it does not begin with %q", magic)
	}
	if v := binary.LittleEndian.Uint32(data[len(magic):]); v != version {
		return nil, corrupt("it is of version %d, this program reads version %d", v, version)
	}
	body := data[:len(data)-sha256.Size]
	f := &file{data: body, tensors: map[string]tensor{}, hash: sha256.Sum256(body)}
	if !bytes.Equal(f.hash[:], data[len(body):]) {
		return nil, corrupt("the checksum does not match: the file is truncated or damaged, fetch it again")
	}
	size := int(binary.LittleEndian.Uint32(data[len(magic)+4:]))
	if size > maxHeaderBytes || fixed+size > len(body) {
		return nil, corrupt("a header of %d bytes", size)
	}
	var header struct {
		Config
		Tensors []tensor `json:"tensors"`
	}
	if err := json.Unmarshal(body[fixed:fixed+size], &header); err != nil {
		return nil, corrupt("header: %v", err)
	}
	f.Config = header.Config
	for _, t := range header.Tensors {
		if err := f.add(t, fixed+size); err != nil {
			return nil, err
		}
	}
	return f, f.check()
}

func (f *file) add(t tensor, start int) error {
	size, known := elementBytes[t.Type]
	if !known {
		return corrupt("tensor %q has the unknown type %q", t.Name, t.Type)
	}
	for _, d := range t.Shape {
		if d < 1 || d > len(f.data) || size > len(f.data)/d {
			return corrupt("tensor %q has the shape %v", t.Name, t.Shape)
		}
		size *= d
	}
	if size != t.Bytes || t.Offset < start || t.Offset%align != 0 || t.Offset > len(f.data)-t.Bytes {
		return corrupt("tensor %q of %d bytes at %d does not fit", t.Name, t.Bytes, t.Offset)
	}
	if _, twice := f.tensors[t.Name]; twice {
		return corrupt("two tensors %q", t.Name)
	}
	f.tensors[t.Name] = t
	return nil
}

func (c *Config) check() error {
	for _, n := range []struct {
		name        string
		value, most int
	}{
		{"layers", c.Layers, maxLayers}, {"hidden", c.Hidden, maxHidden}, {"heads", c.Heads, maxHidden}, {"intermediate", c.Intermediate, maxInner},
		{"positions", c.Positions, maxPositions}, {"vocabulary", c.Vocabulary, maxVocabulary},
	} {
		if n.value < 1 || n.value > n.most {
			return corrupt("%s is %d, it must be 1 to %d", n.name, n.value, n.most)
		}
	}
	if c.Hidden%c.Heads != 0 || c.Hidden/c.Heads%kernel.Lanes != 0 || c.Intermediate%kernel.Lanes != 0 {
		return corrupt("%d wide in %d heads, %d inside: a head and the inside must be multiples of %d", c.Hidden, c.Heads, c.Intermediate, kernel.Lanes)
	}
	if c.Positions <= specials || !(c.Epsilon > 0) || c.Epsilon > 1 {
		return corrupt("%d positions, epsilon %g", c.Positions, c.Epsilon)
	}
	return nil
}

// has reports whether the file holds a tensor.
func (f *file) has(name string) bool { _, ok := f.tensors[name]; return ok }

// bytes returns a tensor's bytes; of a missing one or one of another kind nil, and notes the error.
func (f *file) bytes(name, kind string, shape ...int) []byte {
	t, ok := f.tensors[name]
	switch {
	case f.err != nil:
		return nil
	case !ok:
		f.err = corrupt("no tensor %q", name)
		return nil
	case t.Type != kind || fmt.Sprint(t.Shape) != fmt.Sprint(shape):
		f.err = corrupt("tensor %q is %s %v, not %s %v", name, t.Type, t.Shape, kind, shape)
		return nil
	}
	return f.data[t.Offset : t.Offset+t.Bytes]
}

// floats reads an f32 tensor. A NaN or an infinity is an error: it would spread to every vector.
func (f *file) floats(name string, shape ...int) []float32 {
	b := f.bytes(name, "f32", shape...)
	out := make([]float32, len(b)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		if v := float64(out[i]); (math.IsNaN(v) || math.IsInf(v, 0)) && f.err == nil {
			f.err = corrupt("tensor %q: element %d is %v", name, i, v)
		}
	}
	return out
}

func (f *file) bytesSigned(name string, shape ...int) []int8 {
	b := f.bytes(name, "i8", shape...)
	out := make([]int8, len(b))
	for i, x := range b {
		out[i] = int8(x)
	}
	return out
}

func (f *file) words(name string, shape ...int) []uint16 {
	b := f.bytes(name, "u16", shape...)
	out := make([]uint16, len(b)/2)
	for i := range out {
		out[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return out
}

// vocabulary reads the pieces in the order of their ids.
func (f *file) vocabulary() []string {
	t := f.tensors["vocabulary"]
	pieces := strings.Split(strings.TrimSuffix(string(f.bytes("vocabulary", "text", t.Bytes)), "\n"), "\n")
	if f.err == nil && len(pieces) != f.Vocabulary {
		f.err = corrupt("%d pieces in the vocabulary, not %d", len(pieces), f.Vocabulary)
	}
	return pieces
}
