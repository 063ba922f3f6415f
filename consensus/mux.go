package consensus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// What a stream's first byte says it carries. KindRaft is followed by the group's number, 4 bytes, big-endian.
const (
	KindRaft    byte = 'R'
	KindGossip  byte = 'G'
	KindClock   byte = 'C'
	KindService byte = 'S'
)

const (
	// headerTimeout is how long a stream may take to say what it carries.
	headerTimeout = 5 * time.Second
	// maxUnnamed is how many streams may be in that phase at once; more are closed, not queued: they are somebody's scan.
	maxUnnamed = 256
	// backlog is how many named streams wait for an Accept.
	backlog = 64
)

// A route is what a header names.
type route struct {
	kind  byte
	group uint32
}

// readRoute reads a header and not a byte more.
func readRoute(r io.Reader) (route, error) {
	var b [4]byte
	if _, err := io.ReadFull(r, b[:1]); err != nil {
		return route{}, err
	}
	switch kind := b[0]; kind {
	case KindGossip, KindClock, KindService:
		return route{kind: kind}, nil
	case KindRaft:
		_, err := io.ReadFull(r, b[:])
		return route{kind, binary.BigEndian.Uint32(b[:])}, err
	default:
		return route{}, fmt.Errorf("consensus: a stream of kind %q", kind)
	}
}

// header is what readRoute reads.
func (r route) header() []byte {
	if r.kind != KindRaft {
		return []byte{r.kind}
	}
	return binary.BigEndian.AppendUint32([]byte{r.kind}, r.group)
}

// Mux shares one port between all that a node speaks.
type Mux struct {
	network Network
	l       net.Listener
	logger  *slog.Logger

	mu      sync.Mutex
	routes  map[route]*branch
	unnamed map[net.Conn]struct{}
	closed  bool
	done    sync.WaitGroup
}

// NewMux serves a listener of a network until Close. A nil logger discards.
func NewMux(n Network, l net.Listener, logger *slog.Logger) *Mux {
	m := &Mux{network: n, l: l, logger: orDiscard(logger), routes: map[route]*branch{}, unnamed: map[net.Conn]struct{}{}}
	m.done.Go(m.accept)
	return m
}

// Addr returns the address that the mux listens at.
func (m *Mux) Addr() net.Addr { return m.l.Addr() }

func (m *Mux) accept() {
	pause := 5 * time.Millisecond
	for {
		c, err := m.l.Accept()
		if err == nil {
			pause = 5 * time.Millisecond
			m.admit(c)
			continue
		}
		m.mu.Lock()
		closed := m.closed
		m.mu.Unlock()
		if closed || errors.Is(err, net.ErrClosed) {
			return
		}
		m.logger.Warn("a stream was not accepted", "error", err) // out of file descriptors: some will be free again
		time.Sleep(pause)
		pause = min(2*pause, time.Second)
	}
}

// admit lets a stream say what it carries.
func (m *Mux) admit(c net.Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || len(m.unnamed) >= maxUnnamed {
		c.Close()
		return
	}
	m.unnamed[c] = struct{}{}
	m.done.Go(func() { m.name(c) })
}

func (m *Mux) name(c net.Conn) {
	err := c.SetReadDeadline(time.Now().Add(headerTimeout))
	var r route
	if err == nil {
		r, err = readRoute(c)
	}
	if err == nil {
		err = c.SetReadDeadline(time.Time{})
	}
	m.mu.Lock()
	delete(m.unnamed, c)
	b := m.routes[r]
	m.mu.Unlock()
	if err == nil && b != nil && b.offer(c) {
		return
	}
	c.Close()
	m.logger.Debug("a stream was refused", "from", c.RemoteAddr(), "kind", string(r.kind), "group", r.group, "error", err)
}

// Listener returns what accepts the streams of a kind; a second call replaces the first one's. KindRaft goes by [Mux.Group].
func (m *Mux) Listener(kind byte) net.Listener { return m.branch(route{kind: kind}) }

func (m *Mux) branch(r route) *branch {
	b := &branch{m: m, r: r, streams: make(chan net.Conn, backlog), closed: make(chan struct{})}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		close(b.closed)
	} else {
		m.routes[r] = b
	}
	return b
}

// Dial opens a stream of a kind to an address, host:port. KindRaft goes by [Mux.Group].
func (m *Mux) Dial(ctx context.Context, kind byte, address string) (net.Conn, error) {
	return m.dial(ctx, route{kind: kind}, address)
}

func (m *Mux) dial(ctx context.Context, r route, address string) (net.Conn, error) {
	c, err := m.network.Dial(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("consensus: dial %s: %w", address, err)
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(headerTimeout)
	}
	if err = c.SetWriteDeadline(deadline); err == nil {
		if _, err = c.Write(r.header()); err == nil {
			err = c.SetWriteDeadline(time.Time{})
		}
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("consensus: dial %s: %w", address, err)
	}
	return c, nil
}

// Close stops listening and closes streams that nobody took. Streams that were accepted belong to whoever accepted them.
func (m *Mux) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	var branches []*branch
	for _, b := range m.routes {
		branches = append(branches, b)
	}
	for c := range m.unnamed {
		c.Close()
	}
	m.mu.Unlock()
	err := m.l.Close()
	for _, b := range branches {
		b.Close()
	}
	m.done.Wait()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return err
}

// branch is the listener of one route.
type branch struct {
	m       *Mux
	r       route
	streams chan net.Conn
	mu      sync.Mutex // orders offer before or after Close
	closed  chan struct{}
}

// offer queues a stream, or says that it cannot be taken.
func (b *branch) offer(c net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.closed:
		return false
	default:
	}
	select {
	case b.streams <- c:
		return true
	default: // whoever listens has stopped to
		return false
	}
}

func (b *branch) Accept() (net.Conn, error) {
	select {
	case <-b.closed:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-b.streams:
		return c, nil
	case <-b.closed:
		return nil, net.ErrClosed
	}
}

func (b *branch) Close() error {
	b.m.mu.Lock()
	if b.m.routes[b.r] == b {
		delete(b.m.routes, b.r)
	}
	b.m.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.closed:
		return nil
	default:
		close(b.closed)
	}
	for {
		select {
		case c := <-b.streams:
			c.Close()
		default:
			return nil
		}
	}
}

func (b *branch) Addr() net.Addr { return b.m.Addr() }
