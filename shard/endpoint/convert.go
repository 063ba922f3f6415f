package endpoint

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/protobuf/types/known/structpb"

	"ostraca/api"
	"ostraca/retrieval"
	"ostraca/shard"
)

// fieldsOf returns the canonical JSON of fields.
func fieldsOf(fields *structpb.Struct) ([]byte, error) {
	if err := checkNumbers(structpb.NewStructValue(fields)); err != nil {
		return nil, err
	}
	raw, err := fields.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("fields: %v: %w", err, retrieval.ErrInvalid)
	}
	return shard.CanonicalFields(raw)
}

// checkNumbers refuses numbers that would not come back as they were meant.
func checkNumbers(v *structpb.Value) error {
	switch v := v.GetKind().(type) {
	case *structpb.Value_NumberValue:
		switch x := v.NumberValue; {
		case math.IsNaN(x) || math.IsInf(x, 0):
			return fmt.Errorf("fields hold %v, which is no JSON number: leave it out, or send null or a string: %w", x, retrieval.ErrInvalid)
		case math.Abs(x) >= 1<<53:
			return fmt.Errorf("fields hold the number %v: from 2^53 on a number cannot be told from its neighbours: send it as a string: %w", x, retrieval.ErrInvalid)
		}
	case *structpb.Value_ListValue:
		for _, e := range v.ListValue.GetValues() {
			if err := checkNumbers(e); err != nil {
				return err
			}
		}
	case *structpb.Value_StructValue:
		for name, e := range v.StructValue.GetFields() {
			if err := checkNumbers(e); err != nil {
				return fmt.Errorf("%.40q: %w", name, err)
			}
		}
	}
	return nil
}

// toFields is the way back.
func toFields(fields []byte) (*structpb.Struct, error) {
	if len(fields) == 0 {
		return nil, nil
	}
	out := &structpb.Struct{}
	if err := out.UnmarshalJSON(fields); err != nil {
		return nil, fmt.Errorf("fields: %v: %w", err, retrieval.ErrCorrupt)
	}
	return out, nil
}

// toDocument returns a document as it goes out. Text is UTF-8 there, whatever it was when it came by another way than this.
func toDocument(d *shard.Found, codes bool) (*api.Document, error) {
	fields, err := toFields(d.Fields)
	if err != nil {
		return nil, fmt.Errorf("document %q: %w", d.ID, err)
	}
	out := &api.Document{Id: d.ID, Text: toText(d.Text), Fields: fields, Version: d.Version}
	if codes {
		out.Codes = ToCodes(d.Codes.Bare())
		for _, s := range d.Spans {
			out.Spans = append(out.Spans, toSpan(s))
		}
	}
	return out, nil
}

// ToCodes returns codes as the contract has them.
func ToCodes(c retrieval.Codes) *api.Codes {
	out := &api.Codes{Codec: string(c.Codec), Width: uint32(c.Width), Rows: c.Rows, Scales: retrieval.AppendScales(nil, c.Scales),
		Clusters: c.Clusters, Coarse: c.Coarse.Rows, CoarseScales: retrieval.AppendScales(nil, c.Coarse.Scales), Sketch: c.Sketch.Rows}
	if c.Sketch.Len() > 0 {
		out.SketchScale = uint32(c.Sketch.Scales[0])
	}
	return out
}

func toText(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

func toSpan(s retrieval.Span) *api.Span { return &api.Span{Start: s.Start, End: s.End} }

// inputOf returns a document that is to be put.
func inputOf(d *api.PutDocument) (shard.Input, error) {
	in := shard.Input{ID: d.GetId(), Text: d.GetText()}
	if err := retrieval.CheckID(in.ID); err != nil {
		return in, err
	}
	if len(d.GetTokens()) > 0 && d.GetCodes() != nil {
		return in, fmt.Errorf("document %q has tokens and codes: give the one or the other: %w", in.ID, retrieval.ErrInvalid)
	}
	var err error
	if in.Fields, err = fieldsOf(d.GetFields()); err == nil {
		in.Condition, err = conditionOf(d.GetIfAbsent(), d.IfVersion)
	}
	if err == nil {
		in.Vectors, in.Width, err = vectorsOf(d.GetTokens())
	}
	if err == nil {
		in.Codes, err = CodesOf(d.GetCodes())
	}
	if err != nil {
		return in, fmt.Errorf("document %q: %w", in.ID, err)
	}
	for _, s := range d.GetSpans() {
		in.Spans = append(in.Spans, retrieval.Span{Start: s.GetStart(), End: s.GetEnd()})
	}
	return in, nil
}

func conditionOf(ifAbsent bool, ifVersion *uint64) (shard.Condition, error) {
	switch {
	case ifAbsent && ifVersion != nil:
		return shard.Condition{}, fmt.Errorf("if_absent and if_version cannot both hold: %w", retrieval.ErrInvalid)
	case ifAbsent:
		return shard.Condition{Kind: shard.IfAbsent}, nil
	case ifVersion != nil:
		return shard.Condition{Kind: shard.IfVersion, Version: *ifVersion}, nil
	}
	return shard.Condition{}, nil
}

// vectorsOf returns the rows of token vectors, one behind the other, and their width.
func vectorsOf(tokens []*api.Vector) ([]float32, int, error) {
	if len(tokens) == 0 {
		return nil, 0, nil
	}
	width := len(tokens[0].GetValues())
	out := make([]float32, 0, width*len(tokens))
	for i, t := range tokens {
		if n := len(t.GetValues()); n != width || n == 0 {
			return nil, 0, fmt.Errorf("the vector of token %d has %d values, that of token 0 has %d: all need as many, at least one: %w", i, n, width, retrieval.ErrInvalid)
		}
		out = append(out, t.GetValues()...)
	}
	return out, width, nil
}

// CodesOf returns the codes of a message, none of nil. Whether they are valid is for retrieval.Document.Validate to tell; errors wrap retrieval.ErrInvalid.
func CodesOf(c *api.Codes) (retrieval.Codes, error) {
	if c == nil {
		return retrieval.Codes{}, nil
	}
	switch {
	case len(c.GetScales())%2 != 0 || len(c.GetCoarseScales())%2 != 0:
		return retrieval.Codes{}, fmt.Errorf("scales have %d bytes and coarse_scales %d, they are 2 a vector: %w", len(c.GetScales()), len(c.GetCoarseScales()), retrieval.ErrInvalid)
	case c.GetWidth() > retrieval.MaxWidth || c.GetWidth() == 0 && len(c.GetSketch()) > 0:
		return retrieval.Codes{}, fmt.Errorf("codes are %d wide, it must be 1 to %d: %w", c.GetWidth(), retrieval.MaxWidth, retrieval.ErrInvalid)
	case c.GetSketchScale() > retrieval.MaxScale:
		return retrieval.Codes{}, fmt.Errorf("sketch_scale is %d, the limit is %d: %w", c.GetSketchScale(), retrieval.MaxScale, retrieval.ErrInvalid)
	}
	out := retrieval.Codes{Codec: retrieval.Codec(c.GetCodec()), Width: int(c.GetWidth()), Rows: c.GetRows(), Scales: retrieval.ParseScales(c.GetScales()), Clusters: c.GetClusters()}
	out.Coarse = retrieval.Pooled{Rows: c.GetCoarse(), Scales: retrieval.ParseScales(c.GetCoarseScales())}
	sketches := len(c.GetSketch()) / max(1, retrieval.Stride(out.Width))
	out.Sketch = retrieval.Pooled{Rows: c.GetSketch(), Scales: slices.Repeat([]uint16{uint16(c.GetSketchScale())}, sketches)}
	return out, nil
}

// toError says why one of several did not take effect.
func toError(err error) *api.Error {
	c, reason := shard.Reason(err)
	return &api.Error{Code: code.Code(c).String(), Reason: reason, Message: toText(err.Error())}
}

// toMatches returns how a hit's score came about. Tokens are the question's; there are none where it came as vectors.
func toMatches(q *shard.Question, asked string, h retrieval.Hit, text string, spans []retrieval.Span) []*api.Alignment {
	out := make([]*api.Alignment, 0, len(h.Alignments))
	for i, m := range q.Explain(h, text, spans) {
		a := &api.Alignment{Weight: m.Weight, Position: uint32(m.Position), Text: toText(m.Text), Span: toSpan(m.Span), Cosine: m.Cosine, Score: m.Score}
		if i < len(q.Tokens) {
			t := q.Tokens[i]
			a.QuerySpan, a.QueryToken = toSpan(t.Span), toText(asked[t.Span.Start:t.Span.End])
			if a.QueryToken == "" {
				a.QueryToken = t.Piece // of a model that adds tokens of its own
			}
		}
		out = append(out, a)
	}
	return out
}

func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
