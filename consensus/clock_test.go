package consensus

import (
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ostraca/consensus/simnet"
)

// TestClocks: three nodes tell each other their clocks; one that is a year off is outvoted, all apart give none, one that is gone
// is forgotten.
func TestClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := simnet.New(1)
		defer f.Close()
		voters := []string{"n0", "n1", "n2"}
		offsets := make([]atomic.Int64, 3)
		var clocks []*Clocks
		others := map[string]string{}
		for i, v := range voters {
			others[v] = fmt.Sprintf("10.0.0.%d:7000", i+1)
		}
		for i, v := range voters {
			at := others[v]
			h := f.Host(fmt.Sprintf("10.0.0.%d", i+1))
			l, err := h.Listen(at)
			if err != nil {
				t.Fatal(err)
			}
			m := NewMux(h, l, nil)
			defer m.Close()
			c := NewClocks(m, func() time.Time { return time.Now().Add(time.Duration(offsets[i].Load())) }, func() map[string]string { return others }, nil)
			defer c.Close()
			clocks = append(clocks, c)
		}
		expect := func(name string, want time.Duration, ok bool) {
			t.Helper()
			time.Sleep(3 * time.Second)
			for i, c := range clocks {
				ms, got := c.Median(voters, voters[i])
				if got != ok || ok && time.UnixMilli(ms).Sub(time.Now().Add(want)).Abs() > 300*time.Millisecond {
					t.Errorf("%s, %s: %v, %v", name, voters[i], time.UnixMilli(ms).Sub(time.Now()), got)
				}
			}
		}
		expect("equal", 0, true)
		offsets[1].Store(int64(year))
		expect("one ahead", 0, true)
		offsets[1].Store(-int64(year))
		expect("one behind", 0, true)
		offsets[0].Store(int64(30 * time.Second))
		offsets[2].Store(int64(40 * time.Second))
		expect("two later", 30*time.Second, true)
		offsets[0].Store(int64(2 * time.Hour))
		expect("all apart", 0, false)
		for i := range offsets {
			offsets[i].Store(int64(year))
		}
		expect("all jump", year, true)
		f.Isolate("10.0.0.3")
		time.Sleep(clockAge + 2*time.Second)
		if _, ok := clocks[2].Median(voters, "n2"); ok {
			t.Error("alone with a majority")
		}
		if _, ok := clocks[0].Median(voters, "n0"); !ok {
			t.Error("two of three are no majority")
		}
		f.Heal()
		time.Sleep(3 * time.Second)
		if _, ok := clocks[2].Median(voters, "n2"); !ok {
			t.Error("not found again")
		}
	})
}

// TestClockWire: the answer is 8 bytes to each byte, on real wires.
func TestClockWire(t *testing.T) {
	l := free(t)
	m := NewMux(Wire{}, l, nil)
	c := NewClocks(m, func() time.Time { return time.UnixMilli(0x0102030405060708) }, func() map[string]string { return nil }, nil)
	conn, err := m.Dial(t.Context(), KindClock, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("??")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 16)
	if _, err := io.ReadFull(conn, b); err != nil || string(b) != "\x01\x02\x03\x04\x05\x06\x07\x08\x01\x02\x03\x04\x05\x06\x07\x08" {
		t.Errorf("%x, %v", b, err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// TestClockMoves: a node that moves, or goes for good, leaves no stream behind.
func TestClockMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := simnet.New(1)
		defer f.Close()
		serve := func(ip string, members func() map[string]string) *Clocks {
			h := f.Host(ip)
			l, err := h.Listen(ip + ":7000")
			if err != nil {
				t.Fatal(err)
			}
			m := NewMux(h, l, nil)
			t.Cleanup(func() { m.Close() })
			c := NewClocks(m, time.Now, members, nil)
			t.Cleanup(func() { c.Close() })
			return c
		}
		nobody := func() map[string]string { return nil }
		var at atomic.Value
		at.Store("")
		asks := serve("10.0.0.1", func() map[string]string {
			if a := at.Load().(string); a != "" {
				return map[string]string{"other": a}
			}
			return nil
		})
		served := []*Clocks{serve("10.0.0.2", nobody), serve("10.0.0.3", nobody)}
		for i, to := range []string{"10.0.0.2:7000", "10.0.0.3:7000", "10.0.0.2:7000", ""} {
			at.Store(to)
			time.Sleep(5 * time.Second)
			want := min(len(to), 1)
			conns := 0
			for _, c := range append(served, asks) {
				c.mu.Lock()
				conns += len(c.conns)
				c.mu.Unlock()
			}
			if conns != 2*want || len(asks.streams) != want {
				t.Errorf("move %d: %d ends of streams, %d kept", i, conns, len(asks.streams))
			}
		}
	})
}
