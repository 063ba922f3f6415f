// Package index is one shard in memory: the codecs of docs/score.md, immutable segments of documents, and the search over
// them, exact or by a plan (docs/cascade.md).
//
// An [Index] is a list of segments behind one pointer. A write builds the next list: the batch becomes a segment, replaced
// and deleted documents are marked dead beside theirs. A goroutine merges neighbours so that their sizes fall geometrically. A
// search walks one list with one kernel per goroutine, and goroutines' answers meet in [retrieval.Merge], as shards' do.
package index
