package encoder

import (
	"fmt"
	"slices"

	"ostraca/retrieval"
)

// Sources of conventions.
const (
	ours    = "ostraca"
	pylate  = "pylate"
	colbert = "colbert"
)

// Conventions are how a model wants its texts: what its files state, resolved to token ids. The zero value is ours (docs/encoder.md):
// no markers, no expansion, whole texts, [CLS] and [SEP] no part of MaxSim.
type Conventions struct {
	Source   string         `json:"source"` // ostraca, pylate or colbert
	Query    TextConvention `json:"query"`
	Document TextConvention `json:"document"`
	// Specials: [CLS], [SEP] and the markers have vectors and take part in MaxSim.
	Specials bool `json:"specials"`
	// Trim: white space around a text is dropped.
	Trim bool `json:"trim"`
	// Expand: a query is filled up to its length with the mask token, whose vectors take part in MaxSim.
	Expand bool `json:"expand"`
	// Attend: other tokens attend to the mask tokens of the expansion.
	Attend bool  `json:"attend"`
	Mask   int32 `json:"mask"` // token of the expansion
	// PadIsMask: the padding token, written out in a query, becomes the mask token.
	PadIsMask bool    `json:"pad_is_mask,omitempty"`
	Pad       int32   `json:"pad,omitempty"`
	Skip      []int32 `json:"skip,omitempty"` // tokens of a document that get no vector, in order
}

// TextConvention is what differs between queries and documents.
type TextConvention struct {
	Marker   string `json:"marker,omitempty"` // behind [CLS]; "" for none
	MarkerID int32  `json:"marker_id,omitempty"`
	Length   int    `json:"length,omitempty"` // most tokens, with [CLS], marker and [SEP]; 0: whole texts
}

// of returns what holds for a query or a document.
func (c *Conventions) of(query bool) TextConvention {
	if query {
		return c.Query
	}
	return c.Document
}

// specials returns how many tokens stand around a text.
func (t TextConvention) specials() int {
	if t.Marker != "" {
		return specials + 1
	}
	return specials
}

// maxSkip bounds the tokens that documents leave out.
const maxSkip = 1 << 12

// check demands that the conventions fit the model.
func (c *Conventions) check(positions, vocabulary int) error {
	wrong := func(format string, a ...any) error {
		return fmt.Errorf("conventions: %s: %w", fmt.Sprintf(format, a...), retrieval.ErrInvalid)
	}
	for i, t := range []TextConvention{c.Query, c.Document} {
		name := [...]string{"query", "document"}[i]
		if t.Length != 0 && (t.Length <= t.specials() || t.Length > positions) {
			return wrong("a %s of %d tokens; with this model it must be %d to %d, [CLS], marker and [SEP] counted", name, t.Length, t.specials()+1, positions)
		}
		if t.MarkerID < 0 || int(t.MarkerID) >= vocabulary {
			return wrong("the %s marker %q has the id %d, the model has %d", name, t.Marker, t.MarkerID, vocabulary)
		}
	}
	for _, id := range append([]int32{c.Mask, c.Pad}, c.Skip...) {
		if id < 0 || int(id) >= vocabulary {
			return wrong("token %d, the model has %d", id, vocabulary)
		}
	}
	switch {
	case len(c.Skip) > maxSkip:
		return wrong("%d tokens are left out, the limit is %d", len(c.Skip), maxSkip)
	case !slices.IsSorted(c.Skip):
		return wrong("the tokens left out are not in order")
	case (c.Expand || c.Document.Length > 0) && (c.Query.Length == 0 || c.Document.Length == 0):
		return wrong("lengths of queries and documents must both be stated")
	case !c.Specials && (c.Expand || c.Query.Marker != "" || c.Document.Marker != "" || len(c.Skip) > 0):
		return wrong("markers, expansion or a skiplist without vectors of special tokens")
	}
	return nil
}
