package consensus

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ostraca/consensus/simnet"
)

// peer is a node that only gossips.
type peer struct {
	host    *simnet.Host
	mux     *Mux
	packets net.PacketConn
	members *Members
}

// gossips starts a node at an ip under its name.
func gossips(t *testing.T, f *simnet.Fabric, i int, ip string, boot uint64, seeds []string) *peer {
	t.Helper()
	f.Name(fmt.Sprintf("host%d", i), ip)
	h := f.Host(ip)
	at := ip + ":7000"
	l, err := h.Listen(at)
	if err != nil {
		t.Fatal(err)
	}
	p, err := h.ListenPacket(at)
	if err != nil {
		t.Fatal(err)
	}
	m := NewMux(h, l, nil)
	members, err := OpenMembers(MembersOptions{
		Node: fmt.Sprintf("node.%d", i), Boot: boot, Network: h, Mux: m, Packets: p,
		Advertise: fmt.Sprintf("host%d:7000", i), Seeds: seeds, Meta: []byte{byte(i)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &peer{h, m, p, members}
}

func (p *peer) close(t *testing.T) {
	t.Helper()
	if err := p.members.Close(); err != nil {
		t.Error(err)
	}
	if err := p.mux.Close(); err != nil {
		t.Error(err)
	}
	p.packets.Close()
}

// agree waits until all see as many alive.
func agree(t *testing.T, want int, patience time.Duration, peers ...*peer) {
	t.Helper()
	start := time.Now()
	for _, p := range peers {
		for {
			changed := p.members.Changed()
			alive := p.members.Alive()
			if len(alive) == want {
				break
			}
			select {
			case <-changed:
			case <-time.After(time.Second):
			}
			if time.Since(start) > patience {
				t.Fatalf("%s sees %v after %v, want %d", p.members.o.Node, alive, time.Since(start), want)
			}
		}
	}
	t.Log(want, "seen by all after", time.Since(start))
}

// TestMembers: five nodes find each other by seeds that are names, miss one that crashes, and find it again at another address;
// also all five at once.
func TestMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := simnet.New(1)
		defer f.Close()
		seeds := []string{"host0:7000", "host1:7000", "host2:7000"}
		var peers []*peer
		for i := range 5 {
			peers = append(peers, gossips(t, f, i, fmt.Sprintf("10.0.0.%d", i+1), 1, seeds))
		}
		agree(t, 5, 20*time.Second, peers...)
		for i, m := range peers[4].members.Alive() {
			want := fmt.Sprintf("node.%d 10.0.0.%d:7000 1 [%d]", i, i+1, i)
			if got := fmt.Sprint(m.Node, " ", m.Address, " ", m.Boot, " ", m.Meta); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}

		peers[3].host.Crash()
		peers[3].close(t)
		agree(t, 4, time.Minute, peers[0], peers[1], peers[2], peers[4])
		if at, ok := peers[0].members.Address("node.3"); at != "10.0.0.4:7000" || !ok {
			t.Error("the last address of a crashed node:", at, ok)
		}
		if _, ok := peers[0].members.Address("nobody"); ok {
			t.Error("an address of nobody")
		}
		peers[3] = gossips(t, f, 3, "10.0.1.4", 2, seeds)
		agree(t, 5, 20*time.Second, peers...)
		for _, p := range peers {
			if at, _ := p.members.Address("node.3"); at != "10.0.1.4:7000" {
				t.Errorf("%s has node.3 at %s", p.members.o.Node, at)
			}
		}

		for i, p := range peers { // all restart, elsewhere, before anybody is missed
			p.host.Crash()
			p.close(t)
			peers[i] = gossips(t, f, i, fmt.Sprintf("10.0.2.%d", i+1), 3, seeds)
		}
		time.Sleep(2 * time.Second) // they still hear old news of each other
		agree(t, 5, 30*time.Second, peers...)
		for i, m := range peers[0].members.Alive() {
			if m.Address != fmt.Sprintf("10.0.2.%d:7000", i+1) || m.Boot != 3 {
				t.Errorf("%+v", m)
			}
		}

		if err := peers[4].members.Leave(5 * time.Second); err != nil {
			t.Error(err)
		}
		peers[4].close(t) // as a node does: who missed the word, misses the node
		agree(t, 4, time.Minute, peers[:4]...)
		for _, p := range peers[:4] {
			p.close(t)
		}
	})
}

// TestMembersHeal: two halves that forgot each other find together again, and a start that is heard of before the old one is missed wins.
func TestMembersHeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := simnet.New(2)
		defer f.Close()
		seeds := []string{"host0:7000"}
		var peers []*peer
		for i := range 4 {
			peers = append(peers, gossips(t, f, i, fmt.Sprintf("10.0.0.%d", i+1), 1, seeds))
		}
		agree(t, 4, 20*time.Second, peers...)
		f.Partition([]string{"10.0.0.1", "10.0.0.2"}, []string{"10.0.0.3", "10.0.0.4"})
		agree(t, 2, 2*time.Minute, peers...)
		time.Sleep(10 * time.Minute)
		f.Heal()
		agree(t, 4, time.Minute, peers...)

		peers[3].host.Kill()
		peers[3].close(t)
		peers[3] = gossips(t, f, 3, "10.0.0.14", 2, seeds)
		agree(t, 4, 20*time.Second, peers...)
		moved := func(p *peer) bool {
			at, _ := p.members.Address("node.3")
			return at == "10.0.0.14:7000"
		}
		for range 30 { // gossip that a node was not told it fetches with a whole state, twice a minute at least
			time.Sleep(time.Second)
			if !slices.ContainsFunc(peers, func(p *peer) bool { return !moved(p) }) {
				break
			}
		}
		for _, p := range peers {
			if !moved(p) {
				t.Errorf("%s has not heard where node.3 is now", p.members.o.Node)
			}
		}
		time.Sleep(time.Minute) // now the old one is missed
		agree(t, 4, time.Second, peers...)
		for _, p := range peers {
			p.close(t)
		}
	})
}

// TestMembersForget: who died long ago is looked for seldom, and forgotten after a day, unless somebody asks for it.
func TestMembersForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := simnet.New(1)
		defer f.Close()
		var peers []*peer
		for i := range 3 {
			peers = append(peers, gossips(t, f, i, fmt.Sprintf("10.0.0.%d", i+1), 1, []string{"host0:7000"}))
		}
		agree(t, 3, 20*time.Second, peers...)
		peers[2].host.Crash()
		peers[2].close(t)
		agree(t, 2, time.Minute, peers[:2]...)
		m := peers[0].members
		at := func(age, tried time.Duration) *node {
			m.mu.Lock()
			defer m.mu.Unlock()
			n := m.nodes["node.2"]
			if n != nil {
				n.since, n.tried = time.Now().Add(-age), time.Now().Add(-tried)
			}
			return n
		}
		for _, c := range []struct {
			age, tried time.Duration
			due        bool
		}{{0, 0, true}, {time.Minute, 3 * time.Second, true}, {time.Hour, 30 * time.Second, false}, {time.Hour, time.Minute, true}, {20 * time.Hour, 10 * time.Minute, false}} {
			if at(c.age, c.tried).due() != c.due {
				t.Errorf("%+v", c)
			}
		}
		at(knownFor-time.Second, 0)
		if _, ok := m.Address("node.2"); !ok {
			t.Error("forgotten before a day is over")
		}
		time.Sleep(2 * joinedInterval)
		if _, ok := m.Address("node.2"); !ok {
			t.Error("forgotten although asked for")
		}
		at(knownFor, 0)
		time.Sleep(2*joinedInterval + m.config().TCPTimeout) // an attempt that waits for the dead may be under way
		if a, ok := m.Address("node.2"); ok {
			t.Error("not forgotten:", a)
		}
		agree(t, 2, time.Second, peers[:2]...)
		for _, p := range peers[:2] {
			p.close(t)
		}
	})
}

// TestMembersWire: two nodes on real sockets.
func TestMembersWire(t *testing.T) {
	var peers []*peer
	var seeds []string
	for i := range 2 {
		l := free(t)
		p, err := Wire{}.ListenPacket(l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		m := NewMux(Wire{}, l, nil)
		seeds = append(seeds, l.Addr().String())
		members, err := OpenMembers(MembersOptions{Node: fmt.Sprint(i), Network: Wire{}, Mux: m, Packets: p, Seeds: seeds, Fast: true})
		if err != nil {
			t.Fatal(err)
		}
		peers = append(peers, &peer{mux: m, packets: p, members: members})
	}
	agree(t, 2, 10*time.Second, peers...)
	for _, p := range peers {
		p.close(t)
	}
}

func TestMembersOptions(t *testing.T) {
	l := free(t)
	m := NewMux(Wire{}, l, nil)
	defer m.Close()
	p, err := Wire{}.ListenPacket(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for name, o := range map[string]MembersOptions{
		"no node":       {Network: Wire{}, Mux: m, Packets: p},
		"meta too long": {Node: "n", Network: Wire{}, Mux: m, Packets: p, Meta: make([]byte, 513)},
		"no address":    {Node: "n", Network: Wire{}, Mux: m, Packets: p, Advertise: "0.0.0.0:7000"},
		"no host":       {Node: "n", Network: Wire{}, Mux: m, Packets: p, Advertise: "nowhere.invalid:7000"},
	} {
		if _, err := OpenMembers(o); err == nil {
			t.Error(name)
		}
	}
}
