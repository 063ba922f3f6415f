package index

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"ostraca/retrieval"
)

// View is an index as it was at one moment. It never changes, whatever is written to the index, and keeps what it holds in
// memory as long as it is kept. It is a [retrieval.Searcher].
type View struct {
	index *Index // for the width, the kernel and the threads only
	parts snapshot
}

// Get returns a document, or an error wrapping retrieval.ErrNotFound. It is the index's memory: the caller must not change
// what it points to, and keeps its whole segment in memory as long as it keeps its codes.
func (v View) Get(id string) (retrieval.Document, error) {
	if p, i, ok := v.lookup(id); ok {
		return p.document(i), nil
	}
	return retrieval.Document{}, fmt.Errorf("document %q: %w", id, retrieval.ErrNotFound)
}

func (v View) lookup(id string) (part, int, bool) {
	for _, p := range v.parts {
		if i, ok := p.lookup(id); ok {
			return p, i, true
		}
	}
	return part{}, 0, false
}

// List yields the documents whose ids are above after, by id; "" starts at the first. Documents are as from [View.Get].
func (v View) List(after string) iter.Seq[retrieval.Document] {
	return func(yield func(retrieval.Document) bool) {
		next := make([]int, len(v.parts))
		for i, p := range v.parts {
			at, held := p.find(after)
			if held {
				at++
			}
			next[i] = p.alive(at)
		}
		for {
			best := -1
			for i, p := range v.parts {
				if next[i] < len(p.records) && (best < 0 || p.records[next[i]].id < v.parts[best].records[next[best]].id) {
					best = i
				}
			}
			if best < 0 || !yield(v.parts[best].document(next[best])) {
				return
			}
			next[best] = v.parts[best].alive(next[best] + 1)
		}
	}
}

// Score returns the exact answer about the documents of these ids alone, the best q.K of them: for candidates of the caller's
// own. Ids that are not held, or have no tokens, are left out; one that occurs twice counts once. Errors are those of [View.Search].
func (v View) Score(ctx context.Context, q *retrieval.Query, ids []string) (retrieval.Answer, error) {
	if err := v.check(q); err != nil {
		return retrieval.Answer{}, err
	}
	s := newScan(q, v.index.kernel)
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		if err := ctx.Err(); err != nil {
			return retrieval.Answer{}, fmt.Errorf("score: %w", err)
		}
		if p, i, ok := v.lookup(id); ok && p.length(i) > 0 {
			s.score(id, p.codes(i))
		}
	}
	answer := s.answer()
	answer.Stats.Segments = int64(len(v.parts))
	return answer, nil
}

// check reports why q cannot be asked of this index, or nil.
func (v View) check(q *retrieval.Query) error {
	if err := q.Validate(); err != nil {
		return err
	}
	if q.Width != v.index.width {
		return fmt.Errorf("query is %d wide, the index %d: %w", q.Width, v.index.width, retrieval.ErrInvalid)
	}
	return nil
}

// Len returns the number of documents.
func (v View) Len() int { return v.parts.documents() }

// Tokens returns the number of tokens of all documents.
func (v View) Tokens() int {
	n := 0
	for _, p := range v.parts {
		n += p.tokens
	}
	return n
}
