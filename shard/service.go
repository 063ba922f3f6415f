package shard

import (
	"context"
	"encoding/json"
	"fmt"

	"ostraca/api/nodeapi"
	"ostraca/retrieval"
)

// service answers for the replicas of a node over gRPC.
type service struct {
	nodeapi.UnimplementedNodeServer
	node *Node
}

// peer returns the node's replica of a shard.
func (s *service) peer(shard uint32) (*Replica, error) { return s.node.held(shard) }

// Search answers one phase on some shards, all at once. Of one shard it fails as the shard does; of several each says how it fares.
func (s *service) Search(ctx context.Context, m *nodeapi.SearchRequest) (*nodeapi.SearchResponse, error) {
	q, err := fromSearch(m)
	if err != nil {
		return nil, toWire(err)
	}
	shards := m.GetShards()
	parts := fan(len(shards), func(i uint32) (*SearchAnswer, error) {
		r, err := s.peer(shards[i])
		if err != nil {
			return nil, err
		}
		if len(shards) == 1 { // all that was asked concerns it
			return r.Search(ctx, q)
		}
		return r.Search(ctx, concerning(q, int(r.options.Shards), shards[i:i+1]))
	})
	if len(parts) == 1 && parts[0].err != nil {
		return nil, toWire(parts[0].err)
	}
	out := &nodeapi.SearchResponse{Answers: make([]*nodeapi.ShardAnswer, len(parts))}
	for i, p := range parts {
		if p.err != nil && retriable(p.err) && ctx.Err() == nil { // the call goes well, so nobody else tells of it here; of others the caller is to blame, and they may quote it
			s.node.options.Logger.WarnContext(ctx, "a shard has no answer", "shard", shards[i], "collection", q.Collection, "error", p.err)
		}
		out.Answers[i] = toShardAnswer(p)
	}
	return out, nil
}

// Write puts operations through the log.
func (s *service) Write(ctx context.Context, m *nodeapi.WriteRequest) (*nodeapi.WriteResponse, error) {
	r, err := s.peer(m.GetShard())
	if err != nil {
		return nil, toWire(err)
	}
	if len(m.GetOperations()) > MaxBatch {
		return nil, toWire(fmt.Errorf("write: %d operations, the limit is %d: %w", len(m.GetOperations()), MaxBatch, retrieval.ErrTooLarge))
	}
	w := &WriteRequest{Operations: make([]Operation, len(m.GetOperations())), Seen: m.GetSeenMs()}
	for i, b := range m.GetOperations() {
		if w.Operations[i], err = parseOperation(b); err != nil {
			return nil, toWire(fmt.Errorf("write: operation %d: %w", i, err))
		}
	}
	write := r.Write
	if m.GetForwarded() {
		write = r.Forward
	}
	results, err := write(ctx, w)
	if err != nil {
		return nil, toWire(err)
	}
	out := &nodeapi.WriteResponse{Results: make([]*nodeapi.Result, len(results))}
	for i, x := range results {
		out.Results[i] = toResult(x)
	}
	return out, nil
}

// Get fetches documents.
func (s *service) Get(ctx context.Context, m *nodeapi.GetRequest) (*nodeapi.GetResponse, error) {
	r, err := s.peer(m.GetShard())
	if err != nil {
		return nil, toWire(err)
	}
	q := &GetRequest{Collection: m.GetCollection(), IDs: m.GetIds(), Codes: m.GetCodes(), Last: m.GetLast()}
	if q.Read, err = fromRead(m.GetRead()); err != nil {
		return nil, toWire(err)
	}
	a, err := r.Get(ctx, q)
	if err != nil {
		return nil, toWire(err)
	}
	return &nodeapi.GetResponse{Documents: toFound(a.Documents), Index: a.States[0].Index, TimeMs: a.States[0].Time, Leader: a.States[0].Leader}, nil
}

// List pages through documents.
func (s *service) List(ctx context.Context, m *nodeapi.ListRequest) (*nodeapi.ListResponse, error) {
	r, err := s.peer(m.GetShard())
	if err != nil {
		return nil, toWire(err)
	}
	q := &ListRequest{Collection: m.GetCollection(), After: m.GetAfter(), Limit: int(m.GetLimit()), Codes: m.GetCodes(), Filter: m.GetFilter(), Count: m.GetCount()}
	if q.Read, err = fromRead(m.GetRead()); err != nil {
		return nil, toWire(err)
	}
	a, err := r.List(ctx, q)
	if err != nil {
		return nil, toWire(err)
	}
	return &nodeapi.ListResponse{Documents: toFound(a.Documents), More: a.More, Next: a.Next, Count: a.Count, Index: a.States[0].Index,
		TimeMs: a.States[0].Time, Leader: a.States[0].Leader}, nil
}

// Status tells of one replica, or of all.
func (s *service) Status(ctx context.Context, m *nodeapi.StatusRequest) (*nodeapi.StatusResponse, error) {
	shards := s.node.shards()
	if m.Shard != nil {
		shards = []uint32{m.GetShard()}
	}
	out := &nodeapi.StatusResponse{}
	for _, shard := range shards {
		status, err := s.node.status(ctx, shard)
		if err != nil {
			return nil, toWire(err)
		}
		out.Shards = append(out.Shards, toStatus(status))
	}
	return out, nil
}

// ReadIndex is answered by leaders.
func (s *service) ReadIndex(ctx context.Context, m *nodeapi.ReadIndexRequest) (*nodeapi.ReadIndexResponse, error) {
	r, err := s.peer(m.GetShard())
	if err != nil {
		return nil, toWire(err)
	}
	index, err := r.ReadIndex(ctx)
	return &nodeapi.ReadIndexResponse{Index: index}, toWire(err)
}

// Placement reads the map, or proposes a change of it.
func (s *service) Placement(ctx context.Context, m *nodeapi.PlacementRequest) (*nodeapi.PlacementResponse, error) {
	if len(m.GetCommand()) > 0 {
		c, err := parsePlacement(m.GetCommand())
		if err == nil {
			err = s.node.place(ctx, c, m.GetForwarded())
		}
		if err != nil {
			return nil, toWire(err)
		}
	}
	out := &nodeapi.PlacementResponse{TimeMs: s.node.time()}
	var err error
	if now := s.node.Map(); now.Version > m.GetKnown() {
		out.Map, err = json.Marshal(now)
	}
	return out, toWire(err)
}
