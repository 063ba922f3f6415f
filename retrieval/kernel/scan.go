package kernel

import (
	"fmt"
	"math"
	"unsafe"
)

// scanBytes of rows go into a call of the assembly, so that they stay in the second-level cache over the panels of a long query, and a call takes some
// microseconds: it cannot be preempted. A document of more than scanDocument bytes is cut up.
const (
	scanBytes    = 1 << 17
	scanWords    = 1 << 13 // where rows are widened first, into the first-level cache
	scanDocument = 1 << 22
)

// scanAhead bytes before their turn rows are fetched; picked documents, which lie anywhere, earlier, but at most fetchMost of them.
const (
	scanAhead  = 1 << 12
	fetchAhead = 1 << 12
	fetchMost  = 16
)

// Documents that go into a call at most: picked ones, and those of one row.
const (
	scanPicked = 256
	scanAlone  = 2048
)

// Scan scores many small documents against one query, without scales and positions: the sketches. It holds scratch, so one goroutine uses it.
//
// A document's score is the sum over query tokens t of weights[t] * max over its rows of dot(q[t], row - 128), in 64 bits: docs/score.md.
type Scan struct {
	set     *Set
	query   *Matrix
	sum     linear  // of the query's tokens
	weights []int32 // padded with 0 to the query's columns
	bias    int64   // what the rows' 128 adds to a score
	block   block
	tile    []int32
	best    []int32
	spans   []int32 // the first row of a picked document and the row behind its last
	words   []int16
}

// NewScan prepares a query of tokens of width codes, one weight a token.
func (s *Set) NewScan(codes []int8, weights []uint16, width int) *Scan {
	n := len(weights)
	if n < 1 || width < 1 || len(codes) != n*width {
		panic(fmt.Sprintf("kernel: a query of %d codes as %d x %d", len(codes), n, width))
	}
	c := &Scan{set: s, query: s.Pack(codes, n, width), sum: newLinear(s, codes, weights, width)}
	cols := c.query.Cols()
	c.weights = make([]int32, cols)
	for i, w := range weights {
		c.weights[i] = int32(w)
		c.bias += 128 * int64(w) * int64(c.query.Sums[i])
	}
	return c
}

// Documents sets sums[i] to the score of the document whose rows are starts[i] to starts[i+1] of rows, math.MinInt64 where it has none. There is one
// more start than sums. Rows are codes plus 128, each as wide as the query rounded up to 4.
func (c *Scan) Documents(sums []int64, rows []byte, starts []int32) {
	if len(sums) == 0 {
		return
	}
	starts = starts[:len(sums)+1]
	for len(sums) > 0 {
		if n := c.alone(starts); n > 0 {
			c.check(rows, starts[0], starts[n])
			c.linear(sums[:n], rows, starts, false)
			sums, starts = sums[n:], starts[n:]
			continue
		}
		n := 1
		for n < len(sums) && int(starts[n+1]-starts[0])*c.query.stride <= c.atOnce() && c.alone(starts[n:min(n+linearRows+1, len(starts))]) == 0 {
			n++
		}
		for i := range n {
			c.check(rows, starts[i], starts[i+1])
		}
		switch {
		case c.set.loops.scan == nil || n == 1 && c.large(starts[0], starts[1]):
			sums[0] = c.document(rows[int(starts[0])*c.query.stride:], int(starts[1]-starts[0]))
			n = 1
		case c.query.element == 2:
			c.spans = append(c.spans[:0], starts[:n+1]...)
			for i := range c.spans {
				c.spans[i] -= starts[0]
			}
			c.words = c.set.widen(c.words[:0], rows[int(starts[0])*c.query.stride:int(starts[n])*c.query.stride])
			c.call(sums[:n], wordBytes(c.words), c.spans, 1, 0)
		default:
			c.call(sums[:n], rows, starts, 1, 0)
		}
		sums, starts = sums[n:], starts[n:]
	}
}

// pickedAlone is alone of picked documents. It puts the numbers of their rows into c.spans, and behind them linearAhead of those that come next.
func (c *Scan) pickedAlone(starts, which []int32) int {
	c.spans = c.spans[:0]
	if len(c.sum.total) == 0 {
		return 0
	}
	for _, w := range which[:min(len(which), scanPicked)] {
		if starts[w+1]-starts[w] != 1 {
			break
		}
		c.spans = append(c.spans, starts[w])
	}
	n := len(c.spans) &^ (linearRows - 1)
	for i := len(c.spans); n > 0 && i < n+linearAhead; i++ {
		c.spans = append(c.spans, starts[which[min(i, len(which)-1)]])
	}
	return n
}

// alone returns how many documents from the first on have one row each and can be scored at once.
func (c *Scan) alone(starts []int32) int {
	n := 0
	if len(c.sum.total) > 0 {
		for n+1 < len(starts) && n < scanAlone && starts[n+1]-starts[n] == 1 {
			n++
		}
	}
	return n &^ (linearRows - 1)
}

// Gather sets sums[i] to the score of document which[i], as Documents would. It fetches a document's rows while it scores those before, which pays where
// which ascends.
func (c *Scan) Gather(sums []int64, rows []byte, starts []int32, which []int32) {
	sums = sums[:len(which)]
	for _, w := range which {
		c.check(rows, starts[w], starts[w+1])
	}
	for len(sums) > 0 {
		if n := c.pickedAlone(starts, which); n > 0 {
			c.linear(sums[:n], rows, c.spans, true)
			sums, which = sums[n:], which[n:]
			continue
		}
		if first := which[0]; c.set.loops.scan == nil || c.large(starts[first], starts[first+1]) {
			sums[0] = c.document(rows[int(starts[first])*c.query.stride:], int(starts[first+1]-starts[first]))
			sums, which = sums[1:], which[1:]
			continue
		}
		n, size := 0, 0
		c.spans = c.spans[:0]
		for n < min(len(which), scanPicked) {
			w := which[n]
			size += int(starts[w+1]-starts[w]) * c.query.stride
			if n > 0 && size > c.atOnce() {
				break
			}
			c.spans = append(c.spans, starts[w], starts[w+1])
			n++
		}
		if c.query.element == 2 {
			c.picked(sums[:n], rows)
		} else {
			ahead := max(1, min(fetchMost, fetchAhead*n/(size+1)))
			for i := n; i < n+ahead; i++ {
				if i < len(which) {
					c.spans = append(c.spans, starts[which[i]], starts[which[i]+1])
				} else {
					c.spans = append(c.spans, 0, 0)
				}
			}
			c.call(sums[:n], rows, c.spans, 2, ahead)
		}
		sums, which = sums[n:], which[n:]
	}
}

// picked copies picked documents next to each other, widened, and scores them.
func (c *Scan) picked(sums []int64, rows []byte) {
	c.words = c.words[:0]
	at, stride := int32(0), c.query.stride
	for i := 0; i < len(c.spans); i += 2 {
		first, behind := c.spans[i], c.spans[i+1]
		c.words = c.set.widen(c.words, rows[int(first)*stride:int(behind)*stride])
		c.spans[i], c.spans[i+1] = at, at+behind-first
		at += behind - first
	}
	c.call(sums, wordBytes(c.words), c.spans, 2, 0)
}

// check panics where a document's rows are not rows.
func (c *Scan) check(rows []byte, first, behind int32) {
	if first < 0 || behind < first || int(behind)*c.query.stride > len(rows) {
		panic(fmt.Sprintf("kernel: a document of rows %d to %d of %d", first, behind, len(rows)/c.query.stride))
	}
}

func (c *Scan) large(first, behind int32) bool {
	return int(behind-first)*c.query.stride > scanDocument
}

func (c *Scan) atOnce() int {
	if c.query.element == 2 {
		return scanWords
	}
	return scanBytes
}

// call scores len(sums) documents, whose spans lie step numbers apart; with ahead, it fetches the rows of the document so many spans later, which are there.
func (c *Scan) call(sums []int64, rows []byte, spans []int32, step, ahead int) {
	for i := range sums {
		sums[i] = 0
		if spans[i*step] == spans[i*step+1] {
			sums[i] = math.MinInt64
		}
	}
	if len(rows) == 0 {
		return
	}
	fetch := scanAhead
	if ahead > 0 {
		fetch = 0
	}
	q, f, bias := c.query, c.set.loops.scan, c.bias
	for p := 0; p < q.Cols()/Lanes; {
		count := 1
		if f[1] != nil && (p+2)*Lanes <= q.Cols() {
			count = 2
		}
		f[count-1](&sums[0], &rows[0], &spans[0], len(sums), 4*step, q.stride*q.element, &q.panels[p*q.panel], q.panel, &c.weights[p*Lanes], bias, fetch, 4*step*ahead)
		p, bias = p+count, 0
	}
}

// document is one document by way of the matrix product: for variants without a loop of their own.
func (c *Scan) document(rows []byte, n int) int64 {
	if n == 0 {
		return math.MinInt64
	}
	c.best, c.tile = grow(c.best, len(c.weights)), grow(c.tile, maxTokensAtOnce*2*Lanes)
	for i := range c.best {
		c.best[i] = math.MinInt32
	}
	for first := 0; first < n; first += maxTokensAtOnce {
		m := min(maxTokensAtOnce, n-first)
		c.block.set(c.set, rows[first*c.query.stride:], c.query, m)
		for p := 0; p < len(c.best)/Lanes; {
			count := c.set.product(c.tile, 2*Lanes, &c.block, c.query, p)
			for j := range m {
				for i, dot := range c.tile[j*2*Lanes:][:count*Lanes] {
					c.best[p*Lanes+i] = max(c.best[p*Lanes+i], dot)
				}
			}
			p += count
		}
	}
	sum := -c.bias
	for i, w := range c.weights {
		sum += int64(w) * int64(c.best[i])
	}
	return sum
}

func wordBytes(w []int16) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(w))), 2*len(w))
}
