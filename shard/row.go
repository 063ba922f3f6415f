package shard

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"ostraca/retrieval"
	"ostraca/retrieval/encoder"
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
	n := len(d.Text) + len(d.Fields) + len(d.Codes.Codec) + len(d.Codes.Rows) + 2*d.Codes.Len()
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

// indexed returns d as the index checks it.
func (d *Document) indexed() *retrieval.Document {
	return &retrieval.Document{ID: d.ID, Text: d.Text, Codes: d.Codes, Spans: d.Spans}
}

// appendRow appends the row of docs/state.md.
func appendRow(b []byte, d *Document) []byte {
	b = slices.Grow(b, len(d.Text)+len(d.Fields)+len(d.Codes.Rows)+2*d.Codes.Len()+8*len(d.Spans)+64)
	b = appendString(b, d.Text)
	b = appendString(b, d.Fields)
	b = appendString(b, string(d.Codes.Codec))
	b = binary.AppendUvarint(b, uint64(d.Codes.Width))
	b = binary.AppendUvarint(b, uint64(d.Codes.Len()))
	b = append(b, d.Codes.Rows...)
	for _, s := range d.Codes.Scales {
		b = binary.LittleEndian.AppendUint16(b, s)
	}
	b = binary.AppendUvarint(b, uint64(len(d.Spans)))
	for _, s := range d.Spans {
		b = binary.AppendUvarint(b, uint64(s.Start))
		b = binary.AppendUvarint(b, uint64(s.End-s.Start))
	}
	return b
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
	d := Document{ID: id, Text: r.string(retrieval.MaxTextBytes, "text"), Fields: r.bytes(MaxFieldsBytes, "fields")}
	if len(d.Fields) == 0 {
		d.Fields = nil
	}
	d.Codes.Codec = retrieval.Codec(r.string(16, "codec"))
	d.Codes.Width = int(r.uvarint(retrieval.MaxWidth, "width"))
	tokens := r.uvarint(retrieval.MaxDocumentTokens, "tokens")
	d.Codes.Rows = r.take(tokens*uint64(retrieval.Stride(d.Codes.Width)), "codes")
	scales := r.take(2*tokens, "scales")
	d.Codes.Scales = make([]uint16, len(scales)/2)
	for i := range d.Codes.Scales {
		d.Codes.Scales[i] = binary.LittleEndian.Uint16(scales[2*i:])
	}
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

// found makes an answer of a document's rows, and tells the bytes that it takes. Nothing of the rows is kept.
func found(id string, row, version []byte, codes bool) (Found, int, error) {
	d, err := parseRow(id, row)
	if err == nil && len(version) != 8 {
		err = fmt.Errorf("version of document %q has %d bytes: %w", id, len(version), retrieval.ErrCorrupt)
	}
	if err != nil {
		return Found{}, 0, err
	}
	d.Fields = slices.Clone(d.Fields)
	if codes {
		d.Codes.Rows = slices.Clone(d.Codes.Rows)
	} else {
		d.Codes = retrieval.Codes{}
	}
	size := len(id) + len(d.Text) + len(d.Fields) + len(d.Codes.Rows) + 2*len(d.Codes.Scales) + 8*len(d.Spans) + 32
	return Found{d, binary.BigEndian.Uint64(version)}, size, nil
}

// appendConfiguration appends the configuration of docs/state.md.
func appendConfiguration(b []byte, c Configuration) []byte {
	b = append(b, c.Key[:]...)
	b = appendString(b, string(c.Codec))
	b = binary.AppendUvarint(b, uint64(c.Width))
	b = appendString(b, c.Encoder)
	b = binary.AppendUvarint(b, c.Epoch)
	return append(b, c.Projection.Bytes()...)
}

// configuration reads one, to the end, without checking what it means.
func (r *reader) configuration() Configuration {
	var c Configuration
	copy(c.Key[:], r.take(32, "key"))
	c.Codec = retrieval.Codec(r.string(16, "codec"))
	c.Width = int(r.uvarint(retrieval.MaxWidth, "width"))
	c.Encoder = r.string(64, "encoder")
	c.Epoch = r.uvarint(maxEpoch, "epoch")
	if len(r.rest) > 0 { // so that those without one are as they were before there were any
		var err error
		if c.Projection, err = encoder.ParseProjection(r.rest); err != nil {
			r.fail("configuration: %v", err)
		}
		r.rest = nil
	}
	return c
}

// parseConfiguration reads and checks one.
func parseConfiguration(b []byte) (Configuration, error) {
	r := reader{rest: b}
	c := r.configuration()
	if err := r.end("configuration"); err != nil {
		return Configuration{}, err
	}
	return c, c.check()
}
