// Package shardtest holds what tests of clusters share: a whole cluster in one process, over wires that fail by seed and disks that lose
// what was not synced; documents and queries by number; the conformance suite of shard.Memory; and the judgement of histories.
package shardtest
