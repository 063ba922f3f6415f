package index

import (
	"cmp"
	"slices"
	"strings"
	"unsafe"

	"ostraca/retrieval"
)

// segment is some documents, sorted by id, that never change. Here is the seam for more codecs and for candidates: codec.go
// makes the codes, a segment keeps them, scan.score in search.go is all that a search asks of a document's codes.
type segment struct {
	width   int
	rows    []byte   // of all documents, one after the other, as retrieval.Codes has them
	scales  []uint16 // one a row
	starts  []int    // the first row of every document, and the number of rows
	records []record // one a document
	bytes   int      // what all this takes
}

// record is what a search does not read.
type record struct {
	id     string
	text   string
	fields map[string]any
	spans  []retrieval.Span
}

// newSegment copies the codes of documents of different ids; it sorts docs.
func newSegment(width int, docs []retrieval.Document) *segment {
	slices.SortFunc(docs, byID)
	s := &segment{width: width, starts: make([]int, 1, len(docs)+1), records: make([]record, 0, len(docs))}
	tokens := 0
	for _, d := range docs {
		tokens += d.Codes.Len()
		s.starts = append(s.starts, tokens)
		s.records = append(s.records, record{d.ID, d.Text, d.Fields, d.Spans})
		s.bytes += len(d.ID) + len(d.Text) + len(d.Spans)*int(unsafe.Sizeof(retrieval.Span{}))
	}
	s.rows = make([]byte, 0, tokens*retrieval.Stride(width))
	s.scales = make([]uint16, 0, tokens)
	for _, d := range docs {
		s.rows = append(s.rows, d.Codes.Rows...)
		s.scales = append(s.scales, d.Codes.Scales...)
	}
	s.bytes += len(s.rows) + 2*tokens + 8*len(s.starts) + len(docs)*int(unsafe.Sizeof(record{}))
	return s
}

func byID(a, b retrieval.Document) int { return cmp.Compare(a.ID, b.ID) }

// find returns the ordinal of the first document whose id is not below id, and whether it is that id.
func (s *segment) find(id string) (int, bool) {
	return slices.BinarySearchFunc(s.records, id, func(r record, id string) int { return strings.Compare(r.id, id) })
}

// at returns the first ordinal whose rows begin at the row, or after it.
func (s *segment) at(row int) int {
	i, _ := slices.BinarySearch(s.starts[:len(s.records)], row)
	return i
}

// length returns the number of a document's tokens.
func (s *segment) length(i int) int { return s.starts[i+1] - s.starts[i] }

// codes returns a document's codes. They are the segment's memory, cut so that an append copies them.
func (s *segment) codes(i int) retrieval.Codes {
	from, to, stride := s.starts[i], s.starts[i+1], retrieval.Stride(s.width)
	return retrieval.Codes{
		Codec:  retrieval.Int8,
		Width:  s.width,
		Rows:   s.rows[from*stride : to*stride : to*stride],
		Scales: s.scales[from:to:to],
	}
}

// document returns a document, in the segment's memory.
func (s *segment) document(i int) retrieval.Document {
	r := s.records[i]
	return retrieval.Document{ID: r.id, Text: r.text, Fields: r.fields, Codes: s.codes(i), Spans: slices.Clip(r.spans)}
}
