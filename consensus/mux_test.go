package consensus

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"ostraca/consensus/simnet"
)

// echo answers one line a stream.
func echo(l net.Listener, with string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			b := make([]byte, 5)
			if _, err := io.ReadFull(c, b); err == nil {
				c.Write(append([]byte(with), b...))
			}
		}()
	}
}

func say(c net.Conn, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, err := c.Write([]byte("hello")); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	return string(b), err
}

func routes(t *testing.T, n Network, l net.Listener) {
	t.Helper()
	m := NewMux(n, l, nil)
	at := l.Addr().String()
	g := m.group(9, "n", func(string) (string, bool) { return at, true })
	gossip := m.Listener(KindGossip)
	go echo(m.Listener(KindService), "service ")
	go echo(gossip, "gossip ")
	go echo(g, "group ")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for kind, want := range map[byte]string{KindService: "service hello", KindGossip: "gossip hello"} {
		if s, err := say(m.Dial(ctx, kind, at)); s != want {
			t.Errorf("%q, %v", s, err)
		}
	}
	if s, err := say(g.Dial("n", time.Second)); s != "group hello" {
		t.Errorf("%q, %v", s, err)
	}
	for name, header := range map[string]string{"nobody listens": "C", "no kind": "x", "no such group": "R\x00\x00\x00\x08"} {
		c, err := n.Dial(ctx, at)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte(header)); err != nil {
			t.Error(err)
		}
		if b, err := io.ReadAll(c); len(b) > 0 {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		c.Close()
	}
	if err := gossip.Close(); err != nil {
		t.Error(err)
	}
	if s, err := say(m.Dial(ctx, KindGossip, at)); s != "" {
		t.Errorf("a closed kind answers %q, %v", s, err)
	}
	open, err := g.Dial("n", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(g.Close(), m.Close(), m.Close()); err != nil {
		t.Error(err)
	}
	if _, err := open.Write([]byte("hello")); err == nil {
		t.Error("a group's stream outlives it")
	}
	if _, err := m.Listener(KindService).Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// TestMux: streams go where their first bytes say, on real wires and on those in memory.
func TestMux(t *testing.T) {
	t.Run("loopback", func(t *testing.T) { routes(t, Wire{}, free(t)) })
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := simnet.New(1)
			defer f.Close()
			h := f.Host("10.0.0.1")
			l, err := h.Listen("10.0.0.1:7000")
			if err != nil {
				t.Fatal(err)
			}
			routes(t, h, l)
		})
	})
}

// TestMuxSilence: who says nothing is put out after 5 s, and more than 256 of them at once.
func TestMuxSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := simnet.New(1)
		defer f.Close()
		h := f.Host("10.0.0.1")
		l, err := h.Listen("10.0.0.1:7000")
		if err != nil {
			t.Fatal(err)
		}
		m := NewMux(h, l, nil)
		defer m.Close()
		var silent []net.Conn
		for range maxUnnamed {
			c, err := h.Dial(t.Context(), "10.0.0.1:7000")
			if err != nil {
				t.Fatal(err)
			}
			silent = append(silent, c)
			time.Sleep(2 * time.Millisecond)
		}
		start := time.Now()
		c, err := h.Dial(t.Context(), "10.0.0.1:7000")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil || time.Since(start) > time.Second {
			t.Errorf("one too many: %v after %v", err, time.Since(start))
		}
		for _, c := range silent {
			if _, err := c.Read(make([]byte, 1)); err == nil || time.Since(start) > headerTimeout {
				t.Fatalf("%v after %v", err, time.Since(start))
			}
		}
		go echo(m.Listener(KindService), "")
		if s, err := say(m.Dial(t.Context(), KindService, "10.0.0.1:7000")); s != "hello" {
			t.Errorf("%q, %v", s, err)
		}
	})
}

// TestStall: a peer that takes nothing ends a stream, whatever deadline Raft set.
func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer b.Close()
		l := &layer{conns: map[net.Conn]struct{}{}}
		c, err := l.keep(a)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := c.Write([]byte("x")); err == nil || time.Since(start) != stallTimeout {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if err := c.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		start = time.Now()
		if _, err := c.Write([]byte("x")); err == nil || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func FuzzRoute(f *testing.F) {
	for _, s := range []string{"", "S", "G", "C", "R", "R\x00\x00\x00", "R\x00\x00\x00\x07", "GET / HTTP/1.1\r\n", "\x16\x03\x01"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in := bytes.NewReader(b)
		r, err := readRoute(in)
		if err != nil {
			return
		}
		if read := b[:len(b)-in.Len()]; !bytes.Equal(read, r.header()) {
			t.Errorf("%q reads %q, writes %q", b, read, r.header())
		}
	})
}
