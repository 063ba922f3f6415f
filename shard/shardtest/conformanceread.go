package shardtest

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"ostraca/retrieval"
	"ostraca/retrieval/index"
	"ostraca/shard"
)

// Reference returns the index that a memory with these documents must answer like.
func Reference(documents ...shard.Document) *index.Index {
	return ReferenceOf(retrieval.Int8, documents...)
}

// ReferenceOf is [Reference] for documents of a codec.
func ReferenceOf(codec retrieval.Codec, documents ...shard.Document) *index.Index {
	x, err := index.New(Width, index.Options{Codec: codec, Threads: 1})
	if err != nil {
		panic(err)
	}
	for part := range slices.Chunk(documents, retrieval.MaxBatch) {
		docs := make([]retrieval.Document, len(part))
		for i, d := range part {
			docs[i] = retrieval.Document{ID: d.ID, Codes: d.Codes}
		}
		if err := x.Put(docs); err != nil {
			panic(err)
		}
	}
	return x
}

// byScore returns the ids of documents in the order of a query's scores.
func (s *suite) byScore(documents map[string]uint64, query uint64) []string {
	var docs []shard.Document
	for id, number := range documents {
		docs = append(docs, Document(id, number))
	}
	a, err := Reference(docs...).Search(s.Context(), Query(query, max(1, len(docs))))
	if err != nil {
		s.Fatal(err)
	}
	var out []string
	for _, h := range a.Hits {
		out = append(out, h.ID)
	}
	return out
}

// answer expects that a query is answered with these ids, and returns the hits.
func (s *suite) answer(q *retrieval.Query, want ...string) []retrieval.Hit {
	s.Helper()
	a, err := s.m.Search(s.Context(), &shard.SearchRequest{Collection: Collection, Query: q})
	if err != nil {
		s.Fatal(err)
	}
	var got []string
	for _, h := range a.Hits {
		got = append(got, h.ID)
	}
	if !slices.Equal(got, want) {
		s.Fatalf("the answer is %q, want %q", got, want)
	}
	return a.Hits
}

// held expects what Statistics tell.
func (s *suite) held(documents, tokens int64) {
	s.Helper()
	a, err := s.m.Search(s.Context(), &shard.SearchRequest{Collection: Collection, Phase: shard.Statistics})
	if err != nil || a.Held != (shard.Held{Documents: documents, Tokens: tokens}) || len(a.Hits) != 0 {
		s.Errorf("statistics: %v, %+v, want %d documents, %d tokens", err, a, documents, tokens)
	}
}

// search: every phase is answered, to the bit, as an index over the same documents answers.
func (s *suite) search() {
	s.held(0, 0)
	s.answer(Query(0, 10))
	held := map[string]uint64{}
	for i := range 90 {
		held[fmt.Sprintf("d%d#%d", i/3, i)] = uint64(i % 40) // so there are ties, within shards and across
	}
	s.ok(s.puts(held)...)
	s.compare(held)
	var operations []shard.Operation
	for i, id := range slices.Sorted(maps.Keys(held)) {
		switch i % 5 {
		case 0:
			operations = append(operations, s.forgets([]string{id}, nil))
			delete(held, id)
		case 1:
			operations = append(operations, s.put(id, uint64(100+i), shard.Condition{}))
			held[id] = uint64(100 + i)
		case 2:
			operations = append(operations, s.patchOf(id, `{"patched":true}`, shard.Condition{}))
		}
	}
	s.ok(operations...)
	s.compare(held)
}

func (s *suite) compare(held map[string]uint64) {
	s.Helper()
	var docs []shard.Document
	tokens := 0
	for id, number := range held {
		d := Document(id, number)
		docs, tokens = append(docs, d), tokens+d.Codes.Len()
	}
	x := Reference(docs...)
	all := slices.Sorted(maps.Keys(held))
	some := []string{all[7], "absent", all[3], all[3], all[50], "d0#999", all[len(all)-1]}
	for _, level := range []shard.Level{shard.Linearizable, shard.Bounded} {
		read := shard.Read{Level: level, Bound: time.Nanosecond}
		for i, k := range []int{1, 2, 7, len(all) - 1, len(all), 500} {
			q := Query(uint64(i), k)
			want, err := x.Search(s.Context(), q)
			if err != nil {
				s.Fatal(err)
			}
			got, err := s.m.Search(s.Context(), &shard.SearchRequest{Collection: Collection, Query: q, Read: read})
			if err != nil || !reflect.DeepEqual(got.Hits, want.Hits) || got.Stats.Documents != want.Stats.Documents || got.Stats.Tokens != want.Stats.Tokens {
				s.Fatalf("best %d: %v,\n%+v\nwant\n%+v", k, err, got, want)
			}
			s.sums(&shard.SearchRequest{Collection: Collection, Query: q, Read: read, SumsOnly: true}, want.Hits)
			if len(got.States) == 0 || len(got.Missing) != 0 || got.Candidates < len(got.Hits) || got.Documents != nil {
				s.Errorf("best %d: %+v", k, got)
			}
			for _, ids := range [][]string{some, all, nil, {"absent"}} {
				want, err := x.View().Score(s.Context(), q, ids)
				if err != nil {
					s.Fatal(err)
				}
				got, err := s.m.Search(s.Context(), &shard.SearchRequest{Collection: Collection, Phase: shard.Scores, Query: q, IDs: ids, Read: read})
				if err != nil || len(got.Hits) != len(want.Hits) || len(want.Hits) > 0 && !reflect.DeepEqual(got.Hits, want.Hits) {
					s.Fatalf("scores of %q, best %d: %v,\n%+v\nwant\n%+v", ids, k, err, got, want)
				}
				s.sums(&shard.SearchRequest{Collection: Collection, Phase: shard.Scores, Query: q, IDs: ids, Read: read, SumsOnly: true}, want.Hits)
			}
		}
	}
	s.held(int64(len(docs)), int64(tokens))
}

// sums expects hits as they are but for their alignments, of which it wants none.
func (s *suite) sums(q *shard.SearchRequest, want []retrieval.Hit) {
	s.Helper()
	got, err := s.m.Search(s.Context(), q)
	if err != nil || len(got.Hits) != len(want) {
		s.Fatalf("%v: %+v", err, got)
	}
	for i, h := range want {
		if h.Alignments = nil; !reflect.DeepEqual(got.Hits[i], h) {
			s.Fatalf("%+v, not %+v", got.Hits[i], h)
		}
	}
}

// hits: a router gives the documents of its hits, in their order; whatever holds states by itself takes a pin.
func (s *suite) hits() {
	held := map[string]uint64{}
	for i := range 30 {
		held[fmt.Sprintf("d%d", i)] = uint64(i)
	}
	s.ok(s.puts(held)...)
	ask := &shard.SearchRequest{Collection: Collection, Query: Query(1, 12), Documents: true}
	if _, routed := s.m.(*shard.Router); routed {
		a, err := s.m.Search(s.Context(), ask)
		if err != nil || len(a.Hits) != 12 || len(a.Documents) != 12 {
			s.Fatalf("%v: %+v", err, a)
		}
		for i, h := range a.Hits {
			d := Document(h.ID, held[h.ID])
			d.Codes = retrieval.Codes{}
			s.same(a.Documents[i], d)
		}
		ask.SumsOnly = true
		bare, err := s.m.Search(s.Context(), ask)
		if err != nil || len(bare.Documents) != 12 {
			s.Fatalf("%v: %+v", err, bare)
		}
		for i, d := range bare.Documents {
			if d.ID != a.Documents[i].ID || d.Text != a.Documents[i].Text || d.Version != a.Documents[i].Version || bare.Hits[i].Alignments != nil {
				s.Errorf("%+v, not %+v", d, a.Documents[i])
			}
		}
		_, err = s.m.Search(s.Context(), &shard.SearchRequest{Collection: Collection, Query: Query(1, 1), Hold: true})
		s.is("hold", err, retrieval.ErrInvalid)
		return
	}
	ask.Documents, ask.Hold = false, true
	a, err := s.m.Search(s.Context(), ask)
	if err != nil || a.States[0].Pin == nil {
		s.Fatalf("%v: %+v", err, a)
	}
	pin := a.States[0].Pin
	s.ok(s.puts(map[string]uint64{"d0": 100, "d1": 101})...)
	s.ok(s.forgets([]string{"d2"}, nil))
	then := shard.Read{Pin: pin, Level: shard.Local}
	ask.Read, ask.Hold = then, false
	b, err := s.m.Search(s.Context(), ask)
	if err != nil || !reflect.DeepEqual(a.Hits, b.Hits) || a.States[0].Index != b.States[0].Index {
		s.Errorf("%v: a pinned state changed:\n%+v\n%+v", err, a, b)
	}
	got, err := s.m.Get(s.Context(), &shard.GetRequest{Collection: Collection, IDs: []string{"d0", "d1", "d2"}, Codes: true, Read: then})
	if err != nil || len(got.Documents) != 3 || !SameDocument(got.Documents[0].Document, Document("d0", 0)) {
		s.Errorf("%v: %+v", err, got)
	}
	held["d0"], held["d1"] = 100, 101
	delete(held, "d2")
	s.holds(held)
	time.Sleep(shard.PinTime + time.Second)
	_, err = s.m.Get(s.Context(), &shard.GetRequest{Collection: Collection, IDs: []string{"d0"}, Read: then})
	s.is("a pin that was given up", err, shard.ErrMoved)
	then.Pin = &shard.Pin{Node: pin.Node, Token: pin.Token + 1, Index: pin.Index}
	_, err = s.m.List(s.Context(), &shard.ListRequest{Collection: Collection, Limit: 1, Read: then})
	s.is("a pin that never was", err, shard.ErrMoved)
}

// levels: what was written is read, by receipt at every level, and without at the first.
func (s *suite) levels() {
	time.Sleep(time.Second) // every replica has the collection
	for i := range 12 {
		id := fmt.Sprintf("d%d", i)
		r := s.ok(s.put(id, uint64(i), shard.Condition{}))[0]
		s.same(s.get(id)[0], Document(id, uint64(i)))
		for _, read := range []shard.Read{{Level: shard.Local}, {Level: shard.Bounded, Bound: time.Hour}, {Level: shard.Linearizable}} {
			read.After = r.Receipts
			a, err := s.m.Get(s.Context(), &shard.GetRequest{Collection: Collection, IDs: []string{id}, Read: read})
			if err != nil || len(a.Documents) != 1 {
				s.Fatalf("level %d after its receipt: %v, %+v", read.Level, err, a)
			}
			if i := slices.IndexFunc(a.States, func(s shard.State) bool { return s.Shard == r.Receipts[0].Shard }); i < 0 || a.States[i].Index < r.Receipts[0].Index {
				s.Errorf("level %d: states %+v, after %+v", read.Level, a.States, r.Receipts)
			}
			l, err := s.m.List(s.Context(), &shard.ListRequest{Collection: Collection, Limit: 100, Read: read})
			if err != nil || !slices.Contains(ids(l.Documents), id) {
				s.Fatalf("list at level %d after its receipt: %v, %+v", read.Level, err, l)
			}
			f, err := s.m.Search(s.Context(), &shard.SearchRequest{Collection: Collection, Phase: shard.Scores, IDs: []string{id}, Query: Query(1, 1), Read: read})
			if err != nil || len(f.Hits) != 1 {
				s.Fatalf("search at level %d after its receipt: %v, %+v", read.Level, err, f)
			}
		}
	}
	time.Sleep(time.Second)
	for _, read := range []shard.Read{{Level: shard.Local}, {Level: shard.Bounded, Bound: 500 * time.Millisecond}} { // by now everybody has all
		l, err := s.m.List(s.Context(), &shard.ListRequest{Collection: Collection, Limit: 100, Read: read})
		if err != nil || len(l.Documents) != 12 {
			s.Errorf("level %d: %v, %d documents", read.Level, err, len(l.Documents))
		}
	}
	r := s.ok(s.put("last", 1, shard.Condition{}))[0].Receipts
	foreign := slices.Clone(r)
	foreign[0].Generation++
	future := slices.Clone(r)
	future[0].Index += 1000
	soon, cancel := context.WithTimeout(s.Context(), 300*time.Millisecond)
	defer cancel()
	for _, c := range []struct {
		what string
		ctx  context.Context
		read shard.Read
		kind error
	}{
		{"a bound of 0", s.Context(), shard.Read{Level: shard.Bounded}, retrieval.ErrInvalid},
		{"a bound below 0", s.Context(), shard.Read{Level: shard.Bounded, Bound: -time.Second}, retrieval.ErrInvalid},
		{"an unknown level", s.Context(), shard.Read{Level: 3}, retrieval.ErrInvalid},
		{"the last level", s.Context(), shard.Read{Level: 255}, retrieval.ErrInvalid},
		{"a receipt of another generation", s.Context(), shard.Read{After: foreign}, shard.ErrGeneration},
		{"a receipt of the future", soon, shard.Read{After: future}, context.DeadlineExceeded},
	} {
		began := time.Now()
		_, err := s.m.Get(c.ctx, &shard.GetRequest{Collection: Collection, IDs: []string{"last"}, Read: c.read})
		if _, routed := s.m.(*shard.Router); routed && c.ctx == soon { // a router says of which shard
			c.kind = shard.ErrPartial
		}
		s.is(c.what, err, c.kind)
		if took := time.Since(began); took > time.Second {
			s.Errorf("%s: refused after %v", c.what, took)
		}
	}
}

// status: every shard is told of, with all that it holds.
func (s *suite) status() {
	held := map[string]uint64{}
	tokens := 0
	for i := range 40 {
		held[fmt.Sprint(i)] = uint64(i)
		tokens += Document("", uint64(i)).Codes.Len()
	}
	s.ok(s.puts(held)...)
	time.Sleep(time.Second) // followers hear what is committed
	a, err := s.m.Status(s.Context())
	if err != nil || len(a.Shards) == 0 {
		s.Fatalf("%v: %+v", err, a)
	}
	var sum shard.Held
	operations := int64(0)
	seen := map[uint32]shard.ReplicaStatus{}
	for _, r := range a.Shards {
		if len(r.Collections) != 1 || r.Collections[0].Name != Collection || !r.Collections[0].Configuration.Equal(Configuration()) {
			s.Fatalf("collections of shard %d: %+v", r.Shard, r.Collections)
		}
		first, again := seen[r.Shard]
		if again && (first.Digest != r.Digest || !first.Collections[0].Equal(r.Collections[0]) || first.Applied != r.Applied) {
			s.Errorf("replicas differ:\n%+v\n%+v", first, r)
		}
		if !again {
			seen[r.Shard] = r
			sum.Documents, sum.Tokens = sum.Documents+r.Collections[0].Documents, sum.Tokens+r.Collections[0].Tokens
			operations += r.Operations
		}
		if r.Leader == "" || r.Node == "" || r.Term == 0 || r.Commit < r.Applied || r.Trouble != "" || r.Generation == 0 || len(r.Voters) == 0 {
			s.Errorf("status: %+v", r)
		}
	}
	if n := a.Shards[0].Shards; sum.Documents != 40 || sum.Tokens != int64(tokens) || len(seen) != int(n) || operations != 40+int64(n) { // a configure each
		s.Errorf("%d shards of %d hold %+v, and remember %d operations", len(seen), n, sum, operations)
	}
}
