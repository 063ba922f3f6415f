package simnet

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	packetQueue = 512   // packets that wait to be read; more are lost
	packetBytes = 65507 // the most that one holds
)

// ListenPacket implements consensus.Network, with addresses as [Host.Listen] reads them.
func (h *Host) ListenPacket(address string) (net.PacketConn, error) {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	at, err := h.bind(address, func(p uint16) bool { return h.packets[p] != nil })
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "udp", Addr: net.UDPAddrFromAddrPort(at), Err: err}
	}
	c := &packetConn{host: h, at: at, cond: sync.NewCond(&h.f.mu), last: map[netip.AddrPort]time.Time{}}
	h.packets[at.Port()] = c
	return c, nil
}

type packet struct {
	from netip.AddrPort
	data []byte
}

type packetConn struct {
	host        *Host
	at          netip.AddrPort
	cond        *sync.Cond
	queue       []packet
	last        map[netip.AddrPort]time.Time // when the latest to each target is due: without PacketReorder none overtakes another
	closed      bool
	read, write deadline
}

func (c *packetConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.at) }

func (c *packetConn) ReadFrom(p []byte) (int, net.Addr, error) {
	c.host.f.mu.Lock()
	defer c.host.f.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, nil, c.wrap("read", nil, net.ErrClosed)
		case c.read.passed():
			return 0, nil, c.wrap("read", nil, os.ErrDeadlineExceeded)
		case len(c.queue) > 0:
			g := c.queue[0]
			c.queue = c.queue[1:]
			return copy(p, g.data), net.UDPAddrFromAddrPort(g.from), nil
		}
		c.cond.Wait()
	}
}

// WriteTo sends to an ip:port. As on a real wire, it succeeds whatever becomes of the packet.
func (c *packetConn) WriteTo(p []byte, to net.Addr) (int, error) {
	at, err := netip.ParseAddrPort(to.String())
	if err != nil {
		return 0, c.wrap("write", to, err)
	}
	f := c.host.f
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case c.closed:
		return 0, c.wrap("write", to, net.ErrClosed)
	case c.write.passed():
		return 0, c.wrap("write", to, os.ErrDeadlineExceeded)
	case len(p) > packetBytes:
		return 0, c.wrap("write", to, os.NewSyscallError("sendto", syscall.EMSGSIZE))
	case f.blocked(c.at.Addr(), at.Addr()) || f.chance(f.faults.PacketLoss):
		return len(p), nil
	}
	g := packet{c.at, bytes.Clone(p)}
	c.post(g, at)
	if f.chance(f.faults.PacketDuplicate) {
		c.post(g, at)
	}
	return len(p), nil
}

// post puts a packet on its way.
func (c *packetConn) post(g packet, to netip.AddrPort) {
	f, now := c.host.f, time.Now()
	due := now.Add(f.delay())
	if f.chance(f.faults.PacketReorder) {
		due = due.Add(time.Duration(f.rng.Int64N(int64(10*f.faults.MaxDelay + time.Millisecond))))
	} else {
		if last := c.last[to]; last.After(now) && !due.After(last) {
			due = last.Add(1) // timers of one instant run in any order
		}
		c.last[to] = due
	}
	if !due.After(now) {
		f.arrive(g, to)
		return
	}
	time.AfterFunc(due.Sub(now), func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.arrive(g, to)
	})
}

// arrive hands a packet to whoever listens at its target.
func (f *Fabric) arrive(g packet, to netip.AddrPort) {
	h := f.hosts[to.Addr()]
	if h == nil || f.blocked(g.from.Addr(), to.Addr()) {
		return
	}
	if c := h.packets[to.Port()]; c != nil && len(c.queue) < packetQueue {
		c.queue = append(c.queue, g)
		c.cond.Broadcast()
	}
}

func (c *packetConn) wrap(op string, to net.Addr, err error) error {
	return &net.OpError{Op: op, Net: "udp", Source: c.LocalAddr(), Addr: to, Err: err}
}

func (c *packetConn) Close() error {
	c.host.f.mu.Lock()
	defer c.host.f.mu.Unlock()
	if c.closed {
		return c.wrap("close", nil, net.ErrClosed)
	}
	c.end()
	return nil
}

func (c *packetConn) end() {
	c.closed = true
	c.queue = nil
	delete(c.host.packets, c.at.Port())
	c.read.set(c.host.f, c.cond, time.Time{})
	c.write.set(c.host.f, c.cond, time.Time{})
}

func (c *packetConn) SetDeadline(t time.Time) error      { return c.setDeadlines(t, &c.read, &c.write) }
func (c *packetConn) SetReadDeadline(t time.Time) error  { return c.setDeadlines(t, &c.read) }
func (c *packetConn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, &c.write) }

func (c *packetConn) setDeadlines(t time.Time, ds ...*deadline) error {
	c.host.f.mu.Lock()
	defer c.host.f.mu.Unlock()
	if c.closed {
		return c.wrap("set", nil, net.ErrClosed)
	}
	for _, d := range ds {
		d.set(c.host.f, c.cond, t)
	}
	return nil
}
