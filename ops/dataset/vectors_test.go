package dataset

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"ostraca/retrieval"
)

// The directory was written by NumPy, and has vectors only.
func TestVectorsOfNumPy(t *testing.T) {
	v, err := OpenVectors("testdata/numpy")
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if v.Width() != 4 || v.Len() != 4 || v.Tokens() != 6 || v.QueryLen() != 2 {
		t.Errorf("width %d, %d documents, %d tokens, %d queries", v.Width(), v.Len(), v.Tokens(), v.QueryLen())
	}
	docs, err := collect(v.Documents())
	if err != nil {
		t.Fatal(err)
	}
	token := 0
	for i, n := range []int{3, 0, 1, 2} {
		want := Row{Document: Document{ID: fmt.Sprint(i)}, Vectors: []float32{}, VocabIDs: []int32{}}
		for range n {
			for d := range 4 {
				want.Vectors = append(want.Vectors, float32(4*token+d)/8-1)
			}
			want.VocabIDs = append(want.VocabIDs, int32(100+token))
			token++
		}
		if !reflect.DeepEqual(docs[i], want) {
			t.Errorf("row %d: %v, want %v", i, docs[i], want)
		}
	}
	queries, err := collect(v.Queries())
	if err != nil || len(queries) != 2 || len(queries[0].Vectors) != 4 || queries[1].Vectors[7] != float32(11)/7 || queries[1].ID != "1" {
		t.Errorf("%v, %v", queries, err)
	}
}

// rows makes some rows whose numbers are all halves, so that they come back as they were.
func rows(n, width int) []Row {
	random := rand.New(rand.NewPCG(1, 2))
	out := make([]Row, n)
	for i := range out {
		out[i].Document = Document{ID: fmt.Sprintf("d#%d", i), Text: " <a> & é\u2028\x00 ", Fields: map[string]any{"n": float64(i), "l": []any{"x"}}}
		out[i].Vectors, out[i].VocabIDs = []float32{}, []int32{}
		for range i % 5 { // the first is without tokens
			for range width {
				out[i].Vectors = append(out[i].Vectors, float32(random.IntN(2048)-1024)/1024)
			}
			out[i].VocabIDs = append(out[i].VocabIDs, random.Int32())
			out[i].Spans = append(out[i].Spans, retrieval.Span{Start: 1, End: uint32(len(out[i].Text))})
		}
	}
	return out
}

func writeAll(t *testing.T, dir string, docs, queries []Row) {
	t.Helper()
	w, err := CreateVectors(dir, 24)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range docs {
		err = errors.Join(err, w.AddDocument(row))
	}
	for _, row := range queries {
		err = errors.Join(err, w.AddQuery(row))
	}
	if err := errors.Join(err, w.Close(), w.Abort()); err != nil {
		t.Fatal(err)
	}
}

func TestWriteAndRead(t *testing.T) {
	docs, queries := rows(300, 24), rows(7, 24)
	for i := range queries {
		queries[i].VocabIDs = nil // there is no file of them
		for j := range queries[i].Vectors {
			queries[i].Vectors[j] /= 3 // which no half holds
		}
	}
	dir := filepath.Join(t.TempDir(), "new", "dir")
	writeAll(t, dir, docs, queries)
	if layout, err := Detect(dir); layout != NPY {
		t.Error(layout, err)
	}
	names, _ := filepath.Glob(dir + "/*")
	if len(names) != 7 {
		t.Errorf("files: %v", names)
	}
	v, err := OpenVectors(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if v.Len() != 300 || v.Tokens() != 600 || v.QueryLen() != 7 || v.Width() != 24 {
		t.Errorf("%d documents, %d tokens, %d queries, width %d", v.Len(), v.Tokens(), v.QueryLen(), v.Width())
	}
	for range 2 {
		if got, err := collect(v.Documents()); err != nil || !reflect.DeepEqual(got, docs) {
			t.Errorf("documents differ: %v", err)
		}
		if got, err := collect(v.Queries()); err != nil || !reflect.DeepEqual(got, queries) {
			t.Errorf("queries differ: %v", err)
		}
	}
	for row := range v.Documents() {
		if row.ID != "d#0" {
			t.Error(row)
		}
		break
	}
	if got, err := Queries(dir); err != nil || len(got) != 7 {
		t.Errorf("as texts: %v, %v", got, err)
	}
}

// A directory may have no queries, and no vocabulary ids.
func TestWriteLess(t *testing.T) {
	dir := t.TempDir()
	docs := rows(9, 24)
	for i := range docs {
		docs[i].VocabIDs, docs[i].Spans, docs[i].Fields = nil, nil, nil
	}
	writeAll(t, dir, docs, nil)
	v, err := OpenVectors(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if got, err := collect(v.Documents()); err != nil || !reflect.DeepEqual(got, docs) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := collect(v.Queries()); got != nil || err != nil || v.QueryLen() != 0 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestInterruptedWrite(t *testing.T) {
	dir := t.TempDir()
	w, err := CreateVectors(dir, 24)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows(50, 24) {
		if err := w.AddDocument(row); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Detect(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory half written looks whole: %v", err)
	}
	_, err = CreateVectors(dir, 24)
	wantError(t, err, fs.ErrExist, "delete this folder")
	if err := errors.Join(w.Abort(), w.Abort()); err != nil {
		t.Fatal(err)
	}
	writeAll(t, dir, rows(5, 24), nil)
	_, err = CreateVectors(dir, 24)
	wantError(t, err, retrieval.ErrInvalid, "doc_tokens.npy is already there")
	if _, err := os.Stat(filepath.Join(dir, partial)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the lock stayed: %v", err)
	}
}

// A file cannot be moved to where a directory is: what was moved before does not look whole.
func TestFailedClose(t *testing.T) {
	dir := t.TempDir()
	w, err := CreateVectors(dir, 24)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.AddDocument(rows(2, 24)[1]), os.Mkdir(filepath.Join(dir, docTexts), 0o777)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err == nil {
		t.Error("closed")
	}
	if _, err := Detect(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half of the files look whole: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, partial)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the lock stayed: %v", err)
	}
}

func TestWriterRefuses(t *testing.T) {
	good := rows(2, 24)[1]
	for part, change := range map[string]func(*Row){
		"id is empty":         func(r *Row) { r.ID = "" },
		"control":             func(r *Row) { r.ID = "a\tb" },
		`"\xff" is not UTF-8`: func(r *Row) { r.ID = "\xff" },
		"not UTF-8":           func(r *Row) { r.Text = "\xff" + r.Text[1:] },
		"the text has":        func(r *Row) { r.Text = strings.Repeat("x", retrieval.MaxTextBytes+1) },
		"of width 24":         func(r *Row) { r.Vectors = r.Vectors[1:] },
		"4097 tokens":         func(r *Row) { r.Vectors = make([]float32, 24*4097) },
		"1 vectors, 2 voc":    func(r *Row) { r.VocabIDs = make([]int32, 2) },
		"0 spans":             func(r *Row) { r.Spans = []retrieval.Span{} },
		"negative":            func(r *Row) { r.VocabIDs = []int32{-1} },
		"span 0 is [3, 99]":   func(r *Row) { r.Spans = []retrieval.Span{{Start: 3, End: 99}} },
		"span 0 is [3, 2]":    func(r *Row) { r.Spans = []retrieval.Span{{Start: 3, End: 2}} },
		"holds NaN":           func(r *Row) { r.Vectors[0] = float32(math.NaN()) },
		"value of 65,520":     func(r *Row) { r.Vectors[23] = -65520 },
		"unsupported value":   func(r *Row) { r.Fields = map[string]any{"x": math.Inf(1)} },
		"some documents":      func(r *Row) { r.VocabIDs = nil },
	} {
		dir := t.TempDir()
		w, err := CreateVectors(dir, 24)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.AddDocument(good); err != nil {
			t.Fatal(err)
		}
		bad := rows(2, 24)[1]
		change(&bad)
		err = w.AddDocument(bad)
		checkSentinel(t, err)
		if err == nil || !strings.Contains(err.Error(), part) || !strings.Contains(err.Error(), dir) {
			t.Errorf("error %v, want one with %q", err, part)
		}
		if err := w.Abort(); err != nil {
			t.Error(err)
		}
	}
	_, err := CreateVectors(t.TempDir(), 4097)
	wantError(t, err, retrieval.ErrInvalid, "4097 wide")
	_, err = CreateVectors(filepath.Join(write(t, "file", "x"), "file"), 4)
	if _, ok := errors.AsType[*fs.PathError](err); !ok {
		t.Errorf("a file for a directory: %v", err)
	}
	w, err := CreateVectors(t.TempDir(), 4)
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, w.Close(), retrieval.ErrInvalid, "no documents")
}

func TestBrokenVectors(t *testing.T) {
	source := t.TempDir()
	writeAll(t, source, rows(4, 24), rows(3, 24))
	file := func(header string, values ...byte) string { return string(array(header, 0)) + string(values) }
	ints := func(values ...byte) string {
		return file(fmt.Sprintf("{'descr': '|u1', 'fortran_order': False, 'shape': (%d,), }\n", len(values)), values...)
	}
	texts := func(n int, more string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "{\"id\": \"%d\"}\n", i)
		}
		return b.String() + more
	}
	for _, c := range []struct {
		name, content string
		sentinel      error
		part          string
	}{
		{docTokens, "", fs.ErrNotExist, docTokens},
		{docLens, "", fs.ErrNotExist, docLens},
		{queryTokens, "", fs.ErrNotExist, queryTokens},
		{queryLens, "", fs.ErrNotExist, queryLens},
		{docTokens, "x", retrieval.ErrCorrupt, "not a NumPy file"},
		{docLens, ints(0, 1, 2, 4), retrieval.ErrCorrupt, "add up to 7, and "},
		{docLens, file("{'descr': '<i4', 'fortran_order': False, 'shape': (1,), }\n", 255, 255, 255, 255), retrieval.ErrCorrupt, "a value of -1"},
		{docLens, file("{'descr': '<i2', 'fortran_order': False, 'shape': (1,), }\n", 254, 255), retrieval.ErrCorrupt, "a value of -2"},
		{docLens, file("{'descr': '<u8', 'fortran_order': False, 'shape': (1,), }\n", 0, 0, 0, 128, 0, 0, 0, 0), retrieval.ErrCorrupt, "a value of 2147483648"},
		{docLens, file("{'descr': '<u8', 'fortran_order': False, 'shape': (1,), }\n", 0, 0, 0, 0, 0, 0, 0, 128), retrieval.ErrCorrupt, "a value of 9223372036854775807"},
		{docLens, file("{'descr': '<i4', 'fortran_order': False, 'shape': (1,), }\n", 1, 16, 0, 0), retrieval.ErrTooLarge, "row 0 has 4097 tokens"},
		{docVocab, ints(1, 2), retrieval.ErrCorrupt, "has 2 ids for 6 tokens"},
		{docVocab, file("{'descr': '<i8', 'fortran_order': False, 'shape': (6,), }\n", append(make([]byte, 47), 255)...), retrieval.ErrCorrupt, "a value of -"},
		{queryTokens, file("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 1), }\n", make([]byte, 12)...), retrieval.ErrCorrupt, "1 wide, those of the documents 24"},
		{docTokens, file("{'descr': '<f4', 'fortran_order': False, 'shape': (6, 0), }\n"), retrieval.ErrCorrupt, "0 wide"},
		{docTexts, texts(3, ""), retrieval.ErrCorrupt, "has 3 lines for 4 rows"},
		{docTexts, texts(5, ""), retrieval.ErrCorrupt, "more lines than the 4 rows"},
		{docTexts, texts(3, `{"id": "1"}`), retrieval.ErrInvalid, "docs.jsonl:4: id \"1\" was already on line 2"},
		{docTexts, texts(3, `{"id": "3", "spans": [[0, 0]]}`), retrieval.ErrCorrupt, "1 spans for 3 tokens"},
		{docTexts, texts(3, `{"id": "3", "spans": [[0, 1]]}`), retrieval.ErrInvalid, "docs.jsonl:4: span 0 is [0, 1] in a text of 0 bytes"},
		{docTexts, texts(3, `{"id": "3", "spans": [[0]]}`), retrieval.ErrInvalid, "no pair"},
		{docTexts, texts(3, `{"id": "3", "spans": [[-1, 0]]}`), retrieval.ErrInvalid, "not pairs"},
		{docTexts, texts(3, `{"id": "3", "text": 3}`), retrieval.ErrInvalid, `docs.jsonl:4: "text" is not a string`},
		{docTexts, texts(3, `{"id": "3", "text": "`+strings.Repeat("x", retrieval.MaxTextBytes+1)+`"}`), retrieval.ErrTooLarge, "docs.jsonl:4: the text has"},
	} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(source)); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, c.name)
		err := os.Remove(path)
		if c.content != "" {
			err = errors.Join(err, os.WriteFile(path, []byte(c.content), 0o666))
		}
		if err != nil {
			t.Fatal(err)
		}
		wantError(t, readAll(dir), c.sentinel, c.part)
	}
	wantError(t, readAll(filepath.Join(source, "none")), fs.ErrNotExist, "none")
}

func readAll(dir string) error {
	v, err := OpenVectors(dir)
	if err != nil {
		return err
	}
	defer v.Close()
	_, err1 := collect(v.Documents())
	_, err2 := collect(v.Queries())
	return errors.Join(err1, err2)
}
