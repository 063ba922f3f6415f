package index

import (
	"slices"

	"ostraca/retrieval"
)

// snapshot is the whole state of an index at one moment, the oldest and largest segments first. It never changes.
type snapshot []part

// part is a segment and which of its documents are dead.
type part struct {
	*segment
	dead      bitmap
	documents int // living ones
	tokens    int // of living documents
}

// bitmap is a set of ordinals; nil is empty.
type bitmap []uint64

func (b bitmap) has(i int) bool { return b != nil && b[i/64]>>(i%64)&1 != 0 }

// lookup returns the ordinal of a living document.
func (p part) lookup(id string) (int, bool) {
	i, ok := p.find(id)
	return i, ok && !p.dead.has(i)
}

// without returns p with the documents of these ids dead. The bitmap of p is copied once, if any is in p.
func (p part) without(ids []string) part {
	var dead bitmap
	for _, id := range ids {
		i, ok := p.lookup(id)
		if !ok {
			continue
		}
		if dead == nil {
			dead = make(bitmap, len(p.records)/64+1)
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
	for i < len(p.records) && p.dead.has(i) {
		i++
	}
	return i
}

// living appends the living documents to docs, in the segment's memory.
func (p part) living(docs []retrieval.Document) []retrieval.Document {
	for i := p.alive(0); i < len(p.records); i = p.alive(i + 1) {
		docs = append(docs, p.document(i))
	}
	return docs
}

// weight is what copying the living documents costs; capacity is the same of all documents.
func (p part) weight() int   { return p.documents + p.tokens }
func (p part) capacity() int { return len(p.records) + len(p.scales) }

// documents returns how many live.
func (s snapshot) documents() int {
	n := 0
	for _, p := range s {
		n += p.documents
	}
	return n
}

// without returns s with the documents of these ids dead.
func (s snapshot) without(ids []string) snapshot {
	next := slices.Clone(s)
	for i := range next {
		next[i] = next[i].without(ids)
	}
	return next
}

// with returns s and the fresh documents, whose ids do not live in s. Segments that runs joins become one, one mostly dead
// is rewritten, one wholly dead is gone.
func (s snapshot) with(fresh []retrieval.Document, width, limit int) snapshot {
	var next snapshot
	for _, r := range s.runs(fresh, limit) {
		if r.to == r.from+1 && r.from < len(s) && 2*s[r.from].weight() >= s[r.from].capacity() {
			next = append(next, s[r.from])
			continue
		}
		var docs []retrieval.Document
		for _, p := range s[r.from:min(r.to, len(s))] {
			docs = p.living(docs)
		}
		if r.to > len(s) {
			docs = append(docs, fresh...)
		}
		g := newSegment(width, docs)
		next = append(next, part{segment: g, documents: len(g.records), tokens: len(g.scales)})
	}
	return next
}

// run is neighbouring parts that become one; the part numbered len(snapshot) is the fresh documents.
type run struct{ from, to, weight int }

// runs is the logarithmic method (Bentley and Saxe 1980): neighbours are joined until each is at least twice the next, so
// there are about log2 n, and a document is copied again only into something half as large again. Beyond the limit
// nothing is joined: see maxMerged.
func (s snapshot) runs(fresh []retrieval.Document, limit int) []run {
	next := run{len(s), len(s) + 1, len(fresh)}
	for _, d := range fresh {
		next.weight += d.Codes.Len()
	}
	var runs []run
	for i, p := range s {
		runs = join(runs, run{i, i + 1, p.weight()}, limit)
	}
	return join(runs, next, limit)
}

// join appends r, with those before it that it takes in.
func join(runs []run, r run, limit int) []run {
	if r.weight == 0 {
		return runs
	}
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
