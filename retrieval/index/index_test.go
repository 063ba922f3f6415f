package index

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ostraca/retrieval"
)

func ids(x *Index, after string) (out []string) {
	for d := range x.List(after) {
		out = append(out, d.ID)
	}
	return out
}

func TestPutGetDeleteList(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	x := newIndex(t, 6, Options{})
	docs := []retrieval.Document{someDocument(rng, "b", 6, 1), someDocument(rng, "a", 6, 1), someDocument(rng, "c", 6, 1)}
	put(t, x, docs...)
	put(t, x, someDocument(rng, "b", 6, 2))
	put(t, x)
	b, err := x.Get("b")
	if err != nil || b.Text != "version 2" {
		t.Fatalf("%v, %v", b, err)
	}
	if a, _ := x.Get("a"); !reflect.DeepEqual(a, pooled(docs[1])) {
		t.Fatalf("put %+v, got %+v", docs[1], a)
	}
	if got := ids(x, ""); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Fatal(got)
	}
	if n := x.Delete([]string{"a", "a", "z", ""}); n != 1 {
		t.Fatalf("deleted %d", n)
	}
	if _, err := x.Get("a"); !errors.Is(err, retrieval.ErrNotFound) {
		t.Fatal(err)
	}
	for after, want := range map[string][]string{"": {"b", "c"}, "a": {"b", "c"}, "b": {"c"}, "bb": {"c"}, "c": nil} {
		if got := ids(x, after); !slices.Equal(got, want) || !slices.Equal(slices.Collect(x.View().IDs(after)), want) {
			t.Fatalf("after %q: %v", after, got)
		}
	}
	for range x.List("") {
		break
	}
	x.Delete([]string{"b", "c"})
	if x.Len() != 0 || x.Tokens() != 0 || x.Bytes() != 0 || len(x.snapshot()) != 0 {
		t.Fatalf("an empty index has %d documents, %d tokens, %d bytes", x.Len(), x.Tokens(), x.Bytes())
	}
}

// A refused batch changes nothing.
func TestPutIsAtomic(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	x := newIndex(t, 6, Options{})
	put(t, x, someDocument(rng, "a", 6, 1))
	good := someDocument(rng, "b", 6, 1)
	long := good
	long.ID = strings.Repeat("x", retrieval.MaxIDBytes+1)
	for name, c := range map[string]struct {
		docs []retrieval.Document
		want error
	}{
		"no id":    {[]retrieval.Document{good, {}}, retrieval.ErrInvalid},
		"long id":  {[]retrieval.Document{good, long}, retrieval.ErrTooLarge},
		"twice":    {[]retrieval.Document{good, someDocument(rng, "c", 6, 1), good}, retrieval.ErrInvalid},
		"width":    {[]retrieval.Document{good, {ID: "c", Codes: someCodes(rng, 1, 8)}}, retrieval.ErrInvalid},
		"too many": {make([]retrieval.Document, retrieval.MaxBatch+1), retrieval.ErrTooLarge},
	} {
		before := x.snapshot()
		if err := x.Put(c.docs); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(before, x.snapshot()) {
			t.Errorf("%s: changed", name)
		}
	}
}

func TestNewRefusesWidths(t *testing.T) {
	for _, width := range []int{-1, 0, retrieval.MaxWidth + 1} {
		if _, err := New(width, Options{}); !errors.Is(err, retrieval.ErrInvalid) {
			t.Errorf("width %d: %v", width, err)
		}
	}
}

// Neither the documents put nor appending to those got reaches into the index.
func TestNothingIsShared(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	original := func() retrieval.Document {
		d := retrieval.Document{ID: "a", Text: "text", Codes: quantize(t, floats(rand.New(rand.NewPCG(1, 1)), 2, 6), 6)}
		d.Spans = []retrieval.Span{{Start: 0, End: 1}, {Start: 1, End: 2}}
		d.Fields = map[string]any{"list": []any{1.5, map[string]any{"deep": "x"}}, "nil": nil}
		return d
	}
	x := newIndex(t, 6, Options{})
	d := original()
	put(t, x, d, someDocument(rng, "b", 6, 1))
	d.Codes.Rows[0]++
	d.Codes.Scales[0]++
	d.Spans[0].End++
	d.Fields["list"].([]any)[1].(map[string]any)["deep"] = "y"
	d.Fields["list"].([]any)[0] = 0
	d.Fields["new"] = 1
	got, _ := x.Get("a")
	if c := got.Codes; cap(c.Rows) > len(c.Rows) || cap(c.Scales) > len(c.Scales) || cap(got.Spans) > len(got.Spans) {
		t.Error("an append to what was got writes into the index")
	}
	if !reflect.DeepEqual(got, pooled(original())) {
		t.Fatalf("%+v", got)
	}
	checkShape(t, x)
}

// A document without tokens is kept, and in no answer.
func TestWithoutTokens(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	x := newIndex(t, 6, Options{})
	q := someQuery(rng, 2, 6, 5)
	if a := search(t, x, q); a.Hits != nil || a.Stats != (retrieval.Stats{}) {
		t.Fatalf("an empty index: %+v", a)
	}
	put(t, x, retrieval.Document{ID: "bare"})
	if a := search(t, x, q); a.Hits != nil || a.Stats != (retrieval.Stats{Segments: 1}) {
		t.Fatalf("a document without tokens: %+v", a)
	}
	if d, err := x.Get("bare"); err != nil || d.Codes.Len() != 0 {
		t.Fatal(err)
	}
	if x.Len() != 1 || x.Tokens() != 0 {
		t.Fatalf("%d documents, %d tokens", x.Len(), x.Tokens())
	}
}

// Single puts copy a document about log n times, and leave about log n segments.
func TestMergesAreGeometric(t *testing.T) {
	const n = 1500
	rng := rand.New(rand.NewPCG(1, 1))
	x := newIndex(t, 6, Options{})
	x.limit = maxMerged
	known, copied, most := map[*segment]bool{}, 0, 0
	for i := range n {
		put(t, x, someDocument(rng, fmt.Sprint(rng.IntN(n)), 6, i))
		parts := x.snapshot()
		most = max(most, len(parts))
		for _, p := range parts {
			if !known[p.segment] {
				known[p.segment] = true
				copied += p.capacity()
			}
		}
	}
	checkShape(t, x)
	log := bits.Len(uint(n * 16))
	if total := x.Len() + x.Tokens(); copied > 2*log*total || most > log+2*maxPending {
		t.Errorf("%d copied for %d, at most %d segments; log is %d", copied, total, most, log)
	}
	// Replacing the same few for ever must not pile up.
	before := x.Bytes()
	for i := range 200 {
		put(t, x, someDocument(rng, fmt.Sprint("x", i%3), 6, i))
	}
	if checkShape(t, x); x.Bytes() > 2*before {
		t.Errorf("%d bytes, then %d", before, x.Bytes())
	}
}

// Segments beyond the limit stay as they are, and give their memory back when half is dead.
func TestLargeSegmentsAreNotMerged(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	x := newIndex(t, 6, Options{})
	x.limit = 50
	for i := range 30 {
		put(t, x, retrieval.Document{ID: fmt.Sprint(i), Codes: someCodes(rng, 20, 6)})
		checkShape(t, x)
	}
	if n := len(x.snapshot()); n < 15 || n > 30 {
		t.Fatalf("%d segments", n)
	}
	before := x.Bytes()
	for i := range 20 {
		x.Delete([]string{fmt.Sprint(i)})
		checkShape(t, x)
	}
	if x.Bytes() > 2*before/3 {
		t.Fatalf("%d bytes, and %d with a third left", before, x.Bytes())
	}
}

// What docs/score.md has as bytes per token is what an index takes, beside some constant bytes a document.
func TestBytesPerToken(t *testing.T) {
	const width, tokens, some = 384, 192, 3 // whole clusters in one window
	for codec, want := range map[retrieval.Codec]int{retrieval.Int8: 386 + 16, retrieval.Bits4: 195 + 4, retrieval.Bits3: 147 + 4, retrieval.Bits2: 99 + 4, retrieval.Bits1: 51 + 4} {
		rng := rand.New(rand.NewPCG(1, 1))
		x := newIndex(t, width, Options{Codec: codec})
		for i := range some {
			c, err := Quantize(codec, floats(rng, tokens, width), width)
			if err != nil {
				t.Fatal(err)
			}
			put(t, x, retrieval.Document{ID: fmt.Sprint(i), Text: "0123456789", Codes: c})
		}
		const sketch, pooledScales = 386 + 2, 2 * tokens / 24
		over := x.Bytes() - some*(tokens*want+sketch)
		if over < some*11 || over > some*(200+pooledScales) {
			t.Errorf("%s: %d bytes a document beyond the vectors of %d tokens", codec, over/some, tokens)
		}
	}
}

func TestSearchRefuses(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	x := newIndex(t, 6, Options{})
	for name, q := range map[string]*retrieval.Query{"nothing": {}, "width": someQuery(rng, 1, 8, 1)} {
		if _, err := x.Search(t.Context(), q); !errors.Is(err, retrieval.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// expiring is a context that ends after some looks at it.
type expiring struct {
	context.Context
	looks int
}

func (c *expiring) Err() error {
	if c.looks--; c.looks < 0 {
		return context.DeadlineExceeded
	}
	return nil
}

func TestSearchIsCancelled(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	x := newIndex(t, 6, Options{Threads: 1})
	put(t, x, retrieval.Document{ID: "a", Codes: someCodes(rng, 20, 6)}, retrieval.Document{ID: "b", Codes: someCodes(rng, 20, 6)})
	q := someQuery(rng, 2, 6, 5)
	for _, looks := range []int{0, 1, 20, 39} {
		a, err := x.Search(&expiring{t.Context(), looks}, q)
		if !errors.Is(err, context.DeadlineExceeded) || a.Hits != nil {
			t.Errorf("after %d looks: %v, %v", looks, a, err)
		}
	}
	if _, err := x.Search(&expiring{t.Context(), 100}, q); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	x.threads = 3
	if _, err := x.Search(ctx, q); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A search allocates for its worker and its answer, and nothing for a document.
func TestSearchAllocations(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	q := someQuery(rng, 4, 6, 5)
	count := func(n int) float64 {
		x := newIndex(t, 6, Options{Threads: 1})
		x.step = stepWork
		for i := range n {
			put(t, x, retrieval.Document{ID: fmt.Sprintf("%06d", i), Codes: someCodes(rng, 2, 6)})
		}
		x.Settle() // merges allocate
		return testing.AllocsPerRun(10, func() { search(t, x, q) })
	}
	if few, many := count(10), count(1000); few != many {
		t.Errorf("%v allocations for 10 documents, %v for 1000", few, many)
	}
}

// Score is the whole search, of the given documents alone.
func TestScoreOfGivenDocuments(t *testing.T) {
	const width = 12
	rng := rand.New(rand.NewPCG(9, 9))
	x, held := newIndex(t, width, Options{}), model{}
	var ids []string
	for i := range 40 {
		d := retrieval.Document{ID: fmt.Sprint("d", i), Codes: someCodes(rng, i%4, width)}
		put(t, x, d)
		if i%3 != 0 {
			held[d.ID] = d
			ids = append(ids, d.ID, d.ID)
		}
	}
	q := someQuery(rng, 3, width, 7)
	got, err := x.View().Score(t.Context(), q, append(ids, "absent"))
	if err != nil {
		t.Fatal(err)
	}
	if want := held.search(q); !reflect.DeepEqual(got.Hits, want.Hits) {
		t.Fatalf("%v\n%v", got.Hits, want.Hits)
	}
	q.Width++
	if _, err := x.View().Score(t.Context(), q, ids); !errors.Is(err, retrieval.ErrInvalid) {
		t.Fatal(err)
	}
}

// A view stays as it was.
func TestViewStays(t *testing.T) {
	const width = 12
	rng := rand.New(rand.NewPCG(8, 8))
	x := newIndex(t, width, Options{})
	put(t, x, retrieval.Document{ID: "a", Codes: someCodes(rng, 3, width)}, retrieval.Document{ID: "b", Codes: someCodes(rng, 2, width)})
	v := x.View()
	x.Delete([]string{"a"})
	put(t, x, retrieval.Document{ID: "c", Codes: someCodes(rng, 4, width)})
	if v.Len() != 2 || v.Tokens() != 5 || x.Len() != 2 || x.Tokens() != 6 {
		t.Fatalf("%d documents, %d tokens; now %d, %d", v.Len(), v.Tokens(), x.Len(), x.Tokens())
	}
	if _, err := v.Get("a"); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Get("c"); err == nil {
		t.Fatal("the future is seen")
	}
}
