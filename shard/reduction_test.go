package shard

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ostraca/retrieval"
	"ostraca/retrieval/index"
)

// reduced returns c with a reduction.
func reduced(c Configuration, r Reduction) Configuration {
	c.Reduction = r
	return c
}

// TestReducedConfiguration: bytes of before are read as before, those with a reduction are told apart from them wherever they are cut, and a collection
// keeps its reduction within an epoch.
func TestReducedConfiguration(t *testing.T) {
	plain := goldenConfiguration()
	plain.Width = 2
	with := reduced(plain, Reduction{Pool: 4, DropPunctuation: true, Keep: 500})
	old, b := appendConfiguration(nil, plain), appendConfiguration(nil, with)
	if got := hex.EncodeToString(b); got != hex.EncodeToString(old[:len(old)-1])+"05"+"ff"+"04"+"01"+"f403" {
		t.Errorf("%s", got)
	}
	both := reduced(projected(plain, 3, 1), Reduction{Pool: 2})
	projection := both.Projection.Bytes()
	if got := appendConfiguration(nil, both); !bytes.HasSuffix(got, append([]byte{byte(len(projection) + 4), 0xff, 2, 0, 0}, projection...)) {
		t.Errorf("%x", got)
	}
	for _, want := range []Configuration{plain, with, both} {
		in := appendConfiguration(nil, want)
		if got, err := parseConfiguration(in); err != nil || !got.Equal(want) {
			t.Errorf("%v: %+v", err, got)
		}
		for n := range in {
			if _, err := parseConfiguration(in[:n]); !errors.Is(err, retrieval.ErrCorrupt) {
				t.Errorf("%d bytes of %d: %v", n, len(in), err)
			}
		}
		text, err := json.Marshal(want) // as in the map of the placement
		var back Configuration
		if err = errors.Join(err, json.Unmarshal(text, &back)); err != nil || !back.Equal(want) || bytes.Contains(text, []byte("Reduction")) == want.Reduction.IsZero() {
			t.Errorf("%v: %s", err, text)
		}
	}
	bare := old[:len(old)-1]
	for what, tail := range map[string][]byte{"nothing": {4, 0xff, 0, 0, 0}, "cut": {3, 0xff, 4, 1}, "pool 17": {4, 0xff, 17, 0, 0}, "flag 2": {4, 0xff, 2, 2, 0}, "twice": {8, 0xff, 2, 0, 0, 0xff, 2, 0, 0}, "empty": {1, 0xff}} {
		if _, err := parseConfiguration(append(slices.Clone(bare), tail...)); !errors.Is(err, retrieval.ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, c := range map[string]Configuration{"pool 1": reduced(plain, Reduction{Pool: 1}), "pool 17": reduced(plain, Reduction{Pool: MaxPool + 1}), "all": reduced(plain, Reduction{Keep: 1000}),
		"below 0": reduced(plain, Reduction{Keep: -1}), "no encoder": reduced(Configuration{Codec: retrieval.Int8, Width: 3}, Reduction{Keep: 500})} {
		o := Operation{Collection: "c", Body: &Configure{Create, c}}
		if err := o.check(); !errors.Is(err, retrieval.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if plain.SameCodes(with) || plain.Equal(with) || with.follows(plain) {
		t.Error("a reduction makes no difference")
	}
	if with.Epoch++; !plain.follows(with) {
		t.Error("the next epoch cannot have a reduction")
	}
}

func TestNewReduction(t *testing.T) {
	for _, c := range []struct {
		pool  int
		drop  bool
		share float64
		want  Reduction
		says  string
	}{
		{0, false, 0, Reduction{}, ""},
		{1, false, 1, Reduction{}, ""},
		{16, true, .5, Reduction{16, true, 500}, "no punctuation, 0.5 of the tokens kept, pooled by 16"},
		{2, false, .999, Reduction{2, false, 999}, "0.999 of the tokens kept, pooled by 2"},
	} {
		got, err := NewReduction(c.pool, c.drop, c.share)
		if err != nil || got != c.want || got.String() != c.says || got.IsZero() != (c.says == "") {
			t.Errorf("%v: %v", err, got)
		}
	}
	for _, share := range []float64{-.1, 1.1, .0001, .12345} {
		if _, err := NewReduction(0, false, share); !errors.Is(err, retrieval.ErrInvalid) {
			t.Errorf("share %v: %v", share, err)
		}
	}
	for _, pool := range []int{-1, 17} {
		if _, err := NewReduction(pool, false, 0); !errors.Is(err, retrieval.ErrInvalid) {
			t.Errorf("pool %d: %v", pool, err)
		}
	}
}

// words returns tokens of a text's words, of one dimension: their number.
func words(text string, weights ...uint16) (x Tokens) {
	x = Tokens{Text: text, Width: 1, Weights: weights}
	at := 0
	for word := range strings.FieldsSeq(text) {
		start := at + strings.Index(text[at:], word)
		at = start + len(word)
		x.Spans = append(x.Spans, retrieval.Span{Start: uint32(start), End: uint32(at)})
		x.Vectors = append(x.Vectors, float32(len(x.Spans)))
	}
	return x
}

func (x Tokens) said() (out []string) {
	for _, s := range x.Spans {
		out = append(out, x.Text[s.Start:s.End])
	}
	return out
}

func TestReductionSelects(t *testing.T) {
	for _, c := range []struct {
		what    string
		r       Reduction
		text    string
		weights []uint16
		want    string
	}{
		{"punctuation", Reduction{DropPunctuation: true}, "a , b . ( c1 ) — « ½ ² $ 漢 ी é ! +", nil, "a b c1 ½ ² 漢 ी é"},
		{"nothing but punctuation", Reduction{DropPunctuation: true}, "! ? .", nil, "! ? ."},
		{"half", Reduction{Keep: 500}, "the wing of a bird", []uint16{1, 9, 2, 1, 8}, "wing of bird"},
		{"equal weights", Reduction{Keep: 500}, "a b c d", []uint16{5, 5, 5, 5}, "a b"},
		{"the least", Reduction{Keep: 1}, "a b c d", []uint16{5, 6, 7, 6}, "c"},
		{"punctuation first", Reduction{DropPunctuation: true, Keep: 500}, "a , b .", []uint16{1, 9, 2, 9}, "b"},
		{"a character in two", Reduction{DropPunctuation: true}, "a \xc3 \xa9 .", nil, "a \xc3 \xa9"},
	} {
		in := words(c.text, c.weights...)
		got, err := c.r.Apply(in, nil)
		if err != nil || strings.Join(got.said(), " ") != c.want {
			t.Errorf("%s: %v: %q", c.what, err, got.said())
			continue
		}
		for i, v := range got.Vectors { // each its own
			j := int(v) - 1
			if got.Spans[i] != in.Spans[j] || len(c.weights) > 0 && got.Weights[i] != c.weights[j] {
				t.Errorf("%s: vector %v has the span of another", c.what, v)
			}
		}
	}
	special := Tokens{Text: "a .", Width: 1, Vectors: []float32{1, 2, 3}, Spans: []retrieval.Span{{}, {Start: 0, End: 1}, {Start: 2, End: 3}}}
	if got, err := (Reduction{DropPunctuation: true}).Apply(special, nil); err != nil || !slices.Equal(got.Vectors, []float32{1, 2}) {
		t.Errorf("a token that spans nothing: %v, %v", err, got)
	}
	if got, err := (Reduction{Pool: 2, Keep: 500, DropPunctuation: true}).Apply(Tokens{Width: 3}, nil); err != nil || len(got.Vectors) != 0 {
		t.Errorf("no tokens: %v, %v", err, got)
	}
}

// reductions are all kinds of them, for an encoder with weights.
var reductions = map[string]Reduction{"pool": {Pool: 3}, "punctuation": {DropPunctuation: true}, "keep": {Keep: 500}, "all": {Pool: 2, DropPunctuation: true, Keep: 800}}

// TestPrepareReduced: a collection's documents are reduced alike by every router and in every batch; what a token of theirs spans is the text of the
// token whose vector it is or, of several, of their medoid; and codes that come back are taken as they are.
func TestPrepareReduced(t *testing.T) {
	e := smallEncoder(t)
	width := e.Width()
	collections := map[string]Configuration{}
	for name, r := range reductions {
		collections[name] = reduced(Configuration{Codec: retrieval.Bits4, Width: width, Encoder: e.Hash(), Epoch: 3}, r)
		collections[name+"-8"] = reduced(projected(Configuration{Codec: retrieval.Int8, Width: 8, Encoder: e.Hash(), Epoch: 3}, width, 5), r)
	}
	texts := []string{"The wing, in supersonic flow.", "", "?!", "a", strings.Repeat("the flow of a wing, a bird and the sea. ", 60)}
	one, other := knowing(e, collections), knowing(TextEncoder{Encoder: e.Encoder, Threads: 3}, collections)
	for name, c := range collections {
		var in []Input
		for i, text := range texts {
			in = append(in, Input{ID: string('a' + rune(i)), Text: text})
		}
		all, err := one.Prepare(t.Context(), name, in, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range all {
			if p.Err != nil {
				t.Fatalf("%s: %v", name, p.Err)
			}
			put := p.Body.(*Put)
			alone, err := other.Prepare(t.Context(), name, in[i:i+1], 0)
			if err != nil || !reflect.DeepEqual(alone[0], p) {
				t.Fatalf("%s: %q: %v: others by another router, alone", name, texts[i], err)
			}
			back, err := one.Prepare(t.Context(), name, []Input{{ID: in[i].ID, Text: texts[i], Codes: put.Document.Codes.Bare(), Spans: put.Document.Spans}}, 0)
			if err != nil || !reflect.DeepEqual(back[0].Body, p.Body) && len(put.Document.Spans) > 0 {
				t.Errorf("%s: %q: %v: codes become others", name, texts[i], err)
			}
			checkPrepared(t, c, e, put.Document, p.Tokens)
		}
	}
}

// checkPrepared computes a document's codes by hand.
func checkPrepared(t *testing.T, c Configuration, e Encoder, d Document, tokens int) {
	t.Helper()
	m, err := e.Encode(t.Context(), []string{d.Text}, EncodeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	x := m[0].tokens(d.Text, e.Width())
	if x, err = (Reduction{DropPunctuation: c.Reduction.DropPunctuation, Keep: c.Reduction.Keep}).Apply(x, nil); err == nil && len(x.Spans) > 0 {
		vectors := x.Vectors
		if !c.Projection.IsZero() {
			vectors, err = c.Projection.Pack(nil).Apply(vectors)
		}
		if c.Reduction.Pool > 0 && err == nil {
			var medoids []int
			vectors, medoids, err = index.Reduce(vectors, c.Width, c.Reduction.Pool)
			x.Spans = some(x.Spans, medoids)
		}
		x.Vectors = vectors
	}
	if err != nil {
		t.Fatal(err)
	}
	codes, err := index.Quantize(c.Codec, x.Vectors, c.Width)
	if err != nil || !reflect.DeepEqual(index.Pool(codes), d.Codes) || !slices.Equal(x.Spans, d.Spans) || tokens != len(d.Spans) {
		t.Errorf("%.20q, %v: %v: other codes by hand, %d spans", d.Text, c.Reduction, err, len(d.Spans))
	}
	if n := len(m[0].Tokens); n > 0 && (len(d.Spans) == 0 || c.Reduction.Pool > 0 && len(d.Spans) > (n+1)/2) {
		t.Errorf("%.20q, %v: %d tokens of %d", d.Text, c.Reduction, len(d.Spans), n)
	}
}

// TestPrepareReducedRefuses: what a reduction needs to know of tokens and is not told.
func TestPrepareReducedRefuses(t *testing.T) {
	e := smallEncoder(t)
	width, plain := e.Width(), Configuration{Codec: retrieval.Int8, Width: e.Width()}
	own := plain
	own.Encoder = e.Hash()
	r := knowing(e, map[string]Configuration{"punctuation": reduced(plain, Reduction{DropPunctuation: true}), "keep": reduced(own, Reduction{Keep: 500}), "pool": reduced(plain, Reduction{Pool: 2})})
	spans := []retrieval.Span{{Start: 0, End: 4}, {Start: 4, End: 5}, {Start: 5, End: 6}}
	x := rows(3, width)
	for _, c := range []struct {
		collection string
		in         Input
		want       string
	}{
		{"punctuation", Input{Text: "flow.!", Vectors: x}, "give the text and a span"},
		{"punctuation", Input{Text: "flow.!", Vectors: x, Spans: spans[:2]}, "2 spans for 3 tokens"},
		{"punctuation", Input{Text: "flow.", Vectors: x, Spans: spans}, "of 5 bytes"},
		{"punctuation", Input{Vectors: x[1:]}, "not rows"},
		{"keep", Input{Text: "flow.!", Vectors: x, Spans: spans}, "vectors from outside have no weights"},
		{"pool", Input{Text: "flow.!", Vectors: x, Spans: spans[1:]}, "2 spans for 3 tokens"},
		{"pool", Input{Vectors: make([]float32, 3*width)}, "token 0"},
	} {
		c.in.ID, c.in.Width = "a", width
		got, err := r.Prepare(t.Context(), c.collection, []Input{c.in}, 0)
		if err != nil || !errors.Is(got[0].Err, retrieval.ErrInvalid) || !strings.Contains(got[0].Err.Error(), c.want) {
			t.Errorf("%s, %q: %v", c.collection, c.want, got[0].Err)
		}
	}
	got, err := r.Prepare(t.Context(), "punctuation", []Input{{ID: "a", Text: "flow.!", Vectors: x, Width: width, Spans: spans}, {ID: "b", Width: width}}, 0)
	if err != nil || got[0].Tokens != 1 || got[1].Err != nil || !slices.Equal(got[0].Body.(*Put).Document.Spans, spans[:1]) {
		t.Errorf("%v: %+v", err, got)
	}
	if got, err := r.Prepare(t.Context(), "pool", []Input{{ID: "a", Vectors: x, Width: width}}, 0); err != nil || got[0].Tokens != 2 {
		t.Errorf("%v: %+v", err, got)
	}
}

// unweighted is an encoder whose tokens all weigh alike.
type unweighted struct{ Encoder }

func (unweighted) Weighs() bool { return false }

// TestKeepNeedsWeights: a collection that keeps tokens by weight cannot be made of an encoder that has none.
func TestKeepNeedsWeights(t *testing.T) {
	e := unweighted{smallEncoder(t)}
	c := reduced(Configuration{Codec: retrieval.Int8, Width: e.Width(), Encoder: e.Hash()}, Reduction{Keep: 500})
	r := knowing(e, map[string]Configuration{"texts": c})
	if _, err := r.Configure(t.Context(), "new", Configure{Create, c}); !errors.Is(err, retrieval.ErrInvalid) || !strings.Contains(err.Error(), "has none") {
		t.Error(err)
	}
	if got, err := r.Prepare(t.Context(), "texts", []Input{{ID: "a", Text: "flow"}}, 0); err != nil || !errors.Is(got[0].Err, retrieval.ErrInvalid) {
		t.Errorf("%v: %v", err, got)
	}
}

// Whatever is reduced becomes a document that a shard takes, with spans that are some of those that there were, in their order.
func TestReducedDocuments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := someReduction.Draw(t, "reduction")
		n, width := rapid.IntRange(0, 300).Draw(t, "tokens"), rapid.IntRange(1, 12).Draw(t, "width")
		x := Tokens{Text: rapid.StringMatching(`[a-c.,é漢 ]{300,400}`).Draw(t, "text"), Width: width, Weights: rapid.SliceOfN(rapid.Uint16(), n, n).Draw(t, "weights")}
		for i := range n {
			x.Spans = append(x.Spans, retrieval.Span{Start: uint32(i), End: uint32(i + 1)})
		}
		x.Vectors = rapid.SliceOfN(rapid.Float32Range(.5, 2), n*width, n*width).Draw(t, "vectors")
		given := Tokens{x.Text, slices.Clone(x.Vectors), width, slices.Clone(x.Spans), slices.Clone(x.Weights)}
		c := target{Configuration: reduced(Configuration{Codec: rapid.SampledFrom(retrieval.Codecs).Draw(t, "codec"), Width: width}, r)}
		codes, spans, err := c.quantize(x)
		if err != nil {
			t.Fatal(err)
		}
		d := Document{ID: "a", Text: x.Text, Codes: codes, Spans: spans}
		rising := slices.IsSortedFunc(spans, func(a, b retrieval.Span) int { return int(a.Start) - int(b.Start) })
		if err := d.check(); err != nil || !rising || (codes.Len() == 0) != (n == 0) || codes.Len() != len(spans) {
			t.Fatalf("%v: %d of %d tokens, %v", err, codes.Len(), n, spans)
		}
		if !reflect.DeepEqual(x, given) {
			t.Fatal("what was given is changed")
		}
	})
}
