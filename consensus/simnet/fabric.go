// Package simnet is TCP, UDP and DNS in memory, for tests: hosts on a fabric whose delays, losses, cuts and crashes come from a
// seed.
//
// It is made for testing/synctest: it owns no goroutine, waits only in sync.Cond and channels, and keeps time by timers, so a
// bubble's clock jumps from fault to fault. Make the [Fabric] inside the bubble. A [Host] is a consensus.Network.
//
// One generator, seeded, draws every delay and fault. Which goroutine draws first is the scheduler's choice, so a seed fixes how
// often and how hard faults strike, but not every interleaving: a failure may need several runs of its seed to show again.
package simnet

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// Faults is what the fabric does to traffic at random. Chances are between 0 and 1.
type Faults struct {
	MinDelay, MaxDelay time.Duration // of every write and packet, one way
	PacketLoss         float64
	PacketReorder      float64 // a packet is held back, by up to 10 MaxDelay + 1 ms more, for later ones to overtake
	PacketDuplicate    float64
	ConnReset          float64 // per Write: the stream breaks; some of the bytes may have arrived
}

// path is one direction between two hosts.
type path struct{ from, to netip.Addr }

// Fabric joins hosts. Its zero value is not ready: see [New].
type Fabric struct {
	mu       sync.Mutex // guards everything on the fabric; never held while waiting
	rng      *rand.Rand
	faults   Faults
	hosts    map[netip.Addr]*Host // the latest of each ip, even when gone
	names    map[string][]netip.Addr
	cuts     map[path]bool
	isolated map[netip.Addr]bool
	stalled  []*stream // whose bytes wait for a path or a host, in the order they began to: map order would spoil the seed
	streams  uint64    // so far
	closed   bool
	done     chan struct{}
}

// New returns a fabric without hosts or faults, but for delays of 0.1 to 1 ms: a network that takes no time lets a loop of
// failing dials spin forever in one instant of virtual time.
func New(seed uint64) *Fabric {
	return &Fabric{
		rng:      rand.New(rand.NewPCG(seed, 0)),
		faults:   Faults{MinDelay: 100 * time.Microsecond, MaxDelay: time.Millisecond},
		hosts:    map[netip.Addr]*Host{},
		names:    map[string][]netip.Addr{},
		cuts:     map[path]bool{},
		isolated: map[netip.Addr]bool{},
		done:     make(chan struct{}),
	}
}

// Host returns the host of an ip, which is made if there is none, or if the last one crashed or was killed. It panics when ip
// is not one, as all of the fabric's methods do.
func (f *Fabric) Host(ip string) *Host {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := netip.MustParseAddr(ip)
	if h := f.hosts[a]; h != nil && h.state == running {
		return h
	}
	h := &Host{
		f: f, ip: a, port: uint16(firstPort + f.rng.IntN(lastPort-firstPort)),
		listeners: map[uint16]*listener{}, packets: map[uint16]*packetConn{},
		streams: map[*stream]bool{}, dials: map[*attempt]bool{},
	}
	if f.closed {
		h.state = crashed
	}
	f.hosts[a] = h
	f.wake() // what the last one left unanswered is now refused
	return h
}

// Name makes a host name stand for ips, in this order, instead of what it stood for; none forgets it.
func (f *Fabric) Name(host string, ips ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var as []netip.Addr
	for _, ip := range ips {
		as = append(as, netip.MustParseAddr(ip))
	}
	f.names[host] = as
}

// Cut stops what goes from one ip to another, one way: packets are lost, streams stall, and break when that lasts. Streams
// that only the other direction is left to keep what they need: acknowledgements are not simulated. A dial needs both ways.
func (f *Fabric) Cut(from, to string) {
	f.change(func() { f.set(from, to, true) })
}

// Join undoes [Fabric.Cut]. A host that is isolated stays so.
func (f *Fabric) Join(from, to string) {
	f.change(func() { f.set(from, to, false) })
}

// Partition cuts both ways between the groups, and joins within them. Hosts in no group keep what they had.
func (f *Fabric) Partition(groups ...[]string) {
	f.change(func() {
		for i, g := range groups {
			for _, from := range g {
				delete(f.isolated, netip.MustParseAddr(from))
				for j, other := range groups {
					for _, to := range other {
						f.set(from, to, i != j)
					}
				}
			}
		}
	})
}

// Isolate cuts a host from all others, later ones too, until [Fabric.Heal] or a [Fabric.Partition] that names it.
func (f *Fabric) Isolate(ip string) {
	f.change(func() { f.isolated[netip.MustParseAddr(ip)] = true })
}

// Heal ends all cuts. Faults stay, and so do the cuts that a [Fabric.Flap] has yet to make.
func (f *Fabric) Heal() {
	f.change(func() {
		clear(f.cuts)
		clear(f.isolated)
	})
}

// Flap cuts and joins two hosts in turn, both ways, each for half to one and a half of the given time. It blocks until ctx ends
// or the fabric is closed, and leaves them joined.
func (f *Fabric) Flap(ctx context.Context, a, b string, up, down time.Duration) {
	both := func(cut bool) {
		f.change(func() {
			f.set(a, b, cut)
			f.set(b, a, cut)
		})
	}
	defer both(false)
	for cut := true; ; cut = !cut {
		both(cut)
		d := up
		if cut {
			d = down
		}
		f.mu.Lock()
		d = max(d, time.Millisecond)
		t := time.NewTimer(d/2 + time.Duration(f.rng.Int64N(int64(d))))
		f.mu.Unlock()
		select {
		case <-t.C:
		case <-f.done:
			t.Stop()
			return
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// SetFaults replaces the faults. What is under way keeps the delay it drew.
func (f *Fabric) SetFaults(faults Faults) {
	if faults.MinDelay < 0 {
		panic(fmt.Sprintf("simnet: a delay of %v", faults.MinDelay))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	faults.MaxDelay = max(faults.MinDelay, faults.MaxDelay)
	f.faults = faults
}

// Close ends everything on the fabric: whatever waits or comes later fails with net.ErrClosed.
func (f *Fabric) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.closed = true
	close(f.done)
	for _, h := range f.hosts {
		h.end(crashed)
	}
	f.stalled = nil
}

// change alters the cuts and lets go what they held.
func (f *Fabric) change(alter func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	alter()
	f.wake()
}

func (f *Fabric) set(from, to string, cut bool) {
	p := path{netip.MustParseAddr(from), netip.MustParseAddr(to)}
	if cut {
		f.cuts[p] = true
	} else {
		delete(f.cuts, p)
	}
}

// wake has every stalled stream try again.
func (f *Fabric) wake() {
	stalled := f.stalled
	f.stalled = nil
	for _, s := range stalled {
		s.stalled = false
	}
	for _, s := range stalled {
		s.pump()
	}
}

// blocked says whether nothing gets from one ip to another. A host always reaches itself.
func (f *Fabric) blocked(from, to netip.Addr) bool {
	return from != to && (f.cuts[path{from, to}] || f.isolated[from] || f.isolated[to])
}

// up says whether a system runs at an ip, be it one whose processes were killed.
func (f *Fabric) up(ip netip.Addr) bool {
	h := f.hosts[ip]
	return h != nil && h.state != crashed
}

func (f *Fabric) delay() time.Duration {
	return f.faults.MinDelay + time.Duration(f.rng.Int64N(int64(f.faults.MaxDelay-f.faults.MinDelay)+1))
}

func (f *Fabric) chance(p float64) bool { return p > 0 && f.rng.Float64() < p }
