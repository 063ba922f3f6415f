package encoder

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"unicode/utf8"

	"ostraca/retrieval"
)

// goldenTokenizers are tokenizers of every part that is known, and a hash of what the reference makes of texts with each.
func goldenTokenizers(t testing.TB) (texts []string, list []struct {
	Name      string
	Tokenizer string
	Hashes    []string
}) {
	var f struct {
		Texts      []string
		Tokenizers []struct {
			Name      string
			Tokenizer string
			Hashes    []string
		}
	}
	name := modelFolder + "tokenizers.json.gz"
	if other := os.Getenv("OSTRACA_TOKENIZERS"); other != "" { // more texts, by hand: golden.py COUNT SEED
		name = other
	}
	if err := json.Unmarshal(unzip(name), &f); err != nil {
		t.Fatal(err)
	}
	return f.Texts, f.Tokenizers
}

func hashOf(tokens []Token) string {
	var b []byte
	for _, of := range []func(Token) uint32{func(k Token) uint32 { return uint32(k.ID) }, func(k Token) uint32 { return k.Span.Start }, func(k Token) uint32 { return k.Span.End }} {
		for _, k := range tokens {
			b = binary.LittleEndian.AppendUint32(b, of(k))
		}
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:4])
}

func TestTokenizers(t *testing.T) {
	texts, list := goldenTokenizers(t)
	if len(list) < 20 || len(texts) < 400 {
		t.Fatalf("%d tokenizers, %d texts", len(list), len(texts))
	}
	for _, g := range list {
		t.Run(g.Name, func(t *testing.T) {
			k, err := NewTokenizer([]byte(g.Tokenizer))
			if err != nil {
				t.Fatal(err)
			}
			wrong := 0
			for i, text := range texts {
				if tokens := k.Tokenize(text); hashOf(tokens) != g.Hashes[i] {
					if wrong++; wrong < 4 {
						t.Errorf("%q: %v", text, tokens)
					}
				}
			}
			if wrong > 0 {
				t.Errorf("%d of %d texts", wrong, len(texts))
			}
		})
	}
}

// FuzzDescription reads any tokenizer.json and, where it is one, any text: no panic, spans in the text, ids in the vocabulary.
func FuzzDescription(f *testing.F) {
	_, list := goldenTokenizers(f)
	for _, g := range list { // with small models: large inputs are slow to make smaller
		var d map[string]json.RawMessage
		if err := json.Unmarshal([]byte(g.Tokenizer), &d); err != nil {
			f.Fatal(err)
		}
		small := map[string]string{
			"WordPiece": `{"type":"WordPiece","unk_token":"u","continuing_subword_prefix":"##","vocab":{"s":0,"u":1,"a":2,"##b":3}}`,
			"BPE":       `{"type":"BPE","unk_token":"u","fuse_unk":true,"byte_fallback":true,"vocab":{"s":0,"u":1,"a":2,"b":3,"ab":4},"merges":["a b"]}`,
			"Unigram":   `{"type":"Unigram","unk_id":1,"vocab":[["s",0],["u",0],["a",-1.5],["ab",-2]]}`,
		}
		c, err := readComponent("model", d["model"])
		if err != nil {
			f.Fatal(err)
		}
		d["model"] = json.RawMessage(small[c.kind])
		text, err := json.Marshal(d)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), "it's a [Q] word, na\u00efve  \U0001f600 <mask> \xff")
	}
	f.Add(`{"model":{"type":"WordPiece","unk_token":"u","continuing_subword_prefix":"","vocab":{"u":0,"a":1}},"post_processor":{"type":"BertProcessing","sep":["u",0],"cls":["u",0]}}`, "aab")
	f.Fuzz(func(t *testing.T, description, text string) {
		k, err := NewTokenizer([]byte(description))
		if err != nil {
			if !errors.Is(err, retrieval.ErrInvalid) && !errors.Is(err, retrieval.ErrTooLarge) {
				t.Fatal(err)
			}
			return
		}
		for _, token := range k.Tokenize(text) {
			if token.ID < 0 || int(token.ID) >= len(k.pieces) || token.Span.Start > token.Span.End || int(token.Span.End) > len(text) {
				t.Fatalf("%v of %d pieces, %d bytes", token, len(k.pieces), len(text))
			}
			if utf8.ValidString(text) && !(boundary(text, token.Span.Start) && boundary(text, token.Span.End)) {
				t.Fatalf("%v is inside a character of %q", token, text)
			}
		}
	})
}
