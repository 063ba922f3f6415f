package shard

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"runtime"
	"slices"
	"strings"

	"ostraca/retrieval"
	"ostraca/retrieval/index"
	"ostraca/storage"
)

// Documents in the order of their ids: pages, counts, and searches among those that a filter lets through.

// maxScanWork is of filtering, in steps and bytes of fields, after which a page ends: some tenths of a second.
const maxScanWork = 16 << 20

// filtering bounds how many filters are evaluated at a time in a process, to half of its processors: a leader that gets none of them is deposed.
var filtering = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))

// walk goes over a collection's documents. It stops after most rows or work, and can go on after last.
type walk struct {
	view
	collection string
	filter     *filter
	most       int
	work       uint64

	last string // id of the last row that it is done with
	more bool
	err  error
}

// ids yields those that the filter lets through, from the first above after on. One that the loop broke at is not done with.
func (w *walk) ids(ctx context.Context, after string) iter.Seq[string] {
	var from []byte
	if after != "" {
		from = append([]byte(after), 0) // the first key above it
	}
	return func(yield func(string) bool) {
		if w.filter != nil {
			select {
			case filtering <- struct{}{}:
				defer func() { <-filtering }()
			case <-ctx.Done():
				w.err = ctx.Err()
				return
			}
		}
		rows, work := 0, uint64(0)
		for key := range w.rows.Scan(bucketVersions(w.collection), from) {
			if w.err = ctx.Err(); w.err != nil {
				return
			}
			id := string(key)
			if rows == w.most || work >= w.work {
				w.more = true
				return
			}
			passes, spent, err := w.lets(w.filter, w.collection, id)
			if w.err = err; err != nil {
				return
			}
			if passes && !yield(id) {
				w.more = true
				return
			}
			rows, work, w.last = rows+1, work+spent, id
		}
		w.err = w.rows.Err()
	}
}

// of makes w go over some documents, of which it does not ask whether they pass, however many rows lie between them.
func (w *walk) of(some index.View) func(ctx context.Context, after string) iter.Seq[string] {
	return func(ctx context.Context, after string) iter.Seq[string] {
		return func(yield func(string) bool) {
			for id := range some.IDs(after) {
				if w.err = ctx.Err(); w.err != nil {
					return
				}
				if !yield(id) {
					w.more = true
					return
				}
				w.last = id
			}
		}
	}
}

// lets tells whether a filter lets a document through, and how much work that was. Of its row it reads the fields, if any.
func (v view) lets(f *filter, collection, id string) (bool, uint64, error) {
	if f == nil {
		return true, 0, nil
	}
	return f.lets(id, func() ([]byte, error) { return v.rawFields(collection, id) })
}

// rawFields returns a document's fields, in the memory of its row.
func (v view) rawFields(collection, id string) ([]byte, error) {
	row, err := v.rows.Get(bucketDocuments(collection), []byte(id))
	if err != nil {
		return nil, err
	}
	return rowFields(id, row)
}

// candidates returns the best documents that a filter lets through, by the plan of the query: as if there were no others. However long the filter takes, the
// search waits for it until its context ends; what was found out by then is kept for the next.
func (v view) candidates(ctx context.Context, q *SearchRequest, f *filter) (retrieval.Answer, error) {
	c := v.collections[q.Collection]
	if f == nil {
		return c.Search(ctx, q.Query)
	}
	if _, err := c.Score(ctx, q.Query, nil); err != nil { // a query that cannot be asked is told before work is done for it
		return retrieval.Answer{}, err
	}
	some, err := v.selected(ctx, q.Collection, f, math.MaxInt, math.MaxUint64)
	if err != nil {
		return retrieval.Answer{}, err
	}
	return some.Search(ctx, q.Query)
}

// scores scores those of the ids asked for that are held and pass a filter, all of them exactly.
func (v view) scores(ctx context.Context, q *SearchRequest, f *filter) (retrieval.Answer, error) {
	c := v.collections[q.Collection]
	if f == nil {
		return c.Score(ctx, q.Query, q.IDs)
	}
	if some, err := v.selected(ctx, q.Collection, f, len(q.IDs), maxScanWork); err == nil {
		return some.Score(ctx, q.Query, q.IDs)
	}
	ids, err := v.passing(ctx, q, f)
	if err != nil {
		return retrieval.Answer{}, err
	}
	return c.Score(ctx, q.Query, ids)
}

// passing returns those of the ids asked for that are held and pass a filter.
func (v view) passing(ctx context.Context, q *SearchRequest, f *filter) ([]string, error) {
	var out []string
	for _, id := range q.IDs {
		passes, _, err := v.lets(f, q.Collection, id)
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return nil, err
		}
		if passes {
			out = append(out, id)
		}
	}
	return out, nil
}

// List returns a page from this replica's state, or counts one.
func (r *Replica) List(ctx context.Context, q *ListRequest) (*ListAnswer, error) {
	f, err := q.check()
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	v, release, err := r.read(ctx, q.Read)
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	defer release()
	out, err := v.list(ctx, q, f, MaxScanned)
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	out.States = []State{r.state(v)}
	return out, nil
}

// check reports why q cannot be asked for of anyone; else it returns its filter.
func (q *ListRequest) check() (*filter, error) {
	if err := CheckCollection(q.Collection); err != nil {
		return nil, err
	}
	if err := within("limit", q.Limit, MaxListed); err != nil && !q.Count {
		return nil, err
	}
	return compileFilter(q.Filter)
}

// list looks at so many rows at most.
func (v view) list(ctx context.Context, q *ListRequest, f *filter, most int) (*ListAnswer, error) {
	if _, ok := v.collections[q.Collection]; !ok {
		return nil, fmt.Errorf("collection %q: %w", q.Collection, retrieval.ErrNotFound)
	}
	if q.Count && f == nil && q.After == "" {
		return &ListAnswer{Count: v.rows.Stat(bucketVersions(q.Collection)).Rows}, nil
	}
	out, bytes := &ListAnswer{}, 0
	w := &walk{view: v, collection: q.Collection, filter: f, most: most, work: maxScanWork}
	ids := w.ids
	if some, ok := v.known(ctx, q, f, most); ok && q.Count && q.After == "" {
		return &ListAnswer{Count: uint64(some.Len())}, nil
	} else if ok {
		ids = w.of(some)
	}
	for id := range ids(ctx, q.After) {
		if q.Count {
			out.Count++
			continue
		}
		if len(out.Documents) == q.Limit {
			break
		}
		d, size, err := v.document(q.Collection, id, q.Codes, true)
		if err != nil {
			return nil, err
		}
		if bytes += size; bytes > MaxAnswerBytes && len(out.Documents) > 0 {
			break
		}
		out.Documents = append(out.Documents, d)
	}
	if out.More = w.more; w.more {
		out.Next = w.last
	}
	return out, w.err
}

// known returns the documents that a filter lets through, where finding them is less work than to look at rows for a page, or a count of all, which
// then also helps those who come later. A page looks at so many rows at most.
func (v view) known(ctx context.Context, q *ListRequest, f *filter, most int) (index.View, bool) {
	if f == nil {
		return index.View{}, false
	}
	if q.Count && q.After == "" {
		most *= 5 // some tenths of a second
	} else {
		most /= 20 // milliseconds: a page may need no more rows than it has documents
	}
	some, err := v.selected(ctx, q.Collection, f, most, maxScanWork)
	return some, err == nil
}

// List merges the pages of all shards into one, in the order of ids, or adds up what they count.
func (r *Router) List(ctx context.Context, q *ListRequest) (*ListAnswer, error) {
	err := checkRead(q.Collection, q.Read)
	if err == nil {
		_, err = q.check()
	}
	if err == nil && q.After != "" {
		err = retrieval.CheckID(q.After)
	}
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	m, ctx, cancel, err := r.ready(ctx)
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	defer cancel()
	alive := r.options.Link.alive()
	parts := fan(len(m.Shards), func(shard uint32) (*ListAnswer, error) {
		ask, count := *q, uint64(0)
		for {
			a, err := hedged(ctx, r, r.options.Hedge, shard, r.order(m, shard, q.Read, alive), func(ctx context.Context, p Peer) (*ListAnswer, error) { return p.List(ctx, &ask) })
			if err != nil || !q.Count {
				return a, err
			}
			count += a.Count
			if a.Count = count; !a.More {
				return a, nil
			}
			ask.After = a.Next
		}
	})
	if err := whole(r, "list", parts, func(a *ListAnswer) []State { return a.States }); err != nil {
		return nil, err
	}
	answers := make([]*ListAnswer, len(parts))
	for i, p := range parts {
		answers[i] = p.value
	}
	return mergeLists(q.Limit, answers), nil
}

// mergeLists makes one page of those of all shards: it ends where the first of them that has more ended, or at its limit.
func mergeLists(limit int, parts []*ListAnswer) *ListAnswer {
	out := &ListAnswer{}
	for _, p := range parts {
		out.States = append(out.States, p.States...)
		out.Documents = append(out.Documents, p.Documents...)
		out.Count += p.Count
		if p.More && (!out.More || p.Next < out.Next) {
			out.More, out.Next = true, p.Next
		}
	}
	slices.SortFunc(out.Documents, func(a, b Found) int { return strings.Compare(a.ID, b.ID) })
	if out.More {
		out.Documents = slices.DeleteFunc(out.Documents, func(d Found) bool { return d.ID > out.Next })
	}
	if len(out.Documents) > limit {
		out.Documents = out.Documents[:limit]
		out.More, out.Next = true, out.Documents[limit-1].ID
	}
	return out
}
