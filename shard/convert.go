package shard

import (
	"fmt"
	"math"
	"time"

	"google.golang.org/grpc/codes"

	"ostraca/api/nodeapi"
	"ostraca/retrieval"
	"ostraca/storage"
)

// This file turns the nouns of this package into messages and back. What comes from the wire is checked here, or by who uses it.

func toReceipt(r Receipt) *nodeapi.Receipt {
	return &nodeapi.Receipt{Shard: r.Shard, Generation: r.Generation, Index: r.Index, Digest: r.Digest[:], TimeMs: r.Time}
}

func fromReceipt(m *nodeapi.Receipt) (Receipt, error) {
	r := Receipt{Shard: m.GetShard(), Generation: m.GetGeneration(), Index: m.GetIndex(), Time: m.GetTimeMs()}
	if len(m.GetDigest()) != len(r.Digest) {
		return r, fmt.Errorf("digest of a receipt has %d bytes: %w", len(m.GetDigest()), retrieval.ErrInvalid)
	}
	copy(r.Digest[:], m.GetDigest())
	return r, nil
}

func toPin(p *Pin) *nodeapi.Pin {
	if p == nil {
		return nil
	}
	return &nodeapi.Pin{Node: p.Node, Token: p.Token, Index: p.Index}
}

func fromPin(m *nodeapi.Pin) *Pin {
	if m == nil {
		return nil
	}
	return &Pin{Node: m.GetNode(), Token: m.GetToken(), Index: m.GetIndex()}
}

func toRead(r Read) *nodeapi.Read {
	out := &nodeapi.Read{Level: nodeapi.Read_Level(r.Level), BoundNs: int64(r.Bound), Pin: toPin(r.Pin)}
	for _, a := range r.After {
		out.After = append(out.After, toReceipt(a))
	}
	return out
}

func fromRead(m *nodeapi.Read) (Read, error) {
	r := Read{Level: Level(m.GetLevel()), Bound: time.Duration(m.GetBoundNs()), Pin: fromPin(m.GetPin())}
	if m.GetLevel() < 0 || m.GetLevel() > math.MaxUint8 {
		return r, fmt.Errorf("read level %d is unknown: %w", m.GetLevel(), retrieval.ErrInvalid)
	}
	for _, a := range m.GetAfter() {
		receipt, err := fromReceipt(a)
		if err != nil {
			return r, err
		}
		r.After = append(r.After, receipt)
	}
	return r, nil
}

func toQuery(q *retrieval.Query) *nodeapi.Query {
	if q == nil {
		return nil
	}
	out := &nodeapi.Query{Codec: string(q.Codec), Width: uint32(q.Width), Codes: make([]byte, len(q.Codes)), Weights: make([]uint32, len(q.Weights)), Max: q.Max, K: uint32(q.K),
		Lists: uint32(q.Plan.Lists), Sketched: uint32(q.Plan.Sketched), Scored: uint32(q.Plan.Scored)}
	for i, c := range q.Codes {
		out.Codes[i] = byte(c)
	}
	for i, w := range q.Weights {
		out.Weights[i] = uint32(w)
	}
	return out
}

// fromQuery returns a query; the search validates it.
func fromQuery(m *nodeapi.Query) (*retrieval.Query, error) {
	if m == nil {
		return &retrieval.Query{}, nil
	}
	q := &retrieval.Query{Codec: retrieval.Codec(m.GetCodec()), Codes: make([]int8, len(m.GetCodes())), Weights: make([]uint16, len(m.GetWeights())), Max: m.GetMax()}
	q.Width, q.K = int(min(m.GetWidth(), math.MaxInt32)), int(min(m.GetK(), math.MaxInt32))
	q.Plan = retrieval.Plan{Lists: int(min(m.GetLists(), math.MaxInt32)), Sketched: int(min(m.GetSketched(), math.MaxInt32)), Scored: int(min(m.GetScored(), math.MaxInt32))}
	for i, c := range m.GetCodes() {
		q.Codes[i] = int8(c)
	}
	for i, w := range m.GetWeights() {
		if w > math.MaxUint16 {
			return nil, fmt.Errorf("weight of query token %d is %d, the limit is %d: %w", i, w, math.MaxUint16, retrieval.ErrInvalid)
		}
		q.Weights[i] = uint16(w)
	}
	return q, nil
}

func toHit(h retrieval.Hit) *nodeapi.Hit {
	out := &nodeapi.Hit{Id: h.ID, Sum: h.Sum, Tokens: make([]int32, len(h.Alignments)), Scores: make([]int32, len(h.Alignments))}
	for i, a := range h.Alignments {
		out.Tokens[i], out.Scores[i] = a.Token, a.Score
	}
	return out
}

// fromHit returns a hit of a query, with alignments or without; its float comes from the integer, here as everywhere.
func fromHit(m *nodeapi.Hit, q *retrieval.Query, aligned bool) (retrieval.Hit, error) {
	if q == nil {
		return retrieval.Hit{}, fmt.Errorf("hit %q without a query: %w", m.GetId(), retrieval.ErrCorrupt)
	}
	h, n := retrieval.Hit{ID: m.GetId(), Sum: m.GetSum(), Score: q.Score(m.GetSum())}, 0
	if aligned {
		n = q.Len()
		h.Alignments = make([]retrieval.Alignment, n)
	}
	if len(m.GetTokens()) != n || len(m.GetScores()) != n {
		return h, fmt.Errorf("hit %q has %d and %d alignments, not %d: %w", h.ID, len(m.GetTokens()), len(m.GetScores()), n, retrieval.ErrCorrupt)
	}
	for i := range h.Alignments {
		h.Alignments[i] = retrieval.Alignment{Token: m.GetTokens()[i], Score: m.GetScores()[i]}
	}
	return h, nil
}

func toFound(all []Found) []*nodeapi.Document {
	out := make([]*nodeapi.Document, len(all))
	for i := range all {
		d := &all[i]
		out[i] = &nodeapi.Document{Id: d.ID, Row: appendRow(nil, &d.Document), Version: d.Version}
	}
	return out
}

func fromFound(all []*nodeapi.Document) ([]Found, error) {
	out := make([]Found, len(all))
	for i, m := range all {
		d, err := parseRow(m.GetId(), m.GetRow())
		if err != nil {
			return nil, err
		}
		out[i] = Found{d, m.GetVersion()}
	}
	return out, nil
}

func toResult(r Result) *nodeapi.Result {
	out := &nodeapi.Result{Code: uint32(r.Code), Version: r.Version, Count: r.Count, Reason: r.Reason}
	if r.Err != nil {
		out.Failure, out.FailureText = uint32(codeOf(r.Err)), r.Err.Error()
	}
	if len(r.Receipts) > 0 { // of one shard
		out.Receipt = toReceipt(r.Receipts[0])
	}
	return out
}

func fromResult(m *nodeapi.Result) (Result, error) {
	r := Result{Outcome: Outcome{Code: Code(min(m.GetCode(), math.MaxUint8)), Version: m.GetVersion(), Count: m.GetCount(), Reason: m.GetReason()}}
	r.Err = failure(codes.Code(m.GetFailure()), m.GetFailureText())
	if m.GetReceipt() == nil {
		return r, nil
	}
	receipt, err := fromReceipt(m.GetReceipt())
	r.Receipts = []Receipt{receipt}
	return r, err
}

func toStatus(s *ReplicaStatus) *nodeapi.ShardStatus {
	out := &nodeapi.ShardStatus{
		Shard: s.Shard, Shards: s.Shards, Node: s.Node, Leader: s.Leader, Role: s.Role, Generation: s.Generation, Term: s.Term, Commit: s.Commit,
		Applied: s.Applied, Covered: s.Covered, TimeMs: s.Time, Digest: s.Digest[:], Operations: s.Operations, LogFirst: s.LogFirst,
		LogLast: s.LogLast, LogBytes: s.LogBytes, LogFileBytes: s.LogFileBytes, StateFileBytes: s.StateFileBytes,
		OverlayBytes: s.OverlayBytes, IndexBytes: s.IndexBytes, Voters: s.Voters, Trouble: s.Trouble,
	}
	for i := range s.Collections {
		c := &s.Collections[i]
		out.Collections = append(out.Collections, &nodeapi.CollectionStatus{Name: c.Name, Configuration: appendConfiguration(nil, c.Configuration),
			Documents: c.Documents, Tokens: c.Tokens, Digest: c.Digest[:]})
	}
	return out
}

func fromStatus(m *nodeapi.ShardStatus) (ReplicaStatus, error) {
	s := ReplicaStatus{
		Shard: m.GetShard(), Shards: m.GetShards(), Node: m.GetNode(), Leader: m.GetLeader(), Role: m.GetRole(), Generation: m.GetGeneration(),
		Term: m.GetTerm(), Commit: m.GetCommit(), Applied: m.GetApplied(), Covered: m.GetCovered(), Time: m.GetTimeMs(), Operations: m.GetOperations(),
		LogFirst: m.GetLogFirst(), LogLast: m.GetLogLast(), LogBytes: m.GetLogBytes(), LogFileBytes: m.GetLogFileBytes(),
		StateFileBytes: m.GetStateFileBytes(), OverlayBytes: m.GetOverlayBytes(), IndexBytes: m.GetIndexBytes(), Voters: m.GetVoters(), Trouble: m.GetTrouble(),
	}
	var err error
	if s.Digest, err = fromDigest(m.GetDigest()); err != nil {
		return s, err
	}
	for _, c := range m.GetCollections() {
		held := CollectionStatus{Name: c.GetName(), Held: Held{c.GetDocuments(), c.GetTokens()}}
		if held.Configuration, err = parseConfiguration(c.GetConfiguration()); err != nil {
			return s, err
		}
		if held.Digest, err = fromDigest(c.GetDigest()); err != nil {
			return s, err
		}
		s.Collections = append(s.Collections, held)
	}
	return s, nil
}

func fromDigest(b []byte) (storage.Digest, error) {
	var d storage.Digest
	if copy(d[:], b) != len(d) || len(b) != len(d) {
		return d, fmt.Errorf("digest has %d bytes: %w", len(b), retrieval.ErrCorrupt)
	}
	return d, nil
}
