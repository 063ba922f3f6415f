package consensus

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// others returns the nodes that do not lead.
func (c *cluster) others(l *replica) (out []*replica) {
	for _, r := range c.nodes {
		if r != l {
			out = append(out, r)
		}
	}
	return out
}

// TestReadmit: a voter that lost its files listens until it has everything, and then votes again.
func TestReadmit(t *testing.T) {
	inBubble(t, 3, small, func(t *testing.T, c *cluster) {
		c.fill()
		l := c.leader()
		lost, third := c.others(l)[0], c.others(l)[1]
		if err := third.group.Readmit(t.Context(), lost.id); !errors.Is(err, ErrNotLeader) {
			t.Error(err)
		}
		if err := third.group.Promote(t.Context(), lost.id); !errors.Is(err, ErrNotLeader) {
			t.Error(err)
		}
		if err := l.group.Readmit(t.Context(), l.id); err == nil {
			t.Error("a leader readmits itself")
		}
		if err := lost.close(true); err != nil {
			t.Fatal(err)
		}
		lost.dir, lost.voters = t.TempDir(), nil
		for range 2 { // the second time there is nothing to do
			if err := l.group.Readmit(t.Context(), lost.id); err != nil {
				t.Fatal(err)
			}
			if v := l.group.Voters(); len(v) != 2 || slices.Contains(v, lost.id) {
				t.Errorf("voters %v", v)
			}
		}
		if err := lost.open(c.address); err != nil {
			t.Fatal(err)
		}
		c.put("last", "1")
		c.reaches(lost, "last", "1")
		if lost.machine.restored != 1 || lost.machine.get("big0") != big {
			t.Errorf("restored %d times", lost.machine.restored)
		}
		for range 2 {
			if err := c.leader().group.Promote(t.Context(), lost.id); err != nil {
				t.Fatal(err)
			}
		}
		c.put("last", "2")
		for _, r := range c.nodes {
			c.reaches(r, "last", "2")
			if v := r.group.Voters(); !slices.Equal(v, third.voters) {
				t.Errorf("%s: voters %v", r.id, v)
			}
			for k, v := range l.machine.rows {
				if r.machine.get(k) != v {
					t.Errorf("%s: %s differs", r.id, k)
				}
			}
		}
		// Its vote counts: without the third, nothing goes on without it.
		if err := third.close(false); err != nil {
			t.Fatal(err)
		}
		c.put("last", "3")
		c.reaches(lost, "last", "3")
	})
}

// TestReadmitWithoutQuorum: while too many are away nothing is changed, nobody waits for long, and when they are back all is as before.
func TestReadmitWithoutQuorum(t *testing.T) {
	inBubble(t, 3, nil, func(t *testing.T, c *cluster) {
		c.put("a", "1")
		for _, running := range []bool{true, false} { // the one that is asked about answers, or does not
			l := c.leader()
			lost, away := c.others(l)[0], c.others(l)[1]
			ip, _, _ := strings.Cut(away.at, ":")
			c.net.Isolate(ip)
			if !running {
				if err := lost.close(false); err != nil {
					t.Fatal(err)
				}
			}
			start := time.Now()
			err := l.group.Readmit(t.Context(), lost.id)
			if !errors.Is(err, ErrNoQuorum) && !errors.Is(err, ErrNotLeader) {
				t.Errorf("running %v: %v", running, err)
			}
			if d := time.Since(start); d > 15*time.Second {
				t.Errorf("running %v: %v", running, d)
			}
			short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			if err := l.group.Readmit(short, lost.id); err == nil {
				t.Error("readmitted")
			}
			cancel()
			c.net.Heal()
			if !running {
				if err := lost.open(c.address); err != nil {
					t.Fatal(err)
				}
			}
			c.put("a", "2")
			c.reaches(lost, "a", "2")
			if v := c.leader().group.Voters(); len(v) != 3 {
				t.Errorf("voters %v", v)
			}
			c.put("a", "1")
		}
		l := c.leader()
		if err := l.group.Close(); err != nil {
			t.Error(err)
		}
		if err := l.group.Readmit(t.Context(), "other"); !errors.Is(err, ErrClosed) && !errors.Is(err, ErrNotLeader) {
			t.Error(err)
		}
	})
}
