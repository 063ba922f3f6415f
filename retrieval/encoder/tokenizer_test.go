package encoder

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"ostraca/retrieval"
)

// goldenTexts is how many texts testdata/golden_tokens.py wrote.
const goldenTexts = 2000

// bertTokenizer has the vocabulary of bge-small-en-v1.5, which is that of BERT uncased.
var bertTokenizer = sync.OnceValue(func() *Tokenizer {
	t, err := NewWordPiece(strings.Split(strings.TrimSuffix(string(unzip("testdata/vocab.txt.gz")), "\n"), "\n"))
	if err != nil {
		panic(err)
	}
	return t
})

func unzip(name string) []byte {
	data, err := os.ReadFile(name)
	if err != nil {
		panic(err)
	}
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		panic(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		panic(err)
	}
	return out
}

// golden is what the reference made of a text.
type golden struct {
	Text         string
	IDs          []int32
	Starts, Ends []uint32
}

func (g golden) tokens() []Token {
	out := make([]Token, len(g.IDs))
	for i, id := range g.IDs {
		out[i] = Token{id, retrieval.Span{Start: g.Starts[i], End: g.Ends[i]}}
	}
	return out
}

func goldens(t testing.TB) (out []golden) {
	lines := json.NewDecoder(bytes.NewReader(unzip("testdata/tokens.jsonl.gz")))
	for lines.More() {
		var g golden
		if err := lines.Decode(&g); err != nil {
			t.Fatal(err)
		}
		out = append(out, g)
	}
	return out
}

func TestGoldenTokens(t *testing.T) {
	all := goldens(t)
	if len(all) != goldenTexts {
		t.Fatalf("%d texts, want %d", len(all), goldenTexts)
	}
	for i, g := range all {
		got, want := bertTokenizer().Tokenize(g.Text), g.tokens()
		checkSpans(t, g.Text, got)
		if !slices.Equal(got, want) {
			t.Errorf("text %d, %q: %s", i, g.Text, difference(got, want))
		}
	}
}

// difference tells the first token in which two readings differ.
func difference(got, want []Token) string {
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	return fmt.Sprintf("%d tokens for %d; token %d is %s, want %s", len(got), len(want), at, show(got, at), show(want, at))
}

func show(tokens []Token, at int) string {
	if at == len(tokens) {
		return "missing"
	}
	k := tokens[at]
	return fmt.Sprintf("%d %q at %d:%d", k.ID, bertTokenizer().Piece(k.ID), k.Span.Start, k.Span.End)
}

// checkSpans demands spans that hold something, lie in the text and in order, and break no character of UTF-8.
func checkSpans(t testing.TB, text string, tokens []Token) {
	t.Helper()
	valid, last := utf8.ValidString(text), retrieval.Span{}
	for i, k := range tokens {
		s := k.Span
		if s.Start >= s.End || int(s.End) > len(text) || s.Start < last.Start || s.End < last.End {
			t.Fatalf("%q of %d bytes: token %d spans %d:%d after %d:%d", text, len(text), i, s.Start, s.End, last.Start, last.End)
		}
		if valid && !(boundary(text, s.Start) && boundary(text, s.End)) {
			t.Fatalf("%q: token %d spans %d:%d, inside a character", text, i, s.Start, s.End)
		}
		last = s
	}
}

func boundary(text string, at uint32) bool { return int(at) == len(text) || utf8.RuneStart(text[at]) }

// TestCodePoints reads every code point in the contexts of code_point_hash in testdata/golden_tokens.py.
func TestCodePoints(t *testing.T) {
	if testing.Short() {
		t.Skip("1.1 million texts")
	}
	file, err := os.Open("testdata/codepoints.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	blocks := 0
	for lines := bufio.NewScanner(file); lines.Scan(); blocks++ {
		first := rune(blocks * 4096)
		if got := codePointHash(first); got != lines.Text() {
			t.Errorf("code points from U+%04X: %s, want %s", first, got, lines.Text())
		}
	}
	if blocks != 272 {
		t.Errorf("%d blocks, want 272", blocks)
	}
}

func codePointHash(first rune) string {
	hash, answer := sha256.New(), []byte(nil)
	for c := first; c < first+4096; c++ {
		if !utf8.ValidRune(c) {
			continue
		}
		text := fmt.Sprintf("%c a%[1]cb \U0001d16d%[1]c\U0001d165", c)
		tokens := bertTokenizer().Tokenize(text)
		answer = answer[:0]
		var n normalizer
		for _, g := range n.normalize(text, 0) {
			answer = utf8.AppendRune(answer, g.char)
		}
		for _, k := range tokens {
			answer = binary.LittleEndian.AppendUint32(answer, uint32(k.ID))
		}
		for _, k := range tokens {
			answer = binary.LittleEndian.AppendUint32(answer, k.Span.Start)
		}
		for _, k := range tokens {
			answer = binary.LittleEndian.AppendUint32(answer, k.Span.End)
		}
		hash.Write(answer)
	}
	return fmt.Sprintf("%06X %x", first, hash.Sum(nil)[:8])
}

func TestTokenize(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", ""},
		{"white space", " \t\r\n\u00a0\u3000", ""},
		{"sentence", "Hello, World!", "hello@0:5 ,@5:6 world@7:12 !@12:13"},
		{"pieces", "unaffable", "una@0:3 ##ffa@3:6 ##ble@6:9"},
		{"composed accent", "caf\u00e9s", "cafes@0:6"},
		{"decomposed accent", "cafe\u0301s", "cafes@0:7"},
		{"accent at the end", "cafe\u0301 s", "cafe@0:4 s@7:8"},
		{"ideographs", "a\u4e2db", "a@0:1 \u4e2d@1:4 b@4:5"},
		{"Hangul syllable", "\uac01", "\u1100@0:3 ##\u1161@0:3 ##\u11a8@0:3"},
		{"dotted capital i", "\u0130s", "is@0:3"},
		{"sharp s", "Stra\u00dfe", "st@0:2 ##ra\u00dfe@2:7"},
		{"control inside", "ca\x00t\u200bs", "cats@0:8"},
		{"special", "a[SEP]b", "a@0:1 [SEP]@1:6 b@6:7"},
		{"not special", "[sep]", "[@0:1 sep@1:4 ]@4:5"},
		{"unknown", "a \u2603\u2603 b", "a@0:1 [UNK]@2:8 b@9:10"},
		{"101 characters", strings.Repeat("e", 101), "[UNK]@0:101"},
		{"invalid byte between words", "a \xff b", "a@0:1 b@4:5"},
		{"invalid byte inside", "ca\xfft", "cat@0:4"},
		{"invalid bytes around", "\xc3cat\xe4\xb8", "cat@1:4"},
		{"surrogate", "a\xed\xa0\x80b", "ab@0:5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tokens := bertTokenizer().Tokenize(c.text)
			checkSpans(t, c.text, tokens)
			if got := readable(tokens); got != c.want {
				t.Errorf("%q:\ngot  %s\nwant %s", c.text, got, c.want)
			}
		})
	}
}

func readable(tokens []Token) string {
	var out []string
	for _, k := range tokens {
		out = append(out, fmt.Sprintf("%s@%d:%d", bertTokenizer().Piece(k.ID), k.Span.Start, k.Span.End))
	}
	return strings.Join(out, " ")
}

func TestVocabulary(t *testing.T) {
	good := []string{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##a"}
	k, err := NewWordPiece(good)
	if err != nil {
		t.Fatal(err)
	}
	if k.CLS() != 2 || k.SEP() != 3 || k.Piece(6) != "##a" || k.Piece(7) != "" || k.Piece(-1) != "" {
		t.Errorf("[CLS] %d, [SEP] %d, pieces %q %q %q", k.CLS(), k.SEP(), k.Piece(6), k.Piece(7), k.Piece(-1))
	}
	bad := map[string][]string{
		"empty":     append(slices.Clone(good), ""),
		"twice":     append(slices.Clone(good), "##a"),
		"not UTF-8": append(slices.Clone(good), "\xc3"),
		"too large": make([]string, maxVocabulary+1),
		"nothing":   nil,
	}
	for i, special := range good[:5] {
		bad["no "+special] = slices.Delete(slices.Clone(good), i, i+1)
	}
	for name, vocabulary := range bad {
		if _, err := NewWordPiece(vocabulary); !errors.Is(err, retrieval.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWholePieces reads every word of the vocabulary, the longest among them, as one token.
func TestWholePieces(t *testing.T) {
	k := bertTokenizer()
	for word, id := range k.heads {
		if strings.Trim(word, "abcdefghijklmnopqrstuvwxyz") != "" {
			continue
		}
		if got := k.Tokenize(word); !slices.Equal(got, []Token{{id, span(0, len(word))}}) {
			t.Errorf("%q is cut to %s", word, readable(got))
		}
	}
}

// TestTables checks what lookups and alignment rely on.
func TestTables(t *testing.T) {
	ordered := func(name string, n int, at func(int) (first, last rune)) {
		for i, before := 0, rune(-1); i < n; i++ {
			first, last := at(i)
			if first <= before || last < first {
				t.Errorf("%s: U+%04X to U+%04X after U+%04X", name, first, last, before)
			}
			before = last
		}
	}
	ordered("categories", len(categories), func(i int) (rune, rune) { return categories[i].first, categories[i].last })
	ordered("classes", len(combiningClasses), func(i int) (rune, rune) { return combiningClasses[i].first, combiningClasses[i].last })
	ordered("cases", len(caseRanges), func(i int) (rune, rune) { return caseRanges[i].first, caseRanges[i].last })
	ordered("decompositions", len(decompositions), func(i int) (rune, rune) { return decompositions[i].char, decompositions[i].char })
	for _, d := range decompositions {
		classes := []uint8{}
		for _, c := range d.into {
			classes = append(classes, combiningClass(c))
		}
		// After a starter come marks or starters; a mark comes after no mark of a higher class.
		for i := 1; i < len(classes); i++ {
			if classes[i] < classes[i-1] {
				t.Errorf("U+%04X is decomposed to classes %d", d.char, classes)
			}
		}
	}
}

func FuzzTokenizer(f *testing.F) {
	for i, g := range goldens(f) {
		if i%40 == 0 {
			f.Add(g.Text)
		}
	}
	f.Add("ca\xfft \xed\xa0\x80[CLS\xe4\xb8")
	f.Fuzz(func(t *testing.T, text string) {
		tokens := bertTokenizer().Tokenize(text)
		checkSpans(t, text, tokens)
		if again := bertTokenizer().Tokenize(text); !slices.Equal(again, tokens) {
			t.Errorf("%q: %s", text, difference(again, tokens))
		}
	})
}

func BenchmarkTokenize(b *testing.B) {
	all := goldens(b)
	var plain, mixed strings.Builder
	for _, g := range all {
		to := &mixed
		if !strings.ContainsFunc(g.Text, func(c rune) bool { return c >= utf8.RuneSelf || c < ' ' }) {
			to = &plain
		}
		fmt.Fprintln(to, g.Text)
	}
	for _, c := range []struct{ name, text string }{
		{"english", strings.Repeat("The quick brown fox jumps over the lazy dog, said Mrs. Dalloway to Leibniz in 1714. ", 1000)},
		{"plain", plain.String()}, {"mixed", mixed.String()},
		{"ideographs", strings.Repeat("\u6771\u4eac\u90fd", 30000)}, {"marks", strings.Repeat("\u0301\u0316", 50000)},
		{"unmatched", strings.Repeat(strings.Repeat("\u1e69", 99)+" ", 1000)}, {"long word", strings.Repeat("a", 100000)},
		{"brackets", strings.Repeat("[", 100000)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.text)))
			tokens := 0
			for b.Loop() {
				tokens += len(bertTokenizer().Tokenize(c.text))
			}
			b.ReportMetric(float64(tokens)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}
