package shard

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"ostraca/retrieval"
	"ostraca/retrieval/encoder"
	"ostraca/retrieval/encoder/encodertest"
)

func smallEncoder(t *testing.T) TextEncoder {
	t.Helper()
	e, err := encoder.Load(encodertest.Float32(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return TextEncoder{Encoder: e, Threads: 1, QueryTokens: encoder.QueryTokens}
}

func TestTextEncoder(t *testing.T) {
	e := smallEncoder(t)
	texts := []string{"The wing in supersonic flow.", "", "a é b", strings.Repeat("flow ", 400)}
	codes, spans, err := e.Documents(t.Context(), texts)
	if err != nil || len(codes) != len(texts) || len(spans) != len(texts) || e.Hash() != e.Encoder.Hash() {
		t.Fatal(err)
	}
	for i, text := range texts {
		d := Document{ID: "a", Text: text, Codes: codes[i], Spans: spans[i]}
		if err := d.check(); err != nil || codes[i].Width != e.Encoder.Width() || (codes[i].Len() == 0) != (text == "") {
			t.Errorf("%.20q: %v: %d tokens", text, err, codes[i].Len())
		}
		if text != "" && len(spans[i]) != codes[i].Len() {
			t.Errorf("%.20q: %d spans for %d tokens", text, len(spans[i]), codes[i].Len())
		}
		alone, cut, err := e.Documents(t.Context(), []string{text}) // alone or in company
		if err != nil || !reflect.DeepEqual(alone[0], codes[i]) || !reflect.DeepEqual(cut[0], spans[i]) {
			t.Errorf("%.20q alone: %v", text, err)
		}
	}
	if got := texts[0][spans[0][0].Start:spans[0][0].End]; got == "" || !strings.HasPrefix("The", got) {
		t.Errorf("the first token is %q", got)
	}
	e.MaxTokens = 10
	short, _, err := e.Documents(t.Context(), texts[3:])
	if err != nil || short[0].Len() != 8 {
		t.Fatalf("%v: %d tokens of 10 with [CLS] and [SEP]", err, short[0].Len())
	}
	q, err := e.Query(t.Context(), texts[3], 5)
	if err != nil || q.K != 5 || q.Width != e.Encoder.Width() || q.Len() != encoder.QueryTokens-2 || q.Validate() != nil {
		t.Fatalf("%v: %+v", err, q)
	}
}

func TestTextEncoderRefuses(t *testing.T) {
	e := smallEncoder(t)
	long := strings.Repeat("a ", retrieval.MaxDocumentTokens+1)
	_, _, err := e.Documents(t.Context(), []string{"a", long})
	var text *encoder.TextError
	if !errors.Is(err, retrieval.ErrTooLarge) || !errors.As(err, &text) || text.Text != 1 {
		t.Errorf("a text of too many tokens: %v", err)
	}
	if _, _, err := e.Documents(t.Context(), []string{strings.Repeat("x", retrieval.MaxTextBytes+1)}); !errors.Is(err, retrieval.ErrTooLarge) {
		t.Errorf("a text of too many bytes: %v", err)
	}
	for _, k := range []int{0, -1, retrieval.MaxK + 1} {
		if _, err := e.Query(t.Context(), "flow", k); !errors.Is(err, retrieval.ErrInvalid) {
			t.Errorf("k = %d: %v", k, err)
		}
	}
	if _, err := e.Query(t.Context(), "", 1); !errors.Is(err, retrieval.ErrInvalid) {
		t.Errorf("an empty question: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := e.Documents(ended, []string{"a"}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := e.Query(ended, "a", 1); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
