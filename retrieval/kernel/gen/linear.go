package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// linears writes the products of rows with one row of large numbers, which comes as digits: for every step of a row 4 vectors of bytes, each 256 times the one
// before, or 2 of 16 bits.
func linears() {
	linear(linearShape{width: wide, step: 64, planes: 4, digit: 8})
	linear(linearShape{width: narrow, step: 16, planes: 2, digit: 16})
}

type linearShape struct {
	width
	step   int // bytes of a row at a time
	planes int // vectors of digits a step
	digit  int // bits
}

// linearRows are multiplied at once.
const linearRows = 4

// lineared is what a block of rows keeps in registers.
type lineared struct {
	linearShape
	digits Register
	mask   Register // of the bytes in a last step that is not whole
	rows   [linearRows]Register
	ahead  [linearRows]Register // how many bytes further on what is fetched lies
	acc    [linearRows][]VecVirtual
}

// linear sets 4 n sums to the product of one row each, less bias. Rows are of so many whole steps,
// and on 512 bits of as many bytes more as mask has bits. What lies ahead bytes further on is fetched, or, with next, the rows whose numbers are next bytes further on.
func linear(s linearShape) {
	s.fn("linear", "func(sums *int64, rows *byte, which *int32, n int, stride int, steps int, mask int, digits *byte, bias int64, ahead int, next int)")
	c := lineared{linearShape: s, digits: GP64(), mask: K()}
	sums, which, mask, bias := gp("sums"), gp("which"), gp("mask"), YMM()
	VPBROADCASTQ(argument("bias"), bias)
	if s.regs == 1 {
		KMOVQ(mask, c.mask)
	}
	Label("block")
	for r := range c.rows {
		c.rows[r] = GP64()
		MOVLQSX(Mem{Base: which, Disp: 4 * r}, c.rows[r])
		IMULQ(argument("stride"), c.rows[r])
		ADDQ(argument("rows"), c.rows[r])
		c.acc[r] = make([]VecVirtual, s.planes)
		for p := range c.acc[r] {
			c.acc[r][p] = s.vec()[0]
			VXORPS(c.acc[r][p], c.acc[r][p], c.acc[r][p])
		}
	}
	c.later(which)
	ADDQ(Imm(4*linearRows), which)
	left := GP64()
	MOVQ(argument("digits"), c.digits)
	MOVQ(argument("steps"), left)
	TESTQ(left, left)
	JZ(LabelRef("rest"))
	loop("step", left, func() {
		c.multiply(false)
		ADDQ(U32(s.planes*s.size), c.digits)
		for _, row := range c.rows {
			ADDQ(Imm(uint64(s.step)), row)
		}
	})
	Label("rest")
	if s.regs == 1 {
		TESTQ(mask, mask)
		JZ(LabelRef("sum"))
		c.multiply(true)
		Label("sum")
	}
	total := c.sums()
	VPSUBQ(bias, total, total)
	VMOVDQU(total, Mem{Base: sums})
	ADDQ(Imm(8*linearRows), sums)
	DECQ(argument("n"))
	JNZ(LabelRef("block"))
	s.ret()
}

// later decides what is fetched while a block is multiplied.
func (c *lineared) later(which Register) {
	next := gp("next")
	for r := range c.ahead {
		c.ahead[r] = GP64()
		MOVQ(argument("ahead"), c.ahead[r])
	}
	TESTQ(next, next)
	JZ(LabelRef("decided"))
	ADDQ(which, next)
	for r, at := range c.ahead {
		MOVLQSX(Mem{Base: next, Disp: 4 * r}, at)
		IMULQ(argument("stride"), at)
		ADDQ(argument("rows"), at)
		SUBQ(c.rows[r], at)
	}
	Label("decided")
}

// multiply takes one step of every row.
func (c *lineared) multiply(part bool) {
	digits, row, product := make([]VecVirtual, c.planes), c.vec()[0], c.vec()[0]
	for p := range digits {
		digits[p] = c.vec()[0]
		move(c.width, Mem{Base: c.digits, Disp: p * c.size}, digits[p])
	}
	for r, at := range c.rows {
		m := Mem{Base: at}
		switch {
		case c.regs == 2:
			VPMOVZXBW(m, row)
		case part:
			VMOVDQU8_Z(m, c.mask, row)
		default:
			VMOVDQU8(m, row)
		}
		PREFETCHT0(Mem{Base: at, Index: c.ahead[r], Scale: 1})
		for p, acc := range c.acc[r] {
			if c.regs == 1 {
				VPDPBUSD(digits[p], row, acc)
				continue
			}
			VPMADDWD(digits[p], row, product)
			VPADDD(product, acc, acc)
		}
	}
}

// sums folds the planes and the lanes of every row to 64 bits: a register of four sums. Lanes of 32 bits hold every sum up to there (linear.spread8, spread16).
func (c *lineared) sums() VecVirtual {
	var total [linearRows]VecVirtual
	for r, acc := range c.acc {
		low, high := acc[0], acc[1]
		if c.planes == 4 {
			low, high = acc[0], acc[2]
			VPSLLD(Imm(8), acc[1], acc[1])
			VPSLLD(Imm(8), acc[3], acc[3])
			VPADDD(acc[1], low, low)
			VPADDD(acc[3], high, high)
		}
		total[r] = YMM()
		c.widened(low, total[r])
		t := YMM()
		c.widened(high, t)
		VPSLLQ(Imm(16), t, t)
		VPADDQ(t, total[r], total[r])
	}
	var pairs [2]VecVirtual
	for i := range pairs {
		t := YMM()
		pairs[i] = YMM()
		VPUNPCKLQDQ(total[2*i+1], total[2*i], t)
		VPUNPCKHQDQ(total[2*i+1], total[2*i], pairs[i])
		VPADDQ(t, pairs[i], pairs[i])
	}
	low, high := YMM(), YMM()
	VPERM2I128(Imm(0x20), pairs[1], pairs[0], low)
	VPERM2I128(Imm(0x31), pairs[1], pairs[0], high)
	VPADDQ(high, low, low)
	return low
}

// widened adds up lanes until four are left, of 64 bits.
func (c *lineared) widened(v, out VecVirtual) {
	if c.regs == 2 {
		x := XMM()
		VEXTRACTI128(Imm(1), v, x)
		VPADDD(v.AsX(), x, x)
		VPMOVSXDQ(x, out)
		return
	}
	y, z, h := YMM(), ZMM(), YMM()
	VEXTRACTI64X4(Imm(1), v, y)
	VPADDD(v.AsY(), y, y)
	VPMOVSXDQ(y, z)
	VEXTRACTI64X4(Imm(1), z, h)
	VPADDQ(z.AsY(), h, out)
}
