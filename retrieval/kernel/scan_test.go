package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// dumbScan is the definition.
func dumbScan(query []int8, weights []uint16, width int, rows []byte, starts []int32) []int64 {
	stride, n := (width+3)&^3, len(starts)-1
	sums := make([]int64, n)
	for d := range sums {
		if starts[d] == starts[d+1] {
			sums[d] = math.MinInt64
			continue
		}
		for t, w := range weights {
			best := int64(math.MinInt64)
			for j := starts[d]; j < starts[d+1]; j++ {
				var dot int64
				for i, q := range query[t*width:][:width] {
					dot += int64(q) * (int64(rows[int(j)*stride+i]) - 128)
				}
				best = max(best, dot)
			}
			sums[d] += int64(w) * best
		}
	}
	return sums
}

// corpus is documents of so many rows each, of random codes or of one extreme.
type corpus struct {
	rows   []byte
	starts []int32
}

func newCorpus(rng *rand.Rand, width int, lengths []int, extreme int) corpus {
	c := corpus{starts: []int32{0}}
	for _, n := range lengths {
		c.starts = append(c.starts, c.starts[len(c.starts)-1]+int32(n))
	}
	c.rows = bytesOf(rng, int(c.starts[len(lengths)])*((width+3)&^3))
	if extreme >= 0 {
		c.rows = fill(len(c.rows), byte(extreme))
	}
	return c
}

func checkScan(t *testing.T, s *Set, query []int8, weights []uint16, width int, c corpus) {
	t.Helper()
	want := dumbScan(query, weights, width, c.rows, c.starts)
	scan, got := s.NewScan(query, weights, width), make([]int64, len(want))
	for range 2 { // the second time on used scratch
		scan.Documents(got, c.rows, c.starts)
		if !slices.Equal(got, want) {
			t.Fatalf("%s: %d query tokens x %d, documents at %v: got %v, want %v", s.name, len(weights), width, c.starts, got, want)
		}
	}
	var which []int32
	for i := range want {
		if i%3 != 1 {
			which = append(which, int32(i))
		}
	}
	which = append(which, which...) // and what does not ascend
	scan.Gather(got[:0], c.rows, c.starts, nil)
	got = make([]int64, len(which))
	scan.Gather(got, c.rows, c.starts, which)
	for i, w := range which {
		if got[i] != want[w] {
			t.Fatalf("%s: %d query tokens x %d, documents at %v: picked %d is %d, want %d", s.name, len(weights), width, c.starts, w, got[i], want[w])
		}
	}
}

func weightsOf(rng *rand.Rand, n int) []uint16 {
	w := make([]uint16, n)
	for i := range w {
		w[i] = uint16(rng.Uint32())
	}
	return w
}

// lengths of all kinds: every number of rows up to three of the largest blocks, none now and then, and some long ones.
func lengths(rng *rand.Rand, longest int) []int {
	var n []int
	for i := range 50 {
		n = append(n, i)
	}
	n = append(n, 0, 0, 1, 0, longest, 2, 0)
	rng.Shuffle(len(n), func(i, j int) { n[i], n[j] = n[j], n[i] })
	return n
}

// TestScan compares every variant with the definition: widths 1 to 1,024, one panel and several, no rows and many, extremes, weights 0 and the largest.
func TestScan(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for _, d := range [][3]int{{1, 4, 100}, {16, 64, 500}, {32, 64, 333}, {17, 32, 70}, {33, 36, 65}, {48, 12, 64}, {70, 20, 99}, {31, 1, 10}, {2, 8, 501}, {3, 500, 60}, {2, 1024, 129}, {32, 128, 57}, {1, 1023, 70}, {20, 96, 50}} {
			n, width, longest := d[0], d[1], d[2]
			query, weights := codes(rng, n*width), weightsOf(rng, n)
			checkScan(t, s, query, weights, width, newCorpus(rng, width, lengths(rng, longest), -1))
			few := []int{3, 0, 8, 1, 13}
			for _, q := range []int8{-127, 127} {
				for _, row := range []int{0, 1, 128, 255} {
					checkScan(t, s, fill(n*width, q), fill(n, uint16(math.MaxUint16)), width, newCorpus(rng, width, few, row))
				}
			}
			checkScan(t, s, query, fill(n, uint16(0)), width, newCorpus(rng, width, few, -1))
			checkScan(t, s, query, weights, width, newCorpus(rng, width, []int{0}, -1))
		}
	})
}

// TestScanAlone has documents of one row, alone and in runs among others: their score is a product with the sum of the query's tokens. Sums from the least to the
// largest that fits, and such as do not.
func TestScanAlone(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		var alone, mixed []int
		for i := range 40 {
			alone = append(alone, 1)
			mixed = append(mixed, fill(1+i%9, 1)...)
			mixed = append(mixed, rng.IntN(4))
		}
		for _, width := range []int{1, 16, 20, 64, 96, 100, 192, 384} {
			for _, n := range []int{1, 32, 257} {
				for _, lengths := range [][]int{alone, mixed, alone[:3], alone[:5]} {
					checkScan(t, s, codes(rng, n*width), weightsOf(rng, n), width, newCorpus(rng, width, lengths, -1))
				}
				if n == 32 {
					continue
				}
				for _, q := range []int8{-127, 127} {
					for _, row := range []int{0, 255} {
						checkScan(t, s, fill(n*width, q), fill(n, uint16(math.MaxUint16)), width, newCorpus(rng, width, alone[:9], row))
					}
				}
			}
		}
	})
}

// TestScanLarge has documents over what one call takes, and more documents than that.
func TestScanLarge(t *testing.T) {
	const width = 512
	rng := rand.New(rand.NewPCG(1, 2))
	c := newCorpus(rng, width, append(fill(300, 5), scanDocument/width+7, 3, 400, 0, 400), -1)
	query, weights := codes(rng, width), weightsOf(rng, 1)
	for _, s := range All()[1:] {
		checkScan(t, s, query, weights, width, c)
	}
}

// TestScanRefuses: rows that are not there are a panic in every variant, before the assembly sees them.
func TestScanRefuses(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		c := s.NewScan(codes(rng, 8), []uint16{1}, 8)
		rows := make([]byte, 24)
		for name, f := range map[string]func(){
			"a row that is not there":           func() { c.Documents(make([]int64, 1), rows, []int32{2, 4}) },
			"an end before its start":           func() { c.Documents(make([]int64, 2), rows, []int32{2, 1, 3}) },
			"a row before the first":            func() { c.Documents(make([]int64, 1), rows, []int32{-1, 1}) },
			"single rows, the last not there":   func() { c.Documents(make([]int64, 4), rows, []int32{0, 1, 2, 3, 4}) },
			"single rows, the first before all": func() { c.Documents(make([]int64, 4), rows, []int32{-1, 0, 1, 2, 3}) },
			"too few starts":                    func() { c.Documents(make([]int64, 1), rows, []int32{0}) },
			"a picked row, not there":           func() { c.Gather(make([]int64, 1), rows, []int32{0, 4}, []int32{0}) },
			"a picked document, neither":        func() { c.Gather(make([]int64, 1), rows, []int32{0, 3}, []int32{1}) },
			"a place before the first":          func() { c.Gather(make([]int64, 1), rows, []int32{0, 3}, []int32{-1}) },
			"more picked than sums":             func() { c.Gather(make([]int64, 1)[:1:1], rows, []int32{0, 3}, []int32{0, 0}) },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("no panic: %s", name)
					}
				}()
				f()
			}()
		}
	})
}

func FuzzScan(f *testing.F) {
	f.Add(uint64(1), uint16(3), uint16(64), uint16(5), byte(0))
	f.Add(uint64(2), uint16(33), uint16(130), uint16(50), byte(1))
	f.Fuzz(func(t *testing.T, seed uint64, n, width, longest uint16, extreme byte) {
		rng := rand.New(rand.NewPCG(seed, 0))
		q, d := int(n%70)+1, int(width%300)+1
		query, weights, row := codes(rng, q*d), weightsOf(rng, q), -1
		if extreme > 0 {
			query, weights, row = fill(len(query), int8(127-extreme%2*254)), fill(q, uint16(math.MaxUint16)), int(extreme)
		}
		var lengths []int
		for range rng.IntN(12) + 1 {
			lengths = append(lengths, rng.IntN(int(longest%100)+1))
		}
		c := newCorpus(rng, d, lengths, row)
		for _, s := range All() {
			checkScan(t, s, query, weights, d, c)
		}
	})
}
