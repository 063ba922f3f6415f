package kernel

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func checkPacked(t *testing.T, s *Set, rng *rand.Rand, n, width, tokens, bits int) {
	t.Helper()
	wide, stride := (width+7)&^7, (width+3)&^3
	table, query, scales := Table(bytesOf(rng, 16)), codes(rng, n*width), make([]uint16, tokens)
	for j := range scales {
		scales[j] = uint16(1 + rng.IntN(32767))
	}
	packed := bytesOf(rng, tokens*wide*bits/8)
	unpacked, rows := make([]byte, tokens*wide), make([]byte, tokens*stride)
	twin.Unpack(unpacked, packed, tokens, wide, bits, &table)
	for j := range tokens {
		copy(rows[j*stride:][:stride], unpacked[j*wide:])
	}
	want, got := twin.NewMaxSim(query, n, width, lift(width)), s.NewMaxSim(query, n, width, lift(width))
	want.Score(rows, scales)
	for i := range 3 { // the second time on used scratch, and with something else to fetch
		if i > 0 {
			got.Next(packed[:rng.IntN(len(packed)+1)], scales)
		}
		got.ScorePacked(packed, scales, bits, &table)
		if !slices.Equal(got.Best[:n], want.Best[:n]) || !slices.Equal(got.Pos[:n], want.Pos[:n]) {
			t.Fatalf("%s: %d query tokens x %d, %d document tokens of %d bits: got %v at %v, want %v at %v",
				s.name, n, width, tokens, bits, got.Best[:n], got.Pos[:n], want.Best[:n], want.Pos[:n])
		}
	}
}

// TestMaxSimPacked compares scores over packed codes with those over rows that the twin has unpacked.
func TestMaxSimPacked(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for _, bits := range []int{1, 2, 3, 4} {
			for _, d := range [][3]int{{1, 8, 0}, {1, 1, 1}, {32, 128, 240}, {30, 384, 97}, {16, 64, 49}, {17, 36, 50}, {33, 100, 13}, {3, 1020, 48}} {
				checkPacked(t, s, rng, d[0], d[1], d[2], bits)
			}
		}
	})
}

// TestMaxSimRows has documents of every number of rows up to three of the largest blocks, and one over what a call takes.
func TestMaxSimRows(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for _, n := range []int{16, 32} {
			const width = 12
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

func FuzzMaxSimPacked(f *testing.F) {
	f.Add(uint64(1), uint16(3), uint16(16), uint16(5), byte(2))
	f.Fuzz(func(t *testing.T, seed uint64, n, width, tokens uint16, bits byte) {
		for _, s := range All() {
			checkPacked(t, s, rand.New(rand.NewPCG(seed, 0)), int(n%70)+1, int(width%300)+1, int(tokens%120), int(bits%4)+1)
		}
	})
}
