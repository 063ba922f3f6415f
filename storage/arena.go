package storage

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
)

const (
	// arenaFile begins the names of an arena's files. They are unlinked as soon as they are made; one that is there is of a process that ended in between.
	arenaFile = "arena-"

	// collectBytes are taken, and a quarter of all that is held, before the garbage collector is asked to look for blocks that can be given back: it does not see
	// their bytes, so it would not come by itself.
	collectBytes = 64 << 20
)

// Arena gives out large blocks of memory that the garbage collector does not see: in huge pages where the system has them, and beyond a limit in files that the
// kernel maps, whose pages it drops and reads again as it likes. Such a block is slower to read, never wrong. All methods are safe for concurrent use.
//
// A file's blocks are reserved before it is mapped, so that no full disk is met later; where they cannot be, memory is taken beyond the limit, and the log says
// so. A disk that cannot read what it wrote ends the process, as it does with the state file.
//
// On systems other than Linux all blocks are Go's own memory, and the limit has no effect.
type Arena struct {
	options ArenaOptions

	mu    sync.Mutex
	usage ArenaUsage
	since int64 // bytes taken since the garbage collector was asked
}

// ArenaOptions of an arena.
type ArenaOptions struct {
	Dir    string // where files go; no other arena may have it
	Limit  int64  // bytes of cold blocks in memory; 0 is no limit
	Logger *slog.Logger
	// Hook, for tests only, is called before a file's blocks are reserved; an error makes that fail as if the disk had.
	Hook func(Point) error
}

// ArenaUsage is the bytes of blocks that are out.
type ArenaUsage struct {
	Hot  int64 // in memory
	Cold int64 // in memory, up to the limit
	File int64 // mapped from files, in memory or not
}

// NewArena returns an arena.
func NewArena(o ArenaOptions) (*Arena, error) {
	left, err := filepath.Glob(filepath.Join(o.Dir, arenaFile+"*"))
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return nil, failed("remove", path, err)
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Arena{options: o}, err
}

// Usage returns what is out.
func (a *Arena) Usage() ArenaUsage {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.usage
}

// Hot returns n bytes of memory, which are zero, and a function that gives them back: it may be called once, when nothing reads them any more. It is nil where the
// garbage collector sees to that.
func (a *Arena) Hot(n int) (block []byte, release func()) {
	a.count(&a.usage.Hot, n)
	return a.inMemory(n, &a.usage.Hot)
}

// Warm is Hot within the limit. Beyond it there is no block.
func (a *Arena) Warm(n int) (block []byte, release func()) {
	if !a.within(n) {
		return nil, nil
	}
	return a.inMemory(n, &a.usage.Cold)
}

// Cold is Warm, and beyond the limit in a file: the call may wait for the disk, as may who reads the block.
func (a *Arena) Cold(n int) (block []byte, release func()) {
	if block, release = a.Warm(n); block != nil {
		return block, release
	}
	b, err := a.reserved(n)
	if err == nil {
		a.count(&a.usage.File, n)
		return b, a.release(b, n, &a.usage.File)
	}
	a.options.Logger.Warn("no file for what is beyond the memory limit: memory is taken in its place", "bytes", n, "error", err)
	a.count(&a.usage.Cold, n)
	return a.inMemory(n, &a.usage.Cold)
}

// reserved maps a file.
func (a *Arena) reserved(n int) ([]byte, error) {
	if h := a.options.Hook; h != nil {
		if err := h(Point{Step: "arena.reserve"}); err != nil {
			return nil, failed("reserve", a.options.Dir, err)
		}
	}
	return mapFile(a.options.Dir, n)
}

// within counts n bytes as cold ones in memory, if the limit allows them.
func (a *Arena) within(n int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	fits := a.fits(n)
	if fits {
		a.add(&a.usage.Cold, n)
	}
	return fits
}

// Fits tells whether Warm would give n bytes now.
func (a *Arena) Fits(n int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.fits(n)
}

func (a *Arena) fits(n int) bool {
	return !mapsFiles || a.options.Limit == 0 || a.usage.Cold+int64(n) <= a.options.Limit
}

// inMemory returns memory that was counted.
func (a *Arena) inMemory(n int, count *int64) ([]byte, func()) {
	whole, from, err := mapMemory(n)
	if err != nil {
		a.count(count, -n)
		return make([]byte, n), nil
	}
	return whole[from : from+n : from+n], a.release(whole, n, count)
}

func (a *Arena) release(whole []byte, n int, count *int64) func() {
	return func() {
		a.count(count, -n)
		if err := unmap(whole); err != nil {
			panic(fmt.Sprintf("storage: a mapping of %d bytes cannot be undone: %v", len(whole), err))
		}
	}
}

// count counts n bytes more, or less, and asks the garbage collector when it is time.
func (a *Arena) count(what *int64, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.add(what, n)
}

func (a *Arena) add(what *int64, n int) {
	*what += int64(n)
	a.since += max(0, int64(n))
	if a.since >= max(collectBytes, (a.usage.Hot+a.usage.Cold+a.usage.File)/4) {
		a.since = 0
		go runtime.GC()
	}
}
