package retrieval

import (
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func TestPlanOfACalibration(t *testing.T) {
	c := Calibration{
		{Recall95, 100, Plan{Sketched: 1200, Scored: 300}}, {Recall95, 10, Plan{Sketched: 400, Scored: 60}}, // in no order
		{Recall90, 10, Plan{Sketched: 200, Scored: 0}},
	}
	for _, x := range []struct {
		target Target
		k      int
		want   Plan
	}{
		{Exact, 10, Plan{}},
		{Recall99, 10, Plan{}}, // not calibrated
		{Recall95, 1, Plan{Sketched: 400, Scored: 60}},
		{Recall95, 10, Plan{Sketched: 400, Scored: 60}},
		{Recall95, 11, Plan{Sketched: 1200, Scored: 300}},
		{Recall95, 100, Plan{Sketched: 1200, Scored: 300}},
		{Recall95, 101, Plan{Sketched: 1212, Scored: 303}},
		{Recall95, MaxK, Plan{Sketched: 120_000, Scored: 30_000}},
		{Recall90, 11, Plan{Sketched: 220, Scored: 0}}, // a stage that is left out stays out
	} {
		if got := c.Plan(x.target, x.k); got != x.want {
			t.Errorf("recall %s, k %d: %+v, want %+v", x.target, x.k, got, x.want)
		}
	}
	large := Calibration{{Recall90, 1, Plan{Sketched: MaxCandidates, Scored: MaxCandidates / 2}}}
	if got := large.Plan(Recall90, MaxK); got != (Plan{Sketched: MaxCandidates, Scored: MaxCandidates}) || got.Validate() != nil {
		t.Errorf("%+v", got)
	}
}

// A search for k hits looks at k documents in every stage that it has.
func TestPlanFor(t *testing.T) {
	for _, x := range []struct {
		plan Plan
		k    int
		want Plan
	}{
		{Plan{}, 10, Plan{}},
		{Plan{Sketched: 20, Scored: 5}, 10, Plan{Sketched: 20, Scored: 10}},
		{Plan{Sketched: 8, Scored: 5}, 10, Plan{Sketched: 10, Scored: 10}},
		{Plan{Sketched: 0, Scored: 5}, 10, Plan{Sketched: 0, Scored: 10}},
		{Plan{Sketched: 5, Scored: 0}, 10, Plan{Sketched: 10, Scored: 0}},
		{Plan{Sketched: 400, Scored: 60}, 10, Plan{Sketched: 400, Scored: 60}},
	} {
		if got := x.plan.For(x.k); got != x.want {
			t.Errorf("%+v for %d hits: %+v, want %+v", x.plan, x.k, got, x.want)
		}
	}
}

// Whatever the calibration, its plans are valid, and do not shrink as k grows beyond what was measured.
func TestPlansAreValid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Default
		if rapid.Bool().Draw(t, "measured") {
			c = nil
			for _, target := range Targets {
				k := rapid.IntRange(1, MaxK).Draw(t, "k")
				c = append(c, Calibrated{target, k, Plan{Sketched: rapid.IntRange(0, MaxCandidates).Draw(t, "sketched"), Scored: rapid.IntRange(0, MaxCandidates).Draw(t, "scored")}})
			}
		}
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		target := rapid.SampledFrom(append([]Target{Exact}, Targets...)).Draw(t, "target")
		a := rapid.IntRange(1, MaxK).Draw(t, "a")
		b := rapid.IntRange(a, MaxK).Draw(t, "b")
		p, q := c.Plan(target, a), c.Plan(target, b)
		if p.Validate() != nil || q.Validate() != nil || q.Sketched < p.Sketched || q.Scored < p.Scored || p.Exact() != q.Exact() {
			t.Fatalf("recall %s: k %d by %+v, k %d by %+v", target, a, p, b, q)
		}
	})
}

func TestCalibrationValidate(t *testing.T) {
	for name, x := range map[string]struct {
		c    Calibration
		want error
	}{
		"none":       {nil, nil},
		"default":    {Default, nil},
		"exact":      {Calibration{{Exact, 10, Plan{Sketched: 1, Scored: 1}}}, ErrInvalid},
		"any share":  {Calibration{{930, 10, Plan{Sketched: 1, Scored: 1}}}, ErrInvalid},
		"k 0":        {Calibration{{Recall90, 0, Plan{Sketched: 1, Scored: 1}}}, ErrInvalid},
		"k too many": {Calibration{{Recall90, MaxK + 1, Plan{Sketched: 1, Scored: 1}}}, ErrInvalid},
		"twice":      {Calibration{{Recall90, 10, Plan{Sketched: 1, Scored: 1}}, {Recall90, 10, Plan{Sketched: 2, Scored: 2}}}, ErrInvalid},
		"below 0":    {Calibration{{Recall90, 10, Plan{Sketched: -1, Scored: 1}}}, ErrInvalid},
		"plan":       {Calibration{{Recall90, 10, Plan{Sketched: 1, Scored: MaxCandidates + 1}}}, ErrTooLarge},
		"too many":   {append(append(Calibration{}, Default...), Default...), ErrTooLarge},
	} {
		if err := x.c.Validate(); !errors.Is(err, x.want) || (err == nil) != (x.want == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
	q := query(1)
	if q.Plan = (Plan{Sketched: 0, Scored: -1}); !errors.Is(q.Validate(), ErrInvalid) {
		t.Error("a query of a plan below 0 is valid")
	}
	if q.Plan = (Plan{Sketched: MaxCandidates + 1, Scored: 1}); !errors.Is(q.Validate(), ErrTooLarge) {
		t.Error("a query of too large a plan is valid")
	}
}

func TestTargets(t *testing.T) {
	for _, target := range append([]Target{Exact}, Targets...) {
		if got, err := ParseTarget(target.String()); err != nil || got != target {
			t.Errorf("%s: %v, %v", target, got, err)
		}
	}
	for s, want := range map[string]Target{"0.90": Recall90, ".95": Recall95, "9.9e-1": Recall99} {
		if got, err := ParseTarget(s); err != nil || got != want {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "1", "0", "0.91", "NaN", "inf", "Exact", "0.9 ", "-0.9", "90%"} {
		if got, err := ParseTarget(s); !errors.Is(err, ErrInvalid) || got != 0 {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
}
