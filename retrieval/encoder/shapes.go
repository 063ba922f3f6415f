package encoder

import (
	"crypto/sha256"
	"fmt"
	"path"
	"slices"

	"ostraca/retrieval"
	"ostraca/retrieval/kernel"
)

// modelConfig is config.json, as far as it is read. Where transformers has a default, a missing number is that.
type modelConfig struct {
	Name          string   `json:"_name_or_path"`
	Type          string   `json:"model_type"`
	Architectures []string `json:"architectures"`
	Hidden        int      `json:"hidden_size"`
	Embedding     int      `json:"embedding_size"`
	Layers        int      `json:"num_hidden_layers"`
	Heads         int      `json:"num_attention_heads"`
	Inner         int      `json:"intermediate_size"`
	Positions     int      `json:"max_position_embeddings"`
	Vocabulary    int      `json:"vocab_size"`
	Types         *int     `json:"type_vocab_size"`
	Epsilon       *float32 `json:"layer_norm_eps"`
	Activation    string   `json:"hidden_act"`
	Position      string   `json:"position_embedding_type"`
	Pad           *int32   `json:"pad_token_id"`
	Decoder       bool     `json:"is_decoder"`

	first int  // position of the first token, where padding has one of its own before it
	rows  int  // of the table of positions
	limit *int // max_seq_length of sentence_bert_config.json
}

// readConfig reads config.json and refuses what is no encoder of a known shape.
func (d *directory) readConfig() error {
	const name = "config.json"
	c := &d.config
	found, err := d.json(path.Join(d.at, name), c)
	if err != nil {
		return err
	}
	if !found {
		return d.invalid(name, "it is missing: is this a Hugging Face directory?")
	}
	padding := int32(0)
	switch c.Type {
	case "bert":
		c.Embedding = 0
	case "roberta", "xlm-roberta":
		c.Embedding, padding = 0, 1
	case "electra":
		if c.Embedding == 0 {
			c.Embedding = 128
		}
	default:
		return d.invalid(name, "model_type %q is not supported; bert, roberta, xlm-roberta and electra are", c.Type)
	}
	if c.Embedding == c.Hidden {
		c.Embedding = 0
	}
	if c.Pad == nil {
		c.Pad = &padding
	}
	switch {
	case c.Activation != "" && c.Activation != "gelu":
		return d.invalid(name, "hidden_act %q is not supported; gelu is", c.Activation)
	case c.Position != "" && c.Position != "absolute":
		return d.invalid(name, "position_embedding_type %q is not supported; absolute is", c.Position)
	case c.Decoder:
		return d.invalid(name, "is_decoder is not supported")
	}
	c.rows = c.Positions
	if c.Type == "roberta" || c.Type == "xlm-roberta" {
		if *c.Pad < 0 || int(*c.Pad) >= c.Vocabulary || int(*c.Pad) >= maxPositions {
			return d.invalid(name, "pad_token_id %d of %d tokens", *c.Pad, c.Vocabulary)
		}
		c.first = int(*c.Pad) + 1
		c.Positions -= c.first
	}
	return c.check(d.invalid)
}

// check tells the user of a number out of range by its name in config.json.
func (c *modelConfig) check(invalid func(name, format string, a ...any) error) error {
	for _, n := range []struct {
		name        string
		value, most int
	}{
		{"hidden_size", c.Hidden, maxHidden}, {"num_hidden_layers", c.Layers, maxLayers}, {"num_attention_heads", c.Heads, maxHidden},
		{"intermediate_size", c.Inner, maxInner}, {"max_position_embeddings", c.rows, maxPositions}, {"vocab_size", c.Vocabulary, maxVocabulary},
	} {
		if n.value < 1 || n.value > n.most {
			return invalid("config.json", "%s is %d, it must be 1 to %d", n.name, n.value, n.most)
		}
	}
	switch {
	case c.Positions <= specials+1:
		return invalid("config.json", "max_position_embeddings %d leaves %d positions", c.rows, c.Positions)
	case c.Hidden%c.Heads != 0 || c.Hidden/c.Heads%kernel.Lanes != 0 || c.Inner%kernel.Lanes != 0 || c.Embedding%kernel.Lanes != 0 || c.Embedding < 0 || c.Embedding > maxHidden:
		return invalid("config.json", "hidden_size %d in %d heads, intermediate_size %d, embedding_size %d: a head's width and the others must be multiples of %d",
			c.Hidden, c.Heads, c.Inner, c.Embedding, kernel.Lanes)
	case c.Epsilon != nil && (!(*c.Epsilon > 0) || *c.Epsilon > 1):
		return invalid("config.json", "layer_norm_eps %g", *c.Epsilon)
	case c.Types != nil && (*c.Types < 1 || *c.Types > maxTypes):
		return invalid("config.json", "type_vocab_size %d, it must be 1 to %d", *c.Types, maxTypes)
	}
	return nil
}

const maxTypes = 64

// header is what the weights file says of the model.
func (d *directory) header() Config {
	c := d.config
	name := c.Name
	if name == "" {
		name = c.Type
	}
	h := Config{
		Model: name, Origin: fmt.Sprintf("a local directory, SHA-256 of the tensors %x", sha256.Sum256(d.tensors.data)), Licence: "its owner's",
		Layers: c.Layers, Hidden: c.Hidden, Heads: c.Heads, Intermediate: c.Inner, Positions: c.Positions, Vocabulary: c.Vocabulary,
		Epsilon: 1e-12, Embedding: c.Embedding,
	}
	if c.Epsilon != nil {
		h.Epsilon = *c.Epsilon
	}
	if c.first > 0 {
		h.Pad = *c.Pad
	}
	return h
}

// source reads tensors until the first error.
type source struct {
	*directory
	err error
}

func (s *source) floats(name string, shape ...int) []float32 {
	if s.err != nil {
		return nil
	}
	out, err := s.tensors.floats(s.prefix+name, shape...)
	s.err = err
	return out
}

// write adds the transformer's tensors: token type 0 added to the positions, query, key and value laid end to end.
func (d *directory) write(w *writer) error {
	s, c := &source{directory: d}, d.config
	E, H := c.Hidden, c.Hidden
	if c.Embedding > 0 {
		E = c.Embedding
	}
	if word := s.floats("embeddings.word_embeddings.weight", c.Vocabulary, E); s.err == nil {
		w.matrix("word", word, c.Vocabulary, E)
	}
	types := 2
	if c.Types != nil {
		types = *c.Types
	}
	position, kind := s.floats("embeddings.position_embeddings.weight", c.rows, E), s.floats("embeddings.token_type_embeddings.weight", types, E)
	if s.err != nil {
		return s.err
	}
	for i := range position {
		position[i] += kind[i%E]
	}
	w.floats("position", position[c.first*E:][:c.Positions*E], c.Positions, E)
	if c.first > 0 {
		w.floats("position.pad", position[(c.first-1)*E:][:E], E)
	}
	s.norm(w, "embedding.norm", "embeddings.LayerNorm", E)
	if c.Embedding > 0 {
		s.linear(w, "embedding.project", H, E, "embeddings_project")
	}
	for n := range c.Layers {
		if s.err != nil {
			break
		}
		to, from := fmt.Sprintf("layer.%d.", n), fmt.Sprintf("encoder.layer.%d.", n)
		s.linear(w, to+"qkv", H, H, from+"attention.self.query", from+"attention.self.key", from+"attention.self.value")
		s.linear(w, to+"out", H, H, from+"attention.output.dense")
		s.linear(w, to+"up", c.Inner, H, from+"intermediate.dense")
		s.linear(w, to+"down", H, c.Inner, from+"output.dense")
		s.norm(w, to+"attention.norm", from+"attention.output.LayerNorm", H)
		s.norm(w, to+"output.norm", from+"output.LayerNorm", H)
	}
	return s.err
}

// norm copies gain and bias; files of TensorFlow's time call them gamma and beta.
func (s *source) norm(w *writer, to, from string, width int) {
	gain, bias := ".weight", ".bias"
	if _, old := s.tensors.tensors[s.prefix+from+".gamma"]; old {
		gain, bias = ".gamma", ".beta"
	}
	w.floats(to+".gain", s.floats(from+gain, width), width)
	w.floats(to+".bias", s.floats(from+bias, width), width)
}

// linear copies layers of one shape, laid end to end.
func (s *source) linear(w *writer, to string, out, in int, from ...string) {
	var weights, bias []float32
	for _, name := range from {
		weights = append(weights, s.floats(name+".weight", out, in)...)
		bias = append(bias, s.floats(name+".bias", out)...)
	}
	if s.err == nil {
		w.matrix(to, weights, len(from)*out, in)
		w.floats(to+".bias", bias, len(from)*out)
	}
}

// affine is y = W x + b in float32.
type affine struct {
	in, out int
	weights []float32
	bias    []float32
}

// after returns the layer that is first followed by a: layers without an activation between them are one, summed in float64.
func (a *affine) after(first *affine) *affine {
	if first == nil {
		return a
	}
	out := &affine{first.in, a.out, make([]float32, a.out*first.in), slices.Clone(a.bias)}
	row := make([]float64, first.in)
	for o := range a.out {
		clear(row)
		bias := float64(a.bias[o])
		for k, f := range a.weights[o*a.in:][:a.in] {
			bias += float64(float64(f) * float64(first.bias[k]))
			for i, g := range first.weights[k*first.in:][:first.in] {
				row[i] += float64(float64(f) * float64(g))
			}
		}
		out.bias[o] = float32(bias)
		for i, v := range row {
			out.weights[o*first.in+i] = float32(v)
		}
	}
	return out
}

// readProjection reads a layer's matrix; its shape says how wide its output is.
func readProjection(s *safetensors, name string, in int) (*affine, error) {
	t, found := s.tensors[name]
	if !found || len(t.Shape) != 2 {
		return nil, fmt.Errorf("%s: no matrix %q: %w", s.name, name, retrieval.ErrInvalid)
	}
	out := t.Shape[0]
	if out < kernel.Lanes || out > maxHidden || out%kernel.Lanes != 0 {
		return nil, fmt.Errorf("%s: %q makes vectors %d wide, it must be a multiple of %d up to %d: %w", s.name, name, out, kernel.Lanes, maxHidden, retrieval.ErrInvalid)
	}
	weights, err := s.floats(name, out, in)
	return &affine{in, out, weights, make([]float32, out)}, err
}
