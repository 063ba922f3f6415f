package index

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"ostraca/retrieval"
)

// numbersOf returns the number of every document.
func numbersOf(x *Index) map[string]uint32 {
	out := map[string]uint32{}
	for n, id := range x.View().Unknown(nil) {
		out[id] = n
	}
	return out
}

// What is deleted, replaced and touched of a merge's sources while it copies, while it looks for what happened meanwhile, and before it swaps, is so in the
// result, and whatever is not written keeps its number.
func TestWritesWhileSourcesMerge(t *testing.T) {
	const width, n = 5, 40
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		x, m := newIndex(t, width, Options{}), model{}
		x.limit = 1 << 20
		x.Close() // merges are this test's
		write := func(ids []string, version int) {
			var docs []retrieval.Document
			for _, id := range ids {
				docs = append(docs, someDocument(rng, id, width, version))
			}
			put(t, x, docs...)
			m.put(docs)
		}
		for i := range n / 10 {
			var ids []string
			for j := range 10 {
				ids = append(ids, fmt.Sprint("d", 10*i+j))
			}
			write(ids, 0)
		}
		numbers := numbersOf(x)
		change := func(version int) {
			ids := make([]string, 3) // deleted, replaced, touched
			for i, j := range rng.Perm(n)[:3] {
				ids[i] = fmt.Sprint("d", j)
			}
			before := numbersOf(x)
			if got, want := x.Delete(ids[:1]), m.delete(ids[:1]); got != want {
				t.Fatalf("deleted %d of %d", got, want)
			}
			write(ids[1:2], version)
			x.Touch(ids[2:])
			numbers = numbersOf(x)
			for id, is := range numbers {
				if was, held := before[id]; held && (was == is) == slices.Contains(ids, id) {
					t.Fatalf("%q: number %d, then %d, of %q were written", id, was, is, ids)
				}
			}
		}
		sources := slices.Clone(x.snapshot()[1:])
		merged := sources.join(nil, func(int) bool {
			if rng.IntN(10) == 0 {
				change(1)
			}
			return true
		})
		now := x.snapshot()
		merged = merged.follow(sources, sources, now) // as replace does, which writes may come between
		change(2)
		if rng.IntN(2) == 0 {
			x.Delete([]string{"d20", "d21", "d22", "d23", "d24", "d25", "d26", "d27", "d28", "d29"}) // a source is gone
			m.delete([]string{"d20", "d21", "d22", "d23", "d24", "d25", "d26", "d27", "d28", "d29"})
			numbers = numbersOf(x)
		}
		merged = merged.follow(sources, now, x.snapshot())
		held := 0
		for _, p := range x.snapshot() {
			if _, is := sources.of(p.segment); is {
				held += p.documents
			}
		}
		if merged.documents != held {
			t.Fatalf("%d documents are merged, %d live", merged.documents, held)
		}
		for i := merged.alive(0); i < len(merged.records); i = merged.alive(i + 1) {
			if id := merged.records[i].id; merged.numbers[i] != numbers[id] {
				t.Fatalf("%q has number %d, was merged with %d", id, numbers[id], merged.numbers[i])
			}
		}
		x.replace(sources, sources.join(nil, func(int) bool { return true }))
		if got := numbersOf(x); !reflect.DeepEqual(got, numbers) {
			t.Fatalf("numbers\n%v\nare after the swap\n%v", numbers, got)
		}
		checkState(t, x, m)
	}
}

// rubbish is a Memory whose blocks are overwritten when they are given back: whoever reads them still reads that.
type rubbish struct {
	warm atomic.Int64 // bytes that Warm may give
	out  atomic.Int64 // blocks
	disk func()       // is called where a disk might have to be waited for
}

func (r *rubbish) Hot(n int) ([]byte, func()) {
	b := make([]byte, n)
	r.out.Add(1)
	return b, func() {
		for i := range b {
			b[i] = 0xee
		}
		r.out.Add(-1)
	}
}

func (r *rubbish) Warm(n int) ([]byte, func()) {
	if !r.Fits(n) {
		return nil, nil
	}
	return r.Hot(n)
}

func (r *rubbish) Cold(n int) ([]byte, func()) {
	if r.disk != nil {
		r.disk()
	}
	return r.Hot(n)
}

func (r *rubbish) Fits(n int) bool { return int64(n) <= r.warm.Load() }

// emptied waits until all blocks were given back, or some time.
func (r *rubbish) emptied(tries int) bool {
	for range tries {
		if runtime.GC(); r.out.Load() == 0 {
			return true
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

// large puts documents of one token so that every tier of the one segment is a block of r's.
func large(t *testing.T, r *rubbish, o Options) (*Index, []retrieval.Document) {
	const n = 4 * retrieval.MaxWidth / 2 // rows of 1 KiB: 2 MiB
	rng := rand.New(rand.NewPCG(6, 6))
	var docs []retrieval.Document
	for i := range n + 100 {
		docs = append(docs, retrieval.Document{ID: fmt.Sprintf("%04d", i), Codes: Pool(someCodes(rng, 1, retrieval.MaxWidth))})
	}
	o.Memory = r
	x, err := New(retrieval.MaxWidth, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Close)
	put(t, x, docs[:n/2]...)
	put(t, x, docs[n/2:]...)
	if x.Settle(); len(x.snapshot()) != 1 || r.out.Load() != 3 {
		t.Fatalf("%d segments, %d blocks", len(x.snapshot()), r.out.Load())
	}
	return x, docs
}

func allIDs(docs []retrieval.Document) (out []string) {
	for _, d := range docs {
		out = append(out, d.ID)
	}
	return out
}

// What Get and List lend stays as it was when its segment's memory is given back and used for something else.
func TestLentStays(t *testing.T) {
	r := &rubbish{}
	x, docs := large(t, r, Options{})
	var lent []retrieval.Document
	for _, d := range docs[:50] {
		got, err := x.Get(d.ID)
		if err != nil {
			t.Fatal(err)
		}
		lent = append(lent, got)
	}
	for d := range x.List(docs[49].ID) {
		if lent = append(lent, d); len(lent) == 100 {
			break
		}
	}
	if x.Delete(allIDs(docs)); !r.emptied(5000) {
		t.Fatal("the segment is gone, its memory was not given back")
	}
	for i, d := range lent {
		if d.ID != docs[i].ID || !reflect.DeepEqual(d.Codes, docs[i].Codes) {
			t.Fatalf("%q was lent, and has other codes now", d.ID)
		}
	}
}

// A search holds the memory that it reads, by whatever plan, though the index let go of it, until it ends.
func TestSearchHoldsMemory(t *testing.T) {
	for _, plan := range []retrieval.Plan{{}, {Sketched: 60, Scored: 30}} {
		r, told := &rubbish{}, 0
		var x *Index
		var docs []retrieval.Document
		clock := func() int64 { // it is looked at between the stages, the last time when all is done
			if docs == nil {
				return 0
			}
			x.Delete(allIDs(docs))
			if r.emptied(3) || r.out.Load() != 3 {
				t.Errorf("%+v: memory of a search was given back before look %d at the clock", plan, told)
			}
			told++
			return 0
		}
		x, all := large(t, r, Options{Clock: clock, Threads: 2})
		q := someQuery(rand.New(rand.NewPCG(5, 5)), 3, x.width, 20)
		q.Plan = plan
		want := search(t, x, q)
		docs = all
		got := search(t, x, q)
		docs = nil
		if !reflect.DeepEqual(got, want) || told < 2 {
			t.Fatalf("%+v: %v, looked %d times\n%v", plan, got, told, want)
		}
		if !r.emptied(5000) {
			t.Errorf("%+v: the search is done, and memory was not given back", plan)
		}
	}
}

// A write that joins segments, or is large, waits for no disk: what it puts into memory beyond the limit, the merger moves.
func TestWritesWaitForNoDisk(t *testing.T) {
	disk, writing := make(chan bool), atomic.Bool{}
	r := &rubbish{disk: func() {
		if writing.Load() {
			<-disk // a write that came here stays
		}
	}}
	slots := make(chan struct{}, 1)
	slots <- struct{}{} // so writes have to join
	x, err := New(retrieval.MaxWidth, Options{Memory: r, Merging: Merging{Slots: slots}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Close)
	m, rng := model{}, rand.New(rand.NewPCG(7, 7))
	small, big := Pool(someCodes(rng, 3, x.width)), Pool(someCodes(rng, largePut/retrieval.MaxWidth/4, x.width))
	writing.Store(true)
	done := make(chan bool)
	go func() {
		defer close(done)
		for i := range 5 * maxPending {
			var docs []retrieval.Document
			for j := range 200 {
				docs = append(docs, retrieval.Document{ID: fmt.Sprint(i, "#", j), Codes: small})
			}
			if i == 0 {
				for j := range 4 {
					docs[j].Codes = big
				}
			}
			if err := x.Put(docs); err != nil {
				t.Error(err)
			}
			m.put(docs)
		}
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("a write waits for a disk")
	}
	writing.Store(false)
	hasty := func() (n int) {
		for _, p := range x.snapshot() {
			if p.hasty {
				n++
			}
		}
		return n
	}
	if hasty() < 2 {
		t.Fatalf("%d segments lie in memory that has no room for them: nothing was tested", hasty())
	}
	<-slots
	if x.Settle(); hasty() > 0 {
		t.Fatalf("%d segments lie in memory that has no room for them, and no merge is due", hasty())
	}
	if x.Len() != len(m) {
		t.Fatalf("%d documents of %d", x.Len(), len(m))
	}
}

// Tokens that lie in files come back into memory when there is room again.
func TestTokensComeBack(t *testing.T) {
	r := &rubbish{}
	x, docs := large(t, r, Options{})
	if !x.snapshot()[0].filed {
		t.Fatal("there was room: nothing is tested")
	}
	put(t, x, docs[0])
	if x.Settle(); !x.snapshot()[0].filed {
		t.Fatal("tokens came into memory that has no room")
	}
	r.warm.Store(8 << 20)
	put(t, x, docs[0])
	if x.Settle(); x.snapshot()[0].filed {
		t.Fatal("there is room in memory, and tokens lie in a file")
	}
	if a, err := x.Search(context.Background(), someQuery(rand.New(rand.NewPCG(5, 5)), 3, x.width, 20)); err != nil || len(a.Hits) != 20 || x.Len() != len(docs) {
		t.Fatalf("%d hits, %v", len(a.Hits), err)
	}
}
