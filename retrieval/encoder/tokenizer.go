package encoder

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"ostraca/retrieval"
)

const (
	maxVocabulary = 1 << 20
	maxWordChars  = 100 // a longer word is [UNK]
	continuation  = "##"
)

// Token is one piece of a text.
type Token struct {
	ID   int32
	Span retrieval.Span // bytes of the source text, as given
}

// Tokenizer cuts text into pieces. One of [NewWordPiece] has the ids and offsets of Hugging Face's tokenizers 0.23.3 for an uncased
// BERT (BertNormalizer, BertPreTokenizer, WordPiece); one of [NewTokenizer] does what a tokenizer.json says. It is immutable and
// safe for concurrent use.
type Tokenizer struct {
	pieces   []string
	pipeline *pipeline        // of a tokenizer.json; nil: what follows is used
	ids      map[string]int32 // of pieces and added tokens, for a tokenizer.json
	heads    map[string]int32 // pieces that start a word
	tails    map[string]int32 // pieces that continue one, without the prefix
	longest  int              // bytes of the longest head or tail
	reserved []reserved

	cls, sep, unknown int32
}

// reserved is a token that stands for itself wherever it is written out, in this case only.
type reserved struct {
	text string
	id   int32
}

// NewWordPiece makes a tokenizer of a vocabulary in the order of ids. It wraps [retrieval.ErrCorrupt] if there are over
// 2^20 pieces, if one is empty, not UTF-8 or there twice, or if [CLS], [SEP], [UNK], [PAD] or [MASK] is missing.
func NewWordPiece(vocabulary []string) (*Tokenizer, error) {
	if len(vocabulary) > maxVocabulary {
		return nil, fmt.Errorf("vocabulary of %d pieces, the limit is %d: %w", len(vocabulary), maxVocabulary, retrieval.ErrCorrupt)
	}
	t := &Tokenizer{pieces: vocabulary, heads: make(map[string]int32, len(vocabulary)), tails: map[string]int32{}}
	for id, piece := range vocabulary {
		if err := t.add(piece, int32(id)); err != nil {
			return nil, err
		}
	}
	if err := t.reserve(); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *Tokenizer) add(piece string, id int32) error {
	if piece == "" || !utf8.ValidString(piece) {
		return fmt.Errorf("piece %d of the vocabulary is empty or not UTF-8: %w", id, retrieval.ErrCorrupt)
	}
	set, text := t.heads, piece
	if tail, found := strings.CutPrefix(piece, continuation); found {
		set, text = t.tails, tail
	}
	if first, found := set[text]; found {
		return fmt.Errorf("pieces %d and %d of the vocabulary are both %q: %w", first, id, piece, retrieval.ErrCorrupt)
	}
	set[text] = id
	t.longest = max(t.longest, len(text))
	return nil
}

func (t *Tokenizer) reserve() error {
	for _, text := range []string{"[CLS]", "[SEP]", "[UNK]", "[PAD]", "[MASK]"} {
		id, found := t.heads[text]
		if !found {
			return fmt.Errorf("vocabulary has no %s: %w", text, retrieval.ErrCorrupt)
		}
		t.reserved = append(t.reserved, reserved{text, id})
	}
	t.cls, t.sep, t.unknown = t.reserved[0].id, t.reserved[1].id, t.reserved[2].id
	return nil
}

// Piece returns the text of an id as the vocabulary has it, or "" where there is none.
func (t *Tokenizer) Piece(id int32) string {
	if id < 0 || int(id) >= len(t.pieces) {
		return ""
	}
	return t.pieces[id]
}

// CLS returns the id of [CLS].
func (t *Tokenizer) CLS() int32 { return t.cls }

// SEP returns the id of [SEP].
func (t *Tokenizer) SEP() int32 { return t.sep }

// Tokenize returns the pieces of a text of at most 4 GiB, without [CLS] and [SEP] around them. Their spans start and end in
// order and, in a text that is UTF-8, never inside a character. Pieces of one character (a Hangul syllable, the bytes of an
// emoji) share its span. Without a tokenizer.json no span is empty, and bytes that are not UTF-8 are passed over; with one each of
// those bytes is U+FFFD, and a span is empty if the tokenizer trims it and the piece is nothing but spaces.
func (t *Tokenizer) Tokenize(text string) []Token {
	if t.pipeline != nil {
		return t.pipeline.tokenize(text, t.pieces)
	}
	r := reader{Tokenizer: t, tokens: make([]Token, 0, len(text)/4+1)}
	for at := 0; at < len(text); {
		start, end, id := t.nextReserved(text, at)
		r.read(text[at:start], at)
		if start < end {
			r.tokens = append(r.tokens, Token{id, span(start, end)})
		}
		at = end
	}
	return r.tokens
}

// nextReserved finds the first reserved token from a byte on, or the end of the text.
func (t *Tokenizer) nextReserved(text string, at int) (start, end int, id int32) {
	for {
		i := strings.IndexByte(text[at:], '[')
		if i < 0 {
			return len(text), len(text), 0
		}
		at += i
		for _, s := range t.reserved {
			if strings.HasPrefix(text[at:], s.text) {
				return at, at + len(s.text), s.id
			}
		}
		at++
	}
}

// reader is one call of Tokenize.
type reader struct {
	*Tokenizer
	normalizer
	tokens []Token
	word   []byte           // normalised
	spans  []retrieval.Span // of the source, one a byte of word
}

// read cuts a text at white space. No mark combines across it, so each stretch between is normalised for itself, and one
// of plain ASCII needs only its case lowered.
func (r *reader) read(text string, base int) {
	for at := 0; at < len(text); at++ {
		start, plain := at, true
		for at < len(text) && kinds[text[at]] != gap {
			plain = plain && kinds[text[at]] != other
			at++
		}
		if plain {
			r.readPlain(text[start:at], base+start)
		} else {
			r.readGlyphs(r.normalize(text[start:at], base+start))
		}
	}
}

// What a byte of the source is.
type kind uint8

const (
	other  kind = iota // to be normalised: control characters and all beyond ASCII
	gap                // white space
	single             // punctuation, a word of its own
	letter             // part of a word
)

var kinds = func() (table [256]kind) {
	for b := range byte(utf8.RuneSelf) {
		switch categoryOf(rune(b)) {
		case space:
			table[b] = gap
		case punctuation:
			table[b] = single
		case ordinary:
			table[b] = letter
		}
	}
	return table
}()

// readPlain reads letters and punctuation of ASCII.
func (r *reader) readPlain(text string, base int) {
	for start, end := 0, 0; start < len(text); start = end {
		end = start + 1
		for kinds[text[start]] == letter && end < len(text) && kinds[text[end]] == letter {
			end++
		}
		r.word = r.word[:0]
		for _, b := range []byte(text[start:end]) {
			if 'A' <= b && b <= 'Z' {
				b += 'a' - 'A'
			}
			r.word = append(r.word, b)
		}
		first := len(r.tokens)
		r.cut(end - start)
		for i := range r.tokens[first:] {
			s := &r.tokens[first+i].Span
			s.Start, s.End = s.Start+uint32(base+start), s.End+uint32(base+start)
		}
	}
}

// readGlyphs reads what was normalised.
func (r *reader) readGlyphs(glyphs []glyph) {
	for start, end := 0, 0; start < len(glyphs); start = end {
		end = start + 1
		if glyphs[start].category == space {
			continue
		}
		for inWord(glyphs[start]) && end < len(glyphs) && inWord(glyphs[end]) {
			end++
		}
		r.word, r.spans = r.word[:0], r.spans[:0]
		for _, g := range glyphs[start:end] {
			r.word = utf8.AppendRune(r.word, g.char)
			for len(r.spans) < len(r.word) {
				r.spans = append(r.spans, g.span)
			}
		}
		first := len(r.tokens)
		r.cut(end - start)
		for i := range r.tokens[first:] {
			s := &r.tokens[first+i].Span
			*s = retrieval.Span{Start: r.spans[s.Start].Start, End: r.spans[s.End-1].End}
		}
	}
}

func inWord(g glyph) bool { return g.category != space && g.category != punctuation }

// cut appends the pieces of the word, which has so many characters, with their spans in it: the longest piece first, and
// [UNK] for a word that is too long or has a rest that is no piece. Pieces are UTF-8, so they end where characters do.
func (r *reader) cut(chars int) {
	first, start, set := len(r.tokens), 0, r.heads
	for chars <= maxWordChars && start < len(r.word) {
		id, end := r.longestPiece(set, start)
		if end == start {
			break
		}
		r.tokens = append(r.tokens, Token{id, span(start, end)})
		start, set = end, r.tails
	}
	if start < len(r.word) {
		r.tokens = append(r.tokens[:first], Token{r.unknown, span(0, len(r.word))})
	}
}

func (r *reader) longestPiece(set map[string]int32, start int) (id int32, end int) {
	for end = min(len(r.word), start+r.longest); end > start; end-- {
		if id, found := set[string(r.word[start:end])]; found {
			return id, end
		}
	}
	return 0, start
}

func span(start, end int) retrieval.Span {
	return retrieval.Span{Start: uint32(start), End: uint32(end)}
}
