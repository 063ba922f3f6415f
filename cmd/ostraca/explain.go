package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/fatih/color"
	"github.com/rivo/uniseg"

	"ostraca/api"
	"ostraca/retrieval"
)

// hitJSON is a hit as --json prints it.
type hitJSON struct {
	ID         string          `json:"id"`
	Score      float64         `json:"score"`
	Text       string          `json:"text"`
	Fields     map[string]any  `json:"fields,omitempty"`
	Alignments []alignmentJSON `json:"alignments,omitempty"`
}

// alignmentJSON says which stretch of the document a token of the question met, by bytes of both texts.
type alignmentJSON struct {
	Query    tokenJSON `json:"query"`
	Document tokenJSON `json:"document"`
	Cosine   float64   `json:"cosine"`
	Weight   float64   `json:"weight"`
	Score    float64   `json:"score"` // cosine times weight: the scores of a hit add up to its own
}

type tokenJSON struct {
	Token int    `json:"token"` // its place
	Text  string `json:"text"`
	Start uint32 `json:"start"`
	End   uint32 `json:"end"`
}

// answers turns hits into what people and scripts read.
func (m *memory) answers(q question, hits []retrieval.Hit, explain bool) ([]hitJSON, error) {
	out := make([]hitJSON, len(hits))
	for i, h := range hits {
		d, err := m.index.Get(h.ID)
		if err != nil {
			return nil, err
		}
		out[i] = hitJSON{ID: h.ID, Score: h.Score, Text: d.Text, Fields: d.Fields}
		if explain {
			out[i].Alignments = m.alignments(q, h, d)
		}
	}
	return out, nil
}

func (m *memory) alignments(q question, h retrieval.Hit, d retrieval.Document) []alignmentJSON {
	out := make([]alignmentJSON, len(h.Alignments))
	for i, x := range q.Explain(h, d.Text, d.Spans) {
		span := q.tokens[i].Span
		token := q.text[span.Start:span.End]
		if token == "" { // of a model that adds tokens of its own
			token = m.encoder.Tokenizer().Piece(q.tokens[i].ID)
		}
		out[i] = alignmentJSON{
			Query:    tokenJSON{i, token, span.Start, span.End},
			Document: tokenJSON{x.Position, x.Text, x.Span.Start, x.Span.End},
			Cosine:   x.Cosine,
			Weight:   x.Weight,
			Score:    x.Score,
		}
	}
	return out
}

// hitOf is a hit of a cluster.
func hitOf(h *api.Hit) hitJSON {
	out := hitJSON{ID: h.GetId(), Score: h.GetScore(), Text: h.GetText(), Fields: fieldsOf(h.GetFields())}
	for i, x := range h.GetAlignments() {
		q, d := x.GetQuerySpan(), x.GetSpan()
		out.Alignments = append(out.Alignments, alignmentJSON{
			Query:    tokenJSON{i, x.GetQueryToken(), q.GetStart(), q.GetEnd()},
			Document: tokenJSON{int(x.GetPosition()), x.GetText(), d.GetStart(), d.GetEnd()},
			Cosine:   x.GetCosine(), Weight: x.GetWeight(), Score: x.GetScore(),
		})
	}
	return out
}

// palette colours what a terminal shows; elsewhere, and with NO_COLOR set, it does nothing.
type palette struct{ strong, good, fair, dim *color.Color }

func (a *app) palette() palette {
	p := palette{color.New(color.Bold), color.New(color.FgGreen, color.Bold), color.New(color.FgYellow), color.New(color.Faint)}
	for _, c := range []*color.Color{p.strong, p.good, p.fair, p.dim} {
		if os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && a.terminal {
			c.EnableColor()
		} else {
			c.DisableColor()
		}
	}
	return p
}

// Cosines from which a match is shown as good or fair.
const goodCosine, fairCosine = .8, .65

func (p palette) of(cosine float64) *color.Color {
	switch {
	case cosine >= goodCosine:
		return p.good
	case cosine >= fairCosine:
		return p.fair
	}
	return p.dim
}

// printHit shows a hit: its text around the matches, and with alignments which tokens matched.
func (a *app) printHit(rank int, h hitJSON) {
	p := a.palette()
	a.printf("%s  %s\n", p.strong.Sprintf("%2d. %s", rank, printable(h.ID)), p.dim.Sprintf("score %.3f", h.Score))
	if h.Text != "" {
		a.printf("    %s\n", excerpt(h, p))
	}
	if len(h.Alignments) == 0 {
		return
	}
	a.printf("    %s %s %7s %7s %7s\n", cell("question", questionWidth), cell("document", documentWidth), "cosine", "weight", "score")
	for _, x := range h.Alignments {
		text := x.Document.Text
		if text == "" {
			text = "token"
		}
		place := fmt.Sprintf("%s @%d", cut(text, documentWidth-6), x.Document.Token)
		line := p.of(x.Cosine).Sprintf("%s %s %7.3f", cell(x.Query.Text, questionWidth), cell(place, documentWidth), x.Cosine)
		a.printf("    %s %7.2f %7.3f\n", line, x.Weight, x.Score)
	}
}

// Columns of the table of alignments.
const questionWidth, documentWidth = 18, 22

// cell cuts and pads a text to a width on the screen, which wide and combining characters do not have by their number.
func cell(s string, width int) string {
	s = cut(s, width)
	return s + strings.Repeat(" ", max(0, width-uniseg.StringWidth(s)))
}

// cut shortens a text to a width on the screen, in one line.
func cut(s string, width int) string {
	s = strings.Join(strings.Fields(printable(s)), " ")
	if uniseg.StringWidth(s) <= width {
		return s
	}
	var b strings.Builder
	used := 0
	for g := uniseg.NewGraphemes(s); g.Next() && used+g.Width() < width; used += g.Width() {
		b.WriteString(g.Str())
	}
	return b.String() + "…"
}

// printable replaces what would steer a terminal: control characters, and those that change the direction of text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r):
			return '\ufffd'
		}
		return r
	}, s)
}

// excerptBytes is how much of a text is shown around its best match.
const excerptBytes = 300

// excerpt returns the part of the text that holds the weightiest match, with matched spans marked.
func excerpt(h hitJSON, p palette) string {
	from, to := 0, min(len(h.Text), excerptBytes)
	if len(h.Alignments) > 0 {
		best := slices.MaxFunc(h.Alignments, func(a, b alignmentJSON) int { return cmp.Compare(a.Score, b.Score) })
		from = max(0, min(int(best.Document.Start)-excerptBytes/2, len(h.Text)-excerptBytes))
		to = min(len(h.Text), from+excerptBytes)
	}
	from, to = toRune(h.Text, from), toRune(h.Text, to)
	var b strings.Builder
	if from > 0 {
		b.WriteString("…")
	}
	marks := slices.Clone(h.Alignments)
	slices.SortFunc(marks, func(a, b alignmentJSON) int {
		return cmp.Or(cmp.Compare(a.Document.Start, b.Document.Start), cmp.Compare(b.Cosine, a.Cosine))
	})
	at := from
	for _, x := range marks {
		s, e := int(x.Document.Start), int(x.Document.End)
		if s < at || e > to || s == e || x.Cosine < fairCosine {
			continue
		}
		b.WriteString(printable(h.Text[at:s]))
		b.WriteString(p.of(x.Cosine).Sprint(printable(h.Text[s:e])))
		at = e
	}
	b.WriteString(printable(h.Text[at:to]))
	if to < len(h.Text) {
		b.WriteString("…")
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// toRune moves a byte offset down to the start of a rune.
func toRune(s string, i int) int {
	for i > 0 && i < len(s) && s[i]&0xc0 == 0x80 {
		i--
	}
	return i
}
