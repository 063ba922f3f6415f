package dataset

import (
	"fmt"
	"iter"
	"strings"

	"ostraca/retrieval"
)

// Document is a text with what its owner says of it.
type Document struct {
	ID     string
	Text   string
	Fields map[string]any // as encoding/json reads them; nil when there are none
}

// Query is a question.
type Query struct {
	ID   string
	Text string
}

// Documents reads the documents of a BEIR directory, or of a .jsonl or .jsonl.gz file, one by one; each use of the
// sequence reads anew. It ends after the first error.
//
// A document's text is its title, one space, and its text, trimmed of white space (docs/encoder.md). The title is the
// field "title" too, when it is not empty. The text may be empty.
func Documents(path string) iter.Seq2[Document, error] {
	return func(yield func(Document, error) bool) {
		file, err := corpus(path)
		if err != nil {
			yield(Document{}, err)
			return
		}
		documents(file, lines(file))(yield)
	}
}

// Count returns the number of documents that [Documents] would read, or fail to, by counting lines: for progress bars.
func Count(path string) (int, error) {
	file, err := corpus(path)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, err := range lines(file) {
		if err != nil && !isLineError(err) {
			return 0, err
		}
		n++
	}
	return n, nil
}

// Queries reads the queries of a directory (queries.jsonl or queries.jsonl.gz) or of a file. A query has an id and a
// text, which is not empty; all else is left out.
func Queries(path string) ([]Query, error) {
	file, err := findIn(path, "queries.jsonl", "queries.jsonl.gz")
	if err != nil {
		return nil, err
	}
	var out []Query
	for r, err := range records(file, lines(file)) {
		if err != nil {
			return nil, err
		}
		text, err := r.takeText(retrieval.MaxTextBytes)
		if err != nil {
			return nil, err
		}
		if strings.TrimSpace(text) == "" {
			return nil, r.invalid("query %q has an empty text", r.id)
		}
		out = append(out, Query{r.id, text})
	}
	return out, nil
}

// corpus returns the file of documents of a BEIR directory or JSONL file.
func corpus(path string) (string, error) {
	switch layout, err := Detect(path); {
	case err != nil:
		return "", err
	case layout == NPY:
		return "", fmt.Errorf("%s: holds token vectors, not texts: %w", path, retrieval.ErrInvalid)
	}
	return findIn(path, "corpus.jsonl", "corpus.jsonl.gz")
}

func documents(file string, all iter.Seq2[line, error]) iter.Seq2[Document, error] {
	return func(yield func(Document, error) bool) {
		for r, err := range records(file, all) {
			var d Document
			if err == nil {
				d, err = r.document(retrieval.MaxTextBytes)
			}
			if !yield(d, err) || err != nil {
				return
			}
		}
	}
}

// document takes a document out of the record, whose text may have maxText bytes.
func (r record) document(maxText int) (Document, error) {
	title, _, err := r.takeString("title")
	if err != nil {
		return Document{}, err
	}
	text, err := r.takeText(maxText)
	if err != nil {
		return Document{}, err
	}
	d := Document{ID: r.id, Text: strings.TrimSpace(title + " " + text)}
	if err := checkText(d.Text, maxText); err != nil {
		return Document{}, r.wrap(err)
	}
	if d.Fields, err = r.takeFields(); err != nil {
		return Document{}, err
	}
	if strings.TrimSpace(title) == "" {
		return d, nil
	}
	if _, ok := d.Fields["title"]; ok {
		return Document{}, r.invalid(`"title" is given twice, inside and outside of "fields"`)
	}
	if d.Fields == nil {
		d.Fields = map[string]any{}
	}
	d.Fields["title"] = title
	return d, nil
}

// takeText takes the text, which must be there.
func (r record) takeText(limit int) (string, error) {
	text, ok, err := r.takeString("text")
	if err != nil {
		return "", err
	}
	if !ok {
		return "", r.invalid(`no "text"`)
	}
	if err := checkText(text, limit); err != nil {
		return "", r.wrap(err)
	}
	return text, nil
}
