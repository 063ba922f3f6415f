package shard

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/golang-lru/simplelru"

	"ostraca/retrieval/index"
)

// What filters said of documents is kept as bits, by the numbers that an index gives to the states of documents: a number stands for one id, codes and
// fields, whatever view it is met in. So nothing kept is ever wrong, and after a write a filter is evaluated over what was written alone.

// What a replica keeps of verdicts: those of the filters that were used last.
const (
	maxVerdictBytes = 32 << 20
	keptVerdicts    = 1024
)

// errManyUnknown is why a selection was not made: a filter would have to be evaluated over more documents than the caller wants to pay for.
var errManyUnknown = errors.New("the filter was not evaluated over all documents yet")

// verdict is what a filter said, by numbers. It never changes.
type verdict struct{ known, passing index.Set }

func (j *verdict) bytes() int { return 8 * (len(j.known) + len(j.passing)) }

// judging is the verdict of one filter as it grows. One goroutine at a time adds to it.
type judging struct {
	turn chan struct{}
	now  atomic.Pointer[verdict]
	size int // bytes it is counted with in verdicts, under its lock
}

// judged names a filter over the documents of one numbering.
type judged struct {
	numbering  *index.Numbering
	expression string
}

// verdicts are those of all filters over all collections of a machine.
type verdicts struct {
	mu    sync.Mutex
	kept  *simplelru.LRU // *judging by judged
	bytes int
	most  int
}

func newVerdicts(most int) *verdicts {
	v := &verdicts{most: most}
	v.kept, _ = simplelru.NewLRU(keptVerdicts, func(_, j any) { v.count(j.(*judging), 0) }) // it refuses a size below 1 alone
	return v
}

func (v *verdicts) count(j *judging, size int) {
	v.bytes += size - j.size
	j.size = size
}

// find returns what is known under a name.
func (v *verdicts) find(name judged) *verdict {
	v.mu.Lock()
	defer v.mu.Unlock()
	if j, ok := v.kept.Get(name); ok {
		return j.(*judging).now.Load()
	}
	return &verdict{}
}

// begin returns what is kept under a name; if nothing is, it is from now on.
func (v *verdicts) begin(name judged) *judging {
	v.mu.Lock()
	defer v.mu.Unlock()
	if j, ok := v.kept.Get(name); ok {
		return j.(*judging)
	}
	j := &judging{turn: make(chan struct{}, 1)}
	j.now.Store(&verdict{})
	v.kept.Add(name, j)
	return j
}

// grown keeps a judging with what it has become, if it is kept at all, and gives up others for it. One that is too large by itself is not kept.
func (v *verdicts) grown(name judged, j *judging) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if held, ok := v.kept.Peek(name); !ok || held != any(j) {
		return
	}
	v.count(j, j.now.Load().bytes()+len(name.expression))
	for v.bytes > v.most {
		v.kept.RemoveOldest()
	}
}

// selected returns the documents of a collection that a filter lets through. Where it would have to be evaluated over more than most documents, that is
// not done, and where it takes more than so much work, that is not ended, though not lost: the error is errManyUnknown.
func (v view) selected(ctx context.Context, collection string, f *filter, most int, work uint64) (index.View, error) {
	c := v.collections[collection]
	name := judged{c.Numbering(), f.expression}
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
func (v view) judge(ctx context.Context, collection string, f *filter, name judged, work uint64) (*verdict, error) {
	j := v.verdicts.begin(name)
	for _, turn := range []chan struct{}{j.turn, filtering} {
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	was := j.now.Load()
	next := &verdict{slices.Clone(was.known), slices.Clone(was.passing)}
	defer func() {
		j.now.Store(next)
		v.verdicts.grown(name, j)
	}()
	for number, id := range v.collections[collection].Unknown(was.known) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if work == 0 {
			return nil, errManyUnknown
		}
		passes, spent, err := v.lets(f, collection, id)
		if err != nil {
			return nil, err
		}
		work -= min(work, spent)
		if next.known = next.known.With(number); passes {
			next.passing = next.passing.With(number)
		}
	}
	return next, nil
}
