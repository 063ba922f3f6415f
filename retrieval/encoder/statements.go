package encoder

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"ostraca/retrieval"
)

// What PyLate and ColBERT assume where a file says nothing: pylate/models/colbert.py and colbert/infra/config/settings.py.
const (
	pylateQueryTokens, pylateDocumentTokens   = 32, 180
	colbertQueryTokens, colbertDocumentTokens = 32, 220
	asciiPunctuation                          = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
)

// readConventions finds out whose conventions the directory states and resolves them.
func (d *directory) readConventions() error {
	var p pylateConfig
	stated, err := d.json("config_sentence_transformers.json", &p)
	if err != nil {
		return err
	}
	if stated && p.states() || slices.ContainsFunc(d.modules, func(m module) bool { return strings.HasPrefix(m.Type, "pylate.") }) {
		return d.readPyLate(&p)
	}
	var c colbertConfig
	stated, err = d.json("artifact.metadata", &c)
	if err != nil {
		return err
	}
	if stated || slices.Contains(d.config.Architectures, "HF_ColBERT") {
		return d.readColBERT(&c)
	}
	d.conventions = Conventions{Source: ours}
	for _, m := range d.modules {
		if k := m.kind(); !slices.Contains([]string{"Transformer", "Pooling", "Normalize", "Dense"}, k) {
			return d.invalid("modules.json", "a module %s is not supported", m.Type)
		}
	}
	if n := d.config.limit; n != nil { // the model was trained on texts of this length
		if *n <= specials {
			return d.invalid("sentence_bert_config.json", "max_seq_length %d", *n)
		}
		d.config.Positions = min(d.config.Positions, *n)
	}
	return nil
}

// pylateConfig is config_sentence_transformers.json, as far as it is read.
type pylateConfig struct {
	ModelType      string             `json:"model_type"`
	QueryPrefix    *string            `json:"query_prefix"`
	DocumentPrefix *string            `json:"document_prefix"`
	QueryLength    *int               `json:"query_length"`
	DocumentLength *int               `json:"document_length"`
	Attend         *bool              `json:"attend_to_expansion_tokens"`
	Skip           []string           `json:"skiplist_words"`
	Expand         *bool              `json:"do_query_expansion"`
	Prompts        map[string]*string `json:"prompts"`
	DefaultPrompt  *string            `json:"default_prompt_name"`
}

// states reports whether the file is PyLate's.
func (p *pylateConfig) states() bool {
	return p.ModelType == "ColBERT" || p.QueryPrefix != nil || p.DocumentPrefix != nil || p.QueryLength != nil || p.DocumentLength != nil ||
		p.Attend != nil || p.Skip != nil || p.Expand != nil
}

func or[T any](p *T, other T) T {
	if p != nil {
		return *p
	}
	return other
}

// readPyLate follows ColBERT.__init__, tokenize and encode of pylate 1.6: the marker behind [CLS]; queries filled up with [MASK], all of
// which count; of documents every token but those of the skiplist.
func (d *directory) readPyLate(p *pylateConfig) error {
	const name = "config_sentence_transformers.json"
	if p.DefaultPrompt != nil && p.Prompts[*p.DefaultPrompt] != nil && *p.Prompts[*p.DefaultPrompt] != "" {
		return d.invalid(name, "default_prompt_name %q is not supported: a prompt before every text", *p.DefaultPrompt)
	}
	c := &d.conventions
	*c = Conventions{Source: pylate, Specials: true, Trim: true, Expand: or(p.Expand, true)}
	c.Attend = c.Expand && or(p.Attend, false)
	for _, t := range []struct {
		to     *TextConvention
		prefix string
		length int
	}{{&c.Query, or(p.QueryPrefix, "[Q] "), or(p.QueryLength, pylateQueryTokens)}, {&c.Document, or(p.DocumentPrefix, "[D] "), or(p.DocumentLength, pylateDocumentTokens)}} {
		id, found := d.tokenizer.ids[t.prefix]
		if t.prefix != "" && !found {
			return d.invalid(name, "the prefix %q is no token of tokenizer.json", t.prefix)
		}
		*t.to = TextConvention{t.prefix, id, min(t.length, d.config.Positions)}
	}
	filled := false
	for _, role := range []string{"mask_token", "eos_token", "pad_token"} {
		if c.Mask, filled = d.token(role); filled {
			break
		}
	}
	if c.Expand && !filled {
		return d.invalid("tokenizer_config.json", "no mask_token, eos_token or pad_token to expand queries with")
	}
	words := p.Skip
	if words == nil {
		words = strings.Split(asciiPunctuation, "")
	}
	for _, word := range words {
		id, err := d.idOf(word)
		if err != nil {
			return err
		}
		c.Skip = append(c.Skip, id)
	}
	c.Skip = sorted(c.Skip)
	return d.readDense()
}

// idOf is transformers' convert_tokens_to_ids: what is no token is the unknown one.
func (d *directory) idOf(token string) (int32, error) {
	if id, found := d.tokenizer.ids[token]; found {
		return id, nil
	}
	if id, found := d.token("unk_token"); found {
		return id, nil
	}
	return 0, d.invalid("tokenizer.json", "%q is no token, and no unk_token is stated", token)
}

func sorted(ids []int32) []int32 {
	slices.Sort(ids)
	return slices.Compact(ids)
}

// readDense folds the Dense modules into one projection. PyLate applies these to token vectors and drops every other module.
func (d *directory) readDense() error {
	width := d.config.Hidden
	for _, m := range d.modules[min(1, len(d.modules)):] {
		switch m.kind() {
		case "Pooling", "Normalize":
			continue
		case "Dense":
		default:
			return d.invalid("modules.json", "a module %s is not supported", m.Type)
		}
		a, err := d.readDenseModule(m.Path, width)
		if err != nil {
			return err
		}
		d.projection, width = a.after(d.projection), a.out
	}
	if d.projection == nil {
		return fmt.Errorf("modules.json: no Dense module: PyLate would start with a random projection: %w", retrieval.ErrInvalid)
	}
	return nil
}

func (d *directory) readDenseModule(at string, width int) (*affine, error) {
	wrong := func(format string, a ...any) error {
		return fmt.Errorf("%s: %s: %w", path.Join(at, "config.json"), fmt.Sprintf(format, a...), retrieval.ErrInvalid)
	}
	var c struct {
		In         int    `json:"in_features"`
		Out        int    `json:"out_features"`
		Bias       *bool  `json:"bias"`
		Activation string `json:"activation_function"`
		Residual   bool   `json:"use_residual"`
	}
	if found, err := d.json(path.Join(at, "config.json"), &c); err != nil {
		return nil, err
	} else if !found {
		return nil, wrong("it is missing")
	}
	if i := strings.LastIndexByte(c.Activation, '.'); c.Activation[i+1:] != "Identity" {
		return nil, wrong("activation_function %q is not supported; Identity is", c.Activation)
	}
	if c.In != width {
		return nil, wrong("in_features %d, the vectors are %d wide", c.In, width)
	}
	name := path.Join(at, "model.safetensors")
	data, err := d.read(name, maxModelBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, wrong("no model.safetensors beside it")
	}
	if err != nil {
		return nil, err
	}
	s, err := parseSafetensors(name, data)
	if err != nil {
		return nil, err
	}
	a, err := readProjection(s, "linear.weight", c.In)
	if err != nil {
		return nil, err
	}
	if a.out != c.Out {
		return nil, wrong("out_features %d, linear.weight has %d", c.Out, a.out)
	}
	if or(c.Bias, true) {
		if a.bias, err = s.floats("linear.bias", a.out); err != nil {
			return nil, err
		}
	}
	if c.Residual {
		return a, a.addResidual(s)
	}
	return a, nil
}

// addResidual adds the input to the output, by a matrix where their widths differ.
func (a *affine) addResidual(s *safetensors) error {
	if a.in == a.out {
		for i := range a.out {
			a.weights[i*a.in+i]++
		}
		return nil
	}
	r, err := s.floats("residual.weight", a.out, a.in)
	for i := range r {
		a.weights[i] += r[i]
	}
	return err
}

// colbertConfig is artifact.metadata, as far as it is read.
type colbertConfig struct {
	QueryToken      *string `json:"query_token_id"`
	DocumentToken   *string `json:"doc_token_id"`
	QueryTokens     *int    `json:"query_maxlen"`
	DocumentTokens  *int    `json:"doc_maxlen"`
	MaskPunctuation *bool   `json:"mask_punctuation"`
	Attend          *bool   `json:"attend_to_mask_tokens"`
	Dim             *int    `json:"dim"`
	Similarity      *string `json:"similarity"`
	Interaction     *string `json:"interaction"`
}

// readColBERT follows QueryTokenizer, DocTokenizer and ColBERT.query, doc and mask of colbert-ai 0.2.22. query_token and doc_token are
// what its code calls the markers; the tokens are query_token_id and doc_token_id.
func (d *directory) readColBERT(m *colbertConfig) error {
	const name = "artifact.metadata"
	if s := or(m.Similarity, "cosine"); s != "cosine" {
		return d.invalid(name, "similarity %q is not supported; cosine is", s)
	}
	if s := or(m.Interaction, "colbert"); s != "colbert" {
		return d.invalid(name, "interaction %q is not supported; colbert is", s)
	}
	c := &d.conventions
	*c = Conventions{Source: colbert, Specials: true, Expand: true, Attend: or(m.Attend, false)}
	for _, t := range []struct {
		to     *TextConvention
		marker string
		length int
	}{{&c.Query, or(m.QueryToken, "[unused0]"), or(m.QueryTokens, colbertQueryTokens)}, {&c.Document, or(m.DocumentToken, "[unused1]"), or(m.DocumentTokens, colbertDocumentTokens)}} {
		id, err := d.idOf(t.marker)
		if err != nil {
			return err
		}
		*t.to = TextConvention{t.marker, id, min(t.length, d.config.Positions)}
	}
	var found bool
	if c.Mask, found = d.token("mask_token"); !found {
		return d.invalid("tokenizer_config.json", "no mask_token to expand queries with")
	}
	if or(m.MaskPunctuation, true) {
		for _, symbol := range strings.Split(asciiPunctuation, "") {
			if tokens := d.tokenizer.Tokenize(symbol); len(tokens) > 0 {
				c.Skip = append(c.Skip, tokens[0].ID)
			}
		}
	}
	if c.Pad, c.PadIsMask = d.token("pad_token"); c.PadIsMask {
		c.Skip = append(c.Skip, c.Pad)
	}
	c.Skip = sorted(c.Skip)
	var err error
	if d.projection, err = readProjection(d.tensors, "linear.weight", d.config.Hidden); err != nil {
		return err
	}
	if n := or(m.Dim, d.projection.out); n != d.projection.out {
		return d.invalid(name, "dim %d, linear.weight has %d", n, d.projection.out)
	}
	return nil
}
