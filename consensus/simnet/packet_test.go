package simnet_test

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"ostraca/consensus/simnet"
)

// packets returns two packet conns, the first of ipA.
func packets(t *testing.T, f *simnet.Fabric) (a, b net.PacketConn) {
	t.Helper()
	a, err := f.Host(ipA).ListenPacket(":7946")
	if err != nil {
		t.Fatal(err)
	}
	if b, err = f.Host(ipB).ListenPacket("0.0.0.0:0"); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// exchange sends n numbered packets, one each gap, and returns the numbers in the order that they arrive in.
func exchange(t *testing.T, f *simnet.Fabric, n int, gap time.Duration) []int {
	t.Helper()
	a, b := packets(t, f)
	defer a.Close()
	defer b.Close()
	go func() {
		for i := range n {
			if _, err := a.WriteTo(binary.BigEndian.AppendUint32(nil, uint32(i)), b.LocalAddr()); err != nil {
				t.Error(err)
			}
			time.Sleep(gap)
		}
	}()
	b.SetReadDeadline(time.Now().Add(time.Duration(n)*gap + time.Second))
	var got []int
	for p := make([]byte, 100); ; {
		k, from, err := b.ReadFrom(p)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return got
		}
		if err != nil || k != 4 || from.String() != a.LocalAddr().String() {
			t.Fatal(k, from, err)
		}
		got = append(got, int(binary.BigEndian.Uint32(p)))
	}
}

// Faults strike as often as asked, and the same seed gives the same ones.
func TestPacketFaults(t *testing.T) {
	for _, c := range []struct {
		name                         string
		faults                       simnet.Faults
		lost, twice, overtaken, most int // the most being how far each may be off
	}{
		{"none", simnet.Faults{MinDelay: time.Millisecond, MaxDelay: 50 * time.Millisecond}, 0, 0, 0, 0},
		{"instant", simnet.Faults{}, 0, 0, 0, 0},
		{"loss", simnet.Faults{MaxDelay: time.Millisecond, PacketLoss: .2}, 200, 0, 0, 50},
		{"duplicate", simnet.Faults{MaxDelay: time.Millisecond, PacketDuplicate: .2}, 0, 200, 0, 50},
		{"reorder", simnet.Faults{MaxDelay: 10 * time.Millisecond, PacketReorder: .2}, 0, 0, 170, 50},
	} {
		t.Run(c.name, func(t *testing.T) {
			var runs [][]int
			for _, seed := range []uint64{7, 7, 8} {
				bubble(t, seed, func(t *testing.T, f *simnet.Fabric) {
					f.SetFaults(c.faults)
					runs = append(runs, exchange(t, f, 1000, time.Millisecond))
				})
			}
			if !slices.Equal(runs[0], runs[1]) {
				t.Error("the same seed gives two runs")
			}
			if c.most > 0 && slices.Equal(runs[0], runs[2]) {
				t.Error("another seed gives the same run")
			}
			overtaken := 0
			for i, n := range runs[0][1:] {
				if n < runs[0][i] {
					overtaken++
				}
			}
			kinds := len(slices.Compact(slices.Sorted(slices.Values(runs[0]))))
			for what, d := range map[string]int{"lost": 1000 - kinds - c.lost, "twice": len(runs[0]) - kinds - c.twice, "overtaken": overtaken - c.overtaken} {
				if max(d, -d) > c.most {
					t.Errorf("%s: %d more than expected", what, d)
				}
			}
		})
	}
}

func TestPacketConn(t *testing.T) {
	bubble(t, 1, func(t *testing.T, f *simnet.Fabric) {
		a, b := packets(t, f)
		say := func(s string) {
			t.Helper()
			if n, err := a.WriteTo([]byte(s), b.LocalAddr()); n != len(s) || err != nil {
				t.Fatal(n, err)
			}
			time.Sleep(time.Second)
		}
		hear := func() string {
			b.SetReadDeadline(time.Now().Add(time.Second))
			p := make([]byte, 5)
			n, _, err := b.ReadFrom(p)
			if err != nil {
				return err.(*net.OpError).Err.Error()
			}
			return string(p[:n])
		}
		say("truncated")
		if got := hear(); got != "trunc" {
			t.Error(got)
		}
		for _, cut := range []func(){func() { f.Cut(ipA, ipB) }, func() { f.Isolate(ipA) }, func() { f.Partition([]string{ipA}, []string{ipB}) }} {
			cut()
			say("lost")
			f.Heal()
			if got := hear(); got != os.ErrDeadlineExceeded.Error() {
				t.Error(got)
			}
		}
		f.SetFaults(simnet.Faults{MinDelay: 2 * time.Second})
		say("under way")
		f.Isolate(ipA)
		time.Sleep(2 * time.Second)
		f.Heal()
		if got := hear(); got != os.ErrDeadlineExceeded.Error() {
			t.Error(got)
		}
		f.SetFaults(simnet.Faults{})
		f.Cut(ipB, ipA)
		say("heard")
		if got := hear(); got != "heard" {
			t.Error(got)
		}
		for range 1000 {
			a.WriteTo([]byte("flood"), b.LocalAddr())
		}
		time.Sleep(time.Second)
		n := 0
		for hear() == "flood" {
			n++
		}
		if n != 512 {
			t.Errorf("%d packets were kept", n)
		}
		if _, err := a.WriteTo(make([]byte, 70000), b.LocalAddr()); !errors.Is(err, syscall.EMSGSIZE) {
			t.Error(err)
		}
		f.Host(ipB).Kill()
		say("no one hears")
		if got := hear(); got != net.ErrClosed.Error() {
			t.Error(got)
		}
		a.Close()
		if _, err := a.WriteTo(nil, b.LocalAddr()); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
}
