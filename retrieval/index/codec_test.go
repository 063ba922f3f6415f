package index

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ostraca/retrieval"
)

func quantize(t rapid.TB, x []float32, width int) retrieval.Codes {
	t.Helper()
	c, err := Quantize(retrieval.Int8, x, width)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// dequantized returns coordinate i of token t.
func dequantized(c retrieval.Codes, t, i int) float64 {
	code := float64(c.Rows[t*retrieval.Stride(c.Width)+i]) - 128
	return code / 127 * float64(c.Scales[t]) / retrieval.MaxScale
}

// Half a step of the code and half a step of the scale are all that is lost.
func TestQuantizeErrorBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		width := rapid.IntRange(1, 70).Draw(t, "width")
		n := rapid.IntRange(0, 4).Draw(t, "tokens")
		x := rapid.SliceOfN(rapid.Float32Range(-1e30, 1e30), n*width, n*width).Draw(t, "x")
		for i := range n {
			x[i*width] += 1 // so that no row is zero
			if x[i*width] == 0 {
				x[i*width] = 1
			}
		}
		c := quantize(t, x, width)
		d := retrieval.Document{ID: "a", Codes: c}
		if err := d.Validate(width); err != nil || c.Len() != n {
			t.Fatalf("%d tokens: %v", c.Len(), err)
		}
		for j := range n {
			row := x[j*width : (j+1)*width]
			var squares, m float64
			for _, v := range row {
				squares += float64(v) * float64(v)
			}
			for _, v := range row {
				m = max(m, math.Abs(float64(v)/math.Sqrt(squares)))
			}
			bound := m*.5001/127 + .5001/retrieval.MaxScale
			for i, v := range row {
				if e := math.Abs(dequantized(c, j, i) - float64(v)/math.Sqrt(squares)); e > bound {
					t.Fatalf("token %d, coordinate %d of %v is off by %v, more than %v", j, i, row, e, bound)
				}
			}
		}
	})
}

// A row's codes depend on nothing but its direction: not on its neighbours, and not on its length beyond rounding, where
// powers of two round nothing.
func TestQuantizeIsARowsOwn(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, width := range []int{1, 3, 30, 128} {
		x := floats(rng, 5, width)
		all := quantize(t, x, width)
		for j := range 5 {
			row := slices.Clone(x[j*width : (j+1)*width])
			for _, power := range []float32{1, 0x1p-120, 0x1p120} {
				for i := range row {
					row[i] = x[j*width+i] * power
				}
				one := quantize(t, row, width)
				if stride := retrieval.Stride(width); !slices.Equal(one.Rows, all.Rows[j*stride:(j+1)*stride]) || one.Scales[0] != all.Scales[j] {
					t.Fatalf("width %d, token %d times %g has other codes alone", width, j, power)
				}
			}
		}
	}
}

func TestQuantizeExtremes(t *testing.T) {
	oneHot := quantize(t, []float32{0, 0, -3, 0, 0}, 5)
	if !slices.Equal(oneHot.Rows, []byte{128, 128, 1, 128, 128, 128, 128, 128}) || oneHot.Scales[0] != retrieval.MaxScale {
		t.Errorf("one-hot: %v", oneHot)
	}
	for _, width := range []int{1, 2, 384, retrieval.MaxWidth} {
		c := quantize(t, slices.Repeat([]float32{7}, width), width)
		want := uint16(math.RoundToEven(retrieval.MaxScale / math.Sqrt(float64(width))))
		if !slices.Equal(c.Rows[:width], slices.Repeat([]byte{255}, width)) || c.Scales[0] != want {
			t.Errorf("all equal, %d wide: scale %d, want %d", width, c.Scales[0], want)
		}
	}
	largest, smallest := float32(math.MaxFloat32), float32(math.SmallestNonzeroFloat32)
	for _, x := range [][]float32{{largest, -largest, largest}, {smallest, -smallest, smallest}} {
		if c := quantize(t, x, 3); !slices.Equal(c.Rows, []byte{255, 1, 255, 128}) || c.Scales[0] != 18918 {
			t.Errorf("%v: %v", x, c)
		}
	}
	if c := quantize(t, nil, 8); c.Len() != 0 || c.Width != 8 {
		t.Errorf("nothing: %v", c)
	}
}

// Halves go to the even code.
func TestCodeRoundsToEven(t *testing.T) {
	for x, want := range map[float32]int{.5: 0, 1.5: 2, 2.5: 2, -.5: 0, -1.5: -2, 126.6: 127, 200: 127, -200: -127} {
		if got := code(x, 1); got != want {
			t.Errorf("code of %v is %d, want %d", x, got, want)
		}
	}
}

func TestQuantizeRefuses(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for name, c := range map[string]struct {
		x     []float32
		width int
		want  error
		says  string
	}{
		"NaN":       {[]float32{1, 2, 1, nan}, 2, retrieval.ErrInvalid, "token 1: the vector's norm is NaN: invalid argument"},
		"infinite":  {[]float32{inf, 2, 1, 1}, 2, retrieval.ErrInvalid, "token 0: the vector's norm is +Inf: invalid argument"},
		"zero":      {[]float32{1, 2, 0, 0}, 2, retrieval.ErrInvalid, "token 1: the vector's norm is 0: invalid argument"},
		"length":    {[]float32{1, 2, 3}, 2, retrieval.ErrInvalid, ""},
		"width 0":   {nil, 0, retrieval.ErrInvalid, ""},
		"too wide":  {nil, retrieval.MaxWidth + 1, retrieval.ErrInvalid, ""},
		"too many":  {make([]float32, retrieval.MaxDocumentTokens+1), 1, retrieval.ErrTooLarge, ""},
		"width < 0": {nil, -1, retrieval.ErrInvalid, ""},
	} {
		_, err := Quantize(retrieval.Int8, c.x, c.width)
		_, queryErr := QuantizeQuery(retrieval.Int8, c.x, c.width, nil, 1)
		if !errors.Is(err, c.want) || !errors.Is(queryErr, c.want) || c.says != "" && (err.Error() != c.says || queryErr.Error() != c.says) {
			t.Errorf("%s: %v; %v", name, err, queryErr)
		}
	}
}

func TestQuantizeQuery(t *testing.T) {
	q, err := QuantizeQuery(retrieval.Int8, []float32{3, 4, 0, -2}, 2, nil, 5)
	if err != nil {
		t.Fatal(err)
	}
	if q.Max != 1 || !slices.Equal(q.Codes, []int8{76, 102, 0, -127}) || !slices.Equal(q.Weights, []uint16{4096, 4096}) || q.K != 5 {
		t.Errorf("%+v", q)
	}
	weights := []uint16{0, 65535}
	q, err = QuantizeQuery(retrieval.Int8, []float32{3, 4, 0, -2}, 2, weights, 5)
	if err != nil {
		t.Fatal(err)
	}
	if weights[0] = 7; !slices.Equal(q.Weights, []uint16{0, 65535}) {
		t.Errorf("weights %v", q.Weights)
	}
	for name, f := range map[string]func() (*retrieval.Query, error){
		"no tokens": func() (*retrieval.Query, error) { return QuantizeQuery(retrieval.Int8, nil, 2, nil, 5) },
		"weights": func() (*retrieval.Query, error) {
			return QuantizeQuery(retrieval.Int8, []float32{1, 2}, 2, []uint16{1, 2}, 5)
		},
		"k": func() (*retrieval.Query, error) { return QuantizeQuery(retrieval.Int8, []float32{1, 2}, 2, nil, 0) },
		"no weights": func() (*retrieval.Query, error) {
			return QuantizeQuery(retrieval.Int8, []float32{1, 2}, 2, []uint16{}, 5)
		},
	} {
		if _, err := f(); !errors.Is(err, retrieval.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The codes of given vectors, pinned: the same on every CPU and in every version of the code, for shards hold them.
func TestCodesArePinned(t *testing.T) {
	rng, h := rand.New(rand.NewPCG(3, 4)), fnv.New64a()
	for _, width := range []int{1, 7, 96, 384, 1024} {
		x := make([]float32, 20*width)
		for i := range x { // integers of 24 bits, so that nothing but our own code rounds
			x[i] = float32(rng.IntN(1<<24) - 1<<23)
		}
		c := quantize(t, x, width)
		q, err := QuantizeQuery(retrieval.Int8, x, width, nil, 1)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(h, c.Rows, c.Scales, q.Codes, math.Float32bits(q.Max))
	}
	if got := h.Sum64(); got != 0xc2e934c5c421028f {
		t.Errorf("the codes hash to %#x", got)
	}
}

// What the codes cost: MaxSim by integers against float64 on the same vectors. Random directions are the hard case, where
// the largest cosines are small.
func TestScoreIsNearFloat64(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, width := range []int{30, 128, 384} {
		const n, tokens = 8, 40
		query, document := floats(rng, n, width), floats(rng, tokens, width)
		q, err := QuantizeQuery(retrieval.Int8, query, width, nil, 1)
		if err != nil {
			t.Fatal(err)
		}
		got := model{"a": {ID: "a", Codes: quantize(t, document, width)}}.search(q).Hits[0].Score
		var want float64
		for i := range n {
			best := math.Inf(-1)
			for j := range tokens {
				best = max(best, cosine(query[i*width:(i+1)*width], document[j*width:(j+1)*width]))
			}
			want += best
		}
		t.Logf("width %d: %.6f, float64 %.6f", width, got, want)
		if e := math.Abs(got-want) / want; e > .005 {
			t.Errorf("width %d: %v, and %v in float64: off by %.2g", width, got, want, e)
		}
	}
}

func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	return ab / math.Sqrt(aa*bb)
}
