package shardtest

import (
	"fmt"
	"slices"
	"time"

	"ostraca/retrieval"
	"ostraca/shard"
)

func (s *suite) documents() {
	want := map[string]uint64{}
	for i, id := range []string{"a", "b", "a b/c", "🦊", "z#1", "z#2", "#", "é"} {
		want[id] = uint64(i)
	}
	for i, r := range s.ok(s.puts(want)...) {
		if r.Version == 0 || len(r.Receipts) != 1 {
			s.Errorf("put %d: %+v", i, r)
		}
	}
	s.holds(want)
	got := s.get("🦊", "absent", "a", "z#2", "a")
	if !slices.Equal(ids(got), []string{"🦊", "a", "z#2", "a"}) {
		s.Errorf("get returns %q", ids(got))
	}
	if got := s.get(); len(got) != 0 {
		s.Errorf("get of nothing returns %q", ids(got))
	}
	before := got[1].Version
	want["a"] = 99
	r := s.ok(s.put("a", 99, shard.Condition{}))[0]
	if got := s.get("a")[0]; r.Version <= before || got.Version != r.Version {
		s.Errorf("version %d became %d, told %d", before, got.Version, r.Version)
	}
	s.holds(want)

	d := Document("spans", 3)
	for i := range d.Codes.Len() {
		d.Spans = append(d.Spans, retrieval.Span{Start: uint32(i), End: uint32(2 * i)})
	}
	d.Text, d.Fields = "🦊 and others", []byte(`{"a":[1,2.50,-0,1E+5],"b":{"c":null,"d":"<&\u2028>"}}`)
	s.ok(Put(Collection, d, shard.Condition{}))
	s.same(s.get("spans")[0], d)
	a, err := s.m.Get(s.Context(), &shard.GetRequest{Collection: Collection, IDs: []string{"spans"}})
	d.Codes = retrieval.Codes{}
	if err != nil || len(a.Documents) != 1 || !SameDocument(a.Documents[0].Document, d) {
		s.Errorf("without codes: %v, %+v", err, a)
	}
	last := s.write(s.put("twice", 1, shard.Condition{}), s.put("twice", 2, shard.Condition{}))
	s.same(s.get("twice")[0], Document("twice", 2)) // in the order of the batch
	if last[1].Version <= last[0].Version {
		s.Errorf("versions %d and %d in one batch", last[0].Version, last[1].Version)
	}
}

// bare: documents without tokens are held, and in no answer.
func (s *suite) bare() {
	var want []shard.Document
	for _, d := range []shard.Document{{ID: "nothing"}, {ID: "text", Text: "only"}, {ID: "coded", Codes: retrieval.Codes{Codec: retrieval.Int8, Width: Width}}} {
		s.ok(Put(Collection, d, shard.Condition{}))
		want = append(want, d)
	}
	s.ok(s.put("full", 1, shard.Condition{}))
	for _, d := range want {
		s.same(s.get(d.ID)[0], d)
	}
	s.answer(Query(1, 10), "full")
	a, err := s.m.Search(s.Context(), &shard.SearchRequest{Collection: Collection, Phase: shard.Scores, Query: Query(1, 10), IDs: []string{"text", "coded", "full"}})
	if err != nil || len(a.Hits) != 1 || a.Hits[0].ID != "full" {
		s.Errorf("scores: %v, %+v", err, a)
	}
	d := Document("full", 1)
	d.Codes = retrieval.Codes{}
	s.ok(Put(Collection, d, shard.Condition{}))
	s.answer(Query(1, 10))
	s.ok(s.put("text", 2, shard.Condition{}))
	s.answer(Query(1, 10), "text")
	s.held(4, int64(Document("text", 2).Codes.Len()))
}

func (s *suite) list() {
	if a := s.page("", 10); len(a.Documents) != 0 || a.More {
		s.Errorf("an empty collection lists %q, more: %v", ids(a.Documents), a.More)
	}
	want := map[string]uint64{}
	all := []string{"#", "#1", "A", "B/c d", "a", "a b", "a#1", "a#1#2", "a#10", "a#2", "b", "é", "🦊", "🦊#1"}
	for i, id := range all {
		want[id] = uint64(i)
	}
	s.ok(s.puts(want)...)
	n := len(all)
	for _, limit := range []int{1, 2, 3, n - 1, n, n + 1, shard.MaxListed} {
		if got := ids(s.all(limit)); !slices.Equal(got, all) {
			s.Errorf("in pages of %d: %q", limit, got)
		}
	}
	for _, c := range []struct {
		after       string
		limit, from int
		more        bool
	}{
		{"", n, 0, false}, {"", n - 1, 0, true}, {"", n + 1, 0, false}, {all[n-1], 5, n, false}, {all[n-2], 1, n - 1, false},
		{all[n-3], 1, n - 2, true}, {"a#1", 2, 7, true}, {"a#11", 1, 9, true}, {"\U0010ffff", 3, n, false}, {"a ", 1, 5, true},
	} {
		a := s.page(c.after, c.limit)
		if got := ids(a.Documents); !slices.Equal(got, all[c.from:min(n, c.from+c.limit)]) || a.More != c.more {
			s.Errorf("%d after %q: %q, more: %v", c.limit, c.after, got, a.More)
		}
	}
	s.ok(s.forgets(all, nil))
	if a := s.page("", 10); len(a.Documents) != 0 || a.More {
		s.Errorf("an emptied collection lists %q, more: %v", ids(a.Documents), a.More)
	}
}

func (s *suite) patch() {
	d := Document("a", 1)
	d.Fields = []byte(`{"keep":1.50,"nested":{"x":1,"y":2},"old":"<b>"}`)
	first := s.ok(Put(Collection, d, shard.Condition{}))[0].Version
	sum := s.answer(Query(1, 1), "a")[0].Sum
	last := first
	for _, c := range []struct{ patch, want string }{
		{`{"new":[1,{"b":2}]}`, `{"keep":1.50,"nested":{"x":1,"y":2},"new":[1,{"b":2}],"old":"<b>"}`},
		{`{"absent":null,"old":null}`, `{"keep":1.50,"nested":{"x":1,"y":2},"new":[1,{"b":2}]}`},
		{`{"nested":{"z":null}}`, `{"keep":1.50,"nested":{"z":null},"new":[1,{"b":2}]}`}, // the top level alone is merged
		{``, `{"keep":1.50,"nested":{"z":null},"new":[1,{"b":2}]}`},
		{`{"":0,"keep":2E-7,"é":"\u2028&"}`, `{"":0,"keep":2E-7,"nested":{"z":null},"new":[1,{"b":2}],"é":"\u2028&"}`},
		{`{"":null,"keep":null,"nested":null,"new":null,"é":null}`, ``},
		{`{"back":true}`, `{"back":true}`},
	} {
		r := s.ok(s.patchOf("a", c.patch, shard.Condition{}))[0]
		got := s.get("a")[0]
		if d.Fields = []byte(c.want); !SameDocument(got.Document, d) || got.Version != r.Version || r.Version <= last {
			s.Errorf("patch %s: %+v, version %d after %d; want %s", c.patch, got, r.Version, last, c.want)
		}
		last = r.Version
		if canonical, err := shard.CanonicalFields(got.Fields); err != nil || string(canonical) != string(got.Fields) {
			s.Errorf("fields are %s, canonical is %s: %v", got.Fields, canonical, err)
		}
	}
	if got := s.answer(Query(1, 1), "a")[0].Sum; got != sum {
		s.Errorf("score %d became %d by patches", sum, got)
	}
	s.fails("patch of no document", retrieval.ErrNotFound, s.patchOf("absent", `{"a":1}`, shard.Condition{}))
	s.fails("patch if absent", retrieval.ErrInvalid, s.patchOf("a", `{"a":1}`, shard.Condition{Kind: shard.IfAbsent}))
	if o := s.fails("patch of an old version", shard.ErrChanged, s.patchOf("a", `{"a":1}`, shard.Condition{Kind: shard.IfVersion, Version: first})); o.Version != last {
		s.Errorf("the version is told as %d, it is %d", o.Version, last)
	}
	for _, fields := range []string{`{"b":1,"a":2}`, `{"a": 1}`, `[]`, `{}`, `null`, `{"a":1}{"b":2}`, `{`, "x"} {
		s.fails("patch "+fields, retrieval.ErrInvalid, s.patchOf("a", fields, shard.Condition{}))
	}
	s.ok(s.patchOf("a", `{"a":1}`, shard.Condition{Kind: shard.IfVersion, Version: last}))
	if got := string(s.get("a")[0].Fields); got != `{"a":1,"back":true}` {
		s.Errorf("fields are %s", got)
	}
}

func (s *suite) forget() {
	all := []string{"#", "a", "a b/c", "a b/c#x y", "a#1", "a#1#2", "a#1#3", "a#2", "ab", "ab#1", "🦊", "🦊#/🦊", "🦊#1"}
	for _, c := range []struct {
		ids, parents, gone []string
	}{
		{[]string{"a"}, nil, []string{"a"}},
		{[]string{"a#1"}, nil, []string{"a#1"}},
		{nil, []string{"a"}, []string{"a", "a#1", "a#2"}},
		{nil, []string{"a#1"}, []string{"a#1#2", "a#1#3"}},
		{nil, []string{"a#1#2", "a#", "🦊#1"}, nil},
		{nil, []string{"a b/c", "🦊"}, []string{"a b/c", "a b/c#x y", "🦊", "🦊#/🦊", "🦊#1"}},
		{[]string{"absent", "A", "a#", "#1"}, []string{"absent"}, nil},
		{[]string{"a", "a", "#", "ab#1"}, []string{"a", "a"}, []string{"#", "a", "a#1", "a#2", "ab#1"}},
		{all, []string{"a", "a#1"}, all},
	} {
		want := map[string]uint64{}
		for i, id := range all {
			want[id] = uint64(i)
		}
		s.ok(s.puts(want)...)
		r := s.ok(s.forgets(c.ids, c.parents))[0]
		for _, id := range c.gone {
			delete(want, id)
		}
		if r.Count != uint64(len(c.gone)) {
			s.Errorf("forget %q of %q: %d are said to be gone, want %d", c.ids, c.parents, r.Count, len(c.gone))
		}
		s.holds(want)
		if got := s.get(all...); len(got) != len(want) {
			s.Errorf("forget %q of %q: %q are left", c.ids, c.parents, ids(got))
		}
		s.answer(Query(1, len(all)), s.byScore(want, 1)...)
	}
}

func (s *suite) conditions() {
	absent := shard.Condition{Kind: shard.IfAbsent}
	version := func(v uint64) shard.Condition { return shard.Condition{Kind: shard.IfVersion, Version: v} }
	v1 := s.ok(s.put("a", 1, absent))[0].Version
	if o := s.fails("put if absent", shard.ErrExists, s.put("a", 2, absent)); o.Version != v1 {
		s.Errorf("the version in the way is told as %d, it is %d", o.Version, v1)
	}
	if o := s.fails("put of another version", shard.ErrChanged, s.put("a", 2, version(v1+1))); o.Version != v1 {
		s.Errorf("the version in the way is told as %d, it is %d", o.Version, v1)
	}
	if o := s.fails("put of a version where there is none", shard.ErrChanged, s.put("b", 2, version(v1))); o.Version != 0 {
		s.Errorf("the version of no document is told as %d", o.Version)
	}
	s.holds(map[string]uint64{"a": 1})
	v2 := s.ok(s.put("a", 2, version(v1)))[0].Version
	s.fails("put of an old version", shard.ErrChanged, s.put("a", 3, version(v1)))
	s.holds(map[string]uint64{"a": 2})
	s.ok(s.forgets([]string{"a"}, nil))
	s.fails("put of a version that was forgotten", shard.ErrChanged, s.put("a", 3, version(v2)))
	v3 := s.ok(s.put("a", 3, absent))[0].Version
	if v1 >= v2 || v2 >= v3 {
		s.Errorf("versions %d, %d, %d", v1, v2, v3)
	}
	s.holds(map[string]uint64{"a": 3})
	results := s.write(s.put("c", 1, absent), s.put("c", 2, absent), s.put("d", 3, version(7)), s.put("e", 4, absent))
	for i, kind := range []error{nil, shard.ErrExists, shard.ErrChanged, nil} { // each on its own
		s.is("operation of a batch", results[i].Failure(), kind)
	}
	s.holds(map[string]uint64{"a": 3, "c": 1, "e": 4})
	for _, kind := range []shard.ConditionKind{3, 255} {
		s.fails("unknown condition", retrieval.ErrInvalid, s.put("f", 1, shard.Condition{Kind: kind}))
	}
	s.holds(map[string]uint64{"a": 3, "c": 1, "e": 4})
}

func (s *suite) retries() {
	absent := shard.Condition{Kind: shard.IfAbsent}
	again := func(what string, first shard.Result, o shard.Operation) {
		s.Helper()
		if r := s.write(o)[0]; r.Err != nil || r.Code != first.Code || r.Version != first.Version || r.Count != first.Count {
			s.Errorf("%s: %+v, the first outcome was %+v", what, r, first)
		}
	}
	put := s.put("a", 1, shard.Condition{})
	put.ID = s.id()
	first := s.ok(put)[0]
	again("put", first, put)
	other := s.put("a", 2, shard.Condition{})
	other.ID = put.ID
	s.is("another put of the same id", s.write(other)[0].Failure(), retrieval.ErrInvalid)
	s.holds(map[string]uint64{"a": 1})

	forget := s.forgets([]string{"a", "absent"}, []string{"p", "q"})
	forget.ID = s.id()
	s.ok(s.put("p#1", 1, shard.Condition{}), s.put("q#1", 2, shard.Condition{}))
	gone := s.ok(forget)[0]
	if gone.Count != 3 {
		s.Errorf("%d are forgotten, want 3", gone.Count)
	}
	again("put after a forget", first, put)
	s.holds(nil)
	s.ok(s.put("a", 3, shard.Condition{}), s.put("p#1", 4, shard.Condition{}))
	again("forget", gone, forget)
	s.holds(map[string]uint64{"a": 3, "p#1": 4})

	refused := s.put("a", 5, absent)
	refused.ID = s.id()
	exists := s.write(refused)[0]
	s.is("put if absent", exists.Failure(), shard.ErrExists)
	patch := s.patchOf("b", `{"x":1}`, shard.Condition{})
	patch.ID = s.id()
	missing := s.write(patch)[0]
	s.is("patch", missing.Failure(), retrieval.ErrNotFound)
	s.ok(s.forgets([]string{"a"}, []string{"p"}), s.put("b", 6, shard.Condition{}))
	again("put if absent", exists, refused)
	again("patch of no document", missing, patch)
	s.holds(map[string]uint64{"b": 6})

	base := s.id()
	batch := []shard.Operation{s.put("c", 1, absent), s.put("d", 2, absent), s.put("e", 3, absent), s.put("c", 4, absent)}
	for i := range batch {
		batch[i].ID = base.Plus(i)
	}
	batch[3].ID = batch[0].ID // twice in one batch
	results := s.write(batch...)
	for i, r := range results[:3] {
		s.is(fmt.Sprint("operation ", i), r.Failure(), nil)
	}
	s.is("an id twice in one batch", results[3].Failure(), retrieval.ErrInvalid)
	s.ok(s.forgets([]string{"c", "d"}, nil))
	for i, r := range s.ok(batch[2], batch[0], batch[1]) { // in any order
		if want := results[(i+2)%3]; r.Version != want.Version {
			s.Errorf("retry %d is told version %d, not %d", i, r.Version, want.Version)
		}
	}
	s.holds(map[string]uint64{"b": 6, "e": 3})
}

// age: operation ids that are too old or too new are refused, and not remembered.
func (s *suite) age() {
	old := func(by time.Duration, random uint64) shard.OperationID {
		return shard.NewOperationID(s.now()-by.Milliseconds(), 1<<32+random)
	}
	s.ok(s.put("now", 1, shard.Condition{}))
	o := s.put("old", 1, shard.Condition{})
	o.ID = old(shard.RetryWindow+time.Second, 1)
	s.fails("expired id", shard.ErrExpired, o)
	o.ID = old(-shard.MaxEarly-10*time.Second, 2)
	s.fails("early id", retrieval.ErrInvalid, o)
	s.holds(map[string]uint64{"now": 1})
	time.Sleep(15 * time.Second)
	s.ok(o) // it was too early, and is no longer
	o = s.put("ahead", 1, shard.Condition{})
	o.ID = old(-shard.MaxEarly+time.Second, 3)
	s.ok(o)

	o = s.put("late", 1, shard.Condition{})
	o.ID = old(shard.RetryWindow-30*time.Second, 4) // with room for a follower whose time is that of an entry before
	s.ok(o)
	s.ok(s.forgets([]string{"late"}, nil))
	s.ok(o) // remembered
	time.Sleep(31 * time.Second)
	s.fails("late retry of what was forgotten", shard.ErrExpired, o)
	s.holds(map[string]uint64{"now": 1, "old": 1, "ahead": 1})
}

func (s *suite) refusals() {
	ctx := s.Context()
	s.ok(s.put("a", 1, shard.Condition{}))
	no := Put("absent", Document("a", 2), shard.Condition{})
	s.fails("put into no collection", retrieval.ErrNotFound, no)
	s.fails("forget in no collection", retrieval.ErrNotFound, Forget("absent", "a"))
	_, err := s.m.Get(ctx, &shard.GetRequest{Collection: "absent", IDs: []string{"a"}})
	s.is("get from no collection", err, retrieval.ErrNotFound)
	_, err = s.m.List(ctx, &shard.ListRequest{Collection: "absent", Limit: 1})
	s.is("list of no collection", err, retrieval.ErrNotFound)
	for p := range shard.Phase(3) {
		_, err = s.m.Search(ctx, &shard.SearchRequest{Collection: "absent", Phase: p, Query: Query(1, 1)})
		s.is("search of no collection", err, retrieval.ErrNotFound)
	}
	for _, epoch := range []uint64{0, 2, 1 << 62} {
		o := s.put("a", 2, shard.Condition{})
		o.Body.(*shard.Put).Epoch = epoch
		s.fails("another epoch", shard.ErrRetry, o)
	}
	for _, epoch := range []uint64{1<<63 + 1, 1<<64 - 1} { // no configuration may have it
		o := s.put("a", 2, shard.Condition{})
		o.Body.(*shard.Put).Epoch = epoch
		if results, err := s.try(o); err == nil && results[0].Failure() == nil {
			s.Errorf("epoch %d is taken", epoch)
		}
	}
	narrow := Document("a", 2)
	narrow.Codes.Width -= 4
	narrow.Codes.Rows = narrow.Codes.Rows[:narrow.Codes.Len()*narrow.Codes.Width]
	s.fails("another width", retrieval.ErrInvalid, Put(Collection, narrow, shard.Condition{}))
	for name, spoil := range map[string]func(*shard.Document){
		"codec":  func(d *shard.Document) { d.Codes.Codec = "other" },
		"rows":   func(d *shard.Document) { d.Codes.Rows = d.Codes.Rows[:len(d.Codes.Rows)-1] },
		"spans":  func(d *shard.Document) { d.Spans = make([]retrieval.Span, d.Codes.Len()+1) },
		"fields": func(d *shard.Document) { d.Fields = []byte(`{"b":1,"a":2}`) },
		"empty":  func(d *shard.Document) { d.Fields = []byte(`{}`) },
		"id":     func(d *shard.Document) { d.ID = "" },
		"bytes":  func(d *shard.Document) { d.ID = "a\xff" },
		"lines":  func(d *shard.Document) { d.ID = "a\nb" },
		"width":  func(d *shard.Document) { d.Codes = retrieval.Codes{Codec: retrieval.Int8, Width: -1} },
		"wide":   func(d *shard.Document) { d.Codes = retrieval.Codes{Codec: retrieval.Int8, Width: 1 << 20} },
	} {
		d := Document("a", 2)
		spoil(&d)
		s.fails("document with wrong "+name, retrieval.ErrInvalid, Put(Collection, d, shard.Condition{}))
	}
	for _, name := range []string{"", "Papers", "-a", "a/b", "a b", "..", "é"} {
		s.fails("collection "+name, retrieval.ErrInvalid, Put(name, Document("a", 2), shard.Condition{}))
	}
	s.fails("no body", retrieval.ErrInvalid, shard.Operation{Collection: Collection})
	s.fails("forget of nothing", retrieval.ErrInvalid, s.forgets(nil, nil))
	s.fails("forget of no parent", retrieval.ErrInvalid, s.forgets(nil, []string{""}))
	results := s.write(s.put("b", 1, shard.Condition{}), shard.Operation{Collection: Collection}) // each by itself
	s.is("beside an operation that cannot be", results[0].Failure(), nil)
	s.is("an operation that cannot be", results[1].Failure(), retrieval.ErrInvalid)
	results = s.write(Put("absent", Document("c", 1), shard.Condition{}), s.put("d", 1, shard.Condition{}))
	s.is("no collection", results[0].Failure(), retrieval.ErrNotFound)
	s.is("beside it", results[1].Failure(), nil)
	if results, err := s.try(); err != nil || len(results) != 0 {
		s.Errorf("a write of nothing: %v, %+v", err, results)
	}
	s.holds(map[string]uint64{"a": 1, "b": 1, "d": 1})
}
