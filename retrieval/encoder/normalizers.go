package encoder

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	unorm "golang.org/x/text/unicode/norm"

	"ostraca/retrieval"
)

// mapped is a character on its way to the model, with the bytes of the source that it stands for.
type mapped struct {
	char rune
	span retrieval.Span
}

// change is one character of a rewritten text, in the terms of the reference (tokenizers, NormalizedString::transform): by > 0 adds
// it, with the span of the character before; 0 puts it in the place of the next character; -n does so and takes n more away.
type change struct {
	char rune
	by   int
}

// rewrite applies changes to a text whose first characters are skipped. Where changes promise more characters than there are, the last
// one lends its span.
func rewrite(text []mapped, changes []change, skip int) []mapped {
	out := make([]mapped, 0, len(changes))
	at := skip
	for _, c := range changes {
		var from int
		if c.by > 0 {
			from = max(at-1, 0)
		} else {
			from = at
			at += 1 - c.by
		}
		if len(text) > 0 {
			out = append(out, mapped{c.char, text[min(from, len(text)-1)].span})
		}
	}
	return out
}

// decode reads a stretch of the source. A byte that is not UTF-8 becomes U+FFFD.
func decode(text string, base int) []mapped {
	out := make([]mapped, 0, len(text))
	for at, size := 0, 0; at < len(text); at += size {
		var c rune
		c, size = utf8.DecodeRuneInString(text[at:])
		out = append(out, mapped{c, span(base+at, base+at+size)})
	}
	return out
}

func textOf(chars []mapped) string {
	var b strings.Builder
	for _, c := range chars {
		b.WriteRune(c.char)
	}
	return b.String()
}

// step rewrites a text on its way to the model.
type step func([]mapped) []mapped

// component is a part of tokenizer.json: what it is, and all it says.
type component struct {
	kind string
	raw  json.RawMessage
}

func readComponent(what string, raw json.RawMessage) (component, error) {
	var c struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return component{}, fmt.Errorf("tokenizer.json: %s: %v: %w", what, err, retrieval.ErrInvalid)
	}
	return component{c.Type, raw}, nil
}

// fields reads a component's own. One that is not known is an error: it may change what the component does.
func (c component) fields(into any) error {
	d := json.NewDecoder(bytes.NewReader(c.raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("tokenizer.json: %s: %v: %w", c.kind, err, retrieval.ErrInvalid)
	}
	return nil
}

func unsupported(format string, a ...any) error {
	return fmt.Errorf("tokenizer.json: %s is not supported: %w", fmt.Sprintf(format, a...), retrieval.ErrInvalid)
}

func absent(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// Limits of what is done to a text before its model sees it.
const (
	maxNesting = 8       // sequences within sequences
	maxSteps   = 64      // normalizers, or pre-tokenizers
	maxGrowth  = 1 << 14 // characters that one may become
)

// normalizerReader reads a normalizer and counts what could make it expensive.
type normalizerReader struct {
	depth, steps int
	growth       int // how many times as long as it was a text may become
}

// grow notes a step that makes up to n characters of one.
func (r *normalizerReader) grow(n int) error {
	r.steps++
	r.growth = max(r.growth, 1) * max(n, 1)
	if r.growth > maxGrowth || r.steps > maxSteps {
		return fmt.Errorf("tokenizer.json: %d normalizers that make %d characters of one, the limits are %d and %d: %w",
			r.steps, r.growth, maxSteps, maxGrowth, retrieval.ErrTooLarge)
	}
	return nil
}

// How many characters one may become, by the tables of Unicode.
const (
	growthCanonical     = 4
	growthCompatibility = 18
	growthLower         = 2
	growthIdeograph     = 3
)

// read returns the steps of tokenizer.json's normalizer.
func (r *normalizerReader) read(raw json.RawMessage) ([]step, error) {
	if absent(raw) {
		return nil, nil
	}
	c, err := readComponent("normalizer", raw)
	if err != nil {
		return nil, err
	}
	if r.depth > maxNesting {
		return nil, unsupported("a normalizer nested over %d deep", maxNesting)
	}
	var plain struct {
		Type string `json:"type"`
	}
	simple := map[string]struct {
		step
		growth int
	}{
		"NFC": {compose(false), growthCanonical}, "NFKC": {compose(true), growthCompatibility},
		"NFD": {decomposed(false), growthCanonical}, "NFKD": {decomposed(true), growthCompatibility},
		"Lowercase": {lowercased, growthLower}, "StripAccents": {filtered(func(c rune) bool { return !unicode.Is(unicode.M, c) }), 1},
	}
	if s, found := simple[c.kind]; found {
		return []step{s.step}, errors.Join(c.fields(&plain), r.grow(s.growth))
	}
	switch c.kind {
	case "Sequence":
		var f struct {
			Type        string            `json:"type"`
			Normalizers []json.RawMessage `json:"normalizers"`
		}
		if err := c.fields(&f); err != nil {
			return nil, err
		}
		var out []step
		r.depth++
		for _, n := range f.Normalizers {
			s, err := r.read(n)
			if err != nil {
				return nil, err
			}
			out = append(out, s...)
		}
		r.depth--
		return out, nil
	case "BertNormalizer":
		return r.readBert(c)
	case "Precompiled":
		return r.readPrecompiled(c)
	case "Replace":
		return r.readReplace(c)
	case "Prepend":
		var f struct {
			Type    string `json:"type"`
			Prepend string `json:"prepend"`
		}
		if err := c.fields(&f); err != nil {
			return nil, err
		}
		return []step{func(t []mapped) []mapped { return prepend(t, f.Prepend) }}, r.grow(1 + len(f.Prepend))
	case "Strip":
		var f struct {
			Type  string `json:"type"`
			Left  bool   `json:"strip_left"`
			Right bool   `json:"strip_right"`
		}
		return []step{func(t []mapped) []mapped { return stripped(t, f.Left, f.Right) }}, errors.Join(c.fields(&f), r.grow(1))
	}
	return nil, unsupported("the normalizer %q", c.kind)
}

func (r *normalizerReader) readBert(c component) ([]step, error) {
	f := struct {
		Type      string `json:"type"`
		Clean     bool   `json:"clean_text"`
		Ideograph bool   `json:"handle_chinese_chars"`
		Strip     *bool  `json:"strip_accents"`
		Lower     bool   `json:"lowercase"`
	}{}
	if err := c.fields(&f); err != nil {
		return nil, err
	}
	strip := f.Lower
	if f.Strip != nil {
		strip = *f.Strip
	}
	if err := r.grow(growthCanonical * growthLower * growthIdeograph); err != nil {
		return nil, err
	}
	var out []step
	if f.Clean {
		out = append(out, filtered(func(c rune) bool { return categoryOf(c) != control }), spacesMade)
	}
	if f.Ideograph {
		out = append(out, ideographsApart)
	}
	if strip {
		out = append(out, decomposed(false), filtered(func(c rune) bool { return categoryOf(c) != mark }))
	}
	if f.Lower {
		out = append(out, lowercased)
	}
	return out, nil
}

func spacesMade(t []mapped) []mapped {
	for i := range t {
		if categoryOf(t[i].char) == space {
			t[i].char = ' '
		}
	}
	return t
}

func ideographsApart(t []mapped) []mapped {
	var out []mapped
	for _, c := range t {
		if categoryOf(c.char) == ideograph {
			out = append(out, mapped{' ', c.span}, c, mapped{' ', c.span})
		} else {
			out = append(out, c)
		}
	}
	return out
}

func filtered(keep func(rune) bool) step {
	return func(t []mapped) []mapped {
		out := t[:0]
		for _, c := range t {
			if keep(c.char) {
				out = append(out, c)
			}
		}
		return out
	}
}

func stripped(t []mapped, left, right bool) []mapped {
	for left && len(t) > 0 && unicode.IsSpace(t[0].char) {
		t = t[1:]
	}
	for right && len(t) > 0 && unicode.IsSpace(t[len(t)-1].char) {
		t = t[:len(t)-1]
	}
	return t
}

// lowercased lowers character by character, as the reference does: no rule looks at neighbours. One character has two in lower case.
func lowercased(t []mapped) []mapped {
	out := make([]mapped, 0, len(t))
	for _, c := range t {
		if c.char == 'İ' {
			out = append(out, mapped{'i', c.span}, mapped{0x307, c.span})
			continue
		}
		out = append(out, mapped{lower(c.char), c.span})
	}
	return out
}

// prepend puts text before the first character, with its span.
func prepend(t []mapped, text string) []mapped {
	if len(t) == 0 {
		return t
	}
	out := make([]mapped, 0, len(t)+len(text))
	for _, c := range text {
		out = append(out, mapped{c, t[0].span})
	}
	return append(out, t...)
}

// decomposed is NFD, by the tables of the reference, or NFKD, by those of the Go text library.
func decomposed(compatibility bool) step {
	return func(t []mapped) []mapped { return rewrite(t, decompositionOf(t, compatibility), 0) }
}

func decompositionOf(t []mapped, compatibility bool) []change {
	var parts []part
	for _, m := range t {
		switch {
		case m.char >= hangulFirst && m.char <= hangulLast:
			parts = appendJamo(parts, m.char)
		case compatibility:
			into := unorm.NFKD.PropertiesString(string(m.char)).Decomposition()
			if into == nil {
				into = []byte(string(m.char))
			}
			for at, size := 0, 0; at < len(into); at += size {
				var c rune
				c, size = utf8.DecodeRune(into[at:])
				parts = append(parts, part{c, combiningClass(c), at > 0})
			}
		default:
			parts = appendParts(parts, m.char)
		}
	}
	reorder(parts)
	out := make([]change, len(parts))
	for i, p := range parts {
		out[i].char = p.char
		if p.added {
			out[i].by = 1
		}
	}
	return out
}

// compose is NFC or NFKC: a decomposition, then every mark that is not blocked joins its base where the two are one character.
func compose(compatibility bool) step {
	return func(t []mapped) []mapped {
		changes := decompositionOf(t, compatibility)
		var out []change
		base, last := -1, uint8(0) // place in out of the last starter; class of what follows it
		for _, c := range changes {
			class := combiningClass(c.char)
			if base >= 0 && (len(out)-1 == base || last != 0 && last < class) {
				if joined, ok := joined(out[base].char, c.char); ok {
					out[base] = change{joined, out[base].by + c.by - 1}
					continue
				}
			}
			if class == 0 {
				base = len(out)
			}
			last = class
			out = append(out, c)
		}
		return rewrite(t, out, 0)
	}
}

func joined(a, b rune) (rune, bool) {
	s := unorm.NFC.String(string(a) + string(b))
	c, size := utf8.DecodeRuneInString(s)
	return c, size == len(s)
}
