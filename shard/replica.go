package shard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"

	"ostraca/consensus"
	"ostraca/retrieval"
	"ostraca/retrieval/encoder"
	"ostraca/retrieval/index"
	"ostraca/storage"
)

// Peers reaches the replicas of one shard on other nodes.
type Peers interface {
	Replica(node string, shard uint32) Peer
}

// Peer is a replica on another node, as replicas speak to each other.
type Peer interface {
	Memory
	// Forward is Write, for the leader alone: it is not forwarded again.
	Forward(ctx context.Context, r *WriteRequest) ([]Result, error)
	// ReadIndex returns the index that a linearizable read must have applied. Only a leader knows.
	ReadIndex(ctx context.Context) (uint64, error)
}

// ReplicaOptions of one replica.
type ReplicaOptions struct {
	Identity
	Node     string
	Dir      string
	Replicas []string // nodes of all replicas
	Fresh    bool     // the shard has never run here: its first voters are the replicas
	Mux      *consensus.Mux
	Address  func(node string) (string, bool)
	Clocks   *consensus.Clocks
	Peers    Peers
	Index    index.Options
	Storage  storage.Options
	Timing   consensus.Timing
	Logger   *slog.Logger

	SnapshotBytes, TrailingBytes int64 // of the log; zero is consensus's default
}

// Replica is one replica of a shard. It is a [Memory] of that shard, and a [Peer].
type Replica struct {
	options ReplicaOptions
	store   *storage.Store
	log     *storage.Log
	machine *machine
	group   *consensus.Group
	leader  *proposer
	pins    pins
	fresh   atomic.Pointer[verified]
	closed  sync.Once
}

// OpenReplica opens the files below o.Dir and joins the shard's Raft group. Errors wrap storage.ErrCorrupt, storage.ErrFormat or
// ErrGeneration for files that cannot be served from.
func OpenReplica(o ReplicaOptions) (_ *Replica, err error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Replica{options: o}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open shard %d: %w", o.Shard, err), r.closeFiles())
		}
	}()
	if r.store, err = storage.Open(o.Dir, o.Storage); err != nil {
		return nil, err
	}
	if r.log, err = storage.OpenLog(o.Dir+"/log", o.Storage); err != nil {
		return nil, err
	}
	if r.machine, err = openMachine(r.store, o.Identity, o.Index); err != nil {
		return nil, err
	}
	group := consensus.GroupOptions{ID: groupOf(o.Shard), Node: o.Node, Log: r.log, Machine: r.machine, Mux: o.Mux, Address: o.Address,
		Logger: o.Logger, Timing: o.Timing, SnapshotBytes: o.SnapshotBytes, TrailingBytes: o.TrailingBytes}
	if o.Fresh {
		group.Bootstrap = o.Replicas
	}
	r.group, err = consensus.OpenGroup(group)
	if err != nil {
		return nil, err
	}
	r.leader = newProposer(r)
	r.pins.node = o.Node
	return r, nil
}

// groupOf returns the Raft group of a shard: 0 is the placement's.
func groupOf(shard uint32) uint32 { return shard + 1 }

// Close leaves the group and closes the files. What was acknowledged is on disk before it returns.
func (r *Replica) Close() error { return r.end((*storage.Store).Close) }

// Abandon is Close without the last flush: what a crash leaves. For tests.
func (r *Replica) Abandon() error { return r.end((*storage.Store).Abandon) }

func (r *Replica) end(close func(*storage.Store) error) (err error) {
	r.closed.Do(func() {
		r.leader.close()
		r.machine.cancel()
		err = r.group.Close()
		closeIndexes(r.machine.collections) // nothing applies any more
		r.pins.close()
		err = errors.Join(err, close(r.store), r.log.Close())
	})
	return err
}

func (r *Replica) closeFiles() (err error) {
	if r.store != nil {
		err = r.store.Close()
	}
	if r.log != nil {
		err = errors.Join(err, r.log.Close())
	}
	return err
}

// Transfer hands leadership to another replica, if this is the leader.
func (r *Replica) Transfer(ctx context.Context) error { return r.group.Transfer(ctx) }

// Snapshot takes a snapshot and purges the log.
func (r *Replica) Snapshot(ctx context.Context) error { return r.group.Snapshot(ctx) }

// Search answers one phase from this replica's state.
func (r *Replica) Search(ctx context.Context, q *SearchRequest) (*SearchAnswer, error) {
	if err := errors.Join(CheckCollection(q.Collection), checkIDs(q.IDs)); err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	v, release, out, err := r.searched(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	state := r.state(v)
	if state.Pin = q.Read.Pin; q.Hold && state.Pin == nil && !(q.Documents && len(out.Documents) == len(out.Hits)) {
		if state.Pin, err = r.pins.hold(v, release); err != nil {
			return nil, fmt.Errorf("search: %w", err)
		}
	} else {
		release()
	}
	out.States = []State{state}
	return out, nil
}

// searched reads a state that is as fresh as asked for and runs one phase on it. Release the state.
func (r *Replica) searched(ctx context.Context, q *SearchRequest) (view, func(), *SearchAnswer, error) {
	if q.Read.Level == Linearizable && q.Read.Pin == nil && len(q.Read.After) == 0 && r.group.IsLeader() {
		return r.searchedAhead(ctx, q)
	}
	v, release, err := r.read(ctx, q.Read)
	if err != nil {
		return view{}, nil, nil, err
	}
	out, err := v.search(ctx, q)
	if err != nil {
		release()
	}
	return v, release, out, err
}

// searchedAhead is searched of a leader, for a linearizable read: it searches the state that it has while it asks the others for the index
// that the read must see. If that is in the state, as it nearly always is, the answer stands, else it searches once more.
func (r *Replica) searchedAhead(ctx context.Context, q *SearchRequest) (view, func(), *SearchAnswer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	committed := make(chan part[uint64], 1)
	go func() {
		index, err := r.committed(ctx)
		if err != nil {
			cancel() // no answer can stand
		}
		committed <- part[uint64]{index, err}
	}()
	runtime.Gosched() // the question goes out before the search keeps this processor busy
	v, err := r.machine.view()
	if err != nil {
		return view{}, nil, nil, err
	}
	out, err := v.search(ctx, q)
	switch c := <-committed; {
	case c.err != nil:
		err = c.err
	case c.value > v.applied:
		v.close()
		if err := r.machine.wait(ctx, c.value); err != nil {
			return view{}, nil, nil, err
		}
		again := *q
		again.Read = Read{Level: Local}
		return r.searched(ctx, &again)
	}
	if err != nil {
		v.close()
	}
	return v, v.close, out, err
}

// search runs one phase.
func (v view) search(ctx context.Context, q *SearchRequest) (*SearchAnswer, error) {
	c, ok := v.collections[q.Collection]
	if !ok {
		return nil, fmt.Errorf("collection %q: %w", q.Collection, retrieval.ErrNotFound)
	}
	if q.Phase != Statistics && q.Query == nil {
		return nil, fmt.Errorf("there is no query: %w", retrieval.ErrInvalid)
	}
	f, err := compileFilter(q.Filter)
	if err != nil {
		return nil, err
	}
	out := &SearchAnswer{}
	switch q.Phase {
	case Candidates:
		out.Answer, err = v.candidates(ctx, q, f)
	case Scores:
		if len(q.IDs) > retrieval.MaxK {
			return nil, fmt.Errorf("scores of %d ids, the limit is %d: %w", len(q.IDs), retrieval.MaxK, retrieval.ErrTooLarge)
		}
		out.Answer, err = v.scores(ctx, q, f)
	case Statistics:
		if f != nil {
			return nil, fmt.Errorf("statistics are of all documents, count those of a filter: %w", retrieval.ErrInvalid)
		}
		out.Held = Held{int64(c.Len()), int64(c.Tokens())}
	default:
		err = fmt.Errorf("phase %d is unknown: %w", q.Phase, retrieval.ErrInvalid)
	}
	if err == nil && q.Documents {
		out.Documents, err = v.first(q.Collection, out.Hits, !q.SumsOnly)
	}
	if q.SumsOnly {
		for i := range out.Hits {
			out.Hits[i].Alignments = nil
		}
	}
	out.Candidates = len(out.Hits)
	return out, err
}

// first returns the documents of the first hits, of as many as have up to MaxHitBytes together.
func (v view) first(collection string, hits []retrieval.Hit, spans bool) ([]Found, error) {
	var out []Found
	bytes := 0
	for _, h := range hits {
		d, size, err := v.document(collection, h.ID, false, spans)
		if errors.Is(err, storage.ErrNotFound) {
			err = fmt.Errorf("document %q has a score and no row: %w", h.ID, retrieval.ErrCorrupt)
		}
		if err != nil {
			return nil, err
		}
		if bytes += size; bytes > MaxHitBytes {
			break
		}
		out = append(out, d)
	}
	return out, nil
}

func (r *Replica) state(v view) State {
	leader, _ := r.group.Leader()
	return State{Shard: r.options.Shard, Index: v.applied, Time: v.time, Leader: leader}
}

// Get returns documents from this replica's state.
func (r *Replica) Get(ctx context.Context, q *GetRequest) (*GetAnswer, error) {
	if len(q.IDs) > MaxBatch {
		return nil, fmt.Errorf("get: %d ids, the limit is %d: %w", len(q.IDs), MaxBatch, retrieval.ErrTooLarge)
	}
	if err := errors.Join(CheckCollection(q.Collection), checkIDs(q.IDs)); err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	v, release, err := r.read(ctx, q.Read)
	if err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	if q.Last && q.Read.Pin != nil {
		defer r.pins.give(q.Read.Pin)
	}
	defer release()
	state := r.state(v)
	state.Pin = q.Read.Pin
	out := &GetAnswer{States: []State{state}}
	if _, ok := v.collections[q.Collection]; !ok {
		return nil, fmt.Errorf("get: collection %q: %w", q.Collection, retrieval.ErrNotFound)
	}
	bytes := 0
	for _, id := range q.IDs {
		d, size, err := v.document(q.Collection, id, q.Codes, true)
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("get: %w", err)
		}
		if bytes += size; bytes > MaxAnswerBytes {
			return nil, fmt.Errorf("get: the documents have over %d bytes, ask for fewer: %w", MaxAnswerBytes, retrieval.ErrTooLarge)
		}
		out.Documents = append(out.Documents, d)
	}
	return out, nil
}

// document reads one, and tells the bytes that it takes in an answer.
func (v view) document(collection, id string, codes, spans bool) (Found, int, error) {
	row, err := v.rows.Get(bucketDocuments(collection), []byte(id))
	if err != nil {
		return Found{}, 0, err
	}
	version, err := v.rows.Get(bucketVersions(collection), []byte(id))
	if err != nil {
		return Found{}, 0, fmt.Errorf("document %q has no version: %w", id, storage.ErrCorrupt)
	}
	return found(id, row, version, codes, spans)
}

// Status tells of this replica.
func (r *Replica) Status(context.Context) (*Status, error) {
	v, err := r.machine.view()
	if err != nil {
		return nil, fmt.Errorf("status: %w", err)
	}
	defer v.rows.Close()
	g := r.group.Status()
	s := ReplicaStatus{
		Shard: r.options.Shard, Shards: r.options.Shards, Node: r.options.Node, Leader: g.Leader, Role: g.State, Generation: r.options.Generation,
		Term: g.Term, Commit: g.Commit, Applied: v.applied, Time: v.time, Digest: v.rows.StateDigest(),
		Operations: int64(v.rows.Stat(bucketOperations).Rows), LogFirst: g.FirstLog, LogLast: g.LastLog, LogBytes: g.LogBytes,
		LogFileBytes: g.LogFileBytes, Voters: g.Voters,
	}
	if durable, err := r.store.Durable(); err == nil {
		s.Covered = durable.Covered
	}
	s.StateFileBytes, s.OverlayBytes = r.store.Size()
	if err := errors.Join(r.machine.halt(nil), r.store.Health(), g.SnapshotError); err != nil {
		s.Trouble = err.Error()
	}
	for _, name := range v.names() {
		c := v.collections[name]
		s.IndexBytes += int64(c.bytes)
		configuration := c.Configuration
		configuration.Projection = encoder.Projection{} // large, and the map has it
		s.Collections = append(s.Collections, CollectionStatus{Name: name, Configuration: configuration,
			Held: Held{int64(c.Len()), int64(c.Tokens())}, Digest: v.dataDigest(name)})
	}
	return &Status{Shards: []ReplicaStatus{s}}, nil
}
