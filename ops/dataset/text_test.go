package dataset

import (
	"bytes"
	"fmt"
	"io/fs"
	"iter"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"ostraca/retrieval"
)

func collect[T any](all iter.Seq2[T, error]) (out []T, err error) {
	for x, err := range all {
		if err != nil {
			return out, err
		}
		out = append(out, x)
	}
	return out, nil
}

const corpusLines = `{"_id": "a", "title": " One ", "text": "two ", "metadata": {}}
{"_id": "b", "title": "", "text": ""}

{"_id": 7, "title": null, "text": " x\ty ", "metadata": {"url": "u"}, "n": 1.5, "fields": {"k": ["v"]}}
{"id": "é#1", "text": "<b>&"}`

var corpusDocuments = []Document{
	{"a", "One  two", map[string]any{"title": " One "}},
	{"b", "", nil},
	{"7", "x\ty", map[string]any{"metadata": map[string]any{"url": "u"}, "n": 1.5, "k": []any{"v"}}},
	{"é#1", "<b>&", nil},
}

func TestDocuments(t *testing.T) {
	windows := "\ufeff" + strings.ReplaceAll(corpusLines, "\n", "\r\n") + "\r\n"
	dir := write(t, "plain.jsonl", corpusLines, "windows.jsonl", windows, "zip.jsonl.gz", zip(corpusLines),
		"beir/corpus.jsonl", corpusLines, "zipped/corpus.jsonl.gz", zip(windows),
		"both/corpus.jsonl", corpusLines, "both/corpus.jsonl.gz", "not read")
	for _, name := range []string{"plain.jsonl", "windows.jsonl", "zip.jsonl.gz", "beir", "zipped", "both"} {
		path := filepath.Join(dir, name)
		all := Documents(path)
		for range 2 { // a sequence can be used again
			if got, err := collect(all); err != nil || !reflect.DeepEqual(got, corpusDocuments) {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		}
		for d, err := range all {
			if d.ID != "a" || err != nil {
				t.Errorf("%s: %v, %v", name, d, err)
			}
			break
		}
		if n, err := Count(path); n != 4 || err != nil {
			t.Errorf("%s: count %d, %v", name, n, err)
		}
	}
}

func TestDocumentErrors(t *testing.T) {
	id := strings.Repeat("i", retrieval.MaxIDBytes)
	text := strings.Repeat("x", retrieval.MaxTextBytes)
	for _, c := range []struct {
		second   string
		sentinel error
		part     string
	}{
		{`{"_id": "a", "text": "`, retrieval.ErrInvalid, "bad JSON"},
		{`{"_id": "b", "text": ""} {}`, retrieval.ErrInvalid, "bad JSON"},
		{`["b"]`, retrieval.ErrInvalid, "want a JSON object"},
		{`null`, retrieval.ErrInvalid, "want a JSON object"},
		{`{"text": ""}`, retrieval.ErrInvalid, `no "_id" and no "id"`},
		{`{"ID": "b", "text": ""}`, retrieval.ErrInvalid, `no "_id" and no "id"`},
		{`{"_id": null, "text": ""}`, retrieval.ErrInvalid, `"_id" is neither`},
		{`{"id": 1.5, "text": ""}`, retrieval.ErrInvalid, `"id" is neither`},
		{`{"id": "", "text": ""}`, retrieval.ErrInvalid, "id is empty"},
		{`{"id": "` + id + `j", "text": ""}`, retrieval.ErrTooLarge, "513 bytes, the limit is 512"},
		{`{"id": "a\nb", "text": ""}`, retrieval.ErrInvalid, "control character"},
		{`{"id": "\u0000", "text": ""}`, retrieval.ErrInvalid, "control character"},
		{`{"id": "a", "text": ""}`, retrieval.ErrInvalid, `id "a" was already on line 1`},
		{`{"id": "b"}`, retrieval.ErrInvalid, `no "text"`},
		{`{"id": "b", "text": null}`, retrieval.ErrInvalid, `no "text"`},
		{`{"id": "b", "text": 1}`, retrieval.ErrInvalid, `"text" is not a string`},
		{`{"id": "b", "title": [], "text": ""}`, retrieval.ErrInvalid, `"title" is not a string`},
		{`{"id": "b", "text": "` + text + `y"}`, retrieval.ErrTooLarge, "1048577 bytes"},
		{`{"id": "b", "title": "t", "text": "` + text + `"}`, retrieval.ErrTooLarge, "1048578 bytes"},
		{`{"id": "b", "text": "", "fields": []}`, retrieval.ErrInvalid, `"fields" is not an object`},
		{`{"id": "b", "text": "", "n": 1, "fields": {"n": 1}}`, retrieval.ErrInvalid, `"n" is given twice`},
		{`{"id": "b", "title": "t", "text": "", "fields": {"title": "t"}}`, retrieval.ErrInvalid, `"title" is given twice`},
		{`{"id": "b", "text": "", "n": 1e999}`, retrieval.ErrInvalid, `"n"`},
		{"{\"id\": \"b\", \"text\": \"\xff\"}", retrieval.ErrInvalid, "not UTF-8"},
		{`{"id": "b", "text": "\ud800"}`, retrieval.ErrInvalid, "surrogate"},
		{`{"id": "b", "text": "\ud83d\u0041"}`, retrieval.ErrInvalid, "surrogate"},
		{`{"id": "b", "text": "\ude00\ud83d"}`, retrieval.ErrInvalid, "surrogate"},
	} {
		dir := write(t, "c.jsonl", `{"id": "a", "text": "first"}`+"\n"+c.second+"\n")
		got, err := collect(Documents(filepath.Join(dir, "c.jsonl")))
		if len(got) != 1 {
			t.Errorf("%.80s: %d documents before the error", c.second, len(got))
		}
		wantError(t, err, c.sentinel, c.part)
		wantError(t, err, c.sentinel, "c.jsonl:2: ")
	}
}

func TestAllowedDocuments(t *testing.T) {
	for _, s := range []string{
		`{"id": "b", "text": "\ud83d\ude00 \\ud800 \u00e9"}`,
		`{"id": "b", "text": "nul \u0000 inside"}`,
		`{"id": "` + strings.Repeat("i", retrieval.MaxIDBytes) + `", "text": "` + strings.Repeat("x", retrieval.MaxTextBytes) + `"}`,
		`{"_id": "b", "id": 5, "text": "", "fields": null}`,
	} {
		if _, err := collect(documents("f", readLines("f", strings.NewReader(s)))); err != nil {
			t.Errorf("%.80s: %v", s, err)
		}
	}
}

func TestLongLine(t *testing.T) {
	fits := append(bytes.Repeat([]byte("x"), MaxLineBytes), "\r\ny"...)
	if got, err := collect(readLines("f", bytes.NewReader(fits))); len(got) != 2 || err != nil {
		t.Errorf("%d lines, %v", len(got), err)
	}
	_, err := collect(readLines("f", strings.NewReader("a\n\n"+strings.Repeat("x", MaxLineBytes+2))))
	wantError(t, err, retrieval.ErrTooLarge, "f:3: line is longer than 8388608 bytes")
}

func TestWrongFiles(t *testing.T) {
	var large strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&large, `{"id": "%d", "text": "%x"}`+"\n", i, i*i)
	}
	whole := zip(large.String())
	dir := write(t, "empty.jsonl", "", "blank.jsonl", "\n \r\n", "dir.jsonl/corpus.txt", "", "notes.txt", "hello",
		"not.jsonl.gz", "a file that is not compressed", "cut.jsonl.gz", whole[:len(whole)/2], "flipped.jsonl.gz", whole[:len(whole)-8]+"12345678")
	for _, c := range []struct {
		name     string
		sentinel error
		part     string
	}{
		{"empty.jsonl", retrieval.ErrInvalid, "is empty"},
		{"blank.jsonl", retrieval.ErrInvalid, "no lines but blank"},
		{"dir.jsonl", fs.ErrNotExist, "looked for doc_tokens.npy (token vectors) and corpus.jsonl or corpus.jsonl.gz (BEIR)"},
		{"notes.txt", retrieval.ErrInvalid, "must be named .jsonl"},
		{"none.jsonl", fs.ErrNotExist, "none.jsonl"},
		{"not.jsonl.gz", retrieval.ErrCorrupt, "not.jsonl.gz: gzip"},
		{"cut.jsonl.gz", retrieval.ErrCorrupt, "cut.jsonl.gz: unexpected EOF"},
		{"flipped.jsonl.gz", retrieval.ErrCorrupt, "flipped.jsonl.gz: gzip"},
	} {
		_, err := collect(Documents(filepath.Join(dir, c.name)))
		wantError(t, err, c.sentinel, c.part)
		if _, err := Count(filepath.Join(dir, c.name)); err == nil && c.name != "blank.jsonl" {
			t.Errorf("%s was counted", c.name)
		}
	}
}

func TestQueries(t *testing.T) {
	dir := write(t, "queries.jsonl", `{"_id": "1", "text": "what", "metadata": {"x": 1}}`+"\n"+`{"id": 2, "text": " who "}`,
		"other.jsonl", `{"_id": "1", "text": " "}`, "sub/x", "", "queries.jsonl.gz", "not read")
	got, err := Queries(dir)
	if want := []Query{{"1", "what"}, {"2", " who "}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	_, err = Queries(filepath.Join(dir, "other.jsonl"))
	wantError(t, err, retrieval.ErrInvalid, `other.jsonl:1: query "1" has an empty text`)
	_, err = Queries(filepath.Join(dir, "sub"))
	wantError(t, err, fs.ErrNotExist, "no queries.jsonl or queries.jsonl.gz")
	_, err = Queries(filepath.Join(dir, "none"))
	wantError(t, err, fs.ErrNotExist, "none")
}

func TestDetect(t *testing.T) {
	dir := write(t, "beir/corpus.jsonl", "x", "zip/corpus.jsonl.gz", "x", "npy/doc_tokens.npy", "x",
		"both/doc_tokens.npy", "x", "both/corpus.jsonl", "x", "f.jsonl", "x", "f.jsonl.gz", "x")
	for name, want := range map[string]Layout{"beir": BEIR, "zip": BEIR, "npy": NPY, "both": NPY, "f.jsonl": JSONL, "f.jsonl.gz": JSONL} {
		if got, err := Detect(filepath.Join(dir, name)); got != want || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	_, err := Detect(dir)
	wantError(t, err, fs.ErrNotExist, "looked for doc_tokens.npy")
	_, err = collect(Documents(filepath.Join(dir, "npy")))
	wantError(t, err, retrieval.ErrInvalid, "holds token vectors")
}

func FuzzJSONL(f *testing.F) {
	f.Add([]byte(corpusLines))
	f.Add([]byte("\ufeff{\"id\": \"\\ud800\", \"text\": \"\"}\r\n"))
	f.Add([]byte(`{"id": "a", "text": "abc", "spans": [[0,1],[1,3]], "fields": {"x": 1e5}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := collect(documents("f", readLines("f", bytes.NewReader(data))))
		checkSentinel(t, err)
		if len(got) == 0 && err == nil {
			t.Error("neither a document nor an error")
		}
		rows, err := collect(rowTexts("f", readLines("f", bytes.NewReader(data))))
		checkSentinel(t, err)
		for _, row := range rows {
			// What is read can be written, and reads as the same.
			written, err := row.jsonLine()
			if err != nil {
				t.Fatal(err)
			}
			again, err := collect(rowTexts("g", readLines("g", bytes.NewReader(written))))
			if len(row.Spans) == 0 {
				row.Spans = nil
			}
			if err != nil || !reflect.DeepEqual(again, []Row{row}) {
				t.Errorf("%v became %v, %v", row, again, err)
			}
		}
	})
}
