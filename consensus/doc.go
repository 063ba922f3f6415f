// Package consensus makes replicas agree: one Raft group per shard ([Group]) over one multiplexed port ([Mux]), liveness and
// addresses by gossip ([Members]), and the cluster's clock ([Clocks], [Timekeeper]). It is the only importer of hashicorp/raft
// and memberlist, and knows nothing of what the entries mean.
//
// In Raft's records a server's address is its node id: ids are looked up at every dial, so a node that comes back elsewhere keeps
// its votes and its place, and no address is ever written down.
//
// A group's snapshot is its state file. What that costs in care: a snapshot is recorded only once the state file, read back from
// the disk, covers it; the log is purged no further than that; and a snapshot that the replica does not need does not
// throw away what the replica holds. See docs/state.md.
//
// Every goroutine waits on channels, timers and mutexes only and ends at Close, so that all of it runs in testing/synctest.
package consensus
