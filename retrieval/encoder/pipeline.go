package encoder

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"ostraca/retrieval"
)

// Limits of a tokenizer.json.
const (
	maxTokenizerBytes = 64 << 20
	maxAddedTokens    = 1 << 14
	maxAddedBytes     = 1 << 10 // of the text of one
)

// pipeline is a tokenizer.json of Hugging Face's tokenizers: added tokens are found, the rest is normalised, cut into words, and those
// into pieces. Ids and offsets are those of tokenizers 0.22.
type pipeline struct {
	raw, normalised added // tokens that are found in the text as given, and after its normalisation
	steps           []step
	splitters       []splitter
	model           subwords
	trim            bool // leading and trailing spaces are no part of a token's span
	keepFirst       bool // but the space that the tokenizer itself put in front
}

// NewTokenizer reads a tokenizer.json with a WordPiece, BPE or Unigram model. What it asks for and this package does not have is an
// error that names it and wraps [retrieval.ErrInvalid], as is anything malformed; a file over a limit wraps [retrieval.ErrTooLarge].
func NewTokenizer(description []byte) (*Tokenizer, error) {
	if len(description) > maxTokenizerBytes {
		return nil, fmt.Errorf("tokenizer.json: %d bytes, the limit is %d: %w", len(description), maxTokenizerBytes, retrieval.ErrTooLarge)
	}
	var f struct {
		Added         []addedToken    `json:"added_tokens"`
		Normalizer    json.RawMessage `json:"normalizer"`
		PreTokenizer  json.RawMessage `json:"pre_tokenizer"`
		PostProcessor json.RawMessage `json:"post_processor"`
		Model         json.RawMessage `json:"model"`
	}
	if err := json.Unmarshal(description, &f); err != nil {
		return nil, fmt.Errorf("tokenizer.json: %v: %w", err, retrieval.ErrInvalid)
	}
	t, p := &Tokenizer{}, &pipeline{}
	var err error
	if p.steps, err = new(normalizerReader).read(f.Normalizer); err != nil {
		return nil, err
	}
	if p.splitters, err = readPreTokenizer(f.PreTokenizer, 0); err != nil {
		return nil, err
	}
	if len(p.splitters) > maxSteps {
		return nil, fmt.Errorf("tokenizer.json: %d pre-tokenizers, the limit is %d: %w", len(p.splitters), maxSteps, retrieval.ErrTooLarge)
	}
	if p.model, err = readModel(f.Model); err != nil {
		return nil, err
	}
	if err := t.number(p.model.vocabulary(), f.Added); err != nil {
		return nil, err
	}
	for _, a := range f.Added {
		switch {
		case a.Content == "": // matches nothing
		case a.Normalized:
			p.normalised.add(textOf(p.normalize(decode(a.Content, 0))), a)
		default:
			p.raw.add(a.Content, a)
		}
	}
	if t.cls, t.sep, err = p.readPostProcessor(f.PostProcessor); err != nil {
		return nil, err
	}
	for _, id := range []int32{t.cls, t.sep} {
		if t.Piece(id) == "" {
			return nil, fmt.Errorf("tokenizer.json: the post-processor's token %d is not in the vocabulary: %w", id, retrieval.ErrInvalid)
		}
	}
	t.pipeline = p
	return t, nil
}

// number lays the pieces out by id. An added token's id may be its piece's or a new one.
func (t *Tokenizer) number(vocabulary map[string]int32, tokens []addedToken) error {
	if len(tokens) > maxAddedTokens {
		return fmt.Errorf("tokenizer.json: %d added tokens, the limit is %d: %w", len(tokens), maxAddedTokens, retrieval.ErrTooLarge)
	}
	t.ids = make(map[string]int32, len(vocabulary)+len(tokens))
	put := func(piece string, id int32) {
		for int(id) >= len(t.pieces) {
			t.pieces = append(t.pieces, "")
		}
		t.pieces[id], t.ids[piece] = piece, id
	}
	for piece, id := range vocabulary {
		put(piece, id)
	}
	for _, a := range tokens {
		if a.ID < 0 || a.ID >= maxVocabulary || len(a.Content) > maxAddedBytes {
			return fmt.Errorf("tokenizer.json: added token %.40q with the id %d: %w", a.Content, a.ID, retrieval.ErrInvalid)
		}
		if a.Content != "" {
			put(a.Content, a.ID)
		}
	}
	return nil
}

// addedToken stands for itself wherever it is written out.
type addedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"` // not inside a word
	Left       bool   `json:"lstrip"`      // takes the white space before it along
	Right      bool   `json:"rstrip"`      // and after it
	Normalized bool   `json:"normalized"`  // is looked for in the normalised text
}

// added finds tokens in a text: the leftmost, of those the longest.
type added map[rune][]knownToken

type knownToken struct {
	text []rune
	addedToken
}

func (a *added) add(text string, t addedToken) {
	runes := []rune(text)
	if len(runes) == 0 {
		return
	}
	if *a == nil {
		*a = added{}
	}
	known := append((*a)[runes[0]], knownToken{runes, t})
	slices.SortStableFunc(known, func(x, y knownToken) int { return len(y.text) - len(x.text) })
	(*a)[runes[0]] = known
}

// textPart is a part of a text that is one token already, or still to be cut (id < 0).
type textPart struct {
	chars []mapped
	id    int32
}

func (a added) split(t []mapped) (out []textPart) {
	done := 0
	for at := 0; at < len(t) && len(a) > 0; {
		k := a.at(t, at)
		if k == nil {
			at++
			continue
		}
		start, end := at, at+len(k.text)
		at = end
		if k.SingleWord && (start > 0 && isWordChar(t[start-1].char) || end < len(t) && isWordChar(t[end].char)) {
			continue
		}
		for k.Left && start > done && unicode.IsSpace(t[start-1].char) {
			start--
		}
		for k.Right && end < len(t) && unicode.IsSpace(t[end].char) {
			end++
		}
		if start < done { // the token before took the white space, and more, that this one begins with
			start = done
		}
		if start > done {
			out = append(out, textPart{t[done:start:start], -1})
		}
		if end > start {
			out = append(out, textPart{t[start:end:end], k.ID})
		}
		done = max(done, end)
	}
	if done < len(t) {
		out = append(out, textPart{t[done:], -1})
	}
	return out
}

func (a added) at(t []mapped, at int) *knownToken {
	known := a[t[at].char]
	for i := range known {
		k := &known[i]
		if len(k.text) <= len(t)-at && slices.EqualFunc(k.text, t[at:at+len(k.text)], func(c rune, m mapped) bool { return c == m.char }) {
			return k
		}
	}
	return nil
}

func (p *pipeline) normalize(t []mapped) []mapped {
	for _, s := range p.steps {
		t = s(t)
	}
	return t
}

// tokenize returns the pieces of a text.
func (p *pipeline) tokenize(text string, pieces []string) []Token {
	var out []Token
	for _, outer := range p.raw.split(decode(text, 0)) {
		inner := []textPart{outer}
		if outer.id < 0 {
			inner = p.normalised.split(p.normalize(outer.chars))
		}
		for _, part := range inner {
			if part.id >= 0 {
				out = append(out, p.trimmed(Token{part.id, covering(part.chars)}, textOf(part.chars), text, len(out) == 0))
				continue
			}
			words := [][]mapped{part.chars}
			for _, split := range p.splitters {
				var next [][]mapped
				for _, w := range words {
					if len(w) > 0 {
						next = append(next, split(w)...)
					}
				}
				words = next
			}
			for _, w := range words {
				first := len(out)
				out = p.cut(out, w)
				for i := first; i < len(out); i++ {
					out[i] = p.trimmed(out[i], pieces[out[i].ID], text, i == 0)
				}
			}
		}
	}
	return out
}

func covering(t []mapped) retrieval.Span {
	return retrieval.Span{Start: t[0].span.Start, End: t[len(t)-1].span.End}
}

// cut appends the pieces of a word. One that is part of a character has the span of all of it.
func (p *pipeline) cut(out []Token, word []mapped) []Token {
	if len(word) == 0 {
		return out
	}
	var b strings.Builder
	chars := make([]int, 0, len(word)+1) // of every byte
	for i, c := range word {
		b.WriteRune(c.char)
		for len(chars) < b.Len() {
			chars = append(chars, i)
		}
	}
	for _, s := range p.model.cut(b.String()) {
		out = append(out, Token{s.id, covering(word[chars[s.start] : chars[s.end-1]+1])})
	}
	return out
}

func isGap(c rune) bool { return c == byteChars[' '] || unicode.IsSpace(c) }

// trimmed takes the white space at a token's ends out of its span, as the reference's process_offsets does: counted in what the token
// is written as, taken off the source.
func (p *pipeline) trimmed(k Token, written, text string, first bool) Token {
	if !p.trim {
		return k
	}
	count := utf8.RuneCountInString
	lead, trail := count(written)-count(strings.TrimLeftFunc(written, isGap)), count(written)-count(strings.TrimRightFunc(written, isGap))
	s := &k.Span
	if lead == 1 && p.keepFirst && (first || s.Start == 0) {
		lead = 0
	}
	for ; lead > 0 && s.Start < s.End; lead-- {
		_, size := utf8.DecodeRuneInString(text[s.Start:])
		s.Start = min(s.Start+uint32(size), s.End)
	}
	for ; trail > 0 && s.End > s.Start; trail-- {
		_, size := utf8.DecodeLastRuneInString(text[:s.End])
		s.End = max(s.End-uint32(size), s.Start)
	}
	return k
}

// readPostProcessor returns the ids of what stands before and after every text.
func (p *pipeline) readPostProcessor(raw json.RawMessage) (cls, sep int32, err error) {
	cls, sep = -1, -1
	if absent(raw) {
		return 0, 0, unsupported("a file without a post-processor, which says what stands for [CLS] and [SEP],")
	}
	c, err := readComponent("post_processor", raw)
	if err != nil {
		return 0, 0, err
	}
	list := []json.RawMessage{raw}
	if c.kind == "Sequence" {
		var f struct {
			Type       string            `json:"type"`
			Processors []json.RawMessage `json:"processors"`
		}
		if err := c.fields(&f); err != nil {
			return 0, 0, err
		}
		list = f.Processors
	}
	for _, raw := range list {
		a, b, err := p.readProcessor(raw)
		if err != nil {
			return 0, 0, err
		}
		if a >= 0 {
			if cls >= 0 {
				return 0, 0, unsupported("a sequence of post-processors that add tokens twice")
			}
			cls, sep = a, b
		}
	}
	if cls < 0 {
		return 0, 0, unsupported("the post-processor %q, which puts nothing around a text,", c.kind)
	}
	return cls, sep, nil
}

// readProcessor reads one post-processor; ids are -1 where it adds no tokens.
func (p *pipeline) readProcessor(raw json.RawMessage) (cls, sep int32, err error) {
	c, err := readComponent("post_processor", raw)
	if err != nil {
		return 0, 0, err
	}
	switch c.kind {
	case "BertProcessing", "RobertaProcessing":
		var f struct {
			SEP    [2]json.RawMessage `json:"sep"`
			CLS    [2]json.RawMessage `json:"cls"`
			Trim   bool               `json:"trim_offsets"`
			Prefix bool               `json:"add_prefix_space"`
		}
		if json.Unmarshal(raw, &f) != nil || json.Unmarshal(f.CLS[1], &cls) != nil || json.Unmarshal(f.SEP[1], &sep) != nil || cls < 0 || sep < 0 {
			return 0, 0, fmt.Errorf("tokenizer.json: %s: no ids of cls and sep: %w", c.kind, retrieval.ErrInvalid)
		}
		p.trim, p.keepFirst = p.trim || f.Trim, f.Prefix
		return cls, sep, nil
	case "ByteLevel":
		f := struct {
			Type   string `json:"type"`
			Prefix bool   `json:"add_prefix_space"`
			Trim   bool   `json:"trim_offsets"`
			Regex  bool   `json:"use_regex"`
		}{}
		if err := c.fields(&f); err != nil {
			return 0, 0, err
		}
		p.trim, p.keepFirst = p.trim || f.Trim, f.Prefix
		return -1, -1, nil
	case "TemplateProcessing":
		return readTemplate(c)
	}
	return 0, 0, unsupported("the post-processor %q", c.kind)
}

// readTemplate takes templates of the shape [CLS] text [SEP].
func readTemplate(c component) (cls, sep int32, err error) {
	type name struct {
		ID string `json:"id"`
	}
	var f struct {
		Single []struct {
			Special  *name `json:"SpecialToken"`
			Sequence *name `json:"Sequence"`
		} `json:"single"`
		Tokens map[string]struct {
			IDs []int32 `json:"ids"`
		} `json:"special_tokens"`
	}
	if err := json.Unmarshal(c.raw, &f); err != nil {
		return 0, 0, fmt.Errorf("tokenizer.json: TemplateProcessing: %v: %w", err, retrieval.ErrInvalid)
	}
	if len(f.Single) != 3 || f.Single[0].Special == nil || f.Single[1].Sequence == nil || f.Single[2].Special == nil {
		return 0, 0, unsupported("a template other than one token, the text, one token")
	}
	a, b := f.Tokens[f.Single[0].Special.ID].IDs, f.Tokens[f.Single[2].Special.ID].IDs
	if len(a) != 1 || len(b) != 1 || a[0] < 0 || b[0] < 0 {
		return 0, 0, unsupported("a template token of other than one id")
	}
	return a[0], b[0], nil
}
