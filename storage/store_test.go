package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func TestDigest(t *testing.T) {
	var top Digest
	for i := range top {
		top[i] = 0xff
	}
	one := Digest{1}
	if top.Add(one) != (Digest{}) || (Digest{}).Sub(one) != top {
		t.Error("no wrap at 2^256")
	}
	low := Digest{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	if got := low.Add(one); got != (Digest{8: 1}) || got.Sub(one) != low {
		t.Errorf("carry: %v", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := Digest(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "a")), Digest(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "b"))
		if a.Add(b) != b.Add(a) || a.Add(b).Sub(b) != a {
			t.Fatal("no group")
		}
	})
}

// TestModel compares a store with a map, over flushes, crashes and restarts.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		ok(t, err)
		o := quickly()
		o.FlushEvery = time.Duration(rapid.SampledFrom([]int{1, 1000000}).Draw(rt, "flush every ms")) * time.Millisecond
		s := open(t, dir, o)
		h := newHistory(rapid.Uint64().Draw(rt, "seed"))
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			switch rapid.IntRange(0, 9).Draw(rt, "step") {
			case 0:
				ok(t, s.Sync(bg, h.last().position.Covered))
				if p, err := s.Durable(); err != nil || p != h.last().position {
					t.Fatal(p, err)
				}
			case 1:
				ok(t, s.Close())
				s = open(t, dir, o)
			case 2: // a crash, and what the log replays is lost here
				p, err := s.Durable()
				ok(t, err, s.Abandon())
				s = open(t, dir, o)
				if s.Position().Applied < p.Applied {
					t.Fatalf("durable %v, then %v", p, s.Position())
				}
				h.states = h.states[:s.Position().Applied+1]
			default:
				h.commit(t, s)
			}
			h.last().same(t, s)
		}
		ok(t, s.Close())
	})
}

// TestRecreate: a bucket dropped and made again, at every moment of a flush, shows nothing of its former rows.
func TestRecreate(t *testing.T) {
	for mask := range 16 {
		s := open(t, t.TempDir(), quickly())
		sync := func(bit int) {
			if mask>>bit&1 != 0 {
				ok(t, s.Sync(bg, s.Position().Covered))
			}
		}
		put(t, s, 1, "data/a/documents", "x", "old", "y", "old")
		sync(0)
		tx, err := s.Begin(bg)
		ok(t, err)
		tx.Drop("data/a")
		if tx.Has("data/a/documents") {
			t.Fatal("dropped bucket is there")
		}
		ok(t, tx.Commit(Position{2, 2}))
		sync(1)
		tx, err = s.Begin(bg)
		ok(t, err, tx.Create("data/a/documents", Key{9}), tx.Put("data/a/documents", []byte("x"), []byte("new")), tx.Commit(Position{3, 3}))
		sync(2)
		v, err := s.View()
		ok(t, err)
		if got, err := v.Get("data/a/documents", []byte("x")); err != nil || string(got) != "new" {
			t.Fatalf("mask %b: %q, %v", mask, got, err)
		}
		_, err = v.Get("data/a/documents", []byte("y"))
		is(t, err, ErrNotFound)
		if got := v.Stat("data/a/documents"); got.Rows != 1 || got.Digest != newHasher(Key{9}, "data/a/documents").sum([]byte("x"), []byte("new")) {
			t.Fatalf("mask %b: %v", mask, got)
		}
		ok(t, v.Close())
		tx, err = s.Begin(bg)
		ok(t, err)
		tx.Drop("data/a/documents")
		ok(t, tx.Create("data/a", Key{8}), tx.Commit(Position{4, 4})) // a bucket where its parent was
		sync(3)
		ok(t, s.Close())
		s = open(t, s.dir, quickly())
		v, err = s.View()
		ok(t, err)
		if got := v.Buckets(""); !slices.Equal(got, []Bucket{"data/a"}) {
			t.Fatalf("mask %b: %v", mask, got)
		}
		ok(t, v.Close())
	}
}

func TestRefusals(t *testing.T) {
	s := open(t, t.TempDir(), quickly())
	put(t, s, 5, "data/a/documents", "x", "1")
	tx, err := s.Begin(bg)
	ok(t, err)
	for what, err := range map[string]error{
		"another key":   tx.Create("data/a/documents", Key{7}),
		"above one":     tx.Create("data/a", Key{}),
		"below one":     tx.Create("data/a/documents/b", Key{}),
		"empty element": tx.Create("data//b", Key{}),
		"empty path":    tx.Create("", Key{}),
		"reserved":      tx.Create("meta/x", Key{}),
		"long path":     tx.Create(Bucket(digits(MaxPath+1)), Key{}),
		"empty key":     tx.Put("data/a/documents", nil, nil),
		"long key":      tx.Put("data/a/documents", make([]byte, MaxKey+1), nil),
		"long value":    tx.Put("data/a/documents", []byte("k"), make([]byte, MaxValue+1)),
		"no bucket":     tx.Put("data/b/documents", []byte("k"), nil),
	} {
		if err == nil {
			t.Errorf("%s is allowed", what)
		}
	}
	ok(t, tx.Delete("data/b/documents", []byte("k")), tx.Delete("data/a/documents", []byte("k")))
	ok(t, tx.Put("data/a/documents", make([]byte, MaxKey), []byte("long")))
	if tx.Commit(Position{4, 9}) == nil {
		t.Error("a position before the last is allowed")
	}
	is(t, tx.Put("data/a/documents", []byte("k"), nil), ErrClosed)
	is(t, tx.Commit(Position{6, 6}), ErrClosed)
	_, err = tx.Get("data/a/documents", []byte("x"))
	is(t, err, ErrClosed)
	_, err = Open(s.dir, quickly())
	if err == nil || !strings.Contains(err.Error(), "holds it") {
		t.Errorf("opened twice: %v", err)
	}
	if s.Sync(bg, 6) == nil {
		t.Error("synced what is not there")
	}
	s.Cover(8)
	ok(t, s.Sync(bg, 8))
	if p, err := s.Durable(); err != nil || p != (Position{5, 8}) {
		t.Error(p, err)
	}
	ok(t, s.Close(), s.Close())
	_, err = s.Begin(bg)
	is(t, err, ErrClosed)
	_, err = s.View()
	is(t, err, ErrClosed)
	_, err = s.Receive()
	is(t, err, ErrClosed)
	is(t, s.Adopt(), ErrClosed)
	_, err = s.Durable()
	is(t, err, ErrClosed)
}

// TestPure: two histories that end with the same documents have the same rows below data, and the same digest.
func TestPure(t *testing.T) {
	rows := func(s *Store) (out []string, sum Digest) {
		v, err := s.View()
		ok(t, err)
		defer v.Close()
		for _, b := range v.Buckets("data") {
			sum = sum.Add(v.Stat(b).Digest)
			for k, value := range v.Scan(b, nil) {
				out = append(out, fmt.Sprintf("%s %s %s", b, k, value))
			}
		}
		ok(t, v.Err())
		return out, sum
	}
	h := newHistory(3)
	a, b := open(t, t.TempDir(), quickly()), open(t, t.TempDir(), quickly())
	for i := range 60 {
		h.commit(t, a)
		if i%7 == 0 {
			ok(t, a.Sync(bg, a.Position().Covered))
		}
	}
	tx, err := b.Begin(bg)
	ok(t, err)
	for path, rows := range h.last().buckets {
		ok(t, tx.Create(path, keyOf(path)))
		for k, value := range rows {
			ok(t, tx.Put(path, []byte(k), []byte(value)))
		}
	}
	ok(t, tx.Commit(Position{1, 1}), b.Sync(bg, 1), a.Close(), b.Close())
	a, b = open(t, a.dir, quickly()), open(t, b.dir, quickly())
	wantRows, wantSum := rows(a)
	if gotRows, gotSum := rows(b); !slices.Equal(gotRows, wantRows) || gotSum != wantSum || len(gotRows) == 0 {
		t.Errorf("%d rows %v, want %d rows %v", len(gotRows), gotSum, len(wantRows), wantSum)
	}
}

// TestViews: what a view shows never changes, whatever is written, flushed and adopted meanwhile.
func TestViews(t *testing.T) {
	o := quickly()
	o.FlushEvery = time.Millisecond
	s, donor := open(t, t.TempDir(), o), open(t, t.TempDir(), o)
	h := newHistory(4)
	var mu sync.Mutex
	state := func(i uint64) model {
		mu.Lock()
		defer mu.Unlock()
		return h.states[i]
	}
	ctx, cancel := context.WithCancel(bg)
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			var kept []*View
			for ctx.Err() == nil {
				v, err := s.View()
				if err != nil {
					t.Error(err)
					return
				}
				if kept = append(kept, v); len(kept) > 4 {
					if err := kept[0].Close(); err != nil {
						t.Error(err)
					}
					kept = kept[1:]
				}
				for _, v := range kept {
					if err := state(v.Position().Applied).differs(v); err != nil {
						t.Error(v.Position(), err)
						return
					}
				}
			}
			for _, v := range kept {
				v.Close()
			}
		})
	}
	for i := range 120 {
		mu.Lock() // a view must not see a state before its model is there
		h.commit(t, donor)
		target := h.last()
		mu.Unlock()
		replay(t, s, target)
		if i%20 == 19 {
			ok(t, donor.Sync(bg, donor.Position().Covered))
			transfer(t, donor, s)
			ok(t, s.Adopt())
			ok(t, s.Adopt()) // nothing left to do
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	readers.Wait()
	h.last().same(t, s)
}

// TestNewerFile: an overlay that was loaded before the file got later rows is loaded again, never laid over them.
func TestNewerFile(t *testing.T) {
	o := quickly()
	o.FlushEvery = time.Hour
	s := open(t, t.TempDir(), o)
	put(t, s, 1, "system", "x", "1")
	ok(t, s.Sync(bg, 1))
	put(t, s, 2, "system", "y", "1")
	old := s.now.Load()
	put(t, s, 3, "system", "x", "3")
	ok(t, s.Sync(bg, 3))
	time.Sleep(20 * time.Millisecond) // the flusher looks once more
	now := s.now.Load()
	s.now.Store(old) // what a reader may have loaded just before
	views := make(chan *View)
	go func() {
		v, err := s.View()
		if err != nil {
			t.Error(err)
		}
		views <- v
	}()
	select {
	case v := <-views:
		t.Errorf("a view of %v over a file at 3", v.Position())
		ok(t, v.Close())
		s.now.Store(now)
	case <-time.After(20 * time.Millisecond):
		s.now.Store(now)
		v := <-views
		if got, err := v.Get("system", []byte("x")); err != nil || string(got) != "3" || v.Position().Applied != 3 {
			t.Error(string(got), err, v.Position())
		}
		ok(t, v.Close())
	}
}

// replay brings s to m by writing all of it anew.
func replay(t testing.TB, s *Store, m model) {
	t.Helper()
	tx, err := s.Begin(bg)
	ok(t, err)
	for _, b := range (&View{tx.reader}).Buckets("") {
		if m.buckets[b] == nil {
			tx.Drop(b)
		}
	}
	for b, rows := range m.buckets {
		ok(t, tx.Create(b, keyOf(b)))
		for k := range tx.Scan(b, nil) {
			if _, keep := rows[string(k)]; !keep {
				ok(t, tx.Delete(b, k))
			}
		}
		for k, value := range rows {
			ok(t, tx.Put(b, []byte(k), []byte(value)))
		}
	}
	ok(t, tx.Err(), tx.Commit(m.position))
}

// TestFull: a full disk stops the flush, not reading and not writing until memory is full too; with room all goes on.
func TestFull(t *testing.T) {
	for _, step := range []string{"flush.begin", "flush.rows", "flush.commit"} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			isFull := false
			o := quickly()
			o.OverlayBytes = 64 << 10
			o.Hook = func(p Point) error {
				mu.Lock()
				defer mu.Unlock()
				if isFull && p.Step == step {
					return syscall.ENOSPC
				}
				return nil
			}
			s := open(t, t.TempDir(), o)
			put(t, s, 1, "system", "x", "1")
			ok(t, s.Sync(bg, 1))
			mu.Lock()
			isFull = true
			mu.Unlock()
			ctx, cancel := context.WithTimeout(bg, 5*time.Second)
			defer cancel()
			at := uint64(1)
			for {
				tx, err := s.Begin(ctx)
				if err != nil {
					is(t, err, context.DeadlineExceeded)
					break
				}
				at++
				ok(t, tx.Put("system", fmt.Append(nil, at), []byte(digits(1000))), tx.Commit(Position{at, at}))
			}
			if at < 40 || at > 70 {
				t.Errorf("%d commits of 1,128 bytes until 64 KiB were full", at)
			}
			is(t, s.Health(), ErrFull)
			is(t, s.Health(), syscall.ENOSPC)
			ctx, cancel = context.WithTimeout(bg, 5*time.Second)
			defer cancel()
			err := s.Sync(ctx, at)
			is(t, err, ErrFull)
			is(t, err, context.DeadlineExceeded)
			if p, err := s.Durable(); err != nil || p.Applied != 1 {
				t.Error(p, err)
			}
			v, err := s.View()
			ok(t, err)
			if _, err := v.Get("system", fmt.Append(nil, at)); err != nil || v.Position().Applied != at {
				t.Error(err, v.Position())
			}
			ok(t, v.Close())
			mu.Lock()
			isFull = false
			mu.Unlock()
			ok(t, s.Sync(bg, at), s.Health())
			put(t, s, at+1, "system", "y", "2")
			ok(t, s.Close())
			s = open(t, s.dir, quickly())
			if s.Position().Applied != at+1 {
				t.Error(s.Position())
			}
			ok(t, s.Close())
		})
	}
}

// TestIdle: without changes nothing is written, and a change goes to the file in its time.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		flushes := 0
		o := quickly()
		o.Hook = func(p Point) error {
			mu.Lock()
			defer mu.Unlock()
			if p.Step == "flush.commit" {
				flushes++
			}
			return nil
		}
		s := open(t, t.TempDir(), o)
		put(t, s, 1, "system", "x", "1")
		time.Sleep(60 * time.Millisecond)
		synctest.Wait()
		if p, err := s.Durable(); err != nil || p.Applied != 1 {
			t.Error(p, err)
		}
		s.Cover(5)
		tx, err := s.Begin(bg)
		ok(t, err, tx.Commit(Position{1, 5}))
		time.Sleep(time.Hour)
		if flushes != 1 {
			t.Errorf("%d flushes", flushes)
		}
		ok(t, s.Close())
		if flushes != 2 {
			t.Errorf("%d flushes: Close keeps what is covered", flushes)
		}
	})
}

// TestBounded: a file whose rows are replaced for ever stops growing.
func TestBounded(t *testing.T) {
	o := quickly()
	o.FlushEvery = time.Hour
	s := open(t, t.TempDir(), o)
	var early int64
	for i := range uint64(200) {
		put(t, s, i+1, "data/a/documents", fmt.Sprint(i%20), digits(5000)+fmt.Sprint(i))
		ok(t, s.Sync(bg, i+1))
		if i == 60 {
			early, _ = s.Size()
		}
	}
	if late, _ := s.Size(); late > early+allocSize {
		t.Errorf("%d bytes, then %d", early, late)
	}
}

// TestPanic: after a panic inside bbolt nothing is written any more, and closing does not hang.
func TestPanic(t *testing.T) {
	o := quickly()
	armed := make(chan struct{})
	o.Hook = func(p Point) error {
		if p.Step == "flush.rows" {
			select {
			case <-armed:
				panic("as bbolt would")
			default:
			}
		}
		return nil
	}
	s := open(t, t.TempDir(), o)
	put(t, s, 1, "system", "x", "1")
	ok(t, s.Sync(bg, 1))
	close(armed)
	put(t, s, 2, "system", "y", "1")
	is(t, s.Sync(bg, 2), ErrCorrupt)
	_, err := s.Begin(bg)
	is(t, err, ErrCorrupt)
	v, err := s.View()
	ok(t, err)
	_, err = v.Get("system", []byte("y"))
	ok(t, err, v.Close())
	if err := s.Close(); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
	s = open(t, s.dir, quickly())
	if s.Position().Applied != 1 {
		t.Error(s.Position())
	}
}

// TestLeftovers: what a crash during a creation leaves is no obstacle.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	ok(t, os.WriteFile(filepath.Join(dir, partName), []byte("half"), 0o600), os.WriteFile(filepath.Join(dir, stateName), nil, 0o600))
	ok(t, os.WriteFile(filepath.Join(dir, newName), []byte("nothing"), 0o600))
	s := open(t, dir, quickly())
	put(t, s, 1, "system", "x", "1")
	ok(t, s.Close())
	entries, err := os.ReadDir(dir)
	ok(t, err)
	if len(entries) != 1 || entries[0].Name() != stateName {
		t.Error(entries)
	}
}
