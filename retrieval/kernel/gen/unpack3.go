package main

import (
	"fmt"
	"strings"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// unpack3 writes the unpacking of 3 bits, of rows whose high bits are in planes of so many bytes, at least 4. The dimensions are eight blocks, each as many
// as such a plane has: their high bits are the bits of its bytes, their low bits those of the first half of the planes before, and of the second, in turn.
// A byte of codes holds two of them, of blocks 4 apart: low bits at 0 and 4, the high bit behind them, so that the first is looked up as it is (a look-up
// ignores bits 4 to 6) and the second after one shift.
func unpack3(w width) {
	w.fn("unpack3", "func(dst *byte, src *byte, table *byte, plane int, rows int)")
	u := &unpacker3{width: w, dst: gp("dst"), src: gp("src"), plane: gp("plane"), rows: gp("rows"), table: unpackRegister(w), low: unpackRegister(w), high: unpackRegister(w)}
	table := gp("table")
	if w.regs == 1 {
		VBROADCASTI32X4(Mem{Base: table}, u.table)
	} else {
		VBROADCASTI128(Mem{Base: table}, u.table)
	}
	move(w, i32(0x33333333), u.low)
	move(w, i32(0x44444444), u.high)
	for size := 32; size <= w.size; size *= 2 {
		u.quarters(size)
	}
	u.halves()
	if w.regs == 1 {
		u.thirds(3)
		u.loop(64)
		return
	}
	for _, step := range []int{32, 16, 8, 4} {
		after := fmt.Sprintf("under%d", step)
		if step > 4 {
			CMPQ(u.plane, Imm(uint64(step)))
			JLT(LabelRef(after))
		}
		u.loop(step)
		if step > 4 {
			Label(after)
		}
	}
}

type unpacker3 struct {
	width
	dst, src, plane, rows Register
	table, low, high      VecVirtual // low and high have the bits of a byte of codes that are low bits, and high ones
	mask                  Register   // of what a step of 64 bytes takes
}

// register returns one of so many bytes, at least 16.
func register(size int) VecVirtual {
	switch size {
	case 64:
		return ZMM()
	case 32:
		return YMM()
	}
	return XMM()
}

// head returns as much of a register.
func head(v VecVirtual, size int) Register {
	switch size {
	case 64:
		return v
	case 32:
		return v.AsY()
	}
	return v.AsX()
}

// join makes codes, in lo, of bytes whose low bits and whose high bits are where they shall be; x is lost.
func (u *unpacker3) join(size int, lo, hi, x VecVirtual) {
	low, high := head(u.low, size), head(u.high, size)
	if u.regs == 1 {
		VPANDD(high, hi, x)
		VPTERNLOGD(Imm(0xe2), x, low, lo) // low ? lo : x
		return
	}
	VPAND(high, hi, x)
	VPAND(low, lo, lo)
	VPOR(x, lo, lo)
}

// look stores what stands for the first codes of v, and for the second.
func (u *unpacker3) look(step int, v VecVirtual, first, second Mem) {
	size := max(step, 16)
	x, table := register(size), head(u.table, size)
	VPSHUFB(v, table, x)
	u.store(step, x, first)
	VPSRLW(Imm(4), v, x)
	VPSHUFB(x, table, x)
	u.store(step, x, second)
}

// quarters unpacks all rows and returns if a plane of high bits is a fourth of a register of so many bytes, which so has the codes of all blocks.
func (u *unpacker3) quarters(size int) {
	plane := size / 4
	part := func(i int) int { return i * 8 / plane } // the fourth that 8 bytes are of
	right := u.constant(size, "lowRight", func(i int) int { return part(i) / 2 * 2 })
	rotate := u.constant(size, "highLeft", func(i int) int { return (2 - part(i)) & 63 })
	var over VecVirtual // 64 where nothing is to be shifted, which leaves nothing
	if u.regs > 1 {
		rotate = u.constant(size, "highLeftOr0", func(i int) int { return []int{2, 1, 0, 64}[part(i)] })
		over = u.constant(size, "highRightOr0", func(i int) int { return []int{64, 64, 64, 1}[part(i)] })
	}
	u.exactly(plane, 3, func() {
		lo, hi, low, high := register(size), register(size), Mem{Base: u.src}, Mem{Base: u.src, Disp: 2 * plane}
		switch {
		case size == 64:
			VBROADCASTI64X4(low, lo)
			VBROADCASTI32X4(high, hi)
		default:
			VBROADCASTI128(low, lo)
			VPBROADCASTQ(high, hi)
		}
		VPSRLVQ(right, lo, lo)
		if u.regs == 1 {
			VPROLVQ(rotate, hi, hi)
		} else {
			x := register(size)
			VPSRLVQ(over, hi, x)
			VPSLLVQ(rotate, hi, hi)
			VPOR(x, hi, hi)
		}
		u.join(size, lo, hi, hi)
		u.look(size, lo, Mem{Base: u.dst}, Mem{Base: u.dst, Disp: size})
	})
}

// halves unpacks all rows and returns if a plane of high bits is half a register.
func (u *unpacker3) halves() {
	size, plane := u.size, u.size/2
	left := u.constant(size, "halvesLeft", func(i int) int { return 2 - i*8/plane })
	right := u.constant(size, "halvesRight", func(i int) int { return i * 8 / plane })
	u.exactly(plane, 3, func() {
		lo, lo2, hi, hi2, high := register(size), register(size), register(size), register(size), Mem{Base: u.src, Disp: size}
		move(u.width, Mem{Base: u.src}, lo)
		if size == 64 {
			VBROADCASTI64X4(high, hi)
		} else {
			VBROADCASTI128(high, hi)
		}
		VPSRLW(Imm(2), lo, lo2)
		VPSRLVQ(right, hi, hi2)
		VPSLLVQ(left, hi, hi)
		u.join(size, lo, hi, hi)
		u.look(size, lo, Mem{Base: u.dst}, Mem{Base: u.dst, Disp: 2 * size})
		u.join(size, lo2, hi2, hi2)
		u.look(size, lo2, Mem{Base: u.dst, Disp: size}, Mem{Base: u.dst, Disp: 3 * size})
	})
}

// thirds unpacks all rows, of 1 to 3 bits, and returns if a plane of 1 bit is three fourths of a register, as at 384 dimensions: three registers have the
// codes of all blocks, in order. Codes of 1 bit, or 2, lie as the high bits, or the low ones, of 3 do.
func (u *unpacker3) thirds(bits int) {
	const size, lane, plane = 64, 16, 48
	part := func(m, i int) int { return (m*size + i*8) / plane } // the fourth of all codes that 8 bytes of register m are of
	right := u.constant(size, "thirdsRight", func(i int) int { return part(1, i) / 2 * 2 })
	var rotate [3]VecVirtual
	place := bits / 3 * 2 // of the high bit
	for m := range rotate {
		rotate[m] = u.constant(size, fmt.Sprintf("thirds%dRotate", place), func(i int) int { return (place - part(m, i)) & 63 })
	}
	u.exactly(plane, bits, func() {
		last, lo, hi := ZMM(), ZMM(), ZMM()
		lanes := 0 // of last, before those of the high bits
		switch bits {
		case 1:
			VMOVDQU(Mem{Base: u.src}, last.AsY())
			VINSERTI32X4(Imm(2), Mem{Base: u.src, Disp: 2 * lane}, last, last)
		case 3:
			VMOVDQU32(Mem{Base: u.src, Disp: 3*plane - size}, last)
			lanes = 1
		}
		for m := range rotate {
			if bits > 1 {
				u.third(m, right, lo)
			}
			if bits != 2 {
				which := 0
				for i := range size / lane {
					which |= (lanes + (m*size/lane+i)%(plane/lane)) << (2 * i)
				}
				VSHUFI64X2(Imm(uint64(which)), last, last, hi)
				VPROLVQ(rotate[m], hi, hi)
			}
			switch bits {
			case 1:
				VPANDD(u.high, hi, lo)
			case 2:
				VPANDD(u.low, lo, lo)
			case 3:
				u.join(size, lo, hi, hi)
			}
			u.look(size, lo, Mem{Base: u.dst, Disp: size * m}, Mem{Base: u.dst, Disp: 4*plane + size*m})
		}
	})
}

// third loads register m of the low bits; right shifts the second's.
func (u *unpacker3) third(m int, right, lo VecVirtual) {
	switch m {
	case 0:
		VMOVDQU32(Mem{Base: u.src}, lo)
	case 1:
		VMOVDQU(Mem{Base: u.src, Disp: 64}, lo.AsY())
		VINSERTI64X4(Imm(1), Mem{Base: u.src}, lo, lo)
		VPSRLVQ(right, lo, lo)
	case 2:
		VMOVDQU32(Mem{Base: u.src, Disp: 32}, lo)
		VPSRLW(Imm(2), lo, lo)
	}
}

// exactly unpacks all rows of so many bits by body, and returns, if planes of 1 bit are of so many bytes.
func (u *unpacker3) exactly(plane, bits int, body func()) {
	after, row := fmt.Sprintf("blocks%dx%d", plane, bits), fmt.Sprintf("row%dx%d", plane, bits)
	width := plane
	if bits == 2 {
		width *= 2 // of a plane as it is
	}
	CMPQ(u.plane, Imm(uint64(width)))
	JNE(LabelRef(after))
	Label(row)
	body()
	ADDQ(U32(bits*plane), u.src)
	ADDQ(U32(8*plane), u.dst)
	DECQ(u.rows)
	JNZ(LabelRef(row))
	u.ret()
	Label(after)
}

// loop unpacks all rows, in steps, and returns. The last step ends where the plane ends, and may do again what the one before has done; one of 64 bytes takes
// what there is.
func (u *unpacker3) loop(step int) {
	label := func(s string) string { return fmt.Sprintf("%s%dbytes", s, step) }
	at, last, from, out, out4, plane3 := GP64(), GP64(), GP64(), GP64(), GP64(), GP64()
	MOVQ(u.plane, last)
	SUBQ(Imm(uint64(step)), last)
	if step == 64 {
		u.mask = K()
		none, all := GP64(), GP64()
		XORQ(none, none)
		CMPQ(last, none)
		CMOVQLT(none, last)
		MOVQ(U32(64), RCX)
		SUBQ(u.plane, RCX)
		CMOVQLT(none, RCX)
		MOVQ(I32(-1), all)
		SHRQ(CL, all)
		KMOVQ(all, u.mask)
	}
	LEAQ(Mem{Base: u.plane, Index: u.plane, Scale: 2}, plane3)
	Label(label("row"))
	XORQ(at, at)
	Label(label("step"))
	CMPQ(at, last)
	CMOVQGT(last, at)
	LEAQ(Mem{Base: u.src, Index: at, Scale: 1}, from)
	LEAQ(Mem{Base: u.dst, Index: at, Scale: 1}, out)
	LEAQ(Mem{Base: out, Index: u.plane, Scale: 4}, out4)
	size := max(step, 16)
	hi, lo2, hi2 := register(size), register(size), register(size)
	u.load(step, Mem{Base: from, Index: u.plane, Scale: 2}, hi)
	for odd := range 2 {
		lo, places := register(size), []Mem{{}, {Index: u.plane, Scale: 1}, {Index: u.plane, Scale: 2}, {Index: plane3, Scale: 1}}
		half := places[odd]
		half.Base = from
		u.load(step, half, lo)
		look := func(v VecVirtual, block int) {
			first, second := places[block], places[block]
			first.Base, second.Base = out, out4
			u.look(step, v, first, second)
		}
		VPSRLW(Imm(2), lo, lo2)
		if odd > 0 {
			VPSRLW(Imm(1), hi, hi2)
			u.join(size, lo2, hi2, hi2)
		} else {
			u.join(size, lo2, hi, hi2)
		}
		look(lo2, 2+odd)
		VPSLLW(Imm(uint64(2-odd)), hi, hi2)
		u.join(size, lo, hi2, hi2)
		look(lo, odd)
	}
	ADDQ(Imm(uint64(step)), at)
	CMPQ(at, u.plane)
	JLT(LabelRef(label("step")))
	ADDQ(plane3, u.src)
	LEAQ(Mem{Base: u.dst, Index: u.plane, Scale: 8}, u.dst)
	DECQ(u.rows)
	JNZ(LabelRef(label("row")))
	u.ret()
}

func (u *unpacker3) load(step int, m Mem, v VecVirtual) {
	switch {
	case u.mask != nil:
		VMOVDQU8_Z(m, u.mask, v)
	case step == 8:
		VMOVQ(m, v)
	case step == 4:
		VMOVD(m, v)
	default:
		VMOVDQU(m, v)
	}
}

func (u *unpacker3) store(step int, v VecVirtual, m Mem) {
	switch {
	case u.mask != nil:
		VMOVDQU8(v, u.mask, m)
	case step == 64:
		VMOVDQU32(v, m)
	case step == 8:
		VMOVQ(v, m)
	case step == 4:
		VMOVD(v, m)
	default:
		VMOVDQU(v, m)
	}
}

// constant returns a register of so many bytes that holds f of every 8 bytes' place.
func (u *unpacker3) constant(size int, name string, f func(i int) int) VecVirtual {
	v := register(size)
	values := make([]string, size/8)
	for i := range values {
		values[i] = fmt.Sprint(f(i))
	}
	m := qwords(name+"x"+strings.Join(values, ""), size/8, f)
	if size == 64 {
		VMOVDQU32(m, v)
	} else {
		VMOVDQU(m, v)
	}
	return v
}
