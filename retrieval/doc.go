// Package retrieval is the vocabulary and the algebra of token-level retrieval: documents, queries, answers, and the
// laws by which answers of parts become the answer of the whole.
//
// It is pure: no clock, no file, no network, no goroutine. Everything that searches (a segment's scan, an index, many
// of them) is a [Searcher], and [Merge] makes one answer of many, so merging nests: a shard, a node, a cluster.
// The score is written down in docs/score.md.
package retrieval
