package shard

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

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
	all, err := e.Encode(t.Context(), texts, EncodeOptions{})
	if err != nil || len(all) != len(texts) || e.Hash() != e.Encoder.Hash() {
		t.Fatal(err)
	}
	for i, text := range texts {
		m := all[i]
		if m.Err != nil || m.Cut != 0 || len(m.Vectors) != len(m.Tokens)*e.Width() || (len(m.Tokens) == 0) != (text == "") {
			t.Errorf("%.20q: %v: %d tokens, %d floats, %d cut", text, m.Err, len(m.Tokens), len(m.Vectors), m.Cut)
		}
		alone, err := e.Encode(t.Context(), []string{text}, EncodeOptions{}) // alone or in company
		if err != nil || !reflect.DeepEqual(alone[0], m) {
			t.Errorf("%.20q alone: %v", text, err)
		}
	}
	if first := all[0].Tokens[0]; first.Piece == "" || first.Piece != e.Encoder.Tokenizer().Piece(int32(first.ID)) ||
		!strings.HasPrefix("The", texts[0][first.Span.Start:first.Span.End]) {
		t.Errorf("the first token is %+v", first)
	}
	e.MaxTokens = 10
	for asked, want := range map[EncodeOptions]int{{}: 8, {MaxTokens: 5}: 3, {Query: true}: encoder.QueryTokens - 2, {Query: true, MaxTokens: 7}: 5} {
		m, err := e.Encode(t.Context(), texts[3:], asked)
		if err != nil || len(m[0].Tokens) != want || m[0].Cut != len(all[3].Tokens)-want {
			t.Fatalf("%+v: %v: %d tokens, %d cut", asked, err, len(m[0].Tokens), m[0].Cut)
		}
		for i, token := range m[0].Tokens {
			if want := e.Encoder.QueryWeights([]encoder.Token{{ID: int32(token.ID)}})[0]; token.Weight != want || !e.Weighs() {
				t.Errorf("%+v: token %d weighs %d", asked, i, token.Weight)
			}
		}
	}
}

// TestTextEncoderRefuses: a text that is refused leaves the others alone, wherever it stands; options and contexts concern all.
func TestTextEncoderRefuses(t *testing.T) {
	e := smallEncoder(t)
	tokens, bytes := strings.Repeat("a ", retrieval.MaxDocumentTokens+1), strings.Repeat("x", retrieval.MaxTextBytes+1)
	good, err := e.Encode(t.Context(), []string{"flow", "wing"}, EncodeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, texts := range [][]string{{"flow", tokens, "wing", bytes}, {bytes, tokens, "flow", "wing"}, {"flow", "wing", tokens, tokens}, {bytes, bytes}} {
		all, err := e.Encode(t.Context(), texts, EncodeOptions{})
		if err != nil || len(all) != len(texts) {
			t.Fatal(err)
		}
		rest := good
		for i, m := range all {
			switch {
			case len(texts[i]) > 4:
				if !errors.Is(m.Err, retrieval.ErrTooLarge) || m.Tokens != nil || m.Vectors != nil {
					t.Errorf("%.10q: %v", texts[i], m.Err)
				}
			case !reflect.DeepEqual(m, rest[0]):
				t.Errorf("%.10q is not what it is alone: %v", texts[i], m.Err)
			default:
				rest = rest[1:]
			}
		}
	}
	for _, most := range []int{-1, 1, 1 << 20} {
		if _, err := e.Encode(t.Context(), []string{"a", bytes}, EncodeOptions{MaxTokens: most}); !errors.Is(err, retrieval.ErrInvalid) {
			t.Errorf("cut to %d: %v", most, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Encode(ended, []string{"a"}, EncodeOptions{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestManyBadTexts: a batch of nothing but bad texts is read about once, not once a text.
func TestManyBadTexts(t *testing.T) {
	e := smallEncoder(t)
	bad := strings.Repeat("a ", retrieval.MaxDocumentTokens+1)
	texts := slices.Repeat([]string{bad}, 1024)
	began := time.Now()
	for range 16 {
		if err := e.Encoder.Check(bad, encoder.Options{}); !errors.Is(err, retrieval.ErrTooLarge) {
			t.Fatal(err)
		}
	}
	most := max(time.Since(began)*1024/16*8, 2*time.Second)
	began = time.Now()
	all, err := e.Encode(t.Context(), texts, EncodeOptions{})
	if err != nil || !errors.Is(all[1023].Err, retrieval.ErrTooLarge) {
		t.Fatal(err)
	}
	if took := time.Since(began); took > most {
		t.Errorf("1,024 bad texts took %v, 1,024 times one takes at most %v", took, most)
	}
}
