package shardtest

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"ostraca/retrieval"
	"ostraca/shard"
)

// filters: lists, counts and searches are of the documents that a filter lets through, and of nothing else.
func (s *suite) filters() {
	held := map[string]uint64{}
	for i := range 90 {
		held[fmt.Sprintf("d%d#%d", i/3, i)] = uint64(i % 40)
	}
	s.ok(s.puts(held)...)
	s.filtered(held)
	patched := map[string]bool{}
	var operations []shard.Operation
	for i, id := range slices.Sorted(maps.Keys(held)) {
		switch i % 4 {
		case 0:
			operations = append(operations, s.forgets([]string{id}, nil))
			delete(held, id)
		case 1:
			operations = append(operations, s.patchOf(id, fmt.Sprintf(`{"late":%d.5,"number":null,"tags":["x",%d]}`, i, i), shard.Condition{}))
			patched[id] = true
		}
	}
	s.ok(operations...)
	s.lets("", held, func(string, uint64) bool { return true })
	s.lets(`has(fields.number)`, held, func(id string, _ uint64) bool { return !patched[id] })
	s.lets(`fields.number < 1000`, held, func(id string, _ uint64) bool { return !patched[id] })
	s.lets(`fields.number == 7`, held, func(id string, n uint64) bool { return n == 7 && !patched[id] }) // asked before the patches, too
	s.lets(`id.startsWith("d1")`, held, func(id string, _ uint64) bool { return strings.HasPrefix(id, "d1") })
	s.lets(`"x" in fields.tags && fields.late > 0`, held, func(id string, _ uint64) bool { return patched[id] })
}

// filtered looks at documents through some filters.
func (s *suite) filtered(held map[string]uint64) {
	s.Helper()
	s.lets(`true`, held, func(string, uint64) bool { return true })
	s.lets(`false`, held, func(string, uint64) bool { return false })
	s.lets(`fields.number >= 10 && fields.number < 20.5`, held, func(_ string, n uint64) bool { return n >= 10 && n <= 20 })
	s.lets(`fields.number == 7`, held, func(_ string, n uint64) bool { return n == 7 })
	s.lets(`fields.absent == 7`, held, func(string, uint64) bool { return false })
	s.lets(`fields.number > "x" || parent == "d3"`, held, func(id string, _ uint64) bool { return shard.Parent(id) == "d3" })
	s.lets(`id.startsWith("d1")`, held, func(id string, _ uint64) bool { return strings.HasPrefix(id, "d1") })
}

// lets expects that lists, counts and searches through a filter are of the documents that pass.
func (s *suite) lets(filter string, held map[string]uint64, passes func(id string, number uint64) bool) {
	s.Helper()
	var want []string
	var docs []shard.Document
	for _, id := range slices.Sorted(maps.Keys(held)) {
		if passes(id, held[id]) {
			want, docs = append(want, id), append(docs, Document(id, held[id]))
		}
	}
	for _, limit := range []int{1, 7, shard.MaxListed} {
		var got []string
		for after, more := "", true; more; {
			a, err := s.m.List(s.Context(), &shard.ListRequest{Collection: Collection, Limit: limit, After: after, Filter: filter})
			if err != nil || len(a.Documents) > limit || a.More != (a.Next != "") || a.More && a.Next <= after {
				s.Fatalf("%s: list %d after %q: %v, %+v", filter, limit, after, err, a)
			}
			got, after, more = append(got, ids(a.Documents)...), a.Next, a.More
		}
		if !slices.Equal(got, want) {
			s.Fatalf("%s: pages of %d have %q, want %q", filter, limit, got, want)
		}
	}
	if got := s.counted(filter, ""); got != len(want) {
		s.Errorf("%s: %d are counted, of %d", filter, got, len(want))
	}
	if n := len(want) / 2; n > 0 {
		if got := s.counted(filter, want[n-1]); got != len(want)-n {
			s.Errorf("%s: %d are counted after %q, of %d", filter, got, want[n-1], len(want)-n)
		}
	}
	x := Reference(docs...)
	some := append(slices.Sorted(maps.Keys(held))[:20], "absent")
	for i, k := range []int{1, 5, len(held)} {
		q := Query(uint64(i), k)
		best, err := x.Search(s.Context(), q)
		if err != nil {
			s.Fatal(err)
		}
		scores, err := x.View().Score(s.Context(), q, some)
		if err != nil {
			s.Fatal(err)
		}
		for phase, want := range map[shard.Phase]retrieval.Answer{shard.Candidates: best, shard.Scores: scores} {
			got, err := s.m.Search(s.Context(), &shard.SearchRequest{Collection: Collection, Phase: phase, Query: q, IDs: some, Filter: filter})
			if err != nil || len(got.Hits) != len(want.Hits) || len(want.Hits) > 0 && !reflect.DeepEqual(got.Hits, want.Hits) || got.Stats.Documents != want.Stats.Documents {
				s.Fatalf("%s: phase %d, best %d: %v,\n%+v\nwant\n%+v", filter, phase, k, err, got, want)
			}
		}
		q.Plan = retrieval.Plan{Sketched: len(want) + 2, Scored: len(want) + 1} // of those that pass, all
		planned, err := s.m.Search(s.Context(), &shard.SearchRequest{Collection: Collection, Query: q, Filter: filter})
		if err != nil || len(planned.Hits) != len(best.Hits) || len(best.Hits) > 0 && !reflect.DeepEqual(planned.Hits, best.Hits) {
			s.Fatalf("%s: by a plan for all, best %d: %v,\n%+v\nwant\n%+v", filter, k, err, planned, best)
		}
	}
}

// counted returns the count of a filter, of as many pages as it takes.
func (s *suite) counted(filter, after string) int {
	s.Helper()
	for n := 0; ; {
		a, err := s.m.List(s.Context(), &shard.ListRequest{Collection: Collection, After: after, Filter: filter, Count: true})
		if err != nil || len(a.Documents) != 0 || len(a.States) == 0 {
			s.Fatalf("count of %q after %q: %v, %+v", filter, after, err, a)
		}
		if n, after = n+int(a.Count), a.Next; !a.More {
			return n
		}
	}
}

// filterLimits: what is no filter is refused, and one that takes too long ends.
func (s *suite) filterLimits() {
	d := Document("large", 1)
	d.Fields = fmt.Appendf(nil, `{"tags":[%s0]}`, strings.Repeat("0,", 30_000))
	s.ok(Put(Collection, d, shard.Condition{}))
	long := func(n int) string { return `id == "` + strings.Repeat("x", n-8) + `"` }
	for filter, kind := range map[string]error{
		"number == 1":                    retrieval.ErrInvalid,
		"fields.number ==":               retrieval.ErrInvalid,
		"fields.number = 1":              retrieval.ErrInvalid,
		"1 + 1":                          retrieval.ErrInvalid,
		"true\xff":                       retrieval.ErrInvalid,
		long(shard.MaxFilterBytes):       nil,
		long(shard.MaxFilterBytes + 1):   retrieval.ErrTooLarge,
		"0 in fields.tags":               nil,
		"fields.tags.exists(x, x == 1)":  retrieval.ErrTooLarge, // over MaxFilterCost
		"fields.tags.exists(x, x == 0)":  nil,                   // ends at the first
		"fields.tags.exists(x, x == 'a'": retrieval.ErrInvalid,
	} {
		name := filter[:min(len(filter), 40)]
		_, err := s.m.List(s.Context(), &shard.ListRequest{Collection: Collection, Limit: 10, Filter: filter})
		s.is("list: "+name, err, kind)
		_, err = s.m.List(s.Context(), &shard.ListRequest{Collection: Collection, Count: true, Filter: filter})
		s.is("count: "+name, err, kind)
		for p := range shard.Statistics {
			_, err = s.m.Search(s.Context(), &shard.SearchRequest{Collection: Collection, Phase: p, Query: Query(1, 1), IDs: []string{"large"}, Filter: filter})
			s.is(fmt.Sprintf("search, phase %d: %s", p, name), err, kind)
		}
	}
	_, err := s.m.Search(s.Context(), &shard.SearchRequest{Collection: Collection, Phase: shard.Statistics, Filter: "true"})
	s.is("statistics through a filter", err, retrieval.ErrInvalid)
	_, err = s.m.List(s.Context(), &shard.ListRequest{Collection: "absent", Count: true})
	s.is("count of a collection that is not there", err, retrieval.ErrNotFound)
	_, err = s.m.Search(s.Context(), &shard.SearchRequest{Collection: "absent", Query: Query(1, 1), Filter: "true"})
	s.is("search of a collection that is not there", err, retrieval.ErrNotFound)
	if _, routed := s.m.(*shard.Router); routed {
		a, err := s.m.Search(s.Context(), &shard.SearchRequest{Collection: Collection, Query: Query(1, 5), Filter: `id == "large"`, Documents: true})
		if err != nil || len(a.Documents) != 1 || a.Documents[0].ID != "large" {
			s.Errorf("%v: %+v", err, a)
		}
	}
	s.sound()
}
