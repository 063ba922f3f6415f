package shardtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"ostraca/consensus/simnet"
	"ostraca/retrieval/index"
	"ostraca/shard"
	"ostraca/storage"
)

// Options of a cluster.
type Options struct {
	Nodes, Shards, Replicas int
	Seed                    uint64
	Logger                  *slog.Logger
	Encoder                 shard.Encoder
	Faults                  simnet.Faults
	FlushEvery              time.Duration
	OverlayBytes            int
	SnapshotBytes           int64 // of a log, before it is purged
	Hook                    func(node int, p storage.Point) error
}

// Cluster is nodes and a router in one process, on a simulated network. It is made and used inside a testing/synctest bubble.
type Cluster struct {
	Fabric *simnet.Fabric
	Disks  []*Disk
	Wall   []atomic.Int64 // what each node's clock is off by, ns

	t       testing.TB
	options Options
	mu      sync.Mutex
	nodes   []*shard.Node // nil while down
	ips     []string
	links   []*shard.Link
	routers []*shard.Router
	port    string
}

// Start starts a cluster, with one router, and waits until it serves. It ends with the test.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	c := &Cluster{Fabric: simnet.New(o.Seed), t: t, options: o, port: ":7400", Wall: make([]atomic.Int64, o.Nodes), nodes: make([]*shard.Node, o.Nodes), ips: make([]string, o.Nodes)}
	dir := t.TempDir()
	for i := range o.Nodes {
		c.Disks = append(c.Disks, NewDisk(filepath.Join(dir, c.Name(i)), o.Seed+uint64(i)))
		c.ips[i] = fmt.Sprintf("10.0.0.%d", i+1)
		c.name(i)
	}
	for i := range o.Nodes {
		c.Up(i)
	}
	c.AddRouter()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, n := range c.nodes {
		if err := n.Ready(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if o.Faults != (simnet.Faults{}) {
		c.Fabric.SetFaults(o.Faults)
	}
	return c
}

// Name returns the id of node i.
func (c *Cluster) Name(i int) string { return fmt.Sprintf("n%d", i) }

func (c *Cluster) name(i int) { c.Fabric.Name(c.Name(i)+".test", c.ips[i]) }

// IP returns the address of node i.
func (c *Cluster) IP(i int) string { return c.ips[i] }

func (c *Cluster) seeds() []string {
	var out []string
	for i := range c.options.Nodes {
		out = append(out, c.Name(i)+".test"+c.port)
	}
	return out
}

// Up starts node i from its disk.
func (c *Cluster) Up(i int) {
	c.t.Helper()
	if err := c.TryUp(i); err != nil {
		c.t.Fatal(err)
	}
}

// TryUp starts node i from its disk, or says why it will not start.
func (c *Cluster) TryUp(i int) error {
	o, d := c.options, c.Disks[i]
	options := storage.Options{Hook: d.hook(c.hook(i)), NoSync: true, MmapBytes: 64 << 20, FlushEvery: o.FlushEvery, OverlayBytes: o.OverlayBytes}
	n, err := shard.OpenNode(shard.NodeOptions{Node: c.Name(i), Dir: d.Mount(), Network: c.Fabric.Host(c.ips[i]), Listen: c.ips[i] + c.port, Seeds: c.seeds(),
		Expect: o.Nodes, Replicas: o.Replicas, Shards: o.Shards, Wall: func() time.Time { return time.Now().Add(time.Duration(c.Wall[i].Load())) },
		Index: index.Options{Threads: 1}, Storage: options, Logger: o.Logger, SnapshotBytes: o.SnapshotBytes, TrailingBytes: o.SnapshotBytes / 4})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[i] = n
	return nil
}

func (c *Cluster) hook(i int) func(storage.Point) error {
	if c.options.Hook == nil {
		return nil
	}
	return func(p storage.Point) error { return c.options.Hook(i, p) }
}

// Node returns node i, nil while it is down.
func (c *Cluster) Node(i int) *shard.Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[i]
}

func (c *Cluster) take(i int) *shard.Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.nodes[i]
	c.nodes[i] = nil
	return n
}

// Crash ends node i at once: its wires are dead, and its disk has what was synced, and of the rest some pages. kill: the others are
// told by its system, as after kill -9, and nothing that was written is lost.
func (c *Cluster) Crash(i int, kill bool) {
	n := c.take(i)
	if n == nil {
		return
	}
	host := c.Fabric.Host(c.ips[i])
	if kill {
		host.Kill()
	} else {
		host.Crash()
	}
	c.Disks[i].Crash(kill)
	if err := n.Abandon(); err != nil && !errors.Is(err, os.ErrNotExist) {
		c.t.Logf("node %d abandoned: %v", i, err)
	}
}

// SetWall puts the wall clock of node i off by so much.
func (c *Cluster) SetWall(i int, off time.Duration) { c.Wall[i].Store(int64(off)) }

// Stop closes node i in order.
func (c *Cluster) Stop(i int) {
	c.t.Helper()
	if n := c.take(i); n != nil {
		if err := n.Close(); err != nil {
			c.t.Errorf("close node %d: %v", i, err)
		}
	}
}

// Move gives node i another address for its next start.
func (c *Cluster) Move(i int, ip string) {
	c.ips[i] = ip
	c.name(i)
}

// AddRouter starts a further router on a host of its own.
func (c *Cluster) AddRouter(dial ...grpc.DialOption) *shard.Router {
	c.t.Helper()
	ip := fmt.Sprintf("10.0.1.%d", len(c.routers)+1)
	l, err := shard.OpenLink(shard.LinkOptions{Node: fmt.Sprintf("router-%d", len(c.routers)), Boot: 1, Network: c.Fabric.Host(ip), Listen: ip + c.port, Seeds: c.seeds(), Logger: c.options.Logger, Dial: dial})
	if err != nil {
		c.t.Fatal(err)
	}
	r := shard.OpenRouter(shard.RouterOptions{Link: l, Encoder: c.options.Encoder, Logger: c.options.Logger})
	c.links, c.routers = append(c.links, l), append(c.routers, r)
	return r
}

// Router returns the first router.
func (c *Cluster) Router() *shard.Router { return c.routers[0] }

// RouterIP returns its address.
func (c *Cluster) RouterIP() string { return "10.0.1.1" }

// Close ends everything, and then the time that the libraries' goroutines need to notice.
func (c *Cluster) Close() {
	c.Fabric.Heal()
	for _, r := range c.routers {
		r.Close()
	}
	for _, l := range c.links {
		if err := l.Close(); err != nil {
			c.t.Logf("link: %v", err)
		}
	}
	var stopped sync.WaitGroup
	for i := range c.nodes {
		stopped.Go(func() { c.Stop(i) })
	}
	stopped.Wait()
	c.Fabric.Close()
	time.Sleep(time.Minute)
}

// Settle waits, after faults, until every shard has a leader whose entries all replicas have applied, and all replicas are voters.
func (c *Cluster) Settle(t testing.TB) {
	t.Helper()
	if !c.settles(time.Minute) {
		status, err := c.Router().Status(context.Background())
		t.Errorf("the cluster does not settle within a minute: %v\n%+v", err, status)
	}
}

// settles tells whether it does so in time.
func (c *Cluster) settles(within time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	for ctx.Err() == nil {
		time.Sleep(100 * time.Millisecond)
		if status, err := c.Router().Status(ctx); err == nil && settled(status) {
			return true
		}
	}
	return false
}

func settled(s *shard.Status) bool {
	applied, replicas := map[uint32]uint64{}, map[uint32]int{}
	for _, r := range s.Shards {
		if at, ok := applied[r.Shard]; r.Trouble != "" || r.Leader == "" || ok && at != r.Applied {
			return false
		}
		applied[r.Shard] = r.Applied
		replicas[r.Shard]++
	}
	return !slices.ContainsFunc(s.Shards, func(r shard.ReplicaStatus) bool { return len(r.Voters) != replicas[r.Shard] })
}

// Cuts returns what power cuts have left so far, on all disks.
func (c *Cluster) Cuts() (sum Cuts) {
	for _, d := range c.Disks {
		cuts := d.Cuts()
		sum = Cuts{sum.Armed + cuts.Armed, sum.Lost + cuts.Lost, sum.Torn + cuts.Torn}
	}
	return sum
}

// CheckEqual is law 2: replicas at the same index have the same state.
func (c *Cluster) CheckEqual(t testing.TB) {
	t.Helper()
	s, err := c.Router().Status(context.Background())
	if err != nil {
		t.Error(err)
		return
	}
	first := map[uint32]shard.ReplicaStatus{}
	for _, r := range s.Shards {
		f, ok := first[r.Shard]
		if !ok {
			first[r.Shard] = r
		} else if r.Applied != f.Applied || r.Digest != f.Digest || r.Time != f.Time || r.Operations != f.Operations {
			t.Errorf("replicas of shard %d differ:\n%+v\n%+v", r.Shard, f, r)
		}
	}
}
