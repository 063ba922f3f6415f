package index

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"ostraca/retrieval"
)

const benchTokens = 180 // of a document

func benchDocuments(b *testing.B, n, width int) []retrieval.Document {
	rng := rand.New(rand.NewPCG(1, 2))
	docs := make([]retrieval.Document, n)
	for i := range docs {
		docs[i] = retrieval.Document{ID: fmt.Sprint(i), Codes: quantize(b, floats(rng, benchTokens, width), width)}
	}
	return docs
}

// BenchmarkSearch scans 200,000 tokens for a query of 32, the best 10 wanted, on one goroutine.
func BenchmarkSearch(b *testing.B) {
	for _, width := range []int{128, 384} {
		b.Run(fmt.Sprint(width), func(b *testing.B) {
			x, err := New(width, Options{Threads: 1})
			if err != nil {
				b.Fatal(err)
			}
			put(b, x, benchDocuments(b, 200_000/benchTokens, width)...)
			q, err := QuantizeQuery(retrieval.Int8, floats(rand.New(rand.NewPCG(3, 4)), 32, width), width, nil, 10)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				search(b, x, q)
			}
			b.ReportMetric(float64(x.Tokens())*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mtokens/s")
		})
	}
}

// BenchmarkPlan searches 1,000,000 tokens for a query of 32 by plans of several widths, the best 10 wanted, on one goroutine.
func BenchmarkPlan(b *testing.B) {
	const width, documents = 128, 1_000_000 / benchTokens
	for _, codec := range []retrieval.Codec{retrieval.Int8, retrieval.Bits4, retrieval.Bits2} {
		x := benchIndex(b, codec, width, documents)
		for _, p := range []retrieval.Plan{{Sketched: 50, Scored: 20}, {Sketched: 400, Scored: 60}, {Sketched: 1000, Scored: 150}, {Scored: 150}, {}} {
			b.Run(fmt.Sprintf("%s/%d-%d", codec, p.Sketched, p.Scored), func(b *testing.B) {
				q, err := QuantizeQuery(codec, floats(rand.New(rand.NewPCG(3, 4)), 32, width), width, nil, 10)
				if err != nil {
					b.Fatal(err)
				}
				q.Plan = p
				b.ReportAllocs()
				for b.Loop() {
					search(b, x, q)
				}
			})
		}
	}
}

// benchIndex holds documents that are few different ones under many ids: how long a search takes does not depend on what it meets.
func benchIndex(b *testing.B, codec retrieval.Codec, width, documents int) *Index {
	rng := rand.New(rand.NewPCG(1, 2))
	builder, err := NewBuilder(width, Options{Codec: codec, Threads: 1}, documents, documents*benchTokens)
	if err != nil {
		b.Fatal(err)
	}
	var some [100]retrieval.Codes
	for i := range some {
		if some[i], err = Quantize(codec, floats(rng, benchTokens, width), width); err != nil {
			b.Fatal(err)
		}
		some[i] = Pool(some[i])
	}
	for i := range documents {
		if err := builder.Add(retrieval.Document{ID: fmt.Sprintf("%08d", i), Codes: some[rng.IntN(len(some))]}); err != nil {
			b.Fatal(err)
		}
	}
	return builder.Index()
}

// BenchmarkPut fills an index with 1,000 documents of 384 dimensions, some at a time.
func BenchmarkPut(b *testing.B) {
	docs := benchDocuments(b, 1000, 384)
	for _, batch := range []int{1, 32, 1000} {
		b.Run(fmt.Sprint(batch), func(b *testing.B) {
			for b.Loop() {
				x, err := New(384, Options{})
				if err != nil {
					b.Fatal(err)
				}
				for i := 0; i < len(docs); i += batch {
					put(b, x, docs[i:min(i+batch, len(docs))]...)
				}
			}
			b.ReportMetric(float64(len(docs)*benchTokens)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mtokens/s")
		})
	}
}

func BenchmarkQuantize(b *testing.B) {
	x := floats(rand.New(rand.NewPCG(1, 2)), benchTokens, 384)
	for b.Loop() {
		quantize(b, x, 384)
	}
	b.ReportMetric(benchTokens*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mtokens/s")
}
