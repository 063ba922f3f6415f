package index

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ostraca/retrieval"
	"ostraca/retrieval/kernel"
)

var packedCodecs = []retrieval.Codec{retrieval.Bits4, retrieval.Bits3, retrieval.Bits2, retrieval.Bits1}

// someCodesOf returns codes of n tokens of any codec, of any valid bytes; often of extreme scales.
func someCodesOf(rng *rand.Rand, codec retrieval.Codec, n, width int) retrieval.Codes {
	if codec == retrieval.Int8 {
		return someCodes(rng, n, width)
	}
	row, bits, pool := codec.RowBytes(width), codec.Bits(), codec.Pool(width)
	c := retrieval.Codes{Codec: codec, Width: width, Rows: make([]byte, n*row), Scales: make([]uint16, n), Clusters: make([]byte, n)}
	kind := rng.IntN(3)
	for t := range n {
		c.Scales[t] = []uint16{1, retrieval.MaxScale, uint16(1 + rng.IntN(retrieval.MaxScale))}[kind]
		for i := range width {
			for b := range bits {
				at, shift := bitOf(codec, width, i, b)
				c.Rows[t*row+at] |= byte(rng.IntN(2)) << shift
			}
		}
	}
	for i := range retrieval.Windows(n) {
		from, to, count := retrieval.Window(i, n, pool)
		for t := from; t < to; t++ {
			c.Clusters[t] = byte(rng.IntN(count))
		}
	}
	coarse, sketch := someCodes(rng, retrieval.Clusters(n, pool), width), someCodes(rng, retrieval.Windows(n), width)
	for i := range sketch.Scales {
		sketch.Scales[i] = sketch.Scales[0]
	}
	c.Coarse, c.Sketch = retrieval.Pooled{Rows: coarse.Rows, Scales: coarse.Scales}, retrieval.Pooled{Rows: sketch.Rows, Scales: sketch.Scales}
	return c
}

// allLevels are those of docs/score.md.
var allLevels = map[retrieval.Codec][]int64{
	retrieval.Bits4: {-127, -96, -75, -58, -44, -31, -18, -6, 6, 18, 31, 44, 58, 75, 96, 127},
	retrieval.Bits3: {-127, -79, -45, -14, 14, 45, 79, 127},
	retrieval.Bits2: {-127, -38, 38, 127},
	retrieval.Bits1: {-127, 127},
}

// levelOf returns what the packed code of token j's coordinate i stands for.
func levelOf(c retrieval.Codes, j, i int) int64 {
	row, code := c.Codec.RowBytes(c.Width), 0
	for b := range c.Codec.Bits() {
		at, shift := bitOf(c.Codec, c.Width, i, b)
		code |= int(c.Rows[j*row+at]>>shift&1) << b
	}
	return allLevels[c.Codec][code]
}

// bitOf returns where bit b of coordinate i is: in which byte of a row, and where in that.
func bitOf(codec retrieval.Codec, width, i, b int) (at, shift int) {
	wide, bits, before := (width+7)/8*8, codec.Bits(), 0
	if codec == retrieval.Bits3 { // 2 bits, then 1
		if bits = 2; b == 2 {
			bits, before, b = 1, wide/4, 0
		}
	}
	p := wide * bits / 8
	return before + i%p, i/p*bits + b
}

// coarseOf returns which coarse vector token j of packed codes is the difference from.
func coarseOf(c retrieval.Codes, j int) int {
	first := 0
	for i := range retrieval.Windows(c.Len()) {
		_, to, count := retrieval.Window(i, c.Len(), c.Codec.Pool(c.Width))
		if j < to {
			return first + int(c.Clusters[j])
		}
		first += count
	}
	panic("no such token")
}

// rowScore is the score of query token t and row j of codes of 8 bits.
func rowScore(q *retrieval.Query, t int, rows []byte, scales []uint16, j int) int64 {
	var dot int64
	for i := range q.Width {
		dot += int64(q.Codes[t*q.Width+i]) * (int64(rows[j*retrieval.Stride(q.Width)+i]) - 128)
	}
	return dot << retrieval.Lift(q.Width) * int64(scales[j]) >> 16
}

// packedScore is the score of query token t and token j of packed codes: that of its coarse vector plus that of its difference.
func packedScore(q *retrieval.Query, t int, c retrieval.Codes, j int) int64 {
	var dot int64
	for i := range q.Width {
		dot += int64(q.Codes[t*q.Width+i]) * levelOf(c, j, i)
	}
	return rowScore(q, t, c.Coarse.Rows, c.Coarse.Scales, coarseOf(c, j)) + dot<<retrieval.Lift(q.Width)*int64(c.Scales[j])>>16
}

// unpacked returns token j of packed codes as floats: its coarse vector, and its difference from that.
func unpacked(c retrieval.Codes, j int) (coarse, difference []float64) {
	k := coarseOf(c, j)
	for i := range c.Width {
		code := int(c.Coarse.Rows[k*retrieval.Stride(c.Width)+i]) - 128
		coarse = append(coarse, float64(code)/127*float64(c.Coarse.Scales[k])/retrieval.MaxScale)
		difference = append(difference, float64(levelOf(c, j, i))/127*float64(c.Scales[j])/retrieval.MaxScale)
	}
	return coarse, difference
}

func quantizeBy(t rapid.TB, codec retrieval.Codec, x []float32, width int) retrieval.Codes {
	t.Helper()
	c, err := Quantize(codec, x, width)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// turned returns row j of x, made unit length and rotated.
func turned(t rapid.TB, x []float32, j, width int) []float32 {
	t.Helper()
	out := make([]float32, width)
	if err := unit(out, x[j*width:(j+1)*width]); err != nil {
		t.Fatal(err)
	}
	rotate(out)
	return out
}

// anisotropic returns rows like those of models: a large mean that all share, some coordinates far greater than others, tokens in groups.
func anisotropic(rng *rand.Rand, n, width int) []float32 {
	x, groups := floats(rng, n, width), floats(rng, 5, width)
	for i := range x {
		x[i] = .4*x[i] + groups[i/width%5*width+i%width]
		if i%width%50 == 3 {
			x[i] = 9 + 2*x[i]
		}
	}
	return x
}

// What is lost is about what the levels lose of a normal distribution: their share of the squared difference from the coarse vector.
func TestPackedErrorBound(t *testing.T) {
	lost := map[retrieval.Codec]float64{retrieval.Bits4: .00955, retrieval.Bits3: .0346, retrieval.Bits2: .1176, retrieval.Bits1: .3634} // 1 - 2/pi for 1 bit; Max 1960, table 1
	for name, draw := range map[string]func(*rand.Rand, int, int) []float32{"random": floats, "anisotropic": anisotropic} {
		for codec, share := range lost {
			for _, width := range []int{96, 128, 384, 500} {
				const n = 100
				x := draw(rand.New(rand.NewPCG(1, 2)), n, width)
				c := quantizeBy(t, codec, x, width)
				var all, left float64
				for j := range n {
					var whole, off float64
					coarse, difference := unpacked(c, j)
					for i, v := range turned(t, x, j, width) {
						d := float64(v) - coarse[i]
						whole += d * d
						off += (d - difference[i]) * (d - difference[i])
					}
					all, left = all+whole, left+off
					if off > 2.5*share*whole {
						t.Errorf("%s, %s, width %d: token %d loses %.4f", name, codec, width, j, off/whole)
					}
				}
				if left > 1.08*share*all {
					t.Errorf("%s, %s, width %d: %.5f are lost, not %.5f", name, codec, width, left/all, share)
				}
			}
		}
	}
}

// No row loses more than it is away from its coarse vector, whatever it is, and the codes are valid.
func TestPackedRowsAreNoWorseThanCoarse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		codec := rapid.SampledFrom(packedCodecs).Draw(t, "codec")
		width, n := rapid.IntRange(1, 70).Draw(t, "width"), rapid.IntRange(0, 20).Draw(t, "tokens")
		x := rapid.SliceOfN(rapid.Float32Range(-1e30, 1e30), n*width, n*width).Draw(t, "x")
		for j := range n {
			if x[j*width] += 1; x[j*width] == 0 { // so that no row is zero
				x[j*width] = 1
			}
		}
		c := quantizeBy(t, codec, x, width)
		d := retrieval.Document{ID: "a", Codes: c}
		if err := d.Validate(width); err != nil || c.Len() != n || !c.Pooled() {
			t.Fatalf("%d tokens: %v", c.Len(), err)
		}
		for j := range n {
			var whole, off float64
			coarse, difference := unpacked(c, j)
			for i, v := range turned(t, x, j, width) {
				d := float64(v) - coarse[i]
				whole += d * d
				off += (d - difference[i]) * (d - difference[i])
			}
			if math.Sqrt(off) > math.Sqrt(whole)+math.Sqrt(float64(width))/retrieval.MaxScale {
				t.Fatalf("token %d is off by %v, its coarse vector by %v", j, math.Sqrt(off), math.Sqrt(whole))
			}
		}
	})
}

// A rotation keeps lengths and angles, and spreads what stood out.
func TestRotate(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, width := range []int{1, 2, 3, 7, 96, 128, 384, 1000, retrieval.MaxWidth} {
		a, b := floats(rng, 1, width), floats(rng, 1, width)
		before := cosine(a, b)
		length := cosine(a, a) * norm(a)
		rotate(a)
		rotate(b)
		if e := math.Abs(cosine(a, b) - before); e > 1e-5 {
			t.Errorf("width %d: a cosine changed by %v", width, e)
		}
		if e := math.Abs(norm(a)/length - 1); e > 1e-5 {
			t.Errorf("width %d: a length changed by %v", width, e)
		}
		worst := float32(0)
		for i := range width {
			one := make([]float32, width)
			one[i] = 1
			rotate(one)
			worst = max(worst, largest(one))
		}
		if limit := 6 / math.Sqrt(float64(width)); width > 90 && float64(worst) > limit {
			t.Errorf("width %d: a coordinate still has %v, more than %v", width, worst, limit)
		}
	}
}

func norm(x []float32) float64 {
	var squares float64
	for _, v := range x {
		squares += float64(v) * float64(v)
	}
	return math.Sqrt(squares)
}

// pinnedCodes are hashes of the codes, pooled vectors and query codes of given vectors: the same on every CPU and in every version of the code, for
// shards hold them.
var pinnedCodes = map[string]uint64{
	"int8/1": 0x7cb953d47d940d00, "int8/7": 0x6af2768834b55e67, "int8/96": 0x4d241af624584b1f, "int8/384": 0x77ad1b6256016cb7, "int8/1024": 0x9805fc0df4f09a43,
	"4bit/1": 0xd18b684027952a8f, "4bit/7": 0x9ca574b636a4cd1, "4bit/96": 0xf5f7e7e1682ddabe, "4bit/384": 0xbf76380ff1d4c66e, "4bit/1024": 0x3fa057cd50ff6b5d,
	"3bit/1": 0x50f03c00ac73a8ef, "3bit/7": 0x39cb15c689febef4, "3bit/96": 0x66aaead308c6e92a, "3bit/384": 0xc0a065fbcd4094b9, "3bit/1024": 0xa79774373f8112e2,
	"2bit/1": 0x99d7a4d30b00e44f, "2bit/7": 0x65ea2cd53b5669ef, "2bit/96": 0x686778497536c59c, "2bit/384": 0xe2e0b3c249e27134, "2bit/1024": 0xeb73a33530a01a6d,
	"1bit/1": 0x830f5c64211047af, "1bit/7": 0x4e6e554c6bf53825, "1bit/96": 0x7557f351491c8974, "1bit/384": 0x87d01261df36c2f7, "1bit/1024": 0x3e4ee0c2a36e1abb,
}

func TestCodesOfAllCodecsArePinned(t *testing.T) {
	for _, codec := range retrieval.Codecs {
		for _, width := range []int{1, 7, 96, 384, 1024} {
			rng, h := rand.New(rand.NewPCG(3, uint64(width))), fnv.New64a()
			for _, n := range []int{1, 20, 300} { // 300 tokens are two windows
				if n*width > 120_000 {
					continue
				}
				x := make([]float32, n*width)
				for i := range x { // integers of 24 bits, so that nothing but our own code rounds
					x[i] = float32(rng.IntN(1<<24) - 1<<23)
				}
				c := Pool(quantizeBy(t, codec, x, width))
				if again := Pool(quantizeBy(t, codec, x, width)); !reflect.DeepEqual(c, again) {
					t.Fatalf("%s, width %d: the same vectors have two codes", codec, width)
				}
				q, err := QuantizeQuery(codec, x, width, nil, 1)
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprint(h, c.Rows, c.Scales, c.Clusters, c.Coarse, c.Sketch, q.Codes, math.Float32bits(q.Max))
			}
			if name := fmt.Sprintf("%s/%d", codec, width); h.Sum64() != pinnedCodes[name] {
				t.Errorf("%q: %#x,", name, h.Sum64())
			}
		}
	}
}

// MaxSim of packed codes is their decoding in plain integers, by every kernel, over windows and whatever the row's padding.
func TestPackedMaxSim(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for _, set := range kernel.All() {
		for _, codec := range retrieval.Codecs {
			for _, width := range []int{1, 3, 8, 12, 50, 96, 384} {
				for _, n := range []int{1, 2, 49, 256, 257, 700} {
					if n*width > 20_000 {
						continue
					}
					q := someQuery(rng, 1+rng.IntN(20), width, 1)
					q.Codec = codec
					c := someCodesOf(rng, codec, n, width)
					s := newScan(q, set)
					s.meet(c)
					got := slices.Repeat([]retrieval.Alignment{{}}, q.Len())
					s.align(got)
					if want := (model{"a": {ID: "a", Codes: c}}).search(q).Hits[0]; !slices.Equal(got, want.Alignments) || s.sum() != want.Sum {
						t.Fatalf("%s, %s, %d x %d: %v, want %v", set.Name(), codec, n, width, got, want.Alignments)
					}
				}
			}
		}
	}
}

// Documents of no token, one, more than a window and as many as there may be are found by all codecs as the formula says.
func TestDocumentsOfAllLengths(t *testing.T) {
	const width = 8
	for _, codec := range retrieval.Codecs {
		rng := rand.New(rand.NewPCG(6, 6))
		x, held := newIndex(t, width, Options{Codec: codec}), model{}
		for _, n := range []int{0, 1, 255, 256, 257, 512, 513, retrieval.MaxDocumentTokens} {
			c := Pool(quantizeBy(t, codec, anisotropic(rng, n, width), width))
			if c.Sketch.Len() != (n+255)/256 || c.Coarse.Len() < n/8 || c.Coarse.Len() > n/8+c.Sketch.Len() {
				t.Fatalf("%s: %d sketch and %d coarse vectors of %d tokens", codec, c.Sketch.Len(), c.Coarse.Len(), n)
			}
			d := retrieval.Document{ID: fmt.Sprint("n", n), Codes: c}
			held[d.ID] = d
			put(t, x, d)
		}
		q, err := QuantizeQuery(codec, anisotropic(rng, 5, width), width, nil, 20)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := search(t, x, q), held.search(q); !reflect.DeepEqual(got.Hits, want.Hits) {
			t.Fatalf("%s:\n%v\n%v", codec, got.Hits, want.Hits)
		}
		long := retrieval.Document{ID: "long", Codes: someCodesOf(rng, codec, retrieval.MaxDocumentTokens+1, width)}
		if x.Put([]retrieval.Document{long}) == nil {
			t.Fatal("a document of too many tokens was taken")
		}
	}
}
