package consensus

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// aloneInterval and joinedInterval are how often the seeds are tried while nobody is known, and while somebody is missing.
	aloneInterval  = time.Second
	joinedInterval = 3 * time.Second
	resolveTimeout = 3 * time.Second
	// A node that is dead is dialled ever more seldom, after every hundredth of the time that it has been gone, and forgotten after
	// knownFor: whoever starts under a fresh name every time would else be looked for for ever. Who is asked for counts as just gone, and
	// the raft groups ask for their voters all the time.
	knownFor   = 24 * time.Hour
	seldomness = 100
)

// Member is a node that is alive.
type Member struct {
	Node    string
	Address string // ip:port
	Boot    uint64
	Meta    []byte
}

// MembersOptions say who this node is and whom it asks first. Node, Network, Mux and Packets are needed.
type MembersOptions struct {
	Node string // this node's id, of at most 128 bytes
	// Boot grows with every start of the node: gossip knows a node by id and boot, for memberlist takes no new address for a name that
	// it knows, and the highest boot of an id wins. A node whose folder was emptied has to be above what it was, too: take the clock
	// where that is ahead of the counter.
	Boot    uint64
	Network Network
	Mux     *Mux
	Packets net.PacketConn // of the mux's port; stays the caller's to close
	// Advertise is where others reach this node, host:port; empty: where the mux listens. A host name is resolved now.
	Advertise string
	Seeds     []string // host:port each, resolved anew at every attempt; this node may be among them
	Meta      []byte   // told to all; at most 512 bytes
	Logger    *slog.Logger
	Fast      bool // find the dead sooner, for nodes on one machine
}

// Members knows which nodes live, and where.
type Members struct {
	o         MembersOptions
	list      *memberlist.Memberlist
	transport *gossip
	own       netip.AddrPort
	ctx       context.Context
	cancel    context.CancelFunc
	done      sync.WaitGroup

	probe time.Duration // between two probes, in good health

	mu      sync.Mutex
	closed  bool
	nodes   map[string]*node
	changed chan struct{}
}

// node is what was heard of one node's last start; of earlier ones nothing is believed, for gossip tells old news.
type node struct {
	Member
	alive bool
	since time.Time // when it was heard of or asked for last
	tried time.Time // when it was looked for last
}

// due tells whether the node is dead and to be looked for now.
func (n *node) due() bool { return !n.alive && time.Since(n.tried) >= time.Since(n.since)/seldomness }

// OpenMembers starts gossip and looks for the seeds until Close.
func OpenMembers(o MembersOptions) (*Members, error) {
	switch {
	case o.Node == "" || len(o.Node) > 128 || o.Network == nil || o.Mux == nil || o.Packets == nil:
		return nil, errors.New("consensus: members need a node id of at most 128 bytes, a network, a mux and a packet connection")
	case len(o.Meta) > memberlist.MetaMaxSize:
		return nil, fmt.Errorf("consensus: %d bytes of meta, at most %d", len(o.Meta), memberlist.MetaMaxSize)
	}
	o.Logger = orDiscard(o.Logger)
	if o.Advertise == "" {
		o.Advertise = o.Mux.Addr().String()
	}
	m := &Members{o: o, nodes: map[string]*node{}, changed: make(chan struct{})}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	at, err := m.resolve(o.Advertise)
	if err == nil {
		m.own, err = netip.ParseAddrPort(at[0])
	}
	if err == nil && m.own.Addr().IsUnspecified() {
		err = errors.New("an address that others can reach is needed")
	}
	if err != nil {
		m.cancel()
		return nil, fmt.Errorf("consensus: advertise %s: %w", o.Advertise, err)
	}
	m.transport = newGossip(o.Mux, o.Packets, m.own, o.Logger)
	c := m.config()
	m.probe = c.ProbeInterval
	if m.list, err = memberlist.Create(c); err != nil {
		m.cancel()
		return nil, errors.Join(fmt.Errorf("consensus: gossip: %w", err), m.transport.Shutdown())
	}
	m.done.Go(m.join)
	return m, nil
}

func (m *Members) config() *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	if m.o.Fast {
		c = memberlist.DefaultLocalConfig()
	}
	c.Name = m.o.Node + "." + strconv.FormatUint(m.o.Boot, 10)
	c.Transport = m.transport
	c.AdvertiseAddr, c.AdvertisePort = m.own.Addr().String(), int(m.own.Port())
	c.BindAddr, c.BindPort = c.AdvertiseAddr, c.AdvertisePort
	c.TCPTimeout = min(c.TCPTimeout, 5*time.Second)
	c.EnableCompression = false
	c.Delegate = delegate{m}
	c.Events = delegate{m}
	c.Logger = log.New(gossipWriter{m.o.Logger}, "", 0)
	return c
}

func (m *Members) resolve(address string) ([]string, error) {
	ctx, cancel := context.WithTimeout(m.ctx, resolveTimeout)
	defer cancel()
	at, err := m.o.Network.Resolve(ctx, address)
	if err == nil && len(at) == 0 {
		err = errors.New("no address")
	}
	return at, err
}

// join tries the seeds, and where the missing were last, for as long as anybody is missing.
func (m *Members) join() {
	for {
		_, live := m.count()
		if seeds := len(m.o.Seeds); m.missing() || live < seeds || live == 1 && seeds > 0 {
			m.attempt()
		}
		wait := joinedInterval
		if _, live = m.count(); live <= 1 {
			wait = aloneInterval
		}
		select {
		case <-time.After(wait):
		case <-m.ctx.Done():
			return
		}
	}
}

// missing forgets the long dead, and tells whether any of the others is to be looked for now.
func (m *Members) missing() (found bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.nodes, func(_ string, n *node) bool {
		found = found || n.due()
		return !n.alive && time.Since(n.since) >= knownFor
	})
	return found
}

// count returns how many nodes are known, and how many live, this one included.
func (m *Members) count() (known, live int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.nodes {
		if n.alive {
			live++
		}
	}
	return len(m.nodes), live
}

// attempt asks every seed and every missing node's last address, all at once: who is dead costs a timeout.
func (m *Members) attempt() {
	var asked sync.WaitGroup
	defer asked.Wait()
	targets := map[string]struct{}{m.own.String(): {}}
	ask := func(address string) {
		if _, again := targets[address]; again {
			return
		}
		targets[address] = struct{}{}
		asked.Go(func() {
			if _, err := m.list.Join([]string{address}); err != nil {
				m.o.Logger.Debug("a seed does not answer", "address", address, "error", err)
			}
		})
	}
	for _, seed := range m.o.Seeds {
		at, err := m.resolve(seed)
		if err != nil {
			m.o.Logger.Info("a seed has no address", "seed", seed, "error", err)
		}
		for _, a := range at {
			ask(a)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.nodes {
		if n.due() {
			n.tried = time.Now()
			ask(n.Address)
		}
	}
}

// Alive returns the nodes that live, this one included, by id.
func (m *Members) Alive() []Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Member
	for _, id := range slices.Sorted(maps.Keys(m.nodes)) {
		if n := m.nodes[id]; n.alive {
			out = append(out, n.Member)
		}
	}
	return out
}

// Address returns where a node is, ip:port, or was last, if it is not alive. Who is asked for is not forgotten.
func (m *Members) Address(id string) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, ok := m.nodes[id]
	if !ok {
		return "", false
	}
	n.since = time.Now()
	return n.Address, true
}

// Changed returns a channel that is closed at the next change of what Alive returns. Take it before asking.
func (m *Members) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

// Leave tells the others that this node goes, so that they need not find out, and waits for that to be on its way.
func (m *Members) Leave(timeout time.Duration) error {
	if err := m.list.Leave(timeout); err != nil {
		return fmt.Errorf("consensus: leave: %w", err)
	}
	return nil
}

// Close stops gossip. Without Leave the others take a while to miss this node. It takes as long as a probe of another node may be on its way,
// about a second: memberlist waits for that in any case, and nothing of it shall be left afterwards.
func (m *Members) Close() error {
	m.mu.Lock()
	closed := m.closed
	m.closed = true
	m.mu.Unlock()
	if closed {
		return nil
	}
	m.cancel()
	err := m.list.Shutdown()
	m.done.Wait()
	if known, _ := m.count(); known > 1 {
		time.Sleep(m.probe * time.Duration(m.list.GetHealthScore()+1))
	}
	return err
}

// heard notes that a start of a node lives or does not.
func (m *Members) heard(n *memberlist.Node, alive bool) {
	dot := strings.LastIndexByte(n.Name, '.')
	if dot < 0 {
		return
	}
	boot, err := strconv.ParseUint(n.Name[dot+1:], 10, 64)
	if err != nil {
		return
	}
	id := n.Name[:dot]
	if id == m.o.Node && boot > m.o.Boot && alive {
		m.o.Logger.Error("another process has this node's id, and the others will speak to it alone: end one of the two", "node", id, "other", n.Address())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.nodes[id]
	switch {
	case k == nil:
		k = &node{}
		m.nodes[id] = k
	case boot < k.Boot || boot == k.Boot && !alive && !k.alive:
		return
	}
	k.alive, k.since = alive, time.Now()
	k.Member = Member{Node: id, Address: n.Address(), Boot: boot, Meta: slices.Clone(n.Meta)}
	close(m.changed)
	m.changed = make(chan struct{})
}

// delegate is what memberlist calls; with its own locks held, so nothing here calls back.
type delegate struct{ m *Members }

func (d delegate) NotifyJoin(n *memberlist.Node)     { d.m.heard(n, true) }
func (d delegate) NotifyLeave(n *memberlist.Node)    { d.m.heard(n, false) }
func (d delegate) NotifyUpdate(n *memberlist.Node)   { d.m.heard(n, true) }
func (d delegate) NodeMeta(int) []byte               { return d.m.o.Meta }
func (d delegate) NotifyMsg([]byte)                  {}
func (d delegate) GetBroadcasts(int, int) [][]byte   { return nil }
func (d delegate) LocalState(bool) []byte            { return nil }
func (d delegate) MergeRemoteState(b []byte, j bool) {}
