package index

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"slices"

	"ostraca/retrieval"
)

// View is an index as it was at one moment. It never changes, whatever is written to the index, and keeps what it holds in
// memory as long as it is kept. It is a [retrieval.Searcher].
type View struct {
	index *Index // for the width, the kernel and the threads only
	parts snapshot
}

// Get returns a document, or an error wrapping retrieval.ErrNotFound. Its codes are the index's memory, unless it has
// a [Memory] of its own: the caller must not change what they point to, and keeps their whole segment in memory as long as it keeps them.
func (v View) Get(id string) (retrieval.Document, error) {
	if p, i, ok := v.lookup(id); ok {
		return p.lent(i), nil
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
		for p, i := range v.parts.walk(after) {
			if !yield(p.lent(i)) {
				return
			}
		}
	}
}

// IDs yields the ids of the documents that List yields, which costs less.
func (v View) IDs(after string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for p, i := range v.parts.walk(after) {
			if !yield(p.records[i].id) {
				return
			}
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
	runtime.KeepAlive(v.parts) // rows were read that the garbage collector does not see
	answer := s.answer()
	answer.Stats.Segments = int64(len(v.parts))
	return answer, nil
}

// check reports why q cannot be asked of this index, or nil.
func (v View) check(q *retrieval.Query) error {
	if err := q.Validate(); err != nil {
		return err
	}
	if q.Codec != v.index.codec {
		return fmt.Errorf("query of codec %q, the index holds %q: %w", q.Codec, v.index.codec, retrieval.ErrInvalid)
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
