package kernel

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"unsafe"
)

// MaxDepth is the longest sum of a product: 255 * 255 * MaxDepth stays inside 32 bits.
const MaxDepth = 1 << 14

// rowBlock is how many rows of the left matrix are worked on at a time, so that they stay in the second-level cache.
const rowBlock = 96

// Matrix is the right side of a product: N rows of K signed bytes, so that c[i][n] is the dot product of rows. It is
// packed for one variant.
type Matrix struct {
	N, K int
	Sums []int32 // the sum of each row, padded with zeros to Cols

	stride  int    // K rounded up to 4: what a row of the left matrix must take
	rows    []int8 // the Go twin's: Cols rows of stride
	panels  []byte // the assembly's: panels of 16 rows
	panel   int    // bytes of one panel
	element int    // bytes of an element of panels
}

// Cols returns N rounded up to 16: the columns that a product writes. Those past N are zero.
func (m *Matrix) Cols() int { return (m.N + Lanes - 1) / Lanes * Lanes }

// Pack prepares n rows of k weights for products by this variant.
func (s *Set) Pack(w []int8, n, k int) *Matrix {
	if n < 1 || k < 1 || k > MaxDepth || len(w) != n*k {
		panic(fmt.Sprintf("kernel: pack %d weights as %d x %d", len(w), n, k))
	}
	m := &Matrix{N: n, K: k, stride: (k + 3) &^ 3}
	m.Sums = make([]int32, m.Cols())
	for i := range n {
		m.Sums[i] = sumOf(unsigned(w[i*k : (i+1)*k]))
	}
	switch {
	case s.loops.gemm8[0] != nil:
		m.packPanels(w, 1, packBytes)
	case s.loops.gemm16[0] != nil:
		m.packPanels(w, 2, packWords)
	default:
		m.rows = make([]int8, m.Cols()*m.stride)
		for i := range n {
			copy(m.rows[i*m.stride:], w[i*k:(i+1)*k])
		}
	}
	return m
}

// packPanels lays the matrix out as [panel][group of 4 bytes][row in panel][element in group]. put writes a row's groups, the first of which it is given, 16 apart.
func (m *Matrix) packPanels(w []int8, element int, put func(groups []uint32, row []byte)) {
	m.element, m.panel = element, m.stride*Lanes*element
	m.panels = make([]byte, m.panel*m.Cols()/Lanes)
	groups, panel := unsafe.Slice((*uint32)(unsafe.Pointer(&m.panels[0])), len(m.panels)/4), m.panel/4
	for i := range m.N {
		put(groups[i/Lanes*panel:][i%Lanes:panel], unsigned(w[i*m.K:(i+1)*m.K]))
	}
}

// packBytes puts 4 elements into a group.
func packBytes(groups []uint32, row []byte) {
	at, j := 0, 0
	for ; j <= len(row)-8; j += 8 {
		x := binary.LittleEndian.Uint64(row[j:])
		groups[at+Lanes] = uint32(x >> 32)
		groups[at] = uint32(x)
		at += 2 * Lanes
	}
	for i, v := range row[j:] {
		groups[at+i/4*Lanes] |= uint32(v) << (i % 4 * 8)
	}
}

// packWords puts 2 elements into a group, as 16-bit integers: four are spread out, and their signs copied up.
func packWords(groups []uint32, row []byte) {
	const two, one, signs = 0x0000ffff0000ffff, 0x00ff00ff00ff00ff, 0x0080008000800080
	at, j := 0, 0
	for ; j <= len(row)-4; j += 4 {
		x := uint64(binary.LittleEndian.Uint32(row[j:]))
		x = (x | x<<16) & two
		x = (x | x<<8) & one
		x |= (x & signs) * 0x1fe
		groups[at+Lanes] = uint32(x >> 32)
		groups[at] = uint32(x)
		at += 2 * Lanes
	}
	for i, v := range row[j:] {
		groups[at+i/2*Lanes] |= uint32(uint16(int8(v))) << (i % 2 * 16)
	}
}

// sumOf adds signed bytes, eight at a time: with 128 more they are unsigned, and pairs, then all four, are added in 16 bits.
func sumOf(row []byte) int32 {
	const lanes, low, signs = 0x0001000100010001, 0x00ff00ff00ff00ff, 0x8080808080808080
	var sum int32
	j := 0
	for ; j <= len(row)-8; j += 8 {
		x := binary.LittleEndian.Uint64(row[j:]) ^ signs
		sum += int32((x&low+x>>8&low)*lanes>>48) - 8*128
	}
	for _, x := range row[j:] {
		sum += int32(int8(x))
	}
	return sum
}

func unsigned(w []int8) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(w))), len(w))
}

// Gemm8 sets c[i][n] = sum over k of a[i][k] * w[n][k] for m rows: a has rows of w.K bytes rounded up to 4, c rows of w.Cols().
func (s *Set) Gemm8(c []int32, a []byte, w *Matrix, m int) {
	cols := w.Cols()
	_, _ = c[:m*cols], a[:m*w.stride]
	b := blocks.Get().(*block)
	defer blocks.Put(b)
	for i := 0; i < m; i += rowBlock {
		rows := min(rowBlock, m-i)
		b.set(s, a[i*w.stride:], w, rows)
		for p := 0; p < cols/Lanes; {
			p += s.product(c[i*cols+p*Lanes:], cols, b, w, p)
		}
	}
}

// block is some rows of the left matrix, widened to 16 bits where a variant wants that.
type block struct {
	rows  int
	bytes []byte
	words []int16
	pairs []uint64 // the Go twin's
}

var blocks = sync.Pool{New: func() any { return new(block) }}

func (b *block) set(s *Set, a []byte, w *Matrix, rows int) {
	b.rows, b.bytes = rows, a[:rows*w.stride]
	if w.element != 2 {
		return
	}
	b.words = s.widen(b.words[:0], b.bytes)
}

// widen appends bytes to words.
func (s *Set) widen(words []int16, b []byte) []int16 {
	n := len(words)
	words = slices.Grow(words, len(b))[:n+len(b)]
	whole := len(b) / Lanes
	if whole > 0 {
		s.loops.widen(&words[n], &b[0], whole)
	}
	for i := whole * Lanes; i < len(b); i++ {
		words[n+i] = int16(b[i])
	}
	return words
}

// product multiplies a block by the panel p, or by p and its neighbour where a variant takes two, and returns how many.
func (s *Set) product(c []int32, ldc int, b *block, w *Matrix, p int) int {
	count := 1
	switch {
	case w.rows != nil:
		gemm8Go(c, ldc, b, w, p)
		return 1
	case s.loops.gemm8[1] != nil && (p+2)*Lanes <= w.Cols():
		count = 2
	}
	a, lda, f := &b.bytes[0], w.stride, s.loops.gemm8[count-1]
	if w.element == 2 {
		a, lda, f = (*byte)(unsafe.Pointer(&b.words[0])), 2*w.stride, s.loops.gemm16[count-1]
	}
	_ = c[(b.rows-1)*ldc+count*Lanes-1]
	f(&c[0], 4*ldc, a, lda, &w.panels[p*w.panel], w.panel, w.stride*w.element/4, b.rows)
	return count
}

// gemm8Go is the twin: two columns share a 64-bit multiplication, their weights made unsigned by adding 128.
func gemm8Go(c []int32, ldc int, b *block, w *Matrix, panel int) {
	k := w.stride
	b.pairs = grow(b.pairs, k)
	for n := 0; n < Lanes; n += 2 {
		r0 := w.rows[(panel*Lanes+n)*k:][:k]
		r1 := w.rows[(panel*Lanes+n+1)*k:][:k]
		for j := range r0 {
			b.pairs[j] = uint64(uint8(int(r0[j])+128)) | uint64(uint8(int(r1[j])+128))<<32
		}
		for i := range b.rows {
			sum, excess := dotPair(b.bytes[i*k:][:k], b.pairs)
			c[i*ldc+n] = int32(uint32(sum)) - excess
			c[i*ldc+n+1] = int32(sum>>32) - excess
		}
	}
}

// dotPair returns both columns' sums in the halves of a word, and 128 times the sum of a.
func dotPair(a []byte, pair []uint64) (sum uint64, excess int32) {
	var s0, s1, s2, s3, t uint64
	for len(a) >= 4 && len(pair) >= 4 {
		a0, a1, a2, a3 := uint64(a[0]), uint64(a[1]), uint64(a[2]), uint64(a[3])
		s0 += a0 * pair[0]
		s1 += a1 * pair[1]
		s2 += a2 * pair[2]
		s3 += a3 * pair[3]
		t += a0 + a1 + a2 + a3
		a, pair = a[4:], pair[4:]
	}
	return s0 + s1 + s2 + s3, int32(128 * t)
}

// Words is the right side of a 16-bit product, in panels of 16 columns: [panel][pair of k][column][2].
type Words struct {
	N, K int // columns and depth, the depth rounded up to 2 by zeros
	Data []int16
}

// Reset makes w hold n columns of depth k, all zero.
func (w *Words) Reset(n, k int) {
	w.N, w.K = n, (k+1)&^1
	w.Data = grow(w.Data, w.Cols()*w.K)
	clear(w.Data)
}

// Cols returns N rounded up to 16.
func (w *Words) Cols() int { return (w.N + Lanes - 1) / Lanes * Lanes }

// At returns the place of element k of column n.
func (w *Words) At(n, k int) int { return (n/Lanes*w.K/2+k/2)*2*Lanes + n%Lanes*2 + k%2 }

// Gemm16 sets c[i][n] = sum over k of a[i][k] * w[n][k] for m rows, which must not overflow 32 bits; a has rows of lda.
func (s *Set) Gemm16(c []int32, a []int16, lda int, w *Words, m int) {
	cols := w.Cols()
	_, _, _ = c[:m*cols], a[:(m-1)*lda+w.K], w.Data[:cols*w.K]
	if s.loops.gemm16[0] == nil {
		gemm16Go(c, a, lda, w, m)
		return
	}
	panel := w.K * Lanes
	for p := 0; p < cols/Lanes; {
		count := 1
		if s.loops.gemm16[1] != nil && (p+2)*Lanes <= cols {
			count = 2
		}
		s.loops.gemm16[count-1](&c[p*Lanes], 4*cols, (*byte)(unsafe.Pointer(&a[0])), 2*lda,
			(*byte)(unsafe.Pointer(&w.Data[p*panel])), 2*panel, w.K/2, m)
		p += count
	}
}

func gemm16Go(c []int32, a []int16, lda int, w *Words, m int) {
	cols := w.Cols()
	for i := range m {
		row := a[i*lda:][:w.K]
		for p := range cols / Lanes {
			var acc [Lanes]int32
			panel := w.Data[p*w.K*Lanes:][:w.K*Lanes]
			for k := 0; k < len(row); k += 2 {
				x, y := int32(row[k]), int32(row[k+1])
				group := panel[k*Lanes:][:2*Lanes]
				for n := range acc {
					acc[n] += x*int32(group[2*n]) + y*int32(group[2*n+1])
				}
			}
			copy(c[i*cols+p*Lanes:], acc[:])
		}
	}
}

// GemmFloat sets c[i][n] = sum over k of a[i][k] * w[n][k] in order of k, for models kept in float32.
func GemmFloat(c, a, w []float32, m, n, k int) {
	for i := range m {
		row := a[i*k:][:k]
		for j := range n {
			var sum float32
			for x, v := range w[j*k:][:k] {
				sum += float32(row[x] * v)
			}
			c[i*n+j] = sum
		}
	}
}

func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
