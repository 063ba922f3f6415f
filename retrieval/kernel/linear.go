package kernel

import "math"

// A document of one row has no maximum to take: the weighted sum of its products with the query's tokens is its product with the weighted sum of the tokens,
// one row of large numbers instead of many of small ones, to the same integer. Documents of up to 256 tokens have one sketch, so most are scored like that.

// Digits: a number of the sum is split into 4 digits of 8 bits, or 2 of 16, so that rows meet it in the multiplications that they meet a token in.
const (
	linearStep  = 64 // bytes of a row in a step of the loop on 512 bits; on 256 it is a quarter
	linearRows  = 4  // that the assembly takes at a time
	linearAhead = 24 // rows before its turn one is fetched that was picked
	linearMost  = math.MaxInt8 * (1<<24 + 1<<16 + 1<<8 + 1)
)

// linear is a query as one row.
type linear struct {
	total  []int32 // empty where it does not fit
	digits []byte
	steps  int
	mask   uint64 // of the bytes behind the last whole step
}

// newLinear adds up the query's tokens by their weights. A long query's sum may not fit: then every document is scored by its tokens.
func newLinear(s *Set, codes []int8, weights []uint16, width int) linear {
	var l linear
	sums := make([]int64, (width+3)&^3)
	for t, w := range weights {
		for i, c := range codes[t*width:][:width] {
			sums[i] += int64(w) * int64(c)
		}
	}
	total := make([]int32, len(sums))
	for i, x := range sums {
		if x > linearMost || x < -linearMost {
			return l
		}
		total[i] = int32(x)
	}
	l.total = total
	switch {
	case s.loops.linear == nil:
	case s.loops.linearBits == 8:
		l.spread8()
	case len(total)%(linearStep/4) != 0:
		l.total = nil // rows that are no whole steps: not worth a loop of their own
	default:
		l.spread16()
	}
	return l
}

// spread8 lays out digits of 8 bits, from -128 to 127: 4 vectors of 64 for every step.
func (l *linear) spread8() {
	l.steps, l.mask = len(l.total)/linearStep, 1<<(len(l.total)%linearStep)-1
	l.digits = make([]byte, (l.steps+1)*4*linearStep)
	for i, x := range l.total {
		for p := range 4 {
			d := int8(x)
			l.digits[i/linearStep*4*linearStep+p*linearStep+i%linearStep] = byte(d)
			x = (x - int32(d)) >> 8
		}
	}
}

// spread16 lays out digits of 16 bits: 2 vectors of 16 for every step.
func (l *linear) spread16() {
	const step = linearStep / 4
	l.steps = len(l.total) / step
	words := make([]int16, 2*len(l.total))
	for i, x := range l.total {
		d := int16(x)
		words[i/step*2*step+i%step] = d
		words[i/step*2*step+step+i%step] = int16((x - int32(d)) >> 16)
	}
	l.digits = wordBytes(words)
}

// linear scores documents of one row each, a multiple of linearRows, given the numbers of their rows. Where these are picked, linearAhead more are there, of rows to be
// fetched meanwhile; else rows lie one after the other.
func (c *Scan) linear(sums []int64, rows []byte, which []int32, picked bool) {
	stride := c.query.stride
	if f := c.set.loops.linear; f != nil {
		l := &c.sum
		next := 0
		if picked {
			next = 4 * linearAhead
		}
		f(&sums[0], &rows[0], &which[0], len(sums)/linearRows, stride, l.steps, int(l.mask), &l.digits[0], c.bias, scanAhead, next)
		return
	}
	for i := range sums {
		sum := -c.bias
		for j, x := range rows[int(which[i])*stride:][:stride] {
			sum += int64(x) * int64(c.sum.total[j])
		}
		sums[i] = sum
	}
}
