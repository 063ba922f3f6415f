package index

import (
	"fmt"
	"slices"
	"unsafe"

	"ostraca/retrieval"
)

// Builder makes an index of many documents in one go: one segment, nothing of which is copied again. It is for one goroutine; what takes the time, [Quantize] and [Pool],
// can be done by others.
type Builder struct {
	index *Index
	g     *segment
}

// NewBuilder starts an index for about so many documents and tokens, as [New] does. Where there are not more, the memory of the index is all that is taken.
func NewBuilder(width int, o Options, documents, tokens int) (*Builder, error) {
	x, err := New(width, o)
	if err != nil {
		return nil, err
	}
	documents, tokens = max(0, documents), max(0, tokens)
	sketch := min(tokens, tokens/retrieval.SketchTokens+documents) // at most: pages that are not written take no memory
	coarse := min(tokens, tokens/x.codec.Pool(width)+sketch)
	g := newSegment(x.codec, width, size{documents, tokens, coarse, sketch}, x.memory)
	return &Builder{x, g}, nil
}

// Add appends a document, whose id must come after all before it. Its codes are copied. Errors are those of [Index.Put]; also retrieval.ErrInvalid for an id out of order,
// and retrieval.ErrTooLarge where a segment cannot count more tokens.
func (b *Builder) Add(d retrieval.Document) error {
	d, err := b.index.admitted(d)
	if err != nil {
		return err
	}
	if n := len(b.g.records); n > 0 && b.g.records[n-1].id >= d.ID {
		return fmt.Errorf("document %q after %q: a builder takes them by id: %w", d.ID, b.g.records[n-1].id, retrieval.ErrInvalid)
	}
	if len(b.g.fine.scales)+d.Codes.Len() >= maxSegmentRows {
		return fmt.Errorf("document %q: more than %d tokens: %w", d.ID, maxSegmentRows-1, retrieval.ErrTooLarge)
	}
	b.g.append(d)
	return nil
}

// Index returns the index of all that was added. The builder must not be used any more.
func (b *Builder) Index() *Index {
	b.g.enlist(b.index.centroids)
	b.g.measure()
	b.index.hold(b.g)
	return b.index
}

// admitted returns a document as a segment can hold it, or an error that says why the index cannot.
func (x *Index) admitted(d retrieval.Document) (retrieval.Document, error) {
	if err := d.Validate(x.width); err != nil {
		return d, err
	}
	if d.Codes.Codec != x.codec && d.Codes.Codec != "" {
		return d, fmt.Errorf("document %q: codes of codec %q, the index holds %q: %w", d.ID, d.Codes.Codec, x.codec, retrieval.ErrInvalid)
	}
	if !d.Codes.Pooled() {
		d.Codes = Pool(d.Codes)
	}
	d.Fields, d.Spans = copyFields(d.Fields), slices.Clone(d.Spans)
	return d, nil
}

// append adds a document behind all others.
func (g *segment) append(d retrieval.Document) {
	g.fine.add(d.Codes.Rows, d.Codes.Scales)
	g.coarse.add(d.Codes.Coarse.Rows, d.Codes.Coarse.Scales)
	g.sketch.add(d.Codes.Sketch.Rows, d.Codes.Sketch.Scales)
	g.cluster = append(g.cluster, d.Codes.Clusters...)
	scale := uint16(0)
	if d.Codes.Len() > 0 {
		scale = d.Codes.Sketch.Scales[0]
	}
	g.shared = append(g.shared, scale)
	g.records = append(g.records, record{id: d.ID, text: d.Text, fields: d.Fields, spans: d.Spans})
}

// measure counts the bytes of all documents.
func (g *segment) measure() {
	sketches, places := g.members.sizes()
	g.bytes = g.fine.size() + g.coarse.size() + g.sketch.size() + len(g.cluster) + sketches + places + len(g.records)*(2+int(unsafe.Sizeof(record{})))
	for _, r := range g.records {
		g.bytes += len(r.id) + len(r.text) + len(r.spans)*int(unsafe.Sizeof(retrieval.Span{}))
	}
}

// Tiers returns the memory that vectors take, those of dead documents included that are still there.
func (x *Index) Tiers() (b retrieval.Bytes) {
	for _, p := range x.snapshot() {
		tiers := []*tier{&p.sketch, &p.coarse, &p.fine}
		for i, to := range []*int64{&b.Sketch, &b.Coarse, &b.Fine} {
			*to += int64(len(tiers[i].rows) + 2*len(tiers[i].scales))
			b.Starts += int64(4 * len(tiers[i].starts))
		}
		b.Fine += int64(len(p.cluster))
		sketches, places := p.members.sizes()
		b.Sketch += int64(sketches)
		b.Starts += int64(2*len(p.shared) + places)
	}
	return b
}
