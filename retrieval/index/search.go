package index

import (
	"context"
	"runtime"
	"slices"

	"ostraca/retrieval"
	"ostraca/retrieval/kernel"
)

// Search returns the best of the documents that the query's plan scores, by docs/score.md; without a plan, of all living documents that have tokens. The
// answer does not depend on the number of threads, the kernel, or how documents lie in segments. An error wraps retrieval.ErrInvalid or
// retrieval.ErrTooLarge for the query, or the context's, which is looked at between documents, every stepWork.
func (v View) Search(ctx context.Context, q *retrieval.Query) (retrieval.Answer, error) {
	if err := v.check(q); err != nil {
		return retrieval.Answer{}, err
	}
	search := v.exact
	if !q.Plan.Exact() {
		search = v.planned
	}
	defer runtime.KeepAlive(v.parts) // rows are read that the garbage collector does not see
	start := v.index.clock()
	answer, err := search(ctx, q)
	if err != nil {
		return retrieval.Answer{}, err
	}
	answer.Stats.Segments = int64(len(v.parts))
	answer.Stats.Micros.Score += v.index.clock() - start - answer.Stats.Micros.Sketch - answer.Stats.Micros.Coarse
	return answer, nil
}

// exact scores everything.
func (v View) exact(ctx context.Context, q *retrieval.Query) (retrieval.Answer, error) {
	rows := 0
	for _, p := range v.parts {
		rows += len(p.fine.scales)
	}
	step := max(1, v.index.step/(q.Width*q.Len()))
	steps := (rows + step - 1) / step
	answers := make([]retrieval.Answer, max(1, min(v.index.threads, steps)))
	err := v.index.share(ctx, steps, len(answers), func(worker int, take func() int) {
		s := newScan(q, v.index.kernel)
		for i := take(); i >= 0; i = take() {
			s.rows(v.parts, i*step, (i+1)*step)
		}
		answers[worker] = s.answer()
	})
	if err != nil {
		return retrieval.Answer{}, err
	}
	return retrieval.Merge(q.K, answers...), nil
}

// planned scores candidates.
func (v View) planned(ctx context.Context, q *retrieval.Query) (retrieval.Answer, error) {
	found, stats, err := v.candidates(ctx, q)
	if err != nil {
		return retrieval.Answer{}, err
	}
	const some = 16
	pieces := (len(found) + some - 1) / some
	answers := make([]retrieval.Answer, max(1, min(v.index.threads, pieces/4)))
	err = v.index.share(ctx, pieces, len(answers), func(worker int, take func() int) {
		s := newScan(q, v.index.kernel)
		for i := take(); i >= 0; i = take() {
			s.candidates(v.parts, found[i*some:min((i+1)*some, len(found))])
		}
		answers[worker] = s.answer()
	})
	if err != nil {
		return retrieval.Answer{}, err
	}
	answer := retrieval.Merge(q.K, answers...)
	answer.Stats = answer.Stats.Add(stats)
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

// candidates scores some documents, and fetches the next while it scores one.
func (s *scan) candidates(parts snapshot, some []candidate) {
	for i, x := range some {
		if i+1 < len(some) {
			next := some[i+1]
			s.next(parts[next.part].codes(int(next.at)))
		}
		p := parts[x.part]
		s.score(p.records[x.at].id, p.codes(int(x.at)))
	}
}

// rows scores the living documents that begin in a range of all parts' rows.
func (s *scan) rows(parts snapshot, from, to int) {
	for _, p := range parts {
		for i, end := p.alive(p.at(from)), p.at(to); i < end; i = p.alive(i + 1) {
			if p.length(i) > 0 {
				s.score(p.records[i].id, p.codes(i))
			}
		}
		from, to = from-len(p.fine.scales), to-len(p.fine.scales)
	}
}

// score meets one document, and allocates only for the first K.
func (s *scan) score(id string, c retrieval.Codes) {
	s.meet(c)
	s.stats.Documents++
	s.stats.Tokens += int64(c.Len())
	hit := retrieval.Hit{ID: id, Sum: s.sum()}
	switch {
	case len(s.best) < s.query.K:
		hit.Alignments = make([]retrieval.Alignment, s.query.Len())
		s.align(hit.Alignments)
		s.best = append(s.best, hit)
		if len(s.best) == s.query.K {
			for i := len(s.best)/2 - 1; i >= 0; i-- {
				sink(s.best, i, worse)
			}
		}
	case retrieval.Compare(hit, s.best[0]) < 0:
		hit.Alignments = s.best[0].Alignments
		s.align(hit.Alignments)
		s.best[0] = hit
		sink(s.best, 0, worse)
	}
}

// next has the codes of the document after the next one fetched.
func (s *scan) next(c retrieval.Codes) {
	if c.Codec == retrieval.Int8 {
		s.maxsim.Next(c.Rows, c.Scales)
		return
	}
	s.maxsim.NextResidual(kernel.Residual{Rows: c.Rows, Scales: c.Scales, Clusters: c.Clusters, Coarse: c.Coarse.Rows, CoarseScales: c.Coarse.Scales})
}

// meet sets the alignments of a document's codes.
func (s *scan) meet(c retrieval.Codes) {
	if c.Codec == retrieval.Int8 {
		s.maxsim.Score(c.Rows, c.Scales)
		return
	}
	n, first, bytes, stride := c.Len(), 0, c.Codec.RowBytes(c.Width), retrieval.Stride(c.Width)
	s.maxsim.Reset()
	for i := range retrieval.Windows(n) {
		from, to, count := retrieval.Window(i, n, c.Codec.Pool(c.Width))
		s.maxsim.AddResidual(kernel.Residual{
			Rows: c.Rows[from*bytes : to*bytes], Scales: c.Scales[from:to], Bits: c.Codec.Bits(), Table: tables[c.Codec],
			Clusters: c.Clusters[from:to], Coarse: c.Coarse.Rows[first*stride : (first+count)*stride], CoarseScales: c.Coarse.Scales[first : first+count],
		}, from)
		first += count
	}
}

// sum returns the weighted sum of the alignments of what was met last.
func (s *scan) sum() (sum int64) {
	for t, w := range s.query.Weights {
		sum += int64(w) * int64(s.maxsim.Best[t])
	}
	return sum
}

// align copies the alignment of the document that was scored last.
func (s *scan) align(to []retrieval.Alignment) {
	for t := range to {
		to[t] = retrieval.Alignment{Token: s.maxsim.Pos[t], Score: s.maxsim.Best[t]}
	}
}

func worse(a, b retrieval.Hit) bool { return retrieval.Compare(a, b) > 0 }

// answer returns the best in order.
func (s *scan) answer() retrieval.Answer {
	slices.SortFunc(s.best, retrieval.Compare)
	for i := range s.best {
		s.best[i].Score = s.query.Score(s.best[i].Sum)
	}
	return retrieval.Answer{Hits: s.best, Stats: s.stats}
}
