// Package index is one shard in memory: the codec of docs/score.md, immutable segments of documents, and the exact search
// over them.
//
// An [Index] is a list of segments behind one pointer. A write builds the next list: the batch becomes a segment, replaced
// and deleted documents are marked dead beside theirs. A goroutine merges neighbours so that their sizes fall geometrically. A
// search walks one list with one kernel per goroutine, and goroutines' answers meet in [retrieval.Merge], as shards' do.
package index
