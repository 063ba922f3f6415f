package shard

import (
	"context"
	"fmt"

	"ostraca/retrieval"
	"ostraca/retrieval/encoder"
	"ostraca/retrieval/index"
)

// Input is a document before it is in a collection's codes. With codes or vectors these are taken, else the text is encoded.
type Input struct {
	ID, Text  string
	Fields    []byte // a JSON object, or nothing
	Condition Condition
	Vectors   []float32 // rows of Width, of any length but 0
	Width     int
	Codes     retrieval.Codes
	Spans     []retrieval.Span // in Text, one a row of vectors or codes, or none
}

// Prepared is an input in a collection's codes: a put, or why there is none.
type Prepared struct {
	Operation
	Tokens int // of the document
	Cut    int // tokens of its text that were left out
	Err    error
}

// AskOptions of a question.
type AskOptions struct {
	K          int              // hits wanted
	MaxTokens  int              // the text is cut to; 0: the encoder's own setting
	Unweighted bool             // all tokens weigh alike
	Target     retrieval.Target // share of the exact answer to find; zero: all of it
	Plan       retrieval.Plan   // instead of the one that the collection has for the target
}

// plan returns how the answer is to be found.
func (c target) plan(o AskOptions) (retrieval.Plan, error) {
	if o.Plan.Exact() {
		return c.Plan(o.Target, o.K), nil
	}
	if o.Target != retrieval.Exact {
		return o.Plan, fmt.Errorf("there are a recall target and a plan: give the one or the other: %w", retrieval.ErrInvalid)
	}
	return o.Plan, o.Plan.Validate()
}

// Question is a query, and the tokens of the text that it was made of; none where it came as vectors.
type Question struct {
	*retrieval.Query
	Tokens []Token
	Err    error // of AskAll: why this text has no query
}

// Prepare makes puts of inputs, in the codes of a collection's present epoch. Texts are cut to maxTokens; 0 is the encoder's own setting. What is
// wrong with one input is in its own Err; an error concerns all.
//
// Texts are encoded where the collection is of this router's encoder. Vectors must be as wide as those that the encoder would give, or as the
// collection was told; codes as wide as the collection.
func (r *Router) Prepare(ctx context.Context, collection string, in []Input, maxTokens int) ([]Prepared, error) {
	if len(in) > MaxBatch {
		return nil, fmt.Errorf("prepare: %d documents, the limit is %d: %w", len(in), MaxBatch, retrieval.ErrTooLarge)
	}
	c, err := r.collection(ctx, collection)
	if err != nil {
		return nil, fmt.Errorf("prepare: %w", err)
	}
	matrices, err := r.encode(ctx, c, in, maxTokens)
	if err != nil {
		return nil, fmt.Errorf("prepare: %w", err)
	}
	out := make([]Prepared, len(in))
	for i := range in {
		if err := c.prepare(&out[i], &in[i], matrices[i]); err != nil {
			out[i] = Prepared{Err: fmt.Errorf("prepare: %w", err)}
		}
	}
	return out, nil
}

// encode encodes the inputs that are texts; the others have no matrix.
func (r *Router) encode(ctx context.Context, c target, in []Input, maxTokens int) ([]*Matrix, error) {
	var texts []string
	var at []int
	out := make([]*Matrix, len(in))
	for i := range in {
		if in[i].Encoded() {
			continue
		}
		if err := r.encodes(c); err != nil {
			out[i] = &Matrix{Err: err}
			continue
		}
		texts, at = append(texts, in[i].Text), append(at, i)
	}
	if len(texts) == 0 {
		return out, nil
	}
	matrices, err := r.options.Encoder.Encode(ctx, texts, EncodeOptions{MaxTokens: maxTokens})
	if err != nil {
		return nil, err
	}
	for i := range matrices {
		out[at[i]] = &matrices[i]
	}
	return out, nil
}

// Encoded tells whether an input is there as vectors or codes.
func (in *Input) Encoded() bool {
	return len(in.Vectors) > 0 || in.Width != 0 || in.Codes.Codec != "" || in.Codes.Len() > 0
}

// target is a collection to write into or to ask.
type target struct {
	Configuration
	name      string
	projector *encoder.Projector // nil where vectors are not projected
}

// prepare makes a put of an input; m is its text, encoded, or nil.
func (c target) prepare(out *Prepared, in *Input, m *Matrix) (err error) {
	d := Document{ID: in.ID, Text: in.Text}
	if m != nil {
		out.Cut = m.Cut
	}
	if d.Codes, d.Spans, err = c.codes(in, m); err == nil {
		d.Fields, err = CanonicalFields(in.Fields)
	}
	if err != nil {
		return fmt.Errorf("document %.40q: %w", in.ID, err)
	}
	out.Tokens = d.Codes.Len()
	out.Operation = Operation{Collection: c.name, Body: &Put{Condition: in.Condition, Epoch: c.Epoch, Document: d}}
	return out.check()
}

// codes returns the codes of an input, which must have one source of them, and the spans of their tokens.
func (c target) codes(in *Input, m *Matrix) (none retrieval.Codes, _ []retrieval.Span, err error) {
	vectors, coded := len(in.Vectors) > 0 || in.Width != 0, in.Codes.Codec != "" || in.Codes.Len() > 0
	switch {
	case vectors && coded:
		return none, nil, fmt.Errorf("there are vectors and codes: give the one or the other: %w", retrieval.ErrInvalid)
	case m != nil && m.Err != nil:
		return none, nil, m.Err
	case m != nil && len(in.Spans) > 0:
		return none, nil, fmt.Errorf("there are spans without vectors or codes: a text that is encoded has its own: %w", retrieval.ErrInvalid)
	case m != nil:
		return c.quantize(m.tokens(in.Text, c.VectorWidth()))
	case vectors:
		if err := c.fits(in.Width); err != nil {
			return none, nil, err
		}
		return c.quantize(Tokens{Text: in.Text, Vectors: in.Vectors, Width: in.Width, Spans: in.Spans})
	}
	codes, err := c.given(in)
	return codes, in.Spans, err
}

// given returns codes as they came, with what is pooled of them. Of codes of 8 bits that is always made anew: it is a function of them.
func (c target) given(in *Input) (none retrieval.Codes, err error) {
	codes := in.Codes.Bare()
	switch {
	case codes.Codec != c.Codec:
		return none, fmt.Errorf("codes are of codec %q, collection %q holds %q: %w", codes.Codec, c.name, c.Codec, retrieval.ErrInvalid)
	case codes.Width != c.Width:
		return none, fmt.Errorf("codes are %d wide, collection %q has %d: %w", codes.Width, c.name, c.Width, retrieval.ErrInvalid)
	case codes.Codec != retrieval.Int8 && !codes.Pooled():
		return none, fmt.Errorf("codes of codec %q without clusters, coarse and sketch, which they are nothing without: %w", codes.Codec, retrieval.ErrInvalid)
	}
	bare := retrieval.Document{ID: in.ID, Text: in.Text, Codes: codes, Spans: in.Spans}
	if err := bare.Validate(c.Width); err != nil {
		return none, err
	}
	return index.Pool(codes), nil
}

// suits reports why the collection cannot be of an encoder, or nil.
func (c target) suits(e Encoder) error {
	if c.Reduction.Keep > 0 && !e.Weighs() {
		return fmt.Errorf("%g of the tokens are to be kept, by the encoder's weights, and encoder %.16s has none: leave the share out, or take another encoder: %w", c.Reduction.Share(), e.Hash(), retrieval.ErrInvalid)
	}
	return c.fits(e.Width())
}

// fits tells whether vectors of a width can be the collection's.
func (c target) fits(width int) error {
	if width != c.VectorWidth() {
		return fmt.Errorf("vectors are %d wide, collection %q takes %d: %w", width, c.name, c.VectorWidth(), retrieval.ErrInvalid)
	}
	return nil
}

// quantize returns the codes of tokens, as many as the collection keeps of them, and their spans.
func (c target) quantize(x Tokens) (none retrieval.Codes, _ []retrieval.Span, err error) {
	if len(x.Vectors) > retrieval.MaxDocumentTokens*x.Width {
		return none, nil, fmt.Errorf("%d tokens, the limit is %d: %w", len(x.Vectors)/x.Width, retrieval.MaxDocumentTokens, retrieval.ErrTooLarge)
	}
	if x, err = c.Reduction.Apply(x, c.project); err != nil {
		return none, nil, err
	}
	codes, err := index.Quantize(c.Codec, x.Vectors, c.Width)
	if err != nil {
		return none, nil, err
	}
	return index.Pool(codes), x.Spans, nil
}

// project returns vectors of the collection's width.
func (c target) project(vectors []float32) ([]float32, error) {
	if c.projector == nil {
		return vectors, nil
	}
	return c.projector.Apply(vectors)
}

// Ask makes a query of a text, in the codes of a collection.
func (r *Router) Ask(ctx context.Context, collection, text string, o AskOptions) (*Question, error) {
	all, err := r.AskAll(ctx, collection, []string{text}, o)
	if err != nil {
		return nil, err
	}
	return &all[0], all[0].Err
}

// AskAll makes a query of each text, encoded together. What is wrong with one text is in its own Err; an error concerns all.
func (r *Router) AskAll(ctx context.Context, collection string, texts []string, o AskOptions) ([]Question, error) {
	c, err := r.collection(ctx, collection)
	if err == nil {
		err = r.encodes(c)
	}
	if err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	matrices, err := r.options.Encoder.Encode(ctx, texts, EncodeOptions{Query: true, MaxTokens: o.MaxTokens})
	if err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	out := make([]Question, len(texts))
	for i, m := range matrices {
		if m.Err != nil {
			out[i].Err = fmt.Errorf("ask: %w", m.Err)
			continue
		}
		var weights []uint16
		for _, t := range m.Tokens {
			if !o.Unweighted {
				weights = append(weights, t.Weight)
			}
		}
		out[i].Tokens = m.Tokens
		out[i].Query, out[i].Err = c.ask(m.Vectors, r.options.Encoder.Width(), weights, o)
	}
	return out, nil
}

// AskVectors makes a query of vectors, rows of width, in the codes of a collection. They must be as wide as those of its documents were, and
// weigh alike.
func (r *Router) AskVectors(ctx context.Context, collection string, vectors []float32, width int, o AskOptions) (*Question, error) {
	c, err := r.collection(ctx, collection)
	if err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	q, err := c.ask(vectors, width, nil, o)
	return &Question{Query: q}, err
}

func (c target) ask(vectors []float32, width int, weights []uint16, o AskOptions) (q *retrieval.Query, err error) {
	if err = c.fits(width); err == nil {
		vectors, err = c.project(vectors)
	}
	if err == nil {
		q, err = index.QuantizeQuery(c.Codec, vectors, c.Width, weights, o.K)
	}
	if err == nil {
		q.Plan, err = c.plan(o)
	}
	if err != nil {
		err = fmt.Errorf("ask: %w", err)
	}
	return q, err
}

// Configuration returns what a collection is, as the router knows it. Errors wrap retrieval.ErrNotFound, and ErrUnavailable where no node has told
// the placement yet.
func (r *Router) Configuration(ctx context.Context, name string) (Configuration, error) {
	r.look(ctx)
	c, err := r.collection(ctx, name)
	return c.Configuration, err
}

// collection returns what the router knows of a collection, after a look if it knows none.
func (r *Router) collection(ctx context.Context, name string) (target, error) {
	_, ctx, cancel, err := r.ready(ctx)
	if err != nil {
		return target{}, err
	}
	defer cancel()
	c, ok := r.Map().Collections[name]
	if !ok {
		r.look(ctx)
		if c, ok = r.Map().Collections[name]; !ok {
			return target{}, fmt.Errorf("collection %.*q: %w", MaxCollectionBytes, name, retrieval.ErrNotFound)
		}
	}
	return target{c, name, r.projectors.of(name, c.Projection, r.Map())}, nil
}

// encodes reports why this router cannot encode for a collection, or nil.
func (r *Router) encodes(c target) error {
	switch e := r.options.Encoder; {
	case c.Encoder == "":
		return fmt.Errorf("collection %q takes vectors or codes, not texts: it was made without an encoder: %w", c.name, retrieval.ErrInvalid)
	case e == nil:
		return fmt.Errorf("collection %q is of encoder %.16s, and this router has none: %w", c.name, c.Encoder, retrieval.ErrInvalid)
	case c.Encoder != e.Hash():
		return fmt.Errorf("collection %q is of encoder %.16s, this router has %.16s: %w", c.name, c.Encoder, e.Hash(), retrieval.ErrInvalid)
	default:
		return c.suits(e)
	}
}
