package consensus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ostraca/consensus/simnet"
)

// TestReadIndex: the index is that of the last entry that a state machine sees, also where elections and barriers came after it, and
// where the log that would tell is gone.
func TestReadIndex(t *testing.T) {
	inBubble(t, 3, func(o *GroupOptions) { o.TrailingBytes = 1 }, func(t *testing.T, c *cluster) {
		l := c.leader()
		if i, err := l.group.ReadIndex(t.Context()); i != 0 || err != nil {
			t.Errorf("before the first write: %d, %v", i, err)
		}
		want := c.put("a", "1")
		for range 3 {
			if i, err := c.leader().group.ReadIndex(t.Context()); i != want || err != nil {
				t.Errorf("%d, %v; want %d", i, err, want)
			}
			if err := c.leader().group.Transfer(t.Context()); err != nil {
				t.Error(err)
			}
			time.Sleep(2 * time.Second)
		}
		for i := range 100 {
			want = c.put("a", fmt.Sprint(i))
		}
		l = c.leader()
		for range 70 { // nothing but barriers in the log
			if err := l.group.Snapshot(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if s := l.group.Status(); s.FirstLog <= want || s.Commit <= want {
			t.Fatalf("%d is in the log still: %+v", want, s)
		}
		if i, err := l.group.ReadIndex(t.Context()); i != want || err != nil {
			t.Errorf("with a purged log: %d, %v; want %d", i, err, want)
		}
		for _, r := range c.nodes {
			r.machine.order(t)
			if err := r.close(true); err != nil {
				t.Fatal(err)
			}
		}
		for _, r := range c.nodes {
			if err := r.open(c.address); err != nil {
				t.Fatal(err)
			}
		}
		if i, err := c.leader().group.ReadIndex(t.Context()); i != want || err != nil {
			t.Errorf("after a restart: %d, %v; want %d", i, err, want)
		}
	})
}

// TestReadNeedsAQuorum: a leader that has just lost the others still believes in itself, for a lease; it may not answer.
func TestReadNeedsAQuorum(t *testing.T) {
	inBubble(t, 3, nil, func(t *testing.T, c *cluster) {
		c.put("a", "1")
		l := c.leader()
		if _, err := l.group.ReadIndex(t.Context()); err != nil {
			t.Fatal(err)
		}
		ip, _, _ := strings.Cut(l.at, ":")
		c.net.Isolate(ip)
		start := time.Now()
		i, err := l.group.ReadIndex(t.Context())
		if !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrNoQuorum) {
			t.Errorf("nobody confirmed, and the answer is %d, %v", i, err)
		}
		if took := time.Since(start); took == 0 || took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
		c.net.Heal()
		c.put("a", "2")
	})
}

// TestReadEndsWithItsReader: nobody confirms, and a reader does not wait for longer than it means to; the next one is not held up by it.
func TestReadEndsWithItsReader(t *testing.T) {
	inBubble(t, 3, nil, func(t *testing.T, c *cluster) {
		want := c.put("a", "1")
		l := c.leader()
		if _, err := l.group.ReadIndex(t.Context()); err != nil {
			t.Fatal(err)
		}
		ip, _, _ := strings.Cut(l.at, ":")
		c.net.Isolate(ip)
		for range 2 { // one with a round of its own, and one while that may still be asking
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			_, err := l.group.ReadIndex(ctx)
			cancel()
			if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > 21*time.Millisecond {
				t.Errorf("after %v: %v", took, err)
			}
		}
		c.net.Heal()
		if i, err := c.leader().group.ReadIndex(t.Context()); i != want || err != nil {
			t.Errorf("%d, %v; want %d", i, err, want)
		}
	})
}

// TestReadAsksMore: where a voter that is asked is silent, the others are asked soon, and next time first.
func TestReadAsksMore(t *testing.T) {
	inBubble(t, 3, nil, func(t *testing.T, c *cluster) {
		want := c.put("a", "1")
		l := c.leader()
		took := func() time.Duration {
			t.Helper()
			start := time.Now()
			if i, err := l.group.ReadIndex(t.Context()); i != want || err != nil {
				t.Errorf("%d, %v; want %d", i, err, want)
			}
			return time.Since(start)
		}
		slow := 0
		for range 2 {
			for _, r := range c.nodes {
				if r == l {
					continue
				}
				took()
				ip, _, _ := strings.Cut(r.at, ":")
				c.net.Isolate(ip)
				first, second := took(), took()
				if first > askMore+10*time.Millisecond || second >= askMore {
					t.Errorf("with a silent voter a read took %v, then %v", first, second)
				}
				if first >= askMore {
					slow++
				}
				c.net.Heal()
				time.Sleep(5 * time.Second)
			}
		}
		if slow == 0 {
			t.Error("all voters were asked at once")
		}
	})
}

// TestReadsShare: readers that arrive together ask the voters together.
func TestReadsShare(t *testing.T) {
	inBubble(t, 3, nil, func(t *testing.T, c *cluster) {
		want := c.put("a", "1")
		l := c.leader()
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				if i, err := l.group.ReadIndex(t.Context()); i != want || err != nil {
					t.Errorf("%d, %v", i, err)
				}
			})
		}
		start := time.Now()
		all.Wait()
		if d := time.Since(start); d > 100*time.Millisecond {
			t.Errorf("1000 reads took %v", d)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := l.group.ReadIndex(ended); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// storm cuts, heals and delays, until stop.
func storm(c *cluster, rng *rand.Rand, stop <-chan struct{}) {
	ips := make([]string, len(c.nodes))
	for i, r := range c.nodes {
		ips[i], _, _ = strings.Cut(r.at, ":")
	}
	for {
		switch rng.IntN(4) {
		case 0:
			c.net.Isolate(ips[rng.IntN(len(ips))])
		case 1:
			a := rng.IntN(len(ips))
			c.net.Cut(ips[a], ips[(a+1)%len(ips)]) // one way only
		case 2:
			c.net.SetFaults(simnet.Faults{MinDelay: time.Millisecond, MaxDelay: time.Duration(1+rng.IntN(250)) * time.Millisecond, ConnReset: 0.01})
		default:
			for _, r := range c.nodes {
				if r.group.IsLeader() {
					ip, _, _ := strings.Cut(r.at, ":")
					c.net.Isolate(ip)
				}
			}
		}
		select {
		case <-time.After(time.Duration(rng.IntN(3000)) * time.Millisecond):
		case <-stop:
		}
		c.net.Heal()
		c.net.SetFaults(simnet.Faults{MinDelay: 100 * time.Microsecond, MaxDelay: time.Millisecond})
		select {
		case <-time.After(time.Duration(rng.IntN(3000)) * time.Millisecond):
		case <-stop:
			return
		}
	}
}

// TestReadsAreFresh: whatever breaks, a read at a ReadIndex sees every write that was acknowledged before it was asked for, on any
// replica that has applied the index.
func TestReadsAreFresh(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, 3, func(o *GroupOptions) { small(o); o.SnapshotBytes = 40 << 10 }, func(t *testing.T, c *cluster) {
				fresh(t, c, seed)
			})
		})
	}
}

func fresh(t *testing.T, c *cluster, seed uint64) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all sync.WaitGroup
	var acked, writes, reads atomic.Int64
	all.Go(func() { storm(c, rand.New(rand.NewPCG(seed, 1)), ctx.Done()) })
	all.Go(func() { // one writer, so that values grow in the order of the log
		for n := int64(1); ctx.Err() == nil; n++ {
			for _, r := range c.nodes {
				if !r.group.IsLeader() {
					continue
				}
				short, cancel := context.WithTimeout(ctx, 3*time.Second)
				_, _, err := r.group.Propose(short, command("n", fmt.Sprintf("%d%300s", n, "")))
				cancel()
				if err == nil {
					acked.Store(n)
					writes.Add(1)
					break
				}
			}
			time.Sleep(25 * time.Millisecond)
		}
	})
	for reader := range 4 {
		rng := rand.New(rand.NewPCG(seed, uint64(2+reader)))
		all.Go(func() {
			for ctx.Err() == nil {
				time.Sleep(time.Duration(rng.IntN(60)) * time.Millisecond)
				want := acked.Load()
				index, err := c.nodes[rng.IntN(len(c.nodes))].group.ReadIndex(ctx)
				if err != nil {
					continue
				}
				at := c.nodes[rng.IntN(len(c.nodes))]
				for at.store.Position().Applied < index && ctx.Err() == nil {
					time.Sleep(time.Millisecond)
				}
				if ctx.Err() != nil {
					return
				}
				text, _, _ := strings.Cut(at.machine.get("n"), " ")
				if got, _ := strconv.ParseInt(text, 10, 64); got < want {
					t.Errorf("%s has %d at %d, %d was acknowledged", at.id, got, index, want)
				}
				reads.Add(1)
			}
		})
	}
	all.Wait()
	c.net.Heal()
	c.put("n", fmt.Sprint(1<<40))
	for _, r := range c.nodes {
		c.reaches(r, "n", fmt.Sprint(1<<40))
		r.machine.order(t)
	}
	if writes.Load() < 100 || reads.Load() < 100 {
		t.Errorf("%d writes, %d reads only", writes.Load(), reads.Load())
	}
	t.Log(writes.Load(), "writes,", reads.Load(), "reads,", c.nodes[0].group.Status().Term, "terms, log from", c.nodes[0].group.Status().FirstLog)
}
