package index

import (
	"math/bits"
	"slices"

	"ostraca/retrieval"
	"ostraca/retrieval/kernel"
)

// centroidsOf is the lists of an index, ready for use.
type centroidsOf struct {
	kernel  *kernel.Set
	width   int
	rows    []byte   // as sketches
	scales  []uint16 // all alike
	numbers []int32  // 0, 1, 2, ...: where rows begin that are documents of one each
}

// newCentroids returns nil for no lists.
func newCentroids(l Lists, k *kernel.Set) *centroidsOf {
	if l.IsZero() {
		return nil
	}
	c := &centroidsOf{kernel: k, width: l.width, rows: []byte(l.data[l.rows:]), scales: slices.Repeat([]uint16{retrieval.MaxScale}, l.Len())}
	for i := range max(l.Len(), pieceSketches) + 1 {
		c.numbers = append(c.numbers, int32(i))
	}
	return c
}

// of returns the list of each sketch: of equal products the first. Sketches meet centroids as a query's tokens meet a document, so the best position is the list.
func (c *centroidsOf) of(rows []byte) []uint16 {
	const some = 32 // two panels
	stride := retrieval.Stride(c.width)
	n := len(rows) / stride
	out := make([]uint16, 0, n)
	codes := make([]int8, 0, some*c.width)
	for first := 0; first < n; first += some {
		codes = codes[:0]
		mine := min(some, n-first)
		for i := range mine {
			for _, b := range rows[(first+i)*stride:][:c.width] {
				codes = append(codes, int8(b-128))
			}
		}
		m := c.kernel.NewMaxSim(codes, mine, c.width, retrieval.Lift(c.width))
		m.Score(c.rows, c.scales)
		for _, at := range m.Pos[:mine] {
			out = append(out, uint16(at))
		}
	}
	return out
}

// best returns the n lists whose centroids have the greatest products with the query's tokens, in order of their numbers; of equal ones the first.
func (c *centroidsOf) best(q *retrieval.Query, n int) []int32 {
	sums := make([]int64, len(c.scales))
	c.kernel.NewScan(q.Codes, q.Weights, q.Width).Documents(sums, c.rows, c.numbers[:len(sums)+1])
	least := nth(slices.Clone(sums), n-1, func(a, b int64) bool { return a > b })
	out, equal := make([]int32, 0, n), n
	for _, x := range sums {
		if x > least {
			equal--
		}
	}
	for i, x := range sums {
		if x > least || x == least && equal > 0 {
			out = append(out, int32(i))
		}
		if x == least {
			equal--
		}
	}
	return out
}

// members says in which lists a segment's documents are: those of their sketches. In a segment of many it has the sketches once more, list by list, so
// that what is looked into lies together: picked one by one, they take about four times as long. Without lists it is empty.
type members struct {
	centroids *centroidsOf
	list      []uint16 // one a sketch
	grouped   group
}

// group is the documents of one sketch by list, and apart from them the others.
type group struct {
	firsts    []int32 // of each list in what follows, and how many there are; empty in a segment of few documents
	documents []int32 // ordinals, of a list in their order
	rows      []byte
	shared    []uint16
	long      []int32 // ordinals of documents of several sketches
}

// A segment is grouped that has a sketch for every listsASketch lists or more. In a smaller one, looking at the list of every document costs less than
// looking up what every list has.
const listsASketch = 4

// enlist finds the lists of all documents.
func (g *segment) enlist(c *centroidsOf) {
	if c == nil {
		return
	}
	g.members.centroids, g.members.list = c, c.of(g.sketch.rows)
	g.group()
}

// add takes the lists of some sketches over.
func (m *members) add(from *members, first, behind int32) {
	if m.centroids != nil {
		m.list = append(m.list, from.list[first:behind]...)
	}
}

// group sorts the documents by list.
func (g *segment) group() {
	m := &g.members
	if m.centroids == nil || listsASketch*len(m.list) < len(m.centroids.scales) {
		return
	}
	o, stride, single := &m.grouped, retrieval.Stride(g.width), 0
	o.firsts = make([]int32, len(m.centroids.scales)+1)
	for at := range g.records {
		switch g.sketch.length(at) {
		case 0:
		case 1:
			o.firsts[m.list[g.sketch.starts[at]]+1]++
			single++
		default:
			o.long = append(o.long, int32(at))
		}
	}
	for i := range m.centroids.scales {
		o.firsts[i+1] += o.firsts[i]
	}
	o.documents, o.shared, o.rows = make([]int32, single), make([]uint16, single), make([]byte, single*stride)
	next := slices.Clone(o.firsts)
	for at := range g.records {
		if g.sketch.length(at) != 1 {
			continue
		}
		row := g.sketch.starts[at]
		to := next[m.list[row]]
		next[m.list[row]]++
		o.documents[to], o.shared[to] = int32(at), g.shared[at]
		copy(o.rows[int(to)*stride:], g.sketch.rows[int(row)*stride:][:stride])
	}
}

// sizes returns the bytes that sketches take once more, and those of what says where they are.
func (m *members) sizes() (sketches, places int) {
	o := &m.grouped
	return len(o.rows) + 2*len(o.shared), 2*len(m.list) + 4*(len(o.documents)+len(o.firsts)+len(o.long))
}

// in returns the documents that have a sketch in one of these lists, of which picked says the same.
func (g *segment) in(lists []int32, picked bitmap) bitmap {
	in := make(bitmap, len(g.records)/64+1)
	look := func(at int32) {
		for _, l := range g.members.list[g.sketch.starts[at]:g.sketch.starts[at+1]] {
			if picked.has(int(l)) {
				in[at/64] |= 1 << (at % 64)
			}
		}
	}
	o := &g.members.grouped
	if len(o.firsts) == 0 {
		for at := range g.records {
			look(int32(at))
		}
		return in
	}
	for _, l := range lists {
		for _, at := range o.documents[o.firsts[l]:o.firsts[l+1]] {
			in[at/64] |= 1 << (at % 64)
		}
	}
	for _, at := range o.long {
		look(at)
	}
	return in
}

// probed returns a state in which only those documents of v live that are in the n lists that speak most for the query, and these lists. The state tells
// how many documents these are, and nothing of their tokens.
func (v View) probed(q *retrieval.Query, n int) (snapshot, []int32) {
	lists := v.index.centroids.best(q, n)
	picked := make(bitmap, len(v.index.centroids.scales)/64+1)
	for _, l := range lists {
		picked[l/64] |= 1 << (l % 64)
	}
	return v.parts.living(func(i int, p part) bitmap { return p.in(lists, picked) }), lists
}

// others returns a state in which those live that live in s and not in t, which is of the same segments.
func (s snapshot) others(t snapshot) snapshot {
	return s.living(func(i int, _ part) bitmap { return t[i].dead })
}

// living returns a state in which only those documents live that do in s and are in a bitmap for each part.
func (s snapshot) living(in func(i int, p part) bitmap) snapshot {
	out := slices.Clone(s)
	for i := range out {
		p, keep := &out[i], in(i, s[i])
		off := make(bitmap, len(keep))
		copy(off, p.dead)
		off[len(off)-1] |= ^uint64(0) << (len(p.records) % 64) // no documents
		p.documents, p.tokens = 0, 0
		for w, on := range keep {
			on &^= off[w]
			off[w] = ^on
			p.documents += bits.OnesCount64(on)
		}
		p.dead = off
	}
	return out
}

// probes tells whether a search of so many documents looks into the lists of a plan alone: not where the stages behind would let all pass.
func (x *Index) probes(p retrieval.Plan, all int) bool {
	cuts := p.Sketched > 0 && p.Sketched < all || p.Scored > 0 && p.Scored < all || p.Sketched == 0 && p.Scored == 0
	return x.centroids != nil && p.Lists > 0 && p.Lists < len(x.centroids.scales) && cuts
}

// headBytes of a list are fetched before its turn.
const headBytes = 4096

// lists scans some lists of a part.
func (s *sketching) lists(part int, lists []int32) {
	p := s.parts[part]
	o, stride := &p.members.grouped, retrieval.Stride(p.width)
	for i, l := range lists {
		if i+1 < len(lists) { // lists lie anywhere: of the next one the head is fetched, the scan itself does the rest
			next := o.rows[int(o.firsts[lists[i+1]])*stride : int(o.firsts[lists[i+1]+1])*stride]
			p.members.centroids.kernel.Prefetch(next[:min(len(next), headBytes)])
		}
		for from, to := o.firsts[l], o.firsts[l+1]; from < to; from += pieceSketches {
			n := min(to-from, pieceSketches)
			s.sums = slices.Grow(s.sums[:0], pieceSketches)[:n]
			s.scan.Documents(s.sums, o.rows[int(from)*stride:], p.members.centroids.numbers[:n+1])
			for i, sum := range s.sums {
				if x := sum >> sketchShift * int64(o.shared[int(from)+i]); x >= s.least {
					if at := o.documents[int(from)+i]; !p.dead.has(int(at)) {
						s.add(candidate{x, int32(part), at})
					}
				}
			}
		}
	}
}

// long scans the documents of several sketches.
func (s *sketching) long(part int) {
	p := s.parts[part]
	s.which = s.which[:0]
	for _, at := range p.members.grouped.long {
		if !p.dead.has(int(at)) {
			s.which = append(s.which, at)
		}
	}
	s.gather(part)
	s.sketches -= int64(len(s.which)) // bySketch has counted one of each
}
