package storage

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

func arena(t *testing.T, o ArenaOptions) *Arena {
	t.Helper()
	o.Dir = t.TempDir()
	a, err := NewArena(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// usable writes to all of a block and reads it again.
func usable(t *testing.T, b []byte, n int) {
	t.Helper()
	if len(b) != n || cap(b) != n || bytes.Count(b, []byte{0}) != n {
		t.Fatalf("a block of %d, room for %d, for %d; or it is not zero", len(b), cap(b), n)
	}
	for i := range b {
		b[i] = byte(i)
	}
	for i := range b {
		if b[i] != byte(i) {
			t.Fatalf("byte %d of %d is %d", i, n, b[i])
		}
	}
}

func TestArena(t *testing.T) {
	if !mapsFiles {
		t.Skip("no files are mapped on this system")
	}
	a := arena(t, ArenaOptions{Limit: 5 << 20})
	var releases []func()
	for i, take := range []func(int) ([]byte, func()){a.Cold, a.Hot, a.Cold, a.Cold, a.Cold} {
		n := 3<<20 + i
		if i == 4 {
			n = 1 << 20
		}
		b, release := take(n)
		usable(t, b, n)
		releases = append(releases, release)
	}
	want := ArenaUsage{Hot: 3<<20 + 1, Cold: 3<<20 + 1<<20, File: 2*3<<20 + 2 + 3}
	if got := a.Usage(); got != want {
		t.Fatalf("%+v, not %+v", got, want)
	}
	if left, _ := os.ReadDir(a.options.Dir); len(left) > 0 {
		t.Fatalf("%s has a name", left[0].Name())
	}
	for _, release := range releases {
		release()
	}
	if got := a.Usage(); got != (ArenaUsage{}) {
		t.Fatalf("all was given back, %+v is out", got)
	}
}

// A full disk makes an arena take memory beyond its limit, and say so.
func TestArenaOnAFullDisk(t *testing.T) {
	if !mapsFiles {
		t.Skip("no files are mapped on this system")
	}
	var log bytes.Buffer
	full := func(p Point) error {
		if p.Step == "arena.reserve" {
			return syscall.ENOSPC
		}
		return nil
	}
	a := arena(t, ArenaOptions{Limit: 1, Hook: full, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	b, release := a.Cold(4 << 20)
	usable(t, b, 4<<20)
	if got := a.Usage(); got != (ArenaUsage{Cold: 4 << 20}) {
		t.Fatalf("%+v", got)
	}
	if !strings.Contains(log.String(), "disk is full") && !strings.Contains(log.String(), "no space left") {
		t.Fatalf("the log does not say why: %s", log.String())
	}
	release()
}

// On a real full disk, no page that was handed out is missing.
func TestArenaOnASmallDisk(t *testing.T) {
	dir := t.TempDir()
	if !mapsFiles || mountSmall(dir) != nil {
		t.Skip("no small disk can be mounted here")
	}
	defer unmountSmall(dir)
	a, err := NewArena(ArenaOptions{Dir: dir, Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	for range 4 { // of 2 MiB, on a disk of 5
		b, release := a.Cold(2 << 20)
		usable(t, b, 2<<20)
		defer release()
	}
	if got := a.Usage(); got != (ArenaUsage{Cold: 4 << 20, File: 4 << 20}) {
		t.Fatalf("%+v", got)
	}
}

// What a process left that ended between making a file and unlinking it is gone.
func TestArenaSweeps(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{arenaFile + "1", "state.db"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := NewArena(ArenaOptions{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "state.db" {
		t.Fatalf("%v, %v", left, err)
	}
}

// The garbage collector comes for blocks that it does not see.
func TestArenaCollects(t *testing.T) {
	if !mapsFiles {
		t.Skip("blocks are the garbage collector's on this system")
	}
	a := arena(t, ArenaOptions{})
	most := int64(0)
	for range 64 {
		_, release := a.Cold(16 << 20) // address space: nothing is written
		holder := new([64]byte)
		runtime.AddCleanup(holder, func(release func()) { release() }, release)
		most = max(most, a.Usage().Cold)
	}
	for range 1000 {
		if a.Usage().Cold < most {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%d bytes are out, all of them garbage", a.Usage().Cold)
}
