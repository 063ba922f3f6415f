package encoder

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"ostraca/retrieval/kernel"
)

// modelCase is what the reference libraries made of texts with a small random model: testdata/models/make.py.
type modelCase struct {
	Folder  string             `json:"folder"`
	Overlay map[string]*string `json:"overlay"`
	Entries []modelEntry       `json:"entries"`
}

type modelEntry struct {
	Text    string  `json:"text"`
	Query   bool    `json:"query"`
	IDs     []int32 `json:"ids"`
	Starts  []int   `json:"starts"` // -1: a token that spans nothing
	Ends    []int   `json:"ends"`
	Cut     int     `json:"cut"`
	Pooled  string  `json:"pooled"`
	Vectors string  `json:"vectors"`
}

const modelFolder = "testdata/models/"

func modelCases(t testing.TB) map[string]modelCase {
	names, err := filepath.Glob(modelFolder + "expected/*.json.gz")
	if err != nil || len(names) != 9 {
		t.Fatalf("%d cases: %v", len(names), err)
	}
	out := map[string]modelCase{}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if data, err = io.ReadAll(z); err != nil {
			t.Fatal(err)
		}
		var c modelCase
		if err := json.Unmarshal(data, &c); err != nil {
			t.Fatal(err)
		}
		out[strings.TrimSuffix(filepath.Base(name), ".json.gz")] = c
	}
	return out
}

// files is the case's folder with its overlay.
func (c modelCase) files(t testing.TB) fstest.MapFS { return overlaid(t, c.Folder, c.Overlay) }

func overlaid(t testing.TB, folder string, overlay map[string]*string) fstest.MapFS {
	out := fstest.MapFS{}
	err := fs.WalkDir(os.DirFS(modelFolder+folder), ".", func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(modelFolder + folder + "/" + p)
		out[p] = &fstest.MapFile{Data: data}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range overlay {
		if delete(out, name); text != nil {
			out[name] = &fstest.MapFile{Data: []byte(*text)}
		}
	}
	return out
}

func (c modelCase) load(t testing.TB, int8 bool, set *kernel.Set) *Encoder {
	t.Helper()
	weights, err := convert(c.files(t), int8)
	if err != nil {
		t.Fatal(err)
	}
	return load(t, weights, set)
}

func halves(t testing.TB, text string) []float32 {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float32, len(b)/2)
	for i := range out {
		out[i] = widenHalf(binary.LittleEndian.Uint16(b[2*i:]))
	}
	return out
}

// cosine of two vectors that need not be unit length: the expected ones were rounded to 16 bits.
func cosine(t testing.TB, a, b []float32) float64 {
	aa, bb := dot(a, a), dot(b, b)
	if aa < .98 || aa > 1.02 || bb < .98 || bb > 1.02 {
		t.Fatalf("squared lengths %f and %f", aa, bb)
	}
	return dot(a, b) / math.Sqrt(aa*bb)
}

// tokens are what the entry expects; empty spans are compared by their emptiness.
func (x modelEntry) check(t *testing.T, m Matrix) bool {
	if len(m.Tokens) != len(x.IDs) || m.Cut != x.Cut {
		t.Errorf("query %v %q: %d tokens, %d left out; want %d and %d", x.Query, x.Text, len(m.Tokens), m.Cut, len(x.IDs), x.Cut)
		return false
	}
	for i, k := range m.Tokens {
		start, end := int(k.Span.Start), int(k.Span.End)
		if k.ID != x.IDs[i] || x.Starts[i] < 0 && start != end || x.Starts[i] >= 0 && (start != x.Starts[i] || end != x.Ends[i]) || end > len(x.Text) {
			t.Errorf("query %v %q: token %d is %d at %d:%d, want %d at %d:%d", x.Query, x.Text, i, k.ID, start, end, x.IDs[i], x.Starts[i], x.Ends[i])
			return false
		}
	}
	return true
}

// TestModels compares users' own models with transformers, pylate and colbert-ai: ids, spans and what is left out exactly, vectors of
// a float32 file by 1e-5, and of the int8 file by what rounding costs.
func TestModels(t *testing.T) {
	for name, c := range modelCases(t) {
		t.Run(name, func(t *testing.T) {
			for _, kind := range []struct {
				int8        bool
				mean, worst float64
			}{{false, 1 - 1e-6, 1 - 1e-5}, {true, .9997, .9985}} {
				e := c.load(t, kind.int8, nil)
				worst, sum, count := 1.0, 0.0, 0
				measure := func(got, want []float32) {
					for ; len(want) > 0; got, want = got[e.Width():], want[e.Width():] {
						cos := cosine(t, got[:e.Width()], want[:e.Width()])
						worst, sum, count = min(worst, cos), sum+cos, count+1
					}
				}
				for _, x := range c.Entries {
					m := encode(t, e, Options{Query: x.Query}, x.Text)[0]
					want := halves(t, x.Vectors)
					if !x.check(t, m) {
						continue
					}
					if len(m.Vectors) != len(want) {
						t.Fatalf("%q: %d numbers for %d", x.Text, len(m.Vectors), len(want))
					}
					measure(m.Vectors, want)
					measure(m.Pooled, halves(t, x.Pooled))
				}
				t.Logf("int8 %v: %d vectors, mean cosine %.6f, 1 - worst %.1e", kind.int8, count, sum/float64(count), 1-worst)
				if worst < kind.worst || sum/float64(count) < kind.mean {
					t.Errorf("int8 %v: mean cosine %.7f, worst %.7f", kind.int8, sum/float64(count), worst)
				}
			}
		})
	}
}

// TestModelsInvariance is the law for own models: the same bytes alone and in a batch, on any threads, in every kernel variant, and
// from every conversion.
func TestModelsInvariance(t *testing.T) {
	for name, c := range modelCases(t) {
		var want []Matrix
		var hash string
		for _, set := range kernel.All() {
			e := c.load(t, true, set)
			if hash == "" {
				hash = e.Hash()
			}
			if e.Hash() != hash {
				t.Fatalf("%s: a conversion of other bytes", name)
			}
			var texts []string
			for _, x := range c.Entries {
				texts = append(texts, x.Text)
			}
			texts = append(texts, strings.Repeat("one long text about shards, ", 60))
			for _, query := range []bool{false, true} {
				var alone []Matrix
				for _, text := range texts {
					alone = append(alone, encode(t, e, Options{Query: query, Threads: 1}, text)...)
				}
				for i, m := range encode(t, e, Options{Query: query, Threads: 2}, texts...) {
					if !slices.Equal(m.Vectors, alone[i].Vectors) || !slices.Equal(m.Tokens, alone[i].Tokens) || !slices.Equal(m.Pooled, alone[i].Pooled) {
						t.Fatalf("%s, %s: %.40q differs in a batch", name, set.Name(), texts[i])
					}
				}
				if !query {
					continue
				}
				if want == nil {
					want = alone
				}
				for i := range want {
					if !slices.Equal(want[i].Vectors, alone[i].Vectors) {
						t.Fatalf("%s: %s and %s differ on %.40q", name, kernel.All()[0].Name(), set.Name(), texts[i])
					}
				}
			}
		}
	}
}
