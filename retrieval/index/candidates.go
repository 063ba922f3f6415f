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

// candidate is a document on its way through the stages of a plan, and its score in the one behind it.
type candidate struct {
	sum      int64
	part, at int32
}

// better orders candidates as retrieval.Compare orders hits: the same on every shard, so that the best of a whole are among the best of its parts.
func (s snapshot) better(a, b candidate) bool {
	return a.sum > b.sum || a.sum == b.sum && s.before(a, b)
}

// before orders candidates of one score, apart so that better is inlined.
func (s snapshot) before(a, b candidate) bool {
	return s[a.part].records[a.at].id < s[b.part].records[b.at].id
}

// contest keeps the best n candidates of any number that are added.
type contest struct {
	parts snapshot
	n     int
	best  []candidate
	least int64 // once n were kept, the worst of them: what is worse need not be added
}

func newContest(parts snapshot, n int) *contest {
	return &contest{parts: parts, n: n, least: math.MinInt64}
}

// add adds a candidate. One below c.least, which could not stay, need not be added.
func (c *contest) add(x candidate) {
	c.best = append(c.best, x)
	if len(c.best) >= 2*c.n {
		c.cut()
	}
}

// cut leaves the best n, in any order.
func (c *contest) cut() {
	if len(c.best) <= c.n {
		return
	}
	c.quickselect()
	c.best = c.best[:c.n]
	c.least = c.best[0].sum
	for _, x := range c.best {
		c.least = min(c.least, x.sum)
	}
}

// quickselect moves the best n to the front (Hoare 1961).
func (c *contest) quickselect() {
	b, lo, hi := c.best, 0, len(c.best)-1
	for lo < hi {
		pivot, i, j := b[(lo+hi)/2], lo, hi
		for i <= j {
			for c.parts.better(b[i], pivot) {
				i++
			}
			for c.parts.better(pivot, b[j]) {
				j--
			}
			if i <= j {
				b[i], b[j] = b[j], b[i]
				i++
				j--
			}
		}
		switch {
		case c.n-1 <= j:
			hi = j
		case c.n-1 >= i:
			lo = i
		default:
			return
		}
	}
}

// candidates returns the documents that the plan scores by their tokens, in the order in which they lie, and what finding them cost.
func (v View) candidates(ctx context.Context, q *retrieval.Query) ([]candidate, retrieval.Stats, error) {
	var stats retrieval.Stats
	all := v.parts.documents()
	var found []candidate
	var err error
	start := v.index.clock()
	plan := q.Plan.For(q.K)
	n, m := plan.Sketched, plan.Scored
	if n > 0 && (n < all || m > 0 && m < all) { // the order of the sketches matters even where all of them pass
		found, err = v.bySketch(ctx, q, n, &stats)
	} else {
		found = v.everyone(all)
	}
	stats.Sketched = int64(len(found))
	middle := v.index.clock()
	if err == nil && m > 0 && m < len(found) {
		found, err = v.byCoarse(ctx, q, found, m, &stats)
	}
	stats.Micros.Sketch, stats.Micros.Coarse = middle-start, v.index.clock()-middle
	return found, stats, err
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

// bySketch scans all sketches and returns the best n documents.
func (v View) bySketch(ctx context.Context, q *retrieval.Query, n int, stats *retrieval.Stats) ([]candidate, error) {
	type piece struct{ part, from, to int }
	var pieces []piece
	step := max(1, v.index.step/(q.Width*q.Len()))
	for i, p := range v.parts {
		for from := 0; from < len(p.records); from += step {
			pieces = append(pieces, piece{i, from, min(from+step, len(p.records))})
		}
	}
	contests, sketches := make([]*contest, min(v.index.threads, max(1, len(pieces)))), make([]int64, v.index.threads)
	err := v.index.share(ctx, len(pieces), len(contests), func(worker int, take func() int) {
		s, c := sketching{scan: v.index.kernel.NewScan(q.Codes, q.Weights, q.Width)}, newContest(v.parts, n)
		for i := take(); i >= 0; i = take() {
			x := pieces[i]
			p := v.parts[x.part]
			sketches[worker] += s.piece(p, x.from, x.to)
			for j, at := range s.which {
				if sum := s.sums[j] >> sketchShift * int64(p.shared[at]); sum >= c.least {
					c.add(candidate{sum, int32(x.part), at})
				}
			}
		}
		contests[worker] = c
	})
	for _, x := range sketches {
		stats.Sketches += x
	}
	return merged(contests, err)
}

// sketching is one worker's: what it scanned last.
type sketching struct {
	scan  *kernel.Scan
	which []int32 // living documents that have tokens
	sums  []int64 // the score of each one's sketch
}

// piece scans the documents of p in a range of ordinals: all of them, unless half of them are dead or more. It returns the number of sketches of the living.
func (s *sketching) piece(p part, from, to int) (sketches int64) {
	s.which = slices.Grow(s.which[:0], to-from)
	for at := p.alive(from); at < to; at = p.alive(at + 1) {
		if n := p.sketch.length(at); n > 0 {
			s.which = append(s.which, int32(at))
			sketches += int64(n)
		}
	}
	s.sums = slices.Grow(s.sums[:0], to-from)[:to-from]
	if 2*len(s.which) <= to-from {
		s.scan.Gather(s.sums[:len(s.which)], p.sketch.rows, p.sketch.starts, s.which)
		return sketches
	}
	s.scan.Documents(s.sums, p.sketch.rows, p.sketch.starts[from:to+1])
	if len(s.which) < to-from {
		for j, at := range s.which {
			s.sums[j] = s.sums[int(at)-from]
		}
	}
	return sketches
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

// merged returns the best candidates of all workers, in the order in which they lie.
func merged(contests []*contest, err error) ([]candidate, error) {
	if err != nil {
		return nil, err
	}
	all := contests[0]
	for _, c := range contests[1:] {
		for _, x := range c.best {
			all.add(x)
		}
	}
	all.cut()
	slices.SortFunc(all.best, func(a, b candidate) int {
		if a.part != b.part {
			return int(a.part) - int(b.part)
		}
		return int(a.at) - int(b.at)
	})
	return all.best, nil
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
