package kernel

import "fmt"

// Table gives the byte that stands for each packed code: a level of the codec plus 128. Codes of fewer than 4 bits use its head.
type Table [16]byte

// Unpack sets dst to rows of stride bytes, one a dimension, of packed codes of 1, 2 or 4 bits. A packed row is stride*bits/8 bytes, in planes: dimension
// i is in byte i % p at bit bits*(i/p), p being the row's bytes, so that a plane is unpacked by one shift of a whole register.
// stride is a multiple of 8.
func (s *Set) Unpack(dst, src []byte, rows, stride, bits int, table *Table) {
	if stride < 8 || stride%8 != 0 || bits != 1 && bits != 2 && bits != 4 {
		panic(fmt.Sprintf("kernel: unpack rows of %d in %d bits", stride, bits))
	}
	p := stride * bits / 8
	_, _ = dst[:rows*stride], src[:rows*p]
	if f := s.loops.unpack; f != nil && rows > 0 {
		f(&dst[0], &src[0], &table[0], p, bits, rows)
		return
	}
	mask := byte(1<<bits - 1)
	for r := range rows {
		row, out := src[r*p:(r+1)*p], dst[r*stride:(r+1)*stride]
		for at := 0; at < stride; at += p {
			for i, c := range row {
				out[at+i] = table[c>>(bits*(at/p))&mask]
			}
		}
	}
}

// Prefetch asks for memory that is read soon.
func (s *Set) Prefetch(b []byte) {
	if f := s.loops.prefetch; f != nil && len(b) > 0 {
		f(&b[0], len(b))
	}
}
