package bge_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"ostraca/retrieval/encoder"
	"ostraca/retrieval/encoder/bge"
	"ostraca/retrieval/kernel"
)

// BenchmarkEncode reads texts of exactly 128 and 32 tokens on one thread, in every kernel variant, tokenizing included, and reports
// tokens a second, [CLS] and [SEP] counted: shapes that other runtimes are measured with.
func BenchmarkEncode(b *testing.B) {
	for _, set := range kernel.All() {
		e, err := encoder.Load(bge.Weights(), set)
		if err != nil {
			b.Fatal(err)
		}
		for _, shape := range [][2]int{{32, 128}, {1, 32}} {
			count, length := shape[0], shape[1]
			if set.Name() == "go" {
				count = 1
			}
			b.Run(fmt.Sprintf("%s/%dx%d", set.Name(), count, length), func(b *testing.B) {
				texts := make([]string, count)
				for i := range texts {
					texts[i] = words(e.Tokenizer(), length-2, uint64(i))
				}
				for b.Loop() {
					if _, err := e.Encode(context.Background(), texts, encoder.Options{Threads: 1}); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(count*length*b.N)/b.Elapsed().Seconds(), "tokens/s")
			})
		}
	}
}

// words returns a text of exactly n pieces, random words of the vocabulary.
func words(t *encoder.Tokenizer, n int, seed uint64) string {
	random := rand.New(rand.NewPCG(seed, 1))
	var out []string
	for len(out) < n {
		if w := t.Piece(int32(2000 + random.IntN(20000))); len(t.Tokenize(w)) == 1 {
			out = append(out, w)
		}
	}
	return strings.Join(out, " ")
}
