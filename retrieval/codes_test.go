package retrieval

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Windows follow one another, hold at most SketchTokens tokens and differ by one at most; each has a coarse vector for every pool tokens, rounded up.
func TestWindows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, pool := rapid.IntRange(0, MaxDocumentTokens).Draw(t, "tokens"), rapid.IntRange(8, 256).Draw(t, "pool")
		end, all, least, most := 0, 0, n, 0
		for i := range Windows(n) {
			from, to, count := Window(i, n, pool)
			if from != end || to <= from || to-from > SketchTokens || (count-1)*pool >= to-from || count*pool < to-from || count > SketchTokens/8 {
				t.Fatalf("window %d of %d tokens is %d to %d with %d coarse vectors", i, n, from, to, count)
			}
			end, all, least, most = to, all+count, min(least, to-from), max(most, to-from)
		}
		if end != n || all != Clusters(n, pool) || most-least > 1 && n > 0 || Windows(n) != (n+SketchTokens-1)/SketchTokens {
			t.Fatalf("%d tokens: %d in windows of %d to %d, %d coarse vectors", n, end, least, most, all)
		}
	})
}

func TestRowBytes(t *testing.T) {
	for _, c := range []struct{ width, int8, bits4, bits3, bits2, bits1, pool8, pool int }{
		{1, 4, 4, 3, 2, 1, 8, 8}, {9, 12, 8, 6, 4, 2, 8, 8}, {96, 96, 48, 36, 24, 12, 8, 24}, {128, 128, 64, 48, 32, 16, 8, 32},
		{384, 384, 192, 144, 96, 48, 24, 96}, {1023, 1024, 512, 384, 256, 128, 63, 255},
	} {
		got := []int{Int8.RowBytes(c.width), Bits4.RowBytes(c.width), Bits3.RowBytes(c.width), Bits2.RowBytes(c.width), Bits1.RowBytes(c.width), Int8.Pool(c.width), Bits2.Pool(c.width)}
		if want := []int{c.int8, c.bits4, c.bits3, c.bits2, c.bits1, c.pool8, c.pool}; !slices.Equal(got, want) {
			t.Errorf("width %d: %v, want %v", c.width, got, want)
		}
	}
	if Codec("5bit").Bits() != 0 || Codec("").Bits() != 0 {
		t.Error("an unknown codec has bits")
	}
}

// packed returns a valid document of n tokens of width 6 in 2 bits.
func packed(n int) Document {
	some := func(n int) Pooled {
		return Pooled{Rows: bytes.Repeat([]byte{128}, n*Stride(6)), Scales: slices.Repeat([]uint16{5}, n)}
	}
	return Document{ID: "a", Codes: Codes{
		Codec: Bits2, Width: 6, Rows: bytes.Repeat([]byte{0x0f, 0x0f}, n), Scales: slices.Repeat([]uint16{MaxScale}, n),
		Clusters: make([]byte, n), Coarse: some(Clusters(n, Bits2.Pool(6))), Sketch: some(Windows(n)),
	}}
}

func TestPackedCodesValidate(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Codes)
		want   error
	}{
		"as it is":            {func(c *Codes) {}, nil},
		"no tokens":           {func(c *Codes) { *c = packed(0).Codes }, nil},
		"one window more":     {func(c *Codes) { *c = packed(257).Codes }, nil},
		"codes where padding": {func(c *Codes) { c.Rows[0] |= 0xc0 }, ErrInvalid}, // dimension 6 is the last plane's first
		"clusters missing":    {func(c *Codes) { c.Clusters = nil }, ErrInvalid},
		"cluster too many":    {func(c *Codes) { c.Clusters[3] = 2 }, ErrInvalid},
		"scale 0":             {func(c *Codes) { c.Scales[3] = 0 }, ErrInvalid},
		"scale too large":     {func(c *Codes) { c.Scales[3] = MaxScale + 1 }, ErrInvalid},
		"no pooled vectors":   {func(c *Codes) { c.Coarse, c.Sketch = Pooled{}, Pooled{} }, ErrInvalid},
		"coarse short":        {func(c *Codes) { c.Coarse.Rows = c.Coarse.Rows[1:] }, ErrInvalid},
		"coarse missing":      {func(c *Codes) { c.Coarse.Rows, c.Coarse.Scales = c.Coarse.Rows[8:], c.Coarse.Scales[1:] }, ErrInvalid},
		"coarse code -128":    {func(c *Codes) { c.Coarse.Rows[1] = 0 }, ErrInvalid},
		"coarse padding":      {func(c *Codes) { c.Coarse.Rows[7] = 1 }, ErrInvalid},
		"coarse scale 0":      {func(c *Codes) { c.Coarse.Scales[1] = 0 }, ErrInvalid},
		"sketch missing":      {func(c *Codes) { c.Sketch = Pooled{} }, ErrInvalid},
		"sketch scales":       {func(c *Codes) { *c = packed(300).Codes; c.Sketch.Scales[1]++ }, ErrInvalid},
		"sketch scale":        {func(c *Codes) { c.Sketch.Scales[0] = MaxScale + 1 }, ErrInvalid},
		"rows of another":     {func(c *Codes) { c.Codec = Bits4 }, ErrInvalid},
		"3 bits": {func(c *Codes) {
			c.Codec, c.Rows = Bits3, bytes.Repeat([]byte{0xff, 0x0f, 0x3f}, 12) // low bits of dimension 6
		}, ErrInvalid},
		"3 bits, padded with 0": {func(c *Codes) { c.Codec, c.Rows = Bits3, bytes.Repeat([]byte{0x3f, 0x3f, 0x3f}, 12) }, nil},
		"3 bits, high bit":      {func(c *Codes) { c.Codec, c.Rows = Bits3, bytes.Repeat([]byte{0x3f, 0x3f, 0x7f}, 12) }, ErrInvalid},
		"codec unknown":         {func(c *Codes) { c.Codec = "5bit" }, ErrInvalid},
		"too many tokens":       {func(c *Codes) { *c = packed(MaxDocumentTokens + 1).Codes }, ErrTooLarge},
	} {
		d := packed(12)
		c.change(&d.Codes)
		if err := d.Validate(6); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
	eight := document(3)
	eight.Codes.Clusters = make([]byte, 3)
	if err := eight.Validate(6); !errors.Is(err, ErrInvalid) {
		t.Errorf("codes of 8 bits with clusters: %v", err)
	}
	for _, p := range []Pooled{{Scales: []uint16{1}}, {Rows: make([]byte, 8)}} {
		half := document(3)
		if half.Codes.Coarse = p; !errors.Is(half.Validate(6), ErrInvalid) {
			t.Errorf("half of what is pooled: %+v", p)
		}
	}
}

func TestBare(t *testing.T) {
	d := packed(12)
	if !d.Codes.Pooled() || d.Codes.Bare().Coarse.Len() != 2 {
		t.Error("packed codes lose what they need")
	}
	c := document(3).Codes
	if c.Pooled() || !(Codes{}).Pooled() {
		t.Error("codes of 8 bits without pooled vectors are pooled, or none are not")
	}
	c.Sketch, c.Coarse = Pooled{Rows: make([]byte, 8), Scales: []uint16{1}}, Pooled{Rows: make([]byte, 8), Scales: []uint16{1}}
	if b := c.Bare(); !c.Pooled() || b.Pooled() || b.Coarse.Len() != 0 || b.Len() != 3 {
		t.Errorf("%+v", b)
	}
}
