package encoder_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"ostraca/retrieval"
	"ostraca/retrieval/encoder"
	"ostraca/retrieval/kernel"
)

// cloud returns n vectors of some length, most of whose variance lies in a few directions: the first axes, turned.
func cloud(n, width int, seed uint64) []float32 {
	random := rand.New(rand.NewPCG(seed, 1))
	out := make([]float32, n*width)
	for i := range n {
		length := 0.5 + random.Float64()
		for j := range width {
			out[i*width+j] = float32(length * random.NormFloat64() / float64(1+j))
		}
	}
	return out
}

func fitted(t testing.TB, name string, vectors []float32, from, width int) encoder.Projection {
	t.Helper()
	f, err := encoder.NewFit(name, from, width)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Add(vectors); err != nil {
		t.Fatal(err)
	}
	p, err := f.Projection(3)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// written returns the bytes of docs/projection.md.
func written(from, width int, name string, weights ...int16) []byte {
	b := binary.AppendUvarint([]byte{1}, uint64(from))
	b = binary.AppendUvarint(b, uint64(width))
	b = append(binary.AppendUvarint(b, uint64(len(name))), name...)
	b = append(b, 2, 7)
	b = append(b, bytes.Repeat([]byte{9}, 32)...)
	for _, w := range weights {
		b = binary.LittleEndian.AppendUint16(b, uint16(w))
	}
	return b
}

func TestProjectionFormat(t *testing.T) {
	b := written(3, 2, "é", 1, -2, 3, -32768, 0, 0)
	want := "01" + "03" + "02" + "02c3a9" + "02" + "07" + strings.Repeat("09", 32) + "0100feff0300" + "008000000000"
	if got := hex.EncodeToString(b); got != want {
		t.Fatalf("%s, not %s", got, want)
	}
	p, err := encoder.ParseProjection(b)
	if err != nil {
		t.Fatal(err)
	}
	s := p.Sample()
	if p.IsZero() || p.From() != 3 || p.Width() != 2 || s.Name != "é" || s.Texts != 2 || s.Vectors != 7 || s.Hash[31] != 9 || !bytes.Equal(p.Bytes(), b) || p.Len() != len(b) {
		t.Errorf("%d to %d, %+v", p.From(), p.Width(), s)
	}
	if got := s.String(); got != "é: 7 token vectors of 2 texts, sha256 0909090909090909" {
		t.Error(got)
	}
	cut, err := p.Cut(1)
	if err != nil || !bytes.Equal(cut.Bytes(), written(3, 1, "é", 1, -2, 3)) || cut == p || cut.Hash() == p.Hash() || len(p.Hash()) != 64 {
		t.Errorf("%v: %x", err, cut.Bytes())
	}
	for _, width := range []int{0, -1, 3} {
		if _, err := p.Cut(width); !errors.Is(err, retrieval.ErrInvalid) {
			t.Errorf("cut to %d: %v", width, err)
		}
	}
	if all, err := p.Cut(2); err != nil || all != p {
		t.Error("the same bytes are another value")
	}
	var none encoder.Projection
	if !none.IsZero() || none.From() != 0 || none.Width() != 0 || none.Hash() != "" || none.Len() != 0 || len(none.Bytes()) != 0 {
		t.Error("the zero value is something")
	}
}

func TestProjectionInJSON(t *testing.T) {
	type holder struct {
		P encoder.Projection `json:"p,omitzero"`
	}
	p, err := encoder.ParseProjection(written(2, 1, "", 3, 4))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []holder{{p}, {}} {
		raw, err := json.Marshal(h)
		var got holder
		if err != nil || json.Unmarshal(raw, &got) != nil || got != h {
			t.Errorf("%v: %s", err, raw)
		}
		if h.P.IsZero() && string(raw) != "{}" {
			t.Errorf("none is %s", raw)
		}
	}
	for _, raw := range []string{`{"p":"!"}`, `{"p":"AQ=="}`, `{"p":7}`} {
		if err := json.Unmarshal([]byte(raw), new(holder)); err == nil {
			t.Errorf("%s is a projection", raw)
		}
	}
}

func TestProjectionsRefused(t *testing.T) {
	good := written(2, 1, "a", 3, 4)
	if _, err := encoder.ParseProjection(good); err != nil {
		t.Fatal(err)
	}
	with := func(at int, b byte) []byte {
		out := bytes.Clone(good)
		out[at] = b
		return out
	}
	wide := written(encoder.MaxProjectionFrom, 1, "", make([]int16, encoder.MaxProjectionFrom)...)
	for what, b := range map[string][]byte{
		"nothing":         {},
		"version 0":       with(0, 0),
		"version 2":       with(0, 2),
		"cut":             good[:len(good)-1],
		"cut in the hash": good[:10],
		"left over":       append(bytes.Clone(good), 0),
		"from 0":          written(0, 0, "a"),
		"width 0":         written(2, 0, "a"),
		"more than from":  written(1, 2, "a", 1, 1),
		"from too many":   written(encoder.MaxProjectionFrom+1, 1, "a", make([]int16, encoder.MaxProjectionFrom+1)...),
		"too large":       written(encoder.MaxProjectionFrom, encoder.MaxProjectionWeights/encoder.MaxProjectionFrom+1, "a"),
		"to too many":     written(retrieval.MaxWidth+1, retrieval.MaxWidth+1, "a"),
		"long number":     slices.Concat([]byte{1, 0x82, 0}, good[2:]),
		"long name":       written(2, 1, strings.Repeat("a", encoder.MaxSampleName+1), 3, 4),
		"name not UTF-8":  written(2, 1, "\xff", 3, 4),
		"control in name": written(2, 1, "a\nb", 3, 4),
		"zero row":        written(2, 2, "a", 3, 4, 0, 0),
		"row too long":    written(2, 1, "a", 32767, 1000),
		"all zero":        wide,
	} {
		if p, err := encoder.ParseProjection(b); !errors.Is(err, retrieval.ErrCorrupt) || !p.IsZero() {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzProjection(f *testing.F) {
	f.Add(written(3, 2, "é", 1, -2, 3, -32768, 0, 0))
	f.Add(written(17, 1, "", slices.Repeat([]int16{-7900}, 17)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := encoder.ParseProjection(b)
		if err != nil {
			if !errors.Is(err, retrieval.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if again, err := encoder.ParseProjection(p.Bytes()); err != nil || again != p || !bytes.Equal(p.Bytes(), b) {
			t.Fatal(err)
		}
		if cut, err := p.Cut(p.Width()); err != nil || cut != p {
			t.Fatal("the bytes are not the only ones")
		}
		x := make([]float32, p.From())
		for i := range x {
			x[i] = float32(i%5) - 1.5
		}
		if y, err := p.Pack(nil).Apply(x); err == nil && len(y) != p.Width() || err != nil && !errors.Is(err, retrieval.ErrInvalid) {
			t.Fatal(err)
		}
	})
}

// TestProjectionIsExact: every kernel variant gives the bits of the formula, written out: also in the worst case, where all integers are as large as
// they may be.
func TestProjectionIsExact(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 5))
	for _, shape := range [][2]int{{1, 1}, {3, 2}, {16, 16}, {100, 7}, {384, 128}, {384, 33}, {2048, 256}, {4096, 128}} {
		from, width := shape[0], shape[1]
		rowLength := 32768 / math.Sqrt(float64(from))
		weights := make([]int16, from*width)
		for i := range weights {
			switch i / from {
			case 0:
				weights[i] = int16(min(rowLength, 32767))
			case 1:
				weights[i] = int16(-rowLength)
			default:
				weights[i] = int16(rowLength * (2*random.Float64() - 1))
			}
		}
		p, err := encoder.ParseProjection(written(from, width, "", weights...))
		if err != nil {
			t.Fatal(from, width, err)
		}
		n := 70
		if from > 1000 {
			n = 3
		}
		x := cloud(n, from, uint64(from))
		for i := range from {
			x[i] = 1 // along the first row of weights
		}
		want := projected(weights, x, from, width)
		for _, set := range kernel.All() {
			got, err := p.Pack(set).Apply(x)
			if err != nil || len(got) != n*width {
				t.Fatal(err)
			}
			for i := range got {
				if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
					t.Fatalf("%d to %d, %s: row %d has %v at %d, not %v", from, width, set.Name(), i/width, got[i], i%width, want[i])
				}
			}
			alone, err := p.Pack(set).Apply(x[from : 2*from])
			if err != nil || !slices.Equal(alone, got[width:2*width]) {
				t.Fatalf("a row in company is another: %v", err)
			}
		}
	}
}

// projected is docs/projection.md in plain Go.
func projected(weights []int16, x []float32, from, width int) []float32 {
	var out []float32
	for ; len(x) > 0; x = x[from:] {
		var squares float64
		for _, v := range x[:from] {
			squares += float64(v) * float64(v)
		}
		scale := 16384 / math.Sqrt(squares)
		y := make([]float32, (width+15)/16*16)
		for n := range width {
			var sum int64
			for i, v := range x[:from] {
				sum += int64(math.RoundToEven(float64(float32(float64(v)*scale)))) * int64(weights[n*from+i])
			}
			if sum != int64(int32(sum)) {
				panic("a sum leaves 32 bits")
			}
			y[n] = float32(sum)
		}
		kernel.All()[0].Normalize(y)
		out = append(out, y[:width]...)
	}
	return out
}

func TestProjectorRefuses(t *testing.T) {
	p, err := encoder.ParseProjection(written(3, 1, "", 0, 1, 0))
	if err != nil {
		t.Fatal(err)
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for what, x := range map[string][]float32{"zero": {0, 0, 0}, "not a number": {1, nan, 0}, "infinite": {1, inf, 0}, "nothing kept": {1, 0, 1}} {
		_, err := p.Pack(nil).Apply(append([]float32{0, 1, 0}, x...))
		if !errors.Is(err, retrieval.ErrInvalid) || !strings.Contains(fmt.Sprint(err), "token 1") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := p.Pack(nil).Apply(make([]float32, 4)); !errors.Is(err, retrieval.ErrInvalid) {
		t.Error(err)
	}
	if y, err := p.Pack(nil).Apply(nil); err != nil || len(y) != 0 {
		t.Error(y, err)
	}
	for _, x := range []float32{1e-45, 1e-30, 1e30, math.MaxFloat32} {
		if y, err := p.Pack(nil).Apply([]float32{x, -x, x}); err != nil || y[0] != -1 {
			t.Errorf("%g: %v %v", x, y, err)
		}
	}
}

// TestFit: the principal directions come out, best first, and as few as there are.
func TestFit(t *testing.T) {
	const from, width = 24, 6
	x := cloud(3000, from, 2)
	p := fitted(t, "cloud", x, from, width)
	if s := p.Sample(); p.From() != from || p.Width() != width || s.Name != "cloud" || s.Texts != 3 || s.Vectors != 3000 || s.Hash == ([32]byte{}) {
		t.Fatalf("%+v", s)
	}
	kept := func(p encoder.Projection, axes int) (share float64) { // of the first axes, as unit vectors
		for i := range axes {
			axis := make([]float32, from)
			axis[i] = 1
			y, err := p.Pack(nil).Apply(append(axis, x[:from]...))
			if err != nil {
				t.Fatal(err)
			}
			share += float64(max(y[i], -y[i])) / float64(axes)
		}
		return share
	}
	if k := kept(p, 4); k < 0.99 {
		t.Errorf("of the first axes %v is kept in the first dimensions", k)
	}
	if whole := fitted(t, "cloud", x, from, from); fmt.Sprint(whole.Sample()) != fmt.Sprint(p.Sample()) {
		t.Error("another sample")
	} else if cut, err := whole.Cut(width); err != nil || cut != p {
		t.Error("a projection that is cut is not the one to fewer dimensions")
	}
	again, err := encoder.NewFit("cloud", from, width)
	if err != nil {
		t.Fatal(err)
	}
	for part := range slices.Chunk(x, 7*from) {
		if err := again.Add(part); err != nil {
			t.Fatal(err)
		}
	}
	if q, err := again.Projection(3); err != nil || q != p {
		t.Error("the same sample in parts gives another projection")
	}
}

func TestFitRefuses(t *testing.T) {
	for _, shape := range [][2]int{{0, 0}, {-1, -1}, {8, 0}, {8, 9}, {encoder.MaxProjectionFrom + 1, 1}, {encoder.MaxProjectionFrom, retrieval.MaxWidth}} {
		if _, err := encoder.NewFit("a", shape[0], shape[1]); !errors.Is(err, retrieval.ErrInvalid) {
			t.Errorf("%v: %v", shape, err)
		}
	}
	for _, name := range []string{"\x00", "\xff", strings.Repeat("x", encoder.MaxSampleName+1)} {
		if _, err := encoder.NewFit(name, 8, 2); !errors.Is(err, retrieval.ErrInvalid) {
			t.Errorf("%.10q: %v", name, err)
		}
	}
	begin := func(x []float32, width int) *encoder.Fit {
		f, err := encoder.NewFit("a", 8, width)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Add(x); err != nil {
			t.Fatal(err)
		}
		return f
	}
	for what, x := range map[string][]float32{"no rows": make([]float32, 9), "zero": make([]float32, 8), "not a number": slices.Repeat([]float32{float32(math.NaN())}, 8)} {
		if err := begin(nil, 2).Add(x); !errors.Is(err, retrieval.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, c := range map[string]struct {
		x     []float32
		width int
	}{
		"nothing":          {nil, 2},
		"too few":          {cloud(31, 8, 1), 2},
		"all alike":        {slices.Repeat([]float32{1, 2, 3, 4, 5, 6, 7, 8}, 100), 2},
		"fewer dimensions": {slices.Repeat([]float32{1, 2, 0, 0, 0, 0, 0, 0, 3, 1, 0, 0, 0, 0, 0, 0}, 100), 3},
	} {
		if p, err := begin(c.x, c.width).Projection(1); !errors.Is(err, retrieval.ErrInvalid) || !p.IsZero() {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// BenchmarkProject tells what projecting costs beside encoding: rows a second on one thread.
func BenchmarkProject(b *testing.B) {
	const n = 128
	p := fitted(b, "cloud", cloud(4000, 384, 3), 384, 128)
	x := cloud(n, 384, 4)
	for _, set := range kernel.All() {
		b.Run(set.Name(), func(b *testing.B) {
			j := p.Pack(set)
			for b.Loop() {
				if _, err := j.Apply(x); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}

// BenchmarkFit reports the two parts of fitting: taking vectors in, and finding directions.
func BenchmarkFit(b *testing.B) {
	for _, from := range []int{384, 1024, 2048, 4096} {
		b.Run(fmt.Sprint(from), func(b *testing.B) {
			x := cloud(4*from, from, 4)
			for b.Loop() {
				f, err := encoder.NewFit("a", from, 128)
				if err != nil {
					b.Fatal(err)
				}
				began := time.Now()
				if err := f.Add(x); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(4*from)/time.Since(began).Seconds(), "vectors/s")
				if _, err := f.Projection(0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
