package encoder

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"
)

// sampled returns a sample of random vectors whose standard deviation along axis j, turned by a reflection, is that of spread.
func sampled(t *testing.T, from, rows int, spread func(j int) float64) *Fit {
	t.Helper()
	f, err := NewFit("sample", from, 1)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(3, uint64(from)))
	mirror, squares := make([]float64, from), 0.
	for i := range mirror {
		mirror[i] = random.NormFloat64()
		squares += mirror[i] * mirror[i]
	}
	x, row := make([]float32, from), make([]float64, from)
	for range rows {
		along := 0.
		for j := range row {
			row[j] = spread(j) * random.NormFloat64()
			along += row[j] * mirror[j]
		}
		for j := range row {
			x[j] = float32(row[j] - 2*along/squares*mirror[j])
		}
		if err := f.Add(x); err != nil {
			t.Fatal(err)
		}
	}
	f.flush()
	return f
}

// TestLeadingDirections: subspace iteration finds the directions that the decomposition of the whole finds, in few rounds where there are gaps and where there are
// hardly any, also where only a few dimensions are there at all.
func TestLeadingDirections(t *testing.T) {
	for name, c := range map[string]struct {
		from, count int
		spread      func(j int) float64
		rounds      int
		apart       float64 // how far a direction may be from the other's
	}{
		"gaps":   {200, 12, func(j int) float64 { return math.Pow(.8, float64(j)) }, 12, 1e-6},
		"slow":   {256, 32, func(j int) float64 { return math.Pow(1+float64(j), -.5) }, 20, 1e-5},
		"alike":  {128, 8, func(int) float64 { return 1 }, 40, 1e-4},
		"few":    {150, 10, func(j int) float64 { return float64(max(0, 10-j)) }, 12, 1e-6},
		"narrow": {40, 20, func(j int) float64 { return math.Pow(.9, float64(j)) }, 3, 1e-6}, // the block is the whole
	} {
		f := sampled(t, c.from, 4*c.from, c.spread)
		values, directions := f.all()
		got, leading, rounds := f.leading(c.count)
		if rounds > c.rounds {
			t.Errorf("%s: %d rounds", name, rounds)
		}
		for i := range c.count {
			along := math.Abs(mat.Dot(directions.ColView(i), leading.ColView(i)))
			if apart := math.Sqrt(max(0, 2-2*along)); math.Abs(got[i]-values[i]) > 1e-12 || apart > c.apart {
				t.Errorf("%s: eigenvalue %d is %g, not %g; the directions are %g apart", name, i, got[i], values[i], apart)
			}
		}
		again, same, _ := f.leading(c.count)
		if !mat.Equal(same, leading) || again[0] != got[0] {
			t.Errorf("%s: a second time it finds others", name)
		}
	}
}
