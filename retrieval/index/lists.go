package index

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"unicode"
	"unicode/utf8"

	"ostraca/retrieval"
)

// Limits of lists.
const (
	MaxListBytes = 1 << 20 // of their centroids
	MaxListsName = 256     // bytes of the name of their sample
)

const listsVersion = 1

// Lists divide documents by their sketches, so that a search need not scan all of them: a sketch belongs to the list whose centroid it has the greatest product
// with. Centroids are sketches, brought to one length, of documents that were declared for it, a sample that is no part of the collection, so no stored document has any influence on
// where another lies: nothing is to be forgotten of them, and all shards have the same. A value: two are equal, by ==, if their bytes are. The zero value is none: one list.
type Lists struct {
	data               string // checked: what Bytes returns
	width, count, rows int    // of it: rows is where these begin
}

// NewLists makes lists of centroids: rows of retrieval.Stride(width) bytes, codes + 128, padded with 128, as sketches have them. Errors wrap
// retrieval.ErrInvalid and retrieval.ErrTooLarge.
func NewLists(name string, width int, rows []byte) (Lists, error) {
	b := binary.AppendUvarint([]byte{listsVersion}, uint64(width))
	b = binary.AppendUvarint(b, uint64(len(name)))
	l, err := splitLists(append(append(b, name...), rows...))
	if err != nil {
		return Lists{}, fmt.Errorf("lists: %w", err)
	}
	return l, nil
}

// ParseLists reads what [Lists.Bytes] wrote. Errors wrap retrieval.ErrCorrupt.
func ParseLists(b []byte) (Lists, error) {
	l, err := splitLists(b)
	if err != nil {
		return Lists{}, fmt.Errorf("lists: %w: %w", err, retrieval.ErrCorrupt)
	}
	return l, nil
}

// splitLists finds the parts of the bytes of lists, and checks them.
func splitLists(b []byte) (l Lists, err error) {
	if len(b) == 0 || b[0] != listsVersion {
		return l, fmt.Errorf("a version that is not %d: %w", listsVersion, retrieval.ErrInvalid)
	}
	width, rest, ok := uvarint(b[1:])
	if !ok || width < 1 || width > retrieval.MaxWidth {
		return l, fmt.Errorf("width is %d, it must be 1 to %d: %w", width, retrieval.MaxWidth, retrieval.ErrInvalid)
	}
	size, rest, ok := uvarint(rest)
	switch {
	case ok && size > MaxListsName:
		return l, fmt.Errorf("the sample's name has %d bytes, the limit is %d: %w", size, MaxListsName, retrieval.ErrTooLarge)
	case !ok || size > uint64(len(rest)):
		return l, fmt.Errorf("the sample's name is cut: %w", retrieval.ErrInvalid)
	case !utf8.Valid(rest[:size]) || bytes.ContainsFunc(rest[:size], unicode.IsControl):
		return l, fmt.Errorf("the sample's name %.40q: it must be UTF-8 without control characters: %w", rest[:size], retrieval.ErrInvalid)
	}
	rows, stride := rest[size:], retrieval.Stride(int(width))
	l = Lists{string(b), int(width), len(rows) / stride, len(b) - len(rows)}
	switch {
	case l.count < 1 || len(rows)%stride != 0:
		return l, fmt.Errorf("%d bytes of centroids of %d: %w", len(rows), stride, retrieval.ErrInvalid)
	case l.count > retrieval.MaxLists || len(rows) > MaxListBytes:
		return l, fmt.Errorf("%d of %d bytes, the limit is %d, and %d bytes: %w", l.count, stride, retrieval.MaxLists, MaxListBytes, retrieval.ErrTooLarge)
	case bytes.IndexByte(rows, 0) >= 0:
		return l, fmt.Errorf("centroid %d has a code of -128: %w", bytes.IndexByte(rows, 0)/stride, retrieval.ErrInvalid)
	}
	for i := range l.count {
		if len(bytes.Trim(rows[i*stride+l.width:(i+1)*stride], "\x80")) > 0 {
			return l, fmt.Errorf("centroid %d is padded with something else than 128: %w", i, retrieval.ErrInvalid)
		}
	}
	return l, nil
}

// IsZero tells whether l is none.
func (l Lists) IsZero() bool { return l.data == "" }

// Bytes returns what [ParseLists] reads: the version, width and the length of the sample's name as uvarints, the name, the centroids.
func (l Lists) Bytes() string { return l.data }

// Len returns how many lists there are, 0 of none.
func (l Lists) Len() int { return l.count }

// Width returns the dimensions of a centroid, 0 of none.
func (l Lists) Width() int { return l.width }

// String tells how many there are, and of which sample.
func (l Lists) String() string {
	if l.IsZero() {
		return ""
	}
	_, head, _ := uvarint([]byte(l.data[1:l.rows])) // the width
	_, name, _ := uvarint(head)
	sum := sha256.Sum256([]byte(l.data))
	return fmt.Sprintf("%s: %d documents, sha256 %x", name, l.count, sum[:8])
}

// MarshalText returns the bytes in base64, so that lists can stand in JSON.
func (l Lists) MarshalText() ([]byte, error) {
	return base64.StdEncoding.AppendEncode(nil, []byte(l.data)), nil
}

// UnmarshalText reads them.
func (l *Lists) UnmarshalText(text []byte) error {
	b, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil {
		return fmt.Errorf("lists: %v: %w", err, retrieval.ErrCorrupt)
	}
	if *l = (Lists{}); len(b) > 0 {
		*l, err = ParseLists(b)
	}
	return err
}

// ListsOf makes lists of a sample's documents: the first sketch of each that has tokens is a centroid, or, where they are too many, of some of them, evenly spread. Documents
// are of one width. Errors wrap retrieval.ErrInvalid, for no document with tokens too.
func ListsOf(name string, sample []retrieval.Codes) (Lists, error) {
	var some []retrieval.Codes
	for _, c := range sample {
		if c.Len() > 0 {
			some = append(some, c)
		}
	}
	if len(some) == 0 {
		return Lists{}, fmt.Errorf("lists: no document of the sample has tokens: %w", retrieval.ErrInvalid)
	}
	width := some[0].Width
	stride := retrieval.Stride(width)
	n := min(len(some), retrieval.MaxLists, MaxListBytes/stride)
	units := make([]float64, 0, n*width)
	for i := range n {
		c := some[i*len(some)/n]
		if c.Width != width {
			return Lists{}, fmt.Errorf("lists: documents %d and %d wide: %w", width, c.Width, retrieval.ErrInvalid)
		}
		if !c.Pooled() {
			c = Pool(c)
		}
		units = appendUnit(units, c.Sketch.Rows[:width])
	}
	return NewLists(name, width, centroids(units, width))
}

// appendUnit appends a row of codes + 128 as a vector of length 1, or of 0.
func appendUnit(units []float64, row []byte) []float64 {
	square := 0
	for _, b := range row {
		square += (int(b) - 128) * (int(b) - 128)
	}
	length := math.Sqrt(float64(max(1, square)))
	for _, b := range row {
		units = append(units, float64(int(b)-128)/length)
	}
	return units
}

// centroids returns rows of codes of vectors, all by one scale, so that products compare them as they are.
func centroids(vectors []float64, width int) []byte {
	most := math.SmallestNonzeroFloat64
	for _, x := range vectors {
		most = max(most, math.Abs(x))
	}
	stride := retrieval.Stride(width)
	rows := bytes.Repeat([]byte{128}, len(vectors)/width*stride)
	for i, x := range vectors {
		rows[i/width*stride+i%width] = byte(128 + int(math.RoundToEven(x/most*127)))
	}
	return rows
}
