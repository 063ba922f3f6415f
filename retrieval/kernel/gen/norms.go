package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// The element-wise kernels that divide a row by a sum over it.

// softmax: p = round(32767 * softmax(c * s)), s already times log2(e), mask of the last 16 lanes; c is overwritten.
func softmax(w width) {
	w.fn("softmax", "func(p *int16, c *int32, s float32, mask *int32, n int)")
	p, c, n := gp("p"), gp("c"), gp("n")
	top, v, left, at := w.vec(), w.vec(), GP64(), GP64()
	w.op1(w.move, top, Mem{Base: c})
	MOVQ(c, at)
	MOVQ(n, left)
	loop("max", left, func() {
		w.op2(func(o ...Op) { VPMAXSD(o...) }, top, top, Mem{Base: at})
		ADDQ(Imm(64), at)
	})
	w.spread(w.reduce(func(o ...Op) { VPMAXSD(o...) }, top), top)
	s, sum, z, f, q := w.vec(), w.vec(), w.vec(), w.vec(), w.vec()
	w.splatFloat("s", s)
	w.zero(sum)
	MOVQ(c, at)
	MOVQ(n, left)
	loop("exp", left, func() {
		w.op1(w.move, v, Mem{Base: at})
		w.op2(w.isub, v, v, top)
		w.op1(func(o ...Op) { VCVTDQ2PS(o...) }, v, v)
		w.op2(mul, v, v, s)
		w.op2(func(o ...Op) { VMAXPS(o...) }, v, v, float(expFloor))
		w.op2(add, z, v, float(roundMagic))
		w.op2(sub, f, z, float(roundMagic))
		w.op2(sub, f, v, f)
		w.polynomial(q, f, expPolynomial)
		w.shift(func(o ...Op) { VPSLLD(o...) }, 23, z, z)
		w.op2(func(o ...Op) { VPADDD(o...) }, q, q, z)
		CMPQ(left, Imm(1))
		JNE(LabelRef("whole"))
		mask := gp("mask")
		w.op2(func(o ...Op) { VANDPS(o...) }, q, q, Mem{Base: mask})
		Label("whole")
		w.op2(add, sum, sum, q)
		w.store(q, Mem{Base: at})
		ADDQ(Imm(64), at)
	})
	total := w.reduce(add, sum)
	inv := XMM()
	VMOVSS(float(32767), inv)
	VDIVSS(total, inv, inv)
	w.spread(inv, s)
	loop("scale", n, func() {
		w.op2(mul, v, s, Mem{Base: c})
		w.op1(func(o ...Op) { VCVTPS2DQ(o...) }, v, v)
		w.store16(v, Mem{Base: p})
		ADDQ(Imm(64), c)
		ADDQ(Imm(32), p)
	})
	w.ret()
}

// addNorm: h = layer norm of (h + y); size is 16 n as a float.
func addNorm(w width) {
	w.fn("addNorm", "func(h *float32, y *float32, gain *float32, bias *float32, eps float32, size float32, n int)")
	h, y, gain, bias, n := gp("h"), gp("y"), gp("gain"), gp("bias"), gp("n")
	sum, v, d, left := w.vec(), w.vec(), GP64(), GP64()
	at := func(b Register) Mem { return Mem{Base: b, Index: d, Scale: 1} }
	pass := func(name string, body func()) {
		XORQ(d, d)
		MOVQ(n, left)
		loop(name, left, func() {
			body()
			ADDQ(Imm(64), d)
		})
	}
	w.zero(sum)
	pass("sum", func() {
		w.op1(w.move, v, at(h))
		w.op2(add, v, v, at(y))
		w.store(v, at(h))
		w.op2(add, sum, sum, v)
	})
	mean := w.vec()
	total := w.reduce(add, sum)
	VDIVSS(argument("size"), total, total)
	w.spread(total, mean)
	w.zero(sum)
	pass("square", func() {
		w.op1(w.move, v, at(h))
		w.op2(sub, v, v, mean)
		w.op2(mul, v, v, v)
		w.op2(add, sum, sum, v)
	})
	square := w.reduce(add, sum)
	VDIVSS(argument("size"), square, square)
	VADDSS(argument("eps"), square, square)
	r := w.vec()
	w.spread(inverseRoot(square), r)
	pass("norm", func() {
		w.op1(w.move, v, at(h))
		w.op2(sub, v, v, mean)
		w.op2(mul, v, v, r)
		w.op2(mul, v, v, at(gain))
		w.op2(add, v, v, at(bias))
		w.store(v, at(h))
	})
	w.ret()
}

// inverseRoot returns 1 / sqrt(x), two IEEE operations.
func inverseRoot(x VecVirtual) VecVirtual {
	VSQRTSS(x, x, x)
	one := XMM()
	VMOVSS(float(1), one)
	VDIVSS(x, one, one)
	return one
}

// normalize: x / |x|.
func normalize(w width) {
	w.fn("normalize", "func(x *float32, n int)")
	x, n := gp("x"), gp("n")
	sum, v, at, left := w.vec(), w.vec(), GP64(), GP64()
	w.zero(sum)
	MOVQ(x, at)
	MOVQ(n, left)
	loop("square", left, func() {
		w.op1(w.move, v, Mem{Base: at})
		w.op2(mul, v, v, v)
		w.op2(add, sum, sum, v)
		ADDQ(Imm(64), at)
	})
	r := w.vec()
	w.spread(inverseRoot(w.reduce(add, sum)), r)
	loop("scale", n, func() {
		w.op2(mul, v, r, Mem{Base: x})
		w.store(v, Mem{Base: x})
		ADDQ(Imm(64), x)
	})
	w.ret()
}
