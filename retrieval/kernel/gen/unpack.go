package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// unpack writes the unpacking of planes of at least 4 bytes. A plane goes by the largest step that fits into it; the last step ends where the plane ends, and
// may do again what the one before has done, so that nothing outside is touched.
func unpack(w width) {
	w.fn("unpack", "func(dst *byte, src *byte, table *byte, plane int, bits int, rows int)")
	u := unpacker{dst: gp("dst"), src: gp("src"), plane: gp("plane"), rows: gp("rows")}
	table, bits := gp("table"), gp("bits")
	steps := []int{32, 16, 8, 4}
	if w.regs == 1 {
		steps = []int{64, 32, 16, 8, 4}
	}
	u.v, u.x, u.mask, u.table = unpackRegister(w), unpackRegister(w), unpackRegister(w), unpackRegister(w)
	if w.regs == 1 {
		VBROADCASTI32X4(Mem{Base: table}, u.table)
	} else {
		VBROADCASTI128(Mem{Base: table}, u.table)
	}
	for _, b := range []int{1, 2, 4} {
		if b < 4 {
			CMPQ(bits, Imm(uint64(b)))
			JNE(LabelRef(fmt.Sprintf("over%d", b)))
		}
		u.bits = b
		move(w, i32(0x01010101*(1<<b-1)), u.mask)
		for p := 8; p < w.size; p *= 2 {
			if p*8/b >= w.size {
				u.small(w, p)
			}
		}
		if w.regs == 1 && b < 4 {
			blocks := &unpacker3{width: w, dst: u.dst, src: u.src, plane: u.plane, rows: u.rows, table: u.table, low: u.v, high: u.v}
			move(w, i32([]int32{0x11111111, 0x33333333}[b-1]), u.v)
			blocks.thirds(b)
		}
		for i, step := range steps {
			after := fmt.Sprintf("under%dx%d", step, b)
			if i < len(steps)-1 {
				CMPQ(u.plane, Imm(uint64(step)))
				JLT(LabelRef(after))
			}
			u.step = step
			u.loop(w)
			if i < len(steps)-1 {
				Label(after)
			}
		}
		Label(fmt.Sprintf("over%d", b))
	}
}

// unpacker is what the loops over rows share.
type unpacker struct {
	dst, src, plane, rows Register
	v, x, mask, table     VecVirtual
	bits, step            int
}

func unpackRegister(w width) VecVirtual { return w.vec()[0] }

func move(w width, m Mem, v VecVirtual) {
	if w.regs == 1 {
		VMOVDQU32(m, v)
	} else {
		VMOVDQU(m, v)
	}
}

// loop unpacks all rows and returns.
func (u *unpacker) loop(w width) {
	label := func(s string) string { return fmt.Sprintf("%s%dx%d", s, u.step, u.bits) }
	at, last, out := GP64(), GP64(), GP64()
	MOVQ(u.plane, last)
	SUBQ(Imm(uint64(u.step)), last)
	Label(label("row"))
	XORQ(at, at)
	Label(label("step"))
	CMPQ(at, last)
	CMOVQGT(last, at)
	LEAQ(Mem{Base: u.dst, Index: at, Scale: 1}, out)
	u.load(Mem{Base: u.src, Index: at, Scale: 1})
	v, x, mask, table := u.part(u.v), u.part(u.x), u.part(u.mask), u.part(u.table)
	for p := range 8 / u.bits {
		if p > 0 {
			VPSRLW(Imm(uint64(u.bits)), v, v)
			ADDQ(u.plane, out)
		}
		if u.step == 64 {
			VPANDD(mask, v, x)
		} else {
			VPAND(mask, v, x)
		}
		VPSHUFB(x, table, x)
		u.store(Mem{Base: out})
	}
	ADDQ(Imm(uint64(u.step)), at)
	CMPQ(at, u.plane)
	JLT(LabelRef(label("step")))
	ADDQ(u.plane, u.src)
	ADDQ(u.plane, out)
	MOVQ(out, u.dst)
	SUBQ(last, u.dst) // the last step began at last
	DECQ(u.rows)
	JNZ(LabelRef(label("row")))
	w.ret()
}

// small unpacks all rows and returns if planes are of so many bytes: a register takes several planes, of which each has its shift.
func (u *unpacker) small(w width, plane int) {
	after, row := fmt.Sprintf("not%dx%d", plane, u.bits), fmt.Sprintf("small%dx%d", plane, u.bits)
	CMPQ(u.plane, Imm(uint64(plane)))
	JNE(LabelRef(after))
	shift := unpackRegister(w)
	move(w, shifts(plane, u.bits), shift)
	Label(row)
	switch m := (Mem{Base: u.src}); {
	case plane == 8:
		VPBROADCASTQ(m, u.v)
	case plane == 32:
		VBROADCASTI64X4(m, u.v)
	case w.regs == 1:
		VBROADCASTI32X4(m, u.v)
	default:
		VBROADCASTI128(m, u.v)
	}
	VPSRLVQ(shift, u.v, u.v)
	stride := plane * 8 / u.bits
	for at := 0; at < stride; at += w.size {
		if at > 0 {
			VPSRLW(Imm(uint64(w.size/plane*u.bits)), u.v, u.v)
		}
		if w.regs == 1 {
			VPANDD(u.mask, u.v, u.x)
			VPSHUFB(u.x, u.table, u.x)
			VMOVDQU32(u.x, Mem{Base: u.dst, Disp: at})
		} else {
			VPAND(u.mask, u.v, u.x)
			VPSHUFB(u.x, u.table, u.x)
			VMOVDQU(u.x, Mem{Base: u.dst, Disp: at})
		}
	}
	ADDQ(Imm(uint64(plane)), u.src)
	ADDQ(U32(stride), u.dst)
	DECQ(u.rows)
	JNZ(LabelRef(row))
	w.ret()
	Label(after)
}

// shifts returns 64 bytes of read-only memory: for every 8 bytes of planes of so many bytes, by how many bits to shift.
func shifts(plane, bits int) Mem {
	return qwords(fmt.Sprintf("shifts%dx%d", plane, bits), 8, func(i int) int { return i * 8 / plane * bits })
}

// qwords returns so many numbers of 64 bits in read-only memory: the same memory for the same name.
func qwords(name string, n int, f func(i int) int) Mem {
	if m, ok := named[name]; ok {
		return m
	}
	m := GLOBL(name, RODATA|NOPTR)
	for i := range n {
		DATA(i*8, U64(f(i)))
	}
	named[name] = m
	return m
}

var named = map[string]Mem{}

// part is as much of a register as a step fills.
func (u *unpacker) part(v VecVirtual) Register {
	switch u.step {
	case 64:
		return v
	case 32:
		return v.AsY()
	}
	return v.AsX()
}

func (u *unpacker) load(m Mem) {
	switch u.step {
	case 64:
		VMOVDQU32(m, u.v)
	case 32, 16:
		VMOVDQU(m, u.part(u.v))
	case 8:
		VMOVQ(m, u.v.AsX())
	case 4:
		VMOVD(m, u.v.AsX())
	}
}

func (u *unpacker) store(m Mem) {
	switch u.step {
	case 64:
		VMOVDQU32(u.x, m)
	case 32, 16:
		VMOVDQU(u.part(u.x), m)
	case 8:
		VMOVQ(u.x.AsX(), m)
	case 4:
		VMOVD(u.x.AsX(), m)
	}
}
