package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// width is a register width. Every element-wise kernel is written once, over 16 virtual lanes: one register of 512 bits
// or two of 256, with the same operations in the same order, so both give the same bits.
type width struct {
	name string
	regs int // registers that hold 16 lanes
	size int // bytes of one register
}

var (
	wide   = width{"AVX512", 1, 64}
	narrow = width{"AVX2", 2, 32}
)

// vec is 16 lanes of 32 bits.
type vec []VecVirtual

func (w width) fn(name, signature string) {
	TEXT(name+w.name, NOSPLIT, signature)
	Pragma("noescape")
}

func (w width) ret() {
	VZEROUPPER()
	RET()
}

func (w width) vec() vec {
	v := make(vec, w.regs)
	for i := range v {
		if w.regs == 1 {
			v[i] = ZMM()
		} else {
			v[i] = YMM()
		}
	}
	return v
}

// part picks what register i of an operand reads: its own register, or its share of 64 bytes of memory.
func (w width) part(o any, i int) Op {
	switch o := o.(type) {
	case vec:
		return o[min(i, len(o)-1)] // a single register serves both halves
	case Mem:
		return o.Offset(i * w.size)
	case Op:
		return o
	}
	panic(fmt.Sprintf("operand %T", o))
}

// op2 emits dst = f(a, b) in Intel's order of operands: a is the first source (a register), b the second (register or memory).
func (w width) op2(f func(...Op), dst, a vec, b any) {
	for i := range dst {
		f(w.part(b, i), a[i], dst[i])
	}
}

// op1 emits dst = f(src).
func (w width) op1(f func(...Op), dst vec, src any) {
	for i := range dst {
		f(w.part(src, i), dst[i])
	}
}

// shift emits dst = f(a, imm).
func (w width) shift(f func(...Op), imm uint64, dst, a vec) {
	for i := range dst {
		f(Imm(imm), a[i], dst[i])
	}
}

func (w width) store(v vec, m Mem) {
	for i := range v {
		VMOVUPS(v[i], m.Offset(i*w.size))
	}
}

func (w width) zero(v vec) {
	for i := range v {
		VXORPS(v[i], v[i], v[i])
	}
}

// broadcast fills v from a 32-bit memory operand.
func (w width) broadcast(m Mem, v vec) {
	for i := range v {
		VPBROADCASTD(m, v[i])
	}
}

// spread fills v from the low lane of x.
func (w width) spread(x VecVirtual, v vec) {
	for i := range v {
		VBROADCASTSS(x.AsX(), v[i])
	}
}

var constants = map[uint32]Mem{}

// lanes returns 64 bytes of read-only memory with bits in every lane.
func lanes(bits uint32) Mem {
	if m, ok := constants[bits]; ok {
		return m
	}
	m := GLOBL(fmt.Sprintf("lanes%08x", bits), RODATA|NOPTR)
	for i := range 16 {
		DATA(i*4, U32(bits))
	}
	constants[bits] = m
	return m
}

func float(x float32) Mem { return lanes(math.Float32bits(x)) }

func i32(x int32) Mem { return lanes(uint32(x)) }

// reduce folds 16 lanes to one, pairing lanes i and i+8, i+4, i+2, i+1, in the low lane of the returned register.
func (w width) reduce(f func(...Op), v vec) VecVirtual {
	y := YMM()
	if w.regs == 1 {
		VEXTRACTF64X4(Imm(1), v[0], y)
		f(y, v[0].AsY(), y)
	} else {
		f(v[1], v[0], y)
	}
	x, t := XMM(), XMM()
	VEXTRACTF128(Imm(1), y, x)
	f(x, y.AsX(), x)
	VPSHUFD(Imm(0x4e), x, t)
	f(t, x, x)
	VPSHUFD(Imm(0xb1), x, t)
	f(t, x, x)
	return x
}

// loop emits body for a count of 16-lane steps.
func loop(name string, count Register, body func()) {
	Label(name)
	body()
	DECQ(count)
	JNZ(LabelRef(name))
}
