package shard

import (
	"fmt"
	"math"

	"google.golang.org/grpc/codes"

	"ostraca/api/nodeapi"
	"ostraca/retrieval"
)

func toSearch(shards []uint32, r *SearchRequest) *nodeapi.SearchRequest {
	return &nodeapi.SearchRequest{Shards: shards, Collection: r.Collection, Phase: nodeapi.SearchRequest_Phase(r.Phase), Query: toQuery(r.Query), Ids: r.IDs, Read: toRead(r.Read),
		SumsOnly: r.SumsOnly, WithDocuments: r.Documents, Hold: r.Hold, Filter: r.Filter}
}

// fromSearch returns a search of the message's shards.
func fromSearch(m *nodeapi.SearchRequest) (*SearchRequest, error) {
	shards := m.GetShards()
	if len(shards) == 0 || len(shards) > MaxShards {
		return nil, fmt.Errorf("search of %d shards, it must be 1 to %d: %w", len(shards), MaxShards, retrieval.ErrInvalid)
	}
	for i := range shards[1:] {
		if shards[i] >= shards[i+1] {
			return nil, fmt.Errorf("search of shard %d after %d, they must ascend: %w", shards[i+1], shards[i], retrieval.ErrInvalid)
		}
	}
	q := &SearchRequest{Collection: m.GetCollection(), Phase: Phase(min(uint32(m.GetPhase()), math.MaxUint8)), IDs: m.GetIds(), Filter: m.GetFilter(), SumsOnly: m.GetSumsOnly(), Documents: m.GetWithDocuments(), Hold: m.GetHold()}
	var err error
	if q.Query, err = fromQuery(m.GetQuery()); err != nil {
		return nil, err
	}
	q.Read, err = fromRead(m.GetRead())
	return q, err
}

func toShardAnswer(p part[*SearchAnswer]) *nodeapi.ShardAnswer {
	if p.err != nil {
		return &nodeapi.ShardAnswer{Failure: uint32(codeOf(p.err)), FailureText: p.err.Error()}
	}
	a, state := p.value, p.value.States[0]
	out := &nodeapi.ShardAnswer{Documents: a.Held.Documents, Tokens: a.Held.Tokens, Index: state.Index, TimeMs: state.Time, Pin: toPin(state.Pin), Leader: state.Leader,
		Found: toFound(a.Documents)}
	toStats(out, a.Stats)
	for _, h := range a.Hits {
		out.Hits = append(out.Hits, toHit(h))
	}
	return out
}

// fromShardAnswer returns the answer of a shard to a search.
func fromShardAnswer(m *nodeapi.ShardAnswer, shard uint32, q *SearchRequest) (*SearchAnswer, error) {
	if err := failure(codes.Code(m.GetFailure()), m.GetFailureText()); err != nil {
		return nil, err
	}
	a := &SearchAnswer{Held: Held{m.GetDocuments(), m.GetTokens()}, Candidates: len(m.GetHits())}
	a.Stats = fromStats(m)
	a.States = []State{{Shard: shard, Index: m.GetIndex(), Time: m.GetTimeMs(), Pin: fromPin(m.GetPin()), Leader: m.GetLeader()}}
	for _, h := range m.GetHits() {
		hit, err := fromHit(h, q.Query, !q.SumsOnly)
		if err != nil {
			return nil, err
		}
		a.Hits = append(a.Hits, hit)
	}
	if len(m.GetFound()) > 0 {
		var err error
		if a.Documents, err = fromFound(m.GetFound()); err != nil {
			return nil, err
		}
	}
	for i, d := range a.Documents {
		if i >= len(a.Hits) || d.ID != a.Hits[i].ID {
			return nil, fmt.Errorf("document %q came along with hits that it is not of: %w", d.ID, retrieval.ErrCorrupt)
		}
	}
	return a, nil
}

// toStats writes what an answer cost into it.
func toStats(out *nodeapi.ShardAnswer, s retrieval.Stats) {
	out.ScoredDocuments, out.ScoredTokens, out.Segments = s.Documents, s.Tokens, s.Segments
	out.Lists, out.Sketches, out.Coarse, out.Sketched = s.Centroids, s.Sketches, s.Coarse, s.Sketched
	out.SketchUs, out.CoarseUs, out.ScoreUs = s.Micros.Sketch, s.Micros.Coarse, s.Micros.Score
}

func fromStats(m *nodeapi.ShardAnswer) retrieval.Stats {
	return retrieval.Stats{Documents: m.GetScoredDocuments(), Tokens: m.GetScoredTokens(), Segments: m.GetSegments(),
		Centroids: m.GetLists(), Sketches: m.GetSketches(), Coarse: m.GetCoarse(), Sketched: m.GetSketched(),
		Micros: retrieval.Micros{Sketch: m.GetSketchUs(), Coarse: m.GetCoarseUs(), Score: m.GetScoreUs()}}
}
