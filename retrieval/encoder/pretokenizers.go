package encoder

import (
	"encoding/json"
	"unicode"
	"unicode/utf8"
)

// stretch is a part of a text, in characters: one that a pattern matched, or one between.
type stretch struct {
	start, end int
	match      bool
}

// splitter cuts a text into pieces, which together need not be all of it.
type splitter func([]mapped) [][]mapped

// matches covers a text with stretches, given a function that finds matches by bytes.
func matches(t []mapped, find func(string, int) [][]int) []stretch {
	text := textOf(t)
	places := make([]int, 0, len(t)+1) // byte of every character
	for at, c := 0, 0; c <= len(t); c++ {
		places = append(places, at)
		if c < len(t) {
			at += utf8.RuneLen(t[c].char)
		}
	}
	var out []stretch
	last, char := 0, 0
	place := func(b int) int {
		for places[char] < b {
			char++
		}
		return char
	}
	for _, m := range find(text, -1) {
		start := place(m[0])
		end := place(m[1])
		if start > last {
			out = append(out, stretch{last, start, false})
		}
		out = append(out, stretch{start, end, true})
		last = end
	}
	if last < len(t) {
		out = append(out, stretch{last, len(t), false})
	}
	return out
}

// matchesOf covers a text with stretches: every character that is one is a match.
func matchesOf(t []mapped, is func(rune) bool) []stretch {
	var out []stretch
	last := 0
	for i, c := range t {
		if is(c.char) {
			if i > last {
				out = append(out, stretch{last, i, false})
			}
			out = append(out, stretch{i, i + 1, true})
			last = i + 1
		}
	}
	if last < len(t) {
		out = append(out, stretch{last, len(t), false})
	}
	return out
}

func inverted(s []stretch) []stretch {
	for i := range s {
		s[i].match = !s[i].match
	}
	return s
}

// behaviours are what becomes of matches: the names are the reference's.
var behaviours = map[string]func([]stretch) []stretch{
	"Isolated": func(s []stretch) []stretch { return s },
	"Removed": func(s []stretch) (out []stretch) {
		for _, x := range s {
			if !x.match {
				out = append(out, x)
			}
		}
		return out
	},
	"Contiguous": func(s []stretch) (out []stretch) {
		previous := false
		for _, x := range s {
			if x.match == previous && len(out) > 0 {
				out[len(out)-1].end = x.end
			} else {
				out = append(out, x)
			}
			previous = x.match
		}
		return out
	},
	"MergedWithPrevious": func(s []stretch) (out []stretch) {
		previous := false
		for _, x := range s {
			if x.match && !previous && len(out) > 0 {
				out[len(out)-1].end = x.end
			} else {
				out = append(out, x)
			}
			previous = x.match
		}
		return out
	},
	"MergedWithNext": func(s []stretch) (out []stretch) {
		for i := 0; i < len(s); i++ {
			// Of several matches in a row, the last one joins what follows.
			if s[i].match && i+1 < len(s) && !s[i+1].match {
				out = append(out, stretch{s[i].start, s[i+1].end, false})
				i++
			} else {
				out = append(out, s[i])
			}
		}
		return out
	},
}

func parts(t []mapped, s []stretch) [][]mapped {
	out := make([][]mapped, 0, len(s))
	for _, x := range s {
		if x.end > x.start {
			out = append(out, t[x.start:x.end:x.end])
		}
	}
	return out
}

func splitBy(is func(rune) bool, behaviour string) splitter {
	return func(t []mapped) [][]mapped { return parts(t, behaviours[behaviour](matchesOf(t, is))) }
}

// isPunctuation is ASCII punctuation and Unicode's category P, by the tables of the reference.
func isPunctuation(c rune) bool { return categoryOf(c) == punctuation }

// isWordChar is what \w means to the reference: alphabetic, marks, decimal digits, connectors and joiners.
func isWordChar(c rune) bool {
	return unicode.IsLetter(c) || unicode.In(c, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Other_Alphabetic, unicode.Join_Control)
}

// readPreTokenizer returns the splitters of tokenizer.json's pre-tokenizer.
func readPreTokenizer(raw json.RawMessage, depth int) ([]splitter, error) {
	if absent(raw) {
		return nil, nil
	}
	c, err := readComponent("pre_tokenizer", raw)
	if err != nil {
		return nil, err
	}
	if depth > maxNesting {
		return nil, unsupported("a pre-tokenizer nested over %d deep", maxNesting)
	}
	var plain struct {
		Type string `json:"type"`
	}
	switch c.kind {
	case "Sequence":
		var f struct {
			Type          string            `json:"type"`
			PreTokenizers []json.RawMessage `json:"pretokenizers"`
		}
		if err := c.fields(&f); err != nil {
			return nil, err
		}
		var out []splitter
		for _, p := range f.PreTokenizers {
			s, err := readPreTokenizer(p, depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, s...)
		}
		return out, nil
	case "BertPreTokenizer":
		return []splitter{splitBy(unicode.IsSpace, "Removed"), splitBy(isPunctuation, "Isolated")}, c.fields(&plain)
	case "WhitespaceSplit":
		return []splitter{splitBy(unicode.IsSpace, "Removed")}, c.fields(&plain)
	case "Whitespace":
		return []splitter{words}, c.fields(&plain)
	case "Punctuation":
		f := struct {
			Type      string `json:"type"`
			Behaviour string `json:"behavior"`
		}{Behaviour: "Isolated"}
		if err := c.fields(&f); err != nil {
			return nil, err
		}
		if behaviours[f.Behaviour] == nil {
			return nil, unsupported("the behavior %q of Punctuation", f.Behaviour)
		}
		return []splitter{splitBy(isPunctuation, f.Behaviour)}, nil
	case "Digits":
		var f struct {
			Type string `json:"type"`
			Each bool   `json:"individual_digits"`
		}
		if err := c.fields(&f); err != nil {
			return nil, err
		}
		return []splitter{splitBy(unicode.IsNumber, map[bool]string{true: "Isolated", false: "Contiguous"}[f.Each])}, nil
	case "ByteLevel":
		return readByteLevel(c)
	case "Metaspace":
		return readMetaspace(c)
	case "Split":
		return readSplit(c)
	}
	return nil, unsupported("the pre-tokenizer %q", c.kind)
}

// words is \w+|[^\w\s]+ of the reference: runs of word characters, and runs of what is neither that nor white space.
func words(t []mapped) [][]mapped {
	kind := func(c rune) int {
		switch {
		case isWordChar(c):
			return 1
		case unicode.IsSpace(c):
			return 0
		}
		return 2
	}
	var out [][]mapped
	for start, end := 0, 0; start < len(t); start = end {
		k := kind(t[start].char)
		for end = start + 1; end < len(t) && kind(t[end].char) == k; end++ {
		}
		if k != 0 {
			out = append(out, t[start:end:end])
		}
	}
	return out
}

func readSplit(c component) ([]splitter, error) {
	var f struct {
		Type      string  `json:"type"`
		Pattern   pattern `json:"pattern"`
		Behaviour string  `json:"behavior"`
		Invert    bool    `json:"invert"`
	}
	if err := c.fields(&f); err != nil {
		return nil, err
	}
	behave := behaviours[f.Behaviour]
	if behave == nil {
		return nil, unsupported("the behavior %q of Split", f.Behaviour)
	}
	find := gpt2
	if f.Pattern.Regex == nil || *f.Pattern.Regex != gpt2Pattern {
		r, err := f.Pattern.compile()
		if err != nil {
			return nil, err
		}
		find = func(t []mapped) []stretch { return matches(t, r.FindAllStringIndex) }
	}
	return []splitter{func(t []mapped) [][]mapped {
		s := find(t)
		if f.Invert {
			s = inverted(s)
		}
		return parts(t, behave(s))
	}}, nil
}

func readMetaspace(c component) ([]splitter, error) {
	f := struct {
		Type        string `json:"type"`
		Replacement string `json:"replacement"`
		Prefix      *bool  `json:"add_prefix_space"`
		Scheme      string `json:"prepend_scheme"`
		Split       *bool  `json:"split"`
		Text        string `json:"str_rep"`
	}{Scheme: "always"}
	if err := c.fields(&f); err != nil {
		return nil, err
	}
	if f.Prefix != nil && !*f.Prefix {
		f.Scheme = "never"
	}
	if utf8.RuneCountInString(f.Replacement) != 1 || f.Scheme != "always" && f.Scheme != "first" && f.Scheme != "never" {
		return nil, unsupported("Metaspace with the replacement %q and the scheme %q", f.Replacement, f.Scheme)
	}
	sign, _ := utf8.DecodeRuneInString(f.Replacement)
	split := splitBy(func(c rune) bool { return c == sign }, "MergedWithNext")
	return []splitter{func(t []mapped) [][]mapped {
		out := make([]mapped, 0, len(t)+1)
		if len(t) > 0 && t[0].char != ' ' && t[0].char != sign && (f.Scheme == "always" || f.Scheme == "first" && t[0].span.Start == 0) {
			out = append(out, mapped{sign, t[0].span})
		}
		for _, c := range t {
			if c.char == ' ' {
				c.char = sign
			}
			out = append(out, c)
		}
		if f.Split != nil && !*f.Split {
			return [][]mapped{out}
		}
		return split(out)
	}}, nil
}
