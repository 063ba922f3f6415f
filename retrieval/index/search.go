package index

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"ostraca/retrieval"
	"ostraca/retrieval/kernel"
)

// Search scores every living document that has tokens, and returns the best by docs/score.md. The answer does not depend on
// the number of threads, the kernel, or how documents lie in segments. An error wraps retrieval.ErrInvalid or
// retrieval.ErrTooLarge for the query, or the context's, which is looked at between documents, every stepWork.
func (v View) Search(ctx context.Context, q *retrieval.Query) (retrieval.Answer, error) {
	if err := v.check(q); err != nil {
		return retrieval.Answer{}, err
	}
	x, parts := v.index, v.parts
	rows := 0
	for _, p := range parts {
		rows += len(p.scales)
	}
	step := max(1, x.step/(q.Width*q.Len()))
	steps := (rows + step - 1) / step
	answers := make([]retrieval.Answer, max(1, min(x.threads, steps)))
	var taken atomic.Int64
	work := func(worker int) {
		s := newScan(q, x.kernel)
		for ctx.Err() == nil {
			i := int(taken.Add(1)) - 1
			if i >= steps {
				break
			}
			s.rows(parts, i*step, (i+1)*step)
		}
		answers[worker] = s.answer()
	}
	var others sync.WaitGroup
	for worker := 1; worker < len(answers); worker++ {
		others.Go(func() { work(worker) })
	}
	work(0)
	others.Wait()
	if int(taken.Load()) < steps { // only a context makes workers leave steps
		return retrieval.Answer{}, fmt.Errorf("search: %w", ctx.Err())
	}
	answer := retrieval.Merge(q.K, answers...)
	answer.Stats.Segments = int64(len(parts))
	return answer, nil
}

// scan is one worker's: what it saw and the best of it.
type scan struct {
	query  *retrieval.Query
	maxsim *kernel.MaxSim
	best   []retrieval.Hit // once there are K, a heap with the worst on top
	stats  retrieval.Stats
}

func newScan(q *retrieval.Query, set *kernel.Set) *scan {
	return &scan{query: q, maxsim: set.NewMaxSim(q.Codes, q.Len(), q.Width, retrieval.Lift(q.Width))}
}

// rows scores the living documents that begin in a range of all parts' rows.
func (s *scan) rows(parts snapshot, from, to int) {
	for _, p := range parts {
		for i, end := p.alive(p.at(from)), p.at(to); i < end; i = p.alive(i + 1) {
			if p.length(i) > 0 {
				s.score(p.records[i].id, p.codes(i))
			}
		}
		from, to = from-len(p.scales), to-len(p.scales)
	}
}

// score meets one document, and allocates only for the first K.
func (s *scan) score(id string, c retrieval.Codes) {
	s.maxsim.Score(c.Rows, c.Scales)
	s.stats.Documents++
	s.stats.Tokens += int64(c.Len())
	hit := retrieval.Hit{ID: id}
	for t, w := range s.query.Weights {
		hit.Sum += int64(w) * int64(s.maxsim.Best[t])
	}
	switch {
	case len(s.best) < s.query.K:
		hit.Alignments = make([]retrieval.Alignment, s.query.Len())
		s.align(hit.Alignments)
		s.best = append(s.best, hit)
		if len(s.best) == s.query.K {
			for i := len(s.best)/2 - 1; i >= 0; i-- {
				s.sink(i)
			}
		}
	case retrieval.Compare(hit, s.best[0]) < 0:
		hit.Alignments = s.best[0].Alignments
		s.align(hit.Alignments)
		s.best[0] = hit
		s.sink(0)
	}
}

// align copies the alignment of the document that was scored last.
func (s *scan) align(to []retrieval.Alignment) {
	for t := range to {
		to[t] = retrieval.Alignment{Token: s.maxsim.Pos[t], Score: s.maxsim.Best[t]}
	}
}

// sink moves hit i down the heap until it is worse than both below it.
func (s *scan) sink(i int) {
	for {
		worst := i
		for _, child := range [2]int{2*i + 1, 2*i + 2} {
			if child < len(s.best) && retrieval.Compare(s.best[child], s.best[worst]) > 0 {
				worst = child
			}
		}
		if worst == i {
			return
		}
		s.best[i], s.best[worst] = s.best[worst], s.best[i]
		i = worst
	}
}

// answer returns the best in order.
func (s *scan) answer() retrieval.Answer {
	slices.SortFunc(s.best, retrieval.Compare)
	for i := range s.best {
		s.best[i].Score = s.query.Score(s.best[i].Sum)
	}
	return retrieval.Answer{Hits: s.best, Stats: s.stats}
}
