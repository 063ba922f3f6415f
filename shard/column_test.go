package shard

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ostraca/retrieval"
	"ostraca/storage"
)

// TestNamedFields: which filters depend on some fields alone.
func TestNamedFields(t *testing.T) {
	for expression, want := range map[string][]string{
		`true`:                           {},
		`fields.a == 1`:                  {"a"},
		`fields.b > 1 || fields.a.c < 2`: {"a", "b"},
		`has(fields.a) && !has(fields.b.c) && fields.a.exists(x, x == fields["c d"])`: {"a", "b", "c d"},
		`"x" in fields && fields.x in [1, 2]`:                                         {"x"},
		`fields.a.exists(fields, fields.b == 1)`:                                      {"a", "b"}, // one too many, which does no harm
		`[1].exists(id, id == 1)`:                                                     nil,
		`fields.a == 1 && id != "b"`:                                                  nil,
		`parent == "b"`:                                                               nil,
		`size(fields) == 1`:                                                           nil,
		`fields == {"a": 1}`:                                                          nil,
		`fields[fields.a] == 1`:                                                       nil,
		`fields["a" + "b"] == 1`:                                                      nil,
		`"a" in fields.b && fields.exists(k, k == "c")`:                               nil,
		`fields.a in fields`:                                                          nil,
		`.fields.a == 1`:                                                              {"a"},
		`.id == "a"`:                                                                  nil,
		`fields.a + fields.b + fields.c + fields.d == fields.e`:                       nil, // too many
		`fields.a + fields.b + fields.c + fields.d == fields.a`:                       {"a", "b", "c", "d"},
	} {
		f, err := compileFilter(expression)
		if err != nil {
			t.Fatal(err)
		}
		if f.narrow != (want != nil) || want != nil && !slices.Equal(f.fields, want) {
			t.Errorf("%s: %v, %q", expression, f.narrow, f.fields)
		}
	}
}

// byFields evaluates a narrow filter as over columns.
func (f *filter) byFields(raw []byte) (bool, error) {
	fields := map[string]any{}
	for i, name := range f.fields {
		value, err := fieldValue(raw, f.quoted[i])
		if err == nil && value != nil {
			fields[name], err = parseValue(value)
		}
		if err != nil {
			return false, err
		}
	}
	ok, _, err := f.eval(&filtered{id: "a#b", fields: fields})
	return ok, err
}

// TestFieldValue: a field is found in the bytes of all, as JSON finds it.
func TestFieldValue(t *testing.T) {
	for _, s := range []string{``, `{}`, `{"a":1}`, `{"a":"}"}`, `{"a":"\\\"","b":[1,{"c":",:{"}],"c":{"a":{"b":[]}},"d":null}`, `{"":"","\"":true,"\\":-1.5e+300,"a\u2028b":[[[]]],"é<&>":"\u0001"}`} {
		raw, err := CanonicalFields([]byte(s))
		if err != nil {
			t.Fatal(err)
		}
		object := map[string]any{}
		if err := parseFields(raw, object); err != nil {
			t.Fatal(err)
		}
		for _, name := range append(slices.Collect(maps.Keys(object)), "absent", "c:") {
			quoted, err := marshal(name)
			if err != nil {
				t.Fatal(err)
			}
			got, err := fieldValue(raw, quoted)
			want, ok := object[name]
			if err != nil || (got != nil) != ok {
				t.Fatalf("%s: %q is %s, %v", raw, name, got, err)
			}
			if !ok {
				continue
			}
			if value, err := parseValue(got); err != nil || !reflect.DeepEqual(value, want) {
				t.Errorf("%s: %q is %v, %v, want %v", raw, name, value, err, want)
			}
		}
	}
	for _, broken := range []string{`{"a"}`, `{"a`, `{"a":`, `{"a":}`, `{"b":1,"a":"x}`, `{,}`, `{"a":1 }`, `{"a":[1}`, `{"a":"\`} {
		f, err := compileFilter("fields.a == 1")
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := f.byFields([]byte(broken)); ok || !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("%s: %v, %v", broken, ok, err)
		}
	}
}

// TestColumns: what was read once is not read again for another filter, unless it is too large; what too many steps are, is so over columns too.
func TestColumns(t *testing.T) {
	r := newRig(t)
	puts := many(1000, 1)
	puts[500].Document.Fields = []byte(`{"number":3,"tags":[` + strings.Repeat("0,", 30_000) + `0]}`)
	v := r.filled(map[string][]*Put{"papers": puts})
	defer v.close()
	sees := func(expression string, lookups int) {
		t.Helper()
		f, err := compileFilter(expression)
		if err != nil {
			t.Fatal(err)
		}
		g := judging{view: v, ctx: t.Context(), collection: "papers", filter: f, was: &verdict{}, work: math.MaxUint64}
		columns, back, err := g.columns()
		if err != nil || (columns == nil) != (lookups < 0) {
			t.Fatalf("%s: %v, %v", expression, columns, err)
		}
		if back(); columns == nil {
			return
		}
		if g.work != math.MaxUint64-uint64(lookups) {
			t.Errorf("%s: %d bytes were read, want %d", expression, math.MaxUint64-g.work, lookups)
		}
	}
	all := 0
	for _, p := range puts {
		all += len(p.Document.Fields)
	}
	sees("fields.number == 3", all)
	sees("fields.number > 3", 0)
	sees("fields.number > 3 || fields.absent == 4", all)
	sees("fields.absent != 4", 0)
	sees("true", 0)
	v.verdicts.large = 100_000
	sees("fields.tags == []", -1)
	sees("fields.tags == [] || fields.number == 3", -1)
	sees("fields.number < 3", 0)
	for _, few := range []int{0, fewJudged} {
		v.verdicts.few = few
		for _, large := range []int{0, maxColumnBytes} {
			v.verdicts.large = large
			v.verdicts.columns.kept.Purge()
			f, err := compileFilter(fmt.Sprintf("fields.tags.exists(t, t == %d)", few+large+1))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := v.selected(t.Context(), "papers", f, math.MaxInt, math.MaxUint64); !errors.Is(err, retrieval.ErrTooLarge) {
				t.Errorf("%d, %d: %v", few, large, err)
			}
			if _, err := v.selected(t.Context(), "papers", f, math.MaxInt, 3000); !errors.Is(err, errManyUnknown) && !errors.Is(err, retrieval.ErrTooLarge) {
				t.Errorf("%d, %d: %v", few, large, err)
			}
		}
	}
}
