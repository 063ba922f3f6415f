package kernel

import (
	"fmt"
	"strings"
)

// Lanes is the number of virtual lanes of every float loop, and the columns of a packed panel.
const Lanes = 16

// Set is one variant of every loop. All variants give the same bits. A Set is safe for concurrent use.
type Set struct {
	name  string
	loops loops
}

// loops are the assembly routines of a variant; nil means the Go twin. Counts n are in steps of 16 lanes, strides in bytes.
type loops struct {
	gemm8      [2]product // on one panel, on two; nil: widen and use gemm16
	gemm16     [2]product
	widen      func(dst *int16, src *byte, n int)
	dequant    func(y *float32, c *int32, wsum *int32, wscale *float32, bias *float32, scale float32, zero int32, n int)
	spread     func(y *float32, ldy int, c *int32, ldc int, s float32, n int, rows int)
	bounds     func(x *float32, ldx int, n int, rows int) (lo, hi float32)
	gelu       func(y *float32, n int)
	quantize8  func(dst *uint8, x *float32, inv float32, zero int32, n int)
	quantize16 func(dst *int16, ldd int, x *float32, ldx int, inv float32, n int, rows int)
	softmax    func(p *int16, c *int32, s float32, mask *int32, n int)
	addNorm    func(h *float32, y *float32, gain *float32, bias *float32, eps float32, size float32, n int)
	normalize  func(x *float32, n int)
	fold       func(best *int32, pos *int32, c *int32, ldc int, bias *int32, scales *uint16, lift int, first int32, rows int)
	foldBase   func(best *int32, pos *int32, c *int32, ldc int, bias *int32, scales *uint16, lift int, first int32, rows int, base *int32, ldbase int, clusters *byte)
	scores     func(out *int32, ldo int, c *int32, ldc int, bias *int32, scales *uint16, lift int, rows int)
	unpack     func(dst *byte, src *byte, table *byte, plane int, bits int, rows int)
	unpack3    func(dst *byte, src *byte, table *byte, plane int, rows int) // of 3 bits, plane that of the high bit
	prefetch   func(p *byte, n int)
	scan       *[2]scan     // on one panel, on two; nil: by the product
	linear     linearLoop   // nil: Go
	linearBits int          // of its digits: 8 or 16
	maxsim     *[2]maxsim   // on one panel, on two; nil: by the product and fold
	residual   *[2]residual // the same, nil: by the product and foldBase
}

// product is c[m][16 or 32] = a[m][k] . b, k in groups of 4 bytes, ldb from one panel to the next.
type product func(c *int32, ldc int, a *byte, lda int, b *byte, ldb int, k int, m int)

// scan adds to each of n sums the weighted maxima of a document against one panel of the query, or two, ldb apart, less bias: what it adds by taking rows
// for unsigned (0 in panels after the first two). A document's span, its first row and the row behind its last, is step bytes after that of the document
// before; one without rows is skipped. Rows are fetched that are ahead bytes further on and, with next, those of the document whose span is next bytes
// further on.
type scan func(sums *int64, rows *byte, spans *int32, n int, step int, stride int, b *byte, ldb int, weights *int32, bias int64, ahead int, next int)

// linearLoop sets 4 n sums to a row's product with the query's sum each, in digits, less bias: of the rows of these numbers, of so many whole steps
// and as many bytes more as mask has bits. Rows are fetched that are ahead bytes further on, or, with next, those whose numbers are next bytes further on.
type linearLoop func(sums *int64, rows *byte, which *int32, n int, stride int, steps int, mask int, digits *byte, bias int64, ahead int, next int)

// maxsim takes n rows into the best scores so far, and their positions, of one panel of the query, or two, ldb apart; the first row's position is first.
// Meanwhile it fetches other rows, rate bytes for every 8 of its own, from fetch to about last.
type maxsim func(best *int32, pos *int32, rows *byte, n int, stride int, b *byte, ldb int, bias *int32, scales *uint16, lift int, first int, fetch *byte, last *byte, rate int)

// residual is maxsim of rows whose scores begin from those of their clusters in base, ldbase bytes apart.
type residual func(best *int32, pos *int32, rows *byte, n int, stride int, b *byte, ldb int, bias *int32, scales *uint16, lift int, first int, fetch *byte, last *byte, rate int, base *int32, ldbase int, clusters *byte)

// twin has no assembly: the Go code itself.
var twin = &Set{name: "go"}

// Name returns what [ByName] takes: go, avx2, avx512vnni, avx512amx or neon.
func (s *Set) Name() string { return s.name }

// Best returns the fastest variant that this CPU runs.
func Best() *Set { return variants[len(variants)-1] }

// All returns every variant that this CPU runs, the Go twin first, the fastest last.
func All() []*Set { return variants }

// ByName returns a variant of this CPU, or an error that lists them.
func ByName(name string) (*Set, error) {
	var names []string
	for _, s := range variants {
		if s.name == name {
			return s, nil
		}
		names = append(names, s.name)
	}
	return nil, fmt.Errorf("no kernel %q on this CPU: it has %s", name, strings.Join(names, ", "))
}
