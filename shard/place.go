package shard

import (
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// Place returns the shard of a document, of so many: a function of its parent alone, so that all passages of a parent lie together.
// The high bits of a product map a hash to a shard evenly (Lemire 2019, "Fast random integer generation in an interval").
func Place(id string, shards uint32) uint32 { return PlaceParent(Parent(id), shards) }

// PlaceParent returns the shard of a parent's passages.
func PlaceParent(parent string, shards uint32) uint32 {
	hi, _ := bits.Mul64(xxhash.Sum64String(parent), uint64(shards))
	return uint32(hi)
}
