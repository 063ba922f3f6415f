package consensus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"ostraca/storage"
)

// What a group's calls fail with, told apart by errors.Is.
var (
	// ErrNotLeader: nothing was done; ask [Group.Leader].
	ErrNotLeader = errors.New("consensus: not the leader")
	// ErrUnknownOutcome: leadership or patience ended after the entry was handed over. It may be in the log or not, and may be
	// committed later; only a retry that is recognised as such is safe.
	ErrUnknownOutcome = errors.New("consensus: whether the entry is committed is not known")
	// ErrNoQuorum: nothing was done; the leader does not get its entries committed.
	ErrNoQuorum = errors.New("consensus: no quorum")
	// ErrClosed: the group is closed.
	ErrClosed = errors.New("consensus: the group is closed")
	// ErrNothingNew: nothing was applied since the replica started, so there is nothing to take a snapshot of.
	ErrNothingNew = errors.New("consensus: nothing new since the start")
)

// Timing is how patient a group is. Zero values are replaced by the defaults, with which there is a new leader 0.8 s after the old one
// died, in the middle: voters refuse to vote while they believe in a leader, so a majority of them has to miss it first.
type Timing struct {
	Heartbeat time.Duration // a follower that hears nothing for 1 to 2 of it tries to be elected; 300 ms
	Election  time.Duration // a candidate that is not elected within 1 to 2 of it tries again; 300 ms
	Lease     time.Duration // a leader that hears no quorum for as long steps down; at most Heartbeat; 240 ms
	Commit    time.Duration // followers learn what is committed 1 to 2 of it after the last entry; 50 ms
	RPC       time.Duration // a request to another node fails after it; 5 s
}

// GroupOptions say what a group is made of. ID, Node, Log, Machine and Mux are needed.
type GroupOptions struct {
	ID      uint32       // the group's number on the mux
	Node    string       // this node's id
	Log     *storage.Log // stays the caller's to close
	Machine StateMachine
	Mux     *Mux
	// Address tells where a node is now, host:port. Nil: an id is an address.
	Address func(node string) (string, bool)
	// Bootstrap are the ids of the first voters; of use only where log and state file are empty, and then the same on every voter.
	Bootstrap []string
	Logger    *slog.Logger
	Timing    Timing
	// SnapshotBytes of entries in the log lead to a snapshot and a purge; 64 MiB. TrailingBytes of the newest entries, about, stay for
	// followers that were away; 16 MiB.
	SnapshotBytes, TrailingBytes int64
}

const (
	// maxAppend bounds the entries of one message: 3 of 5 MiB and a little are below 16 MiB.
	maxAppend = 3
	// maxPool is how many idle streams to a node are kept.
	maxPool = 3
	// closePatience is how long Close waits for proposals on the way: leadership without a quorum ends within a lease, and all with it.
	closePatience = 10 * time.Second
)

func (o *GroupOptions) defaults() error {
	if o.Node == "" || o.Log == nil || o.Machine == nil || o.Mux == nil {
		return errors.New("consensus: a group needs a node, a log, a machine and a mux")
	}
	for _, d := range []struct {
		value *time.Duration
		or    time.Duration
	}{
		{&o.Timing.Heartbeat, 300 * time.Millisecond}, {&o.Timing.Election, 300 * time.Millisecond},
		{&o.Timing.Lease, 240 * time.Millisecond}, {&o.Timing.Commit, 50 * time.Millisecond}, {&o.Timing.RPC, 5 * time.Second},
	} {
		if *d.value == 0 {
			*d.value = d.or
		}
	}
	if o.SnapshotBytes == 0 {
		o.SnapshotBytes = 64 << 20
	}
	if o.TrailingBytes == 0 {
		o.TrailingBytes = 16 << 20
	}
	o.Logger = orDiscard(o.Logger).With("group", o.ID)
	return nil
}

// Group is a replica of one Raft group.
type Group struct {
	o         GroupOptions
	raft      *raft.Raft
	transport *raft.NetworkTransport
	logs      *logStore
	store     *storage.Store

	ctx    context.Context // ends at Close, before anything is waited for: a flush may hang on a full disk
	cancel context.CancelFunc
	loops  sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	pending sync.WaitGroup // readers, and Raft's futures: not all of them end when Raft does
	changed chan struct{}
	reads   reads
	purge   purge
}

// OpenGroup starts a replica from its files. It fails with storage.ErrCorrupt where the state file is older than
// the snapshot that the log was purged for: then entries are missing that only other replicas have.
func OpenGroup(o GroupOptions) (*Group, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	g := &Group{o: o, store: o.Machine.Store(), changed: make(chan struct{})}
	var err error
	if g.logs, err = openLogStore(o.Log, g.store.Durable); err != nil {
		return nil, err
	}
	p, err := g.store.Durable()
	if err != nil {
		return nil, fmt.Errorf("consensus: open group %d: %w", o.ID, err)
	}
	if m, _ := g.logs.newest(); m.Index > p.Covered {
		return nil, fmt.Errorf("consensus: open group %d: the state file is older (%d) than its snapshot (%d): %w; stop the node, move the replica's folder away, start it: the other replicas fill it anew",
			o.ID, p.Covered, m.Index, storage.ErrCorrupt)
	}
	if err := g.logs.reconcile(); err != nil {
		return nil, fmt.Errorf("consensus: open group %d: %w", o.ID, err)
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	if err := g.start(p); err != nil {
		g.cancel()
		return nil, fmt.Errorf("consensus: open group %d: %w", o.ID, err)
	}
	return g, nil
}

// config is Raft's configuration. Raft's own snapshots are as good as off: purge.go decides when.
func (g *Group) config() *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(g.o.Node)
	c.HeartbeatTimeout, c.ElectionTimeout = g.o.Timing.Heartbeat, g.o.Timing.Election
	c.LeaderLeaseTimeout, c.CommitTimeout = g.o.Timing.Lease, g.o.Timing.Commit
	c.MaxAppendEntries = maxAppend
	c.BatchApplyCh = true
	c.ShutdownOnRemove = false
	c.SnapshotInterval, c.SnapshotThreshold = 24*365*time.Hour, 1<<62
	c.TrailingLogs = maxTrailing
	c.NoSnapshotRestoreOnStart = true // the state file is the snapshot, and was compared with its record
	c.NoLegacyTelemetry = true
	c.Logger = raftLogger{to: g.o.Logger}
	return c
}

func (g *Group) start(p storage.Position) error {
	s := &snapshots{logs: g.logs, store: g.store, ctx: g.ctx}
	layer := g.o.Mux.group(g.o.ID, g.o.Node, g.o.Address)
	g.transport = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Logger: raftLogger{to: g.o.Logger}, Stream: layer, MaxPool: maxPool, Timeout: g.o.Timing.RPC,
		// No pipelining: in raft 1.8 a pipeline whose reader has left after a refused append blocks its writer for good, so that the
		// follower is sent nothing for the rest of the term, and Shutdown never ends (found by simulation). One message of three
		// entries at a time costs little, for entries are made of all that waits.
		MaxRPCsInFlight: 1,
	})
	g.transport.TimeoutScale = 1 << 20 // a snapshot: one timeout a MiB
	err := g.bootstrap(s, p)
	if err == nil {
		g.raft, err = raft.NewRaft(g.config(), machine{g.o.Machine, s}, g.logs, g.logs, s, g.transport)
	}
	if err != nil {
		return errors.Join(err, g.transport.Close())
	}
	seen := make(chan raft.Observation, 16)
	g.raft.RegisterObserver(raft.NewObserver(seen, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.LeaderObservation, raft.RaftState:
			return true
		}
		return false
	}))
	g.loops.Go(func() { g.watch(seen) })
	g.loops.Go(g.purgeLoop)
	return nil
}

// bootstrap writes the first configuration where nothing has happened yet.
func (g *Group) bootstrap(s *snapshots, p storage.Position) error {
	if len(g.o.Bootstrap) == 0 || p != (storage.Position{}) {
		return nil
	}
	if has, err := raft.HasExistingState(g.logs, g.logs, s); has || err != nil {
		return err
	}
	var c raft.Configuration
	for _, node := range g.o.Bootstrap {
		c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(node), Address: raft.ServerAddress(node)})
	}
	return raft.BootstrapCluster(g.config(), g.logs, g.logs, s, g.transport, c)
}

// watch passes on that leadership may have changed.
func (g *Group) watch(seen <-chan raft.Observation) {
	for {
		select {
		case <-seen:
			g.mu.Lock()
			close(g.changed)
			g.changed = make(chan struct{})
			g.mu.Unlock()
		case <-g.ctx.Done():
			return
		}
	}
}

// LeaderChanged returns a channel that is closed when the leader, as this replica knows it, or this replica's state changes next.
// Take it before asking.
func (g *Group) LeaderChanged() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.changed
}

// Leader returns the leader that this replica knows, empty for none, and the term.
func (g *Group) Leader() (node string, term uint64) {
	for {
		term = g.raft.CurrentTerm()
		_, id := g.raft.LeaderWithID()
		if g.raft.CurrentTerm() == term {
			return string(id), term
		}
	}
}

// IsLeader tells whether this replica believes that it leads.
func (g *Group) IsLeader() bool { return g.raft.State() == raft.Leader }

// GroupStatus is what a replica knows of itself and its group.
type GroupStatus struct {
	Leader, State          string // State: Follower, Candidate, Leader, Shutdown
	Term, Commit           uint64
	FirstLog, LastLog      uint64
	Snapshot               uint64 // the index of the newest recorded snapshot
	Applied, Covered       uint64 // of the state machine, in memory
	LogBytes, LogFileBytes int64
	Voters                 []string
	SnapshotError          error // of the last snapshot that the group took by itself; nil where it succeeded
}

// Status returns the replica's state.
func (g *Group) Status() GroupStatus {
	s := GroupStatus{State: g.raft.State().String(), Commit: g.raft.CommitIndex()}
	s.Leader, s.Term = g.Leader()
	s.FirstLog, s.LastLog = g.o.Log.Bounds()
	m, _ := g.logs.newest()
	s.Snapshot = m.Index
	p := g.store.Position()
	s.Applied, s.Covered = p.Applied, p.Covered
	s.LogBytes, s.LogFileBytes = g.o.Log.Bytes()
	s.Voters = g.Voters()
	g.mu.Lock()
	defer g.mu.Unlock()
	s.SnapshotError = g.purge.err
	return s
}

// Transfer hands leadership to the voter that is furthest. It fails with ErrNotLeader.
func (g *Group) Transfer(ctx context.Context) error {
	f, err := future(g, ctx, func() raft.Future { return g.raft.LeadershipTransfer() })
	if err != nil {
		return fmt.Errorf("consensus: transfer leadership: %w", err)
	}
	if err = f.Error(); err != nil {
		err = fmt.Errorf("consensus: transfer leadership: %w", translate(err, false))
	}
	return err
}

// Close ends the replica's part in the group: files and mux stay open. Proposals on the way end first.
func (g *Group) Close() error {
	g.mu.Lock()
	closed := g.closed
	g.closed = true
	g.mu.Unlock()
	if closed {
		return nil
	}
	g.cancel()
	// Raft answers every future while it runs, and forgets some at its end.
	quiet := make(chan struct{})
	go func() { g.pending.Wait(); close(quiet) }()
	select {
	case <-quiet:
	case <-time.After(closePatience):
	}
	ended := g.raft.Shutdown()
	err := g.transport.Close() // before Raft has ended: it may wait for a full disk, and be let go only once nobody hears it
	close(g.logs.cut)
	err = errors.Join(ended.Error(), err)
	g.loops.Wait()
	return err
}
