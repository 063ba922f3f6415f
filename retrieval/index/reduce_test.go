package index

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ostraca/retrieval"
)

// A document is reduced window by window to one vector for every so many tokens; each is the mean of a cluster that its medoid belongs to.
func TestReduce(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 3))
	for _, width := range []int{1, 6, 96} {
		for _, n := range []int{1, 2, 60, 256, 300} {
			for _, every := range []int{1, 2, 16, 1000} {
				x := anisotropic(rng, n, width)
				means, medoids, err := Reduce(x, width, every)
				if err != nil {
					t.Fatal(err)
				}
				want := retrieval.Clusters(n, every)
				if len(medoids) != want || len(means) != want*width || !slices.IsSorted(medoids) || len(slices.Compact(slices.Clone(medoids))) != want || medoids[want-1] >= n {
					t.Fatalf("%d x %d by %d: %d vectors at %v, want %d", n, width, every, len(means)/width, medoids, want)
				}
				checkReduced(t, x, means, medoids, width, every)
				if again, at, err := Reduce(x, width, every); err != nil || !slices.Equal(again, means) || !slices.Equal(at, medoids) {
					t.Fatalf("%d x %d by %d: others the second time", n, width, every)
				}
			}
		}
	}
}

// checkReduced computes means and medoids anew, in floats, of the clusters that the codes have.
func checkReduced(t *testing.T, x, means []float32, medoids []int, width, every int) {
	t.Helper()
	c := quantize(t, x, width)
	p := newPooling(c)
	found := map[int][]float64{}
	for i := range retrieval.Windows(c.Len()) {
		from, to, count := retrieval.Window(i, c.Len(), every)
		label := p.clusters(from, to, count)
		for k := range count {
			sum := make([]float64, width)
			for j := from; j < to; j++ {
				for i := range sum {
					if label[j-from] == byte(k) {
						sum[i] += dequantized(c, j, i)
					}
				}
			}
			at, greatest := -1, math.Inf(-1)
			for j := from; j < to; j++ {
				dot := 0.
				for i, v := range sum {
					dot += v * dequantized(c, j, i)
				}
				if label[j-from] == byte(k) && dot > greatest+1e-12 {
					at, greatest = j, dot
				}
			}
			found[at] = sum
		}
	}
	for r, at := range medoids {
		sum, squares := found[at], 0.
		if sum == nil {
			t.Fatalf("%d is no medoid, those are at %v", at, found)
		}
		for _, v := range sum {
			squares += v * v
		}
		for i, v := range sum {
			if got := float64(means[r*width+i]); squares > 1e-9 && math.Abs(got-v/math.Sqrt(squares)) > 1e-6 {
				t.Fatalf("vector %d, coordinate %d: %v, the mean has %v", r, i, got, v/math.Sqrt(squares))
			}
		}
	}
}

// TestReducePinned: the bits of reduced vectors are part of what a collection promises, on every CPU.
func TestReducePinned(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 4))
	hash := sha256.New()
	for _, width := range []int{6, 128, 384} {
		for _, every := range []int{2, 4, 16} {
			x := make([]float32, 300*width)
			for i := range x {
				x[i] = float32(rng.IntN(2001)-1000) / 512
			}
			means, medoids, err := Reduce(x, width, every)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range means {
				hash.Write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)))
			}
			for _, at := range medoids {
				hash.Write(binary.LittleEndian.AppendUint32(nil, uint32(at)))
			}
		}
	}
	const want = "0a06495579b493a0430da602a8f68f5a37c3e5eb1dd099a1eafd8b8dfbb7c600"
	if got := hex.EncodeToString(hash.Sum(nil)); got != want {
		t.Errorf("reduced vectors are %s", got)
	}
}

// Tokens that point opposite ways have no mean: the first of them speaks for both.
func TestReduceOpposite(t *testing.T) {
	means, medoids, err := Reduce([]float32{3, 4, -3, -4}, 2, 2)
	if err != nil || !slices.Equal(medoids, []int{0}) || math.Abs(float64(means[0])-.6) > .01 || math.Abs(float64(means[1])-.8) > .01 {
		t.Errorf("%v: %v at %v", err, means, medoids)
	}
}

func TestReduceRefuses(t *testing.T) {
	for what, err := range map[string]error{
		"every 0":  third(Reduce([]float32{1, 2}, 2, 0)),
		"no rows":  third(Reduce([]float32{1, 2, 3}, 2, 2)),
		"zero row": third(Reduce([]float32{1, 2, 0, 0}, 2, 2)),
		"width":    third(Reduce(nil, 0, 2)),
	} {
		if !errors.Is(err, retrieval.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if means, medoids, err := Reduce(nil, 2, 2); err != nil || len(means)+len(medoids) != 0 {
		t.Errorf("of nothing: %v, %v, %v", means, medoids, err)
	}
}

func third[A, B any](_ A, _ B, err error) error { return err }

// What is reduced is valid in every codec, and the lengths of vectors make no difference to it.
func TestReducedValidates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		width, n := rapid.IntRange(1, 40).Draw(t, "width"), rapid.IntRange(1, 300).Draw(t, "tokens")
		x := rapid.SampledFrom([]func(*rand.Rand, int, int) []float32{floats, anisotropic}).Draw(t, "kind")(rng, n, width)
		copy(x[width:], x[:rapid.IntRange(0, n-1).Draw(t, "equal")*width]) // some of them alike
		every := rapid.IntRange(1, 16).Draw(t, "every")
		means, medoids, err := Reduce(x, width, every)
		if err != nil {
			t.Fatal(err)
		}
		codec := rapid.SampledFrom(retrieval.Codecs).Draw(t, "codec")
		c, err := Quantize(codec, means, width)
		if err != nil {
			t.Fatal(err)
		}
		d := retrieval.Document{ID: "a", Codes: Pool(c)}
		if err := d.Validate(width); err != nil || c.Len() != len(medoids) {
			t.Fatalf("%v: %d tokens of %d", err, c.Len(), len(medoids))
		}
		for i := range x {
			x[i] *= 4
		}
		if longer, at, err := Reduce(x, width, every); err != nil || !slices.Equal(longer, means) || !slices.Equal(at, medoids) {
			t.Fatalf("longer vectors are reduced to others: %v", err)
		}
	})
}
