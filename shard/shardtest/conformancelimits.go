package shardtest

import (
	"fmt"
	"slices"
	"strings"

	"ostraca/retrieval"
	"ostraca/retrieval/index"
	"ostraca/shard"
)

// limits: documents at each limit, and one over it.
func (s *suite) limits() {
	tokens := func(n int) retrieval.Codes {
		c := retrieval.Codes{Codec: retrieval.Int8, Width: Width, Rows: make([]byte, n*Width), Scales: make([]uint16, n)}
		for i := range c.Scales {
			c.Scales[i] = uint16(1 + i%retrieval.MaxScale)
			c.Rows[i*Width+i%Width] = byte(i)
		}
		for i := range c.Rows {
			c.Rows[i] = max(1, c.Rows[i])
		}
		return index.Pool(c)
	}
	fields := func(n int) []byte { return []byte(`{"a":"` + strings.Repeat("x", n-8) + `"}`) }
	for name, c := range map[string]struct {
		limit int
		put   func(n int) shard.Document
	}{
		"id":     {retrieval.MaxIDBytes, func(n int) shard.Document { return Document(strings.Repeat("i", n), 1) }},
		"text":   {retrieval.MaxTextBytes, func(n int) shard.Document { return shard.Document{ID: "text", Text: strings.Repeat("t", n)} }},
		"fields": {shard.MaxFieldsBytes, func(n int) shard.Document { return shard.Document{ID: "fields", Fields: fields(n)} }},
		"tokens": {retrieval.MaxDocumentTokens, func(n int) shard.Document { return shard.Document{ID: "tokens", Codes: tokens(n)} }},
	} {
		d := c.put(c.limit)
		s.ok(Put(Collection, d, shard.Condition{}))
		s.same(s.get(d.ID)[0], d)
		s.fails(name, retrieval.ErrTooLarge, Put(Collection, c.put(c.limit+1), shard.Condition{}))
		s.same(s.get(d.ID)[0], d)
	}
	long := strings.Repeat("i", retrieval.MaxIDBytes+1)
	s.fails("patch of a long id", retrieval.ErrTooLarge, s.patchOf(long, "", shard.Condition{}))
	s.fails("forget of a long id", retrieval.ErrTooLarge, s.forgets([]string{long}, nil))
	s.fails("forget of a long parent", retrieval.ErrTooLarge, s.forgets(nil, []string{long}))
	_, err := s.m.Get(s.Context(), &shard.GetRequest{Collection: Collection, IDs: []string{long}})
	s.is("get of a long id", err, retrieval.ErrTooLarge)
	s.fails("patch over the limit", retrieval.ErrInvalid, s.patchOf("fields", `{"b":1}`, shard.Condition{}))
	s.same(s.get("fields")[0], shard.Document{ID: "fields", Fields: fields(shard.MaxFieldsBytes)})
	s.fails("long patch", retrieval.ErrTooLarge, s.patchOf("fields", string(fields(shard.MaxFieldsBytes+1)), shard.Condition{}))
	s.ok(s.patchOf("fields", string(fields(shard.MaxFieldsBytes)), shard.Condition{}))
	name := strings.Repeat("n", shard.MaxCollectionBytes)
	s.fails("long collection", retrieval.ErrNotFound, Put(name, Document("a", 1), shard.Condition{}))
	s.fails("longer collection", retrieval.ErrTooLarge, Put(name+"n", Document("a", 1), shard.Condition{}))
	s.sound()
}

// sound expects that no replica has stopped.
func (s *suite) sound() {
	s.Helper()
	a, err := s.m.Status(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	for _, r := range a.Shards {
		if r.Trouble != "" {
			s.Errorf("shard %d at %s: %s", r.Shard, r.Node, r.Trouble)
		}
	}
}

// batchLimits: batches at each limit, and one over it.
func (s *suite) batchLimits() {
	var operations []shard.Operation
	for i := range shard.MaxBatch + 1 {
		operations = append(operations, s.patchOf(fmt.Sprint(i), "", shard.Condition{}))
	}
	operations[17] = s.put("17", 1, shard.Condition{})
	_, err := s.try(operations...)
	s.is("a batch over the limit", err, retrieval.ErrTooLarge)
	s.holds(nil)
	for i, r := range s.write(operations[:shard.MaxBatch]...) {
		if (r.Failure() == nil) != (i == 17) {
			s.Fatal(i, r.Failure())
		}
	}
	names := make([]string, shard.MaxForget+1)
	for i := range names {
		names[i] = fmt.Sprint(i)
	}
	s.fails("a forget over the limit", retrieval.ErrInvalid, s.forgets(names, nil))
	s.fails("a forget over the limit by a parent", retrieval.ErrInvalid, s.forgets(names[1:], names[:1]))
	s.holds(map[string]uint64{"17": 1})
	if r := s.ok(s.forgets(names[:5000], names[5000:shard.MaxForget]))[0]; r.Count != 1 {
		s.Errorf("%d forgotten", r.Count)
	}
	ids := func(n int) []string { return append(slices.Clone(names[:n-1]), "last") }
	s.ok(s.put("last", 1, shard.Condition{}))
	if got := s.get(ids(shard.MaxBatch)...); len(got) != 1 {
		s.Errorf("%d documents", len(got))
	}
	_, err = s.m.Get(s.Context(), &shard.GetRequest{Collection: Collection, IDs: ids(shard.MaxBatch + 1)})
	s.is("a get over the limit", err, retrieval.ErrTooLarge)
	score := func(ids []string) (*shard.SearchAnswer, error) {
		return s.m.Search(s.Context(), &shard.SearchRequest{Collection: Collection, Phase: shard.Scores, Query: Query(1, 1), IDs: ids})
	}
	if a, err := score(ids(retrieval.MaxK)); err != nil || len(a.Hits) != 1 {
		s.Errorf("%v, %+v", err, a)
	}
	_, err = score(ids(retrieval.MaxK + 1))
	s.is("scores over the limit", err, retrieval.ErrTooLarge)
	s.sound()
}

// readLimits: reads at each limit, and one over it.
func (s *suite) readLimits() {
	r := s.ok(s.put("a", 1, shard.Condition{}))[0].Receipts[0]
	for limit, want := range map[int]error{1: nil, shard.MaxListed: nil, 0: retrieval.ErrInvalid, -1: retrieval.ErrInvalid, shard.MaxListed + 1: retrieval.ErrTooLarge, 1 << 40: retrieval.ErrTooLarge} {
		a, err := s.m.List(s.Context(), &shard.ListRequest{Collection: Collection, Limit: limit})
		if want == nil && (err != nil || len(a.Documents) != 1) {
			s.Errorf("list of %d: %v", limit, err)
		} else if want != nil {
			s.is(fmt.Sprintf("list of %d", limit), err, want)
		}
	}
	long := func(tokens, k int) *retrieval.Query {
		q := Query(1, k)
		q.Codes = slices.Repeat(q.Codes, tokens/3+1)[:tokens*Width]
		q.Weights = slices.Repeat(q.Weights, tokens/3+1)[:tokens]
		return q
	}
	bad := func(spoil func(*retrieval.Query)) *retrieval.Query {
		q := Query(1, 1)
		spoil(q)
		return q
	}
	for name, c := range map[string]struct {
		query *retrieval.Query
		kind  error
	}{
		"k":               {Query(1, retrieval.MaxK), nil},
		"k over":          {bad(func(q *retrieval.Query) { q.K = retrieval.MaxK + 1 }), retrieval.ErrTooLarge},
		"k of 0":          {bad(func(q *retrieval.Query) { q.K = 0 }), retrieval.ErrInvalid},
		"k below 0":       {bad(func(q *retrieval.Query) { q.K = -1 }), retrieval.ErrInvalid},
		"tokens":          {long(retrieval.MaxQueryTokens, 10), nil},
		"tokens over":     {long(retrieval.MaxQueryTokens+1, 10), retrieval.ErrTooLarge},
		"alignments":      {long(retrieval.MaxQueryTokens, retrieval.MaxAlignments/retrieval.MaxQueryTokens), nil},
		"alignments over": {long(retrieval.MaxQueryTokens, retrieval.MaxAlignments/retrieval.MaxQueryTokens+1), retrieval.ErrTooLarge},
		"none":            {nil, retrieval.ErrInvalid},
		"empty":           {&retrieval.Query{}, retrieval.ErrInvalid},
		"width": {bad(func(q *retrieval.Query) {
			q.Width, q.Codes = Width/2, q.Codes[:len(q.Codes)/2]
		}), retrieval.ErrInvalid},
		"codec":   {bad(func(q *retrieval.Query) { q.Codec = "other" }), retrieval.ErrInvalid},
		"weights": {bad(func(q *retrieval.Query) { clear(q.Weights) }), retrieval.ErrInvalid},
		"maximum": {bad(func(q *retrieval.Query) { q.Max = 0 }), retrieval.ErrInvalid},
		"below":   {bad(func(q *retrieval.Query) { q.Width = -Width }), retrieval.ErrInvalid},
	} {
		for p := range shard.Statistics {
			a, err := s.m.Search(s.Context(), &shard.SearchRequest{Collection: Collection, Phase: p, Query: c.query, IDs: []string{"a"}})
			if c.kind != nil {
				s.is(fmt.Sprintf("phase %d, query: %s", p, name), err, c.kind)
			} else if err != nil || len(a.Hits) != 1 {
				s.Errorf("phase %d, query: %s: %v", p, name, err)
			}
		}
	}
	for _, phase := range []shard.Phase{3, 255} {
		_, err := s.m.Search(s.Context(), &shard.SearchRequest{Collection: Collection, Phase: phase, Query: Query(1, 1)})
		s.is("unknown phase", err, retrieval.ErrInvalid)
	}
	for n, kind := range map[int]error{shard.MaxReceipts: nil, shard.MaxReceipts + 1: retrieval.ErrTooLarge} {
		_, err := s.m.Get(s.Context(), &shard.GetRequest{Collection: Collection, IDs: []string{"a"}, Read: shard.Read{After: slices.Repeat([]shard.Receipt{r}, n)}})
		s.is(fmt.Sprintf("%d receipts", n), err, kind)
	}
	for name, kind := range map[string]error{"": retrieval.ErrInvalid, "a/documents": retrieval.ErrInvalid, "../a": retrieval.ErrInvalid,
		strings.Repeat("n", 1000): retrieval.ErrTooLarge, "absent": retrieval.ErrNotFound} {
		_, err := s.m.List(s.Context(), &shard.ListRequest{Collection: name, Limit: 1})
		s.is("list of collection "+name, err, kind)
	}
	s.sound()
}
