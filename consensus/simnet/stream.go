package simnet

import (
	"bytes"
	"cmp"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	window      = 256 << 10        // bytes of a stream, one way, that are sent and not yet read
	cutTimeout  = 15 * time.Second // bytes that a cut holds up for this long break their stream
	deadTimeout = 3 * time.Second  // and bytes that a crashed host does not answer
)

// kind of a segment.
type kind int

const (
	data    kind = iota
	fin          // the sender has closed
	rst          // the sender knows of no such stream, or has given it up
	silence      // never sent: what a crash says
)

// segment is what one write put on the wire.
type segment struct {
	kind      kind
	data      []byte
	sent, due time.Time
	late      bool // its path was cut or its host gone when it was due
}

// stream is one end of a stream, and the wire that leads to it. The fabric's lock guards it.
type stream struct {
	age         uint64 // a smaller one is older
	host        *Host
	peer        *stream
	here, there netip.AddrPort
	cond        *sync.Cond // of whoever waits at this end

	wire    []segment // on their way here, oldest first: none overtakes another
	flying  int       // bytes of wire
	timer   *time.Timer
	stalled bool // stands in the fabric's list

	ready       bytes.Buffer // has arrived
	ended       bool         // fin has
	err         error        // rst has, or this end gave up
	closed      bool
	writing     bool // one Write at a time
	read, write deadline
}

func byAge(a, b *stream) int { return cmp.Compare(a.age, b.age) }

// pair returns the two ends of a new stream.
func pair(from *Host, here netip.AddrPort, to *Host, there netip.AddrPort) (near, far *stream) {
	f := from.f
	f.streams += 2
	near = &stream{age: f.streams, host: from, here: here, there: there, cond: sync.NewCond(&f.mu)}
	far = &stream{age: f.streams + 1, host: to, here: there, there: here, cond: sync.NewCond(&f.mu)}
	near.peer, far.peer = far, near
	from.streams[near], to.streams[far] = true, true
	return near, far
}

// send puts a segment on the wire that leads to s.
func (s *stream) send(k kind, b []byte) {
	now := time.Now()
	s.wire = append(s.wire, segment{kind: k, data: b, sent: now, due: now.Add(s.host.f.delay())})
	s.flying += len(b)
	s.pump()
}

// pump delivers what is due, and sets the timer for what is not. It is called at every change that could let bytes through.
func (s *stream) pump() {
	f := s.host.f
	for len(s.wire) > 0 && !f.closed && !s.stalled {
		g, now := &s.wire[0], time.Now()
		if s.peer.host.state == crashed && g.kind != rst { // nobody repeats it
			s.clear()
			return
		}
		if g.due.After(now) {
			s.wakeAt(g.due)
			return
		}
		patience, ok := s.reachable()
		switch {
		case !ok && g.kind == rst:
			// Waits for as long as it takes. TCP would not repeat it, but the peer's keepalive would ask, and get it.
			s.stall(g)
			return
		case !ok && now.Before(g.sent.Add(patience)):
			s.stall(g)
			s.wakeAt(g.sent.Add(patience))
			return
		case !ok: // the sender gives up
			s.clear()
			s.peer.fail()
			s.send(rst, nil)
			return
		case g.late: // sent again
			g.late, g.due = false, now.Add(f.delay())
		default:
			s.deliver()
		}
	}
}

// reachable says whether a segment gets here now, and for how long its sender will try if not.
func (s *stream) reachable() (patience time.Duration, ok bool) {
	f, ip := s.host.f, s.host.ip
	switch {
	case f.blocked(s.peer.host.ip, ip):
		return cutTimeout, false
	case !f.up(ip):
		return deadTimeout, false
	}
	return 0, true
}

func (s *stream) stall(g *segment) {
	g.late = true
	s.stalled = true
	s.host.f.stalled = append(s.host.f.stalled, s)
}

func (s *stream) wakeAt(t time.Time) {
	if s.timer == nil {
		s.timer = time.AfterFunc(time.Until(t), s.tick)
	} else {
		s.timer.Reset(time.Until(t))
	}
}

func (s *stream) tick() {
	f := s.host.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.stalled {
		s.stalled = false
		for i, o := range f.stalled {
			if o == s {
				f.stalled = append(f.stalled[:i:i], f.stalled[i+1:]...)
				break
			}
		}
	}
	s.pump()
}

// deliver hands the oldest segment over. An end that is no more answers data as its system would.
func (s *stream) deliver() {
	g := s.wire[0]
	s.wire = s.wire[1:]
	s.flying -= len(g.data)
	switch {
	case s.closed || s.err != nil:
		s.peer.cond.Broadcast()
		if g.kind == data {
			s.peer.send(rst, nil)
		}
		return
	case g.kind == data:
		s.ready.Write(g.data)
	case g.kind == fin:
		s.ended = true
	case g.kind == rst:
		s.clear()
		s.fail()
	}
	s.cond.Broadcast()
}

// clear loses all that is on the wire.
func (s *stream) clear() {
	s.wire, s.flying = nil, 0
	s.peer.cond.Broadcast()
}

// fail breaks this end: what has arrived can still be read.
func (s *stream) fail() {
	if s.err == nil {
		s.err = syscall.ECONNRESET
	}
	s.cond.Broadcast()
}

// end closes this end and says goodbye to the other.
func (s *stream) end(goodbye kind) {
	if s.closed {
		return
	}
	s.closed = true
	delete(s.host.streams, s)
	s.ready = bytes.Buffer{}
	s.read.set(s.host.f, s.cond, time.Time{})
	s.write.set(s.host.f, s.cond, time.Time{})
	switch {
	case goodbye == silence:
		s.peer.pump()
	case s.err == nil:
		s.peer.send(goodbye, nil)
	}
	s.cond.Broadcast()
	s.peer.cond.Broadcast()
}

func (s *stream) Read(p []byte) (int, error) {
	s.host.f.mu.Lock()
	defer s.host.f.mu.Unlock()
	for {
		switch {
		case s.closed:
			return 0, s.wrap("read", net.ErrClosed)
		case s.read.passed():
			return 0, s.wrap("read", os.ErrDeadlineExceeded)
		case len(p) == 0:
			return 0, nil
		case s.ready.Len() > 0:
			n, _ := s.ready.Read(p)
			s.peer.cond.Broadcast()
			return n, nil
		case s.ended:
			return 0, io.EOF
		case s.err != nil:
			return 0, s.wrap("read", os.NewSyscallError("read", s.err))
		}
		s.cond.Wait()
	}
}

// Write blocks while the peer has a window of bytes to read. Writes of several goroutines do not mix.
func (s *stream) Write(p []byte) (n int, err error) {
	f := s.host.f
	f.mu.Lock()
	defer f.mu.Unlock()
	for s.writing {
		if err := s.writable(); err != nil {
			return 0, err
		}
		s.cond.Wait()
	}
	s.writing = true
	defer func() {
		s.writing = false
		s.cond.Broadcast()
	}()
	breaks := f.chance(f.faults.ConnReset)
	for {
		if err := s.writable(); err != nil {
			return n, err
		}
		k := min(len(p), window-s.peer.ready.Len()-s.peer.flying)
		if breaks {
			if f.chance(.5) { // else all arrives: done, and yet an error
				k = f.rng.IntN(k + 1)
			}
			if k > 0 {
				s.peer.send(data, bytes.Clone(p[:k]))
			}
			s.fail()
			s.peer.send(rst, nil)
			return n, s.writable()
		}
		if k > 0 {
			s.peer.send(data, bytes.Clone(p[:k]))
			n, p = n+k, p[k:]
		}
		if len(p) == 0 {
			return n, nil
		}
		s.cond.Wait()
	}
}

func (s *stream) writable() error {
	switch {
	case s.closed:
		return s.wrap("write", net.ErrClosed)
	case s.write.passed():
		return s.wrap("write", os.ErrDeadlineExceeded)
	case s.err != nil:
		return s.wrap("write", os.NewSyscallError("write", s.err))
	}
	return nil
}

func (s *stream) wrap(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: err}
}

// Close lets the peer read what was sent, and then the end. What is unread here is lost, and the peer not told; what the peer
// sends from now on is answered with a reset.
func (s *stream) Close() error {
	s.host.f.mu.Lock()
	defer s.host.f.mu.Unlock()
	if s.closed {
		return s.wrap("close", net.ErrClosed)
	}
	s.end(fin)
	return nil
}

func (s *stream) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(s.here) }
func (s *stream) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(s.there) }

func (s *stream) SetDeadline(t time.Time) error      { return s.setDeadlines(t, &s.read, &s.write) }
func (s *stream) SetReadDeadline(t time.Time) error  { return s.setDeadlines(t, &s.read) }
func (s *stream) SetWriteDeadline(t time.Time) error { return s.setDeadlines(t, &s.write) }

func (s *stream) setDeadlines(t time.Time, ds ...*deadline) error {
	s.host.f.mu.Lock()
	defer s.host.f.mu.Unlock()
	if s.closed {
		return s.wrap("set", net.ErrClosed)
	}
	for _, d := range ds {
		d.set(s.host.f, s.cond, t)
	}
	return nil
}

// deadline wakes who waits when its time has come; zero is never.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) set(f *Fabric, c *sync.Cond, t time.Time) {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = t
	if !t.IsZero() {
		d.timer = time.AfterFunc(time.Until(t), func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			c.Broadcast()
		})
	}
	c.Broadcast()
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }
