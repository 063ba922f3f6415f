package endpoint

import (
	"context"
	"fmt"

	"ostraca/api"
	"ostraca/retrieval"
	"ostraca/shard"
)

// encode turns texts into tokens. One that cannot be is an error of all: they would be encoded alike without it.
func (s *Service) encode(ctx context.Context, q *api.EncodeRequest) (*api.EncodeResponse, error) {
	if s.encoder == nil {
		return nil, fmt.Errorf("encode: this router has no encoder: %w", retrieval.ErrInvalid)
	}
	if err := atMost(len(q.GetTexts()), MaxEncode, "texts", "encode several batches"); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	width, bytes := s.encoder.Width(), 0
	out := &api.EncodeResponse{Encoder: s.encoder.Hash(), Width: uint32(width)}
	for first := 0; first < len(q.GetTexts()); {
		n := together(q.GetTexts()[first:])
		matrices, err := s.encoder.Encode(ctx, q.GetTexts()[first:first+n], shard.EncodeOptions{Query: q.GetQuery(), MaxTokens: int(q.GetMaxTokens())})
		if err != nil {
			return nil, fmt.Errorf("encode: %w", err)
		}
		for i, m := range matrices {
			if m.Err != nil {
				return nil, fmt.Errorf("encode: text %d: %w", first+i, m.Err)
			}
			if q.GetVectors() {
				if bytes += 4 * len(m.Vectors); bytes > api.MaxMessageBytes {
					return nil, fmt.Errorf("encode: the vectors of the first %d texts have %d bytes, the limit is %d: encode several batches: %w", first+i+1, bytes, api.MaxMessageBytes, retrieval.ErrTooLarge)
				}
			}
			out.Results = append(out.Results, toEncoded(m, width, q))
		}
		first += n
	}
	return out, nil
}

// together returns how many texts are encoded at once, from the first on.
func together(texts []string) int {
	bytes := 0
	for i, t := range texts {
		if bytes += len(t); i == chunkTexts || i > 0 && bytes > chunkTextBytes {
			return i
		}
	}
	return len(texts)
}

func toEncoded(m shard.Matrix, width int, q *api.EncodeRequest) *api.EncodedText {
	out := &api.EncodedText{TokensCut: uint32(m.Cut)}
	for i, t := range m.Tokens {
		e := &api.EncodedToken{Piece: toText(t.Piece), Span: toSpan(t.Span), Id: t.ID}
		if q.GetQuery() {
			e.Weight = float32(t.Weight) / retrieval.UnitWeight
		}
		if q.GetVectors() {
			e.Vector = m.Vectors[i*width : (i+1)*width]
		}
		out.Tokens = append(out.Tokens, e)
	}
	return out
}
