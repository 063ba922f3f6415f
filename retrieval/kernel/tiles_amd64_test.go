//go:build !noasm

package kernel

import (
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

var emulated = flag.Bool("amx", false, "test the loops on tiles, too, on a CPU without: under gen/amxrun")

func TestMain(m *testing.M) {
	flag.Parse()
	if *emulated && !slices.Contains(variants, amx) {
		variants = append(variants, amx)
	}
	os.Exit(m.Run())
}

// TestTiles compares the loops on tiles with those on vectors, on more rows than they are given today.
func TestTiles(t *testing.T) {
	if !slices.Contains(variants, amx) {
		t.Skip("no tiles on this CPU: go test -exec amxrun . -args -amx")
	}
	const width, cols = 192, 2 * Lanes
	rng := rand.New(rand.NewPCG(5, 6))
	q := avx512.Pack(codes(rng, cols*width), cols, width)
	base, bias := make([]int32, 256*cols), make([]int32, cols)
	for _, s := range [][]int32{base, bias} {
		for i := range s {
			s[i] = int32(rng.IntN(1<<20) - 1<<19)
		}
	}
	for _, n := range []int{1, 15, 16, 17, 31, 32, 33, 47, 95, 96, 97, 112, 250} {
		rows, scales := document(rng, n, width)
		clusters := bytesOf(rng, n)
		score := func(f func(best, pos *int32)) []int32 {
			best := append(fill(cols, int32(math.MinInt32)), fill(cols, int32(-1))...)
			f(&best[0], &best[cols])
			return best
		}
		plain := func(f maxsim) []int32 {
			return score(func(best, pos *int32) {
				f(best, pos, &rows[0], n, width, &q.panels[0], q.panel, &bias[0], &scales[0], 3, 7, &rows[0], &rows[len(rows)-1], 8)
			})
		}
		based := func(f residual) []int32 {
			return score(func(best, pos *int32) {
				f(best, pos, &rows[0], n, width, &q.panels[0], q.panel, &bias[0], &scales[0], 3, 7, &rows[0], &rows[len(rows)-1], 8, &base[0], 4*cols, &clusters[0])
			})
		}
		if !slices.Equal(plain(maxsimAMXx2), plain(maxsimVNNIx2)) || !slices.Equal(based(residualAMXx2), based(residualVNNIx2)) {
			t.Errorf("%d rows differ", n)
		}
	}
}

// BenchmarkFoldPair is what MaxSim on tiles does besides its products, of which no CPU without tiles can tell the time.
func BenchmarkFoldPair(b *testing.B) {
	if !slices.Contains(variants, avx512) {
		b.Skip("no AVX-512 VNNI on this CPU")
	}
	rng := rand.New(rand.NewPCG(5, 6))
	const n, cols = tileMost, 2 * Lanes
	var sums [n * cols]int32
	for i := range sums {
		sums[i] = int32(rng.IntN(1 << 20))
	}
	_, scales := document(rng, n, 4)
	best, pos, bias := make([]int32, cols), make([]int32, cols), make([]int32, cols)
	least := fastest(b, func() { foldPair(&best[0], &pos[0], &sums[0], 4*cols, &bias[0], &scales[0], 3, 0, n) })
	b.ReportMetric(n/least/1e6, "Mrows/s")
}
