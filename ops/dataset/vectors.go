package dataset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"ostraca/retrieval"
)

// The files of the npy layout.
const (
	docTokens   = "doc_tokens.npy"    // float16 [tokens, width], all documents end to end
	docLens     = "doc_lens.npy"      // int32 [documents]: tokens of each
	docVocab    = "doc_token_ids.npy" // int32 [tokens]: vocabulary ids; optional
	docTexts    = "docs.jsonl"        // a line a document; optional
	queryTokens = "query_tokens.npy"  // float32 [tokens, width]; the queries are optional together
	queryLens   = "query_lens.npy"    // int32 [queries]
	queryTexts  = "queries.jsonl"     // a line a query; optional
)

// maxWidth is the widest vector that is read or written: as wide as the hidden layer of an encoder may be. What a memory
// stores ends at [retrieval.MaxWidth].
const maxWidth = 4096

// Vectors is a directory of token vectors, open for reading. Of the documents only the lengths are in memory. It may be
// used by several goroutines.
type Vectors struct {
	dir       string
	docs      matrix
	queries   matrix
	vocab     npy      // ids of the vocabulary, if vocabFile is there
	vocabFile *os.File // or nil
}

// matrix is the vectors of many texts end to end.
type matrix struct {
	npy
	f       *os.File // nil when there is none
	lens    []int32
	texts   string // file, or empty
	longest int    // tokens that one may have
}

// OpenVectors opens a directory of the npy layout: doc_tokens.npy (float16, or wider floats), doc_lens.npy, and where they
// are there doc_token_ids.npy, docs.jsonl, query_tokens.npy with query_lens.npy, and queries.jsonl. All of it that does
// not need reading every token is checked: types, shapes, and that the lengths add up.
func OpenVectors(dir string) (*Vectors, error) {
	v := &Vectors{dir: dir}
	if err := v.open(); err != nil {
		v.Close()
		return nil, err
	}
	return v, nil
}

func (v *Vectors) open() (err error) {
	if v.docs, err = openMatrix(v.dir, docTokens, docLens, docTexts, retrieval.MaxDocumentTokens); err != nil {
		return err
	}
	tokens, err1 := find(v.dir, queryTokens)
	_, err2 := find(v.dir, queryLens)
	if !errors.Is(err1, fs.ErrNotExist) || !errors.Is(err2, fs.ErrNotExist) { // one without the other is an error
		v.queries, err = openMatrix(v.dir, queryTokens, queryLens, queryTexts, retrieval.MaxQueryTokens)
		if err != nil {
			return err
		}
		if v.queries.cols != v.docs.cols {
			return fmt.Errorf("%s: vectors are %d wide, those of the documents %d: %w", tokens, v.queries.cols, v.docs.cols, retrieval.ErrCorrupt)
		}
	}
	path, err := find(v.dir, docVocab)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if v.vocab, v.vocabFile, err = openNPY(path, 1, "iu"); err != nil {
		return err
	}
	if v.vocab.rows != v.docs.rows {
		return v.vocab.corrupt("has %d ids for %d tokens", v.vocab.rows, v.docs.rows)
	}
	return nil
}

// openMatrix opens the vectors and reads their lengths. On an error no file stays open.
func openMatrix(dir, tokens, lens, texts string, longest int) (m matrix, err error) {
	m.longest = longest
	if m.npy, m.f, err = openNPY(filepath.Join(dir, tokens), 2, "f"); err != nil {
		return matrix{}, err
	}
	if err = m.readLens(filepath.Join(dir, lens)); err == nil {
		m.texts, err = find(dir, texts)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err == nil && (m.cols < 1 || m.cols > maxWidth) {
		err = m.corrupt("vectors are %d wide, want 1 to %d", m.cols, maxWidth)
	}
	if err != nil {
		m.f.Close()
		return matrix{}, err
	}
	return m, nil
}

func (m *matrix) readLens(path string) error {
	a, f, err := openNPY(path, 1, "iu")
	if err != nil {
		return err
	}
	defer f.Close()
	if m.lens, err = a.values(f).ints(int(a.rows)); err != nil {
		return err
	}
	sum := int64(0)
	for i, n := range m.lens {
		if int(n) > m.longest {
			return fmt.Errorf("%s: row %d has %d tokens, the limit is %d: %w", path, i, n, m.longest, retrieval.ErrTooLarge)
		}
		sum += int64(n)
	}
	if sum != m.rows {
		return a.corrupt("the lengths add up to %d, and %s has %d rows", sum, m.file, m.rows)
	}
	return nil
}

// Close closes the files.
func (v *Vectors) Close() error {
	var errs []error
	for _, f := range []*os.File{v.docs.f, v.queries.f, v.vocabFile} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// Width returns the dimensions of a vector.
func (v *Vectors) Width() int { return int(v.docs.cols) }

// Len returns the number of documents, those without tokens included.
func (v *Vectors) Len() int { return len(v.docs.lens) }

// Tokens returns the number of token vectors of all documents.
func (v *Vectors) Tokens() int64 { return v.docs.rows }

// QueryLen returns the number of queries.
func (v *Vectors) QueryLen() int { return len(v.queries.lens) }
