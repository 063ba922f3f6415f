package dataset

import (
	"encoding/json"
	"fmt"
	"iter"
	"strconv"

	"ostraca/retrieval"
)

// Row is a document or query with its token vectors.
type Row struct {
	Document                  // the text as it was encoded, byte for byte; empty when only vectors are there
	Vectors  []float32        // end to end; none for a text without tokens
	Spans    []retrieval.Span // one a token, in bytes of the text; nil when unknown
	VocabIDs []int32          // one a token, of the encoder's vocabulary; nil when unknown
}

// Documents reads the documents one by one, in the order of the files; each use of the sequence reads anew. It ends after
// the first error. The slices are the caller's own. Without docs.jsonl the ids are the numbers of the rows, from 0.
func (v *Vectors) Documents() iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		var vocab *npyValues
		if v.vocabFile != nil {
			vocab = v.vocab.values(v.vocabFile)
		}
		v.docs.read(vocab, yield)
	}
}

// Queries reads the queries as [Vectors.Documents] does the documents. There may be none.
func (v *Vectors) Queries() iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		if v.queries.f != nil {
			v.queries.read(nil, yield)
		}
	}
}

func (m matrix) read(vocab *npyValues, yield func(Row, error) bool) {
	vectors, i := m.values(m.f), 0
	for row, err := range m.rowTexts() {
		if err == nil && i == len(m.lens) {
			err = fmt.Errorf("%s: has more lines than the %d rows of vectors: %w", m.texts, len(m.lens), retrieval.ErrCorrupt)
		}
		if err == nil {
			err = m.fill(&row, int(m.lens[i]), vectors, vocab)
		}
		if err != nil {
			yield(Row{}, err)
			return
		}
		if !yield(row, nil) {
			return
		}
		i++
	}
	if i < len(m.lens) {
		yield(Row{}, fmt.Errorf("%s: has %d lines for %d rows of vectors: %w", m.texts, i, len(m.lens), retrieval.ErrCorrupt))
	}
}

// fill reads the next n vectors into the row.
func (m matrix) fill(row *Row, n int, vectors, vocab *npyValues) (err error) {
	if row.Spans != nil && len(row.Spans) != n {
		return fmt.Errorf("%s: %q has %d spans for %d tokens: %w", m.texts, row.ID, len(row.Spans), n, retrieval.ErrCorrupt)
	}
	if row.Vectors, err = vectors.floats(n * int(m.cols)); err != nil {
		return err
	}
	if vocab != nil {
		row.VocabIDs, err = vocab.ints(n)
	}
	return err
}

// rowTexts yields the rows as far as the file of texts has them, or numbered ones if there is none.
func (m matrix) rowTexts() iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		if m.texts == "" {
			for i := range m.lens {
				if !yield(Row{Document: Document{ID: strconv.Itoa(i)}}, nil) {
					return
				}
			}
			return
		}
		rowTexts(m.texts, lines(m.texts))(yield)
	}
}

func rowTexts(file string, all iter.Seq2[line, error]) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for r, err := range records(file, all) {
			var row Row
			if err == nil {
				row, err = r.row()
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

// row takes the text, spans and fields of a row. The text is not trimmed, for the spans point into it.
func (r record) row() (row Row, err error) {
	row.ID = r.id
	if row.Text, _, err = r.takeString("text"); err != nil {
		return row, err
	}
	if err := checkText(row.Text, retrieval.MaxTextBytes); err != nil {
		return row, r.wrap(err)
	}
	raw := r.rest["spans"]
	delete(r.rest, "spans")
	if raw != nil && string(raw) != "null" {
		if row.Spans, err = parseSpans(raw); err != nil {
			return row, r.wrap(err)
		}
		if err := checkSpans(row.Spans, row.Text); err != nil {
			return row, r.wrap(err)
		}
	}
	row.Fields, err = r.takeFields()
	return row, err
}

// parseSpans reads [[start,end],...], or objects with these two as the public contract writes them.
func parseSpans(raw []byte) ([]retrieval.Span, error) {
	var objects []retrieval.Span
	if json.Unmarshal(raw, &objects) == nil {
		return objects, nil
	}
	var pairs [][]uint32
	if err := json.Unmarshal(raw, &pairs); err != nil {
		return nil, fmt.Errorf("spans are not pairs of numbers [[start, end], ...]: %w", retrieval.ErrInvalid)
	}
	spans := make([]retrieval.Span, len(pairs))
	for i, p := range pairs {
		if len(p) != 2 {
			return nil, fmt.Errorf("span %d is no pair [start, end]: %w", i, retrieval.ErrInvalid)
		}
		spans[i] = retrieval.Span{Start: p[0], End: p[1]}
	}
	return spans, nil
}

func checkSpans(spans []retrieval.Span, text string) error {
	for i, s := range spans {
		if s.Start > s.End || int64(s.End) > int64(len(text)) {
			return fmt.Errorf("span %d is [%d, %d] in a text of %d bytes: %w", i, s.Start, s.End, len(text), retrieval.ErrInvalid)
		}
	}
	return nil
}

// rowJSON is a line of docs.jsonl or queries.jsonl.
type rowJSON struct {
	ID     string         `json:"id"`
	Text   string         `json:"text"`
	Fields map[string]any `json:"fields,omitempty"`
	Spans  [][2]uint32    `json:"spans,omitempty"`
}

// jsonLine writes the row as its line, with the end.
func (row Row) jsonLine() ([]byte, error) {
	return jsonLine(rowJSON{ID: row.ID, Text: row.Text, Fields: row.Fields, Spans: pairs(row.Spans)})
}

func pairs(spans []retrieval.Span) [][2]uint32 {
	out := make([][2]uint32, len(spans))
	for i, s := range spans {
		out[i] = [2]uint32{s.Start, s.End}
	}
	return out
}
