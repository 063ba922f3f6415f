package index

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"ostraca/retrieval"
)

// FuzzIndex plays operations, three bytes each, on an index and on a map, which must agree on everything that can be asked.
func FuzzIndex(f *testing.F) {
	f.Add([]byte{0, 1, 2, 9, 1, 4, 0, 7, 7, 3, 1, 0, 4, 0, 0, 9, 1, 2, 5, 5, 5})
	f.Add(slices.Repeat([]byte{9, 17, 200, 3, 5, 9}, 20))
	rng := rand.New(rand.NewPCG(1, 1))
	long := make([]byte, 300)
	for i := range long {
		long[i] = byte(rng.Uint32())
	}
	f.Add(long)
	f.Fuzz(func(t *testing.T, data []byte) {
		const width = 5
		x, m := newIndex(t, width, Options{Threads: 2}), model{}
		for version := 0; len(data) >= 3 && version < 200; version++ {
			playOne(t, x, m, width, version, [3]byte(data))
			data = data[3:]
			checkShape(t, x)
		}
		checkState(t, x, m)
	})
}

// playOne decodes one operation: its kind, a first id, and a seed.
func playOne(t *testing.T, x *Index, m model, width, version int, b [3]byte) {
	rng := rand.New(rand.NewPCG(uint64(b[1]), uint64(b[2])))
	var names []string
	for i := range 1 + int(b[2])%4 {
		names = append(names, fmt.Sprint((int(b[1])+i*7)%32))
	}
	switch b[0] % 8 {
	case 0:
		if got, want := x.Delete(names), m.delete(names); got != want {
			t.Fatalf("deleted %d of %d", got, want)
		}
	case 1:
		checkState(t, x, m)
	case 2:
		q := someQuery(rng, 1+int(b[1])%20, width, 1+int(b[2])%40)
		got, want := search(t, x, q), m.search(q)
		if !slices.EqualFunc(got.Hits, want.Hits, func(a, b retrieval.Hit) bool { return reflect.DeepEqual(a, b) }) {
			t.Fatalf("got %v, want %v", got.Hits, want.Hits)
		}
	case 3: // refused as a whole
		docs := []retrieval.Document{someDocument(rng, names[0], width, version), {ID: ""}}
		if x.Put(docs) == nil {
			t.Fatal("took an empty id")
		}
	default:
		var docs []retrieval.Document
		for _, id := range slices.Compact(slices.Sorted(slices.Values(names))) {
			docs = append(docs, someDocument(rng, id, width, version))
		}
		m.put(docs)
		put(t, x, docs...)
	}
}

// checkState compares all that is held.
func checkState(t *testing.T, x *Index, m model) {
	var want []string
	tokens := 0
	for id, d := range m {
		want, tokens = append(want, id), tokens+d.Codes.Len()
		got, err := x.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		if got.Text != d.Text || !slices.Equal(got.Codes.Rows, d.Codes.Rows) || !slices.Equal(got.Codes.Scales, d.Codes.Scales) ||
			!slices.Equal(got.Spans, d.Spans) || !reflect.DeepEqual(got.Fields, d.Fields) {
			t.Fatalf("put %v, got %v", d, got)
		}
	}
	slices.Sort(want)
	if got := ids(x, ""); !slices.Equal(got, want) || x.Len() != len(m) || x.Tokens() != tokens {
		t.Fatalf("%d documents, %d tokens: %v; want %d: %v", x.Len(), x.Tokens(), got, tokens, want)
	}
}
