package encoder

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// pattern is a string or a regular expression of tokenizer.json.
type pattern struct {
	String *string `json:"String"`
	Regex  *string `json:"Regex"`
}

// compile returns a matcher. RE2 and the reference's Oniguruma agree on literals, classes, groups, alternatives and repetition; what they
// read differently (\s, \w, \b, anchors, look-around) is refused.
func (p pattern) compile() (*regexp.Regexp, error) {
	if p.String != nil {
		if *p.String == "" {
			return nil, unsupported("an empty pattern")
		}
		return regexp.MustCompile(regexp.QuoteMeta(*p.String)), nil
	}
	if p.Regex == nil {
		return nil, unsupported("a pattern without String or Regex")
	}
	s := *p.Regex
	for _, part := range []string{"(?", "&&", "[[", "$"} {
		if strings.Contains(s, part) {
			return nil, unsupported("%q in the regular expression %q", part, s)
		}
	}
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			if c := s[i]; c >= '0' && c <= '9' || unicode.IsLetter(rune(c)) && !strings.ContainsRune("pPnrt", rune(c)) {
				return nil, unsupported(`\%c in the regular expression %q`, c, s)
			}
		case s[i] == '^' && (i == 0 || s[i-1] != '['):
			return nil, unsupported("%q in the regular expression %q", "^", s)
		}
	}
	r, err := regexp.Compile(s)
	if err != nil {
		return nil, unsupported("the regular expression %q (%v)", s, err)
	}
	if r.MatchString("") {
		return nil, unsupported("the regular expression %q, which matches nothing at all,", s)
	}
	return r, nil
}

func (r *normalizerReader) readReplace(c component) ([]step, error) {
	var f struct {
		Type    string  `json:"type"`
		Pattern pattern `json:"pattern"`
		Content string  `json:"content"`
	}
	if err := c.fields(&f); err != nil {
		return nil, err
	}
	p, err := f.Pattern.compile()
	if err != nil {
		return nil, err
	}
	return []step{func(t []mapped) []mapped { return replaced(t, matches(t, p.FindAllStringIndex), f.Content) }}, r.grow(utf8.RuneCountInString(f.Content))
}

// replaced puts content in the place of every match, with the span of the last character matched.
func replaced(t []mapped, found []stretch, content string) []mapped {
	var out []mapped
	for _, s := range found {
		if !s.match {
			out = append(out, t[s.start:s.end]...)
			continue
		}
		for _, c := range content {
			out = append(out, mapped{c, t[max(s.end-1, 0)].span})
		}
	}
	return out
}
