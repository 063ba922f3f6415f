package eval

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ostraca/retrieval"
)

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-12 }

func TestByHand(t *testing.T) {
	grades := map[string]int{"a": 3, "b": 1, "c": 0, "d": 2, "e": -1}
	log3, log5 := math.Log2(3), math.Log2(5)
	ideal := 3 + 2/log3 + 1/2. // a d b
	for _, c := range []struct {
		ranking                     string
		k                           int
		ndcg, reciprocal, recall, s float64
	}{
		{"a d b", 10, 1, 1, 1, 1},
		{"a d b", 1, 1, 1, 1. / 3, 1},
		{"a d", 2, 1, 1, 2. / 3, 1},
		{"b x a", 3, (1 + 3/2.) / ideal, 1, 2. / 3, 1},
		{"b x a", 2, 1 / (3 + 2/log3), 1, 1. / 3, 1},
		{"e c x d", 4, 2 / log5 / ideal, 1. / 4, 1. / 3, 1}, // a negative grade gains nothing, and costs nothing
		{"e c x d", 3, 0, 0, 0, 0},
		{"x y z", 10, 0, 0, 0, 0},
		{"", 10, 0, 0, 0, 0},
	} {
		ranking := strings.Fields(c.ranking)
		got := []float64{NDCG(ranking, grades, c.k), ReciprocalRank(ranking, grades, c.k), Recall(ranking, grades, c.k), Success(ranking, grades, c.k)}
		for i, want := range []float64{c.ndcg, c.reciprocal, c.recall, c.s} {
			if !near(got[i], want) {
				t.Errorf("%q at %d: measure %d is %v, want %v", c.ranking, c.k, i, got[i], want)
			}
		}
	}
	none := map[string]int{"a": 0, "b": -2}
	if NDCG([]string{"a"}, none, 10) != 0 || Recall([]string{"a"}, none, 10) != 0 {
		t.Error("something is relevant among nothing")
	}
}

type reference struct {
	Judgements map[string]map[string]int
	Rankings   map[string][]string
	Expected   map[string]Scores
}

func readReference(t *testing.T) (ref reference) {
	t.Helper()
	b, err := os.ReadFile("testdata/trec.json")
	if err == nil {
		err = json.Unmarshal(b, &ref)
	}
	if err != nil || len(ref.Expected) == 0 {
		t.Fatal("no reference", err)
	}
	return ref
}

// The expected values are those of trec_eval's code; see made_by in the file.
func TestAsTrecEval(t *testing.T) {
	ref := readReference(t)
	r, err := Evaluate(ref.Judgements, ref.Rankings)
	if err != nil {
		t.Fatal(err)
	}
	if r.Queries != len(ref.Expected) || r.Unjudged != len(ref.Judgements)-len(ref.Expected) || r.Unjudged == 0 {
		t.Errorf("%d queries and %d unjudged, the reference has %d of %d", r.Queries, r.Unjudged, len(ref.Expected), len(ref.Judgements))
	}
	var sum Scores
	for i, q := range r.PerQuery {
		if i > 0 && r.PerQuery[i-1].Query >= q.Query {
			t.Errorf("%s before %s", r.PerQuery[i-1].Query, q.Query)
		}
		want := ref.Expected[q.Query]
		if !near(q.NDCG10, want.NDCG10) || !near(q.MRR10, want.MRR10) || !near(q.Recall100, want.Recall100) || q.Success5 != want.Success5 {
			t.Errorf("%s: %v, want %v", q.Query, q.Scores, want)
		}
		sum.NDCG10 += want.NDCG10
		sum.MRR10 += want.MRR10
		sum.Recall100 += want.Recall100
		sum.Success5 += want.Success5
	}
	n := float64(len(ref.Expected))
	if !near(r.NDCG10, sum.NDCG10/n) || !near(r.MRR10, sum.MRR10/n) || !near(r.Recall100, sum.Recall100/n) || !near(r.Success5, sum.Success5/n) {
		t.Errorf("means %v, want %v over %v", r.Scores, sum, n)
	}
	for range 20 { // maps have another order each time
		if again, err := Evaluate(ref.Judgements, ref.Rankings); err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("another result of the same: %v, %v", again, err)
		}
	}
}

func TestEvaluate(t *testing.T) {
	judgements := map[string]map[string]int{"q1": {"a": 1}, "q2": {"a": 1}, "q3": {"a": 0}}
	r, err := Evaluate(judgements, map[string][]string{"q1": {"b", "a"}, "q3": {"a"}, "q4": {"a"}})
	want := Report{
		Scores:  Scores{NDCG10: 1 / math.Log2(3) / 2, MRR10: 0.25, Recall100: 0.5, Success5: 0.5},
		Queries: 2, Unjudged: 2,
		PerQuery: []QueryScores{{"q1", Scores{1 / math.Log2(3), 0.5, 1, 1}}, {"q2", Scores{}}}, // q2 has no answer
	}
	if err != nil || !reflect.DeepEqual(r, want) {
		t.Errorf("%+v, %v, want %+v", r, err, want)
	}
	if got := r.Values(func(s Scores) float64 { return s.MRR10 }); !reflect.DeepEqual(got, []float64{0.5, 0}) {
		t.Error(got)
	}
	r.NDCG10, r.PerQuery = 0.3, r.PerQuery[1:]
	b, err := json.Marshal(r)
	const text = `{"ndcg@10":0.3,"mrr@10":0.25,"recall@100":0.5,"success@5":0.5,"queries":2,"unjudged":2,` +
		`"per_query":[{"query":"q2","ndcg@10":0,"mrr@10":0,"recall@100":0,"success@5":0}]}`
	if string(b) != text || err != nil {
		t.Errorf("%s, %v", b, err)
	}
	for _, bad := range []map[string]map[string]int{nil, {"q": {"a": 0}}} {
		if _, err := Evaluate(bad, nil); !errors.Is(err, retrieval.ErrInvalid) {
			t.Error(err)
		}
	}
	if _, err := Evaluate(judgements, map[string][]string{"q1": {"a", "b", "a"}}); !errors.Is(err, retrieval.ErrInvalid) || !strings.Contains(err.Error(), `"q1" has document "a" twice`) {
		t.Error(err)
	}
}

func TestBootstrap(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	a, better, noisy := make([]float64, 200), make([]float64, 200), make([]float64, 200)
	for i := range a {
		a[i] = random.Float64()
		better[i] = a[i] + 0.05 + 0.1*random.NormFloat64()
		noisy[i] = a[i] + 0.1*random.NormFloat64()
	}
	if got, err := Difference(a, a); got != (Interval{}) || err != nil {
		t.Errorf("a list and itself: %v, %v", got, err)
	}
	got, err := Difference(better, a)
	if err != nil || got.Low <= 0 || got.Mean < got.Low || got.Mean > got.High {
		t.Errorf("a clear shift: %v, %v", got, err)
	}
	if again, _ := Difference(better, a); again != got {
		t.Errorf("%v, then %v", got, again)
	}
	if back, _ := Difference(a, better); !near(back.Mean, -got.Mean) || back.High >= 0 {
		t.Errorf("the other way round: %v", back)
	}
	if got, err := Difference(noisy, a); err != nil || got.Low >= 0 || got.High <= 0 {
		t.Errorf("noise: %v, %v", got, err)
	}
	if got, err := Bootstrap([]float64{0.25, 0.25, 0.25}); got != (Interval{0.25, 0.25, 0.25}) || err != nil {
		t.Errorf("a constant: %v, %v", got, err)
	}
	_, err1 := Bootstrap(nil)
	_, err2 := Difference(a, a[1:])
	if !errors.Is(err1, retrieval.ErrInvalid) || !errors.Is(err2, retrieval.ErrInvalid) {
		t.Error(err1, err2)
	}
}

// For many values the interval of the mean is known: 1.96 standard errors to either side.
func TestBootstrapAsNormal(t *testing.T) {
	values := make([]float64, 400)
	for i := range values {
		values[i] = float64(i % 2) // mean 1/2, deviation 1/2, standard error 1/40
	}
	got, err := Bootstrap(values)
	if err != nil || got.Mean != 0.5 || math.Abs(got.Low-(0.5-1.96/40)) > 0.003 || math.Abs(got.High-(0.5+1.96/40)) > 0.003 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestPercentile(t *testing.T) {
	thousand := make([]float64, 1000)
	for i := range thousand {
		thousand[i] = float64(1000 - i)
	}
	for _, c := range []struct {
		values  []float64
		p, want float64
	}{
		{nil, 0.5, 0},
		{[]float64{7}, 0, 7},
		{[]float64{7}, 1, 7},
		{[]float64{9, -1}, 0.5, -1},
		{[]float64{9, -1}, 0.51, 9},
		{[]float64{3, 1, 2}, 0, 1},
		{[]float64{3, 1, 2}, 0.5, 2},
		{[]float64{3, 1, 2}, 1, 3},
		{[]float64{2, 2, 1, 2}, 0.26, 2},
		{thousand, 0.025, 25},
		{thousand, 0.0251, 26},
		{thousand, 0.975, 975},
		{thousand[900:], 0.07, 7}, // 0.07 * 100 > 7 in float64
		{thousand[900:], 0.95, 95},
	} {
		before := slices.Clone(c.values)
		if got := Percentile(c.values, c.p); got != c.want || !slices.Equal(c.values, before) {
			t.Errorf("%v of %d values is %v, want %v; the values may not change", c.p, len(c.values), got, c.want)
		}
	}
}
