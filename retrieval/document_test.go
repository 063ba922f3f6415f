package retrieval

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

// document returns a valid document of n tokens of width 6.
func document(n int) Document {
	c := Codes{Codec: Int8, Width: 6, Rows: bytes.Repeat([]byte{128}, n*Stride(6)), Scales: slices.Repeat([]uint16{MaxScale}, n)}
	return Document{ID: "a", Text: "text", Codes: c}
}

func TestDocumentValidate(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Document)
		want   error
	}{
		"as it is":          {func(d *Document) {}, nil},
		"no tokens":         {func(d *Document) { *d = document(0) }, nil},
		"codec":             {func(d *Document) { d.Codes.Codec = "5bit" }, ErrInvalid},
		"no codes at all":   {func(d *Document) { d.Codes = Codes{} }, nil},
		"most tokens":       {func(d *Document) { *d = document(MaxDocumentTokens) }, nil},
		"too many tokens":   {func(d *Document) { *d = document(MaxDocumentTokens + 1) }, ErrTooLarge},
		"spans, any order":  {func(d *Document) { d.Spans = []Span{{3, 4}, {0, 2}, {4, 4}} }, nil},
		"empty spans":       {func(d *Document) { d.Spans = []Span{} }, nil},
		"spans missing":     {func(d *Document) { d.Spans = []Span{{0, 1}} }, ErrInvalid},
		"span backwards":    {func(d *Document) { d.Spans = []Span{{0, 1}, {2, 1}, {1, 2}} }, ErrInvalid},
		"span past text":    {func(d *Document) { d.Spans = []Span{{0, 1}, {2, 5}, {1, 2}} }, ErrInvalid},
		"id with anything":  {func(d *Document) { d.ID = "a b/c#1 é 🏺" }, nil},
		"id empty":          {func(d *Document) { d.ID = "" }, ErrInvalid},
		"id longest":        {func(d *Document) { d.ID = strings.Repeat("x", MaxIDBytes) }, nil},
		"id too long":       {func(d *Document) { d.ID = strings.Repeat("x", MaxIDBytes+1) }, ErrTooLarge},
		"id not UTF-8":      {func(d *Document) { d.ID = "a\xff" }, ErrInvalid},
		"id with newline":   {func(d *Document) { d.ID = "a\nb" }, ErrInvalid},
		"id with NUL":       {func(d *Document) { d.ID = "a\x00" }, ErrInvalid},
		"text longest":      {func(d *Document) { d.Text = strings.Repeat("x", MaxTextBytes) }, nil},
		"text too long":     {func(d *Document) { d.Text = strings.Repeat("x", MaxTextBytes+1) }, ErrTooLarge},
		"width":             {func(d *Document) { d.Codes.Width = 8 }, ErrInvalid},
		"rows short":        {func(d *Document) { d.Codes.Rows = d.Codes.Rows[1:] }, ErrInvalid},
		"rows but no scale": {func(d *Document) { d.Codes.Scales = nil }, ErrInvalid},
		"scale 0":           {func(d *Document) { d.Codes.Scales[1] = 0 }, ErrInvalid},
		"scale too large":   {func(d *Document) { d.Codes.Scales[1] = MaxScale + 1 }, ErrInvalid},
		"code -128":         {func(d *Document) { d.Codes.Rows[9] = 0 }, ErrInvalid},
		"padding":           {func(d *Document) { d.Codes.Rows[15] = 129 }, ErrInvalid},
	} {
		d := document(3)
		c.change(&d)
		if err := d.Validate(6); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
