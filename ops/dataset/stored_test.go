package dataset

import (
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"ostraca/retrieval"
	"ostraca/retrieval/index"
)

// TestStreamGoesOn: a line that is no document is told with its number and id, and the lines after it are read.
func TestStreamGoesOn(t *testing.T) {
	dir := write(t, "c.jsonl", strings.Join([]string{
		`{"id": "a", "text": "one"}`,
		`{nonsense`,
		`{"id": "b"}`,
		`{"id": "a", "text": "again"}`,
		"{\"id\": \"c\", \"text\": \"\xff\"}",
		strings.Repeat("x", MaxLineBytes+2),
		``,
		`{"id": "d", "text": "0123456789x"}`,
		`{"id": "e", "text": " last "}`,
	}, "\r\n"))
	path := filepath.Join(dir, "c.jsonl")
	var got []Stored
	var bad []int
	for s, err := range Stream(path, 10) {
		if err == nil {
			got = append(got, s)
			continue
		}
		var e *LineError
		if !errors.As(err, &e) || !errors.Is(err, retrieval.ErrInvalid) && !errors.Is(err, retrieval.ErrTooLarge) {
			t.Fatal(err)
		}
		bad = append(bad, e.Line)
		if e.Line == 3 && e.ID != "b" || e.Line == 8 && e.ID != "d" {
			t.Errorf("line %d is of %q", e.Line, e.ID)
		}
	}
	want := []Stored{{Document: Document{ID: "a", Text: "one"}, Line: 1}, {Document: Document{ID: "e", Text: "last"}, Line: 9}}
	if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(bad, []int{2, 3, 4, 5, 6, 8}) {
		t.Errorf("%v, bad %v", got, bad)
	}
	if n, err := Count(path); n != 8 || err != nil {
		t.Errorf("count %d, %v", n, err)
	}
	for s, err := range Stream(filepath.Join(write(t, "x.jsonl.gz", "not compressed"), "x.jsonl.gz"), 10) {
		if err == nil || isLineError(err) {
			t.Errorf("a broken file: %v, %v", s, err)
		}
	}
}

// packed returns codes of some hundred tokens with what is pooled of them.
func packed(t *testing.T, codec retrieval.Codec) *retrieval.Codes {
	t.Helper()
	x := make([]float32, 300*8)
	for i := range x {
		x[i] = float32(i%13) - 5.5
	}
	c, err := index.Quantize(codec, x, 8)
	if err != nil {
		t.Fatal(err)
	}
	c = index.Pool(c)
	return &c
}

// TestStoredLine: what an export writes is read as it was, codes and spaces included.
func TestStoredLine(t *testing.T) {
	codes := &retrieval.Codes{Codec: retrieval.Int8, Width: 3, Rows: []byte{255, 1, 9, 128, 7, 8, 9, 128}, Scales: []uint16{300, 32767}}
	for _, s := range []Stored{
		{Document: Document{ID: "p#1", Text: "plain"}, Line: 1},
		{Document: Document{ID: "f", Text: "<b>", Fields: map[string]any{"title": "T", "codes": "mine", "n": 1.5, "spans": []any{}}}, Line: 1},
		{Document: Document{ID: "c", Text: " a b ", Fields: map[string]any{"title": "T", "codes": 1.0}}, Codes: codes, Spans: []retrieval.Span{{Start: 1, End: 2}, {Start: 3, End: 5}}, Line: 1},
		{Document: Document{ID: "v"}, Codes: codes, Line: 1},
		{Document: Document{ID: "packed", Text: "a b"}, Codes: packed(t, retrieval.Bits2), Line: 1},
		{Document: Document{ID: "whole", Text: "a b"}, Codes: packed(t, retrieval.Int8), Line: 1},
		{Document: Document{ID: "none"}, Codes: &retrieval.Codes{Codec: retrieval.Int8, Width: 3, Rows: []byte{}, Scales: []uint16{}}, Line: 1},
	} {
		line, err := StoredLine(s)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(write(t, "c.jsonl", string(line)), "c.jsonl")
		got, err := collect(Stream(path, retrieval.MaxTextBytes))
		if err != nil || !reflect.DeepEqual(got, []Stored{s}) {
			t.Errorf("%s became %+v, %v", line, got, err)
		}
	}
	for line, part := range map[string]string{
		`{"id":"a","text":"t","codes":{"codec":"int8","width":3,"rows":"AQ==","scales":"AQA="}}`:                     "bytes of codes",
		`{"id":"a","text":"t","codes":{"codec":"int8","width":1,"rows":"AYCAgA==","scales":"AQ=="}}`:                 "bytes of scales",
		`{"id":"a","text":"t","codes":{"codec":"int8","width":0,"rows":"AYCAgA==","scales":"AQA="}}`:                 "0 wide",
		`{"id":"a","text":"t","codes":{"codec":"2bit","width":8,"rows":"AYA=","scales":"AQA="}}`:                     "clusters",
		`{"id":"a","text":"t","codes":{"codec":"int2","width":1,"rows":"AYCAgA==","scales":"AQA="}}`:                 "codec",
		`{"id":"a","text":"t","spans":[[0,9]],"codes":{"codec":"int8","width":1,"rows":"AYCAgA==","scales":"AQA="}}`: "span 0",
	} {
		_, err := collect(Stream(filepath.Join(write(t, "c.jsonl", line), "c.jsonl"), retrieval.MaxTextBytes))
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v does not say %q", line, err, part)
		}
	}
}
