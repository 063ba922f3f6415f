package index

import (
	"iter"
	"math/bits"
)

// snapshot is the whole state of an index at one moment, the oldest and largest segments first. It never changes.
type snapshot []part

// part is a segment and which of its documents are dead.
type part struct {
	*segment
	dead      bitmap
	numbers   []uint32 // one a document
	numbering *Numbering
	documents int // living ones
	tokens    int // of living documents
}

// bitmap is a set of ordinals; nil is empty.
type bitmap []uint64

func (b bitmap) has(i int) bool { return b != nil && b[i/64]>>(i%64)&1 != 0 }

// count returns how many ordinals of a range are in b.
func (b bitmap) count(from, to int) (n int) {
	if b == nil {
		return 0
	}
	for at := from; at < to; {
		end := min(to, at/64*64+64)
		n += bits.OnesCount64(b[at/64] >> (at % 64) << (64 - (end - at)))
		at = end
	}
	return n
}

// lookup returns the ordinal of a living document.
func (p part) lookup(id string) (int, bool) {
	i, ok := p.find(id)
	return i, ok && !p.dead.has(i)
}

// without returns p with the documents of these ids, which are sorted, dead. The bitmap of p is copied once, if any is in p.
func (p part) without(ids []string) part {
	n := len(p.records)
	if len(ids) == 0 || n == 0 || ids[len(ids)-1] < p.records[0].id || p.records[n-1].id < ids[0] {
		return p
	}
	var dead bitmap
	at := 0
	for _, id := range ids {
		i, ok := p.findFrom(at, id)
		if at = i; !ok || p.dead.has(i) {
			continue
		}
		if dead == nil {
			dead = make(bitmap, n/64+1)
			copy(dead, p.dead)
			p.dead = dead
		}
		dead[i/64] |= 1 << (i % 64)
		p.documents--
		p.tokens -= p.length(i)
	}
	return p
}

// alive returns the first ordinal from i on whose document lives, or the number of documents.
func (p part) alive(i int) int {
	if p.dead == nil || i >= len(p.records) {
		return i
	}
	at, on := i/64, ^p.dead[i/64]>>(i%64)<<(i%64)
	for on == 0 && at+1 < len(p.dead) {
		at++
		on = ^p.dead[at]
	}
	return min(64*at+bits.TrailingZeros64(on), len(p.records))
}

// deadSketches returns how many sketches the dead of a range have.
func (p part) deadSketches(from, to int) (n int64) {
	for at := from; at < to; at++ {
		if p.dead.has(at) {
			n += int64(p.sketch.length(at))
		}
	}
	return n
}

// weight is what copying the living documents costs; capacity is the same of all documents.
func (p part) weight() int   { return p.documents + p.tokens }
func (p part) capacity() int { return len(p.records) + len(p.fine.scales) }

// decayed tells whether so much of p is dead that it is to be rewritten: more than an eighth, so that a deletion makes for copying seven times what it deleted.
func (p part) decayed() bool { return 8*p.weight() < 7*p.capacity() }

// documents returns how many live.
func (s snapshot) documents() int {
	n := 0
	for _, p := range s {
		n += p.documents
	}
	return n
}

// without returns s with the documents of these ids, which are sorted, dead; segments that are wholly dead are gone.
func (s snapshot) without(ids []string) snapshot {
	next := make(snapshot, 0, len(s)+1) // for what a write adds
	for _, p := range s {
		if p = p.without(ids); p.documents > 0 {
			next = append(next, p)
		}
	}
	return next
}

// run is neighbouring parts that become one.
type run struct{ from, to, weight int }

// joins tells whether r is more than one part.
func (r run) joins() bool { return r.to > r.from+1 }

// runs is the logarithmic method (Bentley and Saxe 1980): neighbours are joined until each is at least twice the next, so
// there are about log2 n, and a document is copied again only into something half as large again. Beyond the limit
// nothing is joined: see maxMerged.
func (s snapshot) runs(limit int) []run {
	var runs []run
	for i, p := range s {
		runs = join(runs, run{i, i + 1, p.weight()}, limit)
	}
	return runs
}

// join appends r, with those before it that it takes in.
func join(runs []run, r run, limit int) []run {
	for n := len(runs); n > 0; n-- {
		last := runs[n-1]
		if last.weight >= 2*r.weight || last.weight+r.weight > limit {
			break
		}
		r = run{last.from, r.to, last.weight + r.weight}
		runs = runs[:n-1]
	}
	return append(runs, r)
}

// pending is how many parts fewer there will be.
func (s snapshot) pending(limit int) int { return len(s) - len(s.runs(limit)) }

// due returns the parts to be joined next, or the one to be rewritten because much of it is dead: of all there are those that are the least to copy. Nothing
// is due in an empty answer.
func (s snapshot) due(limit int) snapshot {
	r := s.lightest(limit, func(r run) bool { return r.joins() || s[r.from].decayed() })
	return s[r.from:r.to]
}

// lightest returns the run of those wanted that is the least to copy, or one of nothing.
func (s snapshot) lightest(limit int, wanted func(run) bool) (least run) {
	for _, r := range s.runs(limit) {
		if wanted(r) && (least.to == 0 || r.weight < least.weight) {
			least = r
		}
	}
	return least
}

// of returns the part that a segment is.
func (s snapshot) of(g *segment) (part, bool) {
	for _, p := range s {
		if p.segment == g {
			return p, true
		}
	}
	return part{}, false
}

// cursor is a document among the living ones of a part.
type cursor struct {
	*part
	at int
}

func (c cursor) before(d cursor) bool { return c.records[c.at].id < d.records[d.at].id }

// walk yields the living documents whose ids are above after, by id: the part and the ordinal in it.
func (s snapshot) walk(after string) iter.Seq2[*part, int] {
	return func(yield func(*part, int) bool) {
		heap := make([]cursor, 0, len(s)) // the least id on top
		for i := range s {
			at, held := s[i].find(after)
			if held {
				at++
			}
			if at = s[i].alive(at); at < len(s[i].records) {
				heap = append(heap, cursor{&s[i], at})
			}
		}
		for i := len(heap)/2 - 1; i >= 0; i-- {
			sink(heap, i, cursor.before)
		}
		for len(heap) > 0 {
			c := &heap[0]
			if !yield(c.part, c.at) {
				return
			}
			if c.at = c.alive(c.at + 1); c.at == len(c.records) {
				last := len(heap) - 1
				heap[0] = heap[last]
				heap = heap[:last]
			}
			sink(heap, 0, cursor.before)
		}
	}
}
