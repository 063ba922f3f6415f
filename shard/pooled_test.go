package shard

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ostraca/retrieval"
	"ostraca/retrieval/index"
)

// TestPrepareCodecs: in every codec what is made of vectors comes with what is pooled of it; codes that come are taken as they are, but what is
// pooled of 8 bits is always made anew.
func TestPrepareCodecs(t *testing.T) {
	e := smallEncoder(t)
	width, collections := e.Width(), map[string]Configuration{}
	for _, codec := range retrieval.Codecs {
		collections[string(codec)] = Configuration{Codec: codec, Width: width, Encoder: e.Hash(), Epoch: 3}
	}
	r := knowing(e, collections)
	for i, codec := range retrieval.Codecs {
		codes, err := index.Quantize(codec, rows(300, width), width)
		if err != nil {
			t.Fatal(err)
		}
		codes = index.Pool(codes)
		forged := codes
		forged.Sketch = retrieval.Pooled{Rows: slices.Repeat([]byte{128}, len(codes.Sketch.Rows)), Scales: codes.Sketch.Scales}
		bare := codes
		bare.Clusters, bare.Coarse, bare.Sketch = nil, retrieval.Pooled{}, retrieval.Pooled{}
		other, err := index.Quantize(retrieval.Codecs[(i+1)%len(retrieval.Codecs)], rows(2, width), width)
		if err != nil {
			t.Fatal(err)
		}
		short := bare
		short.Rows = short.Rows[1:]
		got, err := r.Prepare(t.Context(), string(codec), []Input{{ID: "v", Vectors: rows(300, width), Width: width}, {ID: "c", Codes: codes}, {ID: "b", Codes: bare},
			{ID: "f", Codes: forged}, {ID: "o", Codes: other}, {ID: "s", Codes: short}, {ID: "t", Text: "a wing"}}, 0)
		if err != nil {
			t.Fatal(err)
		}
		of := func(p Prepared) retrieval.Codes { return p.Body.(*Put).Document.Codes }
		for _, p := range got[:2] {
			if p.Err != nil || !reflect.DeepEqual(of(p), codes) {
				t.Errorf("%s: %v, %+v", codec, p.Err, p)
			}
		}
		if text := got[6]; text.Err != nil || of(text).Codec != codec || !of(text).Pooled() || text.check() != nil {
			t.Errorf("%s: a text: %+v", codec, text)
		}
		for _, p := range got[4:6] {
			if !errors.Is(p.Err, retrieval.ErrInvalid) {
				t.Errorf("%s: %v", codec, p.Err)
			}
		}
		if codec == retrieval.Int8 {
			if !reflect.DeepEqual(of(got[2]), codes) || !reflect.DeepEqual(of(got[3]), codes) {
				t.Errorf("%s: bare %v, forged %v", codec, got[2].Err, got[3].Err)
			}
		} else if !errors.Is(got[2].Err, retrieval.ErrInvalid) || !strings.Contains(got[2].Err.Error(), "without clusters, coarse and sketch") {
			t.Errorf("%s: bare: %v", codec, got[2].Err)
		}
	}
}

// TestLargestDocument: as many tokens as a document may have, as wide as they may be, fit in every codec, with what is pooled of them and a text of
// half a MiB.
func TestLargestDocument(t *testing.T) {
	x := make([]float32, retrieval.MaxDocumentTokens*retrieval.MaxWidth)
	for i := range x {
		x[i] = float32(i%1021) - 500
	}
	for _, codec := range retrieval.Codecs {
		codes, err := index.Quantize(codec, x, retrieval.MaxWidth)
		if err != nil {
			t.Fatal(err)
		}
		d := Document{ID: "a", Text: strings.Repeat("x", retrieval.MaxTextBytes/2), Codes: index.Pool(codes), Spans: slices.Repeat([]retrieval.Span{{Start: 1 << 18, End: 1 << 19}}, codes.Len())}
		if err := d.check(); err != nil {
			t.Errorf("%s: %v", codec, err)
		}
		t.Logf("%s: %d bytes of %d", codec, rowBytes(&d), MaxDocumentBytes)
		got, err := parseRow("a", appendRow(nil, &d))
		if err != nil || !reflect.DeepEqual(got.Codes, d.Codes) {
			t.Errorf("%s: %v", codec, err)
		}
	}
}

// TestRowsOfAnotherRelease: a state whose rows are of another format is refused, and the error says what to do.
func TestRowsOfAnotherRelease(t *testing.T) {
	for _, row := range [][]byte{nil, {1}, {3}} {
		r := newRig(t)
		r.do(r.op("papers", create(testPapers)), r.op("papers", putOf("a", 1, 1)))
		tx, err := r.store.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if row == nil {
			err = tx.Delete(bucketSystem, []byte("rows"))
		} else {
			err = tx.Put(bucketSystem, []byte("rows"), row)
		}
		if err = errors.Join(err, tx.Commit(r.store.Position())); err != nil {
			t.Fatal(err)
		}
		if _, err = openMachine(r.store, testIdentity, index.Options{}); !errors.Is(err, errRows) || !strings.Contains(err.Error(), "export the documents with the release that wrote them") {
			t.Errorf("%v: %v", row, err)
		}
	}
}
