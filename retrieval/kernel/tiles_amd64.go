//go:build !noasm

package kernel

import "unsafe"

// AMX multiplies tiles, up to 16 rows of 64 bytes, an order faster than vectors do. A panel is tiles one behind the other as it lies, and so are rows whose
// width is whole steps of 64 bytes; other widths, single panels, and all that is not a product go by the loops of AVX-512.
const (
	tileRows = 16
	tileStep = 64           // bytes of a row, 16 lines of a panel
	tileMost = 3 * tileRows // rows whose products with two panels, 6 KiB, lie on the stack until they are folded
)

// tileShape is the operand of LDTILECFG.
type tileShape struct {
	palette, start byte
	_              [14]byte
	width          [16]uint16 // bytes of a row
	rows           [16]byte
}

// tileShapes has the shapes for so many rows of the left matrix: tiles 0 to 3 are sums, 4 and 5 left, 6 and 7 right.
var tileShapes = func() (shapes [tileRows + 1]tileShape) {
	for n := 1; n <= tileRows; n++ {
		s := &shapes[n]
		s.palette = 1
		for t := range 8 {
			s.width[t], s.rows[t] = tileStep, byte(n)
		}
		s.rows[6], s.rows[7] = tileRows, tileRows
	}
	return shapes
}()

// amx is avx512vnni but for products of bytes with two panels.
var amx = func() *Set {
	s := &Set{name: "avx512amx", loops: avx512.loops}
	s.loops.gemm8[1] = gemm8AMXx2
	s.loops.maxsim = &[2]maxsim{maxsimVNNIx1, maxsimAMXx2}
	s.loops.residual = &[2]residual{residualVNNIx1, residualAMXx2}
	return s
}()

//go:noescape
func tiles32(c *int32, ldc int, a *byte, lda int, b *byte, ldb int, steps int, strips int, shape *tileShape)

//go:noescape
func tiles16(c *int32, ldc int, a *byte, lda int, b *byte, ldb int, steps int, shape *tileShape)

//go:noescape
func busyTiles(n int, shape *tileShape)

func gemm8AMXx2(c *int32, ldc int, a *byte, lda int, b *byte, ldb int, k int, m int) {
	if 4*k%tileStep != 0 {
		gemm8VNNIx2(c, ldc, a, lda, b, ldb, k, m)
		return
	}
	steps := 4 * k / tileStep
	if strips := m / (2 * tileRows); strips > 0 {
		tiles32(c, ldc, a, lda, b, ldb, steps, strips, &tileShapes[tileRows])
	}
	for i := m &^ (2*tileRows - 1); i < m; i += tileRows {
		tiles16(at(c, i*ldc), ldc, at(a, i*lda), lda, b, ldb, steps, &tileShapes[min(m-i, tileRows)])
	}
}

func maxsimAMXx2(best *int32, pos *int32, rows *byte, n int, stride int, b *byte, ldb int, bias *int32, scales *uint16, lift int, first int, fetch *byte, last *byte, rate int) {
	if stride%tileStep != 0 {
		maxsimVNNIx2(best, pos, rows, n, stride, b, ldb, bias, scales, lift, first, fetch, last, rate)
		return
	}
	residualTiles(best, pos, rows, n, stride, b, ldb, bias, scales, lift, first, fetching{fetch, last, rate}, nil, 0, nil)
}

func residualAMXx2(best *int32, pos *int32, rows *byte, n int, stride int, b *byte, ldb int, bias *int32, scales *uint16, lift int, first int, fetch *byte, last *byte, rate int, base *int32, ldbase int, clusters *byte) {
	if stride%tileStep != 0 {
		residualVNNIx2(best, pos, rows, n, stride, b, ldb, bias, scales, lift, first, fetch, last, rate, base, ldbase, clusters)
		return
	}
	residualTiles(best, pos, rows, n, stride, b, ldb, bias, scales, lift, first, fetching{fetch, last, rate}, base, ldbase, clusters)
}

// residualTiles is the product of some rows, then their fold, and so on; without clusters it is that of a [maxsim].
func residualTiles(best *int32, pos *int32, rows *byte, n int, stride int, b *byte, ldb int, bias *int32, scales *uint16, lift int, first int, other fetching, base *int32, ldbase int, clusters *byte) {
	const ldc = 4 * 2 * Lanes
	var sums [tileMost * 2 * Lanes]int32
	for i := 0; i < n; i += tileMost {
		some := min(tileMost, n-i)
		other.during(some * stride)
		gemm8AMXx2(&sums[0], ldc, at(rows, i*stride), stride, b, ldb, stride/4, some)
		if clusters == nil {
			foldPair(best, pos, &sums[0], ldc, bias, at(scales, 2*i), lift, first+i, some)
		} else {
			foldPairBase(best, pos, &sums[0], ldc, bias, at(scales, 2*i), lift, first+i, some, base, ldbase, at(clusters, i))
		}
	}
}

// fetching is what a loop of [maxsim] fetches meanwhile.
type fetching struct {
	next, last *byte
	rate       int
}

// during fetches what goes with so many bytes of rows.
func (f *fetching) during(rows int) {
	left := int(uintptr(unsafe.Pointer(f.last)) - uintptr(unsafe.Pointer(f.next)))
	n := min(rows/8*f.rate, left)
	if n > 0 {
		prefetchT0(f.next, n)
		f.next = at(f.next, n)
	}
}

// at returns the place so many bytes further on.
func at[T any](p *T, bytes int) *T { return (*T)(unsafe.Add(unsafe.Pointer(p), bytes)) }
