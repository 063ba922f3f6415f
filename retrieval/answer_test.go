package retrieval

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// parts draws answers about different documents, with ties and empty ones among them.
func parts(t *rapid.T) []Answer {
	answers := make([]Answer, rapid.IntRange(1, 5).Draw(t, "answers"))
	for i := range rapid.IntRange(0, 30).Draw(t, "hits") {
		a := &answers[rapid.IntRange(0, len(answers)-1).Draw(t, "part")]
		sum := rapid.Int64Range(-3, 3).Draw(t, "sum")
		a.Hits = append(a.Hits, Hit{ID: fmt.Sprint(i), Sum: sum, Score: float64(sum), Alignments: []Alignment{{int32(i), int32(sum)}}})
		a.Stats = a.Stats.Add(Stats{Documents: 1, Tokens: 2, Segments: 3, Sketches: 4, Coarse: 5, Sketched: 6, Micros: Micros{7, 8, 9}})
	}
	for _, a := range answers {
		slices.SortFunc(a.Hits, Compare)
	}
	return answers
}

func equal(t *rapid.T, law string, got, want Answer) {
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s:\n%+v\n%+v", law, got, want)
	}
}

func TestMergeLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		answers, k := parts(t), rapid.IntRange(0, 35).Draw(t, "k")
		before := fmt.Sprint(answers)
		whole := Merge(k, answers...)

		var all []Hit
		for _, a := range answers {
			all = append(all, a.Hits...)
		}
		slices.SortFunc(all, Compare)
		all = all[:min(k, len(all))]
		if len(all) != len(whole.Hits) || len(all) > 0 && !reflect.DeepEqual(all, whole.Hits) {
			t.Fatalf("not the best %d: %+v", k, whole.Hits)
		}
		equal(t, "commutative", Merge(k, rapid.Permutation(answers).Draw(t, "order")...), whole)
		equal(t, "identity", Merge(k, whole, Answer{}), whole)
		equal(t, "idempotent on one", Merge(k, whole), whole)
		cut := rapid.IntRange(0, len(answers)).Draw(t, "cut")
		equal(t, "associative", Merge(k, Merge(k, answers[:cut]...), Merge(k, answers[cut:]...)), whole)
		fold := Answer{}
		for _, a := range answers {
			fold = Merge(k, fold, a)
		}
		equal(t, "nests", fold, whole)
		if now := fmt.Sprint(answers); now != before {
			t.Fatalf("inputs changed:\n%s\n%s", before, now)
		}
		if cap(whole.Hits) > 2*k+1 {
			t.Fatalf("%d hits hold room for %d", len(whole.Hits), cap(whole.Hits))
		}
	})
}

func TestCompareIsATotalOrder(t *testing.T) {
	hit := rapid.Custom(func(t *rapid.T) Hit {
		return Hit{ID: rapid.StringN(0, 2, 4).Draw(t, "id"), Sum: rapid.Int64Range(-2, 2).Draw(t, "sum")}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := hit.Draw(t, "a"), hit.Draw(t, "b"), hit.Draw(t, "c")
		if Compare(a, b) != -Compare(b, a) {
			t.Fatal("not antisymmetric")
		}
		if Compare(a, b) <= 0 && Compare(b, c) <= 0 && Compare(a, c) > 0 {
			t.Fatal("not transitive")
		}
		if (Compare(a, b) == 0) != (a.ID == b.ID && a.Sum == b.Sum) {
			t.Fatal("equal, and different")
		}
	})
	if Compare(Hit{ID: "b", Sum: 1 << 58}, Hit{ID: "a", Sum: -1 << 58}) >= 0 || Compare(Hit{ID: "B"}, Hit{ID: "a"}) >= 0 {
		t.Fatal("a higher sum comes first, then the smaller bytes")
	}
}

// fixed always gives the same answer.
type fixed struct {
	answer Answer
	err    error
}

func (f fixed) Search(_ context.Context, q *Query) (Answer, error) {
	return Merge(q.K, f.answer), f.err
}

func TestUnion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := query(3)
		q.K = rapid.IntRange(1, 35).Draw(t, "k")
		answers := parts(t)
		var flat, nested Union
		for _, a := range answers {
			flat = append(flat, fixed{answer: a})
			nested = Union{nested, fixed{answer: a}, Union{}}
		}
		want := Merge(q.K, answers...)
		for _, u := range []Union{flat, nested} {
			got, err := u.Search(context.Background(), q)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "union", got, want)
		}
	})
}

func TestUnionErrors(t *testing.T) {
	broken := errors.New("broken")
	if _, err := (Union{fixed{}, fixed{err: broken}}).Search(context.Background(), query(2)); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if _, err := (Union{}).Search(context.Background(), &Query{}); !errors.Is(err, ErrInvalid) {
		t.Fatal(err)
	}
}
