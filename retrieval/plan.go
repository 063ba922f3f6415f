package retrieval

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
)

// Plan is how a search finds its candidates: of the documents in the Lists lists that speak most for the query, or of all, the best Sketched by their
// sketches, and of these, taken in that order, each that is among the best Scored so far by its coarse vectors; they are scored by their tokens, some more
// than Scored. 0 leaves a stage out; the zero value scores every document; in a collection without lists, Lists means nothing. A search for k hits follows
// [Plan.For] k. A plan counts for each shard alike, undivided, and the candidates of a whole are among those of its parts, as those of a plan are among
// those of a larger one of as many lists.
type Plan struct {
	Lists    int
	Sketched int
	Scored   int
}

// Exact tells whether every document is scored.
func (p Plan) Exact() bool { return p == Plan{} }

// For returns p as a search for k hits follows it: no number of it is below k, but for those that are 0. So there are k hits where there are as many documents.
func (p Plan) For(k int) Plan {
	for _, n := range []*int{&p.Sketched, &p.Scored} {
		if *n > 0 {
			*n = max(*n, k)
		}
	}
	return p
}

// Validate reports why no search can follow p, or nil. Errors wrap [ErrInvalid] or [ErrTooLarge].
func (p Plan) Validate() error {
	switch {
	case p.Lists < 0 || p.Sketched < 0 || p.Scored < 0:
		return fmt.Errorf("a plan of %d lists, %d documents by sketch and %d by token: 0 or more: %w", p.Lists, p.Sketched, p.Scored, ErrInvalid)
	case p.Lists > MaxLists:
		return fmt.Errorf("a plan of %d lists, the limit is %d: %w", p.Lists, MaxLists, ErrTooLarge)
	case max(p.Sketched, p.Scored) > MaxCandidates:
		return fmt.Errorf("a plan of %d documents by sketch and %d by token, the limit is %d: %w", p.Sketched, p.Scored, MaxCandidates, ErrTooLarge)
	}
	return nil
}

// Target is the share of the exact answer that a search is to find, in thousandths. 0, and everything from 1000 on, is all of it: exact.
type Target uint16

// The targets that a calibration has plans for.
const (
	Exact    Target = 0
	Recall90 Target = 900
	Recall95 Target = 950
	Recall99 Target = 990
)

// Targets lists those that are not exact, the cheapest first.
var Targets = []Target{Recall90, Recall95, Recall99}

// ParseTarget reads what [Target.String] writes. Errors wrap [ErrInvalid].
func ParseTarget(s string) (Target, error) {
	if s == "exact" {
		return Exact, nil
	}
	v, err := strconv.ParseFloat(s, 64)
	for _, t := range Targets {
		if err == nil && v == float64(t)/1000 {
			return t, nil
		}
	}
	return 0, fmt.Errorf("recall target %.20q: it must be 0.9, 0.95, 0.99 or exact: %w", s, ErrInvalid)
}

// String returns exact, or the share: 0.95.
func (t Target) String() string {
	if t == Exact {
		return "exact"
	}
	return strconv.FormatFloat(float64(t)/1000, 'f', -1, 64)
}

// Calibrated is the plan that was seen to reach a target for answers of K hits.
type Calibrated struct {
	Target Target
	K      int
	Plan   Plan
}

// Calibration is plans by target and k.
type Calibration []Calibrated

// calibratedK are the k that plans are measured for.
var calibratedK = []int{10, 100}

// Plan returns the plan for a target and k: the one measured for the least K that is not below k, or, beyond all of them, the last one made larger in
// proportion. A target that the calibration has not, is exact. Nothing but the arguments enters it.
func (c Calibration) Plan(t Target, k int) Plan {
	var last Calibrated
	for _, x := range c {
		if x.Target != t || t == Exact {
			continue
		}
		if x.K >= k && (last.K < k || x.K < last.K) || last.K < k && x.K > last.K {
			last = x
		}
	}
	if last.K == 0 {
		return Plan{}
	}
	p := last.Plan
	if k > last.K {
		p.Sketched = min(MaxCandidates, (p.Sketched*k+last.K-1)/last.K)
		p.Scored = min(MaxCandidates, (p.Scored*k+last.K-1)/last.K)
	}
	return p
}

// Complete returns c with exact plans for the targets and k that it has none for: as [Calibrate] leaves them out, and a collection without any plan
// follows [Default].
func (c Calibration) Complete() Calibration {
	out := slices.Clone(c)
	for _, k := range calibratedK {
		for _, t := range Targets {
			if !slices.ContainsFunc(c, func(x Calibrated) bool { return x.Target == t && x.K == k }) {
				out = append(out, Calibrated{Target: t, K: k})
			}
		}
	}
	slices.SortFunc(out, func(a, b Calibrated) int { return cmp.Or(cmp.Compare(a.Target, b.Target), cmp.Compare(a.K, b.K)) })
	return out
}

// Validate reports what is wrong with c, or nil. Errors wrap [ErrInvalid] or [ErrTooLarge].
func (c Calibration) Validate() error {
	if len(c) > len(Targets)*len(calibratedK) {
		return fmt.Errorf("a calibration of %d plans, the limit is %d: %w", len(c), len(Targets)*len(calibratedK), ErrTooLarge)
	}
	for i, x := range c {
		if !slices.Contains(Targets, x.Target) || x.K < 1 || x.K > MaxK {
			return fmt.Errorf("a plan for recall target %s and k %d: %w", x.Target, x.K, ErrInvalid)
		}
		for _, y := range c[:i] {
			if y.Target == x.Target && y.K == x.K {
				return fmt.Errorf("two plans for recall target %s and k %d: %w", x.Target, x.K, ErrInvalid)
			}
		}
		if err := x.Plan.Validate(); err != nil {
			return err
		}
	}
	return nil
}

// Default is the calibration of a collection that was not calibrated: what reaches the targets on collections of some thousand documents, with some to
// spare.
var Default = Calibration{
	{Recall90, 10, Plan{Sketched: 200, Scored: 30}}, {Recall95, 10, Plan{Sketched: 400, Scored: 60}}, {Recall99, 10, Plan{Sketched: 1000, Scored: 150}},
	{Recall90, 100, Plan{Sketched: 800, Scored: 200}}, {Recall95, 100, Plan{Sketched: 1200, Scored: 300}}, {Recall99, 100, Plan{Sketched: 3000, Scored: 600}},
}

// ladder is the numbers of documents that are tried, each about 1.3 times the one before.
var ladder = []int{10, 13, 17, 22, 30, 40, 50, 65, 85, 110, 150, 200, 260, 340, 450, 600, 800, 1000, 1300, 1700, 2200, 3000, 4000, 5000, 6500, 8500, 11000, 15000, 20000}

// widths are how many documents a plan sketches for each that it scores.
var widths = []int{2, 4, 8, 16, 32}

// Calibrate measures, for each target and k, the cheapest plan, with lists where s has some, by which s finds that share of the exact answers to the queries, the mean over them;
// queries ask for codes that s holds, whatever their K and Plan. Without targets, all of [Targets] are measured. Where no plan of the ladder does, there is none: exact. Errors are those of s.
func Calibrate(ctx context.Context, s Searcher, queries []*Query, targets ...Target) (Calibration, error) {
	if len(targets) == 0 {
		targets = Targets
	}
	if len(queries) == 0 {
		return nil, fmt.Errorf("calibrate: no queries: %w", ErrInvalid)
	}
	var out Calibration
	for _, k := range calibratedK {
		c := calibrating{searcher: s, queries: queries, k: k, seen: map[Plan]measured{}}
		whole, err := c.ask(ctx, Plan{})
		if err != nil {
			return nil, fmt.Errorf("calibrate: %w", err)
		}
		c.truth, c.cost = whole.ids, whole.cost
		for _, t := range targets {
			p, err := c.cheapest(ctx, t)
			if err != nil {
				return nil, fmt.Errorf("calibrate: %w", err)
			}
			if !p.Exact() {
				out = append(out, Calibrated{t, k, p})
			}
		}
	}
	return out, nil
}

type calibrating struct {
	searcher Searcher
	queries  []*Query
	k        int
	truth    []map[string]bool
	cost     int64 // of exact
	seen     map[Plan]measured
}

// measured is what a plan found, and what it cost: vectors met.
type measured struct {
	ids  []map[string]bool
	cost int64
}

// ask asks every query by a plan.
func (c *calibrating) ask(ctx context.Context, p Plan) (measured, error) {
	if m, ok := c.seen[p]; ok {
		return m, nil
	}
	var m measured
	for _, q := range c.queries {
		x := *q
		x.K, x.Plan = c.k, p
		answer, err := c.searcher.Search(ctx, &x)
		if err != nil {
			return m, err
		}
		ids := make(map[string]bool, len(answer.Hits))
		for _, h := range answer.Hits {
			ids[h.ID] = true
		}
		m.ids = append(m.ids, ids)
		m.cost += answer.Stats.Vectors()
	}
	c.seen[p] = m
	return m, nil
}

// recall returns the mean share of the truth that was found.
func (c *calibrating) recall(m measured) float64 {
	sum := 0.
	for i, truth := range c.truth {
		both := 0
		for id := range truth {
			if m.ids[i][id] {
				both++
			}
		}
		sum += float64(both) / float64(max(1, len(truth)))
	}
	return sum / float64(len(c.truth))
}

// step returns a plan of the ladder.
func (c *calibrating) step(width, at int) Plan {
	return Plan{Sketched: width * ladder[at], Scored: ladder[at]}.For(c.k)
}

// cheapest returns the cheapest plan of the ladder that reaches the target; none where exact costs no more.
func (c *calibrating) cheapest(ctx context.Context, t Target) (Plan, error) {
	var best Plan
	least, width, rung := c.cost, 0, 0
	for _, w := range widths {
		at, err := c.least(ctx, t, len(ladder), func(at int) Plan { return c.step(w, at) })
		if err != nil {
			return Plan{}, err
		}
		if at == len(ladder) {
			continue
		}
		p := c.step(w, at)
		if m := c.seen[p]; m.cost < least {
			best, least, width, rung = p, m.cost, w, at
		}
	}
	if best.Exact() {
		return best, nil
	}
	return c.fewerLists(ctx, t, best, width, rung)
}

// fewerLists returns a cheaper plan than best, the one of a width and rung, that looks into some lists alone, or best. What lists leave out, more documents make up for: the next rungs are
// tried, too.
func (c *calibrating) fewerLists(ctx context.Context, t Target, best Plan, width, rung int) (Plan, error) {
	one := *c.queries[0]
	one.K, one.Plan = c.k, Plan{Lists: 1, Sketched: c.k, Scored: c.k}
	answer, err := c.searcher.Search(ctx, &one)
	if err != nil {
		return best, err
	}
	counts, _ := slices.BinarySearch(ladder, int(min(answer.Stats.Centroids, MaxLists))) // of all shards: more than each has are tried in vain, and dear
	least := c.seen[best].cost
	for at := rung; at < min(rung+rungsTried, len(ladder)); at++ {
		p := c.step(width, at)
		i, err := c.least(ctx, t, counts, func(i int) Plan { p.Lists = ladder[i]; return p })
		if err != nil {
			return best, err
		}
		if i == counts {
			continue
		}
		p.Lists = ladder[i]
		if m := c.seen[p]; m.cost < least {
			best, least = p, m.cost
		}
	}
	return best, nil
}

// rungsTried of the ladder are tried with lists.
const rungsTried = 4

// least returns the first of n plans, each of which finds no less than the one before, that reaches the target; n where none does. Of plans of more and more lists
// that is nearly so: what is returned was asked and reaches the target, and may not be the first.
func (c *calibrating) least(ctx context.Context, t Target, n int, plan func(i int) Plan) (int, error) {
	lo, hi := 0, n
	for lo < hi {
		i := (lo + hi) / 2
		m, err := c.ask(ctx, plan(i))
		if err != nil {
			return 0, err
		}
		if 1000*c.recall(m) >= float64(t) {
			hi = i
		} else {
			lo = i + 1
		}
	}
	return lo, nil
}
