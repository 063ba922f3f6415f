package storage

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

func openLog(t testing.TB, path string, o Options) *Log {
	t.Helper()
	l, err := OpenLog(path, o)
	ok(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// entries from first to last; their data tells the index and a version.
func entries(first, last uint64, version, size int) (out []Entry) {
	for i := first; i <= last; i++ {
		out = append(out, Entry{i, fmt.Appendf(nil, "%d.%d %s", i, version, digits(size))})
	}
	return out
}

// holds checks the bounds, every entry and the sum of sizes.
func holds(l *Log, want []Entry) error {
	first, last := l.Bounds()
	var size int64
	if len(want) == 0 {
		want = []Entry{{}}
	}
	if first != want[0].Index || last != want[len(want)-1].Index {
		return fmt.Errorf("%d to %d, want %d to %d", first, last, want[0].Index, want[len(want)-1].Index)
	}
	for _, e := range want {
		if e.Index > 0 {
			if got, err := l.Get(e.Index); err != nil || string(got) != string(e.Data) {
				return fmt.Errorf("entry %d: %q, %v", e.Index, got, err)
			}
		}
		size += int64(len(e.Data))
	}
	for _, i := range []uint64{0, first - 1, last + 1} {
		if _, err := l.Get(i); !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("entry %d: %v", i, err)
		}
	}
	if got, _ := l.Bytes(); got != size {
		return fmt.Errorf("%d bytes, want %d", got, size)
	}
	return nil
}

func TestLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "replica", "log")
	l := openLog(t, path, quickly())
	ok(t, holds(l, nil), l.Append(nil))
	all := entries(7, 30, 1, 10)
	ok(t, l.Append(all[:4]), l.Append(all[4:]), holds(l, all))
	for what, e := range map[string][]Entry{
		"a gap":           entries(32, 33, 1, 0),
		"overwriting":     entries(30, 31, 1, 0),
		"a gap inside":    append(entries(31, 31, 1, 0), entries(33, 33, 1, 0)...),
		"an older entry":  entries(6, 6, 1, 0),
		"entry zero":      {{0, nil}},
		"a long entry":    {{31, make([]byte, MaxValue+1)}},
		"the same twice ": append(entries(31, 31, 1, 0), entries(31, 31, 1, 0)...),
	} {
		if l.Append(e) == nil {
			t.Errorf("%s is allowed", what)
		}
	}
	is(t, l.Delete(10, 20), errMiddle)
	ok(t, l.Delete(1, 6), l.Delete(31, 40), l.Delete(9, 8), holds(l, all))
	ok(t, l.Delete(0, 9), holds(l, all[3:]), l.Delete(25, 99), holds(l, all[3:18]))
	ok(t, l.Append(entries(25, 26, 2, 3)))
	all = append(all[3:18:18], entries(25, 26, 2, 3)...)
	_, err := l.Value("term")
	is(t, err, ErrNotFound)
	_, err = l.Value(boundsName)
	is(t, err, ErrNotFound)
	if l.Set(boundsName, nil) == nil || l.Set("", nil) == nil {
		t.Error("a reserved name is allowed")
	}
	ok(t, l.Set("term", []byte("3")), l.Set("vote", nil), l.Set("term", []byte("4")))
	ok(t, l.Close(), l.Close())
	is(t, l.Append(entries(27, 27, 2, 3)), ErrClosed)
	_, err = l.Get(25)
	is(t, err, ErrClosed)
	l = openLog(t, path, quickly())
	term, err := l.Value("term")
	vote, err2 := l.Value("vote")
	ok(t, err, err2, holds(l, all))
	if string(term) != "4" || len(vote) != 0 {
		t.Errorf("%q %q", term, vote)
	}
	ok(t, l.Delete(1, 100), holds(l, nil), l.Append(entries(500, 501, 1, 1)), holds(l, entries(500, 501, 1, 1)))
}

// TestLogModel compares a log with a slice, with failing steps and restarts.
func TestLogModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		path := filepath.Join(t.TempDir(), "log")
		fail := ""
		o := quickly()
		o.Hook = func(p Point) error {
			if p.Step == fail {
				return syscall.EIO
			}
			return nil
		}
		l := openLog(t, path, o)
		var want []Entry
		version := 0
		next := func() uint64 {
			if len(want) > 0 {
				return want[len(want)-1].Index + 1
			}
			return uint64(rapid.IntRange(1, 9).Draw(rt, "first"))
		}
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			version++
			fail = rapid.SampledFrom([]string{"", "", "", "append.begin", "append.commit", "delete.begin", "delete.commit", "value.begin", "value.commit"}).Draw(rt, "fail")
			switch rapid.IntRange(0, 5).Draw(rt, "step") {
			case 0, 1, 2:
				first := next()
				more := entries(first, first+uint64(rapid.IntRange(0, 9).Draw(rt, "more")), version, 20)
				if err := l.Append(more); err == nil {
					want = append(want, more...)
				} else if fail == "" {
					t.Fatal(err)
				}
			case 3:
				cut := rapid.IntRange(0, len(want)).Draw(rt, "cut")
				if cut == len(want) {
					continue
				}
				from, to, rest := want[0].Index, want[cut].Index, want[cut+1:]
				if rapid.Bool().Draw(rt, "suffix") {
					from, to, rest = to, want[len(want)-1].Index, want[:cut]
				}
				err := l.Delete(from, to)
				if err == nil {
					want = rest
				} else if fail == "" {
					t.Fatal(err)
				} else if fail == "delete.commit" && holds(l, rest) == nil {
					want = rest
				}
			case 4:
				if err := l.Set(fmt.Sprint("v", version%5), fmt.Append(nil, version)); err != nil && fail == "" {
					t.Fatal(err)
				}
			case 5:
				if fail == "" { // a failed append may come back at a restart, so confirm the end first
					ok(t, l.Set("done", nil), l.Close())
					l = openLog(t, path, o)
				}
			}
			ok(t, holds(l, want))
		}
		ok(t, l.Close())
	})
}

// TestLogFull: a full disk fails the append by name, and the log goes on when there is room.
func TestLogFull(t *testing.T) {
	o := quickly()
	var full error
	o.Hook = func(p Point) error {
		if p.Step == "append.commit" {
			return full
		}
		return nil
	}
	l := openLog(t, filepath.Join(t.TempDir(), "log"), o)
	ok(t, l.Append(entries(1, 3, 1, 5)))
	full = syscall.ENOSPC
	is(t, l.Append(entries(4, 9, 1, 5)), ErrFull)
	ok(t, holds(l, entries(1, 3, 1, 5)))
	full = nil
	ok(t, l.Append(entries(4, 5, 2, 5)), holds(l, append(entries(1, 3, 1, 5), entries(4, 5, 2, 5)...)), l.Close())
	l = openLog(t, l.file.path, quickly())
	ok(t, holds(l, append(entries(1, 3, 1, 5), entries(4, 5, 2, 5)...)))
}

// TestLogSlow: a slow disk keeps writers waiting in virtual time.
func TestLogSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := quickly()
		o.Hook = func(Point) error {
			time.Sleep(time.Minute)
			return nil
		}
		l := openLog(t, filepath.Join(t.TempDir(), "log"), o)
		start := time.Now()
		var wait sync.WaitGroup
		wait.Go(func() { ok(t, l.Set("term", nil)) })
		wait.Go(func() { ok(t, l.Append(entries(1, 2, 1, 1))) })
		wait.Wait()
		if took := time.Since(start); took != 4*time.Minute {
			t.Error(took)
		}
		ok(t, l.Close())
	})
}

// TestLogDeleteYields: others write between the slices of a long prefix deletion, and not within a suffix deletion.
func TestLogDeleteYields(t *testing.T) {
	const n = 3*sliceEntries + 100
	for what, c := range map[string]struct{ min, max, first, last uint64 }{
		"prefix": {1, n - 50, n - 49, n + 4},
		"suffix": {51, n, 1, 51},
	} {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			var steps []string
			slow := false
			o := quickly()
			o.Hook = func(p Point) error {
				if slow && (p.Step == "delete.slice" || p.Step == "append.commit") {
					steps = append(steps, p.Step[:1])
					time.Sleep(time.Second)
				}
				return nil
			}
			l := openLog(t, filepath.Join(dir, "log"), o)
			ok(t, l.Append(entries(1, n, 1, 0)))
			slow = true
			var wait sync.WaitGroup
			wait.Go(func() { ok(t, l.Delete(c.min, c.max)) })
			synctest.Wait() // the first slice is on its way
			next := uint64(n + 1)
			if what == "suffix" {
				next = c.last // it follows only when all is gone
			}
			for ; next <= c.last; next++ {
				ok(t, l.Append(entries(next, next, 2, 0)))
			}
			wait.Wait()
			first, last := l.Bounds()
			want := map[string]string{"prefix": "dadadada", "suffix": "dddda"}[what]
			if got := strings.Join(steps, ""); first != c.first || last != c.last || got != want {
				t.Errorf("%s: %d to %d, steps %s, want %s", what, first, last, got, want)
			}
			ok(t, l.Close())
			l = openLog(t, filepath.Join(dir, "log"), quickly())
			ok(t, l.Close())
		})
	}
}

// TestSync: without options everything that is called durable is synced.
func TestSync(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, filepath.Join(dir, "log"), Options{})
	s := open(t, dir, Options{})
	for what, db := range map[string]*bolt.DB{"log": l.file.db, "state": s.now.Load().file.db} {
		if db.NoSync || db.NoGrowSync {
			t.Errorf("%s: no sync %v, none when it grows %v", what, db.NoSync, db.NoGrowSync)
		}
	}
}

// TestLogCrash: a crash after every slice of a deletion leaves a prefix or a suffix.
func TestLogCrash(t *testing.T) {
	const n = 2*sliceEntries + 100
	all := entries(1, n, 1, 0)
	for what, c := range map[string]struct {
		min, max uint64
		left     func(slices int) []Entry
	}{
		"prefix": {1, n - 50, func(s int) []Entry { return all[min(s*sliceEntries, n-50):] }},
		"suffix": {51, n, func(s int) []Entry { return all[:max(n-s*sliceEntries, 50)] }},
		"all":    {0, n + 9, func(s int) []Entry { return all[:max(n-s*sliceEntries, 0)] }},
	} {
		dir := t.TempDir()
		var images []string
		o := quickly()
		o.Hook = func(p Point) error {
			if p.Step == "delete.slice" {
				images = append(images, copyDir(t, dir))
			}
			return nil
		}
		l := openLog(t, filepath.Join(dir, "log"), o)
		ok(t, l.Append(all), l.Set("term", []byte("1")), l.Delete(c.min, c.max))
		if len(images) != 3 {
			t.Errorf("%s: %d slices", what, len(images))
		}
		for i, image := range images {
			l := openLog(t, filepath.Join(image, "log"), quickly())
			left := c.left(i + 1)
			first, last := l.Bounds()
			if len(left) == 0 && last == 0 {
				continue
			}
			if first != left[0].Index || last != left[len(left)-1].Index {
				t.Errorf("%s, slice %d: %d to %d", what, i, first, last)
			}
			ok(t, l.Append(entries(last+1, last+1, 1, 0)))
		}
	}
}

// TestLogBounded: a log that is purged as it grows has a file that stops growing.
func TestLogBounded(t *testing.T) {
	l := openLog(t, filepath.Join(t.TempDir(), "log"), quickly())
	var early int64
	for i := uint64(1); i <= 300; i++ {
		ok(t, l.Append(entries(i*10, i*10+9, 1, 1000)))
		if i > 20 {
			ok(t, l.Delete(0, (i-20)*10+9))
		}
		if i == 60 {
			_, early = l.Bytes()
		}
	}
	if _, late := l.Bytes(); late > early+allocSize {
		t.Errorf("%d bytes, then %d", early, late)
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, noSync := range []bool{false, true} {
		b.Run(fmt.Sprintf("nosync=%v", noSync), func(b *testing.B) {
			o := quickly()
			o.NoSync = noSync
			l := openLog(b, filepath.Join(b.TempDir(), "log"), o)
			data := []byte(digits(4096))
			for i := uint64(1); b.Loop(); i++ {
				ok(b, l.Append([]Entry{{i, data}}))
			}
		})
	}
}
