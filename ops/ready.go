package ops

import (
	"context"
	"fmt"
	"time"

	"ostraca/shard"
)

// Readiness is whether a process can do its work, and else what is missing.
type Readiness struct {
	Ready   bool     `json:"ready"`
	Missing []string `json:"missing"`
}

// missing makes a readiness of all that is.
func missing(all []string) Readiness {
	if all == nil {
		all = []string{} // in JSON a list
	}
	return Readiness{len(all) == 0, all}
}

// NotReady is the readiness of a process that lacks one thing.
func NotReady(format string, args ...any) Readiness {
	return missing([]string{fmt.Sprintf(format, args...)})
}

// readyTime is how long a router asks the replicas whether they answer.
const readyTime = time.Second

// NodeReadiness tells whether a node has its place in a cluster, and all of its replicas, each of which has a vote, knows a leader and is in no
// trouble. So whoever restarts nodes in turn, one when the one before is ready, never takes away a quorum.
func NodeReadiness(ctx context.Context, n *shard.Node) Readiness {
	var lacks []string
	if len(n.Map().Shards) == 0 {
		lacks = append(lacks, "no place in a cluster yet: fewer nodes than --bootstrap-expect have met, or none that is in the cluster can be reached")
	}
	for _, s := range n.Assigned() {
		if n.Replica(s) == nil {
			lacks = append(lacks, fmt.Sprintf("the replica of shard %d is not open", s))
		}
	}
	if err := n.Trouble(); err != nil {
		lacks = append(lacks, err.Error())
	} else if status, err := n.Status(ctx); err != nil {
		lacks = append(lacks, err.Error())
	} else {
		for _, s := range status.Shards {
			switch {
			case s.Trouble != "":
				lacks = append(lacks, fmt.Sprintf("shard %d: %s", s.Shard, s.Trouble))
			case s.Leader == "":
				lacks = append(lacks, fmt.Sprintf("shard %d: no leader is known", s.Shard))
			case !s.Voter():
				lacks = append(lacks, fmt.Sprintf("shard %d: the replica is being filled and has no vote yet", s.Shard))
			}
		}
	}
	return missing(lacks)
}

// RouterReadiness tells whether a router knows the placement, and of every shard a replica answers that knows a leader.
func RouterReadiness(ctx context.Context, r *shard.Router) Readiness {
	if !RouterPlaced(r) {
		return NotReady("no node has told the placement yet: none that is in a cluster can be reached")
	}
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	status, err := r.Status(ctx)
	if err != nil {
		return NotReady("%v", err)
	}
	led, last := map[uint32]bool{}, map[uint32]string{}
	for _, s := range status.Shards {
		led[s.Shard] = led[s.Shard] || s.Leader != ""
		if s.Trouble != "" {
			last[s.Shard] = ": " + s.Trouble
		}
	}
	var lacks []string
	for s := range uint32(len(r.Map().Shards)) {
		if !led[s] {
			lacks = append(lacks, fmt.Sprintf("shard %d has no leader%s", s, last[s]))
		}
	}
	return missing(lacks)
}

// RouterPlaced tells whether a router knows the placement: then it can try.
func RouterPlaced(r *shard.Router) bool { return len(r.Map().Shards) > 0 && r.Now() > 0 }
