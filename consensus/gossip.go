package consensus

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// maxPacket is the largest packet taken; memberlist sends 1,400 bytes.
const maxPacket = 64 << 10

// gossip is memberlist's transport: streams of the mux, packets of the same port.
type gossip struct {
	mux       *Mux
	l         net.Listener
	packets   net.PacketConn
	advertise netip.AddrPort
	logger    *slog.Logger

	in      chan *memberlist.Packet
	streams chan net.Conn
	ctx     context.Context
	cancel  context.CancelFunc
	done    sync.WaitGroup

	mu    sync.Mutex
	conns map[*gossipStream]struct{}
}

var _ memberlist.Transport = (*gossip)(nil)

func newGossip(m *Mux, packets net.PacketConn, advertise netip.AddrPort, logger *slog.Logger) *gossip {
	g := &gossip{
		mux: m, l: m.Listener(KindGossip), packets: packets, advertise: advertise, logger: logger,
		in: make(chan *memberlist.Packet), streams: make(chan net.Conn), conns: map[*gossipStream]struct{}{},
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.done.Go(g.accept)
	g.done.Go(g.read)
	return g
}

func (g *gossip) accept() {
	for {
		c, err := g.l.Accept()
		if err != nil {
			return // closed
		}
		if c, err = g.keep(c); err != nil {
			return
		}
		select {
		case g.streams <- c:
		case <-g.ctx.Done():
			c.Close()
			return
		}
	}
}

func (g *gossip) read() {
	b := make([]byte, maxPacket)
	for g.ctx.Err() == nil {
		n, from, err := g.packets.ReadFrom(b)
		if err != nil {
			if g.ctx.Err() == nil { // not ours to close: somebody's unreachable port may show as an error here
				g.logger.Debug("a packet was not read", "error", err)
				select {
				case <-time.After(10 * time.Millisecond):
				case <-g.ctx.Done():
				}
			}
			continue
		}
		if n == 0 {
			continue
		}
		p := &memberlist.Packet{Buf: append([]byte(nil), b[:n]...), From: from, Timestamp: time.Now()}
		select {
		case g.in <- p:
		case <-g.ctx.Done():
		}
	}
}

func (g *gossip) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return g.advertise.Addr().AsSlice(), int(g.advertise.Port()), nil
}

func (g *gossip) WriteTo(b []byte, address string) (time.Time, error) {
	to, err := netip.ParseAddrPort(address)
	if err == nil {
		_, err = g.packets.WriteTo(b, net.UDPAddrFromAddrPort(to))
	}
	return time.Now(), err
}

func (g *gossip) PacketCh() <-chan *memberlist.Packet { return g.in }
func (g *gossip) StreamCh() <-chan net.Conn           { return g.streams }

func (g *gossip) DialTimeout(address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(g.ctx, timeout)
	defer cancel()
	c, err := g.mux.Dial(ctx, KindGossip, address)
	if err != nil {
		return nil, err
	}
	return g.keep(c)
}

func (g *gossip) keep(c net.Conn) (net.Conn, error) {
	s := &gossipStream{c, g}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ctx.Err() != nil {
		c.Close()
		return nil, net.ErrClosed
	}
	g.conns[s] = struct{}{}
	return s, nil
}

// Shutdown ends streams and packets; the packet connection is the caller's, who gets it back fit for use.
func (g *gossip) Shutdown() error {
	g.cancel()
	err := g.l.Close()
	if e := g.packets.SetReadDeadline(time.Unix(1, 0)); err == nil {
		err = e
	}
	g.mu.Lock()
	for s := range g.conns {
		s.Conn.Close()
	}
	g.mu.Unlock()
	g.done.Wait()
	if e := g.packets.SetReadDeadline(time.Time{}); err == nil {
		err = e
	}
	return err
}

// gossipStream is one that Shutdown can end.
type gossipStream struct {
	net.Conn
	g *gossip
}

func (s *gossipStream) Close() error {
	s.g.mu.Lock()
	delete(s.g.conns, s)
	s.g.mu.Unlock()
	return s.Conn.Close()
}
