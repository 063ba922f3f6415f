package shard

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ostraca/retrieval"
	"ostraca/retrieval/encoder"
	"ostraca/retrieval/index"
)

// projectionOf returns one of some weights, in the bytes of docs/projection.md.
func projectionOf(from, width int, seed uint64) encoder.Projection {
	b := binary.AppendUvarint([]byte{1}, uint64(from))
	b = binary.AppendUvarint(b, uint64(width))
	b = append(b, "\x04test\x01\x09"...)
	b = append(b, bytes.Repeat([]byte{7}, 32)...)
	random := rand.New(rand.NewPCG(seed, 3))
	for range from * width {
		b = binary.LittleEndian.AppendUint16(b, uint16(1+random.IntN(500)))
	}
	p, err := encoder.ParseProjection(b)
	if err != nil {
		panic(err)
	}
	return p
}

// projected returns c with a projection, from dimensions each.
func projected(c Configuration, from int, seed uint64) Configuration {
	c.Projection = projectionOf(from, c.Width, seed)
	return c
}

// TestProjectedConfiguration: the bytes are those of one without a projection, but for the projection's own behind their length at the end.
func TestProjectedConfiguration(t *testing.T) {
	plain := goldenConfiguration()
	plain.Width = 2
	with := projected(plain, 3, 1)
	old, b := appendConfiguration(nil, plain), appendConfiguration(nil, with)
	if !bytes.Equal(b, appendString(slices.Clone(old[:len(old)-1]), with.Projection.Bytes())) || old[len(old)-1] != 0 {
		t.Fatalf("%x", b)
	}
	if hex.EncodeToString(b[len(old):len(old)+9]) != "010302"+"0474657374"+"01" {
		t.Fatalf("%x", b[len(old):])
	}
	for i, want := range []Configuration{plain, with} {
		in := [][]byte{old, b}[i]
		got, err := parseConfiguration(in)
		if err != nil || !got.Equal(want) {
			t.Errorf("%v: %+v", err, got)
		}
		o := Operation{Collection: "c", Body: &Configure{Create, want}}
		if back, err := parseOperation(appendOperation(nil, &o)); err != nil || !reflect.DeepEqual(back, o) || o.size() < len(in)-64 {
			t.Errorf("%v: %+v of %d bytes", err, back, o.size())
		}
	}
	if plain.VectorWidth() != 2 || with.VectorWidth() != 3 || plain.Equal(with) {
		t.Error("a projection makes no difference")
	}
	for what, in := range map[string][]byte{"cut": b[:len(b)-1], "left over": append(slices.Clone(b), 0), "one byte": append(slices.Clone(old), 1), "version": append(slices.Clone(old), 9, 9)} {
		if _, err := parseConfiguration(in); !errors.Is(err, retrieval.ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, c := range map[string]Configuration{"to another width": {Codec: retrieval.Int8, Width: 3, Projection: with.Projection}, "from no more": projected(Configuration{Codec: retrieval.Int8, Width: 3}, 3, 1)} {
		o := Operation{Collection: "c", Body: &Configure{Create, c}}
		if err := o.check(); !errors.Is(err, retrieval.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := parseConfiguration(appendConfiguration(nil, c)); !errors.Is(err, retrieval.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestMachineProjection: a shard keeps a collection's projection, over a restart as well, and takes another one with another epoch only.
func TestMachineProjection(t *testing.T) {
	r := newRig(t)
	c := projected(testPapers, testWidth+3, 1)
	r.expect(OK, r.op("papers", create(c)))
	r.expect(OK, r.op("papers", create(c)))
	r.expect(Exists, r.op("papers", create(testPapers)))
	r.expect(Exists, r.op("papers", create(projected(testPapers, testWidth+3, 2))))
	r.expect(Invalid, r.op("papers", &Configure{Alter, projected(testPapers, testWidth+3, 2)}))
	r.expect(Invalid, r.op("papers", &Configure{Alter, testPapers}))
	before := r.contents()
	if err := r.store.Sync(t.Context(), r.store.Position().Applied); err != nil {
		t.Fatal(err)
	}
	r.crash()
	if after := r.contents(); after != before || !r.collections["papers"].Configuration.Equal(c) {
		t.Errorf("a restart changed\n%s\nto\n%s", before, after)
	}
	c.Epoch++
	r.expect(OK, r.op("papers", &Configure{Alter, c}))
	next := projected(c, testWidth+5, 3)
	next.Epoch++
	r.expect(OK, r.op("papers", &Configure{Alter, next}))
	next.Projection = encoder.Projection{}
	next.Epoch++
	r.expect(OK, r.op("papers", &Configure{Alter, next}))
}

// TestPlacementProjections: the map carries projections, as many bytes of them as it may, and jobs that have ended carry none.
func TestPlacementProjections(t *testing.T) {
	p := startedPlaces(t, 1)
	if err := p.begin("x", "papers", Create, projected(testPapers, testWidth, 1)); !errors.Is(err, retrieval.ErrInvalid) || len(p.now().Jobs) > 0 {
		t.Fatalf("from no more dimensions: %v", err)
	}
	large := func(seed uint64) Configuration {
		return projected(Configuration{Codec: retrieval.Int8, Width: 256}, 2048, seed)
	}
	names, held := strings.Split("abcdefgh", ""), large(1)
	for i, name := range names {
		err := p.begin(name, name, Create, held)
		if full := (i+1)*held.Projection.Len() > MaxFittedBytes; full != errors.Is(err, ErrExhausted) || !full && err != nil {
			t.Fatalf("%d projections: %v", i+1, err)
		}
		if err == nil && i > 0 { // one stays under way, and counts
			p.step(name, 0, OK, 0)
		}
	}
	m := p.now()
	if len(m.Collections) != 6 || len(m.Jobs) != 1 || !m.Collections["b"].Equal(held) || !m.Jobs[0].To.Equal(held) {
		t.Fatalf("%d collections, %d jobs", len(m.Collections), len(m.Jobs))
	}
	for _, j := range m.Finished {
		if !j.To.Projection.IsZero() {
			t.Errorf("job %s has ended and keeps a projection", j.ID)
		}
	}
	if err := p.m.store.Close(); err != nil {
		t.Fatal(err)
	}
	p.open()
	if again := p.now(); !again.Collections["b"].Equal(held) || !again.Jobs[0].To.Equal(held) {
		t.Error("a restart changed a projection")
	}
	other := large(2)
	if err := p.begin("again", "b", Create, other); !errors.Is(err, ErrExists) {
		t.Errorf("another projection: %v", err)
	}
	if err := p.begin("same", "b", Create, held); err != nil {
		t.Errorf("the same projection: %v", err)
	}
	if err := p.begin("other", "b", Alter, other); !errors.Is(err, retrieval.ErrInvalid) {
		t.Errorf("another projection in the same epoch: %v", err)
	}
	if other.Epoch++; p.begin("next", "b", Alter, other) != nil {
		t.Error("its own place is not free for another")
	}
	p.step("next", 0, OK, 0)
	if !p.now().Collections["b"].Equal(other) {
		t.Error("the next epoch's projection is not there")
	}
	if err := p.begin("plain", "i", Create, testPapers); err != nil {
		t.Errorf("a collection without: %v", err)
	}
}

// TestPrepareProjects: texts and vectors, documents and questions, all are projected, and nothing but vectors of the full width is taken.
func TestPrepareProjects(t *testing.T) {
	e := smallEncoder(t)
	from, width := e.Width(), e.Width()/4
	c := projected(Configuration{Codec: retrieval.Int8, Width: width, Encoder: e.Hash()}, from, 5)
	r := knowing(e, map[string]Configuration{"texts": c})
	m, err := e.Encode(t.Context(), []string{"a wing"}, EncodeOptions{Query: true})
	if err != nil {
		t.Fatal(err)
	}
	y, err := c.Projection.Pack(nil).Apply(m[0].Vectors)
	if err != nil {
		t.Fatal(err)
	}
	codes, err := index.Quantize(retrieval.Int8, y, width)
	if err != nil {
		t.Fatal(err)
	}
	codes = index.Pool(codes)
	got, err := r.Prepare(t.Context(), "texts", []Input{{ID: "a", Text: "a wing"}, {ID: "b", Vectors: m[0].Vectors, Width: from}, {ID: "c", Codes: codes}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range got {
		if p.Err != nil || !reflect.DeepEqual(p.Body.(*Put).Document.Codes, codes) {
			t.Errorf("%v: %+v", p.Err, p.Operation)
		}
	}
	asked, err := r.Ask(t.Context(), "texts", "a wing", AskOptions{K: 1, Unweighted: true})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := r.AskVectors(t.Context(), "texts", m[0].Vectors, from, AskOptions{K: 1})
	if err != nil || !reflect.DeepEqual(plain.Query, asked.Query) || plain.Width != width {
		t.Errorf("%v: %+v, not %+v", err, plain, asked)
	}
	bad := rows(3, from)
	clear(bad[2*from:])
	got, err = r.Prepare(t.Context(), "texts", []Input{{ID: "a", Vectors: bad, Width: from}, {ID: "b", Vectors: y, Width: width},
		{ID: "c", Vectors: rows(retrieval.MaxDocumentTokens+1, from), Width: from}}, 0)
	if err != nil || !errors.Is(got[0].Err, retrieval.ErrInvalid) || !strings.Contains(got[0].Err.Error(), "token 2") || !errors.Is(got[1].Err, retrieval.ErrInvalid) || !errors.Is(got[2].Err, retrieval.ErrTooLarge) {
		t.Errorf("%v: %v", err, got)
	}
	if _, err := r.AskVectors(t.Context(), "texts", y, width, AskOptions{K: 1}); !errors.Is(err, retrieval.ErrInvalid) {
		t.Error(err)
	}
	// Another projection of the same name is another collection's, made anew.
	c.Projection = projectionOf(from, width, 6)
	if j := r.projectors.of("texts", c.Projection, r.Map()); j.Projection() != c.Projection {
		t.Error("a projection of before is kept")
	}
	if r.projectors.of("gone", c.Projection, r.Map()); len(r.projectors.ready) != 2 {
		t.Errorf("%d are ready", len(r.projectors.ready))
	}
	if r.projectors.of("next", c.Projection, r.Map()); len(r.projectors.ready) != 2 {
		t.Errorf("%d are ready: those of collections that are gone stay", len(r.projectors.ready))
	}
}

func TestProjectionFor(t *testing.T) {
	e := smallEncoder(t)
	from, width := e.Width(), e.Width()/4
	r := knowing(e, nil)
	r.fitting = make(chan struct{}, 1)
	own, outside := Configuration{Width: width, Encoder: e.Hash()}, Configuration{Width: width}
	var texts []string
	for i := range 2 * sampleTexts {
		texts = append(texts, strings.Repeat(string(rune('a'+i%26))+" wing ", 1+i%5))
	}
	p, err := r.ProjectionFor(t.Context(), own, Sample{Name: "letters", Texts: texts})
	if err != nil || p.From() != from || p.Width() != width || p.Sample().Name != "letters" || p.Sample().Texts != uint64(len(texts)) {
		t.Fatalf("%v: %+v", err, p.Sample())
	}
	m, err := e.Encode(t.Context(), texts, EncodeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var vectors []float32
	for _, m := range m {
		vectors = append(vectors, m.Vectors...)
	}
	for _, c := range []Configuration{own, outside} {
		q, err := r.ProjectionFor(t.Context(), c, Sample{Name: "letters", Vectors: vectors, Width: from})
		if err != nil || q.Sample().Hash != p.Sample().Hash || q.Sample().Texts != 0 {
			t.Errorf("of vectors: %v: %+v", err, q.Sample())
		}
	}
	for what, c := range map[string]struct {
		c Configuration
		s Sample
	}{
		"no sample, none came along": {own, Sample{}},
		"no sample of vectors":       {outside, Sample{Width: from}},
		"texts and vectors":          {own, Sample{Texts: texts, Vectors: vectors, Width: from}},
		"texts for vectors":          {outside, Sample{Texts: texts}},
		"another encoder":            {Configuration{Width: width, Encoder: "abc"}, Sample{Texts: texts}},
		"vectors of another width":   {own, Sample{Vectors: vectors, Width: from / 2}},
		"no more dimensions":         {Configuration{Width: from, Encoder: e.Hash()}, Sample{Texts: texts}},
		"width 0":                    {Configuration{Encoder: e.Hash()}, Sample{Texts: texts}},
		"too few":                    {own, Sample{Texts: texts[:1]}},
		"a text too long":            {own, Sample{Texts: append(slices.Clone(texts), strings.Repeat("x", retrieval.MaxTextBytes+1))}},
		"vectors, width 0":           {outside, Sample{Vectors: vectors}},
	} {
		q, err := r.ProjectionFor(t.Context(), c.c, c.s)
		if !errors.Is(err, retrieval.ErrInvalid) && !errors.Is(err, retrieval.ErrTooLarge) || !q.IsZero() {
			t.Errorf("%s: %v", what, err)
		}
		if what == "a text too long" && !strings.Contains(err.Error(), "text 128 of the sample") {
			t.Errorf("which text? %v", err)
		}
	}
	r.options.Projection = projectionOf(from, from/2, 1)
	cut, err := r.ProjectionFor(t.Context(), own, Sample{})
	if want, _ := r.options.Projection.Cut(width); err != nil || cut != want {
		t.Errorf("the one that came along: %v", err)
	}
	if _, err := r.ProjectionFor(t.Context(), Configuration{Width: from/2 + 1, Encoder: e.Hash()}, Sample{}); !errors.Is(err, retrieval.ErrInvalid) {
		t.Errorf("more than came along: %v", err)
	}
	if _, err := r.ProjectionFor(t.Context(), outside, Sample{Width: from}); !errors.Is(err, retrieval.ErrInvalid) {
		t.Errorf("what came with the encoder is not of vectors from outside: %v", err)
	}
	r.fitting <- struct{}{}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.ProjectionFor(ended, own, Sample{Texts: texts}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestConfigureWidths: a collection of this router's encoder that could hold none of its vectors is refused at the door.
func TestConfigureWidths(t *testing.T) {
	e := smallEncoder(t)
	r := knowing(e, nil)
	c := Configuration{Codec: retrieval.Int8, Width: e.Width() / 2, Encoder: e.Hash()}
	for _, c := range []Configuration{c, projected(c, e.Width()+1, 1)} {
		if _, err := r.Configure(t.Context(), "x", Configure{Create, c}); !errors.Is(err, retrieval.ErrInvalid) {
			t.Error(err)
		}
	}
}
