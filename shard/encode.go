package shard

import (
	"context"
	"errors"

	"ostraca/retrieval"
	"ostraca/retrieval/encoder"
)

// Encoder turns texts into token vectors. It runs at the router: floats end before the log.
type Encoder interface {
	// Encode returns one matrix a text. A text that is refused says so in its own Err, which wraps retrieval.ErrTooLarge or
	// retrieval.ErrInvalid, and leaves the others alone; an error concerns the whole call: its options, or its context.
	Encode(ctx context.Context, texts []string, o EncodeOptions) ([]Matrix, error)
	// Width returns the dimensions of a token vector.
	Width() int
	// Weighs tells whether tokens have weights of their own, by how rare they are; else all weigh alike.
	Weighs() bool
	// Hash names the weights.
	Hash() string
}

// EncodeOptions of one call.
type EncodeOptions struct {
	Query     bool // the texts are questions, not documents
	MaxTokens int  // cut every text to this many tokens, those that the model adds counted; 0: the encoder's own setting
}

// Matrix is one encoded text.
type Matrix struct {
	Tokens  []Token
	Vectors []float32 // len(Tokens) rows, unit length
	Cut     int       // tokens that MaxTokens left out
	Err     error     // why this text alone was refused
}

// Token is one piece of a text.
type Token struct {
	Piece  string // as the vocabulary has it
	ID     uint32
	Span   retrieval.Span // bytes of the text
	Weight uint16         // retrieval.UnitWeight being 1.0
}

// TextEncoder is an [Encoder] over a text encoder.
type TextEncoder struct {
	Encoder     *encoder.Encoder
	MaxTokens   int // documents are cut to, with [CLS] and [SEP]; 0: the model's own length, or whole
	QueryTokens int // queries are cut to; 0 likewise
	Threads     int // 0: as many as the process may use
}

// Hash names the weights.
func (e TextEncoder) Hash() string { return e.Encoder.Hash() }

// Weighs tells whether the weights file has weights of tokens.
func (e TextEncoder) Weighs() bool { return e.Encoder.QueryWeights(nil) != nil }

// Width returns the dimensions of a token vector.
func (e TextEncoder) Width() int { return e.Encoder.Width() }

// Encode encodes texts, their tokens weighted as the encoder says.
func (e TextEncoder) Encode(ctx context.Context, texts []string, o EncodeOptions) ([]Matrix, error) {
	options := encoder.Options{Query: o.Query, MaxTokens: o.MaxTokens, Threads: e.Threads}
	if o.MaxTokens == 0 && o.Query {
		options.MaxTokens = e.QueryTokens
	} else if o.MaxTokens == 0 {
		options.MaxTokens = e.MaxTokens
	}
	out, good, at := make([]Matrix, len(texts)), texts, []int(nil)
	matrices, err := e.Encoder.Encode(ctx, good, options)
	if refused := new(encoder.TextError); errors.As(err, &refused) { // nothing is encoded yet: once more, without all that are refused
		good = nil
		for i, text := range texts {
			if out[i].Err = e.Encoder.Check(text, options); out[i].Err == nil {
				good, at = append(good, text), append(at, i)
			}
		}
		matrices, err = e.Encoder.Encode(ctx, good, options)
	}
	if err != nil {
		return nil, err
	}
	for i, m := range matrices {
		if at != nil {
			i = at[i]
		}
		out[i] = e.matrix(m)
	}
	return out, nil
}

func (e TextEncoder) matrix(m encoder.Matrix) Matrix {
	out := Matrix{Tokens: make([]Token, len(m.Tokens)), Vectors: m.Vectors, Cut: m.Cut}
	weights := e.Encoder.QueryWeights(m.Tokens)
	for i, t := range m.Tokens {
		out.Tokens[i] = Token{Piece: e.Encoder.Tokenizer().Piece(t.ID), ID: uint32(t.ID), Span: t.Span, Weight: retrieval.UnitWeight}
		if weights != nil {
			out.Tokens[i].Weight = weights[i]
		}
	}
	return out
}

// tokens returns what is to become codes of a text that was encoded.
func (m *Matrix) tokens(text string, width int) Tokens {
	out := Tokens{Text: text, Vectors: m.Vectors, Width: width, Spans: make([]retrieval.Span, len(m.Tokens)), Weights: make([]uint16, len(m.Tokens))}
	for i, t := range m.Tokens {
		out.Spans[i], out.Weights[i] = t.Span, t.Weight
	}
	return out
}
