package index

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ostraca/retrieval"
	"ostraca/retrieval/kernel"
)

// divide gives c lists, of n documents about its subjects that are not of it, and some documents of several sketches.
func (c *crowd) divide(t testing.TB, n int) {
	t.Helper()
	var sample []retrieval.Codes
	for range n {
		sample = append(sample, quantizeBy(t, retrieval.Int8, c.text(1+c.rng.IntN(24)), c.width))
	}
	var err error
	if c.lists, err = ListsOf("others", sample); err != nil || c.lists.Len() != n {
		t.Fatalf("%d lists of %d documents: %v", c.lists.Len(), n, err)
	}
	for i := range 12 {
		codes := quantizeBy(t, c.codec, c.text(257+c.rng.IntN(600)), c.width)
		c.docs = append(c.docs, retrieval.Document{ID: fmt.Sprintf("long%02d", i), Codes: Pool(codes)})
	}
}

// dumbLists returns the lists of a document's sketches, and the n that speak most for a query, by their definition.
func dumbLists(l Lists, d retrieval.Document, q *retrieval.Query, n int) (of []int, best []int) {
	rows, stride := []byte(l.data[l.rows:]), retrieval.Stride(l.width)
	dot := func(a, b []byte) (sum int64) {
		for i := range l.width {
			sum += int64(int(a[i])-128) * int64(int(b[i])-128)
		}
		return sum
	}
	for s := range d.Codes.Sketch.Len() {
		list, most := 0, int64(math.MinInt64)
		for i := range l.Len() {
			if x := dot(d.Codes.Sketch.Rows[s*stride:], rows[i*stride:]); x > most {
				list, most = i, x
			}
		}
		of = append(of, list)
	}
	sums := make([]int64, l.Len())
	for i := range sums {
		best = append(best, i)
		for t := range q.Len() {
			for j := range l.width {
				sums[i] += int64(q.Weights[t]) * int64(q.Codes[t*q.Width+j]) * int64(int(rows[i*stride+j])-128)
			}
		}
	}
	slices.SortFunc(best, func(a, b int) int { return cmp.Or(cmp.Compare(sums[b], sums[a]), a-b) })
	return of, best[:n]
}

// A search of some lists is one of an index that holds nothing but the documents in them.
func TestListsAreAnIndexOfTheirs(t *testing.T) {
	for _, codec := range []retrieval.Codec{retrieval.Int8, retrieval.Bits2} {
		c := newCrowd(codec, 400, 20)
		c.divide(t, 30)
		x := c.parts(t, 1, Options{Threads: 2})[0]
		for range 30 {
			q, n := c.query(1+c.rng.IntN(20), 3), 1+c.rng.IntN(29)
			near := *c
			near.docs, near.lists = nil, Lists{}
			for _, d := range c.docs {
				if of, best := dumbLists(c.lists, d, q, n); slices.ContainsFunc(of, func(l int) bool { return slices.Contains(best, l) }) {
					near.docs = append(near.docs, d)
				}
			}
			for _, p := range []retrieval.Plan{{Lists: n, Sketched: 9, Scored: 4}, {Lists: n, Sketched: 40}, {Lists: n, Scored: 7}, {Lists: n}} {
				y, theirs := near.parts(t, 1, Options{Threads: 1})[0], retrieval.Plan{Sketched: p.Sketched, Scored: p.Scored}
				got, want := candidates(t, x, q, p), candidates(t, y, q, theirs)
				if !slices.Equal(got, want) {
					t.Fatalf("%s, %+v, %d documents of %d: candidates %v, want %v", codec, p, len(near.docs), len(c.docs), got, want)
				}
				ask, same := *q, *q
				ask.Plan, same.Plan = p, theirs
				work, works := search(t, x, &ask).Stats, search(t, y, &same).Stats
				works.Centroids = int64(c.lists.Len())
				if theirs.Exact() { // which counts no documents before their tokens
					works.Sketched = int64(len(near.docs))
				}
				if len(near.docs) > 3 && work != works {
					t.Fatalf("%s, %+v: %+v, want %+v", codec, p, work, works)
				}
			}
		}
	}
}

// Of lists that speak as much for a query the first are looked into.
func TestBestLists(t *testing.T) {
	rows := bytes.Repeat([]byte{128, 128, 128, 128}, 9) // width 3: a query of the third dimension alone meets them alike, but for two
	for i := range 9 {
		rows[4*i] = byte(100 + i)
	}
	rows[4*6+2], rows[4*2+2] = 140, 120
	l, err := NewLists("", 3, rows)
	if err != nil {
		t.Fatal(err)
	}
	q, err := QuantizeQuery(retrieval.Int8, []float32{0, 0, 1}, 3, nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int][]int32{1: {6}, 3: {0, 1, 6}, 5: {0, 1, 3, 4, 6}, 8: {0, 1, 3, 4, 5, 6, 7, 8}, 9: {0, 1, 2, 3, 4, 5, 6, 7, 8}} {
		for _, k := range kernel.All() {
			if got := newCentroids(l, k).best(q, n); !slices.Equal(got, want) {
				t.Errorf("%s, %d of 9 lists: %v, want %v", k.Name(), n, got, want)
			}
		}
	}
}

// Law 1 with lists, those that hold fewer documents than are wanted included.
func TestListsOfTheWholeAreThoseOfParts(t *testing.T) {
	for codec, queries := range map[retrieval.Codec]int{retrieval.Int8: 500, retrieval.Bits4: 20, retrieval.Bits1: 20} {
		c := newCrowd(codec, lawDocuments, 16)
		c.divide(t, 90)
		all := targetPlans(t, c)
		named := 0
		for _, p := range all {
			named += min(1, p.Lists)
		}
		if named == 0 && codec == retrieval.Int8 {
			t.Errorf("no plan for a target names lists: %+v", all)
		}
		for i := range all {
			all[i].Lists = cmp.Or(all[i].Lists, 1+c.rng.IntN(60))
		}
		checkCandidates(t, c, queries, func() []retrieval.Plan {
			n := 1 + c.rng.IntN(60)
			return append(slices.Clip(all), retrieval.Plan{Lists: n, Sketched: n}, retrieval.Plan{Lists: n, Scored: n}, retrieval.Plan{Lists: n})
		})
		checkHits(t, c, 10, func() []retrieval.Plan {
			return append(slices.Clip(all), retrieval.Plan{Lists: 1, Sketched: 10, Scored: 10}, retrieval.Plan{Lists: 2, Sketched: 30})
		})
	}
}

// Whatever lists hold, there are as many hits as are wanted.
func TestListsFindAsManyAsAreWanted(t *testing.T) {
	c := newCrowd(retrieval.Int8, 300, 16)
	c.divide(t, 50)
	whole, three, seven := c.splits(t)
	for _, p := range []retrieval.Plan{{Lists: 1, Sketched: 9, Scored: 3}, {Lists: 2, Sketched: 3}, {Lists: 1, Scored: 3}, {Lists: 1}} {
		for _, k := range []int{1, 20, 290, len(c.docs) + 1} {
			q := c.query(5, k)
			q.Plan = p
			for _, s := range []retrieval.Searcher{whole, three, seven} {
				if got := len(search(t, s, q).Hits); got != min(k, len(c.docs)) {
					t.Fatalf("%+v: %d hits, %d are wanted", p, got, k)
				}
			}
		}
	}
}

// Answers by lists, with the counts of their work, do not depend on threads, kernel or segments, nor on a file; the deleted leave no trace.
func TestListsDoNotDependOnLayout(t *testing.T) {
	for _, codec := range []retrieval.Codec{retrieval.Int8, retrieval.Bits2} {
		c := newCrowd(codec, 300, 21)
		c.divide(t, 40)
		whole := c.parts(t, 1, Options{Threads: 1, Kernel: kernel.All()[0]})[0].(*Index)
		var queries []*retrieval.Query
		var want []retrieval.Answer
		for range 6 {
			for _, p := range []retrieval.Plan{{Lists: 10, Sketched: 50, Scored: 12}, {Lists: 3, Sketched: 30}, {Lists: 20, Scored: 9}, {Lists: 1, Sketched: 1, Scored: 1}, {Lists: 39, Sketched: 200, Scored: 30}} {
				q := c.query(1+c.rng.IntN(40), 1+c.rng.IntN(40))
				q.Plan = p
				queries, want = append(queries, q), append(want, search(t, whole, q))
			}
		}
		var file bytes.Buffer
		if _, err := whole.View().WriteFile(&file, 0); err != nil {
			t.Fatal(err)
		}
		for _, set := range kernel.All() {
			for _, threads := range []int{1, 3} {
				o := Options{Codec: codec, Threads: threads, Kernel: set, Lists: c.lists}
				x := newIndex(t, c.width, o)
				disturbed(t, x, c)
				loaded, err := Load(file.Bytes(), o)
				if err != nil {
					t.Fatal(err)
				}
				if len(loaded.snapshot()[0].members.grouped.firsts) == 0 {
					t.Fatal("a large segment is not grouped")
				}
				for i, q := range queries {
					for name, x := range map[string]*Index{"disturbed": x, "loaded": loaded} {
						got := search(t, x, q)
						got.Stats.Segments = want[i].Stats.Segments
						if !reflect.DeepEqual(got, want[i]) {
							t.Fatalf("%s, %s, %s, %d threads, %+v:\n%+v\n%+v", name, codec, set.Name(), threads, q.Plan, got, want[i])
						}
					}
				}
				x.Close()
			}
		}
	}
}

// A restricted view of lists is one of an index that never held others.
func TestListsOfARestrictedView(t *testing.T) {
	c := newCrowd(retrieval.Int8, 400, 16)
	c.divide(t, 25)
	x := c.parts(t, 1, Options{Threads: 1})[0].(*Index)
	few := *c
	few.docs = nil
	var keep Set
	for n, id := range x.View().Unknown(nil) {
		if n%3 == 0 {
			keep = keep.With(n)
			few.docs = append(few.docs, c.docs[slices.IndexFunc(c.docs, func(d retrieval.Document) bool { return d.ID == id })])
		}
	}
	y := few.parts(t, 1, Options{Threads: 1})[0]
	near, _ := x.View().probed(c.query(5, 8), 3)
	if all := x.View().parts; near.documents()+all.others(near).documents() != all.documents() {
		t.Errorf("%d documents in lists and %d in others, of %d", near.documents(), all.others(near).documents(), all.documents())
	}
	for range 40 {
		q := c.query(5, 8)
		q.Plan = retrieval.Plan{Lists: 1 + c.rng.IntN(20), Sketched: 30, Scored: 10}
		got, err := x.View().Restrict(keep).Search(t.Context(), q)
		if want := search(t, y, q); err != nil || !reflect.DeepEqual(got.Hits, want.Hits) {
			t.Fatalf("%+v: %v\n%+v\n%+v", q.Plan, err, got.Hits, want.Hits)
		}
	}
}

func TestListsBytes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	l, err := ListsOf("a sample", []retrieval.Codes{{}, quantizeBy(t, retrieval.Int8, floats(rng, 3, 18), 18), quantizeBy(t, retrieval.Int8, floats(rng, 300, 18), 18)})
	if err != nil || l.Len() != 2 || l.Width() != 18 || l.IsZero() || !strings.HasPrefix(l.String(), "a sample: 2 documents, sha256 ") {
		t.Fatalf("%v: %d x %d, %v", l, l.Len(), l.Width(), err)
	}
	again, err := ParseLists([]byte(l.Bytes()))
	if err != nil || again != l {
		t.Fatalf("%v, %v", again, err)
	}
	for _, l := range []Lists{l, {}} {
		var back Lists
		text, err := json.Marshal(l)
		if err := errors.Join(err, json.Unmarshal(text, &back)); err != nil || back != l {
			t.Errorf("as JSON: %v, %v", back, err)
		}
	}
	for i := range len(l.Bytes()) - 40 { // of rows, all but the padding may be anything
		if _, err := ParseLists([]byte(l.Bytes())[:i]); !errors.Is(err, retrieval.ErrCorrupt) || errors.Is(err, retrieval.ErrTooLarge) {
			t.Errorf("the first %d bytes: %v", i, err)
		}
	}
	if none := (Lists{}); none.Len() != 0 || none.Width() != 0 || none.String() != "" {
		t.Errorf("none: %v", none)
	}
	row := bytes.Repeat([]byte{128}, 20)
	for what, c := range map[string]struct {
		name  string
		width int
		rows  []byte
		err   error
	}{
		"no width":     {"", 0, row, retrieval.ErrInvalid},
		"too wide":     {"", retrieval.MaxWidth + 1, row, retrieval.ErrInvalid},
		"no rows":      {"", 20, nil, retrieval.ErrInvalid},
		"half a row":   {"", 20, row[:10], retrieval.ErrInvalid},
		"padded":       {"", 17, append(bytes.Repeat([]byte{128}, 19), 127), retrieval.ErrInvalid},
		"code of -128": {"", 20, append(make([]byte, 1), row[:19]...), retrieval.ErrInvalid},
		"long name":    {strings.Repeat("n", MaxListsName+1), 20, row, retrieval.ErrTooLarge},
		"control name": {"a\nb", 20, row, retrieval.ErrInvalid},
		"no UTF-8":     {"a\xff", 20, row, retrieval.ErrInvalid},
		"too many":     {"", 1, bytes.Repeat([]byte{128}, 4*(retrieval.MaxLists+1)), retrieval.ErrTooLarge},
		"too large":    {"", 1024, bytes.Repeat([]byte{128}, MaxListBytes+1024), retrieval.ErrTooLarge},
	} {
		if _, err := NewLists(c.name, c.width, c.rows); !errors.Is(err, c.err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := New(17, Options{Lists: l}); !errors.Is(err, retrieval.ErrInvalid) {
		t.Errorf("lists of another width: %v", err)
	}
	for what, sample := range map[string][]retrieval.Codes{"none": nil, "no tokens": {{}}, "two widths": {quantizeBy(t, retrieval.Int8, floats(rng, 3, 18), 18), quantizeBy(t, retrieval.Int8, floats(rng, 3, 17), 17)}} {
		if _, err := ListsOf("x", sample); !errors.Is(err, retrieval.ErrInvalid) {
			t.Errorf("a sample of %s: %v", what, err)
		}
	}
}
