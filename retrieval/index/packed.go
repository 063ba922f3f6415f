package index

import (
	"math"
	"math/bits"

	"ostraca/retrieval"
	"ostraca/retrieval/kernel"
)

// levels are what the codes of a packed codec stand for, the rising half of them: the values that lose least of a normal distribution (Lloyd 1982, Max
// 1960), in units of a 127th of the greatest. docs/score.md.
var levels = map[retrieval.Codec][]int8{
	retrieval.Bits4: {6, 18, 31, 44, 58, 75, 96, 127},
	retrieval.Bits3: {14, 45, 79, 127},
	retrieval.Bits2: {38, 127},
	retrieval.Bits1: {127},
}

// greatest is how many standard deviations the greatest level stands for.
var greatest = map[retrieval.Codec]float32{retrieval.Bits4: 2.7326, retrieval.Bits3: 2.1520, retrieval.Bits2: 1.5104, retrieval.Bits1: 0.7979}

// tables are the bytes of all codes, as a matrix product takes them: level + 128. Codes rise with their levels.
var tables = func() map[retrieval.Codec]*kernel.Table {
	out := map[retrieval.Codec]*kernel.Table{}
	for codec, half := range levels {
		t, n := new(kernel.Table), len(half)
		for i, v := range half {
			t[n+i], t[n-1-i] = byte(128+int(v)), byte(128-int(v))
		}
		out[codec] = t
	}
	return out
}()

// packer makes packed rows.
type packer struct {
	parts  []int // bits of a code in each part of a row
	half   []int8
	sigmas float32   // of the greatest level
	limits []float32 // between the levels of the half, in the same units
}

func newPacker(codec retrieval.Codec) *packer {
	p := &packer{parts: codec.Parts(), half: levels[codec], sigmas: greatest[codec]}
	for i := 1; i < len(p.half); i++ {
		p.limits = append(p.limits, float32(int(p.half[i-1])+int(p.half[i]))/2)
	}
	return p
}

// quantizePacked makes packed codes of unit vectors, rows of width floats, which it overwrites: rotated, clustered by what 8 bits keep of them, and of each token
// the difference from its cluster's coarse vector, as that is stored.
func quantizePacked(codec retrieval.Codec, x []float32, width int) retrieval.Codes {
	n, bytes := len(x)/width, codec.RowBytes(width)
	for t := range n {
		rotate(x[t*width : (t+1)*width])
	}
	c := retrieval.Codes{Codec: codec, Width: width, Rows: make([]byte, n*bytes), Scales: make([]uint16, n)}
	every := codec.Pool(width)
	c.Coarse, c.Sketch, c.Clusters = pool(quantize8(x, width), every)
	p, first := newPacker(codec), 0
	for i := range retrieval.Windows(n) {
		from, to, count := retrieval.Window(i, n, every)
		for t := from; t < to; t++ {
			v := x[t*width : (t+1)*width]
			subtract(v, c.Coarse, first+int(c.Clusters[t]))
			c.Scales[t] = p.pack(c.Rows[t*bytes:(t+1)*bytes], v)
		}
		first += count
	}
	return c
}

// subtract takes the pooled vector i from x.
func subtract(x []float32, p retrieval.Pooled, i int) {
	unit := float32(unitOf(p.Scales[i]))
	row := p.Rows[i*retrieval.Stride(len(x)):]
	for j := range x {
		x[j] -= float32(float32(int(row[j])-128) * unit)
	}
}

// pack writes the codes of x and returns their scale, both so that the decoded vector is nearest to x (least squares): in turn, codes for a scale, and
// the scale that fits them best.
func (p *packer) pack(row []byte, x []float32) uint16 {
	var squares float64
	for _, v := range x {
		squares += float64(float64(v) * float64(v))
	}
	clear(row)
	if squares == 0 {
		return 1
	}
	step := p.fit(x, max(leastStep, float32(127/(float64(p.sigmas)*math.Sqrt(squares/float64(len(x))))))) // levels a unit of x
	step = p.fit(x, step)
	wide := retrieval.PackedStride(len(x))
	for i, v := range x {
		code, part := p.code(float32(v*step)), row
		for _, bits := range p.parts {
			n := wide * bits / 8
			part[i%n] |= byte(code&(1<<bits-1)) << (bits * (i / n))
			code, part = code>>bits, part[n:]
		}
	}
	return scaleOf(127 / float64(p.fit(x, step)))
}

// leastStep is where scales end: the greatest level stands for 1 at most. Only rows of few dimensions would take more.
const leastStep = 127

// fit returns the step that fits best the codes that x has at a step.
func (p *packer) fit(x []float32, step float32) float32 {
	var along, squares float64
	for _, v := range x {
		l := float64(p.level(float32(v * step)))
		along += float64(l * float64(v))
		squares += float64(l * l)
	}
	return max(leastStep, float32(squares/along)) // levels have the signs of x, so this is above 0
}

// level returns the level nearest to v.
func (p *packer) level(v float32) int8 {
	if v < 0 {
		return -p.half[p.nearest(-v)]
	}
	return p.half[p.nearest(v)]
}

// code returns the code of the level nearest to v.
func (p *packer) code(v float32) int {
	if v < 0 {
		return len(p.half) - 1 - p.nearest(-v)
	}
	return len(p.half) + p.nearest(v)
}

// nearest returns which of the upper half's levels is nearest to v, which is not negative; halfway counts up.
func (p *packer) nearest(v float32) int {
	i := 0
	for _, limit := range p.limits {
		if v >= limit {
			i++
		}
	}
	return i
}

// rotations is how often signs are changed and a part is transformed, at most: enough that no coordinate of a real vector stands out. Where the part is
// the whole, twice does.
const rotations = 4

// rotate turns x, in place, by a fixed random rotation, so that its coordinates are about normally distributed whatever it was (Ailon and Chazelle 2006):
// signs by a fixed hash, then a Walsh-Hadamard transform of the first and the last 2^n coordinates in turn. Sums and one product, each rounded by
// itself, in fixed order: the same on every CPU.
func rotate(x []float32) {
	for round := range roundsOf(len(x)) {
		turnSigns(x, round)
		turnPart(x, round)
	}
}

// unrotate turns x back: the steps of rotate in the other order, each its own inverse.
func unrotate(x []float32) {
	for round := roundsOf(len(x)) - 1; round >= 0; round-- {
		turnPart(x, round)
		turnSigns(x, round)
	}
}

// partOf returns the greatest power of two that so many coordinates have room for: that many are transformed at a time.
func partOf(width int) int { return 1 << (bits.Len(uint(width)) - 1) }

// roundsOf returns the number of rounds.
func roundsOf(width int) int {
	if partOf(width) == width {
		return 2
	}
	return rotations
}

// turnSigns changes signs by a round's hash.
func turnSigns(x []float32, round int) {
	for i := range x {
		if sign(round, i) {
			x[i] = -x[i]
		}
	}
}

// turnPart transforms the coordinates of a round, the first or the last ones.
func turnPart(x []float32, round int) {
	size := partOf(len(x))
	unit, turned := float32(1/math.Sqrt(float64(size))), x[:size]
	if round%2 == 1 {
		turned = x[len(x)-size:]
	}
	hadamard(turned)
	for i := range turned {
		turned[i] = float32(turned[i] * unit) // rounded by itself: what follows adds
	}
}

// hadamard transforms x, whose length is a power of two, without scaling.
func hadamard(x []float32) {
	for h := 1; h < len(x); h *= 2 {
		for i := 0; i < len(x); i += 2 * h {
			a, b := x[i:i+h], x[i+h:i+2*h]
			for j, v := range a {
				w := b[j]
				a[j], b[j] = v+w, v-w
			}
		}
	}
}

// signs holds the signs of all rounds, a bit each.
var signs = func() (out [rotations][retrieval.MaxWidth / 64]uint64) {
	state := uint64(0x9e3779b97f4a7c15)
	for r := range out {
		for i := range out[r] { // splitmix64 (Steele, Lea and Flood 2014)
			state += 0x9e3779b97f4a7c15
			z := state
			z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
			z = (z ^ z>>27) * 0x94d049bb133111eb
			out[r][i] = z ^ z>>31
		}
	}
	return out
}()

func sign(round, i int) bool { return signs[round][i/64]>>(i%64)&1 != 0 }
