package main

import (
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"ostraca/ops/dataset"
)

func TestCutText(t *testing.T) {
	for _, c := range []struct {
		text  string
		limit int
		want  []string
	}{
		{"One. Two. Three.", 10, []string{"One. Two.", "Three."}},
		{"One. Two. Three.", 16, []string{"One. Two. Three."}},
		{"Is it? Yes! It is.", 6, []string{"Is it?", "Yes!", "It is."}},
		{"  One.  \n\n Two.  ", 6, []string{"One.", "Two."}},
		{"no sentence ends here at all", 10, []string{"no", "sentence", "ends here", "at all"}},
		{"Short. No end in this one. Short.", 12, []string{"Short.", "No end in", "this one.", "Short."}},
		{strings.Repeat("x", 25), 10, []string{strings.Repeat("x", 10), strings.Repeat("x", 10), "xxxxx"}},
		{"東京は日本の首都です。大阪も大きい。", 36, []string{"東京は日本の首都です。", "大阪も大きい。"}},
		{strings.Repeat("東", 5), 10, []string{"東東東", "東東"}},
		{" \n\t ", 2, nil},
		{"", 2, nil},
	} {
		var got []string
		for _, at := range cutText(c.text, c.limit) {
			got = append(got, c.text[at.start:at.end])
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q cut at %d: %q, want %q", c.text, c.limit, got, c.want)
		}
	}
}

// TestCutTextLosesNothing: of any text every character that is not white space is in exactly one piece, in order, and no piece is over
// the limit or breaks a character.
func TestCutTextLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOf(rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{". ", "? ", "! ", "\n", " ", "a", "word ", "é", "東", "👩‍👩‍👧", "Mr. X"}))).Draw(t, "parts")
		text, limit := strings.Join(parts, ""), rapid.IntRange(utf8.UTFMax, 60).Draw(t, "limit")
		at, rest := 0, ""
		for _, s := range cutText(text, limit) {
			piece := text[s.start:s.end]
			if s.start < at || len(piece) > limit || piece == "" || !utf8.ValidString(piece) || strings.TrimSpace(piece) != piece {
				t.Fatalf("piece %q at %v after %d", piece, s, at)
			}
			rest += text[at:s.start]
			at = s.end
		}
		if rest += text[at:]; strings.TrimFunc(rest, unicode.IsSpace) != "" {
			t.Fatalf("%q is in no piece", rest)
		}
	})
}

func TestSplit(t *testing.T) {
	text := strings.Repeat("A sentence of some words. ", 1000)
	x, err := newItem(dataset.Stored{Document: dataset.Document{ID: "book", Text: text, Fields: map[string]any{"year": 1.0}}, Line: 7}, nil)
	if err != nil {
		t.Fatal(err)
	}
	parts, err := split(x)
	if err != nil || len(parts) != 7 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	for i, p := range parts {
		start, end := int(p.Fields["start"].(float64)), int(p.Fields["end"].(float64))
		if p.ID != "book#"+string(rune('0'+i)) || p.Text != text[start:end] || p.Fields["year"] != 1.0 || !strings.HasSuffix(p.Text, ".") || p.Line != 7 {
			t.Errorf("part %d: %q, %v", i, p.ID, p.Fields)
		}
	}
	x.Fields["end"] = "mine"
	if _, err := split(x); err == nil || !strings.Contains(err.Error(), `"end" is taken`) {
		t.Errorf("a field that is taken: %v", err)
	}
}
