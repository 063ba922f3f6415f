// Package shard is what a shard is and what many of them are: the state machine that a Raft group replicates, the replica that
// answers from it, the placement of documents and shards, and the router that makes one memory of all.
//
// The one deep interface is [Memory]. A [Replica] has it, a [Client] of a replica on another node, and the [Router] over all shards; they
// pass one conformance suite (package shardtest). Bytes of operations and rows are written down in docs/operations.md and docs/state.md.
package shard
