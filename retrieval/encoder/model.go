package encoder

import (
	"fmt"

	"ostraca/retrieval/kernel"
)

// model is a BERT (Devlin et al. 2019): embeddings, then layers of self-attention and feed-forward with a norm after each. RoBERTa
// (Liu et al. 2019) differs in the position of padding, ELECTRA (Clark et al. 2020) in embeddings of another width, late-interaction
// models (Khattab and Zaharia 2020) in a projection at the end.
type model struct {
	Config
	set         *kernel.Set
	word        table
	position    []float32 // Positions x embedding, the embedding of token type 0 added
	pad         int32     // a token that has the position padPosition and counts for none, or -1
	padPosition []float32
	norm        norm
	enter       *linear // from the width of embeddings to Hidden, or nil
	layers      []layer
	project     *linear // from Hidden to the width of vectors, or nil
	attention   attentionShape
}

// embedding is the width of embeddings.
func (c *Config) embedding() int {
	if c.Embedding > 0 {
		return c.Embedding
	}
	return c.Hidden
}

// width is that of token vectors.
func (c *Config) width() int {
	if c.Width > 0 {
		return c.Width
	}
	return c.Hidden
}

type layer struct {
	qkv, out, up, down   linear
	afterAttention, last norm
}

type norm struct{ gain, bias []float32 }

// table is the word embeddings: int8 with a scale a row, or float32.
type table struct {
	codes  []int8
	scales []float32
	floats []float32
}

// linear is y = x W + b, the weights packed int8 with a scale an output channel, or float32.
type linear struct {
	in, out int
	packed  *kernel.Matrix
	affine  kernel.Affine
	floats  []float32
}

func (f *file) model(set *kernel.Set) *model {
	m := &model{Config: f.Config, set: set, attention: newAttentionShape(f.Hidden, f.Heads), pad: -1}
	E := f.embedding()
	if f.has("word.scale") {
		m.word = table{codes: f.bytesSigned("word", f.Vocabulary, E), scales: f.floats("word.scale", f.Vocabulary)}
	} else {
		m.word = table{floats: f.floats("word", f.Vocabulary, E)}
	}
	m.position = f.floats("position", f.Positions, E)
	if f.has("position.pad") {
		m.pad, m.padPosition = f.Pad, f.floats("position.pad", E)
	}
	m.norm = norm{f.floats("embedding.norm.gain", E), f.floats("embedding.norm.bias", E)}
	if f.Embedding > 0 {
		l := f.linear(set, "embedding.project", E, f.Hidden)
		m.enter = &l
	}
	for i := range f.Layers {
		name := func(s string) string { return fmt.Sprintf("layer.%d.%s", i, s) }
		m.layers = append(m.layers, layer{
			qkv:            f.linear(set, name("qkv"), f.Hidden, 3*f.Hidden),
			out:            f.linear(set, name("out"), f.Hidden, f.Hidden),
			up:             f.linear(set, name("up"), f.Hidden, f.Intermediate),
			down:           f.linear(set, name("down"), f.Intermediate, f.Hidden),
			afterAttention: f.norm(name("attention.norm")),
			last:           f.norm(name("output.norm")),
		})
		if f.err != nil {
			return nil
		}
	}
	if f.Width > 0 {
		l := f.linear(set, "project", f.Hidden, f.Width)
		m.project = &l
	}
	return m
}

func (f *file) norm(name string) norm {
	return norm{f.floats(name+".gain", f.Hidden), f.floats(name+".bias", f.Hidden)}
}

func (f *file) linear(set *kernel.Set, name string, in, out int) linear {
	l := linear{in: in, out: out, affine: kernel.Affine{Bias: f.floats(name+".bias", out)}}
	if !f.has(name + ".scale") {
		l.floats = f.floats(name, out, in)
		return l
	}
	l.affine.Scale = f.floats(name+".scale", out)
	if w := f.bytesSigned(name, out, in); f.err == nil {
		l.packed = set.Pack(w, out, in)
	}
	return l
}

// embed sets row to the embedding of a token at a position, before the norm.
func (m *model) embed(row []float32, id int32, position []float32) {
	E := len(row)
	if m.word.floats != nil {
		for i, v := range m.word.floats[int(id)*E:][:E] {
			row[i] = v + position[i]
		}
		return
	}
	scale := m.word.scales[id]
	for i, c := range m.word.codes[int(id)*E:][:E] {
		row[i] = float32(float32(c)*scale) + position[i]
	}
}
