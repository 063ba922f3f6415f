package encoder

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"ostraca/retrieval"
	"ostraca/retrieval/kernel"
)

// Limits of what is read from a directory.
const (
	maxJSONBytes  = 4 << 20
	maxModelBytes = 4 << 30
)

// LoadDir reads a local Hugging Face directory: a model of BERT's, RoBERTa's, XLM-RoBERTa's or ELECTRA's shape with its tokenizer.json,
// and the conventions that PyLate or ColBERT left with it (docs/encoder.md). What the files ask for and this package does not do is an
// error that names it and wraps retrieval.ErrInvalid; damage wraps retrieval.ErrCorrupt, a file over a limit retrieval.ErrTooLarge.
func LoadDir(fsys fs.FS, set *kernel.Set) (*Encoder, error) {
	weights, err := Convert(fsys)
	if err != nil {
		return nil, err
	}
	return Load(weights, set)
}

// Convert makes a weights file of such a directory, matrices in int8. The same files give the same bytes.
func Convert(fsys fs.FS) ([]byte, error) { return convert(fsys, true) }

func convert(fsys fs.FS, int8 bool) ([]byte, error) {
	d, err := open(fsys)
	if err != nil {
		return nil, err
	}
	w := &writer{int8: int8}
	h := header{Config: d.header(), Conventions: &d.conventions}
	w.text("tokenizer", d.tokenizerJSON)
	if err := d.write(w); err != nil {
		return nil, err
	}
	if d.projection != nil {
		h.Width = d.projection.out
		w.matrix("project", d.projection.weights, d.projection.out, d.projection.in)
		w.floats("project.bias", d.projection.bias, d.projection.out)
	}
	return w.bytes(h)
}

// directory is what was read of a Hugging Face directory.
type directory struct {
	fsys          fs.FS
	config        modelConfig
	modules       []module
	at            string // folder of the transformer
	tokenizerJSON []byte
	tokenizer     *Tokenizer
	special       map[string]string // names of special tokens by their role, such as mask_token
	tensors       *safetensors
	prefix        string // of the tensors' names
	conventions   Conventions
	projection    *affine
}

// module is one of modules.json.
type module struct {
	Path string `json:"path"`
	Type string `json:"type"`
}

func open(fsys fs.FS) (*directory, error) {
	d := &directory{fsys: fsys}
	for _, step := range []func() error{d.readModules, d.readConfig, d.readTokenizer, d.readTensors, d.readConventions} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if err := d.conventions.check(d.config.Positions, d.config.Vocabulary); err != nil {
		return nil, err
	}
	return d, nil
}

// read returns a file of at most so many bytes.
func (d *directory) read(name string, most int64) ([]byte, error) {
	f, err := d.fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, retrieval.ErrInvalid)
	}
	defer f.Close()
	var data bytes.Buffer
	if s, err := f.Stat(); err == nil && s.Size() <= most { // a large file is not copied as it grows
		data.Grow(int(s.Size()) + bytes.MinRead)
	}
	if _, err := data.ReadFrom(io.LimitReader(f, most+1)); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, err, retrieval.ErrInvalid)
	}
	if int64(data.Len()) > most {
		return nil, fmt.Errorf("%s: the limit is %d bytes: %w", name, most, retrieval.ErrTooLarge)
	}
	return data.Bytes(), nil
}

// json reads a file into v and reports whether it is there.
func (d *directory) json(name string, v any) (bool, error) {
	data, err := d.read(name, maxJSONBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		if err = json.Unmarshal(data, v); err != nil {
			err = fmt.Errorf("%s: %v: %w", name, err, retrieval.ErrInvalid)
		}
	}
	return true, err
}

func (d *directory) invalid(name, format string, a ...any) error {
	return fmt.Errorf("%s: %s: %w", path.Join(d.at, name), fmt.Sprintf(format, a...), retrieval.ErrInvalid)
}

// readModules finds the transformer's folder.
func (d *directory) readModules() error {
	found, err := d.json("modules.json", &d.modules)
	if !found || err != nil {
		return err
	}
	if len(d.modules) == 0 || d.modules[0].kind() != "Transformer" {
		return d.invalid("modules.json", "the first module is no Transformer")
	}
	for _, m := range d.modules {
		if m.Path != "" && !fs.ValidPath(m.Path) {
			return d.invalid("modules.json", "the path %q", m.Path)
		}
	}
	d.at = d.modules[0].Path
	return nil
}

// kind is the last part of a module's type: libraries move their classes.
func (m module) kind() string {
	for i := len(m.Type) - 1; i >= 0; i-- {
		if m.Type[i] == '.' {
			return m.Type[i+1:]
		}
	}
	return m.Type
}

// readTokenizer reads tokenizer.json, what other files call its special tokens, and whether texts are lowered before.
func (d *directory) readTokenizer() error {
	data, err := d.read(path.Join(d.at, "tokenizer.json"), maxTokenizerBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return d.invalid("tokenizer.json", "it is missing; save the tokenizer once with transformers' AutoTokenizer, which writes it")
	}
	if err != nil {
		return err
	}
	var sentence struct {
		Length *int `json:"max_seq_length"`
		Lower  bool `json:"do_lower_case"`
	}
	if _, err := d.json(path.Join(d.at, "sentence_bert_config.json"), &sentence); err != nil {
		return err
	}
	d.config.limit = sentence.Length
	if d.tokenizerJSON, err = lowering(data, sentence.Lower); err != nil {
		return err
	}
	if d.tokenizer, err = NewTokenizer(d.tokenizerJSON); err != nil {
		return err
	}
	if n := len(d.tokenizer.pieces); n > d.config.Vocabulary {
		return d.invalid("tokenizer.json", "%d tokens, the model has %d", n, d.config.Vocabulary)
	}
	return d.readSpecial()
}

// lowering puts a Lowercase in front of the normalizer where sentence_bert_config.json asks for it.
func lowering(data []byte, lower bool) ([]byte, error) {
	if !lower {
		return data, nil
	}
	var f map[string]json.RawMessage
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("tokenizer.json: %v: %w", err, retrieval.ErrInvalid)
	}
	steps := []json.RawMessage{json.RawMessage(`{"type":"Lowercase"}`)}
	if !absent(f["normalizer"]) {
		steps = append(steps, f["normalizer"])
	}
	sequence, err := json.Marshal(map[string]any{"type": "Sequence", "normalizers": steps})
	if err != nil {
		return nil, err
	}
	f["normalizer"] = sequence
	return json.Marshal(f)
}

// readSpecial reads the roles of special tokens; tokenizer_config.json says them, special_tokens_map.json where it does not.
func (d *directory) readSpecial() error {
	d.special = map[string]string{}
	for _, name := range []string{"special_tokens_map.json", "tokenizer_config.json"} {
		var f map[string]json.RawMessage
		if _, err := d.json(path.Join(d.at, name), &f); err != nil {
			return err
		}
		for _, role := range []string{"mask_token", "pad_token", "unk_token", "eos_token"} {
			var text string
			var token struct {
				Content string `json:"content"`
			}
			if json.Unmarshal(f[role], &text) == nil && text != "" {
				d.special[role] = text
			} else if json.Unmarshal(f[role], &token) == nil && token.Content != "" {
				d.special[role] = token.Content
			}
		}
		for _, side := range []string{"padding_side", "truncation_side"} {
			if s := string(f[side]); s != "" && s != "null" && s != `"right"` {
				return d.invalid(name, "%s %s is not supported", side, s)
			}
		}
	}
	return nil
}

// token returns the id of a token by its role, such as mask_token.
func (d *directory) token(role string) (int32, bool) {
	id, found := d.tokenizer.ids[d.special[role]]
	return id, found && d.special[role] != ""
}

// readTensors reads model.safetensors and finds the names of its tensors.
func (d *directory) readTensors() error {
	name := path.Join(d.at, "model.safetensors")
	data, err := d.read(name, maxModelBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return d.invalid("model.safetensors", "it is missing; one file of that name is read, no parts and no pytorch_model.bin")
	}
	if err != nil {
		return err
	}
	if d.tensors, err = parseSafetensors(name, data); err != nil {
		return err
	}
	for _, prefix := range []string{"", "bert.", "roberta.", "electra.", "model."} {
		if _, found := d.tensors.tensors[prefix+"embeddings.word_embeddings.weight"]; found {
			d.prefix = prefix
			return nil
		}
	}
	return d.invalid("model.safetensors", "no tensor embeddings.word_embeddings.weight, with or without a prefix")
}
