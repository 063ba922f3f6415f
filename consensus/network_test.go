package consensus_test

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"ostraca/consensus"
)

// TestWire holds the real network to what simnet's tests ask of the simulated one, on loopback.
func TestWire(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var w consensus.Network = consensus.Wire{}
	l, err := w.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		io.Copy(c, c)
		c.Close()
	}()
	c, err := w.Dial(ctx, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	c.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
		t.Errorf("%q: %v", got, err)
	}

	gone, err := w.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	if _, err := w.Dial(ctx, gone.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Error(err)
	}
	over, stop := context.WithCancel(ctx)
	stop()
	if _, err := w.Dial(over, l.Addr().String()); err == nil {
		t.Error("a dial whose time is over succeeds")
	}
}

func TestWirePackets(t *testing.T) {
	var w consensus.Wire
	a, err := w.ListenPacket("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	a.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := a.WriteTo([]byte("hello"), a.LocalAddr()); err != nil { // to itself
		t.Fatal(err)
	}
	b := make([]byte, 100)
	n, from, err := a.ReadFrom(b)
	if err != nil || string(b[:n]) != "hello" || from.String() != a.LocalAddr().String() {
		t.Errorf("%q from %v: %v", b[:n], from, err)
	}
}

func TestWireResolve(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:80": "127.0.0.1:80", "[::1]:80": "[::1]:80", "[::ffff:10.0.0.1]:80": "10.0.0.1:80",
		"127.0.0.1": "", ":80": "", " a:80": "", "": "",
	} {
		got, err := consensus.Wire{}.Resolve(t.Context(), address)
		if (err == nil) != (want != "") || err == nil && (len(got) != 1 || got[0] != want) {
			t.Errorf("%q: %q, %v", address, got, err)
		}
	}
	got, err := consensus.Wire{}.Resolve(t.Context(), "localhost:80") // of /etc/hosts
	if err != nil || len(got) == 0 {
		t.Fatal(got, err)
	}
	for _, a := range got {
		if a != "127.0.0.1:80" && a != "[::1]:80" {
			t.Error("localhost is", a)
		}
	}
}
