package dataset

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"unicode/utf8"

	"ostraca/retrieval"
)

// partial is the folder in the target where the files grow. It is the lock as well: who made it writes, nobody else.
const partial = "partial"

// VectorWriter writes a directory of the npy layout, row by row, holding nothing. The files grow in a folder "partial" of
// the directory and are moved by [VectorWriter.Close], doc_tokens.npy last, so that what was interrupted never looks
// whole. After an error only [VectorWriter.Abort] is of use. It is for one goroutine.
type VectorWriter struct {
	dir     string
	width   int
	docs    table
	queries table    // made with the first query
	vocab   *growing // made with the first document that has vocabulary ids
	files   []*growing
	made    bool // the directory was not there before
	over    bool // closed or aborted
}

// table is the three files of documents, or of queries.
type table struct{ tokens, lens, texts *growing }

// CreateVectors starts a directory of vectors of a width, and makes it if it is not there. One that already holds files of
// the layout is refused, and so is one that another writer has not finished.
func CreateVectors(dir string, width int) (*VectorWriter, error) {
	if width < 1 || width > maxWidth {
		return nil, fmt.Errorf("vectors are %d wide, want 1 to %d: %w", width, maxWidth, retrieval.ErrInvalid)
	}
	_, before := os.Stat(dir)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	lock := filepath.Join(dir, partial)
	if err := os.Mkdir(lock, 0o777); errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%w: another encode is writing here; if it was killed, delete this folder", err)
	} else if err != nil {
		return nil, err
	}
	w := &VectorWriter{dir: dir, width: width, made: errors.Is(before, fs.ErrNotExist)}
	if err := w.start(); err != nil {
		return nil, errors.Join(err, w.Abort())
	}
	return w, nil
}

func (w *VectorWriter) start() error {
	old, err := find(w.dir, docTokens, docLens, docVocab, docTexts, queryTokens, queryLens, queryTexts)
	if err == nil {
		return fmt.Errorf("%s is already there: choose another directory, or delete it: %w", old, retrieval.ErrInvalid)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	w.docs, err = w.table(docTokens, "<f2", docLens, docTexts)
	return err
}

func (w *VectorWriter) table(tokens, dtype, lens, texts string) (t table, err error) {
	if t.tokens, err = w.grow(tokens, npy{dtype: dtype, dims: 2, cols: int64(w.width)}); err != nil {
		return t, err
	}
	if t.lens, err = w.grow(lens, npy{dtype: "<i4", dims: 1, cols: 1}); err != nil {
		return t, err
	}
	t.texts, err = w.grow(texts, npy{})
	return t, err
}

// AddDocument appends a document; its vectors are rounded to float16. Of the documents with tokens either all have
// vocabulary ids or none. Two of the same id are not found here, but by whoever reads them.
func (w *VectorWriter) AddDocument(row Row) error {
	n, err := w.check(row, retrieval.MaxDocumentTokens)
	if err != nil {
		return err
	}
	if err := w.addVocab(row, n); err != nil {
		return err
	}
	raw := make([]byte, 0, 2*len(row.Vectors))
	for _, x := range row.Vectors {
		raw = binary.LittleEndian.AppendUint16(raw, toFloat16(x))
	}
	return w.docs.add(row, raw, n)
}

// AddQuery appends a query; its vectors stay float32. A directory without a query has no files of queries.
func (w *VectorWriter) AddQuery(row Row) error {
	n, err := w.check(row, retrieval.MaxQueryTokens)
	if err != nil {
		return err
	}
	if w.queries.tokens == nil {
		if w.queries, err = w.table(queryTokens, "<f4", queryLens, queryTexts); err != nil {
			return err
		}
	}
	raw := make([]byte, 0, 4*len(row.Vectors))
	for _, x := range row.Vectors {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	return w.queries.add(row, raw, n)
}

// check returns the number of tokens of a row that can be written.
func (w *VectorWriter) check(row Row, longest int) (int, error) {
	n := len(row.Vectors) / w.width
	err := errors.Join(retrieval.CheckID(row.ID), checkText(row.Text, retrieval.MaxTextBytes), checkSpans(row.Spans, row.Text))
	switch {
	case err != nil:
	case len(row.Vectors) != n*w.width:
		err = fmt.Errorf("%d numbers are no vectors of width %d: %w", len(row.Vectors), w.width, retrieval.ErrInvalid)
	case n > longest:
		err = fmt.Errorf("%d tokens, the limit is %d: %w", n, longest, retrieval.ErrTooLarge)
	case row.VocabIDs != nil && len(row.VocabIDs) != n, row.Spans != nil && len(row.Spans) != n:
		err = fmt.Errorf("%d vectors, %d vocabulary ids, %d spans: %w", n, len(row.VocabIDs), len(row.Spans), retrieval.ErrInvalid)
	case slices.ContainsFunc(row.VocabIDs, func(id int32) bool { return id < 0 }):
		err = fmt.Errorf("a negative vocabulary id: %w", retrieval.ErrInvalid)
	case slices.ContainsFunc(row.Vectors, overHalf):
		err = fmt.Errorf("a vector holds NaN or a value of 65,520 or more, which float16 cannot: %w", retrieval.ErrInvalid)
	case !utf8.ValidString(row.Text):
		err = fmt.Errorf("the text is not UTF-8: %w", retrieval.ErrInvalid)
	}
	if err != nil {
		return 0, fmt.Errorf("%s: row %q: %w", w.dir, row.ID, err)
	}
	return n, nil
}

func overHalf(x float32) bool { return toFloat16(x)&0x7c00 == 0x7c00 }

// addVocab writes the vocabulary ids. The first document with tokens decides whether there are any.
func (w *VectorWriter) addVocab(row Row, n int) (err error) {
	if n == 0 {
		return nil
	}
	if row.VocabIDs != nil && w.docs.tokens.rows == 0 {
		if w.vocab, err = w.grow(docVocab, npy{dtype: "<i4", dims: 1, cols: 1}); err != nil {
			return err
		}
	}
	if (row.VocabIDs != nil) != (w.vocab != nil) {
		return fmt.Errorf("%s: row %q: some documents have vocabulary ids and some have not: %w", w.dir, row.ID, retrieval.ErrInvalid)
	}
	if w.vocab == nil {
		return nil
	}
	raw := make([]byte, 0, 4*n)
	for _, id := range row.VocabIDs {
		raw = binary.LittleEndian.AppendUint32(raw, uint32(id))
	}
	return w.vocab.write(raw, n)
}

// add appends a row of n tokens to the three files.
func (t table) add(row Row, vectors []byte, n int) error {
	text, err := row.jsonLine()
	if err != nil {
		return fmt.Errorf("%s: row %q: %w", t.texts.file, row.ID, err)
	}
	return errors.Join(
		t.tokens.write(vectors, n),
		t.lens.write(binary.LittleEndian.AppendUint32(nil, uint32(n)), 1),
		t.texts.write(text, 1))
}

// Close finishes the files and moves them to their places. On an error it does what Abort does.
func (w *VectorWriter) Close() error {
	if err := w.publish(); err != nil {
		return errors.Join(err, w.Abort())
	}
	w.over = true
	return os.Remove(filepath.Join(w.dir, partial))
}

func (w *VectorWriter) publish() error {
	if w.docs.lens.rows == 0 {
		return fmt.Errorf("%s: no documents were written: %w", w.dir, retrieval.ErrInvalid)
	}
	for _, g := range w.files {
		if err := g.finish(); err != nil {
			return err
		}
	}
	for i, g := range slices.Backward(w.files) {
		if i == 0 { // doc_tokens.npy, by which the rest is found, only when that rest is safe
			if err := syncDir(w.dir); err != nil {
				return err
			}
		}
		if err := os.Rename(g.file, filepath.Join(w.dir, filepath.Base(g.file))); err != nil {
			return err
		}
	}
	return syncDir(w.dir)
}

// Abort deletes what was written. After Close it does nothing, so that it can be deferred.
func (w *VectorWriter) Abort() error {
	if w.over {
		return nil
	}
	w.over = true
	for _, g := range w.files {
		g.f.Close() // some may be closed already
	}
	err := os.RemoveAll(filepath.Join(w.dir, partial))
	if w.made && err == nil {
		_ = os.Remove(w.dir) // only if it is empty; somebody else's files stay
	}
	return err
}
