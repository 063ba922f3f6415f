package shard

import (
	"context"
	"fmt"
	"math"

	"google.golang.org/grpc"

	"ostraca/api/nodeapi"
	"ostraca/retrieval"
)

// Client is the replica of one shard on another node. It is a [Memory] and a [Peer].
type Client struct {
	node  nodeapi.NodeClient
	shard uint32
}

// NewClient returns the client of a shard's replica at the far end of a connection, which it does not close.
func NewClient(c grpc.ClientConnInterface, shard uint32) *Client {
	return &Client{nodeapi.NewNodeClient(c), shard}
}

// Search is [Memory.Search] of the replica.
func (c *Client) Search(ctx context.Context, r *SearchRequest) (*SearchAnswer, error) {
	p := searchOn(ctx, c.node, []uint32{c.shard}, r)[0]
	return p.value, p.err
}

// searchOn asks a node for some of its shards, and returns what each said.
func searchOn(ctx context.Context, node nodeapi.NodeClient, shards []uint32, r *SearchRequest) []part[*SearchAnswer] {
	out := make([]part[*SearchAnswer], len(shards))
	m, err := searchNode(ctx, node, shards, r)
	for i, shard := range shards {
		if out[i].err = err; err == nil {
			out[i].value, out[i].err = fromShardAnswer(m.GetAnswers()[i], shard, r)
		}
	}
	return out
}

func searchNode(ctx context.Context, node nodeapi.NodeClient, shards []uint32, r *SearchRequest) (*nodeapi.SearchResponse, error) {
	if r.Query != nil {
		if err := r.Query.Validate(); err != nil { // what the far end refuses, and a width that would not fit the message
			return nil, err
		}
	}
	if err := CheckFilter(r.Filter); err != nil {
		return nil, err
	}
	m, err := node.Search(ctx, toSearch(shards, r))
	if err != nil {
		return nil, fromWire(err)
	}
	if n := len(m.GetAnswers()); n != len(shards) {
		return nil, fmt.Errorf("search: answers of %d shards, %d were asked: %w", n, len(shards), retrieval.ErrCorrupt)
	}
	return m, nil
}

// Write is [Memory.Write] of the replica, which forwards it to its leader.
func (c *Client) Write(ctx context.Context, r *WriteRequest) ([]Result, error) {
	return c.write(ctx, r, false)
}

// Forward is [Peer.Forward].
func (c *Client) Forward(ctx context.Context, r *WriteRequest) ([]Result, error) {
	return c.write(ctx, r, true)
}

func (c *Client) write(ctx context.Context, r *WriteRequest, forwarded bool) ([]Result, error) {
	a, err := admit(r.Operations, func(*Operation) error { return nil }) // what cannot be encoded faithfully must not travel
	if err != nil || len(a.operations) == 0 {
		return a.with(nil), err
	}
	operations := make([][]byte, len(a.operations))
	for i := range a.operations {
		operations[i] = appendOperation(nil, &a.operations[i])
	}
	m, err := c.node.Write(ctx, &nodeapi.WriteRequest{Shard: c.shard, Forwarded: forwarded, Operations: operations, SeenMs: r.Seen})
	if err != nil {
		return nil, writeFailure(err)
	}
	if len(m.GetResults()) != len(operations) {
		return nil, fmt.Errorf("write: %d results of %d operations: %w", len(m.GetResults()), len(operations), ErrUnknown)
	}
	results := make([]Result, len(operations))
	for i, x := range m.GetResults() {
		if results[i], err = fromResult(x); err != nil { // it was done, or not
			return nil, fmt.Errorf("write: %w: %w", ErrUnknown, err)
		}
	}
	return a.with(results), nil
}

// Get is [Memory.Get] of the replica.
func (c *Client) Get(ctx context.Context, r *GetRequest) (*GetAnswer, error) {
	m, err := c.node.Get(ctx, &nodeapi.GetRequest{Shard: c.shard, Collection: r.Collection, Ids: r.IDs, Codes: r.Codes, Read: toRead(r.Read), Last: r.Last})
	if err != nil {
		return nil, fromWire(err)
	}
	documents, err := fromFound(m.GetDocuments())
	return &GetAnswer{documents, []State{{Shard: c.shard, Index: m.GetIndex(), Time: m.GetTimeMs(), Pin: r.Read.Pin, Leader: m.GetLeader()}}}, err
}

// List is [Memory.List] of the replica.
func (c *Client) List(ctx context.Context, r *ListRequest) (*ListAnswer, error) {
	if err := CheckFilter(r.Filter); err != nil {
		return nil, err
	}
	m, err := c.node.List(ctx, &nodeapi.ListRequest{Shard: c.shard, Collection: r.Collection, After: r.After, Limit: uint32(min(max(r.Limit, 0), math.MaxInt32)), Codes: r.Codes,
		Filter: r.Filter, Count: r.Count, Read: toRead(r.Read)})
	if err != nil {
		return nil, fromWire(err)
	}
	documents, err := fromFound(m.GetDocuments())
	return &ListAnswer{documents, m.GetMore(), m.GetNext(), m.GetCount(), []State{{Shard: c.shard, Index: m.GetIndex(), Time: m.GetTimeMs(), Leader: m.GetLeader()}}}, err
}

// Status is [Memory.Status] of the replica.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	m, err := c.node.Status(ctx, &nodeapi.StatusRequest{Shard: &c.shard})
	if err != nil {
		return nil, fromWire(err)
	}
	if n := len(m.GetShards()); n != 1 {
		return nil, fmt.Errorf("status: %d shards in the answer of one: %w", n, retrieval.ErrCorrupt)
	}
	out := &Status{}
	for _, s := range m.GetShards() {
		one, err := fromStatus(s)
		if err != nil {
			return nil, err
		}
		out.Shards = append(out.Shards, one)
	}
	return out, nil
}

// ReadIndex is [Peer.ReadIndex].
func (c *Client) ReadIndex(ctx context.Context) (uint64, error) {
	m, err := c.node.ReadIndex(ctx, &nodeapi.ReadIndexRequest{Shard: c.shard})
	return m.GetIndex(), fromWire(err)
}
