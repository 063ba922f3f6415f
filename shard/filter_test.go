package shard

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"ostraca/retrieval"
	"ostraca/storage"
)

// passes tells whether a document with these fields passes a filter.
func passes(t testing.TB, expression, id, fields string) bool {
	t.Helper()
	f, err := compileFilter(expression)
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	ok, _, err := f.lets(id, func() ([]byte, error) { return []byte(fields), nil })
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	if f.narrow {
		if narrow, err := f.byFields([]byte(fields)); narrow != ok || err != nil {
			t.Errorf("%s: %v over all fields, %v over those it asks for: %v", expression, ok, narrow, err)
		}
	}
	return ok
}

// TestFilterLanguage: what docs/endpoint.md promises of filters.
func TestFilterLanguage(t *testing.T) {
	const fields = `{"a b":1,"big":9007199254740993,"flag":true,"half":0.5,"huge":1e999,"lang":"en","nest":{"deep":[{"n":1},{"n":2.5}]},"nothing":null,"one":1.0,"over":9223372036854775808,"tags":["x","y",3],"year":2020}`
	for expression, want := range map[string]bool{
		`fields.year >= 2020 && fields.lang == "en"`: true,
		`fields.year > 2020`:                         false,
		`fields.year == 2020.0`:                      true,
		`fields.year < 2020.5`:                       true,
		`fields.half < 1`:                            true,
		`fields.one == 1`:                            true,
		`fields.one in [1, 2]`:                       true,
		`2020 == fields.year`:                        true,
		`fields.year in [2019, 2020]`:                true,
		`fields.big == 9007199254740993`:             true, // beyond 2^53, to the digit
		`fields.big == 9007199254740992`:             false,
		`fields.over > 9.2e18`:                       true,
		`fields.huge > 1e300`:                        true,
		`fields.tags.exists(t, t == "x")`:            true,
		`fields.tags.exists(t, t == "z")`:            false,
		`fields.tags.all(t, t != "z")`:               true,
		`"y" in fields.tags`:                         true,
		`3.0 in fields.tags`:                         true,
		`size(fields.tags) == 3`:                     true,
		`has(fields.lang)`:                           true,
		`has(fields.nothing)`:                        true,
		`has(fields.absent)`:                         false,
		`!has(fields.absent)`:                        true,
		`fields.nothing == null`:                     true,
		`fields["a b"] == 1`:                         true,
		`"a b" in fields`:                            true,
		`fields.nest.deep[1].n > 2`:                  true,
		`fields.nest.deep.exists(d, d.n == 1)`:       true,
		`fields.flag`:                                true,
		`!fields.flag`:                               false,
		`fields.lang`:                                false, // not true, and not false
		`id == "p#1" && parent == "p"`:               true,
		`id.startsWith("p")`:                         true,
		`id.matches("^p#[0-9]+$")`:                   true,
		`parent.endsWith("#1")`:                      false,
		`true`:                                       true,
		`fields.absent == 1`:                         false,
		`fields.absent != 1`:                         false,
		`!(fields.absent == 1)`:                      false,
		`fields.absent == 1 || id == "p#1"`:          true,
		`fields.absent == 1 || id == "q"`:            false,
		`fields.absent.more == 1`:                    false,
		`fields.lang.more == 1`:                      false,
		`fields.lang > 3`:                            false,
		`fields.lang <= 3`:                           false,
		`fields.lang == 3`:                           false,
		`fields.tags > 3`:                            false,
		`fields.flag == 1`:                           false,
		`fields.tags[7] == "x"`:                      false,
		`fields.year / 0 == 1`:                       false,
		`fields.big * fields.big > 0`:                false, // overflows
		`id.matches(fields.lang + "(")`:              false,
		`fields.year.startsWith("2")`:                false,
	} {
		if got := passes(t, expression, "p#1", fields); got != want {
			t.Errorf("%s: %v", expression, got)
		}
	}
	if !passes(t, `size(fields) == 0 && !has(fields.a)`, "x", "") {
		t.Error("a document without fields")
	}
}

// TestFilterRefusals: what is no filter is refused before anything is read, in words that help.
func TestFilterRefusals(t *testing.T) {
	if err := CheckFilter(""); err != nil {
		t.Error(err)
	}
	for expression, told := range map[string]string{
		`year == 2020`:             "line 1, column 1: undeclared reference to 'year'",
		`fields.year = 2020`:       "Syntax error",
		`fields.year ==`:           "Syntax error",
		`fields.`:                  "Syntax error",
		`1 + 2`:                    "type int",
		`"en"`:                     "type string",
		`id`:                       "type string",
		`fields`:                   "type map",
		`id == 3`:                  "no matching overload",
		`id.matches("(")`:          "invalid matches argument",
		`now() > fields.t`:         "undeclared reference",
		"true\xff":                 "UTF-8",
		" ":                        "Syntax error",
		strings.Repeat("(", 2000):  "",
		strings.Repeat("!", 4000):  "",
		strings.Repeat("[", 4000):  "",
		strings.Repeat("a.", 2000): "",
	} {
		err := CheckFilter(expression)
		if !errors.Is(err, retrieval.ErrInvalid) || !strings.Contains(err.Error(), told) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 2000 {
			t.Errorf("%.50q: %v, want one that tells %q", expression, err, told)
		}
	}
	long := func(n int) string { return `id == "` + strings.Repeat("x", n-8) + `"` }
	if err := CheckFilter(long(MaxFilterBytes)); err != nil {
		t.Error(err)
	}
	if err := CheckFilter(long(MaxFilterBytes + 1)); !errors.Is(err, retrieval.ErrTooLarge) {
		t.Error(err)
	}
}

// TestFilterCost: a filter is ended after its steps over one document, and its limit is told; what fields hold cannot make it endless.
func TestFilterCost(t *testing.T) {
	tags := make([]int, 20_000)
	raw, err := json.Marshal(map[string]any{"a": tags, "s": strings.Repeat("a", 20_000)})
	if err != nil {
		t.Fatal(err)
	}
	for expression, over := range map[string]bool{
		`1 in fields.a`:                                      false,
		`fields.s.contains("b")`:                             false,
		`fields.a.exists(x, x == 1)`:                         true,
		`fields.a.all(x, 1 in fields.a)`:                     false,
		`fields.a.exists(x, fields.a.exists(y, x + y == 1))`: true,
		strings.Repeat(`fields.a.exists(x, `, 200) + "x == 1" + strings.Repeat(")", 200): true,
		`fields.a.map(x, fields.a).size() == 1`:                                          true,
		`fields.a.exists(x, fields.s.matches("(a*)*(a*)*b$"))`:                           true,
		`["a"]` + strings.Repeat(`.map(x, x+x)`, 200) + ` == []`:                         true,
		`[[1]]` + strings.Repeat(`.map(x, x+x)`, 200) + ` == []`:                         false,
	} {
		f, err := compileFilter(expression)
		if err != nil {
			t.Fatal(err)
		}
		ok, work, err := f.lets("d", func() ([]byte, error) { return raw, nil })
		if ok || over != errors.Is(err, retrieval.ErrTooLarge) || !over && err != nil || work > 10*MaxFilterCost {
			t.Errorf("%.60s: %v, %v after %d", expression, ok, err, work)
		}
	}
}

// TestFilterFields: fields are read only where they decide, and what is wrong with them is an error.
func TestFilterFields(t *testing.T) {
	broken := func() ([]byte, error) { return nil, storage.ErrCorrupt }
	for expression, reads := range map[string]bool{`id == "a"`: false, `id == "b" && fields.x == 1`: false, `fields.x == 1 || parent == "b"`: true, `has(fields.x)`: true} {
		f, err := compileFilter(expression)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := f.lets("a", broken); errors.Is(err, storage.ErrCorrupt) != reads {
			t.Errorf("%s: %v", expression, err)
		}
	}
	f, err := compileFilter(`has(fields.x)`)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.lets("a", func() ([]byte, error) { return []byte("{"), nil }); !errors.Is(err, storage.ErrCorrupt) {
		t.Error(err)
	}
	d := putOf("a", 7, 3).Document
	if fields, err := rowFields("a", appendRow(nil, &d)); err != nil || string(fields) != string(d.Fields) {
		t.Errorf("%s, %v", fields, err)
	}
}

// TestFilterKept: compiled filters are kept, the last ones, and do not mix.
func TestFilterKept(t *testing.T) {
	for i := range 2 * keptFilters {
		if !passes(t, fmt.Sprintf("fields.n == %d", i), "a", fmt.Sprintf(`{"n":%d}`, i)) || passes(t, fmt.Sprintf("fields.n == %d", i), "a", fmt.Sprintf(`{"n":%d}`, i+1)) {
			t.Fatal(i)
		}
	}
	c, err := filters()
	if err != nil || c.kept.Len() != keptFilters {
		t.Errorf("%d are kept: %v", c.kept.Len(), err)
	}
}

// FuzzFilter: whatever the expression and the fields, a filter is refused or answers.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{`fields.a > 1`, `"x" in fields.a`, `fields.a.exists(t, t == id)`, `has(fields.a.b) && parent.size() > 2`, `fields.a[0].b + fields.a[1] < 1.5e3`,
		`timestamp(fields.t) > timestamp("2020-01-01T00:00:00Z")`, `fields.map(k, fields[k]) == [] ? true : id.matches(fields.r)`} {
		f.Add(s, []byte(`{"a":[{"b":1},-2.5e-3,"x",null,true],"r":"^a","t":"2021-01-01T00:00:00Z"}`))
	}
	f.Fuzz(func(t *testing.T, expression string, raw []byte) {
		x, err := compileFilter(expression)
		if err != nil {
			if !errors.Is(err, retrieval.ErrInvalid) && !errors.Is(err, retrieval.ErrTooLarge) {
				t.Fatal(err)
			}
			return
		}
		fields, err := CanonicalFields(raw)
		if err != nil || x == nil {
			return
		}
		read := func() ([]byte, error) { return fields, nil }
		first, _, err := x.lets("a#b", read)
		if err != nil && !errors.Is(err, retrieval.ErrTooLarge) {
			t.Fatal(err)
		}
		if x.narrow {
			if ok, again := x.byFields(fields); ok != first || (again == nil) != (err == nil) {
				t.Fatalf("%v over all fields, %v over those it asks for: %v, %v", first, ok, err, again)
			}
		}
		if second, _, again := x.lets("a#b", read); second != first || (again == nil) != (err == nil) {
			t.Fatalf("%v, then %v: %v, %v", first, second, err, again)
		}
	})
}
