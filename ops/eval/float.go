package eval

import (
	"cmp"
	"fmt"
	"iter"
	"math"
	"slices"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"

	"ostraca/retrieval"
)

// floatBlock is the token vectors multiplied at a time.
const floatBlock = 4096

// FloatMaxSim ranks documents by MaxSim in float32, with somebody else's matrix product: what recall is measured against.
// Documents and queries are rows of width floats, used as they are; a document without tokens is in no ranking, and a query
// without tokens finds nothing. It returns the rows of the k best documents of each query; of equal scores the lower row
// first. What is no whole number of vectors is [retrieval.ErrInvalid].
func FloatMaxSim(documents iter.Seq2[[]float32, error], queries [][]float32, width, k int) ([][]int, error) {
	if width < 1 {
		return nil, fmt.Errorf("a width of %d: %w", width, retrieval.ErrInvalid)
	}
	f := floatRanker{width: width, scores: make([][]scored, len(queries))}
	for i, q := range queries {
		if len(q)%width != 0 {
			return nil, fmt.Errorf("query %d has %d floats for a width of %d: %w", i, len(q), width, retrieval.ErrInvalid)
		}
		f.query = append(f.query, q...)
		f.ends = append(f.ends, len(f.query)/width)
	}
	row := 0
	for d, err := range documents {
		if err != nil {
			return nil, err
		}
		if len(d)%width != 0 {
			return nil, fmt.Errorf("document %d has %d floats for a width of %d: %w", row, len(d), width, retrieval.ErrInvalid)
		}
		if len(d) > 0 {
			f.block = append(f.block, d...)
			f.rows, f.lens = append(f.rows, row), append(f.lens, len(d)/width)
		}
		if len(f.block) >= floatBlock*width {
			f.flush()
		}
		row++
	}
	f.flush()
	best := make([][]int, len(queries))
	for i, s := range f.scores {
		if len(queries[i]) == 0 {
			continue
		}
		slices.SortStableFunc(s, func(a, b scored) int { return cmp.Compare(b.score, a.score) })
		for _, x := range s[:min(k, len(s))] {
			best[i] = append(best[i], x.row)
		}
	}
	return best, nil
}

type scored struct {
	row   int
	score float32
}

type floatRanker struct {
	width  int
	query  []float32 // all queries end to end
	ends   []int     // the token behind each query
	scores [][]scored
	block  []float32
	rows   []int // of the documents in block
	lens   []int // tokens of each
	dots   []float32
}

// flush scores the documents of the block.
func (f *floatRanker) flush() {
	n, m := len(f.block)/f.width, len(f.query)/f.width
	if n == 0 || m == 0 {
		return
	}
	f.dots = append(f.dots[:0], make([]float32, n*m)...)
	blas32.Gemm(blas.NoTrans, blas.Trans, 1,
		blas32.General{Rows: n, Cols: f.width, Stride: f.width, Data: f.block},
		blas32.General{Rows: m, Cols: f.width, Stride: f.width, Data: f.query},
		0, blas32.General{Rows: n, Cols: m, Stride: m, Data: f.dots})
	best := make([]float32, m)
	at := 0
	for i, row := range f.rows {
		for t := range best {
			best[t] = float32(math.Inf(-1))
		}
		for range f.lens[i] {
			for t, x := range f.dots[at*m : (at+1)*m] {
				best[t] = max(best[t], x)
			}
			at++
		}
		start := 0
		for q, end := range f.ends {
			var sum float32
			for _, x := range best[start:end] {
				sum += x
			}
			f.scores[q] = append(f.scores[q], scored{row, sum})
			start = end
		}
	}
	f.block, f.rows, f.lens = f.block[:0], f.rows[:0], f.lens[:0]
}

// Overlap returns the share of the k best true rows that are among the k best found ones: recall@k. Fewer true rows than k
// are measured as what there is.
func Overlap(found, truth []int, k int) float64 {
	truth = truth[:min(k, len(truth))]
	if len(truth) == 0 {
		return 1
	}
	hit := 0
	for _, row := range found[:min(k, len(found))] {
		if slices.Contains(truth, row) {
			hit++
		}
	}
	return float64(hit) / float64(len(truth))
}
