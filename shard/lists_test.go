package shard

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ostraca/retrieval"
	"ostraca/retrieval/index"
)

// listsOf returns lists of some centroids.
func listsOf(width, n int, seed uint64) index.Lists {
	stride := retrieval.Stride(width)
	rows := bytes.Repeat([]byte{128}, n*stride)
	random := rand.New(rand.NewPCG(seed, 6))
	for i := range n * width {
		rows[i/width*stride+i%width] = byte(1 + random.IntN(255))
	}
	l, err := index.NewLists("test", width, rows)
	if err != nil {
		panic(err)
	}
	return l
}

// listed returns c with lists.
func listed(c Configuration, n int, seed uint64) Configuration {
	c.Lists = listsOf(c.Width, n, seed)
	return c
}

// TestListedConfiguration: bytes of before are read as before, those with lists are told apart from them wherever they are cut, and so are the lists that plans
// look into.
func TestListedConfiguration(t *testing.T) {
	plain := goldenConfiguration()
	plain.Width = 2
	with := listed(plain, 1, 1)
	with.Calibration = slices.Clone(plain.Calibration)
	with.Calibration[0].Plan.Lists = 300
	old, b := appendConfiguration(nil, plain), appendConfiguration(nil, with)
	l := []byte(with.Lists.Bytes())
	if got, want := hex.EncodeToString(b), hex.EncodeToString(slices.Concat(old[:len(old)-1], []byte{byte(len(l) + 4), 0xfe, byte(len(l))}, l, []byte{0xac, 2})); got != want {
		t.Errorf("%s, not %s", got, want)
	}
	all := reduced(projected(with, 3, 1), Reduction{Pool: 2})
	if got := appendConfiguration(nil, all); !bytes.HasSuffix(got, slices.Concat([]byte{0xac, 2, 0xff, 2, 0, 0}, all.Projection.Bytes())) {
		t.Errorf("%x", got)
	}
	for _, want := range []Configuration{plain, with, reduced(with, Reduction{Pool: 2}), projected(with, 3, 1), all} {
		in := appendConfiguration(nil, want)
		if got, err := parseConfiguration(in); err != nil || !got.Equal(want) {
			t.Errorf("%v: %+v", err, got)
		}
		for n := range in {
			if _, err := parseConfiguration(in[:n]); !errors.Is(err, retrieval.ErrCorrupt) {
				t.Errorf("%d bytes of %d: %v", n, len(in), err)
			}
		}
		o := Operation{Collection: "c", Body: &Configure{Create, want}}
		if back, err := parseOperation(appendOperation(nil, &o)); err != nil || !reflect.DeepEqual(back, o) || o.size() < len(in)-64 {
			t.Errorf("%v: %+v of %d bytes", err, back, o.size())
		}
		text, err := json.Marshal(want) // as in the map of the placement
		var back Configuration
		if err = errors.Join(err, json.Unmarshal(text, &back)); err != nil || !back.Equal(want) || bytes.Contains(text, []byte(`"Lists":"`)) == want.Lists.IsZero() {
			t.Errorf("%v: %s", err, text)
		}
	}
	bare := old[:len(old)-1]
	twice := slices.Concat([]byte{0xfe, byte(len(l))}, l, []byte{0, 0xfe, byte(len(l))}, l, []byte{0})
	torn := slices.Concat([]byte{0xfe, 2, l[0], l[1], 0}, all.Projection.Bytes()) // what follows is whole
	for what, tail := range map[string][]byte{"nothing": {3, 0xfe, 0, 0}, "cut": {3, 0xfe, 4, 1}, "twice": append([]byte{byte(len(twice))}, twice...), "empty": {1, 0xfe}, "torn": appendString(nil, torn)} {
		if _, err := parseConfiguration(append(slices.Clone(bare), tail...)); !errors.Is(err, retrieval.ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := json.Unmarshal([]byte(`{"Lists":"AAAA"}`), &Configuration{}); !errors.Is(err, retrieval.ErrCorrupt) {
		t.Errorf("no lists: %v", err)
	}
	if with.Equal(plain) || !with.SameCodes(plain) {
		t.Error("lists make no difference, or one of codes")
	}
	alone := with
	alone.Lists = index.Lists{}
	wide := with
	wide.Lists = listsOf(3, 1, 1)
	for what, c := range map[string]Configuration{"of another width": wide, "plans of lists, and none": alone} {
		o := Operation{Collection: "c", Body: &Configure{Create, c}}
		if err := o.check(); !errors.Is(err, retrieval.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	next := listed(with, 1, 2)
	if next.Epoch++; with.follows(next) {
		t.Error("lists change")
	}
}

// TestMachineLists: a shard keeps a collection's lists, over a restart as well, and takes no others.
func TestMachineLists(t *testing.T) {
	r := newRig(t)
	c := listed(testPapers, 3, 1)
	r.expect(OK, r.op("papers", create(c)))
	r.expect(OK, r.op("papers", create(c)))
	r.expect(Exists, r.op("papers", create(testPapers)))
	r.expect(Exists, r.op("papers", create(listed(testPapers, 3, 2))))
	r.expect(Invalid, r.op("papers", &Configure{Alter, testPapers}))
	c.Calibration = retrieval.Calibration{{Target: retrieval.Recall95, K: 10, Plan: retrieval.Plan{Lists: 2, Sketched: 4, Scored: 3}}}
	r.expect(OK, r.op("papers", &Configure{Alter, c}))
	before := r.contents()
	if err := r.store.Sync(t.Context(), r.store.Position().Applied); err != nil {
		t.Fatal(err)
	}
	r.crash()
	if after := r.contents(); after != before || !r.collections["papers"].Configuration.Equal(c) {
		t.Errorf("a restart changed\n%s\nto\n%s", before, after)
	}
}

// TestPlacementLists: the map carries lists, as many bytes of them and of projections as it may, and jobs that have ended carry none.
func TestPlacementLists(t *testing.T) {
	p := startedPlaces(t, 1)
	wide := Configuration{Codec: retrieval.Int8, Width: 1024}
	large := listed(wide, index.MaxListBytes/1024, 1)
	for i, name := range strings.Split("abcdefgh", "") {
		err := p.begin(name, name, Create, large)
		if full := (i+1)*large.fittedBytes() > MaxFittedBytes; full != errors.Is(err, ErrExhausted) || !full && err != nil {
			t.Fatalf("%d times lists: %v", i+1, err)
		}
		if err == nil {
			p.step(name, 0, OK, 0)
		}
	}
	if err := p.begin("p", "p", Create, projected(Configuration{Codec: retrieval.Int8, Width: 256}, 2048, 1)); !errors.Is(err, ErrExhausted) {
		t.Errorf("a projection beside them: %v", err)
	}
	for _, j := range p.now().Finished {
		if !j.To.Lists.IsZero() {
			t.Errorf("job %s has ended and keeps lists", j.ID)
		}
	}
	if err := p.m.store.Close(); err != nil {
		t.Fatal(err)
	}
	p.open()
	if m := p.now(); len(m.Collections) != 7 || !m.Collections["b"].Equal(large) {
		t.Error("a restart changed lists")
	}
	if err := p.begin("other", "b", Alter, wide); !errors.Is(err, retrieval.ErrInvalid) {
		t.Errorf("none in the place of lists: %v", err)
	}
}

// TestListsFor: texts, vectors and codes of the same documents make the same lists, reduced and projected as the collection's documents are.
func TestListsFor(t *testing.T) {
	e := smallEncoder(t)
	r := knowing(e, nil)
	var texts, vectors, codes []Input
	c := reduced(projected(Configuration{Codec: "2bit", Width: e.Width() / 4, Encoder: e.Hash()}, e.Width(), 5), Reduction{Pool: 2})
	for i := range sampleTexts + 6 {
		texts = append(texts, Input{ID: "x", Text: strings.Repeat(string(rune('a'+i%26))+" wing ", 1+i%5)})
	}
	matrices, err := r.encode(t.Context(), target{Configuration: c}, texts, 0)
	if err != nil {
		t.Fatal(err)
	}
	to := target{Configuration: c, projector: c.Projection.Pack(nil)}
	var all []retrieval.Codes
	for i, m := range matrices {
		one, _, err := to.codes(&texts[i], m)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
		vectors = append(vectors, Input{ID: "x", Vectors: m.Vectors, Width: e.Width()})
		codes = append(codes, Input{ID: "x", Codes: one})
	}
	want, err := index.ListsOf("letters", all)
	if err != nil || want.Width() != c.Width || want.Len() != len(texts) {
		t.Fatalf("%v: %v", err, want)
	}
	for _, sample := range [][]Input{texts, vectors, codes} {
		if got, err := r.ListsFor(t.Context(), "new", c, ListSample{"letters", sample}); err != nil || got != want {
			t.Errorf("%v: %v, not %v", err, got, want)
		}
	}
	outside := Configuration{Codec: retrieval.Int8, Width: e.Width()}
	for what, x := range map[string]struct {
		c      Configuration
		sample []Input
		says   string
	}{
		"none":                   {c, nil, "no document of the sample has tokens"},
		"texts for vectors":      {outside, texts, `document "x" of the sample: collection "new" takes vectors or codes, not texts`},
		"another encoder":        {Configuration{Codec: retrieval.Int8, Width: 4, Encoder: "abc"}, texts, "encoder abc"},
		"another width":          {outside, []Input{{ID: "y", Vectors: make([]float32, 6), Width: 3}}, `document "y" of the sample: vectors are 3 wide, collection "new" takes`},
		"vectors and codes":      {c, []Input{{Vectors: vectors[0].Vectors, Width: e.Width(), Codes: all[0]}}, "the one or the other"},
		"too many":               {c, make([]Input, retrieval.MaxLists+1), "the limit is 8192"},
		"a text too long":        {c, []Input{{ID: "z", Text: strings.Repeat("x", retrieval.MaxTextBytes+1)}}, `document "z" of the sample`},
		"an impossible codec":    {Configuration{Codec: "5bit", Width: 4}, texts, "5bit"},
		"a name of too many":     {c, texts, "name"},
		"codes of another codec": {outside, codes, "2bit"},
	} {
		name := "letters"
		if what == "a name of too many" {
			name = strings.Repeat("x", index.MaxListsName+1)
		}
		l, err := r.ListsFor(t.Context(), "new", x.c, ListSample{name, x.sample})
		if !errors.Is(err, retrieval.ErrInvalid) && !errors.Is(err, retrieval.ErrTooLarge) || !l.IsZero() || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
