package main

import (
	"fmt"
	"maps"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
	"google.golang.org/protobuf/types/known/structpb"

	"ostraca/ops/dataset"
	"ostraca/retrieval"
)

// passageBytes is the longest passage of a text that is cut. A token stands for a byte at least, so that no passage of this length has
// more tokens than a document may, with [CLS] and [SEP], whatever the tokenizer.
const passageBytes = retrieval.MaxDocumentTokens - 2

// span is a piece of a text, by its bytes.
type span struct{ start, end int }

// split cuts a text into passages ID#0, ID#1, ... of one parent, with the fields of the whole and where each starts and ends in it.
func split(x item) ([]item, error) {
	for _, name := range []string{"start", "end"} {
		if _, taken := x.Fields[name]; taken {
			return nil, fmt.Errorf("it is too long, and a passage of it has fields start and end, but %q is taken: rename it: %w", name, retrieval.ErrInvalid)
		}
	}
	var out []item
	for i, at := range cutText(x.Text, passageBytes) {
		fields := maps.Clone(x.Fields)
		if fields == nil {
			fields = map[string]any{}
		}
		fields["start"], fields["end"] = float64(at.start), float64(at.end)
		s := dataset.Stored{Document: dataset.Document{ID: fmt.Sprintf("%s#%d", x.ID, i), Text: x.Text[at.start:at.end], Fields: fields}, Line: x.Line}
		wire, err := structpb.NewStruct(fields)
		if err != nil {
			return nil, err
		}
		out = append(out, item{Stored: s, fields: wire})
	}
	return out, nil
}

// cutText returns pieces of at most limit bytes, each of as many whole sentences as fit. A sentence that is longer is cut between words,
// a word that is longer between characters. White space around a piece belongs to none.
func cutText(text string, limit int) []span {
	var out []span
	add := func(start, end int) {
		piece := strings.TrimLeftFunc(text[start:end], unicode.IsSpace)
		start = end - len(piece)
		if piece = strings.TrimRightFunc(piece, unicode.IsSpace); piece != "" {
			out = append(out, span{start, start + len(piece)})
		}
	}
	start, at := 0, 0 // of the piece, and where its sentences end so far
	state, rest := -1, text
	for rest != "" {
		var sentence string
		sentence, rest, state = uniseg.FirstSentenceInString(rest, state)
		end := at + len(sentence)
		over := func() bool { return len(strings.TrimSpace(text[start:end])) > limit }
		if over() && at > start {
			add(start, at)
			start = at
		}
		for over() {
			n := cutSentence(text[start:end], limit)
			add(start, start+n)
			start += n
		}
		at = end
	}
	add(start, at)
	return out
}

// cutSentence returns where to cut a text over the limit: after its last white space, else where a character ends. It is never 0.
func cutSentence(text string, limit int) int {
	head := text[:limit]
	if i := strings.LastIndexFunc(head, unicode.IsSpace); i > 0 {
		_, n := utf8.DecodeRuneInString(head[i:])
		return i + n
	}
	for n := limit; n > 0; n-- {
		if utf8.RuneStart(text[n]) {
			return n
		}
	}
	return limit
}
