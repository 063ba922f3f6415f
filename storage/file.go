package storage

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	lockWait  = time.Second
	lockEvery = 50 * time.Millisecond
	allocSize = 1 << 20 // bytes by which a file grows
)

var errLocked = errors.New("another process or store holds it")

// verifier reads a whole file and says whether it holds what was written: nil, broken, ErrFormat, or what reading said.
type verifier func(r io.ReaderAt, size int64) (*image, error)

// file is an open bbolt file, counted by those who read it: it closes when it is retired and the last of them is done.
type file struct {
	path string
	f    *os.File
	db   *bolt.DB

	mu       sync.Mutex
	users    int
	retired  bool
	gone     chan struct{} // closed with the file
	err      error         // of closing
	halted   error         // why nothing may be written any more
	last     stamp
	previous stamp
}

// stamp says which generation of rows a transaction of the file brought.
type stamp struct {
	txid   int
	number uint64
}

// create writes a new file beside path and renames it, so that a file of that name is always whole.
func create(path, part string, o Options, fill func(*bolt.Tx) error) error {
	if err := os.Remove(part); err != nil && !errors.Is(err, os.ErrNotExist) {
		return failed("remove", part, err)
	}
	db, err := bolt.Open(part, 0o600, boltOptions(o, 0))
	if err != nil {
		return failed("create", part, err)
	}
	db.AllocSize = allocSize
	if err := errors.Join(db.Update(fill), db.Close()); err != nil {
		return failed("create", part, err)
	}
	return rename(part, path, o)
}

func rename(from, to string, o Options) error {
	if err := os.Rename(from, to); err != nil {
		return failed("rename", from, err)
	}
	if o.NoSync {
		return nil
	}
	return failed("sync", filepath.Dir(to), syncDir(filepath.Dir(to)))
}

// missing reports that there is no file, or an empty one: a creation that a crash cut short.
func missing(path string) (bool, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	return err == nil && info.Size() == 0, failed("stat", path, err)
}

func boltOptions(o Options, reserve int) *bolt.Options {
	return &bolt.Options{Timeout: lockWait, NoFreelistSync: true, FreelistType: bolt.FreelistMapType, NoStatistics: true,
		NoSync: o.NoSync, InitialMmapSize: reserve}
}

// reserved is the address space for a file whose default is given.
func (o Options) reserved(most int64) int {
	switch {
	case o.MmapBytes > 0:
		return o.MmapBytes
	case runtime.GOOS == "windows": // the file would become as large
		return 0
	case math.MaxInt == math.MaxInt32:
		return 256 << 20
	}
	return int(min(most, math.MaxInt))
}

// openFile locks a file, verifies it and lets bbolt open it.
func openFile(path string, o Options, reserve int, verify verifier) (*file, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0o600)
	if err != nil {
		return nil, failed("open", path, err)
	}
	out, err := openLocked(f, path, o, reserve, verify)
	if err != nil {
		return nil, errors.Join(err, discard(f))
	}
	return out, nil
}

// discard gives the lock back and closes what bbolt may have closed already.
func discard(f *os.File) error {
	unlocked := unlock(f)
	if err := f.Close(); !errors.Is(err, os.ErrClosed) {
		return errors.Join(unlocked, err)
	}
	return nil
}

func openLocked(f *os.File, path string, o Options, reserve int, verify verifier) (*file, error) {
	if err := lock(f); err != nil {
		return nil, failed("lock", path, err)
	}
	m, err := verifyFile(f, path, verify)
	if err != nil {
		return nil, err
	}
	options := boltOptions(o, reserve)
	options.OpenFile = func(string, int, os.FileMode) (*os.File, error) { return f, nil }
	out := &file{path: path, f: f, gone: make(chan struct{})}
	err = guard(path, func() error {
		if out.db, err = bolt.Open(path, 0o600, options); err != nil {
			return failed("open", path, err)
		}
		out.db.AllocSize = allocSize
		tx, err := out.db.Begin(false)
		if err != nil {
			return failed("read", path, err)
		}
		defer tx.Rollback()
		if uint64(tx.ID()) != m.txid || uint64(out.db.Info().PageSize) != m.pageSize {
			return corrupt(path, "bbolt found transaction %d, verified was %d", tx.ID(), m.txid)
		}
		return nil
	})
	if err != nil && out.db != nil {
		err = errors.Join(err, out.db.Close())
	}
	return out, err
}

// verifyFile turns what the verifier found into errors that name the file.
func verifyFile(f *os.File, path string, verify verifier) (*image, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, failed("stat", path, err)
	}
	m, err := verify(f, info.Size())
	var why broken
	switch {
	case errors.As(err, &why), errors.Is(err, io.EOF):
		return nil, corrupt(path, "%v", err)
	case err != nil:
		return nil, failed("verify", path, err)
	}
	return m, nil
}

// guard runs what reads mapped pages: a fault or a panic of bbolt is a corrupt file, not the end of the process.
func guard(path string, do func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			err = corrupt(path, "%v", r)
		}
	}()
	return do()
}

// acquire keeps the file open until release; false when it is retired.
func (f *file) acquire() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.retired {
		return false
	}
	f.users++
	return true
}

// release ends an acquire. The error is that of closing, for the last one.
func (f *file) release() error {
	f.mu.Lock()
	f.users--
	last := f.retired && f.users == 0
	f.mu.Unlock()
	if last {
		f.close()
		return f.err
	}
	return nil
}

// retire closes the file as soon as nobody reads it; once.
func (f *file) retire() {
	f.mu.Lock()
	f.retired = true
	idle := f.users == 0
	f.mu.Unlock()
	if idle {
		f.close()
	}
}

// close ends the file. After a panic of bbolt its locks may be held for ever, so only the descriptor is closed.
func (f *file) close() {
	defer close(f.gone)
	if f.halt() != nil {
		f.err = failed("close", f.path, discard(f.f))
		return
	}
	f.err = guard(f.path, func() error { return failed("close", f.path, f.db.Close()) })
}

func (f *file) halt() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.halted
}

// begin starts a read transaction; the caller has acquired the file.
func (f *file) begin() (tx *bolt.Tx, err error) {
	err = guard(f.path, func() error {
		tx, err = f.db.Begin(false)
		return failed("read", f.path, err)
	})
	return tx, err
}

// end ends a read transaction and releases the file.
func (f *file) end(tx *bolt.Tx) error {
	err := guard(f.path, func() error { return failed("read", f.path, tx.Rollback()) })
	return errors.Join(err, f.release())
}

// read runs do in a read transaction.
func (f *file) read(do func(*bolt.Tx) error) error {
	if !f.acquire() {
		return fmt.Errorf("read %s: %w", f.path, ErrClosed)
	}
	tx, err := f.begin()
	if err != nil {
		return errors.Join(err, f.release())
	}
	return errors.Join(guard(f.path, func() error { return do(tx) }), f.end(tx))
}

// update runs do in a write transaction that brings the generation of that number, and commits it. A panic of bbolt halts
// all writing, for what it holds in memory can no longer be trusted.
func (f *file) update(number uint64, do func(*bolt.Tx) error) error {
	if err := f.halt(); err != nil {
		return err
	}
	finished := false
	err := guard(f.path, func() error {
		tx, err := f.db.Begin(true)
		if err == nil {
			f.note(tx.ID(), number)
			if err = do(tx); err != nil {
				err = errors.Join(err, tx.Rollback())
			} else {
				err = tx.Commit()
			}
		}
		finished = true
		return err
	})
	if !finished {
		f.mu.Lock()
		f.halted = err
		f.mu.Unlock()
	}
	return failed("write", f.path, err)
}

// note remembers which generation a transaction brings, before any reader can see it. A failed transaction's number is used
// again.
func (f *file) note(txid int, number uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last.txid != txid {
		f.previous = f.last
	}
	f.last = stamp{txid, number}
}

// generation returns what a transaction that just began sees; false when it is too old to know.
func (f *file) generation(txid int) (uint64, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case txid < f.previous.txid:
		return 0, false
	case txid < f.last.txid:
		return f.previous.number, true
	}
	return f.last.number, true
}

// size is the length of the file, in bytes; 0 when it is closed.
func (f *file) size() int64 {
	info, err := f.f.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// nested returns the bucket of a path below a bucket of the file, nil if there is none.
func nested(tx *bolt.Tx, path Bucket) *bolt.Bucket {
	var b *bolt.Bucket
	for e := range strings.SplitSeq(string(path), "/") {
		if b == nil {
			b = tx.Bucket([]byte(e))
		} else {
			b = b.Bucket([]byte(e))
		}
		if b == nil {
			return nil
		}
	}
	return b
}
