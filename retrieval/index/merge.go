package index

import (
	"runtime"
	"slices"
	"sync"
)

const (
	// maxMerged is the bytes of codes that a merged segment has at most, about: what is larger is rewritten, but not joined. It bounds what a merge takes beside the
	// segments it replaces. Documents of usual length at 384 dimensions and 8 bits make 1.3 million tokens of it, so 10 million tokens are 8 to 15 large segments.
	maxMerged = 512 << 20

	// maxPending is how many segments may wait to be joined. Where there are more, a write joins some of them itself.
	maxPending = 16

	// helpWeight is the documents and tokens up to which a write that helps joins segments, while such are left: less than a millisecond of copying.
	helpWeight = 1 << 11

	// largePut is the bytes of rows from which on those of a put go into the index's [Memory] at once.
	largePut = 16 << 20
)

// Merging is what background merges may take. Indexes that share Slots share it. The zero value is good: an index merges at full speed.
type Merging struct {
	Slots chan struct{}      // its capacity is how many merges run at once; nil: one for each index
	Share int                // percent of one core that a merge takes at most, 1 to 100; 0 is 25
	Clock func() int64       // microseconds; nil: merges do not pause
	Sleep func(micros int64) // nil: likewise
}

// merger is what an index keeps of its merges. Index.writing guards it.
type merger struct {
	slots           chan struct{}
	pace            *pace // the goroutine's
	running, closed bool
	busy            snapshot      // what is being joined, as it was when that began
	stop            chan struct{} // closed when the index is
	idle            *sync.Cond    // when running ends
}

func newMerger(o Merging, writing *sync.Mutex) merger {
	if o.Slots == nil {
		o.Slots = make(chan struct{}, 1)
	}
	m := merger{slots: o.Slots, stop: make(chan struct{}), idle: sync.NewCond(writing)}
	m.pace = newPace(o, m.stop)
	return m
}

// Settle waits until no merge is due: then documents lie in about log n segments.
func (x *Index) Settle() {
	x.writing.Lock()
	defer x.writing.Unlock()
	for x.merger.running {
		x.merger.idle.Wait()
	}
}

// Close ends background merges, and waits for the one under way, which stops at once. The index can be read and written as before, but then writes alone
// bound the number of segments.
func (x *Index) Close() {
	x.writing.Lock()
	if !x.merger.closed {
		x.merger.closed = true
		close(x.merger.stop)
	}
	x.writing.Unlock()
	x.Settle()
}

// change makes the next state: without the documents of these ids, which are sorted, and with those of a fresh segment, unless that is nil. It returns how many
// are gone.
func (x *Index) change(ids []string, fresh *segment) int {
	x.writing.Lock()
	defer x.writing.Unlock()
	before := x.snapshot()
	next := before.without(ids)
	gone := before.documents() - next.documents()
	if fresh != nil {
		n := len(fresh.records)
		next = append(next, part{segment: fresh, numbers: x.numbering.some(n), documents: n, tokens: len(fresh.fine.scales)})
	}
	next = x.help(next)
	x.publish(next)
	if m := &x.merger; !m.running && !m.closed && len(x.due(next)) > 0 {
		m.running = true
		go x.merge()
	}
	return gone
}

// due returns what a merge would do next: what is due of s, or, where nothing is, a segment whose tokens lie in the wrong place.
func (x *Index) due(s snapshot) snapshot {
	if due := s.due(x.limit); len(due) > 0 {
		return due
	}
	for i, p := range s {
		if p.misplaced(x.memory) {
			return s[i : i+1]
		}
	}
	return nil
}

// help joins segments inside a write where more than maxPending wait: the merger does not keep up, or is at something large. It begins with the smallest, and does no
// more than it has to. It waits for no disk: what lies in a file is left to the merger.
func (x *Index) help(s snapshot) snapshot {
	first := 0
	for i, p := range s {
		if _, busy := x.merger.busy.of(p.segment); busy || p.filed {
			first = i + 1
		}
	}
	for limit := helpWeight; s[first:].pending(x.limit) > maxPending; {
		r := s[first:].lightest(min(limit, x.limit), run.joins)
		if r.to == 0 {
			limit *= 4
			continue
		}
		joined := s[first+r.from:first+r.to].join(promptly(x.memory), func(int) bool { return true })
		s = slices.Replace(slices.Clone(s), first+r.from, first+r.to, joined)
	}
	return s
}

// join returns the living documents of s as one part. It tells of all bytes that it copied, and stops where it is not to go on: what it returns is then
// good for nothing.
func (s snapshot) join(m Memory, goOn func(copied int) bool) part {
	var n size
	for _, p := range s {
		n.documents, n.tokens = n.documents+p.documents, n.tokens+p.tokens
		for i := p.alive(0); i < len(p.records); i = p.alive(i + 1) {
			n.coarse, n.sketch = n.coarse+p.coarse.length(i), n.sketch+p.sketch.length(i)
		}
	}
	g := newSegment(s[0].codec, s[0].width, n, m)
	g.members.centroids = s[0].members.centroids
	numbers := make([]uint32, 0, n.documents)
	for p, i := range s.walk("") {
		d := p.document(i)
		g.append(d)
		g.members.add(&p.members, p.sketch.starts[i], p.sketch.starts[i+1])
		numbers = append(numbers, p.numbers[i])
		if !goOn(len(d.Codes.Rows) + len(d.Codes.Coarse.Rows) + len(d.Codes.Sketch.Rows)) {
			return part{}
		}
	}
	g.group()
	goOn(len(g.members.grouped.rows))
	g.measure()
	runtime.KeepAlive(s) // rows were read that the garbage collector does not see
	return part{segment: g, numbers: numbers, documents: len(g.records), tokens: len(g.fine.scales)}
}

// merge is the merger's goroutine: it ends when nothing is due.
func (x *Index) merge() {
	for x.mergeOne() {
	}
}

// mergeOne does what is due, and tells whether to look again.
func (x *Index) mergeOne() bool {
	m := &x.merger
	select {
	case m.slots <- struct{}{}:
		defer func() { <-m.slots }()
	case <-m.stop:
	}
	sources := x.claim()
	if len(sources) == 0 {
		return false
	}
	m.pace.start()
	merged := sources.join(x.memory, m.pace.copied)
	if m.pace.stopped() { // then it may not be whole, and claim ends this
		return true
	}
	x.replace(sources, merged)
	m.pace.rest()
	return true
}

// claim takes what is due for the merger, or ends it.
func (x *Index) claim() snapshot {
	x.writing.Lock()
	defer x.writing.Unlock()
	m := &x.merger
	if m.busy = nil; !m.closed {
		m.busy = x.due(x.snapshot())
	}
	if len(m.busy) == 0 {
		m.running = false
		m.idle.Broadcast()
	}
	return m.busy
}

// replace puts what was merged in the place of its sources, as they are now. Most of what happened to them meanwhile is done before writers have to wait.
func (x *Index) replace(sources snapshot, merged part) {
	now := x.snapshot()
	merged = merged.follow(sources, sources, now)
	x.writing.Lock()
	defer x.writing.Unlock()
	last := x.snapshot()
	merged = merged.follow(sources, now, last)
	next := make(snapshot, 0, len(last))
	placed := merged.documents == 0
	for _, p := range last {
		if _, gone := sources.of(p.segment); !gone {
			next = append(next, p)
		} else if !placed {
			next = append(next, merged)
			placed = true
		}
	}
	x.publish(next)
	x.merger.busy = nil
}

// follow returns p, which was merged of sources, with what happened to them between two states: documents died, or have other numbers.
func (p part) follow(sources, then, now snapshot) part {
	var dead []string
	var held []part
	renumbered := false
	for _, source := range sources {
		before, was := then.of(source.segment)
		after, is := now.of(source.segment)
		if is {
			held = append(held, after)
			renumbered = renumbered || &after.numbers[0] != &before.numbers[0]
		}
		if !was || is && after.documents == before.documents {
			continue
		}
		for i := before.alive(0); i < len(before.records); i = before.alive(i + 1) {
			if !is || after.dead.has(i) {
				dead = append(dead, before.records[i].id)
			}
		}
	}
	if renumbered {
		p.numbers = p.numbered(held)
	}
	slices.Sort(dead)
	return p.without(dead)
}
