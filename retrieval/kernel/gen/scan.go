package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// scans writes the scan over small documents: the product of gemms, with the maximum over a document's rows kept in registers.
func scans() {
	for _, panels := range []int{1, 2} {
		scan(scanShape{gemmShape{name: "scanVNNI", panels: panels, wide: true, dot: dotVNNI8}, 12})
	}
	scan(scanShape{gemmShape{name: "scanAVX2", panels: 1, dot: dotAVX2}, 4})
}

type scanShape struct {
	gemmShape
	most int // rows a block at most; every number below has a block of its own
}

// scanner holds what a scan keeps in registers from one block of rows to the next.
type scanner struct {
	scanShape
	a, left  Register   // the next row, and the rows left
	multiple []Register // the stride times 1, 3, 5, 7, where such rows exist
	ldb      Register
	top      []VecVirtual // the maximum so far

	fetch, last Mem      // what is fetched next, and the end of it
	fetched     Register // where a block's fetching has come to

	begin, end func(acc [][]VecVirtual) // what a block does before and after its products
	fetcher    func(rows int) func()    // before the products; what it returns is done at every second step
}

func newScanner(s scanShape) *scanner {
	c := &scanner{scanShape: s, a: GP64(), left: GP64()}
	if s.panels > 1 {
		c.ldb = gp("ldb")
	}
	c.multiple = append(c.multiple, gp("stride"))
	for i := 3; i < s.most; i += 2 {
		m := GP64()
		LEAQ(Mem{Base: c.multiple[len(c.multiple)-1], Index: c.multiple[0], Scale: 2}, m)
		c.multiple = append(c.multiple, m)
	}
	return c
}

// scan adds to each of n sums the weighted maxima of one document, less bias; spans has its first row and the row behind its last, step bytes after those of the
// document before. With next, the rows of the document whose span is next bytes further on are fetched, else those ahead bytes further on.
func scan(s scanShape) {
	TEXT(fmt.Sprintf("%sx%d", s.name, s.panels), NOSPLIT,
		"func(sums *int64, rows *byte, spans *int32, n int, step int, stride int, b *byte, ldb int, weights *int32, bias int64, ahead int, next int)")
	Pragma("noescape")
	c := newScanner(s)
	c.top, c.begin, c.fetcher, c.end = s.row(), zero, c.other, c.maximum
	if s.wide {
		c.fetch, c.last = AllocLocal(8), AllocLocal(8)
	}
	spans := gp("spans")
	Label("document")
	MOVLQSX(Mem{Base: spans}, c.a)
	MOVLQSX(Mem{Base: spans, Disp: 4}, c.left)
	SUBQ(c.a, c.left)
	JLE(LabelRef("done"))
	IMULQ(c.multiple[0], c.a)
	ADDQ(argument("rows"), c.a)
	if s.wide {
		c.later(spans)
	}
	for _, v := range c.top {
		s.move(i32(-1<<31), v)
	}
	c.blocks()
	if s.wide {
		c.rest()
	}
	x, sum, sums := c.sum(), GP64(), gp("sums")
	VMOVQ(x, sum)
	SUBQ(argument("bias"), sum)
	ADDQ(sum, Mem{Base: sums})
	Label("done")
	ADDQ(Imm(8), argument("sums"))
	ADDQ(argument("step"), spans)
	DECQ(argument("n"))
	JNZ(LabelRef("document"))
	VZEROUPPER()
	RET()
}

// row returns the registers of one row's dot products.
func (s scanShape) row() []VecVirtual {
	n := s.panels
	if !s.wide {
		n *= 2
	}
	v := make([]VecVirtual, n)
	for i := range v {
		v[i] = s.register()
	}
	return v
}

func (s scanShape) move(src, dst Op) {
	if s.wide {
		VMOVDQU32(src, dst)
	} else {
		VMOVDQU(src, dst)
	}
}

// later decides what is fetched while a document is scored: the rows of a later one, or what lies ahead, without an end.
func (c *scanner) later(spans Register) {
	next, at, end := GP64(), GP64(), GP64()
	MOVQ(argument("next"), next)
	TESTQ(next, next)
	JZ(LabelRef("ahead"))
	MOVLQSX(Mem{Base: spans, Index: next, Scale: 1}, at)
	MOVLQSX(Mem{Base: spans, Index: next, Scale: 1, Disp: 4}, end)
	IMULQ(c.multiple[0], at)
	IMULQ(c.multiple[0], end)
	ADDQ(argument("rows"), at)
	ADDQ(argument("rows"), end)
	MOVQ(at, c.fetch)
	MOVQ(end, c.last)
	JMP(LabelRef("decided"))
	Label("ahead")
	MOVQ(argument("ahead"), at)
	ADDQ(c.a, at)
	MOVQ(at, c.fetch)
	MOVQ(I32(-1), at)
	MOVQ(at, c.last)
	Label("decided")
}

// rest fetches what is left of a later document that is longer than this one, but for what the hardware finds by itself.
func (c *scanner) rest() {
	const most = 4096
	at, end, limit := GP64(), GP64(), GP64()
	MOVQ(argument("next"), at)
	TESTQ(at, at)
	JZ(LabelRef("fetched"))
	MOVQ(c.fetch, at)
	MOVQ(c.last, end)
	LEAQ(Mem{Base: at, Disp: most}, limit)
	CMPQ(end, limit)
	CMOVQHI(limit, end)
	JMP(LabelRef("more"))
	Label("fetch")
	PREFETCHT0(Mem{Base: at})
	ADDQ(Imm(64), at)
	Label("more")
	CMPQ(at, end)
	JCS(LabelRef("fetch"))
	Label("fetched")
}

// blocks takes all rows that are left: blocks of the most rows, then two of about the same size.
func (c *scanner) blocks() {
	rows := GP64()
	Label("next")
	CMPQ(c.left, Imm(uint64(2*c.most)))
	JGE(LabelRef(blockLabel(c.most)))
	MOVQ(c.left, rows)
	CMPQ(c.left, Imm(uint64(c.most)))
	JLE(LabelRef("rest"))
	INCQ(rows)
	SHRQ(Imm(1), rows)
	Label("rest")
	c.choose(rows, 1, c.most)
	for n := c.most; n >= 1; n-- {
		Label(blockLabel(n))
		c.block(n)
		SUBQ(Imm(uint64(n)), c.left)
		if n > 1 {
			JNZ(LabelRef("next"))
			JMP(LabelRef("sum"))
		}
	}
	JNZ(LabelRef("next"))
	Label("sum")
}

func blockLabel(rows int) string { return fmt.Sprintf("block%d", rows) }

// choose jumps to the block of so many rows, by halving.
func (c *scanner) choose(rows Register, lo, hi int) {
	if lo == hi {
		JMP(LabelRef(blockLabel(lo)))
		return
	}
	mid := (lo + hi + 1) / 2
	CMPQ(rows, Imm(uint64(mid)))
	if mid == hi {
		JGE(LabelRef(blockLabel(hi)))
	} else {
		JGE(LabelRef(fmt.Sprintf("from%d", mid)))
	}
	c.choose(rows, lo, mid-1)
	if mid != hi {
		Label(fmt.Sprintf("from%d", mid))
		c.choose(rows, mid, hi)
	}
}

// times returns base + n strides + disp.
func (c *scanner) times(base Register, n, disp int) Mem {
	m := Mem{Base: base, Disp: disp}
	if n == 0 {
		return m
	}
	scale := 1
	for n%2 == 0 {
		n, scale = n/2, scale*2
	}
	m.Index, m.Scale = c.multiple[n/2], uint8(scale)
	return m
}

// block multiplies some rows; two steps of 4 bytes at a time, and one more where the stride is odd.
func (c *scanner) block(rows int) {
	label := func(n string) string { return fmt.Sprintf("%s%d", n, rows) }
	acc := make([][]VecVirtual, rows)
	for r := range acc {
		acc[r] = c.row()
	}
	c.begin(acc)
	at, bp, k := GP64(), GP64(), GP64()
	MOVQ(c.a, at)
	MOVQ(argument("b"), bp)
	fetch := c.fetcher(rows)
	MOVQ(c.multiple[0], k)
	SHRQ(Imm(3), k)
	JZ(LabelRef(label("odd")))
	Label(label("k"))
	c.step(acc, at, bp, 0)
	c.step(acc, at, bp, 1)
	fetch()
	ADDQ(Imm(128), bp)
	ADDQ(Imm(8), at)
	DECQ(k)
	JNZ(LabelRef(label("k")))
	TESTQ(U32(4), c.multiple[0])
	JZ(LabelRef(label("max")))
	Label(label("odd"))
	c.step(acc, at, bp, 0)
	Label(label("max"))
	c.end(acc)
	LEAQ(c.times(c.a, rows, 0), c.a)
}

// step multiplies 4 bytes of every row by the panels, i steps from where the pointers are.
func (c *scanner) step(acc [][]VecVirtual, at, bp Register, i int) {
	bv, av, tmp := c.row(), c.register(), c.register()
	for p := range bv {
		m := Mem{Base: bp, Disp: 64*i + 32*p}
		if c.wide {
			m.Disp = 64 * i
			if p == 1 {
				m.Index, m.Scale = c.ldb, 1
			}
		}
		c.move(m, bv[p])
	}
	for r := range acc {
		VPBROADCASTD(c.times(at, r, 4*i), av)
		for p := range bv {
			c.dot(av, bv[p], acc[r][p], tmp)
		}
	}
}

// other fetches as many bytes as a block of a scan takes, going on where the block before ended, but beginning at the last place at most.
func (c *scanner) other(rows int) func() {
	if !c.wide {
		return func() {}
	}
	at := GP64()
	MOVQ(c.fetch, at)
	CMPQ(at, c.last)
	CMOVQHI(c.last, at)
	c.fetched = at
	return func() {
		PREFETCHT0(Mem{Base: at})
		ADDQ(Imm(uint64(8*rows)), at)
	}
}

// zero is the begin of a scan.
func zero(acc [][]VecVirtual) {
	for _, row := range acc {
		for _, v := range row {
			VXORPS(v, v, v)
		}
	}
}

// maximum is the end of a scan's block, in pairs, so that they wait less for each other.
func (c *scanner) maximum(acc [][]VecVirtual) {
	if c.wide {
		MOVQ(c.fetched, c.fetch)
	}
	for n := len(acc); n > 1; n = (n + 1) / 2 {
		for r := range n / 2 {
			for p := range c.top {
				VPMAXSD(acc[n-1-r][p], acc[r][p], acc[r][p])
			}
		}
	}
	for p, v := range acc[0] {
		VPMAXSD(v, c.top[p], c.top[p])
	}
}

// sum is the weighted sum of the maxima, 64 bits in the low lane: products of even lanes, then of odd ones.
func (c *scanner) sum() VecVirtual {
	weights, w, even, odd, total := GP64(), c.register(), c.register(), c.register(), c.register()
	MOVQ(argument("weights"), weights)
	VXORPS(total, total, total)
	size := 32
	if c.wide {
		size = 64
	}
	for p, v := range c.top {
		c.move(Mem{Base: weights, Disp: size * p}, w)
		VPMULDQ(w, v, even)
		VPSRLQ(Imm(32), w, w)
		VPSRLQ(Imm(32), v, odd)
		VPMULDQ(w, odd, odd)
		VPADDQ(even, total, total)
		VPADDQ(odd, total, total)
	}
	y := total
	if c.wide {
		y = YMM()
		VEXTRACTI64X4(Imm(1), total, y)
		VPADDQ(total.AsY(), y, y)
	}
	x, t := XMM(), XMM()
	VEXTRACTI128(Imm(1), y, x)
	VPADDQ(y.AsX(), x, x)
	VPSHUFD(Imm(0x4e), x, t)
	VPADDQ(t, x, x)
	return x
}

// prefetch asks for n bytes.
func prefetch() {
	TEXT("prefetchT0", NOSPLIT, "func(p *byte, n int)")
	Pragma("noescape")
	p, end := gp("p"), gp("n")
	ADDQ(p, end)
	ANDQ(I8(-64), p)
	Label("line")
	PREFETCHT0(Mem{Base: p})
	ADDQ(Imm(64), p)
	CMPQ(p, end)
	JLT(LabelRef("line"))
	RET()
}

// busy multiplies n times 12 vectors with nothing to wait for: the most that this core can do, for benchmarks to compare with.
func busy(s gemmShape) {
	TEXT(s.name, NOSPLIT, "func(n int)")
	n, acc, a, tmp := gp("n"), make([]VecVirtual, 12), s.register(), s.register()
	VXORPS(a, a, a)
	for i := range acc {
		acc[i] = s.register()
		VXORPS(acc[i], acc[i], acc[i])
	}
	loop("step", n, func() {
		for i := range acc {
			s.dot(a, a, acc[i], tmp)
		}
	})
	VZEROUPPER()
	RET()
}
