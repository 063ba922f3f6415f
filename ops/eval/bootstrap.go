package eval

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"ostraca/retrieval"
)

// resamples is how many times the queries are drawn anew. With so many the ends of an interval hold to about a hundredth
// of its width.
const resamples = 10_000

// Interval is a mean over queries with its 95 % interval.
type Interval struct {
	Mean float64 `json:"mean"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Bootstrap returns the mean of the values, one a query, and the percentile interval of the means of queries drawn with
// replacement (Efron 1979; Sakai 2006 for rankings). The draws are the same in every call. An empty list is
// [retrieval.ErrInvalid].
func Bootstrap(values []float64) (Interval, error) {
	if len(values) == 0 {
		return Interval{}, fmt.Errorf("an interval of no queries: %w", retrieval.ErrInvalid)
	}
	random := rand.New(rand.NewPCG(1, 1))
	means := make([]float64, resamples)
	for i := range means {
		sum := 0.0
		for range values {
			sum += values[random.IntN(len(values))]
		}
		means[i] = sum / float64(len(values))
	}
	slices.Sort(means)
	return Interval{mean(values), percentile(means, 0.025), percentile(means, 0.975)}, nil
}

// Difference returns the mean of a - b and its interval, of two lists over the same queries in the same order: a paired
// bootstrap. If the interval leaves 0 out, the queries tell the two apart at the 5 % level. Lists of different lengths
// are [retrieval.ErrInvalid].
func Difference(a, b []float64) (Interval, error) {
	if len(a) != len(b) {
		return Interval{}, fmt.Errorf("paired lists of %d and %d queries: %w", len(a), len(b), retrieval.ErrInvalid)
	}
	differences := make([]float64, len(a))
	for i := range a {
		differences[i] = a[i] - b[i]
	}
	return Bootstrap(differences)
}

// Percentile returns the smallest of the values that a share p of them does not exceed: of n in order, the one at place
// p * n, rounded up. Of none it is 0.
func Percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return 0
	}
	return percentile(slices.Sorted(slices.Values(values)), p)
}

// percentile is [Percentile] of one or more values in order.
func percentile(sorted []float64, p float64) float64 {
	const rounding = 1e-9 // 0.07 * 100 is a little over 7
	place := int(math.Ceil(p*float64(len(sorted)) - rounding))
	return sorted[min(max(place, 1), len(sorted))-1]
}
