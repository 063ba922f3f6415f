package shard

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"ostraca/api/nodeapi"
	"ostraca/consensus"
	"ostraca/storage"
)

// nodeMeta is what a node tells all others through gossip.
type nodeMeta struct {
	Expect   int `json:"e"`
	Replicas int `json:"r"`
	Shards   int `json:"s"`
}

// placing is this node's replica of the placement group.
type placing struct {
	store   *storage.Store
	log     *storage.Log
	machine *placement
	group   *consensus.Group
}

// openPlacing opens the placement group's replica here.
func (n *Node) openPlacing(fresh bool) (err error) {
	o, p := n.options, &placing{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open placement: %w", err), p.close())
		}
	}()
	dir := filepath.Join(o.Dir, "placement")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if p.store, err = storage.Open(dir, o.Storage); err != nil {
		return err
	}
	if p.log, err = storage.OpenLog(filepath.Join(dir, "log"), o.Storage); err != nil {
		return err
	}
	if p.machine, err = openPlacement(p.store); err != nil {
		return err
	}
	g := consensus.GroupOptions{ID: 0, Node: o.Node, Log: p.log, Machine: p.machine, Mux: n.link.mux, Address: n.link.members.Address, Logger: o.Logger, Timing: o.Timing}
	if fresh {
		g.Bootstrap = n.memo.get().Voters
	}
	if p.group, err = consensus.OpenGroup(g); err != nil {
		return err
	}
	if err = n.memo.change(func(is *memory) error { is.Opened = true; return nil }); err == nil {
		n.places.Store(p)
	}
	return err
}

func (p *placing) close() (err error) {
	if p.group != nil {
		err = p.group.Close()
	}
	if p.store != nil {
		err = errors.Join(err, p.store.Close())
	}
	if p.log != nil {
		err = errors.Join(err, p.log.Close())
	}
	return err
}

// placeEvery is how often a node looks whether the placement changed and what there is to do.
const placeEvery = 250 * time.Millisecond

// run finds the cluster, follows the placement, opens replicas, and, on the placement group's leader, starts the cluster and drives
// jobs on.
func (n *Node) run() {
	for n.ctx.Err() == nil {
		if err := n.step(); err == nil {
			n.trouble.Store(nil)
		} else if n.ctx.Err() == nil {
			n.fail(err)
		}
		if len(n.Map().Shards) > 0 && len(n.shards()) == len(n.assigned(n.Map())) {
			n.health.SetServingStatus("", healthpb.HealthCheckResponse_SERVING)
		}
		var changed <-chan struct{}
		if places := n.places.Load(); places != nil {
			changed = *places.machine.changed.Load()
		}
		t := time.NewTimer(placeEvery)
		select {
		case <-changed:
		case <-t.C:
		case <-n.ctx.Done():
		}
		t.Stop()
	}
}

func (n *Node) step() error {
	if err := n.follow(); err != nil {
		return err
	}
	if n.places.Load() == nil {
		if err := n.join(); err != nil {
			return err
		}
	}
	if n.places.Load() != nil && len(n.Map().Shards) == 0 {
		if err := n.founded(); err != nil {
			return err
		}
	}
	if places := n.places.Load(); places != nil && places.group.IsLeader() {
		if err := n.lead(places.machine.current.Load()); err != nil {
			return err
		}
	}
	return n.settle()
}

// join opens the placement group's replica of a node that is one of its voters.
func (n *Node) join() error {
	m := n.Map()
	if len(m.Shards) == 0 {
		return n.found()
	}
	if !slices.Contains(m.Voters, n.options.Node) {
		return nil
	}
	gone, err := lost(filepath.Join(n.options.Dir, "placement"))
	if err != nil {
		return err
	}
	if is := n.memo.get(); gone && (is.Opened || len(is.Voters) == 0) && !n.memo.learning(0) {
		if err := n.readmit(0, m.Voters, false); err != nil {
			return err
		}
	}
	return n.openPlacing(false)
}

// follow takes over a newer map: of the replica here, or of whoever has one.
func (n *Node) follow() error {
	newest, leader := n.Map(), ""
	if places := n.places.Load(); places != nil {
		newest = newer(newest, places.machine.current.Load())
		leader, _ = places.group.Leader()
	}
	if leader == "" {
		fetched, _ := n.link.fetchMap(n.ctx, newest)
		newest = newer(newest, fetched)
	}
	if newest == n.Map() {
		return nil
	}
	if err := n.memo.change(func(is *memory) error { is.Map = newest; return nil }); err != nil {
		return err
	}
	n.current.Store(newest)
	return nil
}

// newer returns the newer of two maps of one cluster.
func newer(a, b *Map) *Map {
	if b != nil && b.Version > a.Version && (a.Cluster == 0 || a.Cluster == b.Cluster) {
		return b
	}
	return a
}

// place proposes a command, at the leader of the placement group.
func (n *Node) place(ctx context.Context, c *placementCommand, forwarded bool) error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	places := n.places.Load()
	if places == nil {
		return fmt.Errorf("placement: node %s has no replica of it: %w", n.options.Node, ErrNotLeader)
	}
	_, result, err := places.group.Propose(ctx, b)
	if err == nil {
		err, _ = result.(error)
	}
	if !errors.Is(err, consensus.ErrNotLeader) {
		return err
	}
	if leader, _ := places.group.Leader(); leader != "" && leader != n.options.Node && !forwarded {
		_, _, err = n.link.place(ctx, leader, &nodeapi.PlacementRequest{Command: b, Forwarded: true, Known: math.MaxUint64})
		return err
	}
	return fmt.Errorf("placement: %w", ErrNotLeader)
}

// propose places a command wherever the leader is, within a second.
func (n *Node) propose(c *placementCommand) error {
	ctx, cancel := context.WithTimeout(n.ctx, time.Second)
	defer cancel()
	if n.places.Load() != nil {
		return n.place(ctx, c, false)
	}
	return n.link.propose(ctx, c)
}

// lead does what falls to the leader of the placement group.
func (n *Node) lead(m *Map) error {
	if len(m.Shards) == 0 {
		return n.startCluster()
	}
	var errs []error
	for _, j := range m.Jobs {
		for _, p := range fan(len(j.Done), func(shard uint32) (struct{}, error) {
			if j.Done[shard] {
				return struct{}{}, nil
			}
			return struct{}{}, n.drive(&j, shard)
		}) {
			errs = append(errs, p.err)
		}
	}
	return errors.Join(errs...)
}

// startCluster proposes the first map: replicas go round the nodes, so that each has as many, and as many first ones.
func (n *Node) startCluster() error {
	nodes := []string{n.options.Node}
	for id := range n.peers() {
		nodes = append(nodes, id)
	}
	slices.Sort(nodes)
	if len(nodes) < n.options.Expect {
		return nil
	}
	born, ok := n.clocks.Median(nodes, n.options.Node)
	if !ok {
		return fmt.Errorf("the clocks of a majority of the nodes are not known, or not within a minute of each other: set them: %w", ErrUnavailable)
	}
	first := &Map{Cluster: random(), Born: born, Voters: n.memo.get().Voters, Shards: make([]ShardPlace, n.options.Shards)}
	for s := range first.Shards {
		place := ShardPlace{Generation: random()}
		for r := range n.options.Replicas {
			place.Replicas = append(place.Replicas, nodes[(s+r)%len(nodes)])
		}
		first.Shards[s] = place
	}
	return n.propose(&placementCommand{First: first})
}

// drive logs a job's change in one shard, and that it did.
func (n *Node) drive(j *Job, shard uint32) error {
	ctx, cancel := context.WithTimeout(n.ctx, 2*time.Second)
	defer cancel()
	m := n.Map()
	if len(m.Shards) <= int(shard) {
		return nil
	}
	var last error
	for _, node := range m.Shards[shard].Replicas {
		peer := n.link.Replica(node, shard)
		status, err := peer.Status(ctx)
		if err != nil {
			last = err
			continue
		}
		at := status.Shards[0].Time
		o := Operation{ID: j.operation(at), Collection: j.Collection, Body: &Configure{Change: j.Change, Configuration: j.To}}
		results, err := peer.Write(ctx, &WriteRequest{Operations: []Operation{o}, Seen: at})
		if err == nil {
			err = results[0].Err
		}
		if err == nil && !results[0].Code.remembered() {
			err = results[0].Outcome.Err()
		}
		if err == nil {
			return n.propose(&placementCommand{Done: &jobStep{Job: j.ID, Shard: shard, Code: results[0].Code, Count: results[0].Count}})
		}
		last = err
	}
	return fmt.Errorf("change of collection %q in shard %d: %w", j.Collection, shard, last)
}

// operation returns the id of a job's operation, which all tries share: one that comes late, after the job has ended and another has begun,
// is known as a retry, or has expired. Only when that id has expired is there another.
func (j *Job) operation(now int64) OperationID {
	const period = int64((RetryWindow + MaxEarly) / time.Millisecond)
	periods := max(now-j.Began, 0) / period
	return NewOperationID(j.Began+periods*period, xxhash.Sum64String(j.ID))
}

// newID returns a fresh operation id.
func newID(time int64) OperationID { return NewOperationID(time, random()) }

// random returns a number that no other node draws.
func random() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:])
}

// settle opens the replicas that the map gives this node, and tells the map which have begun.
func (n *Node) settle() error {
	m := n.Map()
	var errs []error
	for _, s := range n.assigned(m) {
		if n.Replica(s) == nil {
			if err := n.regain(m, s); err != nil {
				errs = append(errs, err)
				continue
			}
		}
		if !slices.Contains(m.Shards[s].Started, n.options.Node) {
			errs = append(errs, n.propose(&placementCommand{Started: &startedNode{s, n.options.Node}}))
		}
	}
	errs = append(errs, n.graduate())
	return errors.Join(errs...)
}

// regain opens a replica, readmitted if its files are gone.
func (n *Node) regain(m *Map, shard uint32) error {
	gone, err := n.lost(m, shard)
	if err == nil && gone && !n.memo.learning(groupOf(shard)) {
		err = n.readmit(groupOf(shard), m.Shards[shard].Replicas, false)
	}
	if err != nil {
		return err
	}
	return n.openReplica(m, shard)
}

// lost tells whether a shard ran here, by the map, and its files are gone.
func (n *Node) lost(m *Map, shard uint32) (bool, error) {
	if !slices.Contains(m.Shards[shard].Started, n.options.Node) {
		return false, nil
	}
	return lost(n.folder(shard))
}
