package eval

import (
	"fmt"
	"maps"
	"slices"

	"ostraca/retrieval"
)

// Scores are the measures of one query, or their means over many: each from 0 to 1.
type Scores struct {
	NDCG10    float64 `json:"ndcg@10"`
	MRR10     float64 `json:"mrr@10"`
	Recall100 float64 `json:"recall@100"`
	Success5  float64 `json:"success@5"`
}

// QueryScores are the measures of one query.
type QueryScores struct {
	Query string `json:"query"`
	Scores
}

// Report is the quality of a set of rankings.
type Report struct {
	Scores                 // means over the queries
	Queries  int           `json:"queries"`             // queries that were measured
	Unjudged int           `json:"unjudged"`            // queries left out, for no document is judged relevant to them
	PerQuery []QueryScores `json:"per_query,omitempty"` // by query id, so that reports on the same judgements are aligned
}

// Evaluate measures the rankings (document ids by query id) against the judgements (grades by query id and document id).
// A query with a relevant judgement and without a ranking counts, with zeros: not to answer is no way to a better mean.
// A ranking that names a document twice, and judgements without a query to measure, wrap [retrieval.ErrInvalid].
func Evaluate(judgements map[string]map[string]int, rankings map[string][]string) (Report, error) {
	var r Report
	for _, query := range slices.Sorted(maps.Keys(judgements)) {
		grades, ranking := judgements[query], rankings[query]
		if relevant(grades) == 0 {
			r.Unjudged++
			continue
		}
		if id, ok := repeated(ranking); ok {
			return Report{}, fmt.Errorf("the ranking of query %q has document %q twice: %w", query, id, retrieval.ErrInvalid)
		}
		r.PerQuery = append(r.PerQuery, QueryScores{query, Scores{
			NDCG10:    NDCG(ranking, grades, 10),
			MRR10:     ReciprocalRank(ranking, grades, 10),
			Recall100: Recall(ranking, grades, 100),
			Success5:  Success(ranking, grades, 5),
		}})
	}
	for query := range rankings {
		if _, ok := judgements[query]; !ok {
			r.Unjudged++
		}
	}
	r.Queries = len(r.PerQuery)
	if r.Queries == 0 {
		return Report{}, fmt.Errorf("no query has a relevant judgement: %w", retrieval.ErrInvalid)
	}
	r.Scores = Scores{
		NDCG10:    mean(r.Values(func(s Scores) float64 { return s.NDCG10 })),
		MRR10:     mean(r.Values(func(s Scores) float64 { return s.MRR10 })),
		Recall100: mean(r.Values(func(s Scores) float64 { return s.Recall100 })),
		Success5:  mean(r.Values(func(s Scores) float64 { return s.Success5 })),
	}
	return r, nil
}

// Values returns one measure of every query, in the order of PerQuery: what [Bootstrap] and [Difference] take.
func (r Report) Values(measure func(Scores) float64) []float64 {
	out := make([]float64, len(r.PerQuery))
	for i, q := range r.PerQuery {
		out[i] = measure(q.Scores)
	}
	return out
}

// mean adds from the first to the last.
func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

func repeated(ranking []string) (id string, ok bool) {
	seen := make(map[string]bool, len(ranking))
	for _, id := range ranking {
		if seen[id] {
			return id, true
		}
		seen[id] = true
	}
	return "", false
}
