package dataset

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"slices"

	"ostraca/retrieval"
)

// Stored is a document on its way into a memory or out of it: with the codes of its tokens where an export wrote them.
type Stored struct {
	Document
	Codes *retrieval.Codes // nil: the text is to be encoded
	Spans []retrieval.Span // one a token; nil when unknown
	Line  int              // of the file, from 1
}

// Stream reads documents as [Documents] does, and two things more: it yields a [LineError] for a line that is no document, or has the
// id of one before it, and goes on; and it takes the codes and spans of lines that [StoredLine] wrote, whose text it leaves as it
// is, for the spans point into it. A text may have maxText bytes.
func Stream(path string, maxText int) iter.Seq2[Stored, error] {
	return func(yield func(Stored, error) bool) {
		file, err := corpus(path)
		if err != nil {
			yield(Stored{}, err)
			return
		}
		for r, err := range eachRecord(file, lines(file)) {
			s := Stored{Line: r.number}
			if err == nil {
				if err = r.stored(&s, maxText); err != nil {
					err = named(err, r.id)
				}
			}
			if !yield(s, err) || err != nil && !isLineError(err) {
				return
			}
		}
	}
}

// named tells a line's error whose line it is.
func named(err error, id string) error {
	if e, ok := err.(*LineError); ok {
		e.ID = id
	}
	return err
}

// codesJSON is the member codes of a line; bytes are base64.
type codesJSON struct {
	Codec  retrieval.Codec `json:"codec"`
	Width  int             `json:"width"`
	Rows   []byte          `json:"rows"`
	Scales []byte          `json:"scales"` // 16 bits a token, little-endian

	// What is pooled of them: of int8 it may be left out.
	Clusters     []byte `json:"clusters,omitempty"`
	Coarse       []byte `json:"coarse,omitempty"`
	CoarseScales []byte `json:"coarse_scales,omitempty"` // as scales
	Sketch       []byte `json:"sketch,omitempty"`
	SketchScale  uint16 `json:"sketch_scale,omitempty"` // of all of them
}

// codes returns what is written down, or why it cannot be codes.
func (c *codesJSON) codes() (*retrieval.Codes, error) {
	switch {
	case len(c.Scales)%2 != 0 || len(c.CoarseScales)%2 != 0:
		return nil, fmt.Errorf("codes: %d bytes of scales and %d of coarse_scales, want two a vector: %w", len(c.Scales), len(c.CoarseScales), retrieval.ErrInvalid)
	case c.Width < 1 || c.Width > retrieval.MaxWidth:
		return nil, fmt.Errorf("codes: they are %d wide, it must be 1 to %d: %w", c.Width, retrieval.MaxWidth, retrieval.ErrInvalid)
	}
	out := &retrieval.Codes{Codec: c.Codec, Width: c.Width, Rows: c.Rows, Scales: retrieval.ParseScales(c.Scales), Clusters: c.Clusters}
	if len(c.Coarse)+len(c.CoarseScales) > 0 {
		out.Coarse = retrieval.Pooled{Rows: c.Coarse, Scales: retrieval.ParseScales(c.CoarseScales)}
	}
	if len(c.Sketch) > 0 {
		out.Sketch = retrieval.Pooled{Rows: c.Sketch, Scales: slices.Repeat([]uint16{c.SketchScale}, len(c.Sketch)/retrieval.Stride(c.Width))}
	}
	return out, nil
}

func codesOf(c *retrieval.Codes) *codesJSON {
	out := &codesJSON{Codec: c.Codec, Width: c.Width, Rows: c.Rows, Scales: retrieval.AppendScales([]byte{}, c.Scales),
		Clusters: c.Clusters, Coarse: c.Coarse.Rows, CoarseScales: retrieval.AppendScales([]byte{}, c.Coarse.Scales), Sketch: c.Sketch.Rows}
	if c.Sketch.Len() > 0 {
		out.SketchScale = c.Sketch.Scales[0]
	}
	return out
}

// storedJSON is a line of an export: a document of the public contract, which a put over HTTP takes too.
type storedJSON struct {
	ID     string           `json:"id"`
	Text   string           `json:"text"`
	Fields map[string]any   `json:"fields,omitempty"`
	Codes  *codesJSON       `json:"codes,omitempty"`
	Spans  []retrieval.Span `json:"spans,omitempty"`
}

// stored takes a document, and its codes where they are, out of the record.
func (r record) stored(s *Stored, maxText int) (err error) {
	raw := r.rest["codes"]
	var c codesJSON
	if d := json.NewDecoder(bytes.NewReader(raw)); raw == nil || strict(d).Decode(&c) != nil || c.Codec == "" {
		s.Document, err = r.document(maxText) // a member of this name and of another shape is a field
		return err
	}
	delete(r.rest, "codes")
	delete(r.rest, "version") // of the document in the memory it came from
	row, err := r.row()
	if err != nil {
		return err
	}
	s.Document, s.Spans = row.Document, row.Spans
	if s.Codes, err = c.codes(); err != nil {
		return r.wrap(err)
	}
	d := retrieval.Document{ID: s.ID, Text: s.Text, Codes: *s.Codes, Spans: s.Spans}
	if err := d.Validate(c.Width); err != nil {
		return r.wrap(err)
	}
	return nil
}

func strict(d *json.Decoder) *json.Decoder {
	d.DisallowUnknownFields()
	return d
}

// StoredLine returns a document as a line, with its end, that [Stream] and [Documents] read: they trim the text of one without codes.
func StoredLine(s Stored) ([]byte, error) {
	out := storedJSON{ID: s.ID, Text: s.Text, Fields: s.Fields, Spans: s.Spans}
	if s.Codes != nil {
		out.Codes = codesOf(s.Codes)
	}
	return jsonLine(out)
}

// jsonLine writes an object as a line, with the end.
func jsonLine(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("%w: %w", err, retrieval.ErrInvalid)
	}
	if b.Len() > MaxLineBytes {
		return nil, fmt.Errorf("a line of %d bytes, the limit is %d: %w", b.Len(), MaxLineBytes, retrieval.ErrTooLarge)
	}
	return b.Bytes(), nil
}
