package shard

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ostraca/retrieval"
	"ostraca/retrieval/index"
)

// Generators of what passes the door.

var (
	someID = rapid.OneOf(
		rapid.SampledFrom([]string{"a", "b", "a#1", "a#2", "a#1#2", "#", "é 🏺#x", strings.Repeat("x", retrieval.MaxIDBytes)}),
		rapid.StringMatching(`[a-z]{1,6}(#[0-9]{1,3}){0,2}`))
	someName    = rapid.StringMatching(`[a-z0-9_][a-z0-9_-]{0,20}`)
	someVersion = rapid.OneOf(rapid.SampledFrom([]uint64{0, 1, 127, 128, 1<<63 - 1, 1 << 63, math.MaxUint64}), rapid.Uint64())
	someEpoch   = rapid.OneOf(rapid.SampledFrom([]uint64{0, 1, 1 << 63}), rapid.Uint64Range(0, 1<<63))

	someValue = rapid.Custom(func(t *rapid.T) any { return value(t, 3) })

	someFields = rapid.Custom(func(t *rapid.T) []byte {
		raw, err := json.Marshal(rapid.MapOfN(rapid.String(), someValue, 0, 4).Draw(t, "fields"))
		if err != nil {
			t.Fatal(err)
		}
		fields, err := CanonicalFields(raw)
		if err != nil {
			t.Fatal(err)
		}
		return fields
	})

	someCodes = rapid.Custom(func(t *rapid.T) retrieval.Codes {
		n, width := rapid.IntRange(0, 5).Draw(t, "tokens"), rapid.SampledFrom([]int{1, 3, 4, 16, 130}).Draw(t, "width")
		if rapid.IntRange(0, 19).Draw(t, "long") == 0 {
			n, width = rapid.IntRange(250, 600).Draw(t, "tokens"), 5
		}
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 4))
		x := make([]float32, n*width)
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
		c, err := index.Quantize(rapid.SampledFrom(retrieval.Codecs).Draw(t, "codec"), x, width)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return retrieval.Codes{Codec: c.Codec, Width: width}
		}
		return index.Pool(c)
	})

	someCalibration = rapid.Custom(func(t *rapid.T) (c retrieval.Calibration) {
		for i := range rapid.IntRange(0, len(retrieval.Targets)).Draw(t, "plans") {
			p := retrieval.Plan{Sketched: rapid.IntRange(0, retrieval.MaxCandidates).Draw(t, "sketched"), Scored: rapid.IntRange(0, retrieval.MaxCandidates).Draw(t, "scored")}
			c = append(c, retrieval.Calibrated{Target: retrieval.Targets[i], K: rapid.IntRange(1, retrieval.MaxK).Draw(t, "k"), Plan: p})
		}
		return c
	})

	someDocument = rapid.Custom(func(t *rapid.T) Document {
		d := Document{ID: someID.Draw(t, "id"), Text: string(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "text")), Fields: someFields.Draw(t, "fields")}
		if rapid.IntRange(0, 9).Draw(t, "bare") == 0 {
			return d
		}
		d.Codes = someCodes.Draw(t, "codes")
		n := d.Codes.Len()
		if rapid.Bool().Draw(t, "spans") {
			for range n {
				start := rapid.IntRange(0, len(d.Text)).Draw(t, "start")
				d.Spans = append(d.Spans, retrieval.Span{Start: uint32(start), End: uint32(rapid.IntRange(start, len(d.Text)).Draw(t, "end"))})
			}
		}
		return d
	})

	someReduction = rapid.Custom(func(t *rapid.T) Reduction {
		return Reduction{Pool: rapid.SampledFrom([]int{0, 0, 2, 3, MaxPool}).Draw(t, "pool"), DropPunctuation: rapid.Bool().Draw(t, "punctuation"),
			Keep: rapid.SampledFrom([]int{0, 0, 1, 500, 999}).Draw(t, "share")}
	})

	someConfiguration = rapid.Custom(func(t *rapid.T) Configuration {
		c := Configuration{Codec: rapid.SampledFrom(retrieval.Codecs).Draw(t, "codec"), Width: rapid.IntRange(1, retrieval.MaxWidth).Draw(t, "width"),
			Epoch: someEpoch.Draw(t, "epoch"), Calibration: someCalibration.Draw(t, "calibration")}
		copy(c.Key[:], rapid.SliceOfN(rapid.Byte(), 0, 32).Draw(t, "key"))
		c.Encoder = rapid.StringMatching(`[0-9a-f]{0,64}`).Draw(t, "encoder")
		if rapid.Bool().Draw(t, "projected") {
			c.Width = rapid.IntRange(1, 5).Draw(t, "width")
			c = projected(c, rapid.IntRange(6, 9).Draw(t, "from"), rapid.Uint64().Draw(t, "projection"))
		}
		if c.Reduction = someReduction.Draw(t, "reduction"); c.Encoder == "" {
			c.Reduction.Keep = 0
		}
		if rapid.Bool().Draw(t, "lists") {
			c = listed(c, rapid.IntRange(1, 3).Draw(t, "centroids"), rapid.Uint64().Draw(t, "seed"))
			for i := range c.Calibration {
				c.Calibration[i].Plan.Lists = rapid.IntRange(0, retrieval.MaxLists).Draw(t, "probed")
			}
		}
		return c
	})

	someOperation = rapid.Custom(func(t *rapid.T) Operation {
		o := Operation{ID: NewOperationID(rapid.Int64Range(0, math.MaxInt64).Draw(t, "time"), rapid.Uint64().Draw(t, "random")), Collection: someName.Draw(t, "collection")}
		condition := Condition{Kind: ConditionKind(rapid.IntRange(0, 2).Draw(t, "condition"))}
		if condition.Kind == IfVersion {
			condition.Version = someVersion.Draw(t, "version")
		}
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			o.Body = &Put{condition, someEpoch.Draw(t, "epoch"), someDocument.Draw(t, "document")}
		case 1:
			if condition.Kind == IfAbsent {
				condition.Kind = Always
			}
			o.Body = &Patch{condition, someID.Draw(t, "id"), someFields.Draw(t, "patch")}
		case 2:
			o.Body = &Forget{rapid.SliceOfN(someID, 1, 4).Draw(t, "ids"), rapid.SliceOfN(someID, 0, 4).Draw(t, "parents")}
		default:
			c := &Configure{Change: rapid.SampledFrom([]Change{Create, Alter, Drop}).Draw(t, "change")}
			if c.Change != Drop {
				c.Configuration = someConfiguration.Draw(t, "configuration")
			}
			o.Body = c
		}
		return o
	})
)

// value draws a JSON value.
func value(t *rapid.T, depth int) any {
	switch k := rapid.IntRange(0, 5+2*min(depth, 1)).Draw(t, "value"); k {
	case 0:
		return nil
	case 1:
		return rapid.Bool().Draw(t, "bool")
	case 2:
		return rapid.Map(rapid.StringMatching(`-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?`), func(s string) json.Number { return json.Number(s) }).Draw(t, "number")
	case 6:
		out := []any{}
		for range rapid.IntRange(0, 3).Draw(t, "items") {
			out = append(out, value(t, depth-1))
		}
		return out
	case 7:
		out := map[string]any{}
		for range rapid.IntRange(0, 3).Draw(t, "keys") {
			out[rapid.String().Draw(t, "key")] = value(t, depth-1)
		}
		return out
	default:
		return rapid.String().Draw(t, "string")
	}
}

// tidy makes empty slices of what was read nil, as the generators have them.
func tidy(o Operation) Operation {
	none := func(b *[]byte) {
		if len(*b) == 0 {
			*b = nil
		}
	}
	switch body := o.Body.(type) {
	case *Put:
		tidyDocument(&body.Document)
	case *Patch:
		none(&body.Fields)
	case *Forget:
		for _, all := range []*[]string{&body.IDs, &body.Parents} {
			if len(*all) == 0 {
				*all = nil
			}
		}
	}
	return o
}

func tidyDocument(d *Document) {
	if len(d.Fields) == 0 {
		d.Fields = nil
	}
	if len(d.Codes.Rows) == 0 {
		d.Codes.Rows, d.Codes.Clusters, d.Codes.Coarse, d.Codes.Sketch = nil, nil, retrieval.Pooled{}, retrieval.Pooled{}
	}
	if len(d.Codes.Scales) == 0 {
		d.Codes.Scales = nil
	}
}

func TestOperationsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stamp := rapid.Int64().Draw(t, "stamp")
		operations := rapid.SliceOfN(someOperation, 1, 4).Draw(t, "operations")
		var encoded [][]byte
		for i := range operations {
			if err := operations[i].check(); err != nil {
				t.Fatal(err)
			}
			b := appendOperation(nil, &operations[i])
			got, err := parseOperation(b)
			if want := tidy(operations[i]); err != nil || !reflect.DeepEqual(tidy(got), want) {
				t.Fatalf("%v:\n%+v\n%+v", err, got.Body, want.Body)
			}
			if _, err := parseOperation(append(slices.Clip(b), 0)); !errors.Is(err, retrieval.ErrCorrupt) {
				t.Fatalf("a byte more: %v", err)
			}
			if _, err := parseOperation(b[:rapid.IntRange(0, len(b)-1).Draw(t, "cut")]); !errors.Is(err, retrieval.ErrCorrupt) {
				t.Fatalf("cut: %v", err)
			}
			encoded = append(encoded, b)
		}
		b := appendEntry(nil, stamp, encoded)
		at, got, err := parseEntry(b)
		if err != nil || at != stamp || len(got) != len(operations) {
			t.Fatalf("%v: at %d, not %d: %d operations of %d", err, at, stamp, len(got), len(operations))
		}
		for i := range got {
			if !reflect.DeepEqual(tidy(got[i]), tidy(operations[i])) {
				t.Fatalf("operation %d:\n%+v\n%+v", i, got[i].Body, operations[i].Body)
			}
		}
		if _, _, err := parseEntry(b[:rapid.IntRange(0, len(b)-1).Draw(t, "cut")]); !errors.Is(err, retrieval.ErrCorrupt) {
			t.Fatalf("cut: %v", err)
		}
		if _, _, err := parseEntry(append(b, 0)); !errors.Is(err, retrieval.ErrCorrupt) {
			t.Fatalf("a byte more: %v", err)
		}
	})
}

func TestRowsConfigurationsAndOutcomesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := someDocument.Draw(t, "document")
		row := appendRow(nil, &d)
		if n := rowBytes(&d); n != len(row) {
			t.Fatalf("a row of %d bytes was said to have %d", len(row), n)
		}
		got, err := parseRow(d.ID, row)
		if tidyDocument(&got); err != nil || !reflect.DeepEqual(got, d) {
			t.Fatalf("%v:\n%+v\n%+v", err, got, d)
		}
		version := someVersion.Draw(t, "version")
		for i := range 4 {
			codes, spans := i&1 > 0, i&2 > 0
			f, size, err := found(d.ID, row, []byte{7: 9}, codes, spans)
			if err != nil || f.Version != 9 || f.Text != d.Text || !bytes.Equal(f.Fields, d.Fields) || size < len(d.Text) || (f.Codes.Len() == d.Codes.Len()) != (codes || d.Codes.Len() == 0) {
				t.Fatalf("%v: %+v of %d bytes", err, f, size)
			}
			if (len(f.Spans) == len(d.Spans)) != (codes || spans || len(d.Spans) == 0) {
				t.Fatalf("codes %v, spans %v: %d spans of %d", codes, spans, len(f.Spans), len(d.Spans))
			}
			back, err := fromFound(toFound([]Found{{f.Document, version}}))
			if tidyDocument(&f.Document); err == nil {
				tidyDocument(&back[0].Document)
			}
			if err != nil || !reflect.DeepEqual(back, []Found{{f.Document, version}}) {
				t.Fatalf("%v: %+v", err, back)
			}
		}
		c := someConfiguration.Draw(t, "configuration")
		if got, err := parseConfiguration(appendConfiguration(nil, c)); err != nil || !got.Equal(c) {
			t.Fatalf("%v: %+v, not %+v", err, got, c)
		}
		o := Outcome{Code: Code(rapid.IntRange(0, 255).Draw(t, "code")), Version: version, Count: someEpoch.Draw(t, "count")}
		if got, err := parseOutcome(appendOutcome(nil, o)); err != nil || got != o {
			t.Fatalf("%v: %+v, not %+v", err, got, o)
		}
	})
}

// goldenDocument has one of everything.
func goldenDocument() Document {
	return Document{ID: "a#1", Text: "bé", Fields: []byte(`{"n":1.50}`), Spans: []retrieval.Span{{Start: 0, End: 1}, {Start: 1, End: 3}},
		Codes: retrieval.Codes{Codec: retrieval.Int8, Width: 3, Rows: []byte{1, 128, 255, 128, 127, 129, 130, 128}, Scales: []uint16{1, retrieval.MaxScale},
			Coarse: retrieval.Pooled{Rows: []byte{2, 3, 4, 128}, Scales: []uint16{5}}, Sketch: retrieval.Pooled{Rows: []byte{6, 7, 8, 128}, Scales: []uint16{9}}}}
}

func goldenConfiguration() Configuration {
	return Configuration{Key: [32]byte{0: 1, 31: 2}, Codec: retrieval.Int8, Width: 384, Encoder: "ab", Epoch: 300,
		Calibration: retrieval.Calibration{{Target: retrieval.Recall95, K: 10, Plan: retrieval.Plan{Sketched: 400, Scored: 60}}}}
}

// TestFormat: the bytes of version 2, which lie in logs and state files, do not change silently.
func TestFormat(t *testing.T) {
	const (
		id     = "0000018bcfe56800" + "0102030405060708" + "00000003" // 1,700,000,000,000 ms, third of its batch
		row    = "03" + "62c3a9" + "0a" + "7b226e223a312e35307d" + "04" + "696e7438" + "03" + "02" + "0180ff80" + "7f818280" + "0100" + "ff7f" + "02030480" + "0500" + "06070880" + "0900" + "02" + "0001" + "0102"
		secret = "0100000000000000000000000000000000000000000000000000000000000002"
		config = secret + "04" + "696e7438" + "8003" + "02" + "6162" + "ac02" + "01" + "b607" + "0a" + "9003" + "3c" + "00"
	)
	d := goldenDocument()
	at := NewOperationID(1_700_000_000_000, 0x0102030405060708).Plus(3)
	operation := func(body any) []byte { return appendOperation(nil, &Operation{at, "c", body}) }
	put := operation(&Put{Condition{Kind: IfVersion, Version: 1 << 16}, 300, d})
	for _, c := range []struct {
		what string
		got  []byte
		want string
	}{
		{"row", appendRow(nil, &d), row},
		{"bare row", appendRow(nil, &Document{}), "0000" + "00" + "00" + "00" + "00"},
		{"configuration", appendConfiguration(nil, goldenConfiguration()), config},
		{"outcome", appendOutcome(nil, Outcome{Code: Changed, Version: 1<<16 | 5, Count: 7, Reason: "not kept"}), "02" + "858004" + "07"},
		{"put", put, id + "01" + "0163" + "02" + "808004" + "ac02" + "03" + "612331" + row},
		{"put if absent", operation(&Put{Condition{Kind: IfAbsent}, 0, Document{ID: "b"}}), id + "01" + "0163" + "01" + "00" + "0162" + "000000000000"},
		{"patch", operation(&Patch{Condition{}, "b", []byte(`{"n":null}`)}), id + "02" + "0163" + "00" + "0162" + "0a" + "7b226e223a6e756c6c7d"},
		{"forget", operation(&Forget{[]string{"a#1", "b"}, []string{"a"}}), id + "03" + "0163" + "02" + "03612331" + "0162" + "01" + "0161"},
		{"create", operation(&Configure{Create, goldenConfiguration()}), id + "04" + "0163" + "01" + config},
		{"alter", operation(&Configure{Alter, goldenConfiguration()}), id + "04" + "0163" + "02" + config},
		{"drop", operation(&Configure{Drop, goldenConfiguration()}), id + "04" + "0163" + "03"},
		{"entry", appendEntry(nil, 0x0102, [][]byte{{7}, {8, 9}}), "02" + "0201000000000000" + "02" + "0107" + "020809"},
		{"identity", Identity{Shard: 1, Shards: 2, Generation: 3, Born: 4}.row(), "00000001" + "00000002" + "0000000000000003" + "0000000000000004"},
		{"time", timeRow(0x0102), "0000000000000102"},
	} {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("%s:\n%s, not\n%s", c.what, got, c.want)
		}
	}
	key := Identity{Shard: 1, Shards: 2, Generation: 3, Born: 4}.key()
	if got := hex.EncodeToString(key[:]); got != "8153347c07b92637abdefa51ee4ce84a2e35a31a9471e20041ec73863a81fb5e" {
		t.Errorf("key of an identity: %s", got)
	}
}

// TestReadersRefuse: numbers in a longer form, lengths over their limits, unknown kinds and versions.
func TestReadersRefuse(t *testing.T) {
	d := goldenDocument()
	row := appendRow(nil, &d)
	id := make([]byte, 20)
	operation := func(rest ...byte) []byte { return append(slices.Clone(id), rest...) }
	for what, err := range map[string]error{
		"entry of version 0":           second(entryError([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0})),
		"entry of version 1":           second(entryError([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0})),
		"entry of too many operations": second(entryError([]byte{2, 0, 0, 0, 0, 0, 0, 0, 0, 0x81, 0x80, 4})),
		"no entry":                     second(entryError(nil)),
		"operation of kind 0":          second(parseOperation(operation(0, 1, 'c'))),
		"operation of kind 5":          second(parseOperation(operation(5, 1, 'c'))),
		"condition 3":                  second(parseOperation(operation(2, 1, 'c', 3, 1, 'a', 0))),
		"epoch over 2^63":              second(parseOperation(operation(1, 1, 'c', 0, 0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1, 1, 'a', 0, 0, 0, 0, 0, 0))),
		"number of 11 bytes":           second(parseOutcome(slices.Concat([]byte{0}, bytes.Repeat([]byte{0xff}, 10), []byte{0, 0}))),
		"number in a longer form":      second(parseOutcome([]byte{0, 0x80, 0, 0})),
		"collection of 65 bytes":       second(parseOperation(operation(append([]byte{3, 65}, append(bytes.Repeat([]byte{'c'}, 65), 0, 0)...)...))),
		"more strings than bytes":      second(parseOperation(operation(3, 1, 'c', 0, 0x7f, 0))),
		"more spans than bytes":        second(parseRow("a", []byte{0, 0, 0, 0, 0, 0xff, 0x1f, 0, 0})),
		"more tokens than bytes":       second(parseRow("a", []byte{0, 0, 4, 'i', 'n', 't', '8', 4, 0xff, 0x1f, 0})),
		"tokens of no codec":           second(parseRow("a", []byte{0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0})),
		"row with a byte more":         second(parseRow("a", append(row, 0))),
		"configuration of width 0":     second(parseConfiguration(appendConfiguration(nil, Configuration{Codec: retrieval.Int8}))),
		"configuration, cut":           second(parseConfiguration(make([]byte, 31))),
		"a version of 7 bytes":         second3(found("a", row, make([]byte, 7), true, true)),
	} {
		if !errors.Is(err, retrieval.ErrCorrupt) && !errors.Is(err, retrieval.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := parseRow("a", make([]byte, MaxDocumentBytes+1)); !errors.Is(err, retrieval.ErrTooLarge) {
		t.Error(err)
	}
	if _, _, err := found("a", row[:5], make([]byte, 8), true, true); !errors.Is(err, retrieval.ErrCorrupt) || strings.Contains(err.Error(), "version") {
		t.Errorf("a row that cannot be read: %v", err)
	}
}

func entryError(b []byte) ([]Operation, error) {
	_, operations, err := parseEntry(b)
	return operations, err
}

func second[T any](_ T, err error) error { return err }

func second3[T, U any](_ T, _ U, err error) error { return err }

// TestWhatPassesTheDoorCanBeReadBack: an operation that a replica takes and cannot read would halt every replica.
func TestWhatPassesTheDoorCanBeReadBack(t *testing.T) {
	largest := Document{ID: "a", Text: strings.Repeat("x", retrieval.MaxTextBytes), Codes: retrieval.Codes{Codec: retrieval.Int8, Width: retrieval.MaxWidth,
		Rows: bytes.Repeat([]byte{128}, 4096*retrieval.MaxWidth), Scales: slices.Repeat([]uint16{1}, 4096)}}
	largest.Codes = index.Pool(largest.Codes)
	spanned := largest
	spanned.Spans = slices.Repeat([]retrieval.Span{{Start: 1 << 19, End: 1 << 20}}, 4096)
	fits := largest
	fits.Text = fits.Text[:MaxDocumentBytes-rowBytes(&Document{Codes: largest.Codes})-2]
	wide := Document{ID: "a", Codes: retrieval.Codes{Codec: retrieval.Int8, Width: 2000}}
	negative := Document{ID: "a", Codes: retrieval.Codes{Codec: retrieval.Int8, Width: -4}}
	deep := Document{ID: "a", Fields: []byte(`{"a":` + strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000) + `}`)}
	many := slices.Repeat([]string{strings.Repeat("x", retrieval.MaxIDBytes)}, MaxForget)
	for what, c := range map[string]struct {
		body any
		ok   bool
	}{
		"largest of all limits":   {&Put{Document: largest}, false},
		"with spans":              {&Put{Document: spanned}, false},
		"largest that fits":       {&Put{Document: fits}, true},
		"too wide":                {&Put{Document: wide}, false},
		"negative width":          {&Put{Document: negative}, false},
		"deep fields":             {&Put{Document: deep}, true},
		"unknown condition":       {&Put{Condition: Condition{Kind: 3}, Document: Document{ID: "a"}}, false},
		"unknown patch condition": {&Patch{Condition: Condition{Kind: 200}, ID: "a"}, false},
		"patch if absent":         {&Patch{Condition: Condition{Kind: IfAbsent}, ID: "a"}, false},
		"largest epoch":           {&Put{Epoch: 1 << 63, Document: Document{ID: "a"}}, true},
		"epoch over it":           {&Put{Epoch: 1<<63 + 1, Document: Document{ID: "a"}}, false},
		"collection's epoch":      {&Configure{Create, Configuration{Codec: retrieval.Int8, Width: 1, Epoch: 1<<63 + 1}}, false},
		"encoder hash":            {&Configure{Create, Configuration{Codec: retrieval.Int8, Width: 1, Encoder: strings.Repeat("x", 65)}}, false},
		"change 4":                {&Configure{4, Configuration{Codec: retrieval.Int8, Width: 1}}, false},
		"largest forget":          {&Forget{IDs: many}, true},
		"larger forget":           {&Forget{IDs: many, Parents: []string{"a"}}, false},
		"forget of nothing":       {&Forget{}, false},
		"no body":                 {nil, false},
	} {
		o := Operation{Collection: "c", Body: c.body}
		if err := o.check(); (err == nil) != c.ok || !c.ok && !errors.Is(err, retrieval.ErrInvalid) && !errors.Is(err, retrieval.ErrTooLarge) {
			t.Errorf("%s: at the door: %v", what, err)
		}
		if _, err := parseOperation(appendOperation(nil, &o)); c.ok && err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for name, ok := range map[string]bool{"a": true, "": false, "-a": false, "_a-": true, "A": false, "a/b": false, strings.Repeat("a", 64): true, strings.Repeat("a", 65): false, "ä": false} {
		if err := CheckCollection(name); (err == nil) != ok {
			t.Errorf("collection %q: %v", name, err)
		}
	}
}

func TestOperationIDs(t *testing.T) {
	id := NewOperationID(1234, math.MaxUint64)
	if id.Time() != 1234 || id.Plus(1) == id || id.Plus(1).Time() != 1234 || id.Plus(2) != id.Plus(1).Plus(1) || NewOperationID(-1, 0).Time() != 0 {
		t.Fatal(id)
	}
	far := OperationID{0: 0xff}
	if far.Time() != math.MaxInt64 {
		t.Fatalf("an id of the far future is of %d", far.Time())
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Int64Range(0, math.MaxInt64).Draw(t, "a"), rapid.Int64Range(0, math.MaxInt64).Draw(t, "b")
		x, y := NewOperationID(a, rapid.Uint64().Draw(t, "x")), NewOperationID(b, rapid.Uint64().Draw(t, "y"))
		if a < b && bytes.Compare(x[:], y[:]) >= 0 {
			t.Fatal("ids do not sort by time")
		}
	})
}

// allocated returns the bytes that f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestLengthsAreNotBelieved: a length that the bytes do not carry allocates nothing.
func TestLengthsAreNotBelieved(t *testing.T) {
	id := make([]byte, 20)
	for what, f := range map[string]func(){
		"operations": func() { parseEntry([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x80, 4}) },
		"forget":     func() { parseOperation(append(id, 3, 1, 'c', 0x90, 0x4e)) },
		"codes":      func() { parseRow("a", []byte{0, 0, 0, 0x80, 8, 0x80, 0x20}) },
		"no codes":   func() { parseRow("a", []byte{0, 0, 0, 0, 0x80, 0x20}) },
		"spans":      func() { parseRow("a", []byte{0, 0, 0, 0, 0, 0x80, 0x20, 1, 1}) },
		"text":       func() { parseRow("a", []byte{0x80, 0x80, 0x40}) },
	} {
		if n := allocated(f); n > 16<<10 {
			t.Errorf("%s: %d bytes", what, n)
		}
	}
}

func ExampleOutcome_Err() {
	fmt.Println(Outcome{}.Err())
	fmt.Println(Outcome{Code: Changed, Version: 7}.Err())
	fmt.Println(Outcome{Code: Exhausted, Reason: "full"}.Err())
	// Output:
	// <nil>
	// version is 7: version differs
	// full: resource exhausted
}
