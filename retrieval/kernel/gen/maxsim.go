package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// maxsims writes MaxSim over one document: the product of the scan, whose blocks end by the fold of docs/score.md. The fold costs about a quarter of the
// product at width 128 if it runs by itself; here it needs half as many instructions, as the sums are in registers, begin at -bias, and share a row's scale.
func maxsims() {
	for _, panels := range []int{1, 2} {
		maxsim(scanShape{gemmShape{name: "maxsimVNNI", panels: panels, wide: true, dot: dotVNNI8}, 12}, false)
		maxsim(scanShape{gemmShape{name: "residualVNNI", panels: panels, wide: true, dot: dotVNNI8}, 12}, true)
	}
}

// based are the arguments of a fold whose scores begin from others: those of coarse vectors, ldbase bytes apart, of which clusters says which is a row's.
const based = ", base *int32, ldbase int, clusters *byte"

// folder is what the blocks of maxsim need besides the scanner's registers.
type folder struct {
	*scanner
	bias   Mem // negated, a vector a panel
	rate   Mem // bytes that a block fetches at every second step
	lo, hi Mem // the scales of a block's rows, 32 bits each, and the same 16 bits further up
	base   bool
}

func maxsim(s scanShape, base bool) {
	arguments := "best *int32, pos *int32, rows *byte, n int, stride int, b *byte, ldb int, bias *int32, scales *uint16, lift int, first int, fetch *byte, last *byte, rate int"
	if base {
		arguments += based
	}
	TEXT(fmt.Sprintf("%sx%d", s.name, s.panels), NOSPLIT, "func("+arguments+")")
	Pragma("noescape")
	f := folder{scanner: newScanner(s), bias: AllocLocal(128), rate: AllocLocal(8), lo: AllocLocal(64), hi: AllocLocal(64), base: base}
	f.begin, f.fetcher, f.end = f.start, f.other, f.fold
	bias := gp("bias")
	for p := range s.panels {
		v := s.register()
		VXORPS(v, v, v)
		VPSUBD(Mem{Base: bias, Disp: 64 * p}, v, v)
		s.move(v, f.bias.Offset(64*p))
	}
	MOVQ(argument("rows"), f.a)
	MOVQ(argument("n"), f.left)
	f.blocks()
	VZEROUPPER()
	RET()
}

// start begins every sum at -bias, and spreads the scales.
func (f *folder) start(acc [][]VecVirtual) {
	for p, v := range acc[0] {
		f.move(f.bias.Offset(64*p), v)
		for _, row := range acc[1:] {
			VMOVDQA32(v, row[p])
		}
	}
	scales, mask, bits, v := gp("scales"), K(), GP32(), f.register()
	MOVL(U32(1<<len(acc)-1), bits)
	KMOVW(bits, mask)
	VPMOVZXWD_Z(Mem{Base: scales}, mask, v)
	f.move(v, f.lo)
	VPSLLD(Imm(16), v, v)
	f.move(v, f.hi)
	ADDQ(Imm(uint64(2*len(acc))), scales)
	MOVQ(scales, argument("scales"))
}

// other fetches rows of the same document or of another, going on where the block before ended, but beginning at the last place at most.
func (f *folder) other(rows int) func() {
	at, rate := gp("fetch"), gp("rate")
	CMPQ(at, argument("last"))
	CMOVQHI(argument("last"), at)
	IMUL3Q(Imm(uint64(rows)), rate, rate)
	MOVQ(rate, f.rate)
	f.fetched = at
	return func() {
		PREFETCHT0(Mem{Base: at})
		ADDQ(f.rate, at)
	}
}

// fold takes sums into best and pos, row by row.
func (f *folder) fold(acc [][]VecVirtual) {
	MOVQ(f.fetched, argument("fetch"))
	best, pos, lift, row := f.row(), f.row(), f.register(), gp("first")
	f.bests(best, pos, f.move)
	VPBROADCASTD(argument("lift"), lift)
	begin := func(int) Mem { return Mem{} }
	if f.base {
		begin = f.begins(len(acc))
	}
	scale, score := f.register(), f.register()
	for r := range acc {
		VPBROADCASTD(f.lo.Offset(4*r), scale)
		from := begin(r)
		for p, x := range acc[r] {
			pairScore(x, lift, scale, f.hi.Offset(4*r), score)
			if f.base {
				VPADDD(from.Offset(64*p), score, score)
			}
			higher := K()
			VPCMPGTD(best[p], score, higher)
			VPBROADCASTD(row.(GPVirtual).As32(), higher, pos[p])
			VPMAXSD(score, best[p], best[p])
		}
		INCQ(row)
	}
	MOVQ(row, argument("first"))
	f.bests(best, pos, func(memory, v Op) { f.move(v, memory) })
}

// bests does something with best and pos, and with where they lie between blocks.
func (f *folder) bests(best, pos []VecVirtual, do func(memory, v Op)) {
	bp, pp := gp("best"), gp("pos")
	for p := range best {
		do(Mem{Base: bp, Disp: 64 * p}, best[p])
		do(Mem{Base: pp, Disp: 64 * p}, pos[p])
	}
}

// begins returns what says where the scores lie that a row's begin from.
func (f *folder) begins(rows int) func(row int) Mem {
	base, clusters, at := gp("base"), gp("clusters"), GP64()
	ADDQ(Imm(uint64(rows)), clusters)
	MOVQ(clusters, argument("clusters"))
	return func(row int) Mem {
		MOVBQZX(Mem{Base: clusters, Disp: row - rows}, at)
		IMULQ(argument("ldbase"), at)
		return Mem{Base: base, Index: at, Scale: 1}
	}
}
