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
	version = 2 // of what is written; 1 is read too
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

	// Version 2, each 0 where it is not needed.
	Embedding int   `json:"embedding,omitempty"` // width of embeddings, where it is not Hidden
	Width     int   `json:"width,omitempty"`     // of token vectors after the projection
	Pad       int32 `json:"pad,omitempty"`       // token at the position of its own, where there is such a tensor
}

// header is what a file says of itself, in JSON.
type header struct {
	Config
	Conventions *Conventions `json:"conventions,omitempty"`
	Tensors     []tensor     `json:"tensors"`
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
	conventions Conventions
	version     uint32
	data        []byte
	tensors     map[string]tensor
	hash        [sha256.Size]byte
	err         error // the first tensor that was missing or of another shape
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
	v := binary.LittleEndian.Uint32(data[len(magic):])
	if v < 1 || v > version {
		return nil, corrupt("it is of version %d, this program reads 1 to %d", v, version)
	}
	body := data[:len(data)-sha256.Size]
	f := &file{version: v, data: body, tensors: map[string]tensor{}, hash: sha256.Sum256(body), conventions: Conventions{Source: ours}}
	if !bytes.Equal(f.hash[:], data[len(body):]) {
		return nil, corrupt("the checksum does not match: the file is truncated or damaged, fetch it again")
	}
	size := int(binary.LittleEndian.Uint32(data[len(magic)+4:]))
	if size > maxHeaderBytes || fixed+size > len(body) {
		return nil, corrupt("a header of %d bytes", size)
	}
	var h header
	if err := json.Unmarshal(body[fixed:fixed+size], &h); err != nil {
		return nil, corrupt("header: %v", err)
	}
	f.Config = h.Config
	if h.Conventions != nil {
		f.conventions = *h.Conventions
	}
	if v == 1 { // these fields did not exist
		f.Embedding, f.Width, f.Pad, f.conventions = 0, 0, 0, Conventions{Source: ours}
	}
	for _, t := range h.Tensors {
		if err := f.add(t, fixed+size); err != nil {
			return nil, err
		}
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	if err := f.conventions.check(f.Positions, f.Vocabulary); err != nil {
		return nil, corrupt("%v", err)
	}
	return f, nil
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
	for _, n := range []int{c.Embedding, c.Width} {
		if n < 0 || n > maxHidden || n%kernel.Lanes != 0 {
			return corrupt("embeddings or vectors %d wide: it must be a multiple of %d up to %d", n, kernel.Lanes, maxHidden)
		}
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

// tokenizer reads the tensor of a tokenizer.json, which version 2 brought, or the vocabulary of an uncased BERT.
func (f *file) tokenizer() (*Tokenizer, error) {
	name := "vocabulary"
	if f.has("tokenizer") && f.version > 1 {
		name = "tokenizer"
	}
	t := f.tensors[name]
	text := f.bytes(name, "text", t.Bytes)
	if f.err != nil {
		return nil, f.err
	}
	if name == "tokenizer" {
		tokenizer, err := NewTokenizer(text)
		if err == nil && len(tokenizer.pieces) > f.Vocabulary {
			err = fmt.Errorf("%d pieces, the model has %d", len(tokenizer.pieces), f.Vocabulary)
		}
		if err != nil {
			return nil, corrupt("%v", err)
		}
		return tokenizer, nil
	}
	pieces := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(pieces) != f.Vocabulary {
		return nil, corrupt("%d pieces in the vocabulary, not %d", len(pieces), f.Vocabulary)
	}
	return NewWordPiece(pieces)
}
