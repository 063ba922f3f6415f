package index

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"ostraca/retrieval"
	"ostraca/retrieval/kernel"
)

// stepWork is the multiplications between two looks at a search's context: half a millisecond of the fastest kernel.
const stepWork = 1 << 27

// Options of an index. The zero value is good.
type Options struct {
	Codec   retrieval.Codec // of all documents; empty is retrieval.Int8
	Threads int             // goroutines of one search at most; 0 is GOMAXPROCS
	Kernel  *kernel.Set     // nil is kernel.Best()
	Clock   func() int64    // microseconds, for the times in answers; nil: they are 0
	Merging Merging         // what merges may take
	Memory  Memory          // of large segments; nil: Go's
	Lists   Lists           // that plans may name; of the index's width. The zero value: none
}

// Index is the documents of one shard, in memory. It is a [retrieval.Searcher] that scores the living documents by their
// tokens: all, or those that the plan of a query finds.
//
// All methods are safe for concurrent use. Readers take no lock: the state is one immutable snapshot behind a pointer, and
// whatever was read from it stays as it was. Writers wait for each other, and leave the merging of
// segments to a goroutine, which ends when nothing is to be merged (docs/live.md). A deleted document's memory is given back when its segment is rewritten, soon
// after an eighth of that is dead, and no reader holds it any more.
type Index struct {
	codec          retrieval.Codec
	width, threads int
	kernel         *kernel.Set
	clock          func() int64
	memory         Memory
	centroids      *centroidsOf // nil: no lists
	limit, step    int          // documents and tokens of a merged segment, and stepWork; less in tests
	writing        sync.Mutex
	numbering      *Numbering
	state          atomic.Pointer[snapshot]
	merger         merger
}

// New returns an empty index of vectors of the given width, 1 to retrieval.MaxWidth.
func New(width int, o Options) (*Index, error) {
	if width < 1 || width > retrieval.MaxWidth {
		return nil, fmt.Errorf("width is %d, it must be 1 to %d: %w", width, retrieval.MaxWidth, retrieval.ErrInvalid)
	}
	if o.Codec == "" {
		o.Codec = retrieval.Int8
	}
	if o.Codec.Bits() == 0 {
		return nil, fmt.Errorf("codec %q, known are %q: %w", o.Codec, retrieval.Codecs, retrieval.ErrInvalid)
	}
	if !o.Lists.IsZero() && o.Lists.Width() != width {
		return nil, fmt.Errorf("lists of width %d, the index's is %d: %w", o.Lists.Width(), width, retrieval.ErrInvalid)
	}
	if o.Clock == nil {
		o.Clock = func() int64 { return 0 }
	}
	if o.Threads <= 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	if o.Kernel == nil {
		o.Kernel = kernel.Best()
	}
	x := &Index{codec: o.Codec, clock: o.Clock, width: width, threads: o.Threads, kernel: o.Kernel, memory: o.Memory, step: stepWork, numbering: new(Numbering)}
	x.centroids = newCentroids(o.Lists, o.Kernel)
	x.limit = maxMerged / int(o.Codec.Bytes(width, retrieval.SketchTokens).All()/retrieval.SketchTokens)
	x.merger = newMerger(o.Merging, &x.writing)
	x.state.Store(new(snapshot))
	return x, nil
}

// Put inserts documents, and replaces those whose ids are held. All of the batch is seen at once, or, with an error, nothing
// of it: one wrapping retrieval.ErrTooLarge for more than retrieval.MaxBatch, retrieval.ErrInvalid for an id that occurs
// twice, or that of retrieval.Document.Validate. Nothing of docs is kept but strings and field values that are not JSON's.
func (x *Index) Put(docs []retrieval.Document) error {
	fresh, ids, err := x.prepare(docs)
	if err != nil || len(docs) == 0 {
		return err
	}
	x.change(ids, x.fresh(fresh))
	return nil
}

// Delete removes the documents of these ids and returns how many were held.
func (x *Index) Delete(ids []string) int {
	return x.change(slices.Sorted(slices.Values(ids)), nil)
}

// prepare checks a batch and returns it sorted by id, as it can be kept.
func (x *Index) prepare(docs []retrieval.Document) ([]retrieval.Document, []string, error) {
	if len(docs) > retrieval.MaxBatch {
		return nil, nil, fmt.Errorf("%d documents at once, the limit is %d: %w", len(docs), retrieval.MaxBatch, retrieval.ErrTooLarge)
	}
	fresh, ids := make([]retrieval.Document, len(docs)), make([]string, len(docs))
	for i, d := range docs {
		var err error
		if fresh[i], err = x.admitted(d); err != nil {
			return nil, nil, fmt.Errorf("number %d of the batch: %w", i, err)
		}
	}
	slices.SortFunc(fresh, byID)
	for i := range fresh {
		if ids[i] = fresh[i].ID; i > 0 && ids[i] == ids[i-1] {
			return nil, nil, fmt.Errorf("document %q is twice in the batch: %w", ids[i], retrieval.ErrInvalid)
		}
	}
	return fresh, ids, nil
}

// fresh returns a segment of documents that are sorted by id.
func (x *Index) fresh(docs []retrieval.Document) *segment {
	var n size
	for i := range docs {
		n.add(&docs[i].Codes)
	}
	m := promptly(x.memory)
	if n.tokens*x.codec.RowBytes(x.width) < largePut {
		m = nil
	}
	g := newSegment(x.codec, x.width, n, m)
	for _, d := range docs {
		g.append(d)
	}
	g.enlist(x.centroids)
	g.measure()
	return g
}

// copyFields copies what JSON can nest.
func copyFields(m map[string]any) map[string]any {
	if m == nil {
		return nil
	}
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = copyValue(v)
	}
	return out
}

func copyValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		return copyFields(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = copyValue(v[i])
		}
		return out
	}
	return v
}

// View returns the index as it is now.
func (x *Index) View() View { return View{x, x.snapshot()} }

// Search is [View.Search] of the present.
func (x *Index) Search(ctx context.Context, q *retrieval.Query) (retrieval.Answer, error) {
	return x.View().Search(ctx, q)
}

// Get is [View.Get] of the present.
func (x *Index) Get(id string) (retrieval.Document, error) { return x.View().Get(id) }

// List is [View.List] of the moment when the loop starts.
func (x *Index) List(after string) iter.Seq[retrieval.Document] {
	return func(yield func(retrieval.Document) bool) { x.View().List(after)(yield) }
}

// Width returns the dimensions of a vector.
func (x *Index) Width() int { return x.width }

// Len returns the number of documents.
func (x *Index) Len() int { return x.View().Len() }

// Tokens returns the number of tokens of all documents.
func (x *Index) Tokens() int { return x.View().Tokens() }

// Bytes returns the memory that documents take, those included that are dead and still there, without their fields.
func (x *Index) Bytes() int {
	n := 0
	for _, p := range x.snapshot() {
		n += p.bytes + 8*len(p.dead) + 4*len(p.numbers)
	}
	return n
}

func (x *Index) snapshot() snapshot { return *x.state.Load() }
