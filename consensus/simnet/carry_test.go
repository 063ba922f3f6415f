package simnet_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/raft"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"ostraca/consensus/simnet"
)

// until waits for a condition, at most a virtual minute.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for start := time.Now(); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Since(start) > time.Minute {
			t.Fatal("in a minute, not: ", what)
		}
	}
}

func TestCarriesGRPC(t *testing.T) {
	bubble(t, 1, func(t *testing.T, f *simnet.Fabric) {
		f.SetFaults(simnet.Faults{MinDelay: time.Millisecond, MaxDelay: 20 * time.Millisecond})
		serve := func() *grpc.Server {
			l, err := f.Host(ipB).Listen(":50051")
			if err != nil {
				t.Fatal(err)
			}
			s := grpc.NewServer()
			healthpb.RegisterHealthServer(s, health.NewServer())
			go s.Serve(l)
			return s
		}
		s := serve()
		cc, err := grpc.NewClient("passthrough:///"+ipB+":50051", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(f.Host(ipA).Dial), grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 3 * time.Second}))
		if err != nil {
			t.Fatal(err)
		}
		defer cc.Close()
		check := func() codes.Code {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := healthpb.NewHealthClient(cc).Check(ctx, &healthpb.HealthCheckRequest{})
			return status.Code(err)
		}
		well := func() bool { return check() == codes.OK }
		for range 100 {
			if c := check(); c != codes.OK {
				t.Fatal(c)
			}
		}
		f.Partition([]string{ipA}, []string{ipB})
		if c := check(); c != codes.DeadlineExceeded {
			t.Error("cut:", c)
		}
		f.Heal()
		if c := check(); c != codes.OK {
			t.Error("the same stream after a short cut:", c)
		}
		f.Partition([]string{ipA}, []string{ipB})
		time.Sleep(time.Minute)
		f.Heal()
		until(t, "well after a long cut", well)
		f.Host(ipB).Crash()
		if c := check(); c != codes.DeadlineExceeded {
			t.Error("crashed:", c)
		}
		time.Sleep(30 * time.Second)
		s.Stop()
		s = serve()
		until(t, "well after a crash", well)
		f.Host(ipB).Kill()
		s.Stop()
		if c := check(); c != codes.Unavailable {
			t.Error("killed:", c)
		}
		s = serve()
		until(t, "well after a kill", well)
		s.Stop()
	})
}

// layer is raft's view of a host.
type layer struct {
	net.Listener
	host *simnet.Host
}

func (l layer) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return l.host.Dial(ctx, string(to))
}

// counter is a state machine that counts entries.
type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) Apply(*raft.Log) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return c.n
}

func (c *counter) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}
func (c *counter) Snapshot() (raft.FSMSnapshot, error) { return nil, fmt.Errorf("none") }
func (c *counter) Restore(io.ReadCloser) error         { return nil }

// What a majority acknowledged survives the isolation of one leader after another, on a network with faults.
func TestCarriesRaft(t *testing.T) {
	for seed := range uint64(3) {
		bubble(t, seed, func(t *testing.T, f *simnet.Fabric) {
			f.SetFaults(simnet.Faults{MinDelay: time.Millisecond, MaxDelay: 10 * time.Millisecond, ConnReset: .002})
			ips := []string{ipA, ipB, ipC}
			var servers []raft.Server
			for _, ip := range ips {
				servers = append(servers, raft.Server{ID: raft.ServerID(ip), Address: raft.ServerAddress(ip + ":8300")})
			}
			rafts, counters := make([]*raft.Raft, len(ips)), make([]*counter, len(ips))
			for i, ip := range ips {
				l, err := f.Host(ip).Listen(":8300")
				if err != nil {
					t.Fatal(err)
				}
				tr := raft.NewNetworkTransport(layer{l, f.Host(ip)}, 3, 5*time.Second, io.Discard)
				defer tr.Close()
				c := raft.DefaultConfig()
				c.LocalID, c.Logger = raft.ServerID(ip), hclog.NewNullLogger()
				store, snapshots := raft.NewInmemStore(), raft.NewInmemSnapshotStore()
				if err := raft.BootstrapCluster(c, store, store, snapshots, tr, raft.Configuration{Servers: servers}); err != nil {
					t.Fatal(err)
				}
				counters[i] = &counter{}
				if rafts[i], err = raft.NewRaft(c, counters[i], store, store, snapshots, tr); err != nil {
					t.Fatal(err)
				}
				defer func() { rafts[i].Shutdown().Error() }()
			}
			leader := func(not int) (at int) {
				until(t, "a leader", func() bool {
					for at = range rafts {
						if at != not && rafts[at].State() == raft.Leader {
							return true
						}
					}
					return false
				})
				return at
			}
			written := 0
			write := func(i, n int) {
				for range n {
					if rafts[i].Apply([]byte("x"), time.Second).Error() == nil {
						written++
					}
				}
			}
			for range 5 {
				old := leader(-1)
				write(old, 20)
				f.Isolate(ips[old])
				write(leader(old), 5)
				f.Heal()
				time.Sleep(10 * time.Second)
			}
			if written < 50 {
				t.Errorf("only %d writes", written)
			}
			until(t, "all have all that was acknowledged", func() bool {
				return counters[0].count() >= written && counters[1].count() == counters[0].count() && counters[2].count() == counters[0].count()
			})
		})
	}
}

// gossip is memberlist's view of a host.
type gossip struct {
	host    *simnet.Host
	streams net.Listener
	packets net.PacketConn
	packet  chan *memberlist.Packet
	stream  chan net.Conn
	done    chan struct{}
	wait    sync.WaitGroup
}

func newGossip(t *testing.T, h *simnet.Host) *gossip {
	t.Helper()
	l, err := h.Listen(":7946")
	if err != nil {
		t.Fatal(err)
	}
	p, err := h.ListenPacket(":7946")
	if err != nil {
		t.Fatal(err)
	}
	g := &gossip{host: h, streams: l, packets: p, packet: make(chan *memberlist.Packet), stream: make(chan net.Conn), done: make(chan struct{})}
	g.wait.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			select {
			case g.stream <- c:
			case <-g.done:
				c.Close()
			}
		}
	})
	g.wait.Go(func() {
		for {
			b := make([]byte, 65536)
			n, from, err := p.ReadFrom(b)
			if err != nil {
				return
			}
			select {
			case g.packet <- &memberlist.Packet{Buf: b[:n], From: from, Timestamp: time.Now()}:
			case <-g.done:
			}
		}
	})
	return g
}

func (g *gossip) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	a := g.packets.LocalAddr().(*net.UDPAddr)
	return a.IP, a.Port, nil
}

func (g *gossip) WriteTo(b []byte, address string) (time.Time, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return time.Time{}, err
	}
	n, err := strconv.Atoi(port)
	if err == nil {
		_, err = g.packets.WriteTo(b, &net.UDPAddr{IP: net.ParseIP(host), Port: n})
	}
	return time.Now(), err
}

func (g *gossip) DialTimeout(address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return g.host.Dial(ctx, address)
}

func (g *gossip) PacketCh() <-chan *memberlist.Packet { return g.packet }
func (g *gossip) StreamCh() <-chan net.Conn           { return g.stream }

func (g *gossip) Shutdown() error {
	close(g.done)
	g.streams.Close()
	g.packets.Close()
	g.wait.Wait()
	return nil
}

// Members find one another through loss, and miss the one that crashed.
func TestCarriesMemberlist(t *testing.T) {
	bubble(t, 1, func(t *testing.T, f *simnet.Fabric) {
		f.SetFaults(simnet.Faults{MinDelay: time.Millisecond, MaxDelay: 10 * time.Millisecond, PacketLoss: .05, PacketReorder: .05, PacketDuplicate: .05})
		var members []*memberlist.Memberlist
		for i := range 5 {
			ip := fmt.Sprint("10.0.0.", i+1)
			c := memberlist.DefaultLANConfig()
			c.Name, c.LogOutput, c.Transport = ip, io.Discard, newGossip(t, f.Host(ip))
			m, err := memberlist.Create(c)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Shutdown()
			if _, err := m.Join([]string{ipA + ":7946"}); err != nil {
				t.Fatal(err)
			}
			members = append(members, m)
		}
		see := func(n int) func() bool {
			return func() bool {
				for _, m := range members[:4] {
					if m.NumMembers() != n {
						return false
					}
				}
				return true
			}
		}
		until(t, "five", see(5))
		f.Host("10.0.0.5").Crash()
		until(t, "four", see(4))
		f.Isolate(ipC)
		until(t, "three", func() bool { return members[0].NumMembers() == 3 })
		f.Heal()
		until(t, "four again", see(4))
	})
}
