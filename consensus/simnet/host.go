package simnet

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	firstPort, lastPort = 32768, 60999 // those that the system picks
	backlog             = 128          // streams that wait to be accepted; then dials go unanswered
	dialTimeout         = 3 * time.Second
	dialAgain           = time.Second // an unanswered dial is sent again
)

// state of a host. The order is that of its decline.
type state int

const (
	running state = iota
	killed        // its processes are gone; its system answers for them
	crashed       // nothing answers
)

// Host is one machine on a [Fabric], at one ip, until it crashes or is killed.
type Host struct {
	f         *Fabric
	ip        netip.Addr
	state     state
	port      uint16 // picked last
	listeners map[uint16]*listener
	packets   map[uint16]*packetConn
	streams   map[*stream]bool
	dials     map[*attempt]bool
}

// Crash cuts the power. Whatever the host has open fails here with net.ErrClosed. Its peers are not told: their reads hang until
// their deadline, and what they write goes unanswered, which breaks the stream after 3 s, or as soon as there is a fresh host at
// the ip to say that it knows of no such stream.
func (h *Host) Crash() {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	h.end(crashed)
}

// Kill is kill -9: the same at this end, but the host's system closes what was open, so peers read what was sent and then the
// end, and later dials are refused.
func (h *Host) Kill() {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	h.end(killed)
}

func (h *Host) end(s state) {
	was := h.state
	h.state = max(was, s)
	if was != running {
		return
	}
	goodbye := fin
	if s == crashed {
		goodbye = silence
	}
	for a := range h.dials {
		a.finish(nil, net.ErrClosed)
	}
	for _, port := range slices.Sorted(maps.Keys(h.listeners)) {
		h.listeners[port].end()
	}
	for _, p := range h.packets {
		p.end()
	}
	for _, s := range slices.SortedFunc(maps.Keys(h.streams), byAge) {
		s.end(goodbye)
	}
}

// Resolve implements consensus.Network by the names given to [Fabric.Name].
func (h *Host) Resolve(ctx context.Context, address string) ([]string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	if h.state != running {
		return nil, net.ErrClosed
	}
	ips := h.f.names[host]
	if ip, err := netip.ParseAddr(host); err == nil {
		ips = []netip.Addr{ip}
	}
	if len(ips) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	var out []string
	for _, ip := range ips {
		out = append(out, net.JoinHostPort(ip.String(), port))
	}
	return out, nil
}

// bind returns the port of an address to listen at, or one that is not taken for port 0.
func (h *Host) bind(address string, taken func(uint16) bool) (netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return netip.AddrPort{}, err
	}
	ip, err := netip.ParseAddr(host)
	at := netip.AddrPortFrom(h.ip, uint16(port))
	switch {
	case h.state != running:
		return at, net.ErrClosed
	case host != "" && (err != nil || ip != h.ip && !ip.IsUnspecified()):
		return at, syscall.EADDRNOTAVAIL
	case port == 0:
		for at = h.ephemeral(); taken(at.Port()); at = h.ephemeral() {
		}
	case taken(at.Port()):
		return at, syscall.EADDRINUSE
	}
	return at, nil
}

func (h *Host) ephemeral() netip.AddrPort {
	if h.port++; h.port > lastPort {
		h.port = firstPort
	}
	return netip.AddrPortFrom(h.ip, h.port)
}

// Listen implements consensus.Network. The empty and the unspecified ip mean the host's own, which Addr then tells.
func (h *Host) Listen(address string) (net.Listener, error) {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	at, err := h.bind(address, func(p uint16) bool { return h.listeners[p] != nil })
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: net.TCPAddrFromAddrPort(at), Err: err}
	}
	l := &listener{host: h, at: at, cond: sync.NewCond(&h.f.mu)}
	h.listeners[at.Port()] = l
	return l, nil
}

type listener struct {
	host    *Host
	at      netip.AddrPort
	cond    *sync.Cond
	waiting []*stream // to be accepted
	closed  bool
}

func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.at) }

func (l *listener) Accept() (net.Conn, error) {
	l.host.f.mu.Lock()
	defer l.host.f.mu.Unlock()
	for len(l.waiting) == 0 && !l.closed {
		l.cond.Wait()
	}
	if l.closed {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	}
	s := l.waiting[0]
	l.waiting = l.waiting[1:]
	return s, nil
}

func (l *listener) Close() error {
	l.host.f.mu.Lock()
	defer l.host.f.mu.Unlock()
	if l.closed {
		return &net.OpError{Op: "close", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	}
	l.end()
	return nil
}

func (l *listener) end() {
	l.closed = true
	delete(l.host.listeners, l.at.Port())
	goodbye := rst
	if l.host.state == crashed {
		goodbye = silence
	}
	for _, s := range l.waiting {
		s.end(goodbye)
	}
	l.waiting = nil
	l.cond.Broadcast()
}

// Dial implements consensus.Network. It gives up after 3 s, shared by the ips of a name.
func (h *Host) Dial(ctx context.Context, address string) (net.Conn, error) {
	deadline := time.Now().Add(dialTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	to, err := h.Resolve(ctx, address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	var first error // of the ips, as net.Dialer has it
	for i, a := range to {
		at, err := netip.ParseAddrPort(a)
		if err != nil {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
		}
		part, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(len(to)-i))
		c, err := h.dial(part, at)
		cancel()
		if err == nil {
			return c, nil
		}
		if ctx.Err() == context.Canceled {
			err = ctx.Err()
		}
		if first == nil {
			first = err
		}
	}
	return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: hostPort(address), Err: first}
}

// hostPort is an address as it was written.
type hostPort string

func (hostPort) Network() string  { return "tcp" }
func (a hostPort) String() string { return string(a) }

func (h *Host) dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	f := h.f
	a := &attempt{from: h, to: to, done: make(chan struct{})}
	f.mu.Lock()
	if h.state != running {
		f.mu.Unlock()
		return nil, net.ErrClosed
	}
	h.dials[a] = true
	a.timer = time.AfterFunc(f.delay()+f.delay(), a.arrive) // there and back again
	f.mu.Unlock()
	select {
	case <-a.done:
	case <-ctx.Done():
		f.mu.Lock()
		a.finish(nil, os.ErrDeadlineExceeded)
		f.mu.Unlock()
	}
	if a.err != nil {
		return nil, a.err
	}
	return a.conn, nil
}

// attempt is a dial under way.
type attempt struct {
	from  *Host
	to    netip.AddrPort
	timer *time.Timer
	done  chan struct{} // closed once conn or err is set
	conn  *stream
	err   error
}

// finish ends the attempt, with the fabric's lock held; the first to do so decides.
func (a *attempt) finish(c *stream, err error) {
	if !a.from.dials[a] {
		return
	}
	delete(a.from.dials, a)
	a.timer.Stop()
	a.conn, a.err = c, err
	close(a.done)
}

// arrive is the dial at its target, the way back included: both ends of a stream come to be in one instant, so that a dial that
// was given up leaves nothing behind.
func (a *attempt) arrive() {
	f := a.from.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if !a.from.dials[a] {
		return
	}
	here, there := a.from.ip, a.to.Addr()
	if f.blocked(here, there) || f.blocked(there, here) || !f.up(there) {
		a.timer.Reset(dialAgain + f.delay())
		return
	}
	host := f.hosts[there]
	l := host.listeners[a.to.Port()]
	switch {
	case l == nil:
		a.finish(nil, os.NewSyscallError("connect", syscall.ECONNREFUSED))
	case len(l.waiting) >= backlog:
		a.timer.Reset(dialAgain + f.delay())
	default:
		near, far := pair(a.from, a.from.ephemeral(), host, a.to)
		l.waiting = append(l.waiting, far)
		l.cond.Broadcast()
		a.finish(near, nil)
	}
}
