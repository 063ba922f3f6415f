package index

// Memory gives room to the vectors of large segments, in place of Go's own memory. All methods are safe for concurrent use.
//
// Blocks are n bytes that are zero, and come with a function that gives them back, which is called once, when nothing can read them any more. The function is nil
// where they are the garbage collector's to free.
type Memory interface {
	Hot(n int) (block []byte, release func())  // for what searches read all of
	Warm(n int) (block []byte, release func()) // for what a search reads a little of, in memory; no block where that has no room
	Cold(n int) (block []byte, release func()) // for the same beyond that: a disk may have to be waited for, now and when it is read first
	Fits(n int) bool                           // whether Warm has room for so much
}

// prompt is memory for a write, which waits for no disk.
type prompt struct{ Memory }

// Cold is beyond what Warm has room for, until a merge moves it.
func (p prompt) Cold(n int) (block []byte, release func()) { return p.Hot(n) }

// promptly returns memory for a write, nil of nil.
func promptly(m Memory) Memory {
	if m == nil {
		return nil
	}
	return prompt{m}
}

// tokens takes room for the tokens of g.
func (g *segment) tokens(m Memory, n int) (block []byte, release func()) {
	if block, release = m.Warm(n); block != nil {
		return block, release
	}
	_, g.hasty = m.(prompt)
	g.filed = !g.hasty
	return m.Cold(n)
}

// misplaced tells whether the tokens of g lie elsewhere than they would if it were written now.
func (g *segment) misplaced(m Memory) bool {
	return g.hasty || g.filed && m.Fits(cap(g.fine.rows))
}

// leastBlock is the bytes from which on a tier's rows come from a [Memory]: a huge page.
const leastBlock = 2 << 20
