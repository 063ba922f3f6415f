package shardtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"ostraca/consensus/simnet"
)

// Fault is a kind of trouble.
type Fault string

// The faults. Each is begun on random nodes, lasts a random time, and is then mended.
const (
	Partition  Fault = "partition"   // a minority is cut off
	Isolate    Fault = "isolate"     // one node is cut off from all, routers too
	OneWay     Fault = "one-way"     // one node is heard and hears nothing, or the other way round
	Flap       Fault = "flapping"    // a wire comes and goes
	Crash      Fault = "crash"       // a node loses power: what was not synced is lost or torn
	Kill       Fault = "kill -9"     // a node's process ends
	CrashAll   Fault = "crash all"   // all lose power together
	Move       Fault = "move"        // a node comes back with another address
	DiskFull   Fault = "disk full"   // of one node
	ClockJump  Fault = "clock jump"  // of one node or of all, by up to a year, either way
	Transfer   Fault = "transfer"    // leadership moves
	Snapshot   Fault = "snapshot"    // logs are purged, so who was away is sent a state
	LossyWires Fault = "loss"        // streams break, packets are lost, repeated, late
	LostFolder Fault = "lost folder" // a node, or one of its replicas, comes back with nothing: the others readmit it
)

// Faults returns those that a run draws from if it is not told which.
func Faults() []Fault {
	return []Fault{Partition, Isolate, OneWay, Flap, Crash, Kill, CrashAll, Move, DiskFull, ClockJump, Transfer, Snapshot, LossyWires}
}

// Nemesis makes trouble until the context ends, and leaves none behind.
type Nemesis struct {
	Cluster *Cluster
	Faults  []Fault
	Seed    uint64
	Log     func(format string, args ...any)
	Told    []string // of every fault

	rng   *rand.Rand
	moved int
}

// Run runs it.
func (n *Nemesis) Run(ctx context.Context) {
	n.rng = rand.New(rand.NewPCG(n.Seed, 3))
	for n.sleep(ctx, 200*time.Millisecond, 2*time.Second) {
		f := n.Faults[n.rng.IntN(len(n.Faults))]
		i := n.rng.IntN(len(n.Cluster.nodes))
		n.tell("%s, node %d", f, i)
		n.strike(ctx, f, i)
	}
}

// tell keeps and logs what happens.
func (n *Nemesis) tell(format string, args ...any) {
	line := time.Now().Format("04:05.000 ") + fmt.Sprintf(format, args...)
	n.Told = append(n.Told, line)
	n.Log("%s", line)
}

func (n *Nemesis) between(low, high time.Duration) time.Duration {
	return low + time.Duration(n.rng.Int64N(int64(high-low)))
}

func (n *Nemesis) sleep(ctx context.Context, low, high time.Duration) bool {
	t := time.NewTimer(n.between(low, high))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// strike begins one fault and mends it.
func (n *Nemesis) strike(ctx context.Context, f Fault, i int) {
	c := n.Cluster
	switch f {
	case Partition, Isolate, OneWay, Flap:
		n.cut(ctx, f, i)
	case Crash, CrashAll, Move:
		n.power(ctx, f, i)
	case Kill:
		c.Crash(i, true)
		n.sleep(ctx, 100*time.Millisecond, 8*time.Second)
		c.Up(i)
	case LostFolder:
		n.lose(ctx, i)
	case DiskFull:
		c.Disks[i].Fill(true)
		n.sleep(ctx, time.Second, 6*time.Second)
		c.Disks[i].Fill(false)
	case ClockJump:
		n.jump()
		n.sleep(ctx, time.Second, 4*time.Second)
	case Transfer, Snapshot:
		n.replicas(f, i)
	case LossyWires:
		c.Fabric.SetFaults(simnet.Faults{MinDelay: time.Millisecond, MaxDelay: 40 * time.Millisecond, PacketLoss: .2, PacketReorder: .2, PacketDuplicate: .1, ConnReset: .01})
		n.sleep(ctx, time.Second, 6*time.Second)
		c.Fabric.SetFaults(c.options.Faults)
	}
}

// power cuts the power of a node, of all, or, once in three times, of two, at steps of their disks' work, and gives it back.
func (n *Nemesis) power(ctx context.Context, f Fault, i int) {
	c := n.Cluster
	struck := []int{i}
	if f == CrashAll {
		struck = n.rng.Perm(len(c.nodes))
	} else if n.rng.IntN(3) == 0 {
		struck = append(struck, (i+1)%len(c.nodes))
	}
	var dying []<-chan struct{}
	for _, j := range struck {
		dying = append(dying, c.Disks[j].Arm(1+n.rng.IntN(20)))
	}
	patience := time.NewTimer(2 * time.Second)
	defer patience.Stop()
	for at, j := range struck {
		select {
		case <-dying[at]:
		case <-patience.C:
			patience.Reset(0) // for the others
		}
		if f != CrashAll {
			n.sleep(ctx, 0, 20*time.Millisecond) // what the process says on a dead disk must be true
			c.Crash(j, false)
		}
	}
	if n.sleep(ctx, 0, 20*time.Millisecond); f == CrashAll {
		for _, j := range struck {
			c.Crash(j, false)
		}
	}
	for at, j := range struck {
		if n.sleep(ctx, 100*time.Millisecond, 8*time.Second/time.Duration(len(struck))); f == Move && at == 0 {
			n.moved++
			c.Move(j, fmt.Sprintf("10.0.%d.%d", 2+n.moved/200, 1+n.moved%200))
		}
		c.Up(j)
	}
	if len(struck) > 1 {
		n.sleep(ctx, time.Second, 3*time.Second) // to come to themselves
	}
}

// lose empties the folder of a node, or of one of its replicas, when all is well otherwise, and waits until all is well again.
func (n *Nemesis) lose(ctx context.Context, i int) {
	c, folder := n.Cluster, "."
	if !c.settles(10 * time.Second) {
		n.tell("not settled: nothing is lost")
		return
	}
	c.Crash(i, true)
	if held := c.Disks[i].Folders("shard-*"); n.rng.IntN(2) == 0 && len(held) > 0 {
		folder = held[n.rng.IntN(len(held))]
	}
	n.tell("node %d loses %s", i, folder)
	if err := c.Disks[i].Empty(folder); err != nil {
		c.t.Errorf("node %d: %v", i, err)
	}
	n.sleep(ctx, 100*time.Millisecond, 5*time.Second)
	if err := c.TryUp(i); err != nil {
		c.t.Errorf("node %d does not start without %s: %v", i, folder, err)
		return
	}
	if !c.settles(20 * time.Second) {
		n.tell("node %d is not readmitted yet", i)
	}
}

// cut breaks wires for a while.
func (n *Nemesis) cut(ctx context.Context, f Fault, i int) {
	c := n.Cluster
	defer c.Fabric.Heal()
	switch f {
	case Partition:
		var rest []string
		for j := range c.nodes {
			if j != i {
				rest = append(rest, c.IP(j))
			}
		}
		c.Fabric.Partition([]string{c.IP(i)}, append(rest, c.RouterIP()))
	case Isolate:
		c.Fabric.Isolate(c.IP(i))
	case OneWay:
		in := n.rng.IntN(2) == 0
		for j := range c.nodes {
			if j != i && in {
				c.Fabric.Cut(c.IP(j), c.IP(i))
			} else if j != i {
				c.Fabric.Cut(c.IP(i), c.IP(j))
			}
		}
	case Flap:
		ctx, cancel := context.WithTimeout(ctx, n.between(time.Second, 8*time.Second))
		defer cancel()
		c.Fabric.Flap(ctx, c.IP(i), c.IP((i+1)%len(c.nodes)), 300*time.Millisecond, 700*time.Millisecond)
		return
	}
	n.sleep(ctx, 500*time.Millisecond, 10*time.Second)
}

// jump moves the clocks of one node, or of all, by up to a year.
func (n *Nemesis) jump() {
	const year = 365 * 24 * time.Hour
	by := time.Duration(n.rng.Int64N(int64(2*year))) - year
	all, i := n.rng.IntN(3) == 0, n.rng.IntN(len(n.Cluster.Wall))
	for j := range n.Cluster.Wall {
		if all || j == i {
			n.Cluster.SetWall(j, by)
		}
	}
}

// replicas asks the replicas of a node for something that they may refuse.
func (n *Nemesis) replicas(f Fault, i int) {
	node := n.Cluster.Node(i)
	if node == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for s := range uint32(n.Cluster.options.Shards) {
		r := node.Replica(s)
		if r == nil {
			continue
		}
		var err error
		if f == Transfer {
			err = r.Transfer(ctx)
		} else {
			err = r.Snapshot(ctx)
		}
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			n.tell("%s of shard %d on node %d: %v", f, s, i, err)
		}
	}
}
