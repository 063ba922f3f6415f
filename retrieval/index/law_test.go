package index

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"ostraca/retrieval"
	"ostraca/retrieval/kernel"
)

// operation is a batch of puts, or of deletes.
type operation struct {
	put    []retrieval.Document
	delete []string
}

// someHistory returns puts, replaces and deletes in batches, and what is left. Few kinds of codes under many ids make ties.
func someHistory(rng *rand.Rand, width int) ([]operation, model) {
	return someHistoryOf(rng, retrieval.Int8, width)
}

func someHistoryOf(rng *rand.Rand, codec retrieval.Codec, width int) ([]operation, model) {
	var history []operation
	left, codes := model{}, []retrieval.Codes{{Width: width}}
	for n := range 5 {
		codes = append(codes, someCodesOf(rng, codec, 1+n*n*3, width))
	}
	for version := range 40 {
		var op operation
		ids := rng.Perm(100)[:1+rng.IntN(12)]
		for _, i := range ids {
			id := fmt.Sprint("d", i)
			if version%4 == 3 {
				op.delete = append(op.delete, id)
				continue
			}
			d := someDocument(rng, id, width, version)
			if codec != retrieval.Int8 {
				d.Codes = someCodesOf(rng, codec, d.Codes.Len(), width)
			}
			if rng.IntN(2) == 0 {
				d.Codes, d.Spans = codes[rng.IntN(len(codes))], nil
			}
			op.put = append(op.put, d)
		}
		left.put(op.put)
		left.delete(op.delete)
		history = append(history, op)
	}
	return history, left
}

// play applies a history to n indexes; an id's are all of it in the one that place names. Batches of more than a few
// documents are cut differently for every n.
func play(t *testing.T, history []operation, n int, place func(id string) int, o Options, width int) retrieval.Union {
	indexes := make([]*Index, n)
	union := make(retrieval.Union, n)
	for i := range indexes {
		indexes[i] = newIndex(t, width, o)
		union[i] = indexes[i]
	}
	for _, op := range history {
		for i, x := range indexes {
			docs := slices.DeleteFunc(slices.Clone(op.put), func(d retrieval.Document) bool { return place(d.ID) != i })
			for batch := range slices.Chunk(docs, 5+n) {
				put(t, x, batch...)
			}
			x.Delete(slices.DeleteFunc(slices.Clone(op.delete), func(id string) bool { return place(id) != i }))
			checkShape(t, x)
		}
	}
	return union
}

// Law 1: N shards answer as one, bit by bit, and as the formula says, whatever the codec, the kernel, the threads, the placement and
// the history.
func TestShardsAnswerAsOne(t *testing.T) {
	for codec, width := range map[retrieval.Codec]int{retrieval.Int8: 21, retrieval.Bits4: 18, retrieval.Bits3: 20, retrieval.Bits2: 21, retrieval.Bits1: 33} {
		t.Run(string(codec), func(t *testing.T) { shardsAnswerAsOne(t, codec, width) })
	}
}

func shardsAnswerAsOne(t *testing.T, codec retrieval.Codec, width int) {
	threads := map[retrieval.Codec][]int{retrieval.Int8: {1, 2, 3}, retrieval.Bits4: {1}, retrieval.Bits3: {2}, retrieval.Bits2: {2}, retrieval.Bits1: {3}}
	rng := rand.New(rand.NewPCG(7, 8))
	history, left := someHistoryOf(rng, codec, width)
	queries := []*retrieval.Query{someQuery(rng, 1, width, 1), someQuery(rng, 3, width, 1), someQuery(rng, 40, width, 1)}
	for _, q := range queries {
		q.Codec = codec
	}
	byHash := func(id string) int {
		h := fnv.New32a()
		h.Write([]byte(id))
		return int(h.Sum32() >> 8)
	}
	random := map[string]int{}
	for i := range 100 {
		random[fmt.Sprint("d", i)] = rng.IntN(1000)
	}
	for _, set := range kernel.All() {
		for _, threads := range threads[codec] {
			t.Run(fmt.Sprintf("%s/%d", set.Name(), threads), func(t *testing.T) {
				o := Options{Codec: codec, Threads: threads, Kernel: set}
				one := play(t, history, 1, func(string) int { return 0 }, o, width)
				unions := []retrieval.Union{one}
				for _, n := range []int{3, 7} {
					hashed := play(t, history, n, func(id string) int { return byHash(id) % n }, o, width)
					drawn := play(t, history, n, func(id string) int { return random[id] % n }, o, width)
					nested := retrieval.Union{drawn[:1], retrieval.Union{drawn[1:2], retrieval.Union{}, drawn[2:]}}
					unions = append(unions, hashed, drawn, nested)
				}
				for _, q := range queries {
					for _, k := range []int{1, 5, len(left), retrieval.MaxK} {
						ask := *q
						ask.K = k
						checkAnswers(t, unions, left.search(&ask), &ask)
					}
				}
			})
		}
	}
}

func checkAnswers(t *testing.T, searchers []retrieval.Union, want retrieval.Answer, q *retrieval.Query) {
	t.Helper()
	for _, s := range searchers {
		got := search(t, s, q)
		if !reflect.DeepEqual(got.Hits, want.Hits) {
			t.Fatalf("%d shards, k %d:\n%v\nby the formula:\n%v", len(s), q.K, got.Hits, want.Hits)
		}
		got.Stats.Segments = 0
		if got.Stats != want.Stats {
			t.Fatalf("%d shards: %+v, by count %+v", len(s), got.Stats, want.Stats)
		}
	}
}

// The test above must be able to fail: its history has ties, documents without tokens, and several segments.
func TestHistoryIsHard(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	history, left := someHistory(rng, 21)
	one := play(t, history, 1, func(string) int { return 0 }, Options{Threads: 1}, 21)
	a := left.search(someQuery(rng, 3, 21, retrieval.MaxK))
	ties := 0
	for i := 1; i < len(a.Hits); i++ {
		if a.Hits[i].Sum == a.Hits[i-1].Sum {
			ties++
		}
	}
	segments := len(one[0].(*Index).snapshot())
	if ties < 5 || len(left)-len(a.Hits) < 3 || segments < 3 {
		t.Fatalf("%d ties, %d of %d documents with tokens, %d segments", ties, len(a.Hits), len(left), segments)
	}
}
