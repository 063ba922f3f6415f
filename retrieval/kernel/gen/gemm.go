package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// gemms writes the matrix products. All read the same packed layout: panels of 16 columns, [k/4][16][4] bytes or [k/2][16][2]
// 16-bit integers, so that 4 bytes of a row, broadcast, meet one vector of a panel. Two panels at a time on 512 bits.
func gemms() {
	for _, panels := range []int{1, 2} {
		gemm(gemmShape{name: "gemm8VNNI", panels: panels, blocks: []int{12, 8, 4, 3, 2, 1}, wide: true, fetch: true, dot: dotVNNI8})
		gemm(gemmShape{name: "gemm16VNNI", panels: panels, blocks: []int{12, 8, 4, 3, 2, 1}, wide: true, dot: dotVNNI16})
	}
	gemm(gemmShape{name: "gemm16AVX2", panels: 1, blocks: []int{6, 2, 1}, dot: dotAVX2})
}

type gemmShape struct {
	name   string
	panels int   // panels of 16 columns per call
	blocks []int // rows per register block, tried in turn
	wide   bool
	fetch  bool                            // the panels behind these are fetched meanwhile: a model's weights come from beyond the second-level cache
	dot    func(a, b, acc, tmp VecVirtual) // acc += a . b
}

func dotVNNI8(a, b, acc, _ VecVirtual)  { VPDPBUSD(b, a, acc) }
func dotVNNI16(a, b, acc, _ VecVirtual) { VPDPWSSD(b, a, acc) }
func dotAVX2(a, b, acc, tmp VecVirtual) {
	VPMADDWD(b, a, tmp)
	VPADDD(tmp, acc, acc)
}

// gemm writes c[m][16*panels] = a[m][k] . b, k counted in groups of 4 bytes; ldc, lda and ldb (from one panel to the next) in bytes.
func gemm(s gemmShape) {
	TEXT(fmt.Sprintf("%sx%d", s.name, s.panels), NOSPLIT, "func(c *int32, ldc int, a *byte, lda int, b *byte, ldb int, k int, m int)")
	Pragma("noescape")
	c, a, lda, b, ldb, m := gp("c"), gp("a"), gp("lda"), gp("b"), gp("ldb"), gp("m")
	ldc, k := argument("ldc"), argument("k") // left on the stack: registers are scarce
	vectors := s.panels                      // registers a row of the block needs
	if !s.wide {
		vectors *= 2
	}
	for _, rows := range s.blocks {
		label := func(n string) string { return fmt.Sprintf("%s%d", n, rows) }
		Label(label("block"))
		CMPQ(m, Imm(uint64(rows)))
		JLT(LabelRef(label("end")))
		acc := make([]vec, rows)
		for r := range acc {
			acc[r] = make(vec, vectors)
			for i := range acc[r] {
				acc[r][i] = s.register()
				VXORPS(acc[r][i], acc[r][i], acc[r][i])
			}
		}
		base := rowPointers(a, lda, rows)
		bp, kk := GP64(), GP64()
		MOVQ(b, bp)
		MOVQ(k, kk)
		bv, av, tmp := make(vec, vectors), s.register(), s.register()
		for i := range bv {
			bv[i] = s.register()
		}
		var next []Register // line k of the panels behind these
		if s.fetch && rows >= 8 {
			next = []Register{GP64(), GP64()}[:s.panels]
			LEAQ(Mem{Base: b, Index: ldb, Scale: uint8(s.panels)}, next[0])
			if len(next) > 1 {
				LEAQ(Mem{Base: next[0], Index: ldb, Scale: 1}, next[1])
			}
		}
		Label(label("k"))
		for i := range bv {
			s.loadPanel(bp, ldb, i, bv[i])
		}
		for r := range acc {
			VPBROADCASTD(base.row(r, lda), av)
			for i := range bv {
				s.dot(av, bv[i], acc[r][i], tmp)
			}
		}
		for _, n := range next {
			PREFETCHT0(Mem{Base: n})
			ADDQ(Imm(64), n)
		}
		ADDQ(Imm(64), bp)
		base.advance(4)
		DECQ(kk)
		JNZ(LabelRef(label("k")))
		for r := range acc {
			for i := range acc[r] {
				s.store(acc[r][i], c, i)
			}
			ADDQ(ldc, c)
		}
		for range rows {
			ADDQ(lda, a)
		}
		SUBQ(Imm(uint64(rows)), m)
		JMP(LabelRef(label("block")))
		Label(label("end"))
	}
	VZEROUPPER()
	RET()
}

func (s gemmShape) register() VecVirtual {
	if s.wide {
		return ZMM()
	}
	return YMM()
}

func (s gemmShape) loadPanel(bp Register, ldb Register, i int, dst VecVirtual) {
	switch {
	case !s.wide:
		VMOVDQU(Mem{Base: bp, Disp: 32 * i}, dst)
	case i == 0:
		VMOVDQU32(Mem{Base: bp}, dst)
	default:
		VMOVDQU32(Mem{Base: bp, Index: ldb, Scale: 1}, dst)
	}
}

func (s gemmShape) store(v VecVirtual, c Register, i int) {
	if s.wide {
		VMOVDQU32(v, Mem{Base: c, Disp: 64 * i})
	} else {
		VMOVDQU(v, Mem{Base: c, Disp: 32 * i})
	}
}

// pointers address the rows of a block: one register for three rows.
type pointers []GPVirtual

func rowPointers(a, lda Register, rows int) pointers {
	p := make(pointers, (rows+2)/3)
	for i := range p {
		p[i] = GP64()
		if i == 0 {
			MOVQ(a, p[0])
			continue
		}
		LEAQ(Mem{Base: p[i-1], Index: lda, Scale: 2}, p[i])
		ADDQ(lda, p[i])
	}
	return p
}

func (p pointers) row(r int, lda Register) Mem {
	m := Mem{Base: p[r/3]}
	if r%3 > 0 {
		m.Index, m.Scale = lda, uint8(r%3)
	}
	return m
}

func (p pointers) advance(n uint64) {
	for i := range p {
		ADDQ(Imm(n), p[i])
	}
}
