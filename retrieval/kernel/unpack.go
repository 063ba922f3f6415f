package kernel

import "fmt"

// Table gives the byte that stands for each packed code: a level of the codec plus 128. Codes of fewer than 4 bits use its head.
type Table [16]byte

// Unpack sets dst to rows of stride bytes, one a dimension, of packed codes of 1 to 4 bits. A packed row is stride*bits/8 bytes, in planes: dimension
// i is in byte i % p at bit bits*(i/p), p being the row's bytes, so that a plane is unpacked by one shift of a whole register. A row of 3 bits is one of 2,
// for the low bits, and behind it one of 1, for the high bit. stride is a multiple of 8.
func (s *Set) Unpack(dst, src []byte, rows, stride, bits int, table *Table) {
	if stride < 8 || stride%8 != 0 || bits < 1 || bits > 4 {
		panic(fmt.Sprintf("kernel: unpack rows of %d in %d bits", stride, bits))
	}
	p := stride * bits / 8
	_, _ = dst[:rows*stride], src[:rows*p]
	if rows == 0 {
		return
	}
	if f := s.loops.unpack3; f != nil && bits == 3 && stride/8 >= leastPlane {
		f(&dst[0], &src[0], &table[0], stride/8, rows)
		return
	}
	if f := s.loops.unpack; f != nil && bits != 3 && p >= leastPlane {
		f(&dst[0], &src[0], &table[0], p, bits, rows)
		return
	}
	for r := range rows {
		row, out := src[r*p:(r+1)*p], dst[r*stride:(r+1)*stride]
		clear(out)
		if bits == 3 {
			planes(out, row[:stride/4], 2, 0)
			planes(out, row[stride/4:], 1, 2)
		} else {
			planes(out, row, bits, 0)
		}
		for i, code := range out {
			out[i] = table[code]
		}
	}
}

// leastPlane is how many bytes of a plane the assembly takes at least.
const leastPlane = 4

// planes adds to codes those in a row of planes of so many bits each, at bit lift.
func planes(codes, row []byte, bits, lift int) {
	mask := byte(1<<bits - 1)
	for shift := 0; shift < 8; shift += bits {
		plane := codes[:len(row)]
		for i, c := range row {
			plane[i] |= c >> shift & mask << lift
		}
		codes = codes[len(row):]
	}
}

// Prefetch asks for memory that is read soon.
func (s *Set) Prefetch(b []byte) {
	if f := s.loops.prefetch; f != nil && len(b) > 0 {
		f(&b[0], len(b))
	}
}
