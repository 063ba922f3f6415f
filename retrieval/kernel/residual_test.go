package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// dumbResidual is the definition, on top of what tokens before have.
func dumbResidual(best, pos []int32, query []int8, width int, r Residual, first int, lift uint) {
	stride, wide := (width+3)&^3, (width+7)&^7
	rows := make([]byte, len(r.Scales)*wide)
	twin.Unpack(rows, r.Rows, len(r.Scales), wide, r.Bits, r.Table)
	pair := func(q []int8, code func(i int) byte, scale uint16) int32 {
		var dot int64
		for i, x := range q {
			dot += int64(x) * (int64(code(i)) - 128)
		}
		return int32(dot << lift * int64(scale) >> 16)
	}
	for t := range best {
		q := query[t*width:][:width]
		for j, scale := range r.Scales {
			c := int(r.Clusters[j])
			score := pair(q, func(i int) byte { return r.Coarse[c*stride+i] }, r.CoarseScales[c]) +
				pair(q, func(i int) byte { return rows[j*wide+i] }, scale)
			if score > best[t] {
				best[t], pos[t] = score, int32(first+j)
			}
		}
	}
}

// tokensOf is how tokens are made.
type tokensOf struct {
	bits    int
	count   int    // coarse vectors
	scale   uint16 // of all tokens and coarse vectors; 0: random ones
	extreme bool   // codes are the greatest or the least
	ties    bool   // all tokens are the same
}

// random makes tokens; a code of -128, which no codec has, is not among them.
func (r tokensOf) random(rng *rand.Rand, tokens, width int) Residual {
	stride, wide := (width+3)&^3, (width+7)&^7
	code := func() byte {
		if r.extreme {
			return byte(1 + 254*rng.IntN(2))
		}
		return byte(1 + rng.IntN(255))
	}
	some := func(n int) (b []byte) {
		for range n {
			b = append(b, code())
		}
		return b
	}
	scales := func(n int) (s []uint16) {
		for range n {
			if r.scale > 0 {
				s = append(s, r.scale)
			} else {
				s = append(s, uint16(1+rng.IntN(32767)))
			}
		}
		return s
	}
	out := Residual{Rows: bytesOf(rng, tokens*wide*r.bits/8), Scales: scales(tokens), Bits: r.bits, Table: (*Table)(some(16)), Coarse: some(r.count * stride), CoarseScales: scales(r.count)}
	for range tokens {
		out.Clusters = append(out.Clusters, byte(rng.IntN(r.count)))
	}
	if r.ties && tokens > 0 {
		copy(out.Rows, slices.Repeat(out.Rows[:wide*r.bits/8], tokens))
		copy(out.Scales, fill(tokens, out.Scales[0]))
		copy(out.Clusters, fill(tokens, out.Clusters[0]))
	}
	return out
}

// spreadOver has, for so many clusters, those of many tokens.
var spreadOver = func() (all [257][]byte) {
	rng := rand.New(rand.NewPCG(7, 8))
	for n := 1; n < len(all); n++ {
		for range 1024 {
			all[n] = append(all[n], byte(rng.IntN(n)))
		}
	}
	return all
}()

// checkResidual scores documents of one and of several windows.
func checkResidual(t *testing.T, s *Set, query []int8, n, width int, windows ...Residual) {
	t.Helper()
	m := s.NewMaxSim(query, n, width, lift(width))
	best, pos := fill(n, int32(math.MinInt32)), fill(n, int32(-1))
	first := 0
	for _, r := range windows {
		dumbResidual(best, pos, query, width, r, first, lift(width))
		first += len(r.Scales)
	}
	for i := range 3 { // the second time on used scratch, and with something else to fetch
		if i > 0 {
			m.NextResidual(windows[i%len(windows)])
		}
		m.Reset()
		first = 0
		for _, r := range windows {
			m.AddResidual(r, first)
			first += len(r.Scales)
		}
		if !slices.Equal(m.Best[:n], best) || !slices.Equal(m.Pos[:n], pos) {
			t.Fatalf("%s: %d query tokens x %d, %d tokens of %d bits and %d coarse vectors, %d windows: got %v at %v, want %v at %v", s.name, n, width,
				first, windows[0].Bits, len(windows[0].CoarseScales), len(windows), m.Best[:n], m.Pos[:n], best, pos)
		}
	}
}

// TestMaxSimResidual compares every variant with the definition: all numbers of bits, widths that are not whole groups, one token and more than a window, one
// coarse vector and as many as a byte can tell; extremes of codes and scales, and ties.
func TestMaxSimResidual(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for _, bits := range []int{1, 2, 3, 4} {
			for _, d := range [][4]int{{1, 8, 1, 1}, {1, 1, 3, 2}, {32, 128, 240, 8}, {16, 128, 97, 4}, {30, 384, 50, 3}, {16, 64, 49, 49}, {17, 36, 300, 256}, {33, 100, 13, 40}, {70, 30, 48, 9}, {3, 1020, 20, 1}} {
				n, width, tokens := d[0], d[1], d[2]
				some := tokensOf{bits: bits, count: d[3]}
				checkResidual(t, s, codes(rng, n*width), n, width, some.random(rng, tokens, width))
				checkResidual(t, s, codes(rng, n*width), n, width, some.random(rng, tokens, width), some.random(rng, 1, width), some.random(rng, 0, width), some.random(rng, 13, width))
				for _, q := range []int8{-127, 127} {
					for _, scale := range []uint16{1, 32767} {
						extreme := tokensOf{bits: bits, count: d[3], scale: scale, extreme: true}
						checkResidual(t, s, fill(n*width, q), n, width, extreme.random(rng, tokens, width))
						whole := extreme.random(rng, tokens, width) // and the greatest sums there are
						code := byte(1 + 254*rng.IntN(2))
						copy(whole.Table[:], fill(16, code))
						copy(whole.Coarse, fill(len(whole.Coarse), code))
						checkResidual(t, s, fill(n*width, q), n, width, whole)
					}
				}
				some.ties = true
				checkResidual(t, s, codes(rng, n*width), n, width, some.random(rng, tokens, width))
			}
		}
	})
}

// TestMaxSimResidualRows has every number of tokens up to some of the largest blocks, for one panel and two.
func TestMaxSimResidualRows(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for _, n := range []int{16, 32, 48} {
			for tokens := 1; tokens <= 300; tokens += 1 + tokens/100*7 {
				checkResidual(t, s, codes(rng, n*12), n, 12, tokensOf{bits: 4, count: 1 + rng.IntN(256)}.random(rng, tokens, 12))
			}
		}
	})
}

// TestResidualRefuses: what is not there is a panic in every variant, before the assembly sees it.
func TestResidualRefuses(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for name, spoil := range map[string]func(r *Residual){
			"a cluster behind the last": func(r *Residual) { r.Clusters[5+rng.IntN(20)] = 3 },
			"the last of a byte":        func(r *Residual) { r.Clusters[24] = 255 },
			"no coarse vectors":         func(r *Residual) { r.CoarseScales = nil },
			"too few coarse rows":       func(r *Residual) { r.Coarse = r.Coarse[:47:47] },
			"too few clusters":          func(r *Residual) { r.Clusters = r.Clusters[:24:24] },
			"too few rows":              func(r *Residual) { r.Rows = r.Rows[:99:99] },
		} {
			r := tokensOf{bits: 2, count: 3}.random(rng, 25, 16)
			spoil(&r)
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("no panic: %s", name)
					}
				}()
				m := s.NewMaxSim(codes(rng, 16), 1, 16, lift(16))
				m.Reset()
				m.AddResidual(r, 0)
			}()
		}
	})
}

// TestWithin compares with the definition, of all numbers.
func TestWithin(t *testing.T) {
	for n := range 258 {
		for c := range 256 {
			for _, at := range []int{0, 1, 6, 7, 8, 9} {
				clusters := make([]byte, 10)
				clusters[at] = byte(c)
				if got, want := within(clusters, n), c < n && n > 0; got != want {
					t.Fatalf("cluster %d of %d, at %d: %v", c, n, at, got)
				}
			}
		}
	}
}

// TestNext: what the document after the next one has is fetched as far as the tokens go, whoever scores them, and then a document's own rows.
func TestNext(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		const n, width, tokens, bits = 20, 64, 100, 4
		rows, scales := document(rng, tokens, width)
		r := tokensOf{bits: bits, count: 5}.random(rng, tokens, width)
		other := make([]byte, 3*tokens*width)
		m := s.NewMaxSim(codes(rng, n*width), n, width, lift(width))
		for name, c := range map[string]struct {
			f     func()
			bytes int
		}{
			"Score":       {func() { m.Score(rows, scales) }, tokens * width},
			"AddResidual": {func() { m.Reset(); m.AddResidual(r, 0); m.AddResidual(r, tokens) }, 2 * tokens * width * bits / 8},
		} {
			m.Next(other, scales)
			c.f()
			if got := len(other) - len(m.fetch); got != c.bytes {
				t.Errorf("%s asked for %d bytes, not %d", name, got, c.bytes)
			}
			if c.f(); len(m.fetch) > 0 {
				t.Errorf("%s: %d bytes are left to fetch, of nothing", name, len(m.fetch))
			}
		}
	})
}

func FuzzResidual(f *testing.F) {
	f.Add(uint64(1), uint16(3), uint16(16), uint16(5), byte(2), byte(3), uint16(0), false)
	f.Add(uint64(2), uint16(33), uint16(130), uint16(290), byte(4), byte(255), uint16(32767), true)
	f.Fuzz(func(t *testing.T, seed uint64, n, width, tokens uint16, bits, count byte, scale uint16, extreme bool) {
		rng := rand.New(rand.NewPCG(seed, 0))
		q, d, k := int(n%70)+1, int(width%300)+1, int(tokens%301)
		query := codes(rng, q*d)
		if extreme {
			query = fill(len(query), int8(127-seed%2*254))
		}
		r := tokensOf{bits: int(bits%4) + 1, count: int(count) + 1, scale: scale % 32768, extreme: extreme, ties: seed%5 == 0}.random(rng, k, d)
		for _, s := range All() {
			checkResidual(t, s, query, q, d, r)
		}
	})
}
