package index

// Memory gives room to the vectors of large segments, in place of Go's own memory. All methods are safe for concurrent use.
//
// Each returns n bytes that are zero, and a function that gives them back, which is called once, when nothing can read them any more. The function is nil where
// they are the garbage collector's to free.
type Memory interface {
	Hot(n int) (block []byte, release func())  // for what searches read all of
	Cold(n int) (block []byte, release func()) // for what a search reads a little of: it may be slow to read first
}

// leastBlock is the bytes from which on a tier's rows come from a [Memory]: a huge page.
const leastBlock = 2 << 20
