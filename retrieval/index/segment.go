package index

import (
	"cmp"
	"runtime"
	"slices"
	"strings"

	"ostraca/retrieval"
)

// segment is some documents, sorted by id, that never change. Its vectors lie in three tiers, from coarse to fine: sketches and coarse vectors find
// candidates, tokens rank them.
type segment struct {
	codec   retrieval.Codec
	width   int
	fine    tier
	cluster []byte // of packed codes, one a token
	coarse  tier
	sketch  tier
	shared  []uint16 // the scale of a document's sketch vectors, one a document
	members members
	records []record // one a document
	bytes   int      // what all this takes
	outside bool     // some of it is not the garbage collector's: see Memory
	hasty   bool     // a write put tokens into memory that has no room for them
	filed   bool     // tokens lie where a disk may have to be waited for
}

// tier is vectors of all documents, one after the other.
type tier struct {
	rows   []byte
	scales []uint16 // one a row
	starts []int32  // the first row of every document, and the number of rows
}

// maxSegmentRows bounds the rows of a segment, which 32 bits count.
const maxSegmentRows = 1 << 31

// length returns the number of a document's rows.
func (t *tier) length(i int) int { return int(t.starts[i+1] - t.starts[i]) }

// of returns a document's rows of bytes each, cut so that an append copies them, and their scales.
func (t *tier) of(i, bytes int) ([]byte, []uint16) {
	from, to := int(t.starts[i]), int(t.starts[i+1])
	return t.rows[from*bytes : to*bytes : to*bytes], t.scales[from:to:to]
}

// tierIn makes a tier whose rows go into the given memory.
func tierIn(memory []byte, documents, rows int) tier {
	return tier{rows: memory, scales: make([]uint16, 0, rows), starts: make([]int32, 1, documents+1)}
}

func (t *tier) add(rows []byte, scales []uint16) {
	t.rows = append(t.rows, rows...)
	t.scales = append(t.scales, scales...)
	t.starts = append(t.starts, int32(len(t.scales)))
}

func (t *tier) size() int { return len(t.rows) + 2*len(t.scales) + 4*len(t.starts) }

// record is what a search does not read.
type record struct {
	id     string
	text   string
	fields map[string]any
	spans  []retrieval.Span
}

// size is how many documents a segment has, and rows in its tiers.
type size struct{ documents, tokens, coarse, sketch int }

// add counts a document.
func (n *size) add(c *retrieval.Codes) {
	*n = size{n.documents + 1, n.tokens + c.Len(), n.coarse + c.Coarse.Len(), n.sketch + c.Sketch.Len()}
}

// newSegment returns a segment with room for what n counts, in memory of m, or, where that is nil, in memory like any other.
func newSegment(codec retrieval.Codec, width int, n size, m Memory) *segment {
	g := &segment{codec: codec, width: width}
	room := func(rows, bytes int, take func(Memory, int) ([]byte, func())) []byte {
		if m == nil || rows*bytes < leastBlock {
			return make([]byte, 0, rows*bytes)
		}
		block, release := take(m, rows*bytes)
		if release != nil {
			g.outside = true
			runtime.AddCleanup(g, func(release func()) { release() }, release)
		}
		return block[: 0 : rows*bytes]
	}
	stride := retrieval.Stride(width)
	g.fine = tierIn(room(n.tokens, codec.RowBytes(width), g.tokens), n.documents, n.tokens)
	g.coarse = tierIn(room(n.coarse, stride, Memory.Hot), n.documents, n.coarse)
	g.sketch = tierIn(room(n.sketch, stride, Memory.Hot), n.documents, n.sketch)
	g.shared, g.records = make([]uint16, 0, n.documents), make([]record, 0, n.documents)
	if codec != retrieval.Int8 {
		g.cluster = make([]byte, 0, n.tokens)
	}
	return g
}

func byID(a, b retrieval.Document) int { return cmp.Compare(a.ID, b.ID) }

// find returns the ordinal of the first document whose id is not below id, and whether it is that id.
func (s *segment) find(id string) (int, bool) {
	return s.findFrom(0, id)
}

// findFrom is find among the ordinals from first on.
func (s *segment) findFrom(first int, id string) (int, bool) {
	i, ok := slices.BinarySearchFunc(s.records[first:], id, func(r record, id string) int { return strings.Compare(r.id, id) })
	return first + i, ok
}

// at returns the first ordinal whose tokens begin at the row, or after it.
func (s *segment) at(row int) int {
	i, _ := slices.BinarySearch(s.fine.starts[:len(s.records)], int32(min(max(row, 0), len(s.fine.scales)+1)))
	return i
}

// length returns the number of a document's tokens.
func (s *segment) length(i int) int { return s.fine.length(i) }

// codes returns a document's codes. They are the segment's memory, cut so that an append copies them.
func (s *segment) codes(i int) retrieval.Codes {
	c := retrieval.Codes{Codec: s.codec, Width: s.width}
	stride := retrieval.Stride(s.width)
	c.Rows, c.Scales = s.fine.of(i, s.codec.RowBytes(s.width))
	c.Coarse.Rows, c.Coarse.Scales = s.coarse.of(i, stride)
	c.Sketch.Rows, c.Sketch.Scales = s.sketch.of(i, stride)
	if s.cluster != nil {
		from, to := s.fine.starts[i], s.fine.starts[i+1]
		c.Clusters = s.cluster[from:to:to]
	}
	return c
}

// lent returns a document that may be kept when the segment is gone: what is not the garbage collector's is copied.
func (s *segment) lent(i int) retrieval.Document {
	d := s.document(i)
	if s.outside {
		for _, rows := range []*[]byte{&d.Codes.Rows, &d.Codes.Coarse.Rows, &d.Codes.Sketch.Rows} {
			*rows = slices.Clip(slices.Clone(*rows))
		}
		runtime.KeepAlive(s)
	}
	return d
}

// document returns a document, in the segment's memory.
func (s *segment) document(i int) retrieval.Document {
	r := s.records[i]
	return retrieval.Document{ID: r.id, Text: r.text, Fields: r.fields, Codes: s.codes(i), Spans: slices.Clip(r.spans)}
}
