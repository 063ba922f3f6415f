package eval

import (
	"errors"
	"iter"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ostraca/retrieval"
)

// sequence yields the documents, and then the error if there is one.
func sequence(documents [][]float32, err error) iter.Seq2[[]float32, error] {
	return func(yield func([]float32, error) bool) {
		for _, d := range documents {
			if !yield(d, nil) {
				return
			}
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// maxSim is the definition in float64: the sum over the query's tokens of the largest product with one of the document's.
func maxSim(query, document []float32, width int) (sum float64) {
	for q := range slices.Chunk(query, width) {
		best := math.Inf(-1)
		for d := range slices.Chunk(document, width) {
			dot := 0.0
			for i := range q {
				dot += float64(q[i]) * float64(d[i])
			}
			best = max(best, dot)
		}
		sum += best
	}
	return sum
}

// bestRows takes the best of what is left, k times; of equal ones the first.
func bestRows(query []float32, documents [][]float32, width, k int) (rows []int) {
	scores := map[int]float64{}
	for row, d := range documents {
		if len(d) > 0 {
			scores[row] = maxSim(query, d, width)
		}
	}
	for len(scores) > 0 && len(rows) < k {
		best := -1
		for row := range documents {
			if s, ok := scores[row]; ok && (best < 0 || s > scores[best]) {
				best = row
			}
		}
		rows = append(rows, best)
		delete(scores, best)
	}
	return rows
}

func TestFloatMaxSimByHand(t *testing.T) {
	documents := [][]float32{
		{-3, 0},
		{},
		{1, 0, 0, 1}, // of two tokens, the best of each
		{1, 1},       // the same scores as the one before
		{-1, -1},
		{2, -5},
	}
	for _, c := range []struct {
		name  string
		query []float32
		k     int
		want  []int
	}{
		{"one token", []float32{1, 0}, 9, []int{5, 2, 3, 4, 0}},         // 2, 1, 1, -1, -3
		{"two tokens", []float32{1, 0, 0, 1}, 9, []int{2, 3, 4, 0, 5}},  // 2, 2, -2, -3, -3
		{"all negative", []float32{-1, -9}, 4, []int{5, 4, 0, 2}},       // 43, 10, 3, -1
		{"cut in a tie", []float32{1, 0}, 2, []int{5, 2}},               // the lower row is in
		{"a token that is nothing", []float32{0, 0}, 3, []int{0, 2, 3}}, // all 0
		{"none asked for", []float32{1, 0}, 0, nil},
		{"no tokens", nil, 9, nil},
	} {
		got, err := FloatMaxSim(sequence(documents, nil), [][]float32{{1, 0}, c.query}, 2, c.k)
		if err != nil || !slices.Equal(got[1], c.want) {
			t.Errorf("%s: %v, %v, want %v", c.name, got, err, c.want)
		}
		if alone, err := FloatMaxSim(sequence(documents, nil), [][]float32{c.query}, 2, c.k); err != nil || !slices.Equal(alone[0], c.want) {
			t.Errorf("%s, alone: %v, %v, want %v", c.name, alone, err, c.want)
		}
	}
	// Every product is below 0.
	got, err := FloatMaxSim(sequence([][]float32{{-3, -3}, {-1, -2, -2, -1}, {-2, -2}}, nil), [][]float32{{1, 1}}, 2, 3)
	if err != nil || !reflect.DeepEqual(got, [][]int{{1, 2, 0}}) { // -6, -3, -4
		t.Errorf("negative scores: %v, %v", got, err)
	}
	if got, err := FloatMaxSim(sequence(nil, nil), [][]float32{{1, 1}}, 2, 3); err != nil || len(got) != 1 || len(got[0]) != 0 {
		t.Errorf("no documents: %v, %v", got, err)
	}
}

// Small whole numbers are exact in float32, so that the rankings are the same to the last tie; and there are many ties.
func TestFloatMaxSimAsDefined(t *testing.T) {
	const width = 6
	random := rand.New(rand.NewPCG(5, 6))
	vectors := func(tokens, low int) []float32 {
		v := make([]float32, tokens*width)
		for i := range v {
			v[i] = float32(low + random.IntN(4))
		}
		return v
	}
	var documents [][]float32
	tokens := 0
	for range 400 {
		n := random.IntN(40) // none as well
		documents, tokens = append(documents, vectors(n, -2)), tokens+n
	}
	documents[50] = vectors(floatBlock+1, -2)
	documents = append(documents, vectors(3, -2), nil)
	if tokens < floatBlock {
		t.Fatal(tokens)
	}
	queries := [][]float32{vectors(1, -2), vectors(7, -2), nil, vectors(32, -2), vectors(2, 1), vectors(3, -4)}
	for _, k := range []int{1, 10, 100, 1000} {
		got, err := FloatMaxSim(sequence(documents, nil), queries, width, k)
		if err != nil {
			t.Fatal(err)
		}
		for i, q := range queries {
			want := bestRows(q, documents, width, k)
			if len(q) == 0 {
				want = nil
			}
			if !slices.Equal(got[i], want) {
				t.Errorf("query %d, best %d: %v, want %v", i, k, got[i], want)
			}
		}
	}
}

func TestFloatMaxSimErrors(t *testing.T) {
	good := [][]float32{{1, 2}, {3, 4}}
	for _, c := range []struct {
		documents, queries [][]float32
		width              int
		part               string
	}{
		{good, good, 0, "a width of 0"},
		{good, nil, -2, "a width of -2"},
		{good, [][]float32{{1, 2}, {1, 2, 3}}, 2, "query 1 has 3 floats for a width of 2"},
		{[][]float32{{1, 2}, {}, {1}}, good, 2, "document 2 has 1 floats for a width of 2"},
	} {
		got, err := FloatMaxSim(sequence(c.documents, nil), c.queries, c.width, 3)
		if got != nil || !errors.Is(err, retrieval.ErrInvalid) || !strings.Contains(err.Error(), c.part) {
			t.Errorf("%v, %v, want %q", got, err, c.part)
		}
	}
	broken := errors.New("broken")
	if got, err := FloatMaxSim(sequence(good, broken), good, 2, 3); got != nil || !errors.Is(err, broken) {
		t.Errorf("a broken sequence: %v, %v", got, err)
	}
}

func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		found, truth []int
		k            int
		want         float64
	}{
		{[]int{1, 2, 3, 4}, []int{1, 2, 3, 4}, 4, 1},
		{[]int{4, 3, 2, 1}, []int{1, 2, 3, 4}, 4, 1}, // the order is no matter
		{[]int{1, 2, 3, 4}, []int{5, 6, 7, 8}, 4, 0},
		{[]int{1, 9, 8, 4}, []int{1, 2, 3, 4}, 4, 0.5},
		{[]int{9, 8, 7, 4}, []int{4, 3, 2, 1}, 4, 0.25},
		{[]int{1, 2, 3, 4}, []int{4, 2, 1, 3}, 2, 0.5}, // only the first two of both
		{[]int{3, 4, 1, 2}, []int{1, 2, 3, 4}, 2, 0},
		{[]int{1, 2, 3}, []int{1, 2, 4}, 10, 2. / 3}, // k over both lengths
		{[]int{1}, []int{1, 2, 3, 4}, 4, 0.25},       // too few found
		{[]int{9, 1, 2}, []int{1, 2}, 3, 1},          // fewer true ones than k
		{nil, []int{1, 2}, 2, 0},
		{[]int{1, 2}, nil, 2, 1},
		{nil, nil, 2, 1},
	} {
		if got := Overlap(c.found, c.truth, c.k); !near(got, c.want) {
			t.Errorf("%v of %v at %d: %v, want %v", c.found, c.truth, c.k, got, c.want)
		}
	}
}
