package shardtest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"

	"ostraca/retrieval"
	"ostraca/retrieval/index"
	"ostraca/shard"
)

// Width is the dimensions of the token vectors in tests.
const Width = 16

// Configuration returns that of a collection of such vectors, with a key that tests know.
func Configuration() shard.Configuration {
	return shard.Configuration{Key: [32]byte{1, 2, 3}, Codec: retrieval.Int8, Width: Width, Epoch: 1}
}

// Document returns a document of an id, which is the same for the same number.
func Document(id string, number uint64) shard.Document {
	return DocumentOf(retrieval.Int8, id, number)
}

// DocumentOf is [Document] in a codec.
func DocumentOf(codec retrieval.Codec, id string, number uint64) shard.Document {
	rng := rand.New(rand.NewPCG(number, 7))
	n := 1 + rng.IntN(6)
	codes, err := index.Quantize(codec, vectors(rng, n), Width)
	if err != nil {
		panic(err)
	}
	fields, err := json.Marshal(map[string]uint64{"number": number})
	if err != nil {
		panic(err)
	}
	return shard.Document{ID: id, Text: fmt.Sprintf("document %s, number %d", id, number), Fields: fields, Codes: index.Pool(codes)}
}

// Query returns a query of 3 tokens for the best k, which is the same for the same number.
func Query(number uint64, k int) *retrieval.Query { return QueryOf(retrieval.Int8, number, k) }

// QueryOf is [Query] in a codec.
func QueryOf(codec retrieval.Codec, number uint64, k int) *retrieval.Query {
	q, err := index.QuantizeQuery(codec, vectors(rand.New(rand.NewPCG(number, 8)), 3), Width, nil, k)
	if err != nil {
		panic(err)
	}
	return q
}

func vectors(rng *rand.Rand, rows int) []float32 {
	x := make([]float32, rows*Width)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

// Put returns the operation that puts a document.
func Put(collection string, d shard.Document, c shard.Condition) shard.Operation {
	return shard.Operation{Collection: collection, Body: &shard.Put{Condition: c, Epoch: 1, Document: d}}
}

// Forget returns the operation that forgets documents by id.
func Forget(collection string, ids ...string) shard.Operation {
	return shard.Operation{Collection: collection, Body: &shard.Forget{IDs: ids}}
}
