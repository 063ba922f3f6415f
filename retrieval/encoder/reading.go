package encoder

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"ostraca/retrieval"
)

// reading is one text as the model reads it: every window of its pieces between the same head and tail. Of each token it knows the
// matrix's row for its vector, or -1.
type reading struct {
	matrix     *Matrix
	pieces     []Token
	rows       []int
	head, tail []int32 // [CLS] and marker; [SEP] and the masks of an expansion
	headRows   []int
	tailRows   []int
	hidden     int // tokens at the end of tail that no token attends to
	window     int // most pieces at once
}

// job is one window of one text.
type job struct {
	*reading
	window window
}

func (j job) tokens() int { return len(j.head) + j.window.end - j.window.start + len(j.tail) }

// sequence is what the model reads.
func (j job) sequence() sequence {
	ids := make([]int32, 0, j.tokens())
	ids = append(ids, j.head...)
	for _, t := range j.pieces[j.window.start:j.window.end] {
		ids = append(ids, t.ID)
	}
	ids = append(ids, j.tail...)
	return sequence{ids, len(ids) - j.hidden}
}

// keep copies the vectors that the window speaks for, out of the rows that its sequence became.
func (j job) keep(vectors []float32, width int) {
	put := func(row, at int) {
		if row >= 0 {
			copy(j.matrix.Vectors[row*width:][:width], vectors[at*width:])
		}
	}
	w, first := j.window, len(j.head)
	if w.start == 0 {
		copy(j.matrix.Pooled, vectors[:width])
		for i, row := range j.headRows {
			put(row, i)
		}
	}
	for i := w.ownStart; i < w.ownEnd; i++ {
		put(j.rows[i], first+i-w.start)
	}
	if w.end == len(j.pieces) {
		for i, row := range j.tailRows {
			put(row, first+w.end-w.start+i)
		}
	}
}

// read tokenizes a text, gives it its length, and makes room for its vectors.
func (e *Encoder) read(m *Matrix, text string, o Options) (*reading, error) {
	if len(text) > retrieval.MaxTextBytes {
		return nil, fmt.Errorf("%d bytes, the limit is %d: %w", len(text), retrieval.MaxTextBytes, retrieval.ErrTooLarge)
	}
	r := &reading{matrix: m, pieces: e.tokenize(text)}
	c := e.conventions.of(o.Query)
	around, length := c.specials(), c.Length
	if o.MaxTokens > 0 {
		length = o.MaxTokens
	}
	r.window = e.windowTokens(o.Query) - around
	if o.Query && c.Length > 0 { // a query by a convention is read at once
		length = min(length, e.model.Positions)
		r.window = length - around
	}
	if most := length - around; length > 0 && len(r.pieces) > most {
		m.Cut = len(r.pieces) - most
		r.pieces = r.pieces[:most:most]
	}
	if n := len(r.pieces) + around; n > MaxTokens {
		return nil, fmt.Errorf("%d tokens, the limit is %d: split the text into passages, or cut it: %w", n, MaxTokens, retrieval.ErrTooLarge)
	}
	r.head, r.tail = []int32{e.tokenizer.CLS()}, []int32{e.tokenizer.SEP()}
	if c.Marker != "" {
		r.head = append(r.head, c.MarkerID)
	}
	if o.Query && e.conventions.Expand {
		fill := length - around - len(r.pieces)
		r.tail = append(r.tail, slices.Repeat([]int32{e.conventions.Mask}, fill)...)
		if !e.conventions.Attend {
			r.hidden = fill
		}
	}
	r.number(&e.conventions, o.Query)
	m.Vectors = make([]float32, len(m.Tokens)*e.Width())
	m.Pooled = make([]float32, e.Width())
	return r, nil
}

// windowTokens is how many tokens are read at once, with those around: by our convention 256, by a model's own what it states for
// documents, and never more than it has positions.
func (e *Encoder) windowTokens(query bool) int {
	most := windowTokens
	if n := e.conventions.of(query).Length; n > 0 {
		most = n
	}
	return min(most, e.model.Positions)
}

// tokenize returns a text's pieces, trimmed where that is the convention.
func (e *Encoder) tokenize(text string) []Token {
	if !e.conventions.Trim {
		return e.tokenizer.Tokenize(text)
	}
	inner := strings.TrimFunc(text, isPythonSpace)
	pieces := e.tokenizer.Tokenize(inner)
	if lead := uint32(len(text) - len(strings.TrimLeftFunc(text, isPythonSpace))); lead > 0 {
		for i := range pieces {
			pieces[i].Span.Start += lead
			pieces[i].Span.End += lead
		}
	}
	return pieces
}

// isPythonSpace is what Python's str.strip takes away: white space, and the four separators of ASCII.
func isPythonSpace(c rune) bool { return unicode.IsSpace(c) || c >= 0x1c && c <= 0x1f }

// number gives every token that has a vector its row, and fills the matrix's tokens: those around the text span nothing, at its start
// and at its end.
func (r *reading) number(c *Conventions, query bool) {
	m := r.matrix
	if !c.Specials {
		m.Tokens = r.pieces
		r.rows = make([]int, len(r.pieces))
		for i := range r.rows {
			r.rows[i] = i
		}
		return
	}
	keep := func(id int32, s retrieval.Span) int {
		if _, skipped := slices.BinarySearch(c.Skip, id); skipped && !query {
			return -1
		}
		m.Tokens = append(m.Tokens, Token{id, s})
		return len(m.Tokens) - 1
	}
	m.Tokens = make([]Token, 0, len(r.head)+len(r.pieces)+len(r.tail))
	var end uint32
	for _, id := range r.head {
		r.headRows = append(r.headRows, keep(id, retrieval.Span{}))
	}
	for i := range r.pieces {
		t := &r.pieces[i]
		if query && c.PadIsMask && t.ID == c.Pad {
			t.ID = c.Mask
		}
		r.rows = append(r.rows, keep(t.ID, t.Span))
		end = max(end, t.Span.End)
	}
	for _, id := range r.tail {
		r.tailRows = append(r.tailRows, keep(id, retrieval.Span{Start: end, End: end}))
	}
}
