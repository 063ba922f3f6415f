package shard

import (
	"time"

	"ostraca/retrieval/index"
)

// Columns keep the values of documents, so what is forgotten has to leave them too: soon after a forget, or the drop of a collection, they are made anew of
// what those documents say that are there. Writes do not wait for it.

// sweepAfter is how long after a forget columns are swept. It bounds how often: a sweep passes over all documents of a collection, in milliseconds.
const sweepAfter = time.Second

// forget has columns swept of what is not in the present state, which an entry of this index has made.
func (j *verdicts) forget(applied uint64) {
	j.forgotten.Store(applied)
	if !j.sweeping.Swap(true) {
		time.AfterFunc(j.after, j.sweep)
	}
}

// sweep sweeps all columns, when no evaluation has them.
func (j *verdicts) sweep() {
	until := j.forgotten.Load()
	for name, g := range j.columns.all() {
		g.turn <- struct{}{}
		c := g.now.Load()
		c.keep(j.living(name))
		j.columns.grown(name, g, c, c.size())
		<-g.turn
	}
	if j.sweeping.Store(false); j.forgotten.Load() != until {
		j.forget(j.forgotten.Load())
	}
}

// living returns the documents of a numbering in the present state, none where it is of another.
func (j *verdicts) living(name kept) index.View {
	for _, c := range j.present().collections {
		if c.Numbering() == name.numbering {
			return c.View
		}
	}
	return index.View{}
}

// keep makes c tell of these documents alone.
func (c *column) keep(documents index.View) {
	next, moved := column{large: c.large}, make([]uint32, len(c.values)) // the code of a value by its place before, if any
	for number := range documents.Unknown(nil) {
		code := c.code(number)
		if code >= firstCode {
			to := &moved[code-firstCode]
			if *to == 0 {
				*to = firstCode + uint32(len(next.values))
				next.values = append(next.values, c.values[code-firstCode])
			}
			code = *to
		}
		if code != 0 {
			next.tell(number, code)
		}
	}
	for raw, place := range c.places {
		if moved[place] != 0 {
			next.name(raw, moved[place]-firstCode)
		}
	}
	*c = next
}
