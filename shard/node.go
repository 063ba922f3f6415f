package shard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"ostraca/api/nodeapi"
	"ostraca/consensus"
	"ostraca/retrieval"
	"ostraca/retrieval/index"
	"ostraca/storage"
)

// NodeOptions of a node.
type NodeOptions struct {
	Node      string // id: a-z, 0-9, - and _; it stays when the address changes
	Dir       string // the node's folder
	Network   consensus.Network
	Listen    string
	Advertise string
	Seeds     []string

	// Of the first start of a cluster, the same on all of its nodes: it waits for Expect nodes, and makes Shards shards of Replicas
	// replicas each.
	Expect, Replicas, Shards int

	Wall    func() time.Time // the wall clock; nil is time.Now
	Index   index.Options
	Storage storage.Options
	Timing  consensus.Timing
	Logger  *slog.Logger

	SnapshotBytes, TrailingBytes int64 // of each log; zero is consensus's default

	MemoryLimit int64 // bytes of token vectors in memory; others lie in files that are mapped (docs/live.md). 0 is no limit

	Dial  []grpc.DialOption   // of connections to other nodes, for interceptors
	Serve []grpc.ServerOption // of the node's own service, for interceptors
}

// check reports every option that is wrong, at once.
func (o *NodeOptions) check() error {
	var errs []error
	wrong := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf(format+": %w", append(args, retrieval.ErrInvalid)...))
	}
	if o.Node == "" || len(o.Node) > 64 || strings.Trim(o.Node, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" || strings.HasPrefix(o.Node, routerPrefix) {
		wrong("node id %q: 1 to 64 of a-z, 0-9, - and _ are needed, and not %s at the start", o.Node, routerPrefix)
	}
	if o.Dir == "" {
		wrong("the node has no folder")
	}
	if o.Expect < 1 {
		wrong("the cluster is expected to have %d nodes, at least 1 is needed", o.Expect)
	}
	if o.Replicas < 1 || o.Replicas > o.Expect {
		wrong("%d replicas on %d expected nodes: it must be 1 to the number of nodes", o.Replicas, o.Expect)
	}
	if o.MemoryLimit < 0 {
		wrong("a memory limit of %d bytes", o.MemoryLimit)
	}
	if o.Shards < 1 || o.Shards > MaxShards {
		wrong("%d shards, it must be 1 to %d", o.Shards, MaxShards)
	}
	return errors.Join(errs...)
}

// Node is one process of a cluster: its part of the placement group, its replicas, and the service that answers for them.
type Node struct {
	options NodeOptions
	memo    *memo
	link    *Link
	clocks  *consensus.Clocks
	server  *grpc.Server
	health  *health.Server
	arena   *storage.Arena
	places  atomic.Pointer[placing] // nil where the placement group has no replica here, or not yet

	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	current atomic.Pointer[Map]
	trouble atomic.Pointer[error]

	mu       sync.Mutex
	replicas map[uint32]*Replica
}

const routerPrefix = "router-"

// OpenNode starts a node: it returns once the node listens, and goes on to find its cluster and open its replicas. Ready tells when it has.
func OpenNode(o NodeOptions) (_ *Node, err error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Wall == nil {
		o.Wall = time.Now
	}
	if start := time.Now(); o.Index.Clock == nil {
		o.Index.Clock = func() int64 { return time.Since(start).Microseconds() }
	}
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("open node: %w", err)
	}
	n := &Node{options: o, replicas: map[uint32]*Replica{}}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open node %s: %w", o.Node, err), n.end((*Replica).Close))
		}
	}()
	if n.memo, err = openMemo(o.Dir, o.Node, o.Wall()); err != nil {
		return nil, err
	}
	if err := n.share(); err != nil {
		return nil, err
	}
	n.current.Store(n.memo.get().Map)
	meta, err := json.Marshal(nodeMeta{Expect: o.Expect, Replicas: o.Replicas, Shards: o.Shards})
	if err != nil {
		return nil, err
	}
	n.link, err = OpenLink(LinkOptions{Node: o.Node, Boot: n.memo.get().Boot, Network: o.Network, Listen: o.Listen, Advertise: o.Advertise, Seeds: o.Seeds, Meta: meta, Logger: o.Logger, Dial: o.Dial})
	if err != nil {
		return nil, err
	}
	n.clocks = consensus.NewClocks(n.link.mux, o.Wall, n.peers, o.Logger)
	if err := n.reopen(); err != nil {
		return nil, err
	}
	n.serve()
	n.running.Go(n.run)
	return n, nil
}

// reopen opens the groups whose files are here. What is lost, or not begun yet, [Node.run] sees to.
func (n *Node) reopen() error {
	if is := n.memo.get(); is.Opened {
		if gone, err := lost(filepath.Join(n.options.Dir, "placement")); err != nil {
			return err
		} else if !gone {
			if err := n.openPlacing(false); err != nil {
				return err
			}
		}
	}
	for _, s := range n.assigned(n.Map()) {
		if gone, err := n.lost(n.Map(), s); err != nil {
			return err
		} else if !gone {
			if err := n.openReplica(n.Map(), s); err != nil {
				return err
			}
		}
	}
	return nil
}

// folder returns the folder of a shard's replica.
func (n *Node) folder(shard uint32) string {
	return filepath.Join(n.options.Dir, fmt.Sprintf("shard-%d", shard))
}

// peers returns the addresses of the other nodes, for the clocks.
func (n *Node) peers() map[string]string {
	out := map[string]string{}
	for name, m := range n.link.alive() {
		if name != n.options.Node && !strings.HasPrefix(name, routerPrefix) {
			out[name] = m.Address
		}
	}
	return out
}

func (n *Node) serve() {
	n.server = grpc.NewServer(append([]grpc.ServerOption{grpc.MaxRecvMsgSize(maxMessageBytes), grpc.MaxSendMsgSize(maxMessageBytes),
		grpc.StaticStreamWindowSize(WindowBytes), grpc.StaticConnWindowSize(WindowBytes), grpc.NumStreamWorkers(StreamWorkers),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingEvery / 2, PermitWithoutStream: true})}, // links ping each other
		n.options.Serve...)...)
	n.health = health.NewServer()
	nodeapi.RegisterNodeServer(n.server, &service{node: n})
	healthpb.RegisterHealthServer(n.server, n.health)
	n.health.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	l := n.link.mux.Listener(consensus.KindService)
	n.running.Go(func() {
		if err := n.server.Serve(l); err != nil && n.ctx.Err() == nil {
			n.fail(fmt.Errorf("serve: %w", err))
		}
	})
}

// fail keeps what is wrong with the node, for Ready and the status of its replicas, until a step goes well again.
func (n *Node) fail(err error) {
	n.trouble.Store(&err)
	n.options.Logger.Error("node in trouble", "node", n.options.Node, "error", err)
}

// Map returns the placement that the node knows.
func (n *Node) Map() *Map { return n.current.Load() }

// Address returns where the node listens.
func (n *Node) Address() string { return n.link.Address() }

// Link returns the node's way to the others, which closes with the node.
func (n *Node) Link() *Link { return n.link }

// Replica returns the node's replica of a shard, or nil.
func (n *Node) Replica(shard uint32) *Replica {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.replicas[shard]
}

func (n *Node) shards() []uint32 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Sorted(maps.Keys(n.replicas))
}

// Ready waits until the node has its place in a cluster and all of its replicas are open.
func (n *Node) Ready(ctx context.Context) error {
	for {
		m := n.Map()
		if len(m.Shards) > 0 && len(n.shards()) == len(n.assigned(m)) {
			return nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			if t := n.trouble.Load(); t != nil {
				err = errors.Join(err, *t)
			}
			return fmt.Errorf("node %s has no place in a cluster yet: %w", n.options.Node, err)
		}
	}
}

// Close hands leadership over, leaves the cluster with a word, and closes the files.
func (n *Node) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	n.handOver(ctx)
	n.link.Leave()
	return n.end((*Replica).Close)
}

// Abandon stops the node as a crash would, as far as a process can: nothing is flushed. For tests.
func (n *Node) Abandon() error { return n.end((*Replica).Abandon) }

func (n *Node) end(closeReplica func(*Replica) error) error {
	n.cancel()
	var errs []error
	if n.server != nil {
		n.server.Stop()
	}
	if n.clocks != nil {
		errs = append(errs, n.clocks.Close())
	}
	n.running.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range slices.Sorted(maps.Keys(n.replicas)) {
		errs = append(errs, closeReplica(n.replicas[s]))
	}
	if places := n.places.Load(); places != nil {
		errs = append(errs, places.close())
	}
	if n.link != nil {
		errs = append(errs, n.link.Close())
	}
	if n.memo != nil {
		errs = append(errs, n.memo.close())
	}
	return errors.Join(errs...)
}

// time returns the newest cluster time of the node's replicas, as far as it has come where they lead.
func (n *Node) time() int64 {
	newest := n.Map().Born
	for _, s := range n.shards() {
		r := n.Replica(s)
		newest = max(newest, r.machine.current.Load().time)
		if r.group.IsLeader() {
			newest = max(newest, r.leader.now())
		}
	}
	return newest
}

// assigned returns the shards of which a map gives this node a replica.
func (n *Node) assigned(m *Map) []uint32 {
	var out []uint32
	for i, s := range m.Shards {
		if slices.Contains(s.Replicas, n.options.Node) {
			out = append(out, uint32(i))
		}
	}
	return out
}

// openReplica opens the node's replica of a shard. It begins the shard only where the map does not say that it ran here before.
func (n *Node) openReplica(m *Map, shard uint32) error {
	place := m.Shards[shard]
	o := n.options
	dir := n.folder(shard)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	r, err := OpenReplica(ReplicaOptions{
		Identity: m.identity(shard), Node: o.Node, Dir: dir, Replicas: place.Replicas, Fresh: !slices.Contains(place.Started, o.Node),
		Mux: n.link.mux, Address: n.link.members.Address, Clocks: n.clocks, Peers: n.link,
		Index: o.Index, Storage: o.Storage, Timing: o.Timing, Logger: o.Logger,
		SnapshotBytes: o.SnapshotBytes, TrailingBytes: o.TrailingBytes,
	})
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.replicas[shard] = r
	return nil
}

// pause sleeps, unless the context ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
