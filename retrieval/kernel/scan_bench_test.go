package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// peak measures, now, how many multiplications and additions of bytes a second a variant's loops could do at most: the CPU's clock, and who else is on it, change.
func peak(s *Set) float64 {
	var best float64
	f, ops := busy(s)
	for range 5 {
		start := time.Now()
		f(20_000)
		best = max(best, 20_000*ops/time.Since(start).Seconds())
	}
	return best
}

// fastest returns the seconds of the fastest run: other work on the machine comes and goes.
func fastest(b *testing.B, f func()) float64 {
	least := math.Inf(1)
	for b.Loop() {
		start := time.Now()
		f()
		least = min(least, time.Since(start).Seconds())
	}
	return least
}

// rate runs f, which does so many operations on so many rows, and reports the rates of its fastest run.
func rate(b *testing.B, s *Set, rows, ops float64, f func()) {
	least := fastest(b, f)
	b.ReportMetric(rows/least/1e6, "Mrows/s")
	b.ReportMetric(ops/least/1e9, "Gop/s")
	if f, _ := busy(s); f != nil {
		b.ReportMetric(100*ops/least/peak(s), "%peak")
	}
}

// BenchmarkScan scores documents of about 20 rows, and of one, for 32 query tokens and 16: all of them, or a third; in the second-level cache, or anywhere.
func BenchmarkScan(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, s := range All() {
		for _, d := range []struct{ n, width, rows, size int }{{32, 64, 20, 1}, {16, 64, 20, 1}, {32, 32, 20, 1}, {32, 128, 20, 1}, {32, 384, 20, 1}, {32, 64, 8, 1}, {32, 64, 20, 128}, {32, 128, 20, 128}, {32, 128, 1, 1}, {32, 384, 1, 1}, {32, 128, 1, 128}} {
			var lengths []int
			total := 0
			for size := d.size << 20 / d.width; total < size; {
				n := max(1, d.rows/2+rng.IntN(d.rows+1))
				lengths, total = append(lengths, n), total+n
			}
			c := newCorpus(rng, d.width, lengths, -1)
			var third []int32
			rows := 0
			for i, n := range lengths {
				if rng.IntN(3) == 0 {
					third, rows = append(third, int32(i)), rows+n
				}
			}
			scan, sums := s.NewScan(codes(rng, d.n*d.width), weightsOf(rng, d.n), d.width), make([]int64, len(lengths))
			name := fmt.Sprintf("%s/%dx%d/rows=%d/%dMB", s.name, d.n, d.width, d.rows, d.size)
			ops := 2 * float64(d.n*d.width)
			if d.rows == 1 { // the tokens' sum is multiplied instead, in four digits
				ops = 2 * float64(4*d.width)
			}
			b.Run(name, func(b *testing.B) {
				rate(b, s, float64(total), ops*float64(total), func() { scan.Documents(sums, c.rows, c.starts) })
			})
			b.Run(name+"/third", func(b *testing.B) {
				rate(b, s, float64(rows), ops*float64(rows), func() { scan.Gather(sums[:len(third)], c.rows, c.starts, third) })
			})
		}
	}
}

// BenchmarkMaxSim scores documents of about 240 tokens, a megabyte of them.
func BenchmarkMaxSim(b *testing.B) {
	eachFine(b, func(b *testing.B, m *MaxSim, rows []byte, starts []int, scales []uint16, width int) {
		for i := range len(starts) - 1 {
			m.Score(rows[starts[i]*width:], scales[starts[i]:starts[i+1]])
		}
	})
}

// BenchmarkMaxSimResidual does so with packed differences from coarse vectors, one for every quarter of the width.
func BenchmarkMaxSimResidual(b *testing.B) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, bits := range []int{2, 3, 4} {
		b.Run(fmt.Sprintf("bits=%d", bits), func(b *testing.B) {
			r := tokensOf{bits: bits, count: 1}.random(rng, 1, 8)
			eachFine(b, func(b *testing.B, m *MaxSim, rows []byte, starts []int, scales []uint16, width int) {
				for i := range len(starts) - 1 {
					from, to := starts[i], starts[i+1]
					n := (to - from + width/4 - 1) / (width / 4)
					r.Rows, r.Scales, r.Clusters = rows[from*width*bits/8:to*width*bits/8], scales[from:to], spreadOver[n][:to-from]
					r.Coarse, r.CoarseScales = rows[:n*width], scales[:n]
					m.Reset()
					m.AddResidual(r, 0)
				}
			})
		})
	}
}

// BenchmarkQuery prepares queries of 32 tokens.
func BenchmarkQuery(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, s := range All() {
		for _, width := range []int{128, 384} {
			const n, times = 32, 10
			query, weights := codes(rng, n*width), weightsOf(rng, n)
			for name, f := range map[string]func(){
				"MaxSim": func() { s.NewMaxSim(query, n, width, lift(width)) },
				"Scan":   func() { s.NewScan(query, weights, width) },
			} {
				b.Run(fmt.Sprintf("%s/%d/%s", s.name, width, name), func(b *testing.B) {
					b.ReportAllocs()
					least := fastest(b, func() {
						for range times {
							f()
						}
					})
					b.ReportMetric(least/times*1e6, "µs")
				})
			}
		}
	}
}

func eachFine(b *testing.B, f func(b *testing.B, m *MaxSim, rows []byte, starts []int, scales []uint16, width int)) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, s := range All() {
		for _, width := range []int{128, 384} {
			starts := []int{0}
			for starts[len(starts)-1]*width < 1<<20 {
				starts = append(starts, starts[len(starts)-1]+200+rng.IntN(80))
			}
			total := starts[len(starts)-1]
			rows, scales := document(rng, total, width)
			for _, n := range []int{16, 32} {
				b.Run(fmt.Sprintf("%s/%dx%d", s.name, n, width), func(b *testing.B) {
					m := s.NewMaxSim(codes(rng, n*width), n, width, lift(width))
					rate(b, s, float64(total), 2*float64(n*width*total), func() { f(b, m, rows, starts, scales, width) })
				})
			}
		}
	}
}
