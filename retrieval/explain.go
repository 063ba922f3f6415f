package retrieval

// Match is one query token's [Alignment] in terms that people read.
type Match struct {
	Position int     // of the token in the document
	Span     Span    // of the token in the document's text; empty where the document has no spans
	Text     string  // what the span covers: as bytes, for spans from outside may cut a character
	Cosine   float64 // of the two vectors, up to the rounding of the codes
	Weight   float64 // of the query token
	Score    float64 // cosine times weight: those of a hit add up to its score
}

// Explain returns a match for every alignment of a hit of q, given the text and the spans of its document.
func (q *Query) Explain(h Hit, text string, spans []Span) []Match {
	out := make([]Match, len(h.Alignments))
	for i, a := range h.Alignments {
		m := Match{
			Position: int(a.Token),
			Cosine:   q.Score(int64(a.Score) * UnitWeight),
			Weight:   float64(q.Weights[i]) / UnitWeight,
			Score:    q.Score(int64(a.Score) * int64(q.Weights[i])),
		}
		if m.Position < len(spans) {
			m.Span = spans[m.Position]
			m.Text = text[m.Span.Start:m.Span.End]
		}
		out[i] = m
	}
	return out
}
