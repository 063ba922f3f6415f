package index

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"ostraca/retrieval"
)

// filed returns documents of a codec, by id: some without tokens, one of several windows.
func filed(t testing.TB, codec retrieval.Codec, width int) []retrieval.Document {
	rng := rand.New(rand.NewPCG(7, uint64(width)))
	var docs []retrieval.Document
	for i, n := range []int{3, 0, 1, 700, 0, 20, 256, 257} {
		codes, err := Quantize(codec, floats(rng, n, width), width)
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, retrieval.Document{ID: fmt.Sprintf("d%03d", i*37), Codes: codes})
	}
	return docs
}

func built(t testing.TB, codec retrieval.Codec, width int, docs []retrieval.Document) *Index {
	b, err := NewBuilder(width, Options{Codec: codec, Threads: 1}, len(docs)/2, 100) // fewer than come
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range docs {
		if err := b.Add(d); err != nil {
			t.Fatal(err)
		}
	}
	return b.Index()
}

// fileSource is the source of the files of tests.
const fileSource = Source(0x1122334455667788)

func fileOf(t testing.TB, x *Index) []byte { return fileFrom(t, x, fileSource) }

func fileFrom(t testing.TB, x *Index, source Source) []byte {
	var b bytes.Buffer
	if n, err := x.View().WriteFile(&b, source); err != nil || n != int64(b.Len()) {
		t.Fatalf("%d of %d bytes: %v", n, b.Len(), err)
	}
	return b.Bytes()
}

// TestFile: an index that was built, one that grew, and one that was loaded hold the same, answer alike, and are the same file.
func TestFile(t *testing.T) {
	for _, codec := range retrieval.Codecs {
		for _, width := range []int{1, 5, 48} {
			docs := filed(t, codec, width)
			grown, err := New(width, Options{Codec: codec})
			if err != nil {
				t.Fatal(err)
			}
			for i := range docs {
				d := docs[len(docs)-1-i]
				other := retrieval.Document{ID: d.ID, Codes: docs[0].Codes}
				put(t, grown, other, retrieval.Document{ID: "gone", Codes: docs[0].Codes})
				d.Text, d.Fields = "not in the file", map[string]any{"a": 1}
				put(t, grown, d)
			}
			grown.Delete([]string{"gone"})
			x := built(t, codec, width, docs)
			file := fileOf(t, x)
			if !bytes.Equal(file, fileOf(t, grown)) {
				t.Fatalf("%s, %d wide: what grew is another file", codec, width)
			}
			loaded, err := Load(file, Options{Threads: 1})
			if err != nil {
				t.Fatalf("%s, %d wide: %v", codec, width, err)
			}
			if !bytes.Equal(file, fileOf(t, loaded)) || loaded.Bytes() > len(file)+80*len(docs)+1000 || loaded.Bytes() != x.Bytes() || loaded.Tiers() != x.Tiers() {
				t.Fatalf("%s, %d wide: what was loaded is another file, or of another size: %d, %d", codec, width, loaded.Bytes(), x.Bytes())
			}
			for i, d := range docs {
				got, err := loaded.Get(d.ID)
				want, _ := x.Get(d.ID)
				if err != nil || !reflect.DeepEqual(got.Codes, want.Codes) {
					t.Fatalf("document %d: %v", i, err)
				}
			}
			for _, plan := range []retrieval.Plan{{}, {Sketched: 4, Scored: 2}} {
				q, err := QuantizeQuery(codec, floats(rand.New(rand.NewPCG(1, 1)), 9, width), width, nil, 3)
				if err != nil {
					t.Fatal(err)
				}
				q.Plan = plan
				if got, want := search(t, loaded, q), search(t, x, q); !reflect.DeepEqual(got.Hits, want.Hits) || len(want.Hits) == 0 {
					t.Fatalf("%s, %d wide: %v, want %v", codec, width, got.Hits, want.Hits)
				}
			}
			d := retrieval.Document{ID: "later", Codes: docs[0].Codes}
			if put(t, loaded, d); loaded.Len() != len(docs)+1 || x.Len() != len(docs) {
				t.Fatal("what was loaded cannot be written to")
			}
		}
	}
}

// TestTiers: a forecast of all documents is what they take.
func TestTiers(t *testing.T) {
	for _, codec := range retrieval.Codecs {
		docs := filed(t, codec, 48)
		var want retrieval.Bytes
		for _, d := range docs {
			want = want.Add(codec.Bytes(48, d.Codes.Len()))
		}
		got := built(t, codec, 48, docs).Tiers()
		got.Starts -= 3 * 4 // where the last document ends
		if got != want {
			t.Errorf("%s: %+v, forecast %+v", codec, got, want)
		}
	}
}

// TestFileSource: what an index was built from is in its file, and makes it another one.
func TestFileSource(t *testing.T) {
	x := built(t, retrieval.Int8, 3, nil)
	for _, want := range []Source{0, 1, fileSource, 1<<64 - 1} {
		file := fileFrom(t, x, want)
		if got, err := FileSource(file); got != want || err != nil {
			t.Errorf("%s, not %s: %v", got, want, err)
		}
		file[atSource]++
		if _, err := FileSource(file); !errors.Is(err, retrieval.ErrCorrupt) {
			t.Errorf("changed: %v", err)
		}
	}
}

func TestEmptyFile(t *testing.T) {
	x, err := Load(fileOf(t, built(t, retrieval.Bits4, 3, nil)), Options{})
	if err != nil || x.Len() != 0 || x.Width() != 3 {
		t.Fatalf("%v", err)
	}
}

func TestBuilderRefuses(t *testing.T) {
	docs := filed(t, retrieval.Int8, 5)
	b, err := NewBuilder(5, Options{}, -1, -1)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		d    retrieval.Document
		want error
	}{
		{docs[3], nil}, {docs[3], retrieval.ErrInvalid}, {docs[2], retrieval.ErrInvalid}, {retrieval.Document{}, retrieval.ErrInvalid},
		{filed(t, retrieval.Bits1, 5)[5], retrieval.ErrInvalid}, {filed(t, retrieval.Int8, 6)[5], retrieval.ErrInvalid}, {docs[5], nil},
	} {
		if err := b.Add(c.d); !errors.Is(err, c.want) {
			t.Errorf("case %d: %v, want %v", i, err, c.want)
		}
	}
	if n := b.Index().Len(); n != 2 {
		t.Errorf("%d documents, want 2", n)
	}
	if _, err := NewBuilder(0, Options{}, 0, 0); !errors.Is(err, retrieval.ErrInvalid) {
		t.Errorf("width 0: %v", err)
	}
}

// TestTornFile: what is cut, changed anywhere, or longer, is refused.
func TestTornFile(t *testing.T) {
	for _, codec := range []retrieval.Codec{retrieval.Int8, retrieval.Bits2} {
		file := fileOf(t, built(t, codec, 5, filed(t, codec, 5)[:6]))
		for n := range len(file) {
			if _, err := Load(file[:n], Options{}); !errors.Is(err, retrieval.ErrCorrupt) {
				t.Fatalf("%d of %d bytes: %v", n, len(file), err)
			}
			file[n] ^= 1 << (n % 8)
			if _, err := Load(file, Options{}); !errors.Is(err, retrieval.ErrCorrupt) {
				t.Fatalf("byte %d changed: %v", n, err)
			}
			file[n] ^= 1 << (n % 8)
		}
		if _, err := Load(append(slices.Clone(file), make([]byte, 64)...), Options{}); !errors.Is(err, retrieval.ErrCorrupt) {
			t.Errorf("longer: %v", err)
		}
		if _, err := Load(file, Options{Codec: retrieval.Bits4}); !errors.Is(err, retrieval.ErrInvalid) {
			t.Errorf("another codec: %v", err)
		}
	}
	other := fileOf(t, built(t, retrieval.Int8, 5, nil))
	other[atVersion]++
	seal(other)
	if _, err := Load(other, Options{}); !errors.Is(err, retrieval.ErrInvalid) {
		t.Errorf("another version: %v", err)
	}
}

// failing is a disk that is full.
type failing struct{ left int }

func (f *failing) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, errors.ErrUnsupported
	}
	return len(b), nil
}

func TestWriteFileTells(t *testing.T) {
	x := built(t, retrieval.Int8, 384, filed(t, retrieval.Int8, 384))
	if _, err := x.View().WriteFile(&failing{1000}, 0); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%v", err)
	}
}

// seal makes all checksums of a file right, as far as it has them.
func seal(file []byte) {
	if len(file) < headerBytes {
		return
	}
	putSum := func(at int, of []byte) {
		if at+sumBytes <= len(file) {
			sum := crc32.Checksum(of, castagnoli)
			for i := range sumBytes {
				file[at+i] = byte(sum >> (8 * i))
			}
		}
	}
	putSum(atSum, file[:atSum])
	h, err := parseHeader(file)
	if err != nil {
		return
	}
	at := headerBytes
	for _, n := range h.sizes() {
		putSum(at+int(n), file[at:at+int(n)])
		at += int(padded(n))
	}
}

// TestSealedFile changes every byte of a file and makes the checksums right: it is refused, or is another file that is whole.
func TestSealedFile(t *testing.T) {
	for _, codec := range []retrieval.Codec{retrieval.Int8, retrieval.Bits2} {
		whole, taken := fileOf(t, built(t, codec, 5, filed(t, codec, 5)[:3])), 0
		for at := range whole {
			for _, change := range []byte{1, 2, 0x80, 0xff} {
				file := slices.Clone(whole)
				file[at] ^= change
				taken += checkLoad(t, file)
			}
		}
		if taken == 0 {
			t.Errorf("%s: nothing was taken: has this test gone blind?", codec)
		}
	}
}

// checkLoad loads a file once its checksums are right. It tells whether it was taken: then it is written as it was, and can be searched.
func checkLoad(t *testing.T, file []byte) int {
	seal(file)
	x, err := Load(file, Options{Threads: 1})
	if err != nil {
		if !errors.Is(err, retrieval.ErrCorrupt) && !errors.Is(err, retrieval.ErrInvalid) && !errors.Is(err, retrieval.ErrTooLarge) {
			t.Fatalf("an error of no kind: %v", err)
		}
		return 0
	}
	source, err := FileSource(file)
	if err != nil || !bytes.Equal(fileFrom(t, x, source), file) {
		t.Fatalf("it is written otherwise: %v", err)
	}
	q, err := QuantizeQuery(x.codec, floats(rand.New(rand.NewPCG(1, 1)), 4, x.Width()), x.Width(), nil, 3)
	if err != nil {
		t.Fatal(err)
	}
	search(t, x, q)
	q.Plan = retrieval.Plan{Sketched: 3, Scored: 2}
	search(t, x, q)
	return 1
}

// FuzzLoad: no bytes make a panic, and what is taken is written as it was. Checksums are made right first, so that what is behind them is reached.
func FuzzLoad(f *testing.F) {
	for _, codec := range []retrieval.Codec{retrieval.Int8, retrieval.Bits2, retrieval.Bits1} {
		f.Add(fileOf(f, built(f, codec, 5, filed(f, codec, 5)[:6])), 0, byte(0))
		f.Add(fileOf(f, built(f, codec, 9, filed(f, codec, 9)[4:6])), 200, byte(9))
	}
	f.Add(fileOf(f, built(f, retrieval.Int8, 5, nil)), 12, byte(1))
	f.Fuzz(func(t *testing.T, file []byte, at int, change byte) {
		file = slices.Clone(file)
		if at >= 0 && at < len(file) {
			file[at] ^= change
		}
		checkLoad(t, file)
	})
}
