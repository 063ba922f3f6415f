package shard

import (
	"context"
	"fmt"

	"ostraca/retrieval"
	"ostraca/retrieval/encoder"
	"ostraca/retrieval/index"
)

// TextEncoder is an [Encoder] over a text encoder and the codec of docs/score.md.
type TextEncoder struct {
	Encoder     *encoder.Encoder
	MaxTokens   int // documents are cut to, with [CLS] and [SEP]; 0 reads them whole
	QueryTokens int // queries are cut to; 0 reads them whole
	Threads     int // 0: as many as the process may use
}

// Hash names the weights.
func (e TextEncoder) Hash() string { return e.Encoder.Hash() }

// Documents encodes and quantises texts.
func (e TextEncoder) Documents(ctx context.Context, texts []string) ([]retrieval.Codes, [][]retrieval.Span, error) {
	matrices, err := e.Encoder.Encode(ctx, texts, encoder.Options{MaxTokens: e.MaxTokens, Threads: e.Threads})
	if err != nil {
		return nil, nil, err
	}
	codes, spans := make([]retrieval.Codes, len(texts)), make([][]retrieval.Span, len(texts))
	for i, m := range matrices {
		if codes[i], err = index.Quantize(m.Vectors, e.Encoder.Width()); err != nil {
			return nil, nil, fmt.Errorf("text %d: %w", i, err)
		}
		for _, t := range m.Tokens {
			spans[i] = append(spans[i], t.Span)
		}
	}
	return codes, spans, nil
}

// Query encodes and quantises a question, its tokens weighted as the encoder says.
func (e TextEncoder) Query(ctx context.Context, text string, k int) (*retrieval.Query, error) {
	matrices, err := e.Encoder.Encode(ctx, []string{text}, encoder.Options{MaxTokens: e.QueryTokens, Threads: e.Threads})
	if err != nil {
		return nil, err
	}
	m := matrices[0]
	return index.QuantizeQuery(m.Vectors, e.Encoder.Width(), e.Encoder.QueryWeights(m.Tokens), k)
}
