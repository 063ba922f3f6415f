package index

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"ostraca/retrieval"
)

const (
	pairs    = 8
	versions = 60
)

// version returns two documents that are always written together. Version v of a pair has 1 + v%3 tokens.
func version(width, pair, v int) []retrieval.Document {
	rng := rand.New(rand.NewPCG(uint64(pair), uint64(v)))
	c := someCodes(rng, 1+v%3, width)
	for i := range c.Rows {
		if i%retrieval.Stride(width) < width {
			c.Rows[i] = byte(1 + rng.IntN(255))
		}
	}
	c.Scales[0] = retrieval.MaxScale
	fields := map[string]any{"version": v}
	return []retrieval.Document{
		{ID: fmt.Sprint("left", pair), Fields: fields, Codes: c},
		{ID: fmt.Sprint("right", pair), Fields: fields, Codes: c},
	}
}

// Readers see every write wholly or not at all, and never go back in time: both documents of a pair come with the same
// sum, which names their version.
func TestReadersSeeSnapshots(t *testing.T) {
	const width = 12
	x := newIndex(t, width, Options{Threads: 2})
	q := someQuery(rand.New(rand.NewPCG(1, 1)), 3, width, 2*pairs)
	for i := range q.Weights {
		q.Weights[i] = uint16(1000 + i)
	}
	sums := make([]map[int64]int, pairs) // the version of a sum
	for p := range pairs {
		sums[p] = map[int64]int{}
		for v := range versions {
			sums[p][model{"a": version(width, p, v)[0]}.search(q).Hits[0].Sum] = v
		}
		if len(sums[p]) != versions {
			t.Fatal("versions with equal sums tell nothing")
		}
	}
	done, rounds := make(chan struct{}), make(chan struct{}, 1)
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() { readSnapshots(t, x, q, sums, rounds, done) })
	}
	readers.Go(func() { readPlanned(t, x, q, sums, done) })
	for v := range versions {
		for p := range pairs {
			docs := version(width, p, v)
			if !t.Failed() {
				<-rounds // so that reads and writes take turns on the slowest machine too
			}
			if v%5 == 4 {
				x.Delete([]string{docs[0].ID, docs[1].ID})
			} else if err := x.Put(docs); err != nil {
				t.Error(err)
			}
		}
	}
	close(done)
	readers.Wait()
	checkShape(t, x)
}

// readPlanned searches by plans: whatever they find is of one moment and scored exactly.
func readPlanned(t *testing.T, x *Index, q *retrieval.Query, sums []map[int64]int, done <-chan struct{}) {
	plans := []retrieval.Plan{{Sketched: 9, Scored: 4}, {Sketched: 5}, {Scored: 5}, {Sketched: 2 * pairs, Scored: 2 * pairs}}
	for i := 0; ; i++ {
		select {
		case <-done:
			return
		default:
		}
		ask := *q
		ask.K, ask.Plan = 4, plans[i%len(plans)]
		a, err := x.Search(t.Context(), &ask)
		if err != nil {
			t.Error(err)
			return
		}
		found := map[string]int64{}
		for _, h := range a.Hits {
			found[h.ID] = h.Sum
		}
		for p := range pairs {
			left, ok := found[fmt.Sprint("left", p)]
			right, both := found[fmt.Sprint("right", p)]
			sum := left
			if !ok {
				sum = right
			}
			if _, known := sums[p][sum]; ok && both && left != right || (ok || both) && !known {
				t.Errorf("pair %d by %+v: %v %v with sums %d and %d", p, ask.Plan, ok, both, left, right)
				return
			}
		}
	}
}

func readSnapshots(t *testing.T, x *Index, q *retrieval.Query, sums []map[int64]int, rounds chan<- struct{}, done <-chan struct{}) {
	last := make([]int, pairs)
	for {
		select {
		case <-done:
			return
		case rounds <- struct{}{}:
		default:
		}
		a, err := x.Search(t.Context(), q)
		if err != nil {
			t.Error(err)
			return
		}
		found := map[string]int64{}
		for _, h := range a.Hits {
			found[h.ID] = h.Sum
		}
		for p := range pairs {
			left, ok := found[fmt.Sprint("left", p)]
			right, both := found[fmt.Sprint("right", p)]
			v, known := sums[p][left]
			if ok != both || left != right || ok && (!known || v < last[p]) {
				t.Errorf("pair %d: %v %v with sums %d and %d, version %d after %d", p, ok, both, left, right, v, last[p])
				return
			}
			if ok {
				last[p] = v
			}
			if d, err := x.Get(fmt.Sprint("right", p)); err == nil {
				if v := d.Fields["version"].(int); v < last[p] || d.Codes.Len() != 1+v%3 {
					t.Errorf("pair %d: got version %d of %d tokens after %d", p, v, d.Codes.Len(), last[p])
					return
				}
				last[p] = d.Fields["version"].(int)
			}
		}
		n := 0
		for d := range x.List("") {
			_ = d.Codes.Rows[len(d.Codes.Rows)-1]
			n++
		}
		if n%2 != 0 {
			t.Errorf("half a pair is listed")
			return
		}
	}
}
