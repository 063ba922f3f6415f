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

const (
	// clockInterval is how often the other nodes' clocks are asked for, clockTimeout how long an answer may take: what it tells is
	// wrong by half of that at most.
	clockInterval = time.Second
	clockTimeout  = 500 * time.Millisecond
	// clockAge is how old an answer may be that still counts, clockIdle how long a stream may say nothing.
	clockAge  = 5 * time.Second
	clockIdle = 30 * time.Second
	// maxClockStreams bounds those who ask at once.
	maxClockStreams = 1024
)

// Clocks tells other nodes this node's wall clock, and asks for theirs about every second. A request is one byte, the answer the
// time in ms since 1970, 8 bytes, big-endian.
type Clocks struct {
	mux     *Mux
	wall    func() time.Time
	members func() map[string]string
	logger  *slog.Logger
	l       net.Listener
	start   time.Time // of the monotonic clock

	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu      sync.Mutex
	samples map[string]sample
	conns   map[net.Conn]struct{}
	streams map[string]clockStream // to other nodes, by node; taken out while in use
}

type clockStream struct {
	address string
	conn    net.Conn
}

// sample is what a clock showed, ms since 1970, and when, on the monotonic clock.
type sample struct {
	ms int64
	at time.Duration
}

// NewClocks serves and asks until Close. wall is this node's clock; members tells the other nodes' ids and addresses, host:port, at every
// round. A nil logger discards.
func NewClocks(m *Mux, wall func() time.Time, members func() map[string]string, logger *slog.Logger) *Clocks {
	c := &Clocks{
		mux: m, wall: wall, members: members, logger: orDiscard(logger), l: m.Listener(KindClock), start: time.Now(),
		samples: map[string]sample{}, conns: map[net.Conn]struct{}{}, streams: map[string]clockStream{},
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.done.Go(c.serve)
	c.done.Go(c.poll)
	return c
}

func (c *Clocks) serve() {
	for {
		conn, err := c.l.Accept()
		if err != nil {
			return // closed
		}
		if !c.keep(conn) {
			continue
		}
		c.done.Go(func() {
			defer c.drop(conn)
			if err := c.answer(conn); err != nil && !errors.Is(err, io.EOF) {
				c.logger.Debug("a clock stream ended", "from", conn.RemoteAddr(), "error", err)
			}
		})
	}
}

func (c *Clocks) answer(conn net.Conn) error {
	var b [8]byte
	for {
		if err := conn.SetDeadline(time.Now().Add(clockIdle)); err != nil {
			return err
		}
		if _, err := io.ReadFull(conn, b[:1]); err != nil {
			return err
		}
		binary.BigEndian.PutUint64(b[:], uint64(c.wall().UnixMilli()))
		if _, err := conn.Write(b[:]); err != nil {
			return err
		}
	}
}

// keep remembers a stream for Close, unless it is too late or there are too many.
func (c *Clocks) keep(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil || len(c.conns) >= maxClockStreams {
		conn.Close()
		return false
	}
	c.conns[conn] = struct{}{}
	return true
}

func (c *Clocks) drop(conn net.Conn) {
	c.mu.Lock()
	delete(c.conns, conn)
	c.mu.Unlock()
	conn.Close()
}

// poll asks all members at once, and again a second later.
func (c *Clocks) poll() {
	for {
		var round sync.WaitGroup
		members := c.members()
		c.forget(members)
		for node, address := range members {
			round.Go(func() {
				if err := c.ask(node, address); err != nil {
					c.logger.Debug("a clock was not told", "node", node, "address", address, "error", err)
				}
			})
		}
		round.Wait()
		select {
		case <-time.After(clockInterval):
		case <-c.ctx.Done():
			return
		}
	}
}

// forget ends the streams to nodes that are gone or elsewhere.
func (c *Clocks) forget(members map[string]string) {
	var gone []net.Conn
	c.mu.Lock()
	for node, s := range c.streams {
		if at, ok := members[node]; !ok || at != s.address {
			delete(c.streams, node)
			gone = append(gone, s.conn)
		}
	}
	c.mu.Unlock()
	for _, conn := range gone {
		c.drop(conn)
	}
}

// ask takes one sample of a node's clock. A failure leaves the old one, which ages.
func (c *Clocks) ask(node, address string) error {
	c.mu.Lock()
	conn := c.streams[node].conn
	delete(c.streams, node)
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(c.ctx, clockTimeout)
	defer cancel()
	if conn == nil {
		var err error
		if conn, err = c.mux.Dial(ctx, KindClock, address); err != nil {
			return err
		}
		if !c.keep(conn) {
			return ErrClosed
		}
	}
	s, err := c.exchange(conn)
	if err != nil {
		c.drop(conn)
		return fmt.Errorf("consensus: clock of %s: %w", node, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.samples[node] = s
	c.streams[node] = clockStream{address, conn}
	return nil
}

func (c *Clocks) exchange(conn net.Conn) (sample, error) {
	sent := time.Since(c.start)
	var b [8]byte
	err := conn.SetDeadline(time.Now().Add(clockTimeout))
	if err == nil {
		_, err = conn.Write(b[:1])
	}
	if err == nil {
		_, err = io.ReadFull(conn, b[:])
	}
	return sample{int64(binary.BigEndian.Uint64(b[:])), (sent + time.Since(c.start)) / 2}, err
}

// Median returns the median of the voters' clocks, ms since 1970, own among them. ok says that a majority of them were heard of in the
// last 5 s and are within a minute of each other; the median is that majority's.
func (c *Clocks) Median(voters []string, own string) (ms int64, ok bool) {
	now, wall := time.Since(c.start), c.wall().UnixMilli()
	c.mu.Lock()
	defer c.mu.Unlock()
	var clocks []int64
	for _, v := range voters {
		s, heard := c.samples[v]
		switch {
		case v == own:
			clocks = append(clocks, wall)
		case heard && now-s.at <= clockAge:
			clocks = append(clocks, s.ms+(now-s.at).Milliseconds())
		}
	}
	return median(clocks, len(voters))
}

// Close ends all streams.
func (c *Clocks) Close() error {
	c.cancel()
	err := c.l.Close()
	c.mu.Lock()
	for conn := range c.conns {
		conn.Close()
	}
	c.mu.Unlock()
	c.done.Wait()
	return err
}
