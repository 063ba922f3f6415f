package dataset

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ostraca/retrieval"
)

func TestFloat16RoundTrip(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		f := fromFloat16(h)
		if got := toFloat16(f); got != h {
			t.Fatalf("%#04x became %v and %#04x", h, f, got)
		}
		// By the definition, in float64.
		want := math.Ldexp(float64(h&0x3ff|0x400), int(h>>10&31)-25)
		if h&0x7c00 == 0 {
			want = math.Ldexp(float64(h&0x3ff), -24)
		}
		if h&0x7c00 != 0x7c00 && float64(f) != math.Copysign(want, float64(int16(h))) {
			t.Fatalf("%#04x is %v, want %v", h, f, want)
		}
		if h&0x7fff > 0x7c00 != math.IsNaN(float64(f)) || h&0x7fff == 0x7c00 != math.IsInf(float64(f), 0) {
			t.Fatalf("%#04x is %v", h, f)
		}
	}
}

// Between two neighbours the middle goes to the even one, and the float32 on either side of it to its own.
func TestFloat16Rounding(t *testing.T) {
	for i := range 0x7c00 {
		low, high := uint16(i), uint16(i+1) // the last high is infinity, as if it were 65,536
		a, b := fromFloat16(low), fromFloat16(high)
		if high == 0x7c00 {
			b = 65536
		}
		middle := (a + b) / 2
		even := low + low&1
		for x, want := range map[float32]uint16{middle: even, math.Nextafter32(middle, 0): low, math.Nextafter32(middle, 1e6): high} {
			if got := toFloat16(x); got != want {
				t.Fatalf("%v became %#04x, want %#04x", x, got, want)
			}
			if got := toFloat16(-x); got != want|0x8000 {
				t.Fatalf("%v became %#04x", -x, got)
			}
		}
	}
	for x, want := range map[float32]uint16{math.MaxFloat32: 0x7c00, float32(math.Inf(-1)): 0xfc00, math.SmallestNonzeroFloat32: 0,
		math.Float32frombits(0x7f800001): 0x7e00} {
		if got := toFloat16(x); got != want {
			t.Errorf("%v became %#04x, want %#04x", x, got, want)
		}
	}
}

// The arrays were written by NumPy.
func TestArraysOfNumPy(t *testing.T) {
	read := func(name string, dims int, kinds string) (npy, *os.File) {
		a, f, err := openNPY(filepath.Join("testdata/arrays", name+".npy"), dims, kinds)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return a, f
	}
	for _, name := range []string{"f2", "f4", "f8"} {
		a, f := read(name, 1, "f")
		if got, err := a.values(f).floats(4); err != nil || !slices.Equal(got, []float32{0, 1, 2, 100}) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"} {
		a, f := read(name, 1, "iu")
		if got, err := a.values(f).ints(4); err != nil || !slices.Equal(got, []int32{0, 1, 2, 100}) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	a, f := read("v2", 2, "f")
	values := a.values(f)
	first, err1 := values.floats(2)
	rest, err2 := values.floats(4)
	if err1 != nil || err2 != nil || a.rows != 2 || a.cols != 3 || !slices.Equal(append(first, rest...), []float32{0, 1, 2, 3, 4, 5}) {
		t.Errorf("%v %v, %v, %v", first, rest, err1, err2)
	}
	if a, _ := read("empty", 2, "f"); a.rows != 0 || a.cols != 4 {
		t.Errorf("empty: %v", a)
	}
	for name, part := range map[string]string{
		"v3": "format 3.0", "fortran": "Fortran order", "big": `">f4"`, "scalar": "0 dimensions", "cube": "3 dimensions",
		"struct": "malformed header", "text": `"<U1"`, "f4": "want 2, of type float", "i4": "want 2, of type float",
	} {
		_, _, err := openNPY("testdata/arrays/"+name+".npy", 2, "f")
		wantError(t, err, retrieval.ErrCorrupt, part)
		wantError(t, err, retrieval.ErrCorrupt, name+".npy: ")
	}
}

// array makes a file of version 1 with this header and so many bytes of values.
func array(header string, values int) []byte {
	b := append([]byte(npyMagic), 1, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(header)))
	return append(append(b, header...), make([]byte, values)...)
}

func TestHeaders(t *testing.T) {
	for _, header := range []string{
		"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n",
		`{"shape":(2,3,),"fortran_order":False,"descr":"<f4"}` + "   \n",
		"{ 'descr' : '<f4' , 'fortran_order' : False , 'shape' : ( 2 , 3 ) }\n",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }\n",
	} {
		b := array(header, 24)
		if a, err := readNPY("x", bytes.NewReader(b), int64(len(b))); err != nil || a.rows*a.cols != 6 {
			t.Errorf("%s: %v, %v", header, a, err)
		}
	}
	good := string(array("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", 24))
	replace := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	for file, part := range map[string]string{
		"":                                    "not a NumPy file",
		good[:9]:                              "not a NumPy file",
		"PK" + good[2:]:                       "not a NumPy file",
		replace("\x01\x00", "\x01\x01"):       "format 1.1",
		good[:40]:                             "a header of",
		good[:8] + "\xff\xff" + good[10:]:     "the limit is 10000",
		npyMagic + "\x02\x00\xff\xff\xff\xff": "a header of 4294967295 bytes",
		good[:len(good)-1]:                    "does not fit the 23 bytes",
		good + "x":                            "does not fit the 25 bytes",
		replace("(2, 3)", "(2,-3)"):           "malformed",
		replace("(2, 3)", "(2 3) "):           "malformed",
		replace("(2, 3)", "(6)   "):           "malformed",
		replace("(2, 3)", "[2, 3]"):           "malformed",
		replace("(2, 3)", "(2L,3)"):           "malformed",
		replace("(2, 3)", "(    )"):           "0 dimensions",
		replace("(2, 3)", "(1,2,3"):           "malformed",
		replace("False", "false"):             "malformed",
		replace("False", "True "):             "Fortran",
		replace("'descr'", "'desc_'"):         "malformed",
		replace("'shape'", "'descr'"):         "twice",
		replace("'shape'", "'sha''e"):         "malformed",
		replace("'<f4'", "<f4  "):             "malformed",
		replace("<f4", "<c8"):                 `type "<c8"`,
		replace("<f4", "|O8"):                 `type "|O8"`,
		replace(", }\n", "; }\n"):             "malformed",
		replace(", }\n", ", } "):              "malformed",
		replace(", }\n", "}}}\n"):             "malformed",
		replace("{", "["):                     "malformed",
		string(array("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }\n", 0)):  "does not fit the 0",
		string(array("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 1), }\n", 0)):  "does not fit the 0",
		string(array("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 1), }\n", 0)): "malformed",
		string(array("{'descr': '<f4', 'fortran_order': False}\n", 0)):                                       "malformed",
		string(array("", 24)): "malformed",
	} {
		_, err := readNPY("x.npy", strings.NewReader(file), int64(len(file)))
		wantError(t, err, retrieval.ErrCorrupt, part)
		wantError(t, err, retrieval.ErrCorrupt, "x.npy: ")
	}
	_, _, err := openNPY("testdata/none.npy", 2, "f")
	wantError(t, err, fs.ErrNotExist, "none.npy")
	_, _, err = openNPY("testdata", 2, "f")
	wantError(t, err, retrieval.ErrInvalid, "is a directory")
}

func TestWrittenHeader(t *testing.T) {
	for _, a := range []npy{{dtype: "<i4", dims: 1, rows: math.MaxInt64, cols: 1}, {dtype: "<f2", dims: 2, rows: math.MaxInt64, cols: 4096}} {
		h := npyHeader(a)
		if len(h) != npyHeaderBytes {
			t.Errorf("%d bytes: %q", len(h), h)
		}
		var got npy
		if err := got.parse(string(h[10:])); err != nil || got != a {
			t.Errorf("%v became %v, %v", a, got, err)
		}
	}
}

func FuzzNPY(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.npy")
	if err != nil || len(files) == 0 {
		f.Fatal("no examples", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		a, err := readNPY("f", r, r.Size())
		checkSentinel(t, err)
		if err != nil {
			return
		}
		n := a.rows * a.cols
		if a.start+n*npyItems[a.dtype] != r.Size() {
			t.Fatalf("%v in %d bytes", a, r.Size())
		}
		if a.dtype[1] == 'f' {
			_, err = a.values(r).floats(int(n))
		} else {
			_, err = a.values(r).ints(int(n))
		}
		checkSentinel(t, err)
		// What we write of the shape is the same shape.
		var again npy
		if err := again.parse(string(npyHeader(a)[10:])); err != nil || again.rows != a.rows || again.cols != a.cols {
			t.Errorf("%v became %v, %v", a, again, err)
		}
	})
}
