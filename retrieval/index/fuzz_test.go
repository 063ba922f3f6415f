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

// FuzzCodes makes codes of any bytes, in the lengths that they must have but for what the first bytes change. What is valid is taken, and found as the
// formula says by any plan that keeps it; what is not is refused; nothing panics.
func FuzzCodes(f *testing.F) {
	rng := rand.New(rand.NewPCG(2, 1))
	for _, codec := range []byte{0, 1, 2, 3, 4, 7} {
		for _, n := range []byte{0, 1, 9, 40, 255} {
			data := []byte{codec, n, byte(rng.IntN(40)), 0, 0}
			for range 3000 {
				data = append(data, byte(rng.Uint32()))
			}
			f.Add(data)
		}
	}
	f.Add([]byte{1, 30, 7, 1, 3, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 5 {
			return
		}
		head, rest := data[:5], data[5:]
		codec, n, width := retrieval.Codec("5bit"), int(head[1])*(1+int(head[3]>>6)), 1+int(head[2])%40
		if int(head[0]) < len(retrieval.Codecs) {
			codec = retrieval.Codecs[head[0]]
		}
		d := retrieval.Document{ID: "a", Codes: drawnCodes(&rest, codec, n, width, head[3]&63, int(head[4]))}
		valid := d.Validate(width) == nil
		for _, held := range retrieval.Codecs {
			x := newIndex(t, width, Options{Codec: held, Threads: 1})
			err := x.Put([]retrieval.Document{d})
			if taken := valid && (codec == held || d.Codes.Codec == ""); taken != (err == nil) {
				t.Fatalf("valid %v, codec %q: %v", valid, held, err)
			}
			if err != nil || held != codec {
				continue
			}
			q := someQuery(rand.New(rand.NewPCG(uint64(n), 1)), 1+n%5, width, 3)
			q.Codec = codec
			want := model{"a": d}.search(q).Hits
			for _, q.Plan = range []retrieval.Plan{{}, {Sketched: 1}, {Scored: 1}, {Sketched: 1, Scored: 1}} {
				if got := search(t, x, q).Hits; len(got) != len(want) || len(got) > 0 && !reflect.DeepEqual(got, want) {
					t.Fatalf("%+v: %v, want %v", q.Plan, got, want)
				}
			}
		}
	})
}

// drawnCodes takes bytes for codes of n tokens: made valid where what fixes says so, and one part, which spoils names, some bytes shorter or longer.
func drawnCodes(from *[]byte, codec retrieval.Codec, n, width int, fixes byte, spoils int) retrieval.Codes {
	take := func(n int, fix bool, one func(byte) byte) []byte {
		out := make([]byte, n)
		*from = (*from)[copy(out, *from):]
		for i := range out {
			if fix {
				out[i] = one(out[i])
			}
		}
		return out
	}
	change := [5]int{}
	if spoils > 0 {
		change[spoils%5] = spoils/5%4 - 1
	}
	rows := func(n, row int, which int, packed bool) []byte {
		at := -1
		return take(max(0, n*row+change[which]), fixes&1 == 0, func(b byte) byte {
			at++
			switch {
			case packed && codec.RowBytes(width)*8 != width*codec.Bits():
				return 0 // all of it may be padding
			case !packed && at%max(1, row) >= width:
				return 128
			case !packed:
				return max(b, 1)
			}
			return b
		})
	}
	scales := func(n, which int, alike bool) []uint16 {
		out := make([]uint16, max(0, n+change[which]))
		for i, b := range take(len(out), false, nil) {
			if out[i] = uint16(b) << 7; fixes&2 == 0 {
				out[i] = max(out[i], 1)
			}
			if alike && fixes&4 == 0 {
				out[i] = out[0]
			}
		}
		return out
	}
	packed := codec != retrieval.Int8
	pool, stride := codec.Pool(width), retrieval.Stride(width)
	c := retrieval.Codes{Codec: codec, Width: width, Rows: rows(n, codec.RowBytes(width), 0, packed), Scales: scales(n, 1, false)}
	if packed {
		c.Clusters = take(max(0, n+change[2]), fixes&8 == 0, func(b byte) byte { return b % byte(max(1, n/max(1, retrieval.Windows(n))/pool)) })
	}
	if packed || fixes&16 != 0 {
		c.Coarse = retrieval.Pooled{Rows: rows(retrieval.Clusters(n, pool), stride, 3, false), Scales: scales(retrieval.Clusters(n, pool), 4, false)}
		c.Sketch = retrieval.Pooled{Rows: rows(retrieval.Windows(n), stride, 3, false), Scales: scales(retrieval.Windows(n), 4, true)}
	}
	return c
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
