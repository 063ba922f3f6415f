package index

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"ostraca/retrieval"
	"ostraca/retrieval/kernel"
)

// candidates returns the documents that the plan scores by their tokens, in the order in which they lie, and what finding them cost.
func (v View) candidates(ctx context.Context, q *retrieval.Query) ([]candidate, retrieval.Stats, error) {
	var stats retrieval.Stats
	start := v.index.clock()
	plan := q.Plan.For(q.K)
	n, m := plan.Sketched, plan.Scored
	all, whole := v.parts.documents(), v.parts
	var lists []int32
	if v.index.probes(plan, all) {
		stats.Centroids = int64(len(v.index.centroids.scales))
		v.parts, lists = v.probed(q, plan.Lists)
		all = v.parts.documents()
	}
	var found []candidate
	var err error
	if n > 0 && (n < all || m > 0 && m < all) { // the order of the sketches matters even where all of them pass
		found, err = v.bySketch(ctx, q, n, lists, &stats)
	} else {
		found = v.everyone(all)
	}
	stats.Sketched = int64(len(found))
	middle := v.index.clock()
	if err == nil && m > 0 && m < len(found) {
		found, err = v.byCoarse(ctx, q, found, m, &stats)
	}
	stats.Micros.Sketch, stats.Micros.Coarse = middle-start, v.index.clock()-middle
	if err == nil && stats.Centroids > 0 && all < q.K { // the lists hold fewer than are wanted
		found, err = View{v.index, whole.others(v.parts)}.fill(ctx, q, found, q.K-all, &stats)
	}
	return found, stats, err
}

// fill adds the best n documents, by sketch, to what was found elsewhere. They push out nothing of it.
func (v View) fill(ctx context.Context, q *retrieval.Query, found []candidate, n int, stats *retrieval.Stats) ([]candidate, error) {
	start := v.index.clock()
	more, err := v.bySketch(ctx, q, n, nil, stats)
	if err != nil {
		return nil, err
	}
	stats.Sketched += int64(len(more))
	stats.Micros.Sketch += v.index.clock() - start
	found = append(found, more...)
	slices.SortFunc(found, inPlace)
	return found, nil
}

// everyone returns all living documents that have tokens.
func (v View) everyone(n int) []candidate {
	out := make([]candidate, 0, n)
	for i, p := range v.parts {
		for j := p.alive(0); j < len(p.records); j = p.alive(j + 1) {
			if p.length(j) > 0 {
				out = append(out, candidate{part: int32(i), at: int32(j)})
			}
		}
	}
	return out
}

// pieceSketches documents are scanned at a time at most, so that their sums stay in the first-level cache. pieceLists lists are a worker's share.
const (
	pieceSketches = 2048
	pieceLists    = 64
)

// bySketch scans the sketches of all living documents and returns the best n. These may be those of some lists alone: then it is these lists that are
// scanned where sketches lie by list.
func (v View) bySketch(ctx context.Context, q *retrieval.Query, n int, lists []int32, stats *retrieval.Stats) ([]candidate, error) {
	type piece struct {
		part, from, to int
		scan           func(s *sketching) // something else of the part
	}
	var pieces []piece
	step := min(max(1, v.index.step/(q.Width*q.Len())), pieceSketches)
	for i, p := range v.parts {
		if lists != nil && len(p.members.grouped.firsts) > 0 {
			for some := range slices.Chunk(lists, pieceLists) {
				pieces = append(pieces, piece{scan: func(s *sketching) { s.lists(i, some) }})
			}
			pieces = append(pieces, piece{scan: func(s *sketching) { s.long(i) }})
			stats.Sketches += int64(p.documents)
			continue
		}
		for from := 0; from < len(p.records); from += step {
			pieces = append(pieces, piece{part: i, from: from, to: min(from+step, len(p.records))})
		}
	}
	workers := make([]sketching, min(v.index.threads, max(1, len(pieces))))
	contests := make([]*contest, len(workers))
	err := v.index.share(ctx, len(pieces), len(workers), func(worker int, take func() int) {
		s := &workers[worker]
		s.scan, s.contest = v.index.kernel.NewScan(q.Codes, q.Weights, q.Width), newContest(v.parts, n)
		for i := take(); i >= 0; i = take() {
			if p := pieces[i]; p.scan != nil {
				p.scan(s)
			} else {
				s.piece(p.part, p.from, p.to)
			}
		}
		contests[worker] = s.contest
	})
	for _, s := range workers {
		stats.Sketches += s.sketches
	}
	return merged(contests, err)
}

// sketching is one worker's scan of sketches.
type sketching struct {
	*contest
	scan     *kernel.Scan
	sketches int64 // that it scanned, of living documents
	which    []int32
	sums     []int64
}

// piece scans the documents of a part in a range of ordinals: all of them, unless half of them are dead or more.
func (s *sketching) piece(part, from, to int) {
	p := s.parts[part]
	living := to - from - p.dead.count(from, to)
	s.sums = slices.Grow(s.sums[:0], to-from)[:to-from]
	if 2*living <= to-from {
		s.living(part, from, to)
		return
	}
	s.scan.Documents(s.sums, p.sketch.rows, p.sketch.starts[from:to+1])
	s.sketches += int64(p.sketch.starts[to] - p.sketch.starts[from])
	if living < to-from {
		s.sketches -= p.deadSketches(from, to)
	}
	scales := p.shared[from:to]
	for i, sum := range s.sums { // few are as good as those that were kept, so it is these that are looked at further
		if x := sum >> sketchShift * int64(scales[i]); x >= s.least && sum != math.MinInt64 && !p.dead.has(from+i) {
			s.add(candidate{x, int32(part), int32(from + i)})
		}
	}
}

// living scans the living documents of a range, one by one.
func (s *sketching) living(part, from, to int) {
	p := s.parts[part]
	s.which = slices.Grow(s.which[:0], to-from)
	for at := p.alive(from); at < to; at = p.alive(at + 1) {
		if p.sketch.length(at) > 0 {
			s.which = append(s.which, int32(at))
		}
	}
	s.gather(part)
}

// gather scores the documents in s.which.
func (s *sketching) gather(part int) {
	p := s.parts[part]
	s.sums = slices.Grow(s.sums[:0], len(s.which))[:len(s.which)]
	s.scan.Gather(s.sums, p.sketch.rows, p.sketch.starts, s.which)
	for i, at := range s.which {
		s.sketches += int64(p.sketch.length(int(at)))
		if x := s.sums[i] >> sketchShift * int64(p.shared[at]); x >= s.least {
			s.add(candidate{x, int32(part), at})
		}
	}
}

// sketchShift keeps a sketch's sum, of at most 2^52, times its scale inside 64 bits.
const sketchShift = 8

// byCoarse scores the coarse vectors of some documents and returns those that are scored by their tokens: the best n, or, where sketches chose from,
// those that entering keeps.
func (v View) byCoarse(ctx context.Context, q *retrieval.Query, from []candidate, n int, stats *retrieval.Stats) ([]candidate, error) {
	const some = 64
	pieces := (len(from) + some - 1) / some
	coarse, scored := make([]int64, max(1, min(v.index.threads, pieces/4))), slices.Clone(from)
	err := v.index.share(ctx, pieces, len(coarse), func(worker int, take func() int) {
		s := newScan(q, v.index.kernel)
		stride := retrieval.Stride(q.Width)
		for i := take(); i >= 0; i = take() {
			mine := scored[i*some : min((i+1)*some, len(scored))]
			for j, x := range mine {
				if j+1 < len(mine) {
					s.maxsim.Next(v.parts[mine[j+1].part].coarse.of(int(mine[j+1].at), stride))
				}
				rows, scales := v.parts[x.part].coarse.of(int(x.at), stride)
				s.maxsim.Score(rows, scales)
				coarse[worker] += int64(len(scales))
				mine[j].sum = s.sum()
			}
		}
	})
	for _, x := range coarse {
		stats.Coarse += x
	}
	switch {
	case err != nil:
		return nil, err
	case q.Plan.Sketched > 0:
		return v.parts.entering(from, scored, n), nil
	}
	all := newContest(v.parts, n)
	all.best = scored
	return merged([]*contest{all}, nil)
}

// share has workers take numbers from 0 to n-1 until none is left (take then returns -1), or the context ends.
func (x *Index) share(ctx context.Context, n, workers int, work func(worker int, take func() int)) error {
	var taken atomic.Int64
	take := func() int {
		if ctx.Err() != nil {
			return -1
		}
		if i := int(taken.Add(1)) - 1; i < n {
			return i
		}
		return -1
	}
	var others sync.WaitGroup
	for worker := 1; worker < workers; worker++ {
		others.Go(func() { work(worker, take) })
	}
	work(0, take)
	others.Wait()
	if int(taken.Load()) < n { // only a context makes workers leave some
		return fmt.Errorf("search: %w", ctx.Err())
	}
	return nil
}
