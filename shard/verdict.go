package shard

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync/atomic"
	"time"

	"ostraca/retrieval/index"
)

// What filters said of documents is kept as bits, by the numbers that an index gives to the states of documents: a number stands for one id, codes and
// fields, whatever view it is met in. So nothing kept is ever wrong, and after a write a filter is evaluated over what was written alone.

// What a replica keeps: of the filters and fields that were used last.
const (
	maxVerdictBytes = 32 << 20
	maxColumnsBytes = 64 << 20
	maxColumnBytes  = 32 << 20 // a field that takes more is not kept
)

// fewJudged is of how many documents a filter reads the fields from their rows, though columns might be had.
const fewJudged = 256

// errManyUnknown is why a selection was not made: a filter would have to be evaluated over more documents than the caller wants to pay for.
var errManyUnknown = errors.New("the filter was not evaluated over all documents yet")

// verdict is what a filter said, by numbers.
type verdict struct{ known, passing index.Set }

func (j *verdict) bytes() int { return 8 * (len(j.known) + len(j.passing)) }

// add sets what the filter said of a document.
func (j *verdict) add(number uint32, passes bool) {
	if j.known = j.known.With(number); passes {
		j.passing = j.passing.With(number)
	}
}

// verdicts are those of all filters over all collections of a machine, and the fields that they come from.
type verdicts struct {
	*keeper[verdict]
	columns    *keeper[column]
	few, large int // fewJudged and maxColumnBytes; less in tests

	present   func() *published // the state that columns may tell of, and older ones that nothing was forgotten since
	forgotten atomic.Uint64     // index of the last entry that forgot
	sweeping  atomic.Bool
	after     time.Duration // sweepAfter; less in tests
}

func newVerdicts(most int, present func() *published) *verdicts {
	return &verdicts{keeper: newKeeper[verdict](most), columns: newKeeper[column](maxColumnsBytes), few: fewJudged, large: maxColumnBytes, present: present, after: sweepAfter}
}

// selected returns the documents of a collection that a filter lets through. Where it would have to be evaluated over more than most documents, that is
// not done, and where it takes more than so much work, that is not ended, though not lost: the error is errManyUnknown.
func (v view) selected(ctx context.Context, collection string, f *filter, most int, work uint64) (index.View, error) {
	c := v.collections[collection]
	name := kept{c.Numbering(), f.expression}
	is := v.verdicts.find(name)
	switch n := unjudged(c.View, is, most); {
	case n > most:
		return index.View{}, errManyUnknown
	case n > 0:
		var err error
		if is, err = v.judge(ctx, collection, f, name, work); err != nil {
			return index.View{}, err
		}
	}
	return c.Restrict(is.passing), nil
}

// unjudged returns of how many documents a verdict says nothing; of the first that are too many.
func unjudged(documents index.View, is *verdict, most int) (n int) {
	for range documents.Unknown(is.known) {
		if n++; n > most {
			break
		}
	}
	return n
}

// judge evaluates a filter over the documents that it was not evaluated over.
func (v view) judge(ctx context.Context, collection string, f *filter, name kept, work uint64) (*verdict, error) {
	j := v.verdicts.begin(name)
	for _, turn := range []chan struct{}{j.turn, filtering} {
		back, err := wait(ctx, turn)
		if err != nil {
			return nil, err
		}
		defer back()
	}
	was := j.now.Load()
	next := &verdict{slices.Clone(was.known), slices.Clone(was.passing)}
	defer func() { v.verdicts.grown(name, j, next, next.bytes()) }()
	g := judging{view: v, ctx: ctx, collection: collection, filter: f, was: was, work: work}
	if f.narrow && unjudged(v.collections[collection].View, was, v.verdicts.few) > v.verdicts.few {
		columns, back, err := g.columns()
		if err != nil {
			return nil, err
		}
		defer back()
		if columns != nil {
			return next, g.byColumns(columns, next)
		}
	}
	return next, g.byRows(next)
}

// judging is a filter's evaluation over the documents of a view of which a verdict says nothing.
type judging struct {
	view
	ctx        context.Context
	collection string
	filter     *filter
	was        *verdict
	work       uint64 // that may still be spent
}

func (g *judging) documents() iter.Seq2[uint32, string] {
	return g.view.collections[g.collection].Unknown(g.was.known)
}

// spend reports that the evaluation ends here, or nil.
func (g *judging) spend(work uint64) error {
	if g.work < work {
		g.work = 0
		return errManyUnknown
	}
	g.work -= work
	return nil
}

// byRows reads each document's fields.
func (g *judging) byRows(next *verdict) error {
	for number, id := range g.documents() {
		if err := g.ctx.Err(); err != nil {
			return err
		}
		passes, spent, err := g.lets(g.filter, g.collection, id)
		if err == nil {
			next.add(number, passes)
			err = g.spend(spent)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
