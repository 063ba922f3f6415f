package index

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ostraca/retrieval"
	"ostraca/storage"
)

// slowly has a merge rest after every document, in which time sleep is called.
func slowly(x *Index, sleep func()) {
	var now int64
	x.merger.pace.every = 1
	x.merger.pace.share = 50
	x.merger.pace.clock = func() int64 { now += shortestNap; return now }
	x.merger.pace.sleep = func(int64) { sleep() }
}

// What is put, deleted and touched while a merge is at any document of its own is there afterwards, as on the model, and numbers stay what they were.
func TestChangesDuringMerge(t *testing.T) {
	const width = 5
	rests := 0
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 4))
		x, m := newIndex(t, width, Options{}), model{}
		x.limit = 1 << 20
		resting, resume := make(chan bool), make(chan bool)
		var stepping atomic.Bool
		slowly(x, func() {
			if stepping.Load() {
				resting <- true
				<-resume
			}
		})
		change := func(version int) {
			names := []string{fmt.Sprint(rng.IntN(25)), fmt.Sprint(25 + rng.IntN(25))}
			switch rng.IntN(4) {
			case 0:
				if got, want := x.Delete(names), m.delete(names); got != want {
					t.Fatalf("deleted %d of %d", got, want)
				}
			case 1:
				x.Touch(names)
			default:
				docs := []retrieval.Document{someDocument(rng, names[0], width, version), someDocument(rng, names[1], width, version)}
				put(t, x, docs...)
				m.put(docs)
			}
		}
		for version := range 20 {
			change(version)
		}
		x.Settle()
		stepping.Store(true)
		change(20)
		for version := 21; version < 80; version++ {
			select {
			case <-resting:
				rests++
				change(version)
				numbersAreUnique(t, x)
				resume <- true
			case <-time.After(time.Millisecond): // nothing is merged
				change(version)
			}
		}
		stepping.Store(false)
		settled := make(chan struct{})
		go func() { // a merge that saw stepping may still be about to rest
			for {
				select {
				case <-resting:
					resume <- true
				case <-settled:
					return
				}
			}
		}()
		checkShape(t, x)
		close(settled)
		checkState(t, x, m)
		numbersAreUnique(t, x)
	}
	if rests < 10 {
		t.Fatalf("merges rested %d times: nothing was tested", rests)
	}
}

func numbersAreUnique(t *testing.T, x *Index) {
	t.Helper()
	seen := map[uint32]string{}
	for n, id := range x.View().Unknown(nil) {
		if other, taken := seen[n]; taken {
			t.Fatalf("%q and %q have number %d", other, id, n)
		}
		seen[n] = id
	}
}

// Answers are the same at every moment of merges.
func TestSearchesDuringMerges(t *testing.T) {
	const width, n = 12, 60
	rng := rand.New(rand.NewPCG(2, 2))
	m := model{}
	var docs []retrieval.Document
	for i := range n {
		docs = append(docs, someDocument(rng, fmt.Sprint(i), width, 1))
	}
	m.put(docs)
	x := newIndex(t, width, Options{Threads: 2})
	x.limit = 1 << 20
	slowly(x, runtime.Gosched)
	put(t, x, docs...)
	exact := someQuery(rng, 3, width, 10)
	planned := *exact
	planned.Plan = retrieval.Plan{Sketched: 30, Scored: 15}
	wants := []retrieval.Answer{m.search(exact), search(t, x, &planned)}
	done := make(chan bool)
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				for i, q := range []*retrieval.Query{exact, &planned} {
					got, err := x.Search(t.Context(), q)
					if err != nil || !reflect.DeepEqual(got.Hits, wants[i].Hits) {
						t.Errorf("%v, %v\nwant %v", got.Hits, err, wants[i].Hits)
						return
					}
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for range 500 { // what is there already
		i := rng.IntN(n - 3)
		put(t, x, docs[i:i+1+rng.IntN(3)]...)
	}
	close(done)
	readers.Wait()
	checkShape(t, x)
}

// Where the merger does not come to work, or is closed, writes keep the number of segments small.
func TestSegmentsAreBounded(t *testing.T) {
	const n = 2000
	slots := make(chan struct{}, 1)
	slots <- struct{}{} // another index merges for ever
	for name, o := range map[string]Merging{"waits": {Slots: slots}, "closed": {}} {
		x := newIndex(t, 6, Options{Merging: o})
		x.limit = 1 << 20
		if name == "closed" {
			x.Close()
		}
		rng := rand.New(rand.NewPCG(1, 1))
		most, copied, known := 0, 0, map[*segment]bool{}
		for i := range n {
			put(t, x, someDocument(rng, fmt.Sprint(i), 6, i))
			most = max(most, len(x.snapshot()))
			for _, p := range x.snapshot() {
				if !known[p.segment] {
					known[p.segment] = true
					copied += p.capacity()
				}
			}
		}
		total := x.Len() + x.Tokens()
		if log := bits.Len(uint(total)); most > log+maxPending+1 || copied > log*total {
			t.Errorf("%s: at most %d segments, %d copied for %d", name, most, copied, total)
		}
		x.Close()
		x.Close()
		if x.merger.running || x.Len() != n {
			t.Errorf("%s: after Close it runs: %v, %d documents", name, x.merger.running, x.Len())
		}
	}
}

// Close ends a merge that is under way, and leaves what was there.
func TestCloseDuringMerge(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	x, m := newIndex(t, 6, Options{}), model{}
	resting := make(chan bool, 1)
	slowly(x, func() {
		select {
		case resting <- true:
		default:
		}
		<-x.merger.stop
	})
	for i, merges := 0, false; !merges; i++ { // a write may have joined what the merger came for
		d := someDocument(rng, fmt.Sprint(i), 6, i)
		put(t, x, d)
		m.put([]retrieval.Document{d})
		select {
		case merges = <-resting:
		case <-time.After(time.Millisecond):
		}
	}
	before := x.snapshot()
	x.Close()
	if after := x.snapshot(); !reflect.DeepEqual(before, after) {
		t.Fatal("a merge that was not whole is there")
	}
	checkState(t, x, m)
}

// A merger works its share of the time, and no more.
func TestPace(t *testing.T) {
	for _, share := range []int{0, 1, 25, 50, 100} {
		var now, slept int64
		p := newPace(Merging{Share: share, Clock: func() int64 { return now }, Sleep: func(d int64) {
			if d > longestNap {
				t.Fatalf("a nap of %d", d)
			}
			now, slept = now+d, slept+d
		}}, nil)
		worked := int64(0)
		for range 1000 {
			p.start()
			for range 3 {
				work := rand.Int64N(2000)
				worked, now = worked+work, now+work
				p.rest()
			}
			now += 10_000 // between merges
		}
		if share == 0 {
			share = defaultShare
		}
		got := 100 * float64(worked) / float64(worked+slept)
		if got > float64(share)*1.01 || got < float64(share)*.95 {
			t.Errorf("worked %.2f %% of the time, the share is %d", got, share)
		}
	}
	p := newPace(Merging{Share: 25}, nil)
	if p.start(); !p.rest() {
		t.Error("without a clock it does not go on")
	}
}

// Vectors in memory that the garbage collector does not see are read while they are there, and given back when nothing reads them.
func TestMemoryIsGivenBack(t *testing.T) {
	const width, tokens, n = 384, 200, 100
	arena, err := storage.NewArena(storage.ArenaOptions{Dir: t.TempDir(), Limit: 10 << 20})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 3))
	x, plain := newIndex(t, width, Options{Memory: arena}), newIndex(t, width, Options{})
	x.limit, plain.limit = 1<<20, 1<<20
	codes := make([]retrieval.Codes, 8)
	for i := range codes {
		codes[i] = Pool(quantize(t, floats(rng, tokens, width), width))
	}
	q := someQuery(rng, 4, width, 20)
	var kept []retrieval.Document
	done := make(chan bool)
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				search(t, x, q)
			}
		}
	})
	files := int64(0)
	for i := range 4 * n {
		d := retrieval.Document{ID: fmt.Sprint(i % n), Codes: codes[rng.IntN(len(codes))]}
		put(t, x, d)
		put(t, plain, d)
		if i%20 == 0 {
			runtime.GC()
			held, err := x.Get(d.ID)
			if err != nil || !reflect.DeepEqual(held.Codes, d.Codes) {
				t.Fatalf("got other codes: %v", err)
			}
			kept = append(kept, held)
		}
		files = max(files, arena.Usage().File)
	}
	close(done)
	reader.Wait()
	x.Settle()
	if got, want := search(t, x, q), search(t, plain, q); !reflect.DeepEqual(got.Hits, want.Hits) {
		t.Fatalf("%v\n%v", got.Hits, want.Hits)
	}
	if files == 0 && runtime.GOOS == "linux" {
		t.Error("nothing was in a file: nothing was tested")
	}
	x.Delete(ids(x, ""))
	for range 1000 {
		if runtime.GC(); arena.Usage() == (storage.ArenaUsage{}) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if u := arena.Usage(); u != (storage.ArenaUsage{}) {
		t.Errorf("the index is empty, %+v is out", u)
	}
	for _, d := range kept { // what was got is there
		if err := d.Validate(width); err != nil {
			t.Fatal(err)
		}
	}
}

// Ten million tokens lie in few segments, however they came.
func TestSegmentsOfManyTokens(t *testing.T) {
	x, err := New(384, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, batch := range map[string]func() int{
		"one document":  func() int { return 180 },
		"of all sizes":  func() int { return 1 << rand.IntN(18) },
		"as they load":  func() int { return 1<<16 + rand.IntN(200) },
		"as large ones": func() int { return 1<<19 + rand.IntN(1<<18) },
	} {
		var s snapshot
		most := 0
		for all := 0; all < 10_000_000; {
			n := batch()
			all += n
			s = append(s, part{documents: n / 180, tokens: n})
			var next snapshot
			for _, r := range s.runs(x.limit) {
				p := part{}
				for _, o := range s[r.from:r.to] {
					p.documents, p.tokens = p.documents+o.documents, p.tokens+o.tokens
				}
				next = append(next, p)
			}
			s = next
			most = max(most, len(s))
		}
		if most > 28 {
			t.Errorf("%s: %d segments", name, most)
		}
		t.Logf("%s: at most %d segments, %d in the end", name, most, len(s))
	}
}
