package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/gotypes"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// The element-wise kernels of the encoder. Counts n are in steps of 16 lanes; strides (ld) in bytes.

func gp(name string) Register { return Load(Param(name), GP64()) }

// splatFloat and splatInt fill v from a 32-bit argument.
//
// No instruction may be of the SSE encoding: behind 512-bit ones these take about a hundred cycles each on Intel's CPUs.
func (w width) splatFloat(name string, v vec) {
	for i := range v {
		VBROADCASTSS(argument(name), v[i])
	}
}

func (w width) splatInt(name string, v vec) {
	x := XMM()
	VMOVD(Load(Param(name), GP32()), x)
	w.spread(x, v)
}

// argument is an argument's place on the stack, to read or broadcast from.
func argument(name string) Mem {
	return place(Param(name))
}

func place(c gotypes.Component) Mem {
	b, err := c.Resolve()
	if err != nil {
		panic(err)
	}
	return b.Addr
}

func dequant(w width) {
	w.fn("dequant", "func(y *float32, c *int32, wsum *int32, wscale *float32, bias *float32, scale float32, zero int32, n int)")
	y, c, sum, ws, bias, n := gp("y"), gp("c"), gp("wsum"), gp("wscale"), gp("bias"), gp("n")
	scale, zero, t, s := w.vec(), w.vec(), w.vec(), w.vec()
	w.splatFloat("scale", scale)
	w.splatInt("zero", zero)
	d := GP64()
	XORQ(d, d)
	at := func(base Register) Mem { return Mem{Base: base, Index: d, Scale: 1} }
	loop("step", n, func() {
		w.op2(func(o ...Op) { VPMULLD(o...) }, t, zero, at(sum))
		w.op1(w.move, s, at(c))
		w.op2(w.isub, s, s, t)
		w.op1(func(o ...Op) { VCVTDQ2PS(o...) }, s, s)
		w.op2(mul, t, scale, at(ws))
		w.op2(mul, s, s, t)
		w.op2(add, s, s, at(bias))
		w.store(s, at(y))
		ADDQ(Imm(64), d)
	})
	w.ret()
}

// spread: y = float(c) * s over rows of n steps.
func spread(w width) {
	w.fn("spread", "func(y *float32, ldy int, c *int32, ldc int, s float32, n int, rows int)")
	y, ldy, c, ldc, n, rows := gp("y"), gp("ldy"), gp("c"), gp("ldc"), gp("n"), gp("rows")
	s, v := w.vec(), w.vec()
	w.splatFloat("s", s)
	rowLoop(rows, n, []Register{y, c}, []Register{ldy, ldc}, func(at func(int) Mem) {
		w.op1(func(o ...Op) { VCVTDQ2PS(o...) }, v, at(1))
		w.op2(mul, v, v, s)
		w.store(v, at(0))
	})
	w.ret()
}

// bounds: the least and the greatest of rows of n steps. Four steps have lanes of their own: one would wait for the other.
func bounds(w width) {
	const at = 4
	w.fn("bounds", "func(x *float32, ldx int, n int, rows int) (lo float32, hi float32)")
	x, ldx, n, rows := gp("x"), gp("ldx"), gp("n"), gp("rows")
	var lo, hi [at]vec
	for i := range at {
		lo[i], hi[i] = w.vec(), w.vec()
		w.broadcast(Mem{Base: x}, lo[i])
		w.op1(w.move, hi[i], lo[i])
	}
	v, d, left := w.vec(), GP64(), GP64()
	step := func(i int) {
		w.op1(w.move, v, Mem{Base: x, Index: d, Scale: 1})
		w.op2(func(o ...Op) { VMINPS(o...) }, lo[i], v, lo[i])
		w.op2(func(o ...Op) { VMAXPS(o...) }, hi[i], v, hi[i])
		ADDQ(Imm(64), d)
	}
	Label("row")
	XORQ(d, d)
	MOVQ(n, left)
	Label("four")
	SUBQ(Imm(at), left)
	JL(LabelRef("rest"))
	for i := range at {
		step(i)
	}
	JMP(LabelRef("four"))
	Label("rest")
	for i := range at - 1 {
		CMPQ(left, I32(i-at+1))
		JL(LabelRef("next"))
		step(i)
	}
	Label("next")
	ADDQ(ldx, x)
	DECQ(rows)
	JNZ(LabelRef("row"))
	for i := 1; i < at; i++ {
		w.op2(func(o ...Op) { VMINPS(o...) }, lo[0], lo[i], lo[0])
		w.op2(func(o ...Op) { VMAXPS(o...) }, hi[0], hi[i], hi[0])
	}
	VMOVSS(w.reduce(func(o ...Op) { VMINPS(o...) }, lo[0]), place(ReturnIndex(0)))
	VMOVSS(w.reduce(func(o ...Op) { VMAXPS(o...) }, hi[0]), place(ReturnIndex(1)))
	w.ret()
}

// rowLoop runs body over rows of n steps at several addresses that move together.
func rowLoop(rows, n Register, bases, strides []Register, body func(at func(int) Mem)) {
	d, left := GP64(), GP64()
	Label("row")
	XORQ(d, d)
	MOVQ(n, left)
	loop("step", left, func() {
		body(func(i int) Mem { return Mem{Base: bases[i], Index: d, Scale: 1} })
		ADDQ(Imm(64), d)
	})
	for i := range bases {
		ADDQ(strides[i], bases[i])
	}
	DECQ(rows)
	JNZ(LabelRef("row"))
}

func add(o ...Op) { VADDPS(o...) }
func sub(o ...Op) { VSUBPS(o...) }
func mul(o ...Op) { VMULPS(o...) }

func (w width) isub(o ...Op) { VPSUBD(o...) }

func (w width) move(o ...Op) { VMOVUPS(o...) }

// polynomial sets p to the value at x by Horner's rule, coefficients from the constant term up.
func (w width) polynomial(p, x vec, coefficients []float32) {
	last := len(coefficients) - 1
	w.op1(w.move, p, float(coefficients[last]))
	for i := last - 1; i >= 0; i-- {
		w.op2(mul, p, p, x)
		w.op2(add, p, p, float(coefficients[i]))
	}
}

func gelu(w width) {
	w.fn("gelu", "func(y *float32, n int)")
	y, n := gp("y"), gp("n")
	x, t, v, p := w.vec(), w.vec(), w.vec(), w.vec()
	loop("step", n, func() {
		w.op1(w.move, x, Mem{Base: y})
		w.op2(func(o ...Op) { VMAXPS(o...) }, t, x, float(-geluClamp))
		w.op2(func(o ...Op) { VMINPS(o...) }, t, t, float(geluClamp))
		w.op2(mul, v, t, t)
		w.op2(mul, v, v, float(2/(geluClamp*geluClamp)))
		w.op2(sub, v, v, float(1))
		w.polynomial(p, v, geluPolynomial)
		w.op2(mul, p, p, t)
		w.op2(add, p, p, float(0.5))
		w.op2(mul, p, p, x)
		w.store(p, Mem{Base: y})
		ADDQ(Imm(64), y)
	})
	w.ret()
}

// widen16 writes bytes as 16-bit integers, 16 a step: what a CPU without byte products multiplies.
func widen16() {
	narrow.fn("widen", "func(dst *int16, src *byte, n int)")
	dst, src, n := gp("dst"), gp("src"), gp("n")
	v := YMM()
	loop("step", n, func() {
		VPMOVZXBW(Mem{Base: src}, v)
		VMOVDQU(v, Mem{Base: dst})
		ADDQ(Imm(16), src)
		ADDQ(Imm(32), dst)
	})
	narrow.ret()
}

func quantize8(w width) {
	w.fn("quantize8", "func(dst *uint8, x *float32, inv float32, zero int32, n int)")
	dst, x, n := gp("dst"), gp("x"), gp("n")
	inv, zero, v := w.vec(), w.vec(), w.vec()
	w.splatFloat("inv", inv)
	w.splatInt("zero", zero)
	loop("step", n, func() {
		w.op2(mul, v, inv, Mem{Base: x})
		w.op1(func(o ...Op) { VCVTPS2DQ(o...) }, v, v)
		w.op2(func(o ...Op) { VPADDD(o...) }, v, v, zero)
		w.op2(func(o ...Op) { VPMAXSD(o...) }, v, v, i32(0))
		w.op2(func(o ...Op) { VPMINSD(o...) }, v, v, i32(255))
		if w.regs == 1 {
			VPMOVDB(v[0], Mem{Base: dst})
		} else {
			VPACKUSDW(v[1], v[0], v[0])
			VPERMQ(Imm(0xd8), v[0], v[0])
			t := XMM()
			VEXTRACTF128(Imm(1), v[0], t)
			VPACKUSWB(t, v[0].AsX(), t)
			VMOVDQU(t, Mem{Base: dst})
		}
		ADDQ(Imm(16), dst)
		ADDQ(Imm(64), x)
	})
	w.ret()
}

// store16 writes 16 lanes as 16-bit integers.
func (w width) store16(v vec, m Mem) {
	if w.regs == 1 {
		VPMOVSDW(v[0], m)
		return
	}
	VPACKSSDW(v[1], v[0], v[0])
	VPERMQ(Imm(0xd8), v[0], v[0])
	VMOVDQU(v[0], m)
}

// quantize16: dst = round(x * inv) over rows of n steps; ldd and ldx are bytes.
func quantize16(w width) {
	w.fn("quantize16", "func(dst *int16, ldd int, x *float32, ldx int, inv float32, n int, rows int)")
	dst, ldd, x, ldx, n, rows := gp("dst"), gp("ldd"), gp("x"), gp("ldx"), gp("n"), gp("rows")
	inv, v := w.vec(), w.vec()
	w.splatFloat("inv", inv)
	d, left := GP64(), GP64()
	Label("row")
	XORQ(d, d)
	MOVQ(n, left)
	loop("step", left, func() {
		w.op2(mul, v, inv, Mem{Base: x, Index: d, Scale: 2})
		w.op1(func(o ...Op) { VCVTPS2DQ(o...) }, v, v)
		w.store16(v, Mem{Base: dst, Index: d, Scale: 1})
		ADDQ(Imm(32), d)
	})
	ADDQ(ldd, dst)
	ADDQ(ldx, x)
	DECQ(rows)
	JNZ(LabelRef("row"))
	w.ret()
}
