package endpoint

import (
	"fmt"

	"ostraca/retrieval"
	"ostraca/shard"
)

// Limits of a request, checked at the door and told in the error; more of them in packages shard and retrieval. docs/endpoint.md lists all.
const (
	MaxBodyBytes   = 32 << 20       // bytes of a JSON body
	MaxBodiesBytes = 512 << 20      // bytes of the JSON bodies of all requests under way, and of what they are decoded to
	MaxValues      = 1 << 19        // objects, lists, strings and values in fields of a request; numbers of vectors do not count
	MaxPut         = shard.MaxBatch // documents of a put or a patch
	MaxGet         = shard.MaxBatch // ids of a get
	MaxEncode      = 256            // texts of an encode
	MaxCandidates  = 1000           // ids or texts of a rerank
	MaxSearches    = 256            // searches of a batch
	MaxSampleTexts = 4096           // texts of the sample that a projection is fitted on
	MaxDryRunIDs   = 10_000         // ids that the dry run of a forget names; it counts all
)

// What is taken where a request leaves it out.
const (
	DefaultK     = 10  // hits of a search
	DefaultLimit = 100 // documents of a page
)

const (
	chunkTexts     = 64       // texts that are encoded together
	chunkTextBytes = 64 << 10 // and their bytes, unless one alone has more: their vectors take some hundred times as much
	chunkBytes     = 8 << 20  // of vectors and codes that are prepared together
	putTries       = 4        // of a document whose collection changes its epoch between encoding and writing
	searchesAtOnce = 16       // of a batch
	exportPage     = 256      // documents
	answerBytes    = 24 << 20 // of documents at which a page of a list is cut, so that the message stays below its limit
)

// atMost refuses more of something than one request may have.
func atMost(n, limit int, what, instead string) error {
	if n > limit {
		return fmt.Errorf("%d %s, the limit is %d: %s: %w", n, what, limit, instead, retrieval.ErrTooLarge)
	}
	return nil
}
