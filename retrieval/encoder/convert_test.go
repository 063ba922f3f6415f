package encoder

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"ostraca/retrieval"
	"ostraca/retrieval/encoder/encodertest"
	"ostraca/retrieval/kernel"
)

func loadDir(t testing.TB, folder string, overlay map[string]*string) *Encoder {
	t.Helper()
	e, err := LoadDir(overlaid(t, folder, overlay), nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestConventions(t *testing.T) {
	for _, c := range []struct {
		folder string
		width  int
		want   string
	}{
		{"bert", 32, `{"source":"ostraca","query":{},"document":{},"specials":false,"trim":false,"expand":false,"attend":false,"mask":0}`},
		{"colbert", 16, `{"source":"colbert","query":{"marker":"[unused0]","marker_id":1,"length":24},"document":{"marker":"[unused1]","marker_id":2,"length":44},"specials":true,"trim":false,"expand":true,"attend":false,"mask":6,"pad_is_mask":true`},
		{"pylate-bert", 32, `{"source":"pylate","query":{"marker":"[Q] ","marker_id":700,"length":20},"document":{"marker":"[D] ","marker_id":701,"length":40},"specials":true,"trim":true,"expand":true,"attend":true,"mask":6`},
	} {
		e := loadDir(t, c.folder, nil)
		got, err := json.Marshal(e.Conventions())
		if err != nil || !strings.HasPrefix(string(got), c.want) {
			t.Errorf("%s: %s, want %s (%v)", c.folder, got, c.want, err)
		}
		if e.Width() != c.width || e.QueryWeights([]Token{{ID: 1}}) != nil {
			t.Errorf("%s: vectors %d wide", c.folder, e.Width())
		}
	}
}

// TestConventionLengths: a stated length cuts and counts, MaxTokens overrides it, and a longer text is read in windows of it.
func TestConventionLengths(t *testing.T) {
	e := loadDir(t, "colbert", nil)
	long := strings.Repeat("the of and to in ", 40) // 200 pieces
	for _, c := range []struct {
		o            Options
		rows, cutOff int
	}{
		{Options{}, 44, 159}, {Options{MaxTokens: 10}, 10, 193}, {Options{MaxTokens: 120}, 120, 83}, {Options{MaxTokens: MaxTokens}, 203, 0},
		{Options{Query: true}, 24, 179}, {Options{Query: true, MaxTokens: 30}, 30, 173}, {Options{Query: true, MaxTokens: MaxTokens}, 160, 43},
	} {
		m := encode(t, e, c.o, long)[0]
		if len(m.Tokens) != c.rows || m.Cut != c.cutOff || len(m.Vectors) != c.rows*e.Width() {
			t.Errorf("%+v: %d rows, %d left out; want %d and %d", c.o, len(m.Tokens), m.Cut, c.rows, c.cutOff)
		}
		for i, k := range m.Tokens {
			if around := i < 2 || i == c.rows-1; (k.Span.Start == k.Span.End) != around {
				t.Fatalf("%+v: token %d spans %v", c.o, i, k.Span)
			}
			if length := dot(m.Vectors[i*e.Width():][:e.Width()], m.Vectors[i*e.Width():][:e.Width()]); math.Abs(length-1) > 1e-5 {
				t.Fatalf("%+v: row %d has the squared length %f", c.o, i, length)
			}
		}
	}
	// A short query is filled up, and a pad that is written out is a mask.
	if m := encode(t, e, Options{Query: true}, "a [PAD]")[0]; len(m.Tokens) != 24 || m.Tokens[3].ID != 6 || e.Tokenizer().Piece(m.Tokens[23].ID) != "[MASK]" {
		t.Errorf("a filled query: %v", m.Tokens)
	}
	for _, o := range []Options{{MaxTokens: 3}, {MaxTokens: -1}, {Query: true, MaxTokens: 3}, {MaxTokens: MaxTokens + 1}} {
		if _, err := e.Encode(context.Background(), []string{"a"}, o); !errors.Is(err, retrieval.ErrInvalid) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	// A window of a long document is, to the bit, a text of its own, markers and all.
	m := encode(t, e, Options{MaxTokens: MaxTokens}, long)[0]
	ws := windows(200, 41)
	for _, w := range ws {
		alone := encode(t, e, Options{}, long[m.Tokens[2+w.start].Span.Start:m.Tokens[2+w.end-1].Span.End])[0]
		W := e.Width()
		if !slices.Equal(m.Vectors[(2+w.ownStart)*W:(2+w.ownEnd)*W], alone.Vectors[(2+w.ownStart-w.start)*W:(2+w.ownEnd-w.start)*W]) {
			t.Errorf("window %v is not its own text", w)
		}
	}
}

// TestShorterModel: max_seq_length bounds the windows of a plain model, and do_lower_case lowers what its tokenizer would not.
func TestShorterModel(t *testing.T) {
	text := `{"max_seq_length": 12, "do_lower_case": true}`
	e := loadDir(t, "electra", map[string]*string{"sentence_bert_config.json": &text})
	if e.Config().Positions != 12 || e.windowTokens(false) != 12 {
		t.Errorf("%d positions", e.Config().Positions)
	}
	plain := loadDir(t, "electra", nil)
	a, b := encode(t, e, Options{}, "THE POTTER")[0], encode(t, plain, Options{}, "the potter")[0]
	if len(a.Tokens) == 0 || !slices.Equal(a.Tokens, b.Tokens) || slices.Equal(encode(t, plain, Options{}, "THE POTTER")[0].Tokens, b.Tokens) {
		t.Errorf("%v is not %v", a.Tokens, b.Tokens)
	}
	if e.Hash() == plain.Hash() {
		t.Error("conventions are no part of the hash")
	}
}

// TestRefused: what is not supported is refused by name.
func TestRefused(t *testing.T) {
	edit := func(folder, file, from, to string) map[string]*string {
		data, err := fs.ReadFile(overlaid(t, folder, nil), file)
		if err != nil || !bytes.Contains(data, []byte(from)) {
			t.Fatalf("%s/%s has no %s: %v", folder, file, from, err)
		}
		text := strings.Replace(string(data), from, to, 1)
		return map[string]*string{file: &text}
	}
	no := func(file string) map[string]*string { return map[string]*string{file: nil} }
	const sentence = "config_sentence_transformers.json"
	for _, c := range []struct {
		folder  string
		overlay map[string]*string
		says    string
	}{
		{"bert", no("config.json"), "config.json"},
		{"bert", no("tokenizer.json"), "AutoTokenizer"},
		{"bert", no("model.safetensors"), "model.safetensors"},
		{"bert", edit("bert", "config.json", `"bert"`, `"modernbert"`), `"modernbert"`},
		{"bert", edit("bert", "config.json", `"gelu"`, `"relu"`), `"relu"`},
		{"bert", edit("bert", "config.json", `"hidden_size": 32`, `"hidden_size": 40`), "hidden_size 40"},
		{"bert", edit("bert", "config.json", `"hidden_size": 32`, `"hidden_size": 64`), "word_embeddings"},
		{"bert", edit("bert", "config.json", `"vocab_size": 700`, `"vocab_size": 600`), "600"},
		{"bert", edit("bert", "config.json", `"is_decoder": false`, `"is_decoder": true`), "is_decoder"},
		{"bert", edit("bert", "config.json", `"num_hidden_layers": 2`, `"num_hidden_layers": 3`), "encoder.layer.2"},
		{"bert", edit("bert", "config.json", `"model_type"`, `"position_embedding_type": "relative_key", "model_type"`), "relative_key"},
		{"bert", edit("bert", "tokenizer_config.json", `{`, `{"padding_side": "left",`), "padding_side"},
		{"bert", edit("bert", "tokenizer.json", `"BertPreTokenizer"`, `"CharDelimiterSplit"`), "CharDelimiterSplit"},
		{"bert", edit("bert", "tokenizer.json", `"model":{"type":"WordPiece"`, `"model":{"type":"WordLevel"`), "WordLevel"},
		{"bert", edit("bert", "tokenizer.json", `"clean_text"`, `"new_flag":1,"clean_text"`), "new_flag"},
		{"pylate-roberta", edit("pylate-roberta", sentence, `"[Q] "`, `"[query]"`), "[query]"},
		{"pylate-roberta", edit("pylate-roberta", sentence, `"query_length": 24`, `"query_length": 3`), "query of 3"},
		{"pylate-roberta", edit("pylate-roberta", sentence, `"default_prompt_name": null`, `"default_prompt_name": "x", "prompts": {"x": "say "}`), "default_prompt_name"},
		{"pylate-roberta", edit("pylate-roberta", "1_Dense/config.json", "Identity", "Tanh"), "Tanh"},
		{"pylate-roberta", no("1_Dense/model.safetensors"), "1_Dense"},
		{"pylate-roberta", no("modules.json"), "random projection"},
		{"pylate-bert", edit("pylate-bert", "modules.json", "pylate.models.Dense.Dense", "pylate.models.LSTM"), "LSTM"},
		{"pylate-bert", edit("pylate-bert", "2_Dense/config.json", `"in_features": 48`, `"in_features": 64`), "in_features 64"},
		{"colbert", edit("colbert", "artifact.metadata", `"cosine"`, `"l2"`), "l2"},
		{"colbert", edit("colbert", "artifact.metadata", `"interaction": "colbert"`, `"interaction": "flipr"`), "flipr"},
		{"colbert", edit("colbert", "artifact.metadata", `"dim": 16`, `"dim": 32`), "dim 32"},
	} {
		_, err := LoadDir(overlaid(t, c.folder, c.overlay), nil)
		if !errors.Is(err, retrieval.ErrInvalid) || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s without %q: %v", c.folder, c.says, err)
		}
	}
	if _, err := LoadDir(fstest.MapFS{}, nil); !errors.Is(err, retrieval.ErrInvalid) {
		t.Errorf("an empty directory: %v", err)
	}
}

// TestResidual: a Dense with a residual is the layer plus its input.
func TestResidual(t *testing.T) {
	a := &affine{2, 2, []float32{1, 2, 3, 4}, []float32{5, 6}}
	if err := a.addResidual(nil); err != nil || !slices.Equal(a.weights, []float32{2, 2, 3, 5}) {
		t.Errorf("%v, %v", a.weights, err)
	}
	b := (&affine{2, 1, []float32{10, 1}, []float32{7}}).after(a)
	if !slices.Equal(b.weights, []float32{23, 25}) || !slices.Equal(b.bias, []float32{63}) || b.in != 2 || b.out != 1 {
		t.Errorf("%+v", b)
	}
}

// TestHalves compares every binary16 with its definition.
func TestHalves(t *testing.T) {
	for h := range 1 << 16 {
		e, f, sign := h>>10&31, float64(h&1023), 1.0
		if h>>15 == 1 {
			sign = -1
		}
		want := sign * math.Ldexp(1024+f, e-25)
		switch {
		case e == 0:
			want = sign * math.Ldexp(f, -24)
		case e == 31 && f == 0:
			want = math.Inf(int(sign))
		case e == 31:
			want = math.NaN()
		}
		if got := float64(widenHalf(uint16(h))); got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Fatalf("%04x: %g, want %g", h, got, want)
		}
	}
}

// TestGPT2 compares the scanner with the pattern read literally, character by character.
func TestGPT2(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	alphabet := []rune("aZé7½ \n\t\u00a0'sdlrevmt.,\U0001f600中\u0301")
	for range 20000 {
		var text []rune
		for range rng.IntN(12) {
			text = append(text, alphabet[rng.IntN(len(alphabet))])
		}
		var got []int
		for _, s := range gpt2(decode(string(text), 0)) {
			got = append(got, s.end)
		}
		if want := literalGPT2(text); !slices.Equal(got, want) {
			t.Fatalf("%q: %v, want %v", string(text), got, want)
		}
	}
}

// literalGPT2 tries the alternatives in order, each with the backtracking that its repetition needs.
func literalGPT2(text []rune) (ends []int) {
	in := func(set string, c rune) bool {
		s, l, n := isPythonSpace(c), strings.ContainsRune("aZésdlrevmt中", c), strings.ContainsRune("7½", c)
		return map[string]bool{"s": s, "l": l, "n": n, "o": !s && !l && !n}[set]
	}
	for at := 0; at < len(text); {
		end := -1
		for _, c := range contractions {
			if end < 0 && strings.HasPrefix(string(text[at:]), c) {
				end = at + len(c)
			}
		}
		for _, set := range []string{"l", "n", "o"} {
			for _, space := range []int{1, 0} {
				if space == 1 && text[at] != ' ' {
					continue
				}
				n := at + space
				for n < len(text) && in(set, text[n]) {
					n++
				}
				if end < 0 && n > at+space {
					end = n
				}
			}
		}
		n := at
		for n < len(text) && in("s", text[n]) {
			n++
		}
		for m := n; m > at && end < 0; m-- {
			if m == len(text) || in("s", text[m]) {
				end = m
			}
		}
		if end < 0 {
			end = n
		}
		ends = append(ends, end)
		at = end
	}
	return ends
}

// TestOwnDamage: every damaged file of a directory, and every damaged weights file of version 2, is refused.
func TestOwnDamage(t *testing.T) {
	files := overlaid(t, "pylate-roberta", nil)
	whole, err := Convert(files)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(4, 4))
	for range 40 {
		bad := slices.Clone(whole)
		bad[rng.IntN(len(bad))] ^= 1 << rng.IntN(8)
		if _, err := Load(bad, nil); !errors.Is(err, retrieval.ErrCorrupt) {
			t.Errorf("a bit flipped: %v", err)
		}
	}
	for _, e := range [][2]string{{`"width":16`, `"width":24`}, {`"width":16`, `"width":32`}, {`"mask":700`, `"mask":703`}, {`"length":24`, `"length":500`}, {`"skip":[`, `"skip":[9999,`}, {`"tokenizer"`, `"vocabulary"`}} {
		if _, err := Load(edited(whole, e[0], e[1]), nil); !errors.Is(err, retrieval.ErrCorrupt) {
			t.Errorf("%s for %s: %v", e[1], e[0], err)
		}
	}
	tensors := files["model.safetensors"].Data
	nan := slices.Clone(tensors)
	binary.LittleEndian.PutUint32(nan[8+binary.LittleEndian.Uint64(nan):], 0x7fc00000)
	for name, bad := range map[string][]byte{
		"short": tensors[:4], "cut": tensors[:len(tensors)-2], "a long header": append(binary.LittleEndian.AppendUint64(nil, 1<<40), tensors[8:]...),
		"no JSON": append(slices.Clone(tensors[:8]), bytes.Repeat([]byte{'x'}, len(tensors)-8)...), "a NaN": nan,
	} {
		files["model.safetensors"] = &fstest.MapFile{Data: bad}
		if _, err := Convert(files); !errors.Is(err, retrieval.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzSafetensors reads any file and every tensor of it: no panic, and nothing from outside the file.
func FuzzSafetensors(f *testing.F) {
	file := func(header string, data int) []byte {
		return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), make([]byte, data)...)
	}
	f.Add(file(`{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"__metadata__":{"format":"pt"}}`, 16))
	f.Add(file(`{"a":{"dtype":"BF16","shape":[3],"data_offsets":[2,8]},"b":{"dtype":"F16","shape":[],"data_offsets":[0,2]}}`, 8))
	f.Add(file(`{"a":{"dtype":"I64","shape":[0,9223372036854775807],"data_offsets":[0,0]}}`, 0))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseSafetensors("fuzz", data)
		if err != nil {
			if !errors.Is(err, retrieval.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		for name, x := range s.tensors {
			v, err := s.floats(name, x.Shape...)
			if err != nil && !errors.Is(err, retrieval.ErrInvalid) && !errors.Is(err, retrieval.ErrCorrupt) || len(v) > len(data) {
				t.Fatalf("%s: %d numbers, %v", name, len(v), err)
			}
		}
	})
}

// BenchmarkOwn encodes with a user's own small model.
func BenchmarkOwn(b *testing.B) {
	e, err := LoadDir(overlaid(b, "pylate-roberta", nil), kernel.Best())
	if err != nil {
		b.Fatal(err)
	}
	text := strings.Repeat("the potter turned the wheel, ", 8)
	for b.Loop() {
		encode(b, e, Options{Threads: 1}, text)
	}
}

// TestQuantizeRows: bge/weights.py made the small encoder's int8 file of the same numbers as its float32 file; so do we, to the bit.
func TestQuantizeRows(t *testing.T) {
	floats, err := parse(encodertest.Float32())
	if err != nil {
		t.Fatal(err)
	}
	codes, err := parse(encodertest.Int8())
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range floats.tensors {
		if !codes.has(name + ".scale") {
			continue
		}
		got, scales := quantizeRows(floats.floats(name, x.Shape...), x.Shape[0], x.Shape[1])
		if !bytes.Equal(got, codes.bytes(name, "i8", x.Shape...)) || !slices.Equal(scales, codes.floats(name+".scale", x.Shape[0])) {
			t.Errorf("%s differs", name)
		}
	}
	if codes.err != nil {
		t.Error(codes.err)
	}
}
