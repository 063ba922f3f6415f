package encoder

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// byteChars gives every byte a visible character: itself where that is one, else the next free one from U+0100 (Radford et al. 2019).
var byteChars = func() (table [256]rune) {
	next := rune(256)
	for b := range table {
		switch {
		case b >= '!' && b <= '~', b >= 0xA1 && b <= 0xAC, b >= 0xAE:
			table[b] = rune(b)
		default:
			table[b] = next
			next++
		}
	}
	return table
}()

func readByteLevel(c component) ([]splitter, error) {
	f := struct {
		Type   string `json:"type"`
		Prefix bool   `json:"add_prefix_space"`
		Trim   bool   `json:"trim_offsets"`
		Regex  bool   `json:"use_regex"`
	}{Regex: true}
	if err := c.fields(&f); err != nil {
		return nil, err
	}
	return []splitter{func(t []mapped) [][]mapped {
		if f.Prefix && len(t) > 0 && t[0].char != ' ' {
			t = prepend(t, " ")
		}
		pieces := [][]mapped{t}
		if f.Regex {
			pieces = parts(t, gpt2(t))
		}
		for i, p := range pieces {
			pieces[i] = asBytes(p)
		}
		return pieces
	}}, nil
}

// asBytes makes every byte of every character a character of its own, with the character's span.
func asBytes(t []mapped) []mapped {
	out := make([]mapped, 0, len(t))
	var buffer [utf8.UTFMax]byte
	for _, c := range t {
		for _, b := range utf8.AppendRune(buffer[:0], c.char) {
			out = append(out, mapped{byteChars[b], c.span})
		}
	}
	return out
}

// gpt2Pattern is what GPT-2 (Radford et al. 2019) cuts text by. It looks ahead, which RE2 cannot, so [gpt2] reads it by hand.
const gpt2Pattern = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

var contractions = []string{"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}

// gpt2 covers a text with the matches of [gpt2Pattern]; every character is in one.
func gpt2(t []mapped) []stretch {
	var out []stretch
	for at := 0; at < len(t); {
		end := gpt2Next(t, at)
		out = append(out, stretch{at, end, true})
		at = end
	}
	return out
}

func gpt2Next(t []mapped, at int) int {
	if t[at].char == '\'' {
		head := textOf(t[at:min(at+3, len(t))])
		for _, c := range contractions {
			if strings.HasPrefix(head, c) {
				return at + len(c)
			}
		}
	}
	first := at
	if t[at].char == ' ' && at+1 < len(t) {
		first++
	}
	for _, in := range []func(rune) bool{unicode.IsLetter, unicode.IsNumber, isSymbol} {
		if end := run(t, first, in); end > first {
			return end
		}
	}
	// White space: all of it at the end of the text, else all but the last, which may belong to what follows.
	end := run(t, at, unicode.IsSpace)
	if end < len(t) && end-at > 1 {
		end--
	}
	return max(end, at+1)
}

func isSymbol(c rune) bool {
	return !unicode.IsSpace(c) && !unicode.IsLetter(c) && !unicode.IsNumber(c)
}

func run(t []mapped, at int, in func(rune) bool) int {
	for at < len(t) && in(t[at].char) {
		at++
	}
	return at
}
