package index

import (
	"iter"
	"math/bits"
)

// Numbering gives numbers to the states of documents, so that what is known of a document can be kept as a bit: of one numbering, a number is of one
// document between a put or touch of it and the next, and never of anything else. Numbers are dense, so when too many are of documents that are no
// more, an index begins another numbering. What was kept by the numbers of the one before is then worth nothing.
type Numbering struct{ next uint32 } // the index's, as long as it writes

// spareNumbers may be out of use, beside as many as are in use, before another numbering begins.
const spareNumbers = 1 << 16

// Set is a set of numbers, n being bit n%64 of word n/64. Nil is empty.
type Set []uint64

// Has tells whether n is in s.
func (s Set) Has(n uint32) bool { return int(n/64) < len(s) && s[n/64]>>(n%64)&1 != 0 }

// With returns s and n, in the memory of s where it reaches that far.
func (s Set) With(n uint32) Set {
	if at := int(n / 64); at >= len(s) {
		s = append(s, make(Set, at+1-len(s))...)
	}
	s[n/64] |= 1 << (n % 64)
	return s
}

// Numbering returns the one that the view's numbers are of, nil where it holds no documents.
func (v View) Numbering() *Numbering {
	if len(v.parts) == 0 {
		return nil
	}
	return v.parts[0].numbering
}

// Unknown yields number and id of the documents whose numbers are not in known.
func (v View) Unknown(known Set) iter.Seq2[uint32, string] {
	return func(yield func(uint32, string) bool) {
		for _, p := range v.parts {
			for i := p.alive(0); i < len(p.records); i = p.alive(i + 1) {
				if n := p.numbers[i]; !known.Has(n) && !yield(n, p.records[i].id) {
					return
				}
			}
		}
	}
}

// Restrict returns a view of those documents alone whose numbers are in keep: a search of it, by whatever plan, is one of an index that never held
// others. Where no more of them are left than either number of a plan, all of them are scored.
func (v View) Restrict(keep Set) View {
	parts := make(snapshot, len(v.parts))
	for i, p := range v.parts {
		parts[i] = p.restricted(keep)
	}
	return View{v.index, parts}
}

// restricted returns p with the documents dead whose numbers are not in keep.
func (p part) restricted(keep Set) part {
	off := make(bitmap, len(p.records)/64+1)
	copy(off, p.dead)
	documents, tokens := 0, 0
	for first := 0; first < len(p.records); first += 64 {
		numbers, on := p.numbers[first:min(first+64, len(p.records))], uint64(0)
		for i, n := range numbers {
			if at := int(n / 64); at < len(keep) {
				on |= keep[at] >> (n % 64) & 1 << i
			}
		}
		on &^= off[first/64]
		off[first/64] = ^on
		documents += bits.OnesCount64(on)
		for ; on != 0; on &= on - 1 {
			tokens += p.length(first + bits.TrailingZeros64(on))
		}
	}
	if documents == p.documents {
		return p
	}
	p.dead, p.documents, p.tokens = off, documents, tokens
	return p
}

// Touch gives new numbers to the documents of these ids, as a put would: something about them has changed that the index does not hold.
func (x *Index) Touch(ids []string) {
	x.writing.Lock()
	defer x.writing.Unlock()
	next := x.snapshot().without(nil) // a copy
	for i := range next {
		next[i] = next[i].touched(ids, x.numbering)
	}
	x.publish(next)
}

// touched returns p with new numbers for the documents of these ids. The numbers of p are copied once, if any is in p.
func (p part) touched(ids []string, n *Numbering) part {
	copied := false
	for _, id := range ids {
		i, ok := p.lookup(id)
		if !ok {
			continue
		}
		if !copied {
			p.numbers, copied = append([]uint32(nil), p.numbers...), true
		}
		p.numbers[i] = n.take(1)
	}
	return p
}

// take returns the first of so many numbers that were never taken.
func (n *Numbering) take(count int) uint32 {
	first := n.next
	n.next += uint32(count)
	return first
}

// publish shows readers a state, whose slice is not shared. The caller holds writing.
func (x *Index) publish(next snapshot) {
	if int(x.numbering.next) > 2*next.documents()+spareNumbers {
		x.numbering = new(Numbering)
		for i := range next {
			next[i].numbers = x.numbering.some(len(next[i].records))
		}
	}
	for i := range next {
		next[i].numbering = x.numbering
	}
	x.state.Store(&next)
}

// some returns so many new numbers.
func (n *Numbering) some(count int) []uint32 {
	out, first := make([]uint32, count), n.take(count)
	for i := range out {
		out[i] = first + uint32(i)
	}
	return out
}

// numbered returns the numbers that g's documents have in the parts that they come from.
func (g *segment) numbered(from []part) []uint32 {
	out := make([]uint32, len(g.records))
	for _, p := range from {
		at := 0
		for i := p.alive(0); i < len(p.records); i = p.alive(i + 1) {
			for g.records[at].id != p.records[i].id {
				at++
			}
			out[at] = p.numbers[i]
		}
	}
	return out
}
