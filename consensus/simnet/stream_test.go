package simnet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ostraca/consensus"
	"ostraca/consensus/simnet"
)

var _ consensus.Network = (*simnet.Host)(nil)

const ipA, ipB, ipC = "10.0.0.1", "10.0.0.2", "10.0.0.3"

// bubble runs a test in virtual time, on a fabric that is closed at its end. The clock stops when the test returns, so libraries
// whose goroutines wait for a timer of their own get a minute first.
func bubble(t *testing.T, seed uint64, test func(t *testing.T, f *simnet.Fabric)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := simnet.New(seed)
		defer time.Sleep(time.Minute)
		defer f.Close()
		test(t, f)
	})
}

// connect returns a stream from a to b, both its ends.
func connect(t *testing.T, f *simnet.Fabric, a, b string) (net.Conn, net.Conn) {
	t.Helper()
	l, err := f.Host(b).Listen(":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := f.Host(a).Dial(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return near, far
}

func send(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if n, err := io.WriteString(c, s); n != len(s) || err != nil {
		t.Fatal(n, err)
	}
}

// expect reads s and says how long that took.
func expect(t *testing.T, c net.Conn, s string) time.Duration {
	t.Helper()
	start, b := time.Now(), make([]byte, len(s))
	if n, err := io.ReadFull(c, b); err != nil || string(b) != s {
		t.Fatalf("%q after %v, not %q: %v", b[:n], time.Since(start), s, err)
	}
	return time.Since(start)
}

// fails reads or writes until that fails, and says how and after how long.
func fails(t *testing.T, op func([]byte) (int, error), want error) time.Duration {
	t.Helper()
	start := time.Now()
	for {
		if _, err := op(make([]byte, 100)); err != nil {
			if !errors.Is(err, want) {
				t.Fatalf("%v after %v, want %v", err, time.Since(start), want)
			}
			return time.Since(start)
		}
		time.Sleep(time.Millisecond)
	}
}

func between(t *testing.T, what string, d, low, high time.Duration) {
	t.Helper()
	if d < low || d > high {
		t.Errorf("%s took %v, not %v to %v", what, d, low, high)
	}
}

// Bytes arrive in order and whole, whatever the sizes of writes and reads.
func TestStreamOrder(t *testing.T) {
	for seed := range uint64(5) {
		bubble(t, seed, func(t *testing.T, f *simnet.Fabric) {
			f.SetFaults(simnet.Faults{MinDelay: time.Millisecond, MaxDelay: 300 * time.Millisecond})
			rng := rand.New(rand.NewPCG(seed, 1))
			a, b := connect(t, f, ipA, ipB)
			sent := make([]byte, 2<<20)
			for i := range sent {
				sent[i] = byte(rng.Uint32())
			}
			go func() {
				for p := sent; len(p) > 0; {
					n, err := a.Write(p[:min(len(p), rng.IntN(600<<10))])
					if err != nil {
						t.Error(err)
						return
					}
					p = p[n:]
				}
				a.Close()
			}()
			got, err := io.ReadAll(b)
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%d of %d bytes, or others: %v", len(got), len(sent), err)
			}
		})
	}
}

// A write waits when the peer reads nothing, and two writes do not mix.
func TestStreamBounds(t *testing.T) {
	bubble(t, 1, func(t *testing.T, f *simnet.Fabric) {
		a, b := connect(t, f, ipA, ipB)
		a.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := a.Write(make([]byte, 1<<20))
		if n != 256<<10 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if _, err := io.ReadFull(b, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		a.SetWriteDeadline(time.Time{})
		const each = 1 << 20
		for i := range 2 {
			go a.Write(bytes.Repeat([]byte{byte(i)}, each))
		}
		got := make([]byte, 2*each)
		if _, err := io.ReadFull(b, got); err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if got[i] != got[i/each*each] {
				t.Fatalf("the writes mix at %d", i)
			}
		}
		go func() {
			time.Sleep(time.Second)
			b.Close()
		}()
		between(t, "a full write to who closes", fails(t, func([]byte) (int, error) { return a.Write(got) }, syscall.ECONNRESET), time.Second, 2*time.Second)
	})
}

func TestStreamDeadlines(t *testing.T) {
	bubble(t, 1, func(t *testing.T, f *simnet.Fabric) {
		a, b := connect(t, f, ipA, ipB)
		after := func(d time.Duration, do func()) { time.AfterFunc(d, do) }
		a.SetReadDeadline(time.Now().Add(time.Second))
		if d := fails(t, a.Read, os.ErrDeadlineExceeded); d != time.Second {
			t.Error("deadline:", d)
		}
		a.SetDeadline(time.Time{})
		after(2*time.Second, func() { a.SetDeadline(time.Now()) })
		between(t, "a deadline set while blocked", fails(t, a.Read, os.ErrDeadlineExceeded), 2*time.Second, 2*time.Second)
		a.SetDeadline(time.Now().Add(time.Second))
		after(time.Second/2, func() { a.SetDeadline(time.Now().Add(time.Minute)) })
		after(3*time.Second, func() { send(t, b, "late") })
		between(t, "a deadline put off", expect(t, a, "late"), 3*time.Second, 3*time.Second+time.Millisecond)
		after(time.Second, func() { a.Close() })
		between(t, "a read of who closes", fails(t, a.Read, net.ErrClosed), time.Second, time.Second)
		var timeout net.Error
		b.SetReadDeadline(time.Now())
		if _, err := b.Read(make([]byte, 1)); !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Error(err)
		}
		if err := errors.Join(a.SetDeadline(time.Now()), a.Close()); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
}

// What was sent is read before the end; what is sent to who is gone breaks the stream.
func TestStreamClose(t *testing.T) {
	bubble(t, 1, func(t *testing.T, f *simnet.Fabric) {
		a, b := connect(t, f, ipA, ipB)
		send(t, a, "farewell")
		a.Close()
		send(t, b, "no one reads this")
		time.Sleep(time.Second)
		expect(t, b, "farewell")
		fails(t, b.Read, io.EOF)
		fails(t, b.Write, syscall.ECONNRESET)
		fails(t, b.Read, io.EOF)
		fails(t, a.Write, net.ErrClosed)
	})
}

func TestCut(t *testing.T) {
	bubble(t, 1, func(t *testing.T, f *simnet.Fabric) {
		a, b := connect(t, f, ipA, ipB)
		f.Cut(ipA, ipB)
		send(t, a, "held ")
		send(t, a, "up")
		send(t, b, "the other way")
		between(t, "the other way", expect(t, a, "the other way"), 0, time.Millisecond)
		time.AfterFunc(14*time.Second, func() { f.Join(ipA, ipB) })
		between(t, "a short cut", expect(t, b, "held up"), 13*time.Second, 15*time.Second)

		f.Cut(ipA, ipB)
		send(t, a, "lost")
		between(t, "a long cut, for who wrote", fails(t, a.Read, syscall.ECONNRESET), 14*time.Second, 15*time.Second)
		time.AfterFunc(time.Minute, f.Heal)
		between(t, "a long cut, for who read", fails(t, b.Read, syscall.ECONNRESET), time.Minute, 61*time.Second)

		a, b = connect(t, f, ipA, ipB)
		f.Isolate(ipB)
		time.Sleep(time.Hour) // an idle stream outlives a cut of any length
		f.SetFaults(simnet.Faults{MinDelay: time.Second})
		send(t, a, "hello")
		time.Sleep(5 * time.Second)
		f.Heal()
		between(t, "what is sent again", expect(t, b, "hello"), time.Second, time.Second)
	})
}

// The one who gave up knows nothing of the stream: the other is told when it writes.
func TestOneWayHalfOpen(t *testing.T) {
	bubble(t, 1, func(t *testing.T, f *simnet.Fabric) {
		a, b := connect(t, f, ipA, ipB)
		f.Cut(ipA, ipB)
		send(t, a, "lost")
		fails(t, a.Read, syscall.ECONNRESET)
		send(t, b, "are you there?")
		b.SetReadDeadline(time.Now().Add(time.Minute))
		fails(t, b.Read, os.ErrDeadlineExceeded) // the answer, a reset, is cut as well
		if n, err := a.Read(make([]byte, 100)); !errors.Is(err, syscall.ECONNRESET) {
			t.Error("who gave up reads on:", n, err)
		}
		b.SetReadDeadline(time.Time{})
		f.Heal()
		fails(t, b.Read, syscall.ECONNRESET)
	})
}

func TestPartition(t *testing.T) {
	bubble(t, 1, func(t *testing.T, f *simnet.Fabric) {
		ips := []string{ipA, ipB, ipC}
		reach := func(group map[string]int) {
			t.Helper()
			for _, from := range ips {
				for _, to := range ips {
					l, err := f.Host(to).Listen("0.0.0.0:7000")
					if err != nil {
						t.Fatal(err)
					}
					c, err := f.Host(from).Dial(t.Context(), to+":7000")
					if (err == nil) != (group[from] == group[to]) {
						t.Errorf("%s to %s in %v: %v", from, to, group, err)
					}
					if err == nil {
						c.Close()
					}
					l.Close()
				}
			}
		}
		reach(nil)
		f.Partition(ips[:1], ips[1:])
		reach(map[string]int{ipA: 1})
		f.Partition(ips[:2], ips[2:])
		reach(map[string]int{ipC: 1})
		f.Isolate(ipA)
		reach(map[string]int{ipA: 1, ipC: 2})
		f.Partition(ips)
		reach(nil)
	})
}

func TestFlap(t *testing.T) {
	bubble(t, 1, func(t *testing.T, f *simnet.Fabric) {
		a, b := connect(t, f, ipA, ipB)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go f.Flap(ctx, ipA, ipB, time.Second, time.Second)
		var slow int
		start := time.Now()
		for i := range 80 {
			s := fmt.Sprint("message ", i)
			send(t, a, s)
			if expect(t, b, s) > 10*time.Millisecond {
				slow++
			}
			time.Sleep(100 * time.Millisecond)
		}
		if slow < 3 || slow > 40 {
			t.Errorf("%d of 80 messages met a cut, in %v", slow, time.Since(start))
		}
		<-ctx.Done()
		time.Sleep(time.Second)
		send(t, a, "joined")
		between(t, "after the flaps", expect(t, b, "joined"), 0, time.Millisecond)
		go f.Flap(t.Context(), ipA, ipB, time.Second, time.Second) // ends with the fabric
		time.Sleep(time.Second)
	})
}

func TestCrashAndKill(t *testing.T) {
	bubble(t, 1, func(t *testing.T, f *simnet.Fabric) {
		a, b := connect(t, f, ipA, ipB)
		old := f.Host(ipB)
		old.Crash()
		fails(t, b.Read, net.ErrClosed)
		fails(t, b.Write, net.ErrClosed)
		if _, err := old.Listen(":1"); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if _, err := old.Dial(t.Context(), ipA+":1"); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		a.SetReadDeadline(time.Now().Add(time.Hour))
		between(t, "a read of who crashed", fails(t, a.Read, os.ErrDeadlineExceeded), time.Hour, time.Hour)
		between(t, "a write to who crashed", fails(t, a.Write, syscall.ECONNRESET), 3*time.Second, 4*time.Second)
		start := time.Now()
		_, err := f.Host(ipA).Dial(t.Context(), ipB+":1")
		if !os.IsTimeout(errors.Unwrap(err)) || time.Since(start) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}

		a, _ = connect(t, f, ipA, ipB) // to a fresh host
		f.Host(ipB).Crash()
		send(t, a, "anyone?")
		time.Sleep(time.Second)
		f.Host(ipB)
		between(t, "a write to who came back", fails(t, a.Read, syscall.ECONNRESET), 0, 10*time.Millisecond)

		a, b = connect(t, f, ipA, ipB)
		send(t, b, "last words")
		f.Host(ipB).Kill()
		fails(t, b.Read, net.ErrClosed)
		expect(t, a, "last words")
		between(t, "a read of who was killed", fails(t, a.Read, io.EOF), 0, time.Millisecond)
		between(t, "a write to who was killed", fails(t, a.Write, syscall.ECONNRESET), 0, 10*time.Millisecond)
		if _, err := f.Host(ipA).Dial(t.Context(), ipB+":1"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Error(err)
		}

		f.Host(ipB).Listen(":1") // where no one accepts
		if a, err = f.Host(ipA).Dial(t.Context(), ipB+":1"); err != nil {
			t.Fatal(err)
		}
		f.Host(ipB).Crash()
		a.SetReadDeadline(time.Now().Add(time.Hour))
		fails(t, a.Read, os.ErrDeadlineExceeded)

		a, b = connect(t, f, ipA, ipB) // a full window does not hide a crash
		a.SetWriteDeadline(time.Now().Add(time.Second))
		a.Write(make([]byte, 1<<20))
		a.SetWriteDeadline(time.Time{})
		f.Host(ipB).Crash()
		between(t, "a full write", fails(t, a.Write, syscall.ECONNRESET), 3*time.Second, 4*time.Second)
		f.Cut(ipB, ipC)
		a, b = connect(t, f, ipC, ipA)
		send(t, b, "said before the crash, and not yet heard")
		b.Close()
		f.Host(ipA).Crash()
		a.SetReadDeadline(time.Now().Add(time.Minute))
		fails(t, a.Read, os.ErrDeadlineExceeded)
	})
}

// A break may or may not let bytes through, and both ends learn of it.
func TestConnReset(t *testing.T) {
	bubble(t, 1, func(t *testing.T, f *simnet.Fabric) {
		f.SetFaults(simnet.Faults{MaxDelay: time.Millisecond, ConnReset: .1})
		broken, whole := 0, 0
		for range 200 {
			a, b := connect(t, f, ipA, ipB)
			n, err := a.Write(make([]byte, 10))
			if err == nil {
				a.Close()
				b.Close()
				continue
			}
			broken++
			got, rerr := io.ReadAll(b)
			if n != 0 || !errors.Is(err, syscall.ECONNRESET) || !errors.Is(rerr, syscall.ECONNRESET) {
				t.Fatal(n, err, rerr)
			}
			if len(got) == 10 {
				whole++
			}
		}
		if broken < 10 || broken > 35 || whole == 0 || whole == broken {
			t.Errorf("%d of 200 broken, %d of them after all was sent", broken, whole)
		}
	})
}

func TestDial(t *testing.T) {
	bubble(t, 1, func(t *testing.T, f *simnet.Fabric) {
		a, b := f.Host(ipA), f.Host(ipB)
		l, err := b.Listen(ipB + ":7000")
		if err != nil {
			t.Fatal(err)
		}
		if l.Addr().String() != ipB+":7000" {
			t.Error(l.Addr())
		}
		for address, want := range map[string]error{":7000": syscall.EADDRINUSE, ipA + ":1": syscall.EADDRNOTAVAIL} {
			if _, err := b.Listen(address); !errors.Is(err, want) {
				t.Errorf("%s: %v", address, err)
			}
		}
		for _, cut := range []func(){func() { f.Cut(ipA, ipB) }, func() { f.Cut(ipB, ipA) }, func() { f.Isolate(ipA) }} {
			cut()
			start := time.Now()
			_, err := a.Dial(t.Context(), ipB+":7000")
			var ne net.Error
			if !errors.As(err, &ne) || !ne.Timeout() || time.Since(start) != 3*time.Second {
				t.Errorf("%v after %v", err, time.Since(start))
			}
			f.Heal()
		}
		f.Isolate(ipB)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := a.Dial(ctx, ipB+":7000"); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		time.AfterFunc(time.Second, f.Heal)
		c, err := a.Dial(t.Context(), ipB+":7000")
		if err != nil {
			t.Fatal("a cut that healed in time:", err)
		}
		s, _ := l.Accept()
		if c.LocalAddr().String() != s.RemoteAddr().String() || c.RemoteAddr().String() != s.LocalAddr().String() {
			t.Error(c.LocalAddr(), s.RemoteAddr(), c.RemoteAddr(), s.LocalAddr())
		}
		f.Name("node", ipC, ipA, ipB)
		if _, err := a.Dial(t.Context(), "node:7000"); err != nil {
			t.Error("a name with one good ip:", err)
		}
		if got, err := a.Resolve(t.Context(), "node:7000"); err != nil || fmt.Sprint(got) != "[10.0.0.3:7000 10.0.0.1:7000 10.0.0.2:7000]" {
			t.Error(got, err)
		}
		f.Name("node")
		var dns *net.DNSError
		if _, err := a.Resolve(t.Context(), "node:7000"); !errors.As(err, &dns) || !dns.IsNotFound {
			t.Error(err)
		}
		for range 128 - 1 { // and the one with the name
			if _, err := a.Dial(t.Context(), ipB+":7000"); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := a.Dial(t.Context(), ipB+":7000"); !os.IsTimeout(errors.Unwrap(err)) {
			t.Error("a full backlog:", err)
		}
		s, _ = l.Accept() // makes room
		defer s.Close()
		waits, err := a.Dial(t.Context(), ipB+":7000")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		fails(t, waits.Read, syscall.ECONNRESET) // it was never accepted
		if _, err := a.Dial(t.Context(), ipB+":7000"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Error(err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
}

// Whatever waits when the fabric closes is let go; synctest would say so otherwise.
func TestFabricClose(t *testing.T) {
	bubble(t, 1, func(t *testing.T, f *simnet.Fabric) {
		a, b := connect(t, f, ipA, ipB)
		l, _ := f.Host(ipA).Listen(":0")
		p, _ := f.Host(ipA).ListenPacket(":0")
		f.Isolate(ipC)
		for _, wait := range []func() error{
			func() error { _, err := b.Read(make([]byte, 1)); return err },
			func() error { _, err := a.Write(make([]byte, 1<<20)); return err },
			func() error { _, err := l.Accept(); return err },
			func() error { _, _, err := p.ReadFrom(make([]byte, 1)); return err },
			func() error { _, err := f.Host(ipC).Dial(context.Background(), l.Addr().String()); return err },
		} {
			go func() {
				for {
					if err := wait(); err != nil {
						if !errors.Is(err, net.ErrClosed) {
							t.Error(err)
						}
						return
					}
				}
			}()
		}
		synctest.Wait()
		f.Close()
		if _, err := f.Host(ipA).Listen(":0"); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
}
