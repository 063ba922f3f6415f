package retrieval

import (
	"cmp"
	"context"
	"slices"
	"strings"
)

// Searcher answers a query with its best K hits, in the order of [Compare]. An index does, and so do many of them merged.
// Errors wrap [ErrInvalid] or [ErrTooLarge] where the query cannot be asked, else what stopped the search.
type Searcher interface {
	Search(ctx context.Context, q *Query) (Answer, error)
}

// Alignment says which token of a document a query token met best, and how well.
type Alignment struct {
	Token int32 // position in the document
	Score int32 // the pair's integer score, before the weight
}

// Hit is one document of an answer.
type Hit struct {
	ID         string
	Sum        int64       // the weighted integer score: what decides the order
	Score      float64     // the same as a float, for people
	Alignments []Alignment // one a query token, in the query's order
}

// Stats count the work behind an answer. They add.
type Stats struct {
	Documents int64 // documents scored by their tokens
	Tokens    int64 // document tokens scored
	Segments  int64 // segments visited
	Centroids int64 // of lists met, to find out into which to look
	Sketches  int64 // sketch vectors scanned
	Coarse    int64 // coarse vectors scored
	Sketched  int64 // documents kept by their sketches
	Micros    Micros
}

// Micros are the microseconds that a stage took, by the clock on the wall. They are no part of any promise.
type Micros struct {
	Sketch, Coarse, Score int64
}

// Add returns the sum of both.
func (s Stats) Add(t Stats) Stats {
	s.Documents += t.Documents
	s.Tokens += t.Tokens
	s.Segments += t.Segments
	s.Centroids += t.Centroids
	s.Sketches += t.Sketches
	s.Coarse += t.Coarse
	s.Sketched += t.Sketched
	s.Micros.Sketch += t.Micros.Sketch
	s.Micros.Coarse += t.Micros.Coarse
	s.Micros.Score += t.Micros.Score
	return s
}

// Vectors returns how many vectors were met, of whatever tier.
func (s Stats) Vectors() int64 { return s.Centroids + s.Sketches + s.Coarse + s.Tokens }

// Answer is the best hits in order, with what they cost. Answers are a monoid under [Merge].
type Answer struct {
	Hits  []Hit
	Stats Stats
}

// Compare orders hits: higher sum first, of equal sums the smaller id.
func Compare(a, b Hit) int {
	if c := cmp.Compare(b.Sum, a.Sum); c != 0 {
		return c
	}
	return strings.Compare(a.ID, b.ID)
}

// Merge returns the best k hits of answers about different documents, each in the order of [Compare]. It is associative
// and commutative, and an empty answer changes nothing. The answers are left as they are; alignments are shared with them.
func Merge(k int, answers ...Answer) Answer {
	var out Answer
	rest, total := make([][]Hit, len(answers)), 0
	for i, a := range answers {
		rest[i], total = a.Hits, total+len(a.Hits)
		out.Stats = out.Stats.Add(a.Stats)
	}
	k = max(0, min(k, total))
	out.Hits = slices.Grow(out.Hits, k)
	for range k {
		best := -1
		for i, hits := range rest {
			if len(hits) > 0 && (best < 0 || Compare(hits[0], rest[best][0]) < 0) {
				best = i
			}
		}
		out.Hits = append(out.Hits, rest[best][0])
		rest[best] = rest[best][1:]
	}
	return out
}

// Union searches several Searchers that share no document as if they were one.
type Union []Searcher

// Search asks every part the whole question and merges their answers.
func (u Union) Search(ctx context.Context, q *Query) (Answer, error) {
	if err := q.Validate(); err != nil {
		return Answer{}, err
	}
	answers := make([]Answer, len(u))
	for i, part := range u {
		var err error
		if answers[i], err = part.Search(ctx, q); err != nil {
			return Answer{}, err
		}
	}
	return Merge(q.K, answers...), nil
}
