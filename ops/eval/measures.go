package eval

import (
	"math"
	"slices"
)

// NDCG returns the normalised discounted cumulated gain of the first k, 0 to 1: the sum of grade / log2(rank + 1), divided
// by the same sum of the best order of all judged documents (Järvelin and Kekäläinen 2002, with the linear gain of
// trec_eval's ndcg_cut). Without a relevant judgement it is 0.
func NDCG(ranking []string, grades map[string]int, k int) float64 {
	var got, ideal []int
	for _, id := range first(ranking, k) {
		got = append(got, grades[id])
	}
	for _, grade := range grades {
		ideal = append(ideal, grade)
	}
	slices.SortFunc(ideal, func(a, b int) int { return b - a })
	best := gain(ideal[:min(k, len(ideal))])
	if best == 0 {
		return 0
	}
	return gain(got) / best
}

// gain is the discounted sum of the grades in this order.
func gain(grades []int) (sum float64) {
	for i, grade := range grades {
		if grade > 0 {
			sum += float64(grade) / math.Log2(float64(i+2))
		}
	}
	return sum
}

// ReciprocalRank returns 1 / the rank of the first relevant document among the first k, or 0. Its mean is MRR@k.
func ReciprocalRank(ranking []string, grades map[string]int, k int) float64 {
	for i, id := range first(ranking, k) {
		if grades[id] > 0 {
			return 1 / float64(i+1)
		}
	}
	return 0
}

// Recall returns the share of all relevant documents that is among the first k, or 0 if none is relevant.
func Recall(ranking []string, grades map[string]int, k int) float64 {
	all := relevant(grades)
	if all == 0 {
		return 0
	}
	found := 0
	for _, id := range first(ranking, k) {
		if grades[id] > 0 {
			found++
		}
	}
	return float64(found) / float64(all)
}

// Success returns 1 if one of the first k is relevant, and 0 if not.
func Success(ranking []string, grades map[string]int, k int) float64 {
	if ReciprocalRank(ranking, grades, k) > 0 {
		return 1
	}
	return 0
}

func first(ranking []string, k int) []string { return ranking[:min(k, len(ranking))] }

// relevant counts the relevant documents.
func relevant(grades map[string]int) (n int) {
	for _, grade := range grades {
		if grade > 0 {
			n++
		}
	}
	return n
}

// Judged reports whether any document is relevant: whether the query can be measured.
func Judged(grades map[string]int) bool { return relevant(grades) > 0 }
