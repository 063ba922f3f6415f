package storage

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestSnapshot: the stream is the state at one moment, whatever is written while it is read.
func TestSnapshot(t *testing.T) {
	from, to := open(t, t.TempDir(), quickly()), open(t, t.TempDir(), quickly())
	h := newHistory(11)
	for range 30 {
		h.commit(t, from)
	}
	ok(t, from.Sync(bg, 30))
	n, err := from.Snapshot()
	ok(t, err)
	r, err := to.Receive()
	ok(t, err)
	_, err = to.Receive()
	if err == nil {
		t.Error("two receivers at once")
	}
	buf, total := make([]byte, 777), int64(0)
	for {
		c, err := n.Read(buf)
		total += int64(c)
		_, werr := r.Write(buf[:c])
		ok(t, werr)
		if err == io.EOF {
			break
		}
		ok(t, err)
		if total%5 == 0 {
			h.commit(t, from)
			ok(t, from.Sync(bg, from.Position().Covered))
		}
	}
	if total != n.Size() || n.Position() != (Position{30, 30}) {
		t.Errorf("%d of %d bytes, %v", total, n.Size(), n.Position())
	}
	ok(t, n.Close(), n.Close(), r.Commit())
	is(t, r.Commit(), ErrClosed)
	_, err = n.Read(buf)
	is(t, err, ErrClosed)
	h.states[0].same(t, to)
	ok(t, to.Adopt())
	h.states[30].same(t, to)
	put(t, to, 31, "system", "x", "1")
	ok(t, to.Sync(bg, 31), to.Close())
	to = open(t, to.dir, quickly())
	if to.Position().Applied != 31 {
		t.Error(to.Position())
	}
	h.last().same(t, from)
}

// TestAdoptLater: start-up finishes an adoption, and refuses a state that is older or damaged.
func TestAdoptLater(t *testing.T) {
	from := open(t, t.TempDir(), quickly())
	put(t, from, 10, "system", "x", "received")
	ok(t, from.Sync(bg, 10))
	for at, want := range map[uint64]uint64{5: 10, 10: 10, 15: 15} {
		to := open(t, t.TempDir(), quickly())
		put(t, to, at, "system", "x", "own")
		transfer(t, from, to)
		ok(t, to.Close())
		to = open(t, to.dir, quickly())
		if to.Position().Applied != want {
			t.Errorf("at %d: %v", at, to.Position())
		}
		if none, err := missing(filepath.Join(to.dir, newName)); !none || err != nil {
			t.Error("state.new is left", err)
		}
	}
	to := open(t, t.TempDir(), quickly())
	put(t, to, 12, "system", "x", "own")
	transfer(t, from, to)
	is(t, to.Adopt(), ErrStale)
	ok(t, to.Adopt())
	r, err := to.Receive()
	ok(t, err)
	n, err := from.Snapshot()
	ok(t, err)
	_, err = io.CopyN(r, n, n.Size()-4096)
	ok(t, err, n.Close())
	is(t, r.Commit(), ErrCorrupt)
	if to.Position().Applied != 12 {
		t.Error(to.Position())
	}
}

// TestAdoptFails: every failing step leaves a store that works, and the next try succeeds.
func TestAdoptFails(t *testing.T) {
	from := open(t, t.TempDir(), quickly())
	put(t, from, 10, "system", "x", "received")
	ok(t, from.Sync(bg, 10))
	for _, step := range []string{"receive.write", "receive.sync", "receive.rename", "receive.done", "adopt.rename", "adopt.done", "snapshot.open"} {
		fail := step
		o := quickly()
		o.Hook = func(p Point) error {
			if p.Step == fail {
				return syscall.ENOSPC
			}
			return nil
		}
		to := open(t, t.TempDir(), o)
		put(t, to, 3, "system", "x", "own")
		ok(t, to.Sync(bg, 3))
		v, err := to.View()
		ok(t, err)
		try := func() error {
			own, err := to.Snapshot()
			if err != nil {
				return err
			}
			ok(t, own.Close())
			n, err := from.Snapshot()
			ok(t, err)
			defer n.Close()
			r, err := to.Receive()
			ok(t, err)
			defer r.Abort()
			if _, err := io.Copy(r, n); err != nil {
				return err
			}
			if err := r.Commit(); err != nil {
				return err
			}
			return to.Adopt()
		}
		is(t, try(), ErrFull)
		fail = ""
		ok(t, try())
		if to.Position().Applied != 10 {
			t.Errorf("%s: %v", step, to.Position())
		}
		got, err := v.Get("system", []byte("x"))
		ok(t, err, v.Close())
		if string(got) != "own" {
			t.Errorf("%s: an open view changed to %q", step, got)
		}
		ok(t, to.Close())
	}
}

func BenchmarkFlush(b *testing.B) {
	o := quickly()
	o.NoSync, o.FlushEvery = false, time.Hour
	s := open(b, b.TempDir(), o)
	value := []byte(digits(20000))
	at := uint64(0)
	for b.Loop() {
		tx, err := s.Begin(bg)
		ok(b, err, tx.Create("data/a/documents", Key{}))
		for i := range 100 {
			ok(b, tx.Put("data/a/documents", fmt.Append(nil, (at*7919+uint64(i)*104729)%20000), value))
		}
		at++
		ok(b, tx.Commit(Position{at, at}), s.Sync(bg, at))
	}
	file, _ := s.Size()
	b.ReportMetric(float64(file)/1e6, "MB")
	if info, err := os.Stat(filepath.Join(s.dir, stateName)); err != nil || info.Size() != file {
		b.Error(err)
	}
}
