package index

import (
	"math/rand/v2"
	"testing"

	"ostraca/retrieval"
)

// TestDecode: what codes stand for is the vectors that they were made of, but for what the codec loses (docs/score.md).
func TestDecode(t *testing.T) {
	// Of a difference; that from the unit vector of a cluster has a square of 2 at most.
	lost := map[retrieval.Codec]float64{retrieval.Int8: .0002, retrieval.Bits4: 2 * .0095, retrieval.Bits3: 2 * .0346, retrieval.Bits2: 2 * .1175, retrieval.Bits1: 2 * .3634}
	for _, width := range []int{5, 48, 64, 100, 384} {
		vectors := floats(rand.New(rand.NewPCG(4, uint64(width))), 300, width) // of two windows
		x := make([]float32, len(vectors))
		for i := range 300 {
			if err := unit(x[i*width:(i+1)*width], vectors[i*width:]); err != nil {
				t.Fatal(err)
			}
		}
		for _, codec := range retrieval.Codecs {
			codes, err := Quantize(codec, vectors, width)
			if err != nil {
				t.Fatal(err)
			}
			apart := 0.
			for i, v := range Decode(codes) {
				apart += float64(v-x[i]) * float64(v-x[i]) / 300
			}
			if apart > lost[codec] || apart == 0 {
				t.Errorf("%s, %d wide: %.4f of a square is lost", codec, width, apart)
			}
		}
	}
	if got := Decode(retrieval.Codes{Codec: retrieval.Bits4, Width: 8}); len(got) != 0 {
		t.Errorf("of no tokens: %v", got)
	}
}
