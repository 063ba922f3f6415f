package shard

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"ostraca/retrieval"
	"ostraca/retrieval/encoder"
)

// Sample is what a projection of a collection is to be fitted on: texts, or vectors. It is declared influence, and no part of the collection:
// nothing that is forgotten changes the projection.
type Sample struct {
	Name    string // told with the collection
	Texts   []string
	Vectors []float32 // rows of Width
	Width   int
}

// sampleTexts are encoded together, so that memory does not grow with the sample.
const sampleTexts = 64

// ProjectionFor returns a projection for a collection that is to be made: to c.Width, of the vectors of c.Encoder, or of vectors from outside
// where that is empty. It is fitted on the sample, or, where there is none, cut from the one that came with this router's encoder. Errors wrap
// retrieval.ErrInvalid and retrieval.ErrTooLarge. Fitting takes as long as encoding the sample, and then, uninterrupted, well below a second for
// 384 dimensions, 10 for 1,024 and 30 from 4,096 to 128.
func (r *Router) ProjectionFor(ctx context.Context, c Configuration, s Sample) (p encoder.Projection, err error) {
	e, from := r.options.Encoder, s.Width
	own := e != nil && c.Encoder == e.Hash()
	if own {
		from = e.Width()
	}
	switch none := len(s.Texts) == 0 && len(s.Vectors) == 0; {
	case len(s.Texts) > 0 && len(s.Vectors) > 0:
		err = fmt.Errorf("the sample is of texts and of vectors: give the one or the other: %w", retrieval.ErrInvalid)
	case c.Encoder != "" && !own:
		err = fmt.Errorf("encoder %.16s is not this router's: %w", c.Encoder, retrieval.ErrInvalid)
	case len(s.Texts) > 0 && !own:
		err = fmt.Errorf("the collection takes vectors from outside: give a sample of them, not of texts: %w", retrieval.ErrInvalid)
	case none && (!own || r.options.Projection.From() != from):
		err = fmt.Errorf("no projection comes with these vectors: give a sample to fit one on, or width %d: %w", max(from, c.VectorWidth()), retrieval.ErrInvalid)
	case none:
		p, err = r.options.Projection.Cut(c.Width)
	case c.Width < 1 || c.Width >= from:
		err = fmt.Errorf("the vectors have %d: it must be fewer, at least 1: %w", from, retrieval.ErrInvalid)
	case len(s.Vectors) > 0 && s.Width != from:
		err = fmt.Errorf("the sample's vectors are %d wide, the encoder's are %d: %w", s.Width, from, retrieval.ErrInvalid)
	default:
		p, err = r.fit(ctx, c.Width, from, s)
	}
	if err != nil {
		return encoder.Projection{}, fmt.Errorf("projection to %d dimensions: %w", c.Width, err)
	}
	return p, nil
}

// fit fits a projection, one at a time: it takes a core.
func (r *Router) fit(ctx context.Context, width, from int, s Sample) (p encoder.Projection, err error) {
	select {
	case r.fitting <- struct{}{}:
		defer func() { <-r.fitting }()
	case <-ctx.Done():
		return p, fmt.Errorf("another projection is being fitted: %w", ctx.Err())
	}
	f, err := encoder.NewFit(s.Name, from, width)
	if err != nil {
		return p, err
	}
	if err := f.Add(s.Vectors); err != nil {
		return p, fmt.Errorf("sample: %w", err)
	}
	first := 0
	for some := range slices.Chunk(s.Texts, sampleTexts) {
		matrices, err := r.options.Encoder.Encode(ctx, some, EncodeOptions{})
		if err != nil {
			return p, fmt.Errorf("sample: %w", err)
		}
		for i, m := range matrices {
			err := m.Err
			if err == nil {
				err = f.Add(m.Vectors)
			}
			if err != nil {
				return p, fmt.Errorf("text %d of the sample: %w", first+i, err)
			}
		}
		first += len(some)
	}
	return f.Projection(len(s.Texts))
}

// projectors keeps the projections of collections ready for use.
type projectors struct {
	mutex sync.Mutex
	ready map[string]*encoder.Projector
}

// of returns the projector of a collection, nil where it has none. With a new one the collections that are gone lose theirs.
func (p *projectors) of(collection string, projection encoder.Projection, m *Map) *encoder.Projector {
	if projection.IsZero() {
		return nil
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	j := p.ready[collection]
	if j == nil || j.Projection() != projection {
		maps.DeleteFunc(p.ready, func(name string, _ *encoder.Projector) bool { return m.Collections[name].Projection.IsZero() })
		if j = projection.Pack(nil); p.ready == nil {
			p.ready = map[string]*encoder.Projector{}
		}
		p.ready[collection] = j
	}
	return j
}
