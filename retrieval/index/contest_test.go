package index

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestContest: whatever is added, in whatever order, the best n are kept, as sorting all of them finds them. Scores have ties and extremes.
func TestContest(t *testing.T) {
	var parts snapshot
	for range 2 {
		p := part{segment: &segment{}}
		for i := range 200 {
			p.records = append(p.records, record{id: fmt.Sprintf("%03d-%d", i, len(parts))})
		}
		parts = append(parts, p)
	}
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		spread := rapid.SampledFrom([]int64{1, 3, 1000, 1 << 40, math.MaxInt64}).Draw(t, "spread")
		var all []candidate
		for i := range parts {
			for at := range parts[i].records {
				if rng.IntN(3) > 0 {
					all = append(all, candidate{rng.Int64N(spread) - spread/2, int32(i), int32(at)})
				}
			}
		}
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		contests := make([]*contest, rapid.IntRange(1, 3).Draw(t, "contests"))
		n := rapid.IntRange(1, 300).Draw(t, "n")
		for i := range contests {
			contests[i] = newContest(parts, n)
		}
		for _, x := range all {
			if c := contests[rng.IntN(len(contests))]; x.sum >= c.least {
				c.add(x)
			}
		}
		got, _ := merged(contests, nil)
		slices.SortFunc(all, func(a, b candidate) int {
			if parts.better(a, b) {
				return -1
			}
			return 1
		})
		want := slices.Clone(all[:min(n, len(all))])
		slices.SortFunc(want, inPlace)
		if !slices.Equal(got, want) {
			t.Fatalf("kept %v, the best %d are %v", got, n, want)
		}
	})
}

func TestBitmapCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := bitmap(rapid.SliceOfN(rapid.Uint64(), 0, 4).Draw(t, "words"))
		if len(b) == 0 {
			b = nil
		}
		to := rapid.IntRange(0, 64*len(b)).Draw(t, "to")
		from := rapid.IntRange(0, to).Draw(t, "from")
		want := 0
		for i := from; i < to; i++ {
			if b.has(i) {
				want++
			}
		}
		if n := b.count(from, to); n != want {
			t.Fatalf("%d of %d to %d, not %d", n, from, to, want)
		}
	})
}
