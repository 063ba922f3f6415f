package shard

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ostraca/retrieval"
)

func TestCanonicalFields(t *testing.T) {
	for raw, want := range map[string]string{
		``:                                  ``,
		" \n\t ":                            ``,
		`{}`:                                ``,
		` { } `:                             ``,
		`{"b":1,"a":2}`:                     `{"a":2,"b":1}`,
		`{"a":{"z":1,"y":[{"d":1,"c":2}]}}`: `{"a":{"y":[{"c":2,"d":1}],"z":1}}`,
		`{"n":[1.50,1e400,-0,0.10000000000000000000001,12345678901234567890123]}`: `{"n":[1.50,1e400,-0,0.10000000000000000000001,12345678901234567890123]}`,
		`{"a":1,"a":2}`:                        `{"a":2}`,
		`{"a":{"x":1},"a":{"y":2}}`:            `{"a":{"y":2}}`,
		`{"A":1,"a":2}`:                        `{"A":1,"a":2}`,
		`{"\u0061":"\u00e9\ud83c\udffa\/<>&"}`: `{"a":"é🏺/<>&"}`,
		`{"a":null,"b":true,"":false}`:         `{"":false,"a":null,"b":true}`,
		"{\"a\":\"\xff\"}":                     `{"a":"` + "\ufffd" + `"}`,
		`{"a":"\ud800"}`:                       `{"a":"` + "\ufffd" + `"}`,
		`{"a":"\u0000\n\"\\"}`:                 `{"a":"\u0000\n\"\\"}`,
		`{"é":1,"z":2,"🏺":3}`:                  `{"z":2,"é":1,"🏺":3}`,
	} {
		got, err := CanonicalFields([]byte(raw))
		if err != nil || string(got) != want || (got == nil) != (want == "") {
			t.Errorf("%s: %v: %q, not %q", raw, err, got, want)
		}
	}
	for _, raw := range []string{`[]`, `1`, `"a"`, `{`, `{"a"}`, `{"a":01}`, `{"a":.5}`, `{"a":1} {}`, `{}x`, `{}]`, `{a:1}`, `{"a":NaN}`, "\x00", `{"a":1,}`, "{\"a\":\"\n\"}"} {
		if got, err := CanonicalFields([]byte(raw)); !errors.Is(err, retrieval.ErrInvalid) {
			t.Errorf("%s: %v: %s", raw, err, got)
		}
	}
	if _, err := CanonicalFields([]byte(`{"a":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`)); !errors.Is(err, retrieval.ErrInvalid) {
		t.Errorf("20,000 levels: %v", err)
	}
}

func TestFieldsLimit(t *testing.T) {
	fill := func(n int, s string) []byte { return []byte(`{"a":"` + strings.Repeat(s, n) + `"}`) }
	empty := len(fill(0, ""))
	for _, c := range []struct {
		raw  []byte
		want error
	}{
		{fill(MaxFieldsBytes-empty, "x"), nil},
		{fill(MaxFieldsBytes-empty+1, "x"), retrieval.ErrTooLarge},
		{append(fill(MaxFieldsBytes-empty, "x"), ' '), retrieval.ErrTooLarge},
		{fill(MaxFieldsBytes/2, "\xff"), retrieval.ErrTooLarge}, // three bytes each, once it is canonical
		{fill((MaxFieldsBytes-empty)/3, "\xff"), nil},
	} {
		got, err := CanonicalFields(c.raw)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || len(got) > MaxFieldsBytes || (err == nil) != (len(got) > 0) {
			t.Errorf("%d bytes: %v: %d bytes", len(c.raw), err, len(got))
		}
	}
}

// decode reads fields as plain JSON, numbers as they are written.
func decode(t interface{ Fatal(...any) }, fields []byte) map[string]any {
	out := map[string]any{}
	if len(fields) == 0 {
		return out
	}
	d := json.NewDecoder(bytes.NewReader(fields))
	d.UseNumber()
	if err := d.Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestFieldsAreCanonical: what was put comes back, whatever the spaces and the order were, and equal fields are equal bytes.
func TestFieldsAreCanonical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		object := rapid.MapOfN(rapid.String(), someValue, 0, 5).Draw(t, "object")
		want, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		var spaced bytes.Buffer
		names := rapid.Permutation(slices.Sorted(maps.Keys(object))).Draw(t, "order")
		spaced.WriteString(" {\n")
		for i, name := range names {
			if i > 0 {
				spaced.WriteString(" ,\t")
			}
			k, _ := json.Marshal(name)
			v, err := json.MarshalIndent(object[name], "\t", "  ")
			if err != nil {
				t.Fatal(err)
			}
			spaced.Write(slices.Concat(k, []byte(" : "), v))
		}
		spaced.WriteString("\r\n} ")
		a, err1 := CanonicalFields(want)
		b, err2 := CanonicalFields(spaced.Bytes())
		if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
			t.Fatalf("%v, %v:\n%s\n%s", err1, err2, a, b)
		}
		if again, err := CanonicalFields(a); err != nil || !bytes.Equal(again, a) || checkFields(a) != nil {
			t.Fatalf("not idempotent: %v:\n%s\n%s", err, a, again)
		}
		if got, want := decode(t, a), decode(t, want); !reflect.DeepEqual(got, want) {
			t.Fatalf("%v, not %v", got, want)
		}
		if len(object) > 0 && checkFields(spaced.Bytes()) == nil {
			t.Fatalf("spaces are canonical: %s", spaced.Bytes())
		}
	})
}

// TestPatchFields is what a map does, and its result is canonical.
func TestPatchFields(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fields, patch := someFields.Draw(t, "fields"), someFields.Draw(t, "patch")
		if rapid.Bool().Draw(t, "removes") && len(fields) > 0 { // a patch that names what is there
			change := map[string]any{}
			for _, name := range slices.Sorted(maps.Keys(decode(t, fields))) {
				change[name] = rapid.SampledFrom([]any{nil, json.Number("1.0"), "x"}).Draw(t, "to")
			}
			raw, err := json.Marshal(change)
			if err != nil {
				t.Fatal(err)
			}
			if patch, err = CanonicalFields(raw); err != nil {
				t.Fatal(err)
			}
		}
		want := decode(t, fields)
		for name, v := range decode(t, patch) {
			if want[name] = v; v == nil {
				delete(want, name)
			}
		}
		got, err := patchFields(fields, patch)
		if err != nil || checkFields(got) != nil || !reflect.DeepEqual(decode(t, got), want) {
			t.Fatalf("%v, %v: %s, not %v", err, checkFields(got), got, want)
		}
	})
	for _, c := range [][3]string{
		{`{"a":1.50}`, `{"b":{"c":null}}`, `{"a":1.50,"b":{"c":null}}`},
		{`{"a":1}`, `{"a":null}`, ``},
		{``, `{"a":null}`, ``},
		{`{"a":1}`, ``, `{"a":1}`},
		{`{"a":null}`, `{"b":"\u2028"}`, `{"a":null,"b":"\u2028"}`},
	} {
		if got, err := patchFields([]byte(c[0]), []byte(c[1])); err != nil || string(got) != c[2] {
			t.Errorf("%v: %v: %s", c, err, got)
		}
	}
	if _, err := patchFields([]byte(`{`), nil); !errors.Is(err, retrieval.ErrCorrupt) {
		t.Error(err)
	}
}
