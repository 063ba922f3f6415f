package shard

import (
	"bytes"
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ostraca/retrieval"
	"ostraca/retrieval/index"
)

// knowing returns a router that knows collections and no node.
func knowing(e Encoder, collections map[string]Configuration) *Router {
	r := &Router{options: RouterOptions{Encoder: e}}
	r.current.Store(&Map{Shards: make([]ShardPlace, 1), Collections: collections})
	r.seen.raise(1)
	return r
}

// someCollections has one of the encoder and one of vectors from outside, both of the encoder's width.
func someCollections(e Encoder) map[string]Configuration {
	return map[string]Configuration{
		"texts":   {Codec: retrieval.Int8, Width: e.Width(), Encoder: e.Hash(), Epoch: 3},
		"vectors": {Codec: retrieval.Int8, Width: e.Width(), Epoch: 4},
		"other":   {Codec: retrieval.Int8, Width: e.Width(), Encoder: "abc", Epoch: 5},
	}
}

// rows returns n rows that are not unit length.
func rows(n, width int) []float32 {
	x := make([]float32, n*width)
	for i := range x {
		x[i] = float32(i%7) - 2.5
	}
	return x
}

func TestPrepare(t *testing.T) {
	e := smallEncoder(t)
	r, width := knowing(e, someCollections(e)), e.Width()
	m, err := e.Encode(t.Context(), []string{"a wing", "flow"}, EncodeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	codes := func(vectors []float32) retrieval.Codes {
		c, err := index.Quantize(retrieval.Int8, vectors, width)
		if err != nil {
			t.Fatal(err)
		}
		return index.Pool(c)
	}
	spans := []retrieval.Span{{Start: 0, End: 1}, {Start: 1, End: 4}}
	in := []Input{
		{ID: "a", Text: "a wing", Fields: []byte(`{"b": 1, "a": 2}`), Condition: Condition{Kind: IfAbsent}},
		{ID: "v", Text: "flow", Vectors: rows(2, width), Width: width, Spans: spans},
		{ID: "c", Text: "text", Codes: codes(rows(2, width)).Bare(), Spans: spans},
		{ID: "b", Text: "flow"},
		{ID: "none", Width: width},
	}
	want := []Document{
		{ID: "a", Text: "a wing", Fields: []byte(`{"a":2,"b":1}`), Codes: codes(m[0].Vectors), Spans: spansOf(m[0])},
		{ID: "v", Text: "flow", Codes: codes(rows(2, width)), Spans: spans},
		{ID: "c", Text: "text", Codes: codes(rows(2, width)), Spans: spans},
		{ID: "b", Text: "flow", Codes: codes(m[1].Vectors), Spans: spansOf(m[1])},
		{ID: "none", Codes: codes(nil)},
	}
	got, err := r.Prepare(t.Context(), "texts", in, 0)
	if err != nil || len(got) != len(in) {
		t.Fatal(err)
	}
	for i, p := range got {
		put := &Put{Condition: in[i].Condition, Epoch: 3, Document: want[i]}
		if p.Err != nil || p.Collection != "texts" || !reflect.DeepEqual(p.Body, put) || p.Tokens != want[i].Codes.Len() || p.Cut != 0 {
			t.Errorf("%v: %d tokens, %d cut:\n%+v, not\n%+v", p.Err, p.Tokens, p.Cut, p.Body, put)
		}
	}
	cut, err := r.Prepare(t.Context(), "texts", []Input{{ID: "a", Text: "a a a a a a a a a"}}, 5)
	if err != nil || cut[0].Tokens != 3 || cut[0].Cut != 6 {
		t.Errorf("%v: %+v", err, cut)
	}
	if got, err := knowing(nil, someCollections(e)).Prepare(t.Context(), "texts", in[1:3], 0); err != nil || got[0].Err != nil || got[1].Err != nil {
		t.Errorf("vectors and codes need an encoder: %v %v", err, got)
	}
}

func spansOf(m Matrix) (out []retrieval.Span) {
	for _, t := range m.Tokens {
		out = append(out, t.Span)
	}
	return out
}

// TestPrepareRefuses: what is wrong with one document is told of it, by name, and the others are prepared.
func TestPrepareRefuses(t *testing.T) {
	e := smallEncoder(t)
	r, width := knowing(e, someCollections(e)), e.Width()
	with := func(at int, x float32) []float32 {
		v := rows(3, width)
		v[at] = x
		return v
	}
	zero := rows(3, width)
	clear(zero[width : 2*width])
	codes := func(c retrieval.Codes, err error) retrieval.Codes { return c }
	span := []retrieval.Span{{Start: 0, End: 5}}
	texts := map[string]Input{
		"not a number":         {Vectors: with(width+1, float32(math.NaN())), Width: width},
		"infinite":             {Vectors: with(width+1, float32(math.Inf(-1))), Width: width},
		"zero row":             {Vectors: zero, Width: width},
		"no whole rows":        {Vectors: rows(3, width)[1:], Width: width},
		"another width":        {Vectors: rows(3, width/2), Width: width / 2},
		"width 0":              {Vectors: rows(3, width)},
		"width below 0":        {Vectors: rows(3, width), Width: -width},
		"too many rows":        {Vectors: rows(retrieval.MaxDocumentTokens+1, width), Width: width},
		"vectors and codes":    {Vectors: rows(1, width), Width: width, Codes: codes(index.Quantize(retrieval.Int8, rows(1, width), width))},
		"codes of a width":     {Codes: codes(index.Quantize(retrieval.Int8, rows(1, width/2), width/2))},
		"codes without a name": {Codes: retrieval.Codes{Width: width, Scales: []uint16{1}}},
		"span beyond the text": {Text: "flow", Vectors: rows(1, width), Width: width, Spans: span},
		"spans and rows":       {Text: "flow, flow", Vectors: rows(2, width), Width: width, Spans: span},
		"spans of a text":      {Text: "flow, flow", Spans: span},
		"text too long":        {Text: strings.Repeat("x", retrieval.MaxTextBytes+1)},
		"too many tokens":      {Text: strings.Repeat("a ", retrieval.MaxDocumentTokens+1)},
		"fields":               {Text: "flow", Fields: []byte(`[1]`)},
		"no id":                {Text: "flow", ID: "-"},
	}
	for collection, all := range map[string]map[string]Input{"texts": texts, "vectors": {"text": {Text: "flow"}, "nothing": {}}, "other": {"text": {Text: "flow"}}} {
		for what, in := range all {
			if in.ID == "" {
				in.ID = "bad one"
			} else {
				in.ID = ""
			}
			good := Input{ID: "good", Vectors: rows(1, width), Width: width}
			got, err := r.Prepare(t.Context(), collection, []Input{good, in, good}, 0)
			if err != nil || got[0].Err != nil || got[2].Err != nil || got[0].Body == nil || got[2].Tokens != 1 {
				t.Fatalf("%s: %v: %v", what, err, got)
			}
			bad := got[1].Err
			if !errors.Is(bad, retrieval.ErrInvalid) && !errors.Is(bad, retrieval.ErrTooLarge) || got[1].Body != nil || got[1].Tokens != 0 {
				t.Errorf("%s: %v", what, bad)
			} else if in.ID != "" && !strings.Contains(bad.Error(), `"bad one"`) {
				t.Errorf("%s: which document? %v", what, bad)
			}
			if slices.Contains([]string{"not a number", "infinite", "zero row"}, what) && !strings.Contains(bad.Error(), "token 1") {
				t.Errorf("%s: which row? %v", what, bad)
			}
		}
	}
	if got, err := r.Prepare(t.Context(), "texts", make([]Input, MaxBatch+1), 0); !errors.Is(err, retrieval.ErrTooLarge) || got != nil {
		t.Error(err)
	}
	if got, err := r.Prepare(t.Context(), "texts", []Input{{ID: "a", Text: "flow"}}, 1); !errors.Is(err, retrieval.ErrInvalid) || got != nil {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Prepare(ended, "texts", []Input{{ID: "a", Text: "flow"}}, 0); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestAsk(t *testing.T) {
	e := smallEncoder(t)
	r, width := knowing(e, someCollections(e)), e.Width()
	text := strings.Repeat("flow ", 400)
	q, err := r.Ask(t.Context(), "texts", text, AskOptions{K: 5})
	if err != nil || q.K != 5 || q.Width != width || q.Len() != e.QueryTokens-2 || len(q.Tokens) != q.Len() || q.Validate() != nil {
		t.Fatalf("%v: %+v", err, q)
	}
	m, err := e.Encode(t.Context(), []string{text}, EncodeOptions{Query: true, MaxTokens: 10})
	if err != nil {
		t.Fatal(err)
	}
	if q, err = r.Ask(t.Context(), "texts", text, AskOptions{K: 5, MaxTokens: 10}); err != nil || !reflect.DeepEqual(q.Tokens, m[0].Tokens) || q.Weights[0] != q.Tokens[0].Weight {
		t.Fatalf("%v: %+v", err, q)
	}
	plain, err := r.AskVectors(t.Context(), "texts", m[0].Vectors, width, AskOptions{K: 5})
	if err != nil || plain.Tokens != nil || !slices.Equal(plain.Codes, q.Codes) || plain.Weights[0] != retrieval.UnitWeight {
		t.Fatalf("%v: %+v", err, plain)
	}
	if q, err = r.Ask(t.Context(), "texts", text, AskOptions{K: 5, MaxTokens: 10, Unweighted: true}); err != nil || !reflect.DeepEqual(q.Query, plain.Query) {
		t.Fatalf("%v: %+v", err, q)
	}
	if _, err := r.AskVectors(t.Context(), "vectors", rows(2, width), width, AskOptions{K: 5}); err != nil {
		t.Error(err)
	}
}

func TestAskRefuses(t *testing.T) {
	e := smallEncoder(t)
	r, width := knowing(e, someCollections(e)), e.Width()
	for k, is := range map[int]error{0: retrieval.ErrInvalid, -1: retrieval.ErrInvalid, retrieval.MaxK + 1: retrieval.ErrTooLarge} {
		if _, err := r.Ask(t.Context(), "texts", "flow", AskOptions{K: k}); !errors.Is(err, is) {
			t.Errorf("k = %d: %v", k, err)
		}
		if _, err := r.AskVectors(t.Context(), "texts", rows(1, width), width, AskOptions{K: k}); !errors.Is(err, is) {
			t.Errorf("k = %d: %v", k, err)
		}
	}
	for collection, text := range map[string]string{"vectors": "flow", "other": "flow", "texts": ""} {
		if _, err := r.Ask(t.Context(), collection, text, AskOptions{K: 1}); !errors.Is(err, retrieval.ErrInvalid) {
			t.Errorf("%s, %q: %v", collection, text, err)
		}
	}
	if _, err := knowing(nil, someCollections(e)).Ask(t.Context(), "texts", "flow", AskOptions{K: 1}); !errors.Is(err, retrieval.ErrInvalid) {
		t.Errorf("no encoder: %v", err)
	}
	if _, err := r.Ask(t.Context(), "texts", strings.Repeat("x", retrieval.MaxTextBytes+1), AskOptions{K: 1}); !errors.Is(err, retrieval.ErrTooLarge) {
		t.Error(err)
	}
	for what, vectors := range map[string][]float32{"none": nil, "zero": make([]float32, width), "no rows": rows(2, width)[1:]} {
		if _, err := r.AskVectors(t.Context(), "texts", vectors, width, AskOptions{K: 1}); !errors.Is(err, retrieval.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := r.AskVectors(t.Context(), "texts", rows(1, width), width*2, AskOptions{K: 1}); !errors.Is(err, retrieval.ErrInvalid) {
		t.Error(err)
	}
	wide := map[string]Configuration{"texts": {Codec: retrieval.Int8, Width: width * 2, Encoder: e.Hash()}}
	if _, err := knowing(e, wide).Ask(t.Context(), "texts", "flow", AskOptions{K: 1}); !errors.Is(err, retrieval.ErrInvalid) || !bytes.Contains([]byte(err.Error()), []byte("wide")) {
		t.Errorf("a collection of another width: %v", err)
	}
}
