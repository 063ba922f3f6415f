package shard

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"ostraca/retrieval"
)

// Document is what a shard holds. It differs from retrieval.Document in that its fields are bytes: what was put comes back to the digit.
type Document struct {
	ID     string
	Text   string
	Fields []byte // canonical JSON object, or empty
	Codes  retrieval.Codes
	Spans  []retrieval.Span // one a token, or none
}

// Found is a document and its version.
type Found struct {
	Document
	Version uint64
}

// check reports why d cannot be put, or nil: what passes can be read back from its row.
func (d *Document) check() error {
	if d.Codes.Width < 0 || d.Codes.Width > retrieval.MaxWidth {
		return fmt.Errorf("document %q: vectors are %d wide, the limit is %d: %w", d.ID, d.Codes.Width, retrieval.MaxWidth, retrieval.ErrInvalid)
	}
	if err := d.indexed().Validate(d.Codes.Width); err != nil {
		return err
	}
	if !d.Codes.Pooled() {
		return fmt.Errorf("document %q: codes without what is pooled of them, which a router adds: %w", d.ID, retrieval.ErrInvalid)
	}
	if err := checkFields(d.Fields); err != nil {
		return fmt.Errorf("document %q: %w", d.ID, err)
	}
	if n := rowBytes(d); n > MaxDocumentBytes {
		return fmt.Errorf("document %q has %d bytes, the limit is %d: %w", d.ID, n, MaxDocumentBytes, retrieval.ErrTooLarge)
	}
	return nil
}

// rowBytes returns the length of the row of d.
func rowBytes(d *Document) int {
	n := len(d.Text) + len(d.Fields) + len(d.Codes.Codec) + codesBytes(&d.Codes)
	number := func(x int) { n += (bits.Len64(uint64(x)|1) + 6) / 7 }
	for _, x := range []int{len(d.Text), len(d.Fields), len(d.Codes.Codec), d.Codes.Width, d.Codes.Len(), len(d.Spans)} {
		number(x)
	}
	for _, s := range d.Spans {
		number(int(s.Start))
		number(int(s.End - s.Start))
	}
	return n
}

// codesBytes returns the bytes that codes take in a row, without what says their kind and number.
func codesBytes(c *retrieval.Codes) int {
	n := len(c.Rows) + 2*c.Len() + len(c.Clusters) + len(c.Coarse.Rows) + 2*c.Coarse.Len() + len(c.Sketch.Rows)
	if c.Sketch.Len() > 0 {
		n += 2
	}
	return n
}

// indexed returns d as the index checks it.
func (d *Document) indexed() *retrieval.Document {
	return &retrieval.Document{ID: d.ID, Text: d.Text, Codes: d.Codes, Spans: d.Spans}
}

// appendRow appends the row of docs/state.md.
func appendRow(b []byte, d *Document) []byte {
	b = slices.Grow(b, len(d.Text)+len(d.Fields)+codesBytes(&d.Codes)+8*len(d.Spans)+64)
	b = appendString(b, d.Text)
	b = appendString(b, d.Fields)
	b = appendString(b, string(d.Codes.Codec))
	b = binary.AppendUvarint(b, uint64(d.Codes.Width))
	b = binary.AppendUvarint(b, uint64(d.Codes.Len()))
	b = appendCodes(b, &d.Codes)
	b = binary.AppendUvarint(b, uint64(len(d.Spans)))
	for _, s := range d.Spans {
		b = binary.AppendUvarint(b, uint64(s.Start))
		b = binary.AppendUvarint(b, uint64(s.End-s.Start))
	}
	return b
}

// appendCodes appends what depends on codec, width and number of tokens alone in its length.
func appendCodes(b []byte, c *retrieval.Codes) []byte {
	b = retrieval.AppendScales(append(b, c.Rows...), c.Scales)
	b = append(append(b, c.Clusters...), c.Coarse.Rows...)
	b = append(retrieval.AppendScales(b, c.Coarse.Scales), c.Sketch.Rows...)
	return retrieval.AppendScales(b, c.Sketch.Scales[:min(1, c.Sketch.Len())])
}

// parseRow reads a row; whether it may be held, the door has checked, and the index checks. Text, fields and codes stay in the row's
// memory where they can.
func parseRow(id string, row []byte) (Document, error) {
	d, err := readRow(id, row)
	if err != nil {
		return Document{}, fmt.Errorf("row of document %q: %w", id, err)
	}
	return d, nil
}

func readRow(id string, row []byte) (Document, error) {
	if len(row) > MaxDocumentBytes {
		return Document{}, fmt.Errorf("%d bytes, the limit is %d: %w", len(row), MaxDocumentBytes, retrieval.ErrTooLarge)
	}
	r := reader{rest: row}
	d := r.text(id)
	d.Codes.Codec = retrieval.Codec(r.string(16, "codec"))
	d.Codes.Width = int(r.uvarint(retrieval.MaxWidth, "width"))
	r.codes(&d.Codes, int(r.uvarint(retrieval.MaxDocumentTokens, "tokens")))
	switch n := r.uvarint(retrieval.MaxDocumentTokens, "spans"); {
	case 2*n > uint64(len(r.rest)):
		r.fail("%d spans in %d bytes", n, len(r.rest))
	case n > 0:
		d.Spans = make([]retrieval.Span, n)
	}
	for i := range d.Spans {
		start := r.uvarint(retrieval.MaxTextBytes, "span")
		d.Spans[i] = retrieval.Span{Start: uint32(start), End: uint32(start + r.uvarint(retrieval.MaxTextBytes, "span"))}
	}
	return d, r.end("row")
}

// text reads what stands in front of a row: what people read.
func (r *reader) text(id string) Document {
	d := Document{ID: id, Text: r.string(retrieval.MaxTextBytes, "text"), Fields: r.bytes(MaxFieldsBytes, "fields")}
	if len(d.Fields) == 0 {
		d.Fields = nil
	}
	return d
}

// codes reads those of so many tokens, whose codec and width are known.
func (r *reader) codes(c *retrieval.Codes, tokens int) {
	if tokens > 0 && c.Codec.Bits() == 0 {
		r.fail("codes of codec %q, known are %q", c.Codec, retrieval.Codecs)
	}
	if tokens == 0 || r.err != nil {
		c.Scales = []uint16{}
		return
	}
	stride, windows, coarse := retrieval.Stride(c.Width), retrieval.Windows(tokens), retrieval.Clusters(tokens, c.Codec.Pool(c.Width))
	c.Rows = r.take(uint64(tokens*c.Codec.RowBytes(c.Width)), "codes")
	c.Scales = r.scales(tokens, "scales")
	if c.Codec != retrieval.Int8 {
		c.Clusters = r.take(uint64(tokens), "clusters")
	}
	c.Coarse.Rows = r.take(uint64(coarse*stride), "coarse codes")
	c.Coarse.Scales = r.scales(coarse, "coarse scales")
	c.Sketch.Rows = r.take(uint64(windows*stride), "sketch codes")
	if one := r.scales(1, "sketch scale"); len(one) > 0 {
		c.Sketch.Scales = slices.Repeat(one, windows)
	}
}

func (r *reader) scales(n int, what string) []uint16 {
	return retrieval.ParseScales(r.take(2*uint64(n), what))
}

// rowFields returns the fields of a row, in its memory, without reading the rest.
func rowFields(id string, row []byte) ([]byte, error) {
	r := reader{rest: row}
	r.bytes(retrieval.MaxTextBytes, "text")
	fields := r.bytes(MaxFieldsBytes, "fields")
	if r.err != nil {
		return nil, fmt.Errorf("row of document %q: %w", id, r.err)
	}
	return fields, nil
}

// parseText reads a row's text and fields alone.
func parseText(id string, row []byte) (Document, error) {
	r := reader{rest: row}
	d := r.text(id)
	if r.err != nil {
		return Document{}, fmt.Errorf("row of document %q: %w", id, r.err)
	}
	return d, nil
}

// found makes an answer of a document's rows, with codes or without, and tells the bytes that it takes. Nothing of the rows is kept. Spans are of use
// to who has codes or alignments; without both they are passed over, for there is one a token.
func found(id string, row, version []byte, codes, spans bool) (Found, int, error) {
	parse := parseRow
	if !codes && !spans {
		parse = parseText
	}
	d, err := parse(id, row)
	if err == nil && len(version) != 8 {
		err = fmt.Errorf("version of document %q has %d bytes: %w", id, len(version), retrieval.ErrCorrupt)
	}
	if err != nil {
		return Found{}, 0, err
	}
	d.Fields = slices.Clone(d.Fields)
	if c := &d.Codes; codes {
		c.Rows, c.Clusters = slices.Clone(c.Rows), slices.Clone(c.Clusters)
		c.Coarse.Rows, c.Sketch.Rows = slices.Clone(c.Coarse.Rows), slices.Clone(c.Sketch.Rows)
	} else {
		d.Codes = retrieval.Codes{}
	}
	size := len(id) + len(d.Text) + len(d.Fields) + codesBytes(&d.Codes) + 8*len(d.Spans) + 32
	return Found{d, binary.BigEndian.Uint64(version)}, size, nil
}
