package retrieval

import (
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
