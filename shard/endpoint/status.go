package endpoint

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ostraca/api"
	"ostraca/shard"
)

func (s *Service) status(ctx context.Context) (*api.StatusResponse, error) {
	all, err := s.router.Status(ctx)
	if err != nil {
		return nil, err
	}
	m := s.router.Map()
	out := &api.StatusResponse{Cluster: strconv.FormatUint(m.Cluster, 10), Router: s.name, TimeMs: s.router.Now(), Collections: collections(m, all)}
	if s.encoder != nil {
		out.Encoder = s.encoder.Hash()
	}
	nodes := map[string]*api.NodeStatus{}
	node := func(id string) *api.NodeStatus {
		if nodes[id] == nil {
			nodes[id] = &api.NodeStatus{Node: id}
		}
		return nodes[id]
	}
	for id, address := range s.router.Nodes() {
		n := node(id)
		n.Address, n.Alive = address, true
	}
	for number := range m.Shards {
		of := replicas(all, uint32(number))
		x := toShard(uint32(number), of)
		for _, r := range of {
			n := node(r.Node)
			n.Replicas++
			if r.Node == x.Leader {
				n.Leads++
			}
		}
		out.Shards = append(out.Shards, x)
	}
	for _, id := range sorted(nodes) {
		out.Nodes = append(out.Nodes, nodes[id])
	}
	for _, j := range m.Jobs {
		out.Pending = append(out.Pending, toPending(&j))
	}
	return out, nil
}

// replicas returns the status of a shard's replicas.
func replicas(all *shard.Status, number uint32) []*shard.ReplicaStatus {
	var out []*shard.ReplicaStatus
	for i := range all.Shards {
		if all.Shards[i].Shard == number {
			out = append(out, &all.Shards[i])
		}
	}
	return out
}

// unreachable is the role of a replica whose node did not answer.
const unreachable = "unreachable"

// toShard makes one of the statuses of a shard's replicas. Whoever leads by the highest term is the leader.
func toShard(number uint32, of []*shard.ReplicaStatus) *api.ShardStatus {
	out := &api.ShardStatus{Shard: number, DigestsAgree: true}
	term, furthest, digests := uint64(0), uint64(0), map[uint64][]string{} // by applied index
	for _, r := range of {
		out.Commit, furthest = max(out.Commit, r.Commit), max(furthest, r.Applied)
		if roleOf(r) == "leader" && r.Term >= term {
			out.Leader, term = r.Node, r.Term
		}
	}
	for _, r := range of {
		x := &api.ReplicaStatus{
			Node: r.Node, Role: roleOf(r), Term: r.Term, Commit: r.Commit, Applied: r.Applied, Trouble: toText(r.Trouble),
			StateBytes: uint64(r.StateFileBytes), LogBytes: uint64(r.LogFileBytes), IndexBytes: uint64(r.IndexBytes), OverlayBytes: uint64(r.OverlayBytes),
		}
		if r.Role != unreachable {
			x.Lag, x.Digest, x.Generation = furthest-r.Applied, r.Digest.String(), strconv.FormatUint(r.Generation, 10)
			digests[r.Applied] = append(digests[r.Applied], x.Digest)
			if r.LogLast >= r.LogFirst && r.LogLast > 0 {
				x.LogEntries = r.LogLast - r.LogFirst + 1
			}
		}
		for _, c := range r.Collections {
			x.Documents, x.Tokens = x.Documents+uint64(c.Documents), x.Tokens+uint64(c.Tokens)
		}
		out.Replicas = append(out.Replicas, x)
	}
	for _, of := range digests {
		if len(of) > 1 {
			out.DigestsCompared += uint32(len(of))
			out.DigestsAgree = out.DigestsAgree && len(slices.Compact(of)) == 1
		}
	}
	return out
}

// roleOf returns what a replica does, as api/ostraca.proto names it.
func roleOf(r *shard.ReplicaStatus) string {
	if !r.Voter() {
		return "nonvoter"
	}
	return strings.ToLower(r.Role)
}

func toPending(j *shard.Job) *api.PendingJob {
	out := &api.PendingJob{Id: j.ID, Collection: j.Collection, Shards: uint32(len(j.Done))}
	switch j.Change {
	case shard.Create:
		out.Change = "create"
	case shard.Alter:
		out.Change = "change"
	case shard.Drop:
		out.Change = "drop"
	default:
		out.Change = fmt.Sprint(j.Change)
	}
	for _, done := range j.Done {
		if done {
			out.ShardsDone++
		}
	}
	return out
}
