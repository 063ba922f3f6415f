package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// each runs a test on every variant of this CPU, the Go twin included.
func each(t *testing.T, f func(t *testing.T, s *Set, rng *rand.Rand)) {
	for _, s := range All() {
		t.Run(s.name, func(t *testing.T) { f(t, s, rand.New(rand.NewPCG(1, 2))) })
	}
}

func codes(rng *rand.Rand, n int) []int8 {
	c := make([]int8, n)
	for i := range c {
		c[i] = int8(rng.IntN(255) - 127)
	}
	return c
}

func fill[T any](n int, v T) []T { return slices.Repeat([]T{v}, n) }

func bytesOf(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// dumbGemm8 is the definition.
func dumbGemm8(a []byte, w []int8, m, n, k int) []int32 {
	cols, stride := (n+15)/16*16, (k+3)&^3
	c := make([]int32, m*cols)
	for i := range m {
		for j := range n {
			for x := range k {
				c[i*cols+j] += int32(a[i*stride+x]) * int32(w[j*k+x])
			}
		}
	}
	return c
}

func TestGemm8(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for _, d := range [][3]int{{1, 1, 1}, {1, 16, 16}, {3, 17, 5}, {12, 32, 384}, {13, 48, 384}, {29, 33, 36}, {100, 16, 64}, {101, 100, 130}, {7, 31, 4096}} {
			m, n, k := d[0], d[1], d[2]
			a, w := bytesOf(rng, m*((k+3)&^3)), codes(rng, n*k)
			if m == 7 { // the extremes
				a, w = fill(len(a), byte(255)), fill(len(w), int8(-127))
			}
			p := s.Pack(w, n, k)
			c := fill(m*p.Cols(), int32(12345))
			s.Gemm8(c, a, p, m)
			if want := dumbGemm8(a, w, m, n, k); !slices.Equal(c, want) {
				t.Errorf("%d x %d x %d differs", m, n, k)
			}
		}
	})
}

func TestGemm16(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for _, d := range [][3]int{{1, 1, 2}, {5, 17, 32}, {12, 32, 32}, {31, 48, 64}, {33, 250, 32}, {19, 32, 254}, {4, 32, 1}} {
			m, n, k := d[0], d[1], d[2]
			var w Words
			w.Reset(n, k)
			a, want := make([]int16, m*w.K), make([]int32, m*w.Cols())
			for i := range a {
				a[i] = int16(rng.IntN(8191) - 4095)
			}
			for j := range n {
				for x := range k {
					v := int16(rng.IntN(8191) - 4095)
					w.Data[w.At(j, x)] = v
					for i := range m {
						want[i*w.Cols()+j] += int32(a[i*w.K+x]) * int32(v)
					}
				}
			}
			c := make([]int32, len(want))
			s.Gemm16(c, a, w.K, &w, m)
			if !slices.Equal(c, want) {
				t.Errorf("%d x %d x %d differs", m, n, k)
			}
		}
	})
}

func floats(rng *rand.Rand, n int, spread float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64() * spread)
	}
	return x
}

func sameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: element %d is %v (%08x), the twin has %v (%08x)", what, i, got[i], math.Float32bits(got[i]), want[i], math.Float32bits(want[i]))
		}
	}
}

// TestRows compares every element-wise loop with its Go twin, bit by bit.
func TestRows(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for _, n := range []int{16, 32, 48, 384, 1536} {
			for _, spread := range []float64{1e-6, .1, 1, 7, 300} {
				x, y := floats(rng, n, spread), floats(rng, n, spread)
				gain, bias := floats(rng, n, 1), floats(rng, n, .1)
				x[rng.IntN(n)] = 0
				name := fmt.Sprintf("%d x %g", n, spread)
				on := func(f func(s *Set, x []float32)) (got, want []float32) {
					got, want = slices.Clone(x), slices.Clone(x)
					f(s, got)
					f(twin, want)
					return got, want
				}
				got, want := on(func(s *Set, x []float32) { s.Gelu(x) })
				sameBits(t, "Gelu "+name, got, want)
				got, want = on(func(s *Set, x []float32) { s.Normalize(x) })
				sameBits(t, "Normalize "+name, got, want)
				got, want = on(func(s *Set, x []float32) { s.AddNorm(x, y, gain, bias, 1e-12) })
				sameBits(t, "AddNorm "+name, got, want)
				got, want = on(func(s *Set, x []float32) { x[0], x[1] = s.Bounds(x, n, n, 1) })
				sameBits(t, "Bounds "+name, got, want)

				c, sums := make([]int32, n), make([]int32, n)
				for i := range c {
					c[i], sums[i] = rng.Int32N(1<<26)-1<<25, rng.Int32N(1<<17)-1<<16
				}
				got, want = on(func(s *Set, x []float32) {
					s.Dequantize(x, c, sums, Affine{gain, bias}, float32(spread), 77)
				})
				sameBits(t, "Dequantize "+name, got, want)
				got, want = on(func(s *Set, x []float32) { s.Spread(x, 16, c, 16, float32(spread), 16, n/16) })
				sameBits(t, "Spread "+name, got, want)

				inv := float32(100 / spread)
				b0, b1 := make([]byte, n), make([]byte, n)
				s.Quantize8(b0, x, inv, 128)
				twin.Quantize8(b1, x, inv, 128)
				if !slices.Equal(b0, b1) {
					t.Fatalf("Quantize8 %s differs", name)
				}
				w0, w1 := make([]int16, n), make([]int16, n)
				s.Quantize16(w0, 16, x, 16, 100*inv, 16, n/16)
				twin.Quantize16(w1, 16, x, 16, 100*inv, 16, n/16)
				if !slices.Equal(w0, w1) {
					t.Fatalf("Quantize16 %s differs", name)
				}
				for _, bits := range []int{4, 20, 29} {
					for i := range c {
						c[i] = rng.Int32N(2<<bits) - 1<<bits
					}
					real := n - rng.IntN(16)
					c0, c1 := slices.Clone(c), slices.Clone(c)
					s.Softmax(w0, c0, real, float32(spread)*1e-4)
					twin.Softmax(w1, c1, real, float32(spread)*1e-4)
					if !slices.Equal(w0, w1) {
						t.Fatalf("Softmax %s differs", name)
					}
				}
			}
		}
	})
}

// TestRowStrides has rows of several steps, and of more numbers than are to be done: those behind stay as they are.
func TestRowStrides(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for _, d := range [][5]int{{16, 16, 16, 16, 5}, {32, 40, 33, 48, 3}, {48, 51, 64, 50, 4}, {384, 400, 390, 384, 2}, {64, 80, 96, 64, 1}} {
			cols, ldx, ldy, ldw, rows := d[0], d[1], d[2], d[3], d[4]
			name := fmt.Sprintf("%d of %d, %d and %d, %d rows", cols, ldx, ldy, ldw, rows)
			x, c := floats(rng, (rows-1)*ldx+cols, 100), make([]int32, (rows-1)*ldw+cols)
			for i := range c {
				c[i] = rng.Int32N(1<<26) - 1<<25
			}
			for i := range x {
				if i%ldx >= cols {
					x[i] = 1e9 // no bound of what is to be done
				}
			}
			lo, hi := s.Bounds(x, ldx, cols, rows)
			lo2, hi2 := twin.Bounds(x, ldx, cols, rows)
			sameBits(t, "Bounds "+name, []float32{lo, hi}, []float32{lo2, hi2})
			got, want := fill(rows*ldy, float32(-3)), fill(rows*ldy, float32(-3))
			s.Spread(got, ldy, c, ldw, .25, cols, rows)
			twin.Spread(want, ldy, c, ldw, .25, cols, rows)
			sameBits(t, "Spread "+name, got, want)
			w0, w1 := fill(rows*ldw, int16(-3)), fill(rows*ldw, int16(-3))
			s.Quantize16(w0, ldw, x, ldx, 100, cols, rows)
			twin.Quantize16(w1, ldw, x, ldx, 100, cols, rows)
			if !slices.Equal(w0, w1) {
				t.Fatalf("Quantize16 %s differs", name)
			}
		}
	})
}

// TestSoftmaxPadding: padding takes no probability, whatever the scale, 0 included.
func TestSoftmaxPadding(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for _, scale := range []float32{0, 1e-30, 1e-9, 1, 1e9} {
			for n := 1; n <= 32; n++ {
				cols := (n + 15) / 16 * 16
				p, c := make([]int16, cols), make([]int32, cols)
				for i := range c {
					c[i] = 1 << 30 // padding that was never cleared
				}
				for i := range n {
					c[i] = -1 << 30
				}
				s.Softmax(p, c, n, scale)
				for i, x := range p {
					if want := int16(math.RoundToEven(32767 / float64(n))); i < n && x != want || i >= n && x != 0 {
						t.Fatalf("scale %g, %d of %d: element %d is %d", scale, n, cols, i, x)
					}
				}
			}
		}
	})
}

// TestLengths: a row that is not whole vectors is a panic in every variant, not other bits in some.
func TestLengths(t *testing.T) {
	each(t, func(t *testing.T, s *Set, _ *rand.Rand) {
		for _, n := range []int{0, 17} {
			for name, f := range map[string]func(x []float32){
				"Gelu":      func(x []float32) { s.Gelu(x) },
				"Normalize": func(x []float32) { s.Normalize(x) },
				"Softmax":   func(x []float32) { s.Softmax(make([]int16, n), make([]int32, n), n, 1) },
				"Bounds":    func(x []float32) { s.Bounds(x, n, n, 1) },
			} {
				func() {
					defer func() {
						if recover() == nil {
							t.Errorf("%s took %d elements", name, n)
						}
					}()
					f(make([]float32, n))
				}()
			}
		}
	})
}

// TestApproximations compares the polynomials with the functions they stand for.
func TestApproximations(t *testing.T) {
	x := make([]float32, 1<<16)
	for i := range x {
		x[i] = float32(i-1<<15) * (12.0 / (1 << 15))
	}
	y := slices.Clone(x)
	twin.Gelu(y)
	for i, v := range x {
		want := float64(v) * .5 * math.Erfc(-float64(v)/math.Sqrt2)
		if d := math.Abs(float64(y[i]) - want); d > 4e-5 {
			t.Fatalf("gelu(%v) = %v, off by %v", v, y[i], d)
		}
	}
	for i := range 12600 {
		x := -float32(i) / 100
		if r := math.Abs(float64(exp2(x))/math.Exp2(float64(x)) - 1); r > 3e-6 {
			t.Fatalf("exp2(%v) is off by %v", x, r)
		}
	}
	p := make([]int16, 32)
	c := make([]int32, 32)
	c[3], c[16] = 1000, 1000
	twin.Softmax(p, c, 17, 1)
	if p[3] != 16384 || p[16] != 16384 || p[0] != 0 {
		t.Fatalf("softmax of two equal scores: %v", p)
	}
}

// dumbMaxSim is the formula of docs/score.md, word for word.
func dumbMaxSim(query []int8, n, width int, rows []byte, scales []uint16, lift uint) (best, pos []int32) {
	stride := (width + 3) &^ 3
	for t := range n {
		b, p := int32(math.MinInt32), int32(-1)
		for j := range scales {
			var dot int64
			for i := range width {
				dot += int64(query[t*width+i]) * (int64(rows[j*stride+i]) - 128)
			}
			if s := int32(dot << lift * int64(scales[j]) >> 16); s > b {
				b, p = s, int32(j)
			}
		}
		best, pos = append(best, b), append(pos, p)
	}
	return best, pos
}

func lift(width int) uint {
	l := uint(0)
	for 127*127*int64(width)<<(l+1) <= math.MaxInt32 {
		l++
	}
	return l
}

func checkMaxSim(t *testing.T, s *Set, query []int8, n, width int, rows []byte, scales []uint16) {
	t.Helper()
	m := s.NewMaxSim(query, n, width, lift(width))
	best, pos := dumbMaxSim(query, n, width, rows, scales, lift(width))
	for range 2 { // the second time on used scratch
		m.Score(rows, scales)
		if !slices.Equal(m.Best[:n], best) || !slices.Equal(m.Pos[:n], pos) {
			t.Fatalf("%s: %d query tokens x %d, %d document tokens: got %v at %v, want %v at %v", s.name, n, width, len(scales), m.Best[:n], m.Pos[:n], best, pos)
		}
	}
}

func document(rng *rand.Rand, tokens, width int) ([]byte, []uint16) {
	stride := (width + 3) &^ 3
	rows, scales := fill(tokens*stride, byte(128)), make([]uint16, tokens)
	for j := range tokens {
		for i, c := range codes(rng, width) {
			rows[j*stride+i] = byte(int(c) + 128)
		}
		scales[j] = uint16(1 + rng.IntN(32767))
	}
	return rows, scales
}

// TestMaxSim covers the adversarial shapes: one token, 1 and 1,030 query tokens, widths 16 to 4,096 and odd ones, odd lengths,
// everything at the extremes, and ties everywhere.
func TestMaxSim(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for _, d := range [][3]int{{1, 16, 1}, {1, 384, 1}, {5, 384, 47}, {16, 128, 48}, {17, 128, 49}, {30, 384, 97}, {32, 64, 3}, {33, 17, 13}, {48, 30, 7}, {1030, 128, 29}, {3, 4096, 50}, {31, 1, 20}} {
			n, width, tokens := d[0], d[1], d[2]
			rows, scales := document(rng, tokens, width)
			query := codes(rng, n*width)
			checkMaxSim(t, s, query, n, width, rows, scales)
			if d[0]*d[1] > 40000 {
				continue
			}
			stride := (width + 3) &^ 3
			for _, q := range []int8{-127, 127} {
				for _, c := range []byte{1, 255} {
					extreme := fill(tokens*stride, byte(128))
					for j := range tokens {
						copy(extreme[j*stride:], fill(width, c))
					}
					checkMaxSim(t, s, fill(n*width, q), n, width, extreme, fill(tokens, uint16(32767)))
				}
			}
			ties := slices.Repeat(rows[:stride], tokens)
			checkMaxSim(t, s, query, n, width, ties, fill(tokens, uint16(777)))
		}
		m := s.NewMaxSim(codes(rng, 16), 1, 16, lift(16))
		m.Score(nil, nil)
		if m.Pos[0] != -1 || m.Best[0] != math.MinInt32 {
			t.Errorf("a document without tokens: %v at %v", m.Best[0], m.Pos[0])
		}
	})
}

func FuzzMaxSim(f *testing.F) {
	f.Add(uint64(1), uint16(3), uint16(16), uint16(5), true)
	f.Add(uint64(2), uint16(33), uint16(130), uint16(50), false)
	f.Fuzz(func(t *testing.T, seed uint64, n, width, tokens uint16, extreme bool) {
		rng := rand.New(rand.NewPCG(seed, 0))
		q, d, k := int(n%70)+1, int(width%300)+1, int(tokens%120)
		query := codes(rng, q*d)
		rows, scales := document(rng, k, d)
		if extreme {
			query = fill(len(query), int8(127))
		}
		for _, s := range All() {
			checkMaxSim(t, s, query, q, d, rows, scales)
		}
	})
}

// TestMaxSimRows has documents of every number of rows up to three of the largest blocks, and one over what a call takes.
func TestMaxSimRows(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for i, n := range []int{16, 32, 48} {
			width := []int{12, 12, 64}[i]
			query := codes(rng, n*width)
			for tokens := range 40 {
				rows, scales := document(rng, tokens, width)
				checkMaxSim(t, s, query, n, width, rows, scales)
			}
		}
		const width = 512
		tokens := 2*scanBytes/width + 100
		rows, scales := document(rng, tokens, width)
		checkMaxSim(t, s, codes(rng, 3*width), 3, width, rows, scales)
	})
}
