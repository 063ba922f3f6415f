package consensus

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"ostraca/storage"
)

// trap stops a replica's disk at a step: that step and all after it fail, as in a crash.
type trap struct {
	mu          sync.Mutex
	after, step string // armed by step; counts once after was seen
	seen        bool
	sprung      bool
}

var errCrash = errors.New("crash")

func (p *trap) hook(at storage.Point) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = p.seen || p.after == "" || at.Step == p.after
	// A term that cannot be written ends the process, in Raft; here that would be the test.
	if p.sprung && strings.HasPrefix(at.Step, "value.") {
		return nil
	}
	if p.sprung || p.seen && p.step != "" && at.Step == p.step {
		p.sprung = true
		return fmt.Errorf("%w at %s", errCrash, at.Step)
	}
	return nil
}

func (p *trap) arm(after, step string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.after, p.step, p.seen, p.sprung = after, step, false, false
}

func (p *trap) wait(t *testing.T) {
	t.Helper()
	for range 1000 {
		p.mu.Lock()
		sprung := p.sprung
		p.mu.Unlock()
		if sprung {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("step %s is never reached", p.step)
}

// crash ends a node whose trap has sprung, and starts it again.
func (c *cluster) crash(r *replica, p *trap) {
	c.t.Helper()
	p.wait(c.t)
	time.Sleep(50 * time.Millisecond)
	r.machine.order(c.t)
	if err := r.close(true); err != nil && !errors.Is(err, errCrash) {
		c.t.Error(err)
	}
	p.arm("", "")
	if err := r.open(c.address); err != nil {
		c.t.Fatalf("after a crash at %s: %v", p.step, err)
	}
}

func (c *cluster) follower() *replica {
	l := c.leader()
	for _, r := range c.nodes {
		if r != l {
			return r
		}
	}
	return nil
}

// TestCrashInInstall: a follower that crashes at any step of getting a snapshot starts again and gets there.
func TestCrashInInstall(t *testing.T) {
	for _, c := range []struct{ after, step string }{
		{"", "receive.write"}, {"", "receive.sync"}, {"", "receive.rename"}, {"", "receive.done"},
		{"receive.done", "value.begin"}, {"receive.done", "value.commit"},
		{"", "adopt.rename"}, {"", "adopt.done"},
		{"adopt.done", "delete.begin"}, {"adopt.done", "delete.slice"}, {"adopt.done", "delete.commit"},
	} {
		t.Run(c.step, func(t *testing.T) {
			inBubble(t, 3, small, func(t *testing.T, g *cluster) {
				g.put("first", "1")
				var p trap
				r := g.follower()
				g.reaches(r, "first", "1")
				if err := r.close(false); err != nil {
					t.Fatal(err)
				}
				r.hook = p.hook
				if err := r.open(g.address); err != nil {
					t.Fatal(err)
				}
				g.put("first", "2")
				g.reaches(r, "first", "2")
				ip, _, _ := strings.Cut(r.at, ":")
				g.net.Isolate(ip)
				g.fill()
				p.arm(c.after, c.step)
				g.net.Heal()
				g.crash(r, &p)
				g.put("last", "1")
				g.reaches(r, "last", "1")
				if r.machine.get("first") != "2" || r.machine.get("big3") != big {
					t.Error("rows are missing")
				}
				if err := r.close(true); err != nil { // and the files are of one piece
					t.Fatal(err)
				}
				if err := r.open(g.address); err != nil {
					t.Fatal(err)
				}
				g.put("last", "2")
				g.reaches(r, "last", "2")
			})
		})
	}
}

// TestCrashInSnapshot: a replica that crashes at any step of its own snapshot and purge starts again with everything.
func TestCrashInSnapshot(t *testing.T) {
	for _, c := range []struct{ after, step string }{
		{"", "flush.begin"}, {"", "flush.rows"}, {"", "flush.commit"},
		{"flush.commit", "value.begin"}, {"flush.commit", "value.commit"},
		{"", "delete.begin"}, {"", "delete.slice"}, {"", "delete.commit"},
	} {
		t.Run(c.step, func(t *testing.T) {
			inBubble(t, 3, func(o *GroupOptions) { o.TrailingBytes = 1 }, func(t *testing.T, g *cluster) {
				var p trap
				r := g.follower()
				if err := r.close(false); err != nil {
					t.Fatal(err)
				}
				r.hook = p.hook
				if err := r.open(g.address); err != nil {
					t.Fatal(err)
				}
				for i := range 200 {
					g.put(fmt.Sprint("k", i%9), fmt.Sprint(i))
				}
				g.reaches(r, "k1", "199")
				p.arm(c.after, c.step)
				if c.step == "flush.begin" || c.step == "flush.rows" || c.step == "flush.commit" {
					g.put("k0", "dirty")
					g.reaches(r, "k0", "dirty")
				} else if c.after != "" {
					g.put("k0", "flushed")
					g.reaches(r, "k0", "flushed")
				}
				snapped := make(chan error, 1)
				go func() { snapped <- r.group.Snapshot(t.Context()) }()
				p.wait(t)
				g.crash(r, &p)
				if err := <-snapped; err == nil {
					t.Error("a snapshot succeeds on a broken disk")
				}
				g.put("last", "1")
				g.reaches(r, "last", "1")
				if r.machine.get("k1") != "199" {
					t.Error("rows are missing")
				}
				if err := r.group.Snapshot(t.Context()); err != nil {
					t.Error(err)
				}
				if s := r.group.Status(); s.Snapshot < 200 || s.FirstLog < 100 {
					t.Errorf("not purged: %+v", s)
				}
			})
		})
	}
}
