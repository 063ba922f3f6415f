package shard

import (
	"errors"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"

	"ostraca/api/nodeapi"
	"ostraca/consensus"
	"ostraca/retrieval"
)

// TestBundles: every shard is asked for once, of its leader for a fresh read, and those of one node together, as long as the answers fit a message.
func TestBundles(t *testing.T) {
	m, r, alive := &Map{}, &Router{}, map[string]consensus.Member{}
	nodes := []string{"n0", "n1", "n2"}
	for _, node := range nodes {
		alive[node] = consensus.Member{}
	}
	for shard := range uint32(8) {
		m.Shards = append(m.Shards, ShardPlace{Replicas: nodes})
		r.leaders.Store(shard, nodes[shard/3]) // 0 1 2, 3 4 5, 6 7
	}
	q := &retrieval.Query{Codec: retrieval.Int8, Width: 1, Codes: make([]int8, 32), Weights: make([]uint16, 32), K: 10}
	shardsOf := func(q *SearchRequest) (out []string) {
		for _, g := range r.bundles(m, q, alive) {
			for _, order := range g.orders {
				if order[0] != g.orders[0][0] || len(order) != 3 {
					t.Errorf("%v in a bundle of %v", order, g.orders[0])
				}
			}
			out = append(out, fmt.Sprint(g.orders[0][0], g.shards))
		}
		return out
	}
	if got := fmt.Sprint(shardsOf(&SearchRequest{Query: q, Documents: true})); got != "[n0[0 1 2] n1[3 4 5] n2[6 7]]" {
		t.Error(got)
	}
	delete(alive, "n0")
	for _, g := range r.bundles(m, &SearchRequest{Query: q}, alive) {
		if g.orders[0][0] == "n0" {
			t.Error("one that is not alive is asked first")
		}
	}
	alive["n0"] = consensus.Member{}
	q.K = retrieval.MaxK // up to 8.3 MB of a shard
	if got := fmt.Sprint(shardsOf(&SearchRequest{Query: q})); got != "[n0[0 1] n0[2] n1[3 4] n1[5] n2[6 7]]" {
		t.Error(got)
	}
	q.K, q.Codes, q.Weights = 1024, make([]int8, 4096), make([]uint16, 4096)
	if got := shardsOf(&SearchRequest{Query: q}); len(got) != 8 {
		t.Errorf("large answers travel together: %v", got)
	}
	if got := fmt.Sprint(shardsOf(&SearchRequest{Query: q, SumsOnly: true})); got != "[n0[0 1 2] n1[3 4 5] n2[6 7]]" {
		t.Error(got)
	}
	if got := fmt.Sprint(shardsOf(&SearchRequest{Phase: Statistics})); got != "[n0[0 1 2] n1[3 4 5] n2[6 7]]" {
		t.Error(got)
	}
	if got := shardsOf(&SearchRequest{Query: q, SumsOnly: true, Read: Read{Level: Local}}); len(got) != 3 { // not all of one node
		t.Error(got)
	}
}

// TestSearchOfSomeShards: each shard has its answer or its failure; of one, the call fails.
func TestSearchOfSomeShards(t *testing.T) {
	s := lonelyNode(t)
	ask := func(shards ...uint32) (*nodeapi.SearchResponse, error) {
		m, err := s.Search(t.Context(), toSearch(shards, &SearchRequest{Collection: "papers", Phase: Statistics, Read: Read{Level: Local}}))
		return m, fromWire(err)
	}
	for what, shards := range map[string][]uint32{"none": {}, "twice": {0, 0}, "descending": {1, 0}, "too many": make([]uint32, MaxShards+1)} {
		if _, err := ask(shards...); !errors.Is(err, retrieval.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := ask(0); !errors.Is(err, retrieval.ErrNotFound) {
		t.Errorf("a collection that is not there: %v", err)
	}
	create := Operation{ID: newID(s.node.time()), Collection: "papers", Body: &Configure{Create, testPapers}}
	if results, err := s.node.Replica(0).Write(t.Context(), &WriteRequest{Operations: []Operation{create}}); err != nil || results[0].Failure() != nil {
		t.Fatal(err, results)
	}
	m, err := ask(0, 5)
	if err != nil || len(m.GetAnswers()) != 2 || m.GetAnswers()[0].GetFailure() != 0 || codes.Code(m.GetAnswers()[1].GetFailure()) != codeOf(ErrUnavailable) {
		t.Errorf("%v: %v", err, m)
	}
	if _, err := fromShardAnswer(m.GetAnswers()[1], 5, &SearchRequest{}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("the failure of a shard: %v", err)
	}
	if m, err := ask(4, 5); err != nil || m.GetAnswers()[0].GetFailure() == 0 || m.GetAnswers()[1].GetFailure() == 0 {
		t.Errorf("shards of other nodes: %v, %v", err, m)
	}
	if _, err := ask(5); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a shard of another node: %v", err)
	}
}
