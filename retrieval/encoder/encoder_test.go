package encoder

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"ostraca/retrieval"
	"ostraca/retrieval/encoder/encodertest"
	"ostraca/retrieval/kernel"
)

func load(t testing.TB, weights []byte, set *kernel.Set) *Encoder {
	t.Helper()
	e, err := Load(weights, set)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func encode(t testing.TB, e *Encoder, o Options, texts ...string) []Matrix {
	t.Helper()
	m, err := e.Encode(context.Background(), texts, o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// reference is a text as transformers encoded it in fp32: ids and unit vectors with [CLS] and [SEP].
type reference struct {
	Text    string  `json:"text"`
	IDs     []int32 `json:"ids"`
	vectors []float32
}

func references(t testing.TB, width int) []reference {
	t.Helper()
	text, err := os.ReadFile("encodertest/texts.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile("encodertest/vectors.npy")
	if err != nil {
		t.Fatal(err)
	}
	var out []reference
	rows := 0
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		var r reference
		if err := json.Unmarshal(s.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		rows += len(r.IDs)
		out = append(out, r)
	}
	raw = raw[len(raw)-4*rows*width:]
	for i := range out {
		for range len(out[i].IDs) * width {
			out[i].vectors = append(out[i].vectors, math.Float32frombits(binary.LittleEndian.Uint32(raw)))
			raw = raw[4:]
		}
	}
	return out
}

// TestParity compares the small encoder with another implementation in fp32: same ids, and the cosine of every token.
func TestParity(t *testing.T) {
	for _, c := range []struct {
		name        string
		weights     []byte
		mean, worst float64
	}{{"float32", encodertest.Float32(), .99999, .9999}, {"int8", encodertest.Int8(), .9998, .999}} {
		t.Run(c.name, func(t *testing.T) {
			e := load(t, c.weights, kernel.Best())
			worst, sum, tokens := 1.0, 0.0, 0
			for _, r := range references(t, e.Width()) {
				m := encode(t, e, Options{}, r.Text)[0]
				if len(m.Tokens) != len(r.IDs)-specials {
					t.Fatalf("%q: %d tokens, want %d", r.Text, len(m.Tokens), len(r.IDs)-specials)
				}
				for i, token := range m.Tokens {
					if token.ID != r.IDs[i+1] {
						t.Fatalf("%q: token %d is %d, want %d", r.Text, i, token.ID, r.IDs[i+1])
					}
				}
				all := append(slices.Clone(m.Pooled), m.Vectors...)
				for i := range len(m.Tokens) + 1 {
					cos := dot(all[i*e.Width():][:e.Width()], r.vectors[i*e.Width():][:e.Width()])
					worst, sum, tokens = min(worst, cos), sum+cos, tokens+1
				}
			}
			t.Logf("%d tokens: mean cosine %.6f, worst %.6f", tokens, sum/float64(tokens), worst)
			if worst < c.worst || sum/float64(tokens) < c.mean {
				t.Errorf("mean cosine %.6f, worst %.6f", sum/float64(tokens), worst)
			}
		})
	}
}

func dot(a, b []float32) (s float64) {
	for i := range a {
		s += float64(a[i]) * float64(b[i])
	}
	return s
}

// TestInvariance is the law: the same text, the same bytes, alone, in batches of 7 and 32, shuffled, on any number of threads, and
// in every kernel variant.
func TestInvariance(t *testing.T) {
	var texts []string
	for _, r := range references(t, 64) {
		texts = append(texts, r.Text)
	}
	texts = append(texts, strings.Repeat("one long text about shards and memory, ", 90))
	alone := map[string]Matrix{}
	twin := load(t, encodertest.Int8(), kernel.All()[0])
	for _, text := range texts {
		alone[text] = encode(t, twin, Options{Threads: 1}, text)[0]
	}
	for _, set := range kernel.All() {
		e := load(t, encodertest.Int8(), set)
		for _, size := range []int{1, 7, 32, len(texts)} {
			for _, threads := range []int{1, 2, 5} {
				shuffled := slices.Clone(texts)
				rand.New(rand.NewPCG(uint64(size), uint64(threads))).Shuffle(len(shuffled), func(i, j int) {
					shuffled[i], shuffled[j] = shuffled[j], shuffled[i]
				})
				for batch := range slices.Chunk(shuffled, size) {
					for i, m := range encode(t, e, Options{Threads: threads}, batch...) {
						want := alone[batch[i]]
						if !slices.Equal(m.Vectors, want.Vectors) || !slices.Equal(m.Pooled, want.Pooled) || !slices.Equal(m.Tokens, want.Tokens) {
							t.Fatalf("%s: %.40q differs in a batch of %d on %d threads", set.Name(), batch[i], size, threads)
						}
					}
				}
			}
		}
	}
}

// TestWindows compares the ownership of pieces with its definition, piece by piece.
func TestWindows(t *testing.T) {
	for _, size := range []int{254, 100, 63, 62} {
		for n := range 1200 {
			ws, owner := windows(n, size), -1
			for i := range n {
				best, at := -1, -1
				for j, w := range ws {
					if i < w.start || i >= w.end {
						continue
					}
					edge := n // no inner edge
					if w.start > 0 {
						edge = i - w.start
					}
					if w.end < n {
						edge = min(edge, w.end-1-i)
					}
					if edge > best {
						best, at = edge, j
					}
				}
				owner = at
				if w := ws[owner]; i < w.ownStart || i >= w.ownEnd {
					t.Fatalf("%d pieces: piece %d belongs to window %d, which owns %d to %d", n, i, owner, w.ownStart, w.ownEnd)
				}
			}
			kept := 0
			for _, w := range ws {
				kept += w.ownEnd - w.ownStart
				if w.end-w.start > size {
					t.Fatalf("%d pieces: a window of %d", n, w.end-w.start)
				}
			}
			if kept != n || n > size && ws[1].start != 192*size/254 {
				t.Fatalf("%d pieces: windows %v", n, ws)
			}
		}
	}
}

// TestLongText: a vector of a long text is, to the bit, that of the window that speaks for it, encoded as a text of its own.
func TestLongText(t *testing.T) {
	e := load(t, encodertest.Int8(), kernel.Best())
	text := strings.Repeat("the of and, in to . a was ; he it ", 70) // a piece a word: a window may start anywhere
	m := encode(t, e, Options{}, text)[0]
	ws := windows(len(m.Tokens), e.windowTokens(false)-specials)
	if len(ws) < 3 {
		t.Fatalf("%d tokens are only %d windows", len(m.Tokens), len(ws))
	}
	for _, w := range ws {
		part := text[m.Tokens[w.start].Span.Start:m.Tokens[w.end-1].Span.End]
		alone := encode(t, e, Options{}, part)[0]
		if len(alone.Tokens) != w.end-w.start {
			t.Fatalf("window %v holds %d tokens", w, len(alone.Tokens))
		}
		H := e.Width()
		if !slices.Equal(m.Vectors[w.ownStart*H:w.ownEnd*H], alone.Vectors[(w.ownStart-w.start)*H:(w.ownEnd-w.start)*H]) {
			t.Errorf("window %v: its vectors are not those of its text", w)
		}
	}
}

func TestLengths(t *testing.T) {
	e := load(t, encodertest.Int8(), kernel.Best())
	long := strings.Repeat("the ", MaxTokens)
	fits := strings.Repeat("the ", MaxTokens-specials)
	if m := encode(t, e, Options{}, fits)[0]; len(m.Tokens) != MaxTokens-specials {
		t.Errorf("a text of exactly the limit has %d tokens", len(m.Tokens))
	}
	if m := encode(t, e, Options{MaxTokens: 256}, long)[0]; len(m.Tokens) != 254 || m.Cut != MaxTokens-254 {
		t.Errorf("cut at 256: %d tokens, %d left out", len(m.Tokens), m.Cut)
	}
	if m := encode(t, e, Options{}, "")[0]; len(m.Tokens) != 0 || len(m.Vectors) != 0 || len(m.Pooled) != e.Width() {
		t.Errorf("an empty text: %d tokens", len(m.Tokens))
	}
	if m := encode(t, e, Options{}); len(m) != 0 {
		t.Errorf("no texts: %d results", len(m))
	}
	// Cut in one window and whole in one window are the same.
	short := "the memory of a shard"
	if a, b := encode(t, e, Options{MaxTokens: 4}, short)[0], encode(t, e, Options{}, short)[0]; len(a.Tokens) != 2 || a.Cut != len(b.Tokens)-2 {
		t.Errorf("cut at 4: %d of %d tokens", len(a.Tokens), len(b.Tokens))
	}
	for _, c := range []struct {
		text string
		cut  int
		want error
	}{
		{long, 0, retrieval.ErrTooLarge},
		{strings.Repeat(" ", retrieval.MaxTextBytes+1), 0, retrieval.ErrTooLarge},
		{"a", 2, retrieval.ErrInvalid},
		{"a", -1, retrieval.ErrInvalid},
		{"a", MaxTokens + 1, retrieval.ErrInvalid},
	} {
		if _, err := e.Encode(context.Background(), []string{"fine", c.text}, Options{MaxTokens: c.cut}); !errors.Is(err, c.want) {
			t.Errorf("%.10q cut to %d: %v", c.text, c.cut, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := e.Encode(ctx, []string{short}, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestQueryWeights(t *testing.T) {
	e := load(t, encodertest.Int8(), kernel.Best())
	m := encode(t, e, Options{}, "the memory")[0]
	w := e.QueryWeights(m.Tokens)
	if len(w) != len(m.Tokens) || w[0] == 0 || w[0] == w[1] {
		t.Errorf("weights %v", w)
	}
}

// TestDamage flips bits, truncates and swaps: every damaged weights file is refused.
func TestDamage(t *testing.T) {
	whole := encodertest.Int8()
	refused := func(what string, data []byte) {
		t.Helper()
		if _, err := Load(data, kernel.Best()); !errors.Is(err, retrieval.ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("nothing", nil)
	rng := rand.New(rand.NewPCG(1, 1))
	for range 40 {
		at := rng.IntN(len(whole))
		bad := slices.Clone(whole)
		bad[at] ^= 1 << rng.IntN(8)
		refused(fmt.Sprintf("a bit of byte %d flipped", at), bad)
		refused(fmt.Sprintf("cut to %d bytes", at), whole[:at])
	}
	refused("a byte more", append(slices.Clone(whole), 0))
	newer := slices.Clone(whole)
	newer[8] = 2
	refused("a newer version", newer)
	for _, edit := range [][2]string{
		{`"layers":2`, `"layers":3`}, {`"hidden":64`, `"hidden":32`}, {`"heads":2`, `"heads":3`}, {`"heads":2`, `"heads":0`},
		{`"positions":256`, `"positions":255`}, {`"vocabulary":896`, `"vocabulary":897`}, {`"epsilon":1e-12`, `"epsilon":-1e-2`},
		{`"layer.1.up"`, `"layer.1.dn"`}, {`"type":"u16"`, `"type":"i16"`}, {`"shape":[64]`, `"shape":[63]`}, {`"offset":`, `"offset":1`}, {`{"model"`, `["model"`},
	} {
		refused(fmt.Sprintf("%s for %s", edit[1], edit[0]), edited(whole, edit[0], edit[1]))
	}
}

// edited replaces text of the header, of the same or another length, and mends length and checksum.
func edited(file []byte, from, to string) []byte {
	size := int(binary.LittleEndian.Uint32(file[12:]))
	header := bytes.Replace(file[16:16+size], []byte(from), []byte(to), 1)
	out := append(slices.Clone(file[:12]), binary.LittleEndian.AppendUint32(nil, uint32(len(header)))...)
	out = append(out, header...)
	if pad := 16 + size - len(out); pad > 0 {
		out = append(out, make([]byte, pad)...)
	}
	out = append(out, file[len(out):len(file)-32]...)
	return seal(out)
}

// seal appends the checksum of body.
func seal(body []byte) []byte {
	sum := sha256.Sum256(body)
	return append(slices.Clone(body), sum[:]...)
}

// FuzzWeights mends the checksum of every input, so that what is behind it is reached.
func FuzzWeights(f *testing.F) {
	whole := encodertest.Int8()
	f.Add(whole[:3000])
	f.Add(edited(whole, `"layers":2`, `"layers":1`)[:4096])
	own, err := Convert(overlaid(f, "colbert", nil)) // of version 2
	if err != nil {
		f.Fatal(err)
	}
	f.Add(own[:len(own)-32])
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := Load(seal(data), kernel.Best()); err != nil && !errors.Is(err, retrieval.ErrCorrupt) {
			t.Fatalf("%v", err)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	e := load(b, encodertest.Int8(), kernel.Best())
	text := strings.Repeat("the memory of a shard, ", 20)
	for b.Loop() {
		encode(b, e, Options{Threads: 1}, text)
	}
}
