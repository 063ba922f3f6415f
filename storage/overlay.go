package storage

import (
	"bytes"
	"maps"

	"github.com/google/btree"
)

// rowCost is what a row in the overlay counts beside its key and value, in bytes.
const rowCost = 128

const degree = 32 // of the trees in memory

// row is a row, or in the overlay the mark that there is none.
type row struct {
	key, value []byte
	hash       Digest
	gone       bool
}

func (r row) bytes() uint64 { return uint64(len(r.key) + len(r.value)) }

func rowLess(a, b row) bool { return bytes.Compare(a.key, b.key) < 0 }

// record is what is known of a bucket beside its rows.
type record struct {
	path Bucket
	key  Key
	Stat
}

func recordLess(a, b record) bool { return a.path < b.path }

// delta is what changed in one bucket.
type delta struct {
	void  bool // everything older is gone
	rows  *btree.BTreeG[row]
	bytes int
}

func newDelta(void bool) *delta { return &delta{void: void, rows: btree.NewG(degree, rowLess)} }

// clone returns a delta that can change while d is read.
func (d *delta) clone() *delta { return &delta{d.void, d.rows.Clone(), d.bytes} }

// set puts r into d and returns by how many bytes d grew.
func (d *delta) set(r row) int {
	grown := rowCost + int(r.bytes())
	if old, ok := d.rows.ReplaceOrInsert(r); ok {
		grown -= rowCost + int(old.bytes())
	}
	d.bytes += grown
	return grown
}

// layer is what changed in all buckets since some moment. A published one never changes.
type layer struct {
	deltas map[Bucket]*delta
	bytes  int
}

func (l *layer) clone() *layer {
	if l == nil {
		return &layer{deltas: map[Bucket]*delta{}}
	}
	return &layer{maps.Clone(l.deltas), l.bytes}
}

// get returns the changes of a bucket, nil if there are none.
func (l *layer) get(b Bucket) *delta {
	if l == nil {
		return nil
	}
	return l.deltas[b]
}

// generation is a layer on its way into the file, with what the file will say after it.
type generation struct {
	layer    *layer
	number   uint64
	position Position
	records  *btree.BTreeG[record]
}

// published is what readers see, behind one pointer: rows of the active layer, over those being flushed, over the file. It
// never changes.
type published struct {
	file     *file
	position Position
	records  *btree.BTreeG[record]
	active   *layer      // nil is empty
	flushing *generation // nil when none is on its way
	flushed  uint64      // number of the last generation known to be in the file
}

// newest is the number of the last generation whose rows p knows: a file with a later one holds rows that p may not show.
func (p *published) newest() uint64 {
	if p.flushing != nil {
		return p.flushing.number
	}
	return p.flushed
}

// bytes of the overlay.
func (p *published) bytes() int {
	n := 0
	if p.active != nil {
		n = p.active.bytes
	}
	if p.flushing != nil {
		n += p.flushing.layer.bytes
	}
	return n
}
