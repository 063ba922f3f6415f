package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// The element-wise kernels of the encoder. Counts n are in steps of 16 lanes; strides (ld) in bytes.

func gp(name string) Register { return Load(Param(name), GP64()) }

// splatFloat and splatInt fill v from a 32-bit argument.
func (w width) splatFloat(name string, v vec) {
	w.spread(Load(Param(name), XMM()).(VecVirtual), v)
}

func (w width) splatInt(name string, v vec) {
	x := XMM()
	VMOVD(Load(Param(name), GP32()), x)
	w.spread(x, v)
}

// argument is an argument's place on the stack, to read or broadcast from.
func argument(name string) Mem {
	b, err := Param(name).Resolve()
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

// bounds: the least and the greatest of rows of n steps.
func bounds(w width) {
	w.fn("bounds", "func(x *float32, ldx int, n int, rows int) (lo float32, hi float32)")
	x, ldx, n, rows := gp("x"), gp("ldx"), gp("n"), gp("rows")
	lo, hi, v := w.vec(), w.vec(), w.vec()
	w.broadcast(Mem{Base: x}, lo)
	w.op1(w.move, hi, lo)
	rowLoop(rows, n, []Register{x}, []Register{ldx}, func(at func(int) Mem) {
		w.op1(w.move, v, at(0))
		w.op2(func(o ...Op) { VMINPS(o...) }, lo, v, lo)
		w.op2(func(o ...Op) { VMAXPS(o...) }, hi, v, hi)
	})
	l := w.reduce(func(o ...Op) { VMINPS(o...) }, lo)
	h := w.reduce(func(o ...Op) { VMAXPS(o...) }, hi)
	Store(l, ReturnIndex(0))
	Store(h, ReturnIndex(1))
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

// fold takes rows of 16 dot products into the running maximum and its position: docs/score.md.
func fold(w width) {
	w.fn("fold", "func(best *int32, pos *int32, c *int32, ldc int, bias *int32, scales *uint16, lift int, first int32, rows int)")
	best, pos, c, ldc, scales, rows := gp("best"), gp("pos"), gp("c"), gp("ldc"), gp("scales"), gp("rows")
	bm, pm, bias, at := w.vec(), w.vec(), w.vec(), w.vec()
	w.op1(w.move, bm, Mem{Base: best})
	w.op1(w.move, pm, Mem{Base: pos})
	b := gp("bias")
	w.op1(w.move, bias, Mem{Base: b})
	w.splatInt("first", at)
	lift := XMM()
	VMOVQ(gp("lift"), lift)
	lo, hi, x, y := w.vec()[:1], w.vec()[:1], w.vec(), w.vec()
	loop("row", rows, func() {
		w.op1(w.move, x, Mem{Base: c})
		w.op2(w.isub, x, x, bias)
		for i := range x {
			VPSLLD(lift, x[i], x[i])
		}
		VPBROADCASTW(Mem{Base: scales}, lo[0])
		w.shift(func(o ...Op) { VPSLLD(o...) }, 16, hi, lo)
		w.shift(func(o ...Op) { VPSRLD(o...) }, 16, lo, lo)
		w.op2(func(o ...Op) { VPMULHUW(o...) }, y, x, lo)
		w.op2(func(o ...Op) { VPMADDWD(o...) }, x, x, hi)
		w.op2(func(o ...Op) { VPADDD(o...) }, x, x, y)
		for i := range x {
			if w.regs == 1 {
				k := K()
				VPCMPGTD(bm[i], x[i], k)
				VMOVDQA32(at[i], k, pm[i])
			} else {
				VPCMPGTD(bm[i], x[i], y[i])
				VPBLENDVB(y[i], at[i], pm[i], pm[i])
			}
		}
		w.op2(func(o ...Op) { VPMAXSD(o...) }, bm, bm, x)
		w.op2(func(o ...Op) { VPADDD(o...) }, at, at, i32(1))
		ADDQ(ldc, c)
		ADDQ(Imm(2), scales)
	})
	w.store(bm, Mem{Base: best})
	w.store(pm, Mem{Base: pos})
	w.ret()
}
