package consensus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ostraca/storage"
)

// TestAgreement: what is proposed on the leader reaches all, a follower refuses, and a new leader goes on.
func TestAgreement(t *testing.T) {
	inBubble(t, 3, nil, func(t *testing.T, c *cluster) {
		start := time.Now()
		l := c.leader()
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("first leader after %v", d)
		}
		c.put("a", "1")
		for _, r := range c.nodes {
			c.reaches(r, "a", "1")
			node, term := r.group.Leader()
			if node != l.id || term == 0 {
				t.Errorf("%s follows %q in term %d, the leader is %s", r.id, node, term, l.id)
			}
			if r == l {
				continue
			}
			if _, _, err := r.group.Propose(t.Context(), command("b", "2")); !errors.Is(err, ErrNotLeader) {
				t.Errorf("a follower proposes: %v", err)
			}
			if _, err := r.group.ReadIndex(t.Context()); !errors.Is(err, ErrNotLeader) {
				t.Errorf("a follower reads: %v", err)
			}
		}
		if s := l.group.Status(); !slices.Equal(s.Voters, l.voters) || s.State != "Leader" || s.Leader != l.id || s.Commit == 0 || s.LogBytes == 0 || s.Applied == 0 {
			t.Errorf("%+v", s)
		}
		changed := l.group.LeaderChanged()
		if err := l.group.Transfer(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-changed
		c.leader(l)
		c.put("a", "2")
		c.reaches(l, "a", "2")
	})
}

// TestFailover measures how long a group is without a leader when its leader's machine dies.
func TestFailover(t *testing.T) {
	inBubble(t, 3, nil, func(t *testing.T, c *cluster) {
		var took []time.Duration
		for range 25 {
			l := c.leader()
			c.put("a", "1")
			ip, _, _ := strings.Cut(l.at, ":")
			start := time.Now()
			c.net.Isolate(ip)
			c.leader(l)
			took = append(took, time.Since(start))
			c.net.Heal()
			time.Sleep(3 * time.Second)
		}
		slices.Sort(took)
		t.Log("failover in virtual time, least, median, most:", took[0], took[len(took)/2], took[len(took)-1])
		if took[len(took)/2] > time.Second {
			t.Errorf("median failover %v", took[len(took)/2])
		}
	})
}

// TestIsolatedLeader: a leader that reaches nobody says so in bounded time, nothing that was acknowledged is lost, and what was
// refused as not known is there once or not at all.
func TestIsolatedLeader(t *testing.T) {
	inBubble(t, 3, nil, func(t *testing.T, c *cluster) {
		for round := range 4 {
			acked := fmt.Sprint("acked", round)
			c.put(acked, "x")
			l := c.leader()
			ip, _, _ := strings.Cut(l.at, ":")
			c.net.Isolate(ip)
			start := time.Now()
			_, _, err := l.group.Propose(t.Context(), command(fmt.Sprint("lost", round), "x"))
			if !errors.Is(err, ErrUnknownOutcome) {
				t.Errorf("isolated proposal: %v", err)
			}
			if _, err := l.group.ReadIndex(t.Context()); !errors.Is(err, ErrNotLeader) {
				t.Errorf("isolated read: %v", err)
			}
			if _, _, err := l.group.Propose(t.Context(), command("late", "x")); !errors.Is(err, ErrNotLeader) {
				t.Errorf("isolated second proposal: %v", err)
			}
			if d := time.Since(start); d > 2*time.Second {
				t.Errorf("isolation noticed after %v", d)
			}
			m := c.leader(l)
			c.put(fmt.Sprint("after", round), "x")
			if m.machine.get(acked) != "x" {
				t.Errorf("%s lost", acked)
			}
			c.net.Heal()
			for _, r := range c.nodes {
				c.reaches(r, fmt.Sprint("after", round), "x")
			}
			if l.machine.get(fmt.Sprint("lost", round)) != m.machine.get(fmt.Sprint("lost", round)) {
				t.Error("replicas differ")
			}
		}
	})
}

// TestContext: who does not want to wait is told that the outcome is not known, or that nothing was done.
func TestContext(t *testing.T) {
	inBubble(t, 3, nil, func(t *testing.T, c *cluster) {
		l := c.leader()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := l.group.Propose(ended, command("a", "1")); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnknownOutcome) {
			t.Error(err)
		}
		ip, _, _ := strings.Cut(l.at, ":")
		c.net.Isolate(ip)
		short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, _, err := l.group.Propose(short, command("a", "1")); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrUnknownOutcome) {
			t.Error(err)
		}
		if err := l.close(false); err != nil {
			t.Error(err)
		}
	})
	inBubble(t, 1, nil, func(t *testing.T, c *cluster) {
		l := c.leader()
		if err := l.group.Close(); err != nil {
			t.Error(err)
		}
		if _, _, err := l.group.Propose(t.Context(), command("a", "1")); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if _, err := l.group.ReadIndex(t.Context()); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if err := l.group.Snapshot(t.Context()); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}

// TestRestart: everything is there after a stop and after a crash of all, and nothing is applied twice.
func TestRestart(t *testing.T) {
	inBubble(t, 3, nil, func(t *testing.T, c *cluster) {
		c.put("a", "1")
		for round := range 4 {
			last := fmt.Sprint(round)
			c.put("a", last)
			if round == 2 {
				if err := c.leader().group.Snapshot(t.Context()); err != nil {
					t.Error(err)
				}
			}
			for _, r := range c.nodes {
				r.machine.order(t)
				if err := r.close(round%2 == 0); err != nil {
					t.Fatal(err)
				}
			}
			for _, r := range c.nodes {
				if err := r.open(c.address); err != nil {
					t.Fatal(err)
				}
			}
			if i, err := c.leader().group.ReadIndex(t.Context()); err != nil || i == 0 {
				t.Error(i, err)
			}
			for _, r := range c.nodes {
				c.reaches(r, "a", last)
			}
		}
	})
}

// small makes groups purge soon.
func small(o *GroupOptions) { o.SnapshotBytes, o.TrailingBytes = 1<<20, 64<<10 }

var big = string(bytes.Repeat([]byte("x"), 64<<10))

// fill proposes until the leader's log was purged.
func (c *cluster) fill() {
	for i := range 200 {
		c.put(fmt.Sprint("big", i%4), big)
	}
	time.Sleep(3 * time.Second)
	s := c.leader().group.Status()
	if s.FirstLog == 1 || s.Snapshot == 0 || s.SnapshotError != nil || s.LastLog-s.FirstLog+1 < minTrailing {
		c.t.Errorf("not purged: %+v", s)
	}
}

// TestPurgeAndInstall: logs that grow are purged; a node that lost everything and one that was away get the state file.
func TestPurgeAndInstall(t *testing.T) {
	inBubble(t, 3, small, func(t *testing.T, c *cluster) {
		c.put("first", "1")
		l := c.leader()
		var away *replica
		for _, r := range c.nodes {
			if r != l {
				away = r
			}
		}
		c.reaches(away, "first", "1")
		ip, _, _ := strings.Cut(away.at, ":")
		c.net.Isolate(ip)
		c.fill()
		c.net.Heal()
		c.put("last", "1")
		c.reaches(away, "last", "1")
		if away.machine.restored != 1 || away.machine.get("big0") != big {
			t.Errorf("restored %d times", away.machine.restored)
		}
		if err := away.close(true); err != nil {
			t.Fatal(err)
		}
		away.dir, away.voters = t.TempDir(), nil
		if err := away.open(c.address); err != nil {
			t.Fatal(err)
		}
		c.put("last", "2")
		c.reaches(away, "last", "2")
		if away.machine.restored != 1 || away.machine.get("first") != "1" {
			t.Errorf("restored %d times", away.machine.restored)
		}
		// The state may have come with "last" in it, ahead of the entries behind the snapshot, which follow.
		s := away.group.Status()
		for i := 0; i < 100 && s.FirstLog == 0; i++ {
			time.Sleep(10 * time.Millisecond)
			s = away.group.Status()
		}
		if s.Snapshot == 0 || s.Covered < s.Snapshot || s.FirstLog <= 1 {
			t.Errorf("%+v", s)
		}
		// It can lead with what it got, and feed another.
		for range 20 {
			if away.group.IsLeader() {
				break
			}
			if err := c.leader().group.Transfer(t.Context()); err != nil && !errors.Is(err, ErrNotLeader) {
				t.Log(err)
			}
			time.Sleep(time.Second)
		}
		c.put("last", "3")
		for _, r := range c.nodes {
			c.reaches(r, "last", "3")
		}
	})
}

// TestOldState: a state file older than the snapshot that the log was purged for is refused, by name and with the repair.
func TestOldState(t *testing.T) {
	inBubble(t, 1, small, func(t *testing.T, c *cluster) {
		r := c.nodes[0]
		c.fill()
		if err := r.close(false); err != nil {
			t.Fatal(err)
		}
		log, err := storage.OpenLog(r.dir+"/log", storage.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		store, err := storage.Open(t.TempDir(), storage.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		_, err = OpenGroup(GroupOptions{Node: r.id, Log: log, Machine: &register{store: store}, Mux: &Mux{}})
		if !errors.Is(err, storage.ErrCorrupt) || !strings.Contains(err.Error(), "move the replica's folder away") {
			t.Error(err)
		}
	})
}

// TestFull: a leader whose disk is full says so, and no more than that; what it was given is nowhere.
func TestFull(t *testing.T) {
	inBubble(t, 3, nil, func(t *testing.T, c *cluster) {
		c.put("a", "1")
		l := c.leader()
		if err := l.close(false); err != nil {
			t.Fatal(err)
		}
		full := make(chan struct{})
		l.hook = func(p storage.Point) error {
			select {
			case <-full:
				if p.Step == "append.begin" {
					return storage.ErrFull
				}
			default:
			}
			return nil
		}
		if err := l.open(c.address); err != nil {
			t.Fatal(err)
		}
		for c.leader() != l {
			if err := c.leader().group.Transfer(t.Context()); err != nil {
				t.Log(err)
			}
			time.Sleep(time.Second)
		}
		close(full)
		if _, _, err := l.group.Propose(t.Context(), command("b", "1")); !errors.Is(err, storage.ErrFull) || errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("a full disk: %v", err)
		}
		c.leader(l)
		c.put("a", "2")
		for _, r := range c.nodes {
			if r.machine.get("b") != "" {
				t.Errorf("%s has what was refused", r.id)
			}
		}
	})
}
