package consensus

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// stallTimeout ends a stream on which not a byte moved: Raft gives a snapshot of a gigabyte a deadline of hours, and a peer that
// vanishes meanwhile would hold its leader for as long.
const stallTimeout = 30 * time.Second

// layer is a group's share of a mux, as Raft's transport wants it. Raft's addresses are node ids.
type layer struct {
	*branch
	node    string
	address func(node string) (string, bool)

	mu     sync.Mutex
	conns  map[net.Conn]struct{} // all that are open: Raft's transport forgets those that it accepted
	closed bool
	cancel context.CancelFunc
	ctx    context.Context
}

// group returns the streams of a group, between nodes that are named by id; address tells where a node is now. With a nil address
// an id is an address.
func (m *Mux) group(id uint32, node string, address func(string) (string, bool)) *layer {
	if address == nil {
		address = func(node string) (string, bool) { return node, true }
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &layer{branch: m.branch(route{KindRaft, id}), node: node, address: address, conns: map[net.Conn]struct{}{}, ctx: ctx, cancel: cancel}
}

// Dial implements raft.StreamLayer.
func (l *layer) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	at, ok := l.address(string(to))
	if !ok {
		return nil, fmt.Errorf("consensus: no address known of node %s", to)
	}
	ctx, cancel := context.WithTimeout(l.ctx, timeout)
	defer cancel()
	c, err := l.m.dial(ctx, l.r, at)
	if err != nil {
		return nil, err
	}
	return l.keep(c)
}

func (l *layer) Accept() (net.Conn, error) {
	c, err := l.branch.Accept()
	if err != nil {
		return nil, err
	}
	return l.keep(c)
}

func (l *layer) keep(c net.Conn) (net.Conn, error) {
	s := &stream{Conn: c, l: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		c.Close()
		return nil, net.ErrClosed
	}
	l.conns[s] = struct{}{}
	return s, nil
}

// Close also ends the streams that were accepted: Raft's transport leaves their goroutines reading.
func (l *layer) Close() error {
	l.cancel()
	err := l.branch.Close()
	l.mu.Lock()
	l.closed = true
	open := l.conns
	l.conns = nil
	l.mu.Unlock()
	for c := range open {
		c.(*stream).Conn.Close()
	}
	return err
}

// Addr is the node's id.
func (l *layer) Addr() net.Addr { return nodeAddr(l.node) }

type nodeAddr string

func (nodeAddr) Network() string  { return "node" }
func (a nodeAddr) String() string { return string(a) }

// stream is a connection whose writes fail when the peer takes nothing for stallTimeout, whatever deadline Raft set.
type stream struct {
	net.Conn
	l *layer

	mu       sync.Mutex
	deadline time.Time // for writes, as set
}

func (s *stream) SetDeadline(t time.Time) error {
	if err := s.Conn.SetReadDeadline(t); err != nil {
		return err
	}
	return s.SetWriteDeadline(t)
}

func (s *stream) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	s.deadline = t
	s.mu.Unlock()
	return s.Conn.SetWriteDeadline(t)
}

func (s *stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	until := time.Now().Add(stallTimeout)
	if !s.deadline.IsZero() && s.deadline.Before(until) {
		until = s.deadline
	}
	err := s.Conn.SetWriteDeadline(until)
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return s.Conn.Write(b)
}

func (s *stream) Close() error {
	s.l.mu.Lock()
	delete(s.l.conns, s)
	s.l.mu.Unlock()
	return s.Conn.Close()
}
