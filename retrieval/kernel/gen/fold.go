package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// fold takes rows of 16 dot products into the running maximum and its position: docs/score.md. With base, a row's score begins from that of its coarse
// vector. For CPUs without a loop of maxsims.
func fold(w width, name string, base bool) {
	arguments := "best *int32, pos *int32, c *int32, ldc int, bias *int32, scales *uint16, lift int, first int32, rows int"
	if base {
		arguments += based
	}
	w.fn(name, "func("+arguments+")")
	best, pos, c, ldc, scales, rows := gp("best"), gp("pos"), gp("c"), gp("ldc"), gp("scales"), gp("rows")
	bm, pm, at, higher := w.vec(), w.vec(), w.vec(), w.vec()
	w.op1(w.move, bm, Mem{Base: best})
	w.op1(w.move, pm, Mem{Base: pos})
	w.splatInt("first", at)
	s := newScorer(w)
	var clusters, from Register
	if base {
		clusters, from = gp("clusters"), GP64()
	}
	loop("row", rows, func() {
		x := s.score(c, scales)
		if base {
			MOVBQZX(Mem{Base: clusters}, from)
			IMULQ(argument("ldbase"), from)
			ADDQ(argument("base"), from)
			w.op2(func(o ...Op) { VPADDD(o...) }, x, x, Mem{Base: from})
			INCQ(clusters)
		}
		for i := range x {
			VPCMPGTD(bm[i], x[i], higher[i])
			VPBLENDVB(higher[i], at[i], pm[i], pm[i])
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

// pairScore makes a pair score of x, dot products that are lost: scale has that of their row in every lane, high the same 16 bits further up.
func pairScore(x, lift, scale VecVirtual, high Mem, score VecVirtual) {
	VPSLLVD(lift, x, x)
	VPMULHUW(scale, x, score)
	VPDPWSSD_BCST(high, x, score)
}

// foldPair is fold of two panels at once, rows of 32 dot products that lie in memory, on 512 bits: what tiles leave. A row's scale is read once, spread before
// over up to 16 rows.
func foldPair(name string, base bool) {
	arguments := "best *int32, pos *int32, c *int32, ldc int, bias *int32, scales *uint16, lift int, first int, rows int"
	if base {
		arguments += based
	}
	TEXT(name, NOSPLIT, "func("+arguments+")")
	Pragma("noescape")
	const atOnce = 16
	lo, hi := AllocLocal(4*atOnce), AllocLocal(4*atOnce)
	var best, pos, bias [2]VecVirtual
	bp, pp, ip, c, scales, left := gp("best"), gp("pos"), gp("bias"), gp("c"), gp("scales"), gp("rows")
	for p := range best {
		best[p], pos[p], bias[p] = ZMM(), ZMM(), ZMM()
		VMOVDQU32(Mem{Base: bp, Disp: 64 * p}, best[p])
		VMOVDQU32(Mem{Base: pp, Disp: 64 * p}, pos[p])
		VMOVDQU32(Mem{Base: ip, Disp: 64 * p}, bias[p])
	}
	lift, at, scale := ZMM(), ZMM(), ZMM()
	VPBROADCASTD(argument("lift"), lift)
	VPBROADCASTD(argument("first"), at)
	var clusters, from Register
	if base {
		clusters, from = gp("clusters"), GP64()
	}
	some, i, bits, mask, v := GP64(), GP64(), GP32(), K(), ZMM()
	spread, high := GP64(), GP64()
	LEAQ(lo, spread)
	LEAQ(hi, high)
	Label("some")
	MOVQ(I32(atOnce), some)
	CMPQ(left, some)
	CMOVQLT(left, some)
	MOVL(I32(-1), bits)
	BZHIL(some.As32(), bits, bits)
	KMOVW(bits, mask)
	VPMOVZXWD_Z(Mem{Base: scales}, mask, v)
	VMOVDQU32(v, lo)
	VPSLLD(Imm(16), v, v)
	VMOVDQU32(v, hi)
	XORQ(i, i)
	Label("row")
	VPBROADCASTD(Mem{Base: spread, Index: i, Scale: 4}, scale)
	if base {
		MOVBQZX(Mem{Base: clusters, Index: i, Scale: 1}, from)
		IMULQ(argument("ldbase"), from)
		ADDQ(argument("base"), from)
	}
	for p := range best {
		x, score, higher := ZMM(), ZMM(), K()
		VMOVDQU32(Mem{Base: c, Disp: 64 * p}, x)
		VPSUBD(bias[p], x, x)
		pairScore(x, lift, scale, Mem{Base: high, Index: i, Scale: 4}, score)
		if base {
			VPADDD(Mem{Base: from, Disp: 64 * p}, score, score)
		}
		VPCMPGTD(best[p], score, higher)
		VMOVDQA32(at, higher, pos[p])
		VPMAXSD(score, best[p], best[p])
	}
	VPADDD(i32(1), at, at)
	ADDQ(argument("ldc"), c)
	INCQ(i)
	CMPQ(i, some)
	JLT(LabelRef("row"))
	LEAQ(Mem{Base: scales, Index: some, Scale: 2}, scales)
	if base {
		ADDQ(some, clusters)
	}
	SUBQ(some, left)
	JNZ(LabelRef("some"))
	for p := range best {
		VMOVDQU32(best[p], Mem{Base: bp, Disp: 64 * p})
		VMOVDQU32(pos[p], Mem{Base: pp, Disp: 64 * p})
	}
	VZEROUPPER()
	RET()
}

// scores writes the pair scores of rows of 16 dot products.
func scores(w width) {
	w.fn("scores", "func(out *int32, ldo int, c *int32, ldc int, bias *int32, scales *uint16, lift int, rows int)")
	out, ldo, c, ldc, scales, rows := gp("out"), gp("ldo"), gp("c"), gp("ldc"), gp("scales"), gp("rows")
	s := newScorer(w)
	loop("row", rows, func() {
		w.store(s.score(c, scales), Mem{Base: out})
		ADDQ(ldo, out)
		ADDQ(ldc, c)
		ADDQ(Imm(2), scales)
	})
	w.ret()
}

// scorer turns 16 dot products into pair scores.
type scorer struct {
	width
	bias, lo, hi, x, y vec
	lift               VecVirtual
}

func newScorer(w width) *scorer {
	s := &scorer{width: w, bias: w.vec(), lo: w.vec()[:1], hi: w.vec()[:1], x: w.vec(), y: w.vec(), lift: XMM()}
	bias := gp("bias")
	w.op1(w.move, s.bias, Mem{Base: bias})
	VMOVQ(gp("lift"), s.lift)
	return s
}

func (s *scorer) score(c, scale Register) vec {
	s.op1(s.move, s.x, Mem{Base: c})
	s.op2(s.isub, s.x, s.x, s.bias)
	for _, x := range s.x {
		VPSLLD(s.lift, x, x)
	}
	VPBROADCASTW(Mem{Base: scale}, s.lo[0])
	s.shift(func(o ...Op) { VPSLLD(o...) }, 16, s.hi, s.lo)
	s.shift(func(o ...Op) { VPSRLD(o...) }, 16, s.lo, s.lo)
	s.op2(func(o ...Op) { VPMULHUW(o...) }, s.y, s.x, s.lo)
	s.op2(func(o ...Op) { VPMADDWD(o...) }, s.x, s.x, s.hi)
	s.op2(func(o ...Op) { VPADDD(o...) }, s.x, s.x, s.y)
	return s.x
}
