package retrieval

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Span is a half-open range of bytes in a source text.
type Span struct {
	Start uint32 `json:"start"`
	End   uint32 `json:"end"`
}

// Codec names how vectors became codes. Codes of different codecs cannot meet: a change of the formula is another name.
type Codec string

// Int8 is the codec of docs/score.md, so far the only one.
const Int8 Codec = "int8"

// Codes are the quantised token vectors of one document, in the layout of docs/score.md.
type Codes struct {
	Codec  Codec
	Width  int      // dimensions of a vector
	Rows   []byte   // Len() rows of Stride(Width) bytes, each a code + 128, padded with 128
	Scales []uint16 // one a token, 1 to MaxScale
}

// Len returns the number of tokens.
func (c Codes) Len() int { return len(c.Scales) }

// Stride returns the bytes of a stored row: the width rounded up to a multiple of 4.
func Stride(width int) int { return (width + 3) &^ 3 }

// check reports why c is not codes of the given width, or nil.
func (c Codes) check(width int) error {
	n, stride := c.Len(), Stride(width)
	switch {
	case c.Codec != Int8 && (n > 0 || c.Codec != ""):
		return fmt.Errorf("codes of codec %q, only %q is known: %w", c.Codec, Int8, ErrInvalid)
	case n > MaxDocumentTokens:
		return fmt.Errorf("%d tokens, the limit is %d: %w", n, MaxDocumentTokens, ErrTooLarge)
	case c.Width != width && (n > 0 || c.Width != 0):
		return fmt.Errorf("vectors are %d wide, not %d: %w", c.Width, width, ErrInvalid)
	case len(c.Rows) != n*stride:
		return fmt.Errorf("%d bytes of codes for %d tokens of %d: %w", len(c.Rows), n, stride, ErrInvalid)
	case bytes.IndexByte(c.Rows, 0) >= 0:
		return fmt.Errorf("token %d has a code of -128: %w", bytes.IndexByte(c.Rows, 0)/stride, ErrInvalid)
	}
	for i, scale := range c.Scales {
		if scale < 1 || scale > MaxScale {
			return fmt.Errorf("token %d has scale %d, it must be 1 to %d: %w", i, scale, MaxScale, ErrInvalid)
		}
		for _, b := range c.Rows[i*stride+width : (i+1)*stride] {
			if b != 128 {
				return fmt.Errorf("token %d is padded with %d, it must be 128: %w", i, b, ErrInvalid)
			}
		}
	}
	return nil
}

// Document is what a memory holds: a text, what its owner said of it, and the codes of its tokens.
type Document struct {
	ID     string
	Text   string
	Fields map[string]any // the owner's own, as read from JSON
	Codes  Codes
	Spans  []Span // one a token, in bytes of Text; empty when the vectors came from outside
}

// Validate reports why d cannot be held among vectors of the given width, or nil. A document without tokens is valid: it
// is kept and in no answer. Errors wrap [ErrInvalid] or [ErrTooLarge].
func (d *Document) Validate(width int) error {
	if err := CheckID(d.ID); err != nil {
		return err
	}
	if len(d.Text) > MaxTextBytes {
		return fmt.Errorf("document %q: text has %d bytes, the limit is %d: %w", d.ID, len(d.Text), MaxTextBytes, ErrTooLarge)
	}
	if err := d.Codes.check(width); err != nil {
		return fmt.Errorf("document %q: %w", d.ID, err)
	}
	if len(d.Spans) != 0 && len(d.Spans) != d.Codes.Len() {
		return fmt.Errorf("document %q: %d spans for %d tokens: %w", d.ID, len(d.Spans), d.Codes.Len(), ErrInvalid)
	}
	for i, s := range d.Spans {
		if s.Start > s.End || uint64(s.End) > uint64(len(d.Text)) {
			return fmt.Errorf("document %q: span %d is %d to %d of %d bytes: %w", d.ID, i, s.Start, s.End, len(d.Text), ErrInvalid)
		}
	}
	return nil
}

// CheckID reports why an id cannot name a document, or nil: ids go into keys, paths and logs. Errors wrap [ErrInvalid] or
// [ErrTooLarge].
func CheckID(id string) error {
	switch {
	case id == "":
		return fmt.Errorf("id is empty: %w", ErrInvalid)
	case len(id) > MaxIDBytes:
		return fmt.Errorf("id %.40q... has %d bytes, the limit is %d: %w", id, len(id), MaxIDBytes, ErrTooLarge)
	case !utf8.ValidString(id):
		return fmt.Errorf("id %q is not UTF-8: %w", id, ErrInvalid)
	case strings.ContainsFunc(id, unicode.IsControl):
		return fmt.Errorf("id %q has a control character: %w", id, ErrInvalid)
	}
	return nil
}
