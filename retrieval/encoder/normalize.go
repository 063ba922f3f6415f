package encoder

import (
	"cmp"
	"slices"
	"unicode/utf8"

	"ostraca/retrieval"
)

// What the tokenizer does with a character. No character has two of these.
type category uint8

const (
	ordinary    category = iota
	control              // removed
	space                // between words
	ideograph            // a word of its own
	mark                 // non-spacing, stripped after decomposition
	punctuation          // a word of its own
)

// Ranges of characters, both ends in. The tables are in normalize_tables.go.
type (
	categoryRange struct {
		first, last rune
		category    category
	}
	combiningRange struct {
		first, last rune
		class       uint8
	}
	caseRange struct{ first, last, stride, delta rune }

	decomposition struct {
		char rune
		into string
	}
)

// glyph is a character on its way to the model, with the bytes of the source that it stands for.
type glyph struct {
	char     rune
	category category
	span     retrieval.Span
}

// part is a character out of a decomposition. All but the first of each are added.
type part struct {
	char  rune
	class uint8 // canonical combining class
	added bool
}

// normalizer does what BertNormalizer does: it removes control characters, puts spaces around ideographs, decomposes (NFD),
// strips non-spacing marks and lowers the case, all by the tables of the reference and not by those of a Go release.
// Bytes that are not UTF-8 are U+FFFD each, hence removed. Its buffers serve one text after the other.
type normalizer struct {
	cleaned []glyph
	parts   []part
	glyphs  []glyph
}

// normalize returns the glyphs of a text that starts at a byte of the source. They are good until the next call.
func (n *normalizer) normalize(text string, base int) []glyph {
	n.clean(text, base)
	n.decompose()
	reorder(n.parts)
	n.align()
	return n.glyphs
}

func (n *normalizer) clean(text string, base int) {
	n.cleaned = n.cleaned[:0]
	for at, size := 0, 0; at < len(text); at += size {
		var c rune
		c, size = utf8.DecodeRuneInString(text[at:])
		g := glyph{char: c, span: span(base+at, base+at+size)}
		gap := glyph{char: ' ', span: g.span}
		switch categoryOf(c) {
		case control:
		case space:
			n.cleaned = append(n.cleaned, gap)
		case ideograph:
			n.cleaned = append(n.cleaned, gap, g, gap)
		default:
			n.cleaned = append(n.cleaned, g)
		}
	}
}

func (n *normalizer) decompose() {
	n.parts = n.parts[:0]
	for _, g := range n.cleaned {
		switch {
		case g.char < 0xC0: // nothing below has a decomposition or a class
			n.parts = append(n.parts, part{char: g.char})
		case g.char >= hangulFirst && g.char <= hangulLast:
			n.parts = appendJamo(n.parts, g.char)
		default:
			n.parts = appendParts(n.parts, g.char)
		}
	}
}

func appendParts(parts []part, c rune) []part {
	i, found := slices.BinarySearchFunc(decompositions, c, func(d decomposition, c rune) int { return cmp.Compare(d.char, c) })
	if !found {
		return append(parts, part{char: c, class: combiningClass(c)})
	}
	for at, c := range decompositions[i].into {
		parts = append(parts, part{c, combiningClass(c), at > 0})
	}
	return parts
}

// Hangul syllables are decomposed by arithmetic: the Unicode standard, section 3.12.
const (
	hangulFirst, hangulLast      = 0xAC00, 0xD7A3
	leadFirst, vowelFirst        = 0x1100, 0x1161
	tailNone                     = 0x11A7
	vowelCount, tailCount   rune = 21, 28
)

func appendJamo(parts []part, c rune) []part {
	i := c - hangulFirst
	lead, vowel, tail := i/(vowelCount*tailCount), i/tailCount%vowelCount, i%tailCount
	parts = append(parts, part{char: leadFirst + lead}, part{char: vowelFirst + vowel, added: true})
	if tail > 0 {
		parts = append(parts, part{char: tailNone + tail, added: true})
	}
	return parts
}

// reorder puts every run of combining marks in canonical order.
func reorder(parts []part) {
	for i := 0; i < len(parts); i++ {
		start := i
		for i < len(parts) && parts[i].class > 0 {
			i++
		}
		if i-start > 1 {
			slices.SortStableFunc(parts[start:i], func(a, b part) int { return cmp.Compare(a.class, b.class) })
		}
	}
}

// align strips the marks and gives the other parts their spans as the reference counts them: a part that is not added
// takes the next character of the source, an added one that of the part before it, in canonical order. Where marks changed
// places this is not the character that they came from.
func (n *normalizer) align() {
	n.glyphs = n.glyphs[:0]
	next := 0
	for _, p := range n.parts {
		if !p.added {
			next++
		}
		// A decomposition is in canonical order itself, so its first part is never sorted behind an added one: next > 0.
		if k := categoryOf(p.char); k != mark {
			n.glyphs = append(n.glyphs, glyph{lower(p.char), k, n.cleaned[next-1].span})
		}
	}
}

func categoryOf(c rune) category {
	i, found := slices.BinarySearchFunc(categories, c, func(r categoryRange, c rune) int { return compareRange(r.first, r.last, c) })
	if !found {
		return ordinary
	}
	return categories[i].category
}

func combiningClass(c rune) uint8 {
	i, found := slices.BinarySearchFunc(combiningClasses, c, func(r combiningRange, c rune) int { return compareRange(r.first, r.last, c) })
	if !found {
		return 0
	}
	return combiningClasses[i].class
}

func lower(c rune) rune {
	i, found := slices.BinarySearchFunc(caseRanges, c, func(r caseRange, c rune) int { return compareRange(r.first, r.last, c) })
	if !found || (c-caseRanges[i].first)%caseRanges[i].stride != 0 {
		return c
	}
	return c + caseRanges[i].delta
}

// compareRange says where a range lies as seen from c: before it, around it, behind it.
func compareRange(first, last, c rune) int {
	switch {
	case last < c:
		return -1
	case first > c:
		return 1
	}
	return 0
}
