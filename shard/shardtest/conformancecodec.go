package shardtest

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"

	"ostraca/retrieval"
	"ostraca/shard"
)

// coded: documents in any codec come back to the byte and are searched as an index over them answers; a plan bounds what is scored, and every
// score is the exact one.
func (s *suite) coded() {
	var docs []shard.Document
	var puts []shard.Operation
	for i := range 60 {
		d := DocumentOf(s.codec, fmt.Sprintf("d%d#%d", i/4, i), uint64(i%45))
		docs, puts = append(docs, d), append(puts, Put(Collection, d, shard.Condition{}))
	}
	docs = append(docs, shard.Document{ID: "none", Codes: retrieval.Codes{Codec: s.codec, Width: Width}})
	s.ok(append(puts, Put(Collection, docs[60], shard.Condition{}))...)
	for _, d := range docs {
		s.same(s.get(d.ID)[0], d)
	}
	for _, d := range s.all(7) {
		s.same(d, docs[slices.IndexFunc(docs, func(o shard.Document) bool { return o.ID == d.ID })])
	}
	s.codedRefusals(docs[0])
	s.ok(s.forgets([]string{docs[0].ID}, nil), s.patchOf(docs[1].ID, `{"x":1}`, shard.Condition{}))
	x := ReferenceOf(s.codec, docs[1:]...)
	for i, k := range []int{1, 5, 100} {
		q := QueryOf(s.codec, uint64(i), k)
		exact, err := x.Search(s.Context(), q)
		if err != nil {
			s.Fatal(err)
		}
		got, err := s.m.Search(s.Context(), &shard.SearchRequest{Collection: Collection, Query: q})
		if err != nil || !reflect.DeepEqual(got.Hits, exact.Hits) {
			s.Fatalf("best %d: %v,\n%+v\nwant\n%+v", k, err, got, exact.Hits)
		}
		s.planned(q, x)
	}
}

// codedRefusals: what is pooled of codes must come with them, whole, and in the collection's codec.
func (s *suite) codedRefusals(d shard.Document) {
	other := retrieval.Codecs[(slices.Index(retrieval.Codecs, s.codec)+1)%len(retrieval.Codecs)]
	for what, change := range map[string]func(*retrieval.Codes){
		"nothing pooled":   func(c *retrieval.Codes) { c.Clusters, c.Coarse, c.Sketch = nil, retrieval.Pooled{}, retrieval.Pooled{} },
		"no sketch":        func(c *retrieval.Codes) { c.Sketch = retrieval.Pooled{} },
		"no coarse":        func(c *retrieval.Codes) { c.Coarse = retrieval.Pooled{} },
		"one row too many": func(c *retrieval.Codes) { c.Coarse.Rows = append(slices.Clone(c.Coarse.Rows), c.Coarse.Rows...) },
		"a scale of 0":     func(c *retrieval.Codes) { c.Coarse.Scales = make([]uint16, c.Coarse.Len()) },
		"another codec":    func(c *retrieval.Codes) { *c = DocumentOf(other, "x", 1).Codes },
		"of no codec":      func(c *retrieval.Codes) { c.Codec = "5bit" },
	} {
		bad := d
		change(&bad.Codes)
		s.fails(what, retrieval.ErrInvalid, Put(Collection, bad, shard.Condition{}))
	}
	s.sound()
}

// planned asks by plans.
func (s *suite) planned(q *retrieval.Query, x retrieval.Searcher) {
	s.Helper()
	all := *q
	all.K = 100
	exact, err := x.Search(s.Context(), &all)
	if err != nil {
		s.Fatal(err)
	}
	for _, p := range []retrieval.Plan{{Sketched: 4, Scored: 2}, {Sketched: 7}, {Scored: 3}, {Sketched: 1000, Scored: 1000}} {
		ask := *q
		if ask.Plan = p; p.Sketched < 1000 {
			ask.K = min(q.K, 2) // for more hits than a number of the plan, more documents would be looked at
		}
		a, err := s.m.Search(s.Context(), &shard.SearchRequest{Collection: Collection, Query: &ask})
		if err != nil || len(a.Hits) == 0 {
			s.Fatalf("plan %+v: %v, %+v", p, err, a)
		}
		most := cmp.Or(p.Sketched, p.Scored) // of both, the second stage may pass more than Scored
		if a.Stats.Documents > int64(len(a.States)*most) || p.Sketched == 4 && a.Stats.Sketches == 0 || p.Scored == 3 && a.Stats.Sketched == 0 {
			s.Errorf("plan %+v in %d shards: %+v", p, len(a.States), a.Stats)
		}
		for _, h := range a.Hits {
			if !slices.ContainsFunc(exact.Hits, func(e retrieval.Hit) bool { return reflect.DeepEqual(e, h) }) {
				s.Errorf("plan %+v: %+v has another score than exactly", p, h)
			}
		}
		if p.Sketched == 1000 && !reflect.DeepEqual(a.Hits, exact.Hits[:min(q.K, len(exact.Hits))]) {
			s.Errorf("a plan that takes all answers\n%+v\nexactly it is\n%+v", a.Hits, exact.Hits)
		}
	}
	for what, p := range map[error]retrieval.Plan{retrieval.ErrInvalid: {Scored: -1}, retrieval.ErrTooLarge: {Sketched: retrieval.MaxCandidates + 1}} {
		ask := *q
		ask.Plan = p
		_, err := s.m.Search(s.Context(), &shard.SearchRequest{Collection: Collection, Query: &ask})
		s.is(fmt.Sprintf("plan %+v", p), err, what)
	}
}
