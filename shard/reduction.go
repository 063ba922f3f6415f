package shard

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"ostraca/retrieval"
	"ostraca/retrieval/index"
)

// Reduction says how many token vectors of a document are kept before they become codes (docs/reduction.md). It is applied at the router, to
// vectors of the encoder and from outside; codes that come as codes are taken as they are. The zero value keeps all.
type Reduction struct {
	Pool            int  `json:",omitempty"` // one vector for every so many tokens, 2 to MaxPool; 0: one a token
	DropPunctuation bool `json:",omitempty"` // no tokens without a letter or a number
	Keep            int  `json:",omitempty"` // share of the tokens, those of the greatest weight, in thousandths, 1 to 999; 0: all of them
}

// MaxPool is how many tokens one vector may stand for.
const MaxPool = 16

// wholeShare is the share of all tokens.
const wholeShare = 1000

// NewReduction returns a reduction as people give it: pool 1 and share 1 are, as 0 is, none. A share is from 0 to 1, in thousandths. Errors wrap
// retrieval.ErrInvalid.
func NewReduction(pool int, dropPunctuation bool, share float64) (Reduction, error) {
	keep := math.Round(share * wholeShare)
	if !(share >= 0 && share <= 1) || math.Abs(share*wholeShare-keep) > 1e-6 {
		return Reduction{}, fmt.Errorf("the share of tokens to keep is %v, it must be .001 to 1, in thousandths: %w", share, retrieval.ErrInvalid)
	}
	if pool == 1 {
		pool = 0
	}
	r := Reduction{Pool: pool, DropPunctuation: dropPunctuation, Keep: int(keep) % wholeShare}
	return r, r.check()
}

func (r Reduction) check() error {
	switch {
	case r.Pool < 0 || r.Pool > MaxPool || r.Pool == 1: // 1 says what 0 does, and equal configurations have equal bytes
		return fmt.Errorf("pool is %d, it must be 2 to %d, or 0 for none: %w", r.Pool, MaxPool, retrieval.ErrInvalid)
	case r.Keep < 0 || r.Keep >= wholeShare:
		return fmt.Errorf("%d thousandths of the tokens are kept, it must be 1 to %d, or 0 for all: %w", r.Keep, wholeShare-1, retrieval.ErrInvalid)
	}
	return nil
}

// IsZero tells whether all tokens are kept.
func (r Reduction) IsZero() bool { return r == Reduction{} }

// Share returns the share of tokens that is kept by weight, 1 for all.
func (r Reduction) Share() float64 {
	return float64(cmp.Or(r.Keep, wholeShare)) / wholeShare
}

// String says what is done, in its order; nothing, nothing.
func (r Reduction) String() string {
	var out []string
	if r.DropPunctuation {
		out = append(out, "no punctuation")
	}
	if r.Keep > 0 {
		out = append(out, fmt.Sprintf("%g of the tokens kept", r.Share()))
	}
	if r.Pool > 0 {
		out = append(out, fmt.Sprintf("pooled by %d", r.Pool))
	}
	return strings.Join(out, ", ")
}

// append appends the bytes of docs/state.md.
func (r Reduction) append(b []byte) []byte {
	drop := byte(0)
	if r.DropPunctuation {
		drop = 1
	}
	b = append(binary.AppendUvarint(b, uint64(r.Pool)), drop)
	return binary.AppendUvarint(b, uint64(r.Keep))
}

// reduction reads one that is not zero: there are no bytes of none.
func (r *reader) reduction() Reduction {
	out := Reduction{Pool: int(r.uvarint(MaxPool, "pool"))}
	switch r.byte("punctuation") {
	case 0:
	case 1:
		out.DropPunctuation = true
	default:
		r.fail("punctuation is neither dropped nor kept")
	}
	if out.Keep = int(r.uvarint(wholeShare, "share")); out.IsZero() {
		r.fail("a reduction that reduces nothing")
	}
	return out
}

// Tokens are the token vectors of a document on their way to codes, with what is known of each. Spans and weights may be missing.
type Tokens struct {
	Text    string
	Vectors []float32        // rows of Width
	Width   int              // dimensions of a vector, at least 1
	Spans   []retrieval.Span // in Text, one a row
	Weights []uint16         // one a row: how much a token says
}

// Apply reduces tokens: punctuation goes, then the tokens of the least weight, and of the rest several become one, which has the span of its
// medoid. Before that last step their vectors are projected, where project is not nil. A document that has tokens keeps at least one, and where
// all are punctuation it keeps them. The result is a function of the arguments alone, on every CPU.
//
// Errors wrap retrieval.ErrInvalid: no whole rows, spans that are not one a row or not in the text; spans or weights that the reduction needs
// and that are missing.
func (r Reduction) Apply(x Tokens, project func([]float32) ([]float32, error)) (Tokens, error) {
	if !r.IsZero() {
		if err := r.suits(x); err != nil {
			return x, err
		}
		x = r.selected(x)
	}
	n := len(x.Vectors) / x.Width
	if project != nil {
		var err error
		if x.Vectors, err = project(x.Vectors); err != nil {
			return x, err
		}
	}
	if r.Pool == 0 || n == 0 {
		return x, nil
	}
	x.Width = len(x.Vectors) / n
	means, medoids, err := index.Reduce(x.Vectors, x.Width, r.Pool)
	if err != nil {
		return x, err
	}
	x.Vectors = means
	return x.at(medoids), nil
}

// suits reports what tokens lack for a reduction, or nil.
func (r Reduction) suits(x Tokens) error {
	n := len(x.Vectors) / x.Width
	switch {
	case len(x.Vectors)%x.Width != 0:
		return fmt.Errorf("%d floats are not rows of %d: %w", len(x.Vectors), x.Width, retrieval.ErrInvalid)
	case len(x.Spans) != 0 && len(x.Spans) != n:
		return fmt.Errorf("%d spans for %d tokens: %w", len(x.Spans), n, retrieval.ErrInvalid)
	case r.DropPunctuation && len(x.Spans) != n:
		return fmt.Errorf("the collection drops punctuation, and of vectors alone nothing tells which tokens that is: give the text and a span for each of them, or codes: %w", retrieval.ErrInvalid)
	case r.Keep > 0 && len(x.Weights) != n:
		return fmt.Errorf("the collection keeps %g of the tokens by the encoder's weights, and there are none: vectors from outside have no weights, give the text, or codes: %w", r.Share(), retrieval.ErrInvalid)
	}
	for i, s := range x.Spans {
		if s.Start > s.End || uint64(s.End) > uint64(len(x.Text)) {
			return fmt.Errorf("span %d is %d to %d of %d bytes: %w", i, s.Start, s.End, len(x.Text), retrieval.ErrInvalid)
		}
	}
	return nil
}

// selected returns the tokens that neither their text nor their weight leaves out.
func (r Reduction) selected(x Tokens) Tokens {
	all := len(x.Vectors) / x.Width
	rows := make([]int, 0, all)
	for i := range all {
		if !r.DropPunctuation || says(x.Text[x.Spans[i].Start:x.Spans[i].End]) {
			rows = append(rows, i)
		}
	}
	if len(rows) == 0 {
		for i := range all {
			rows = append(rows, i)
		}
	}
	if r.Keep > 0 {
		slices.SortStableFunc(rows, func(a, b int) int { return cmp.Compare(x.Weights[b], x.Weights[a]) })
		rows = rows[:(len(rows)*r.Keep+wholeShare-1)/wholeShare]
		slices.Sort(rows)
	}
	if len(rows) == all {
		return x
	}
	vectors := make([]float32, 0, len(rows)*x.Width)
	for _, i := range rows {
		vectors = append(vectors, x.Vectors[i*x.Width:(i+1)*x.Width]...)
	}
	x.Vectors = vectors
	return x.at(rows)
}

// at returns what is known of some rows; the vectors stay.
func (x Tokens) at(rows []int) Tokens {
	x.Spans, x.Weights = some(x.Spans, rows), some(x.Weights, rows)
	return x
}

// some returns the elements at some places, or nothing of nothing.
func some[T any](all []T, at []int) []T {
	if len(all) == 0 {
		return all
	}
	out := make([]T, len(at))
	for i, j := range at {
		out[i] = all[j]
	}
	return out
}

// says tells whether a token's text is more than punctuation: it has a letter, a number or a mark, which can be a token of its own in Indic
// scripts. Tokens that span nothing, such as [CLS], and bytes that are no character, as of one that several tokens share, are kept: it cannot be known.
func says(text string) bool {
	return text == "" || strings.ContainsFunc(text, func(c rune) bool {
		return c == utf8.RuneError || unicode.In(c, unicode.L, unicode.N, unicode.M)
	})
}
