package shardtest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"ostraca/storage"
)

// Disk is a node's folder, with a memory of what was synced in it. The files of a store are written without syncing, for speed; after every
// point where storage says that it synced, the disk keeps what the file then held. A power cut goes back to that, and of what was
// written since, a random part of the pages is there.
type Disk struct {
	root  string
	mu    sync.Mutex
	rng   *rand.Rand
	mount int
	files map[string]image // synced, by path below the mount
	full  bool
	dead  bool // crashed: the process that used it writes into the void
	steps int  // until it dies, if armed
	died  chan struct{}
	cuts  Cuts
}

// image is a file as it was synced.
type image struct {
	info  fs.FileInfo // which file it is: another one may take its name
	bytes []byte
}

// Cuts counts what power cuts left.
type Cuts struct {
	Armed int // at a step of a file's work
	Lost  int // that took away something written
	Torn  int // that left parts of a transaction, or a broken header
}

// pageBytes is what a disk writes whole.
const pageBytes = 4096

// headers are the pages of a file that say which transaction was the last: they are written when all others are synced, one a
// transaction, in turns.
const headers = 2

// NewDisk returns an empty disk in a folder.
func NewDisk(root string, seed uint64) *Disk {
	return &Disk{root: root, rng: rand.New(rand.NewPCG(seed, 1)), files: map[string]image{}}
}

// Mount returns the folder, for the next process.
func (d *Disk) Mount() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead, d.died = false, nil
	return d.path()
}

// Empty removes what lies below a folder of the disk, while no process uses it.
func (d *Disk) Empty(folder string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return os.RemoveAll(filepath.Join(d.path(), folder))
}

// Folders returns those of the disk whose names match.
func (d *Disk) Folders(pattern string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	found, err := filepath.Glob(filepath.Join(d.path(), pattern))
	if err != nil {
		panic(err)
	}
	for i := range found {
		found[i] = filepath.Base(found[i])
	}
	return found
}

// Cuts returns what power cuts have left so far.
func (d *Disk) Cuts() Cuts {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cuts
}

func (d *Disk) path() string { return filepath.Join(d.root, fmt.Sprint(d.mount)) }

// Fill makes the disk full, or empties it again.
func (d *Disk) Fill(full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = full
}

// Arm lets the disk die at the given one of the next steps: what the next process will find is settled then, and to the one that uses it
// every step fails. The channel is closed then.
func (d *Disk) Arm(steps int) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.steps, d.died = max(steps, 1), make(chan struct{})
	return d.died
}

// synced are the steps after which storage relies on a file.
var synced = map[string]bool{"flush.commit": true, "append.commit": true, "delete.slice": true, "value.commit": true}

// writes are the steps that need room.
var writes = map[string]bool{"flush.rows": true, "append.begin": true, "value.begin": true, "receive.write": true}

// hook watches one process's files.
func (d *Disk) hook(next func(storage.Point) error) func(storage.Point) error {
	d.mu.Lock()
	mount := d.mount
	d.mu.Unlock()
	return func(p storage.Point) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		switch {
		case mount == d.mount-1 && d.died != nil && !d.dead:
			return errFull // Raft waits out a full disk, and ends the process for any other reason
		case mount != d.mount || d.dead:
			return nil // what a crashed process still writes is lost
		}
		if d.full && writes[p.Step] {
			return errFull
		}
		if _, known := d.files[d.name(p.Path)]; !known && strings.HasSuffix(p.Step, ".begin") {
			d.remember(p.Path) // files are made, or were there when the process began
		}
		if d.died != nil && (synced[p.Step] || writes[p.Step]) {
			if d.steps--; d.steps == 0 {
				d.cuts.Armed++
				d.cut(p)
				close(d.died)
				return errFull
			}
		}
		if synced[p.Step] {
			d.remember(p.Path)
		}
		if next != nil {
			return next(p)
		}
		return nil
	}
}

// name returns the path of a file below the mount.
func (d *Disk) name(path string) string {
	name, err := filepath.Rel(d.path(), path)
	if err != nil {
		panic(err)
	}
	return name
}

// remember keeps what a file holds. The caller holds mu.
func (d *Disk) remember(path string) {
	b, err := os.ReadFile(path)
	info, statErr := os.Stat(path)
	if err == nil && statErr == nil {
		d.files[d.name(path)] = image{info, b}
	}
}

// Crash leaves what a power cut leaves, in a folder of its own for the next process. kill leaves all that was written, as kill -9 does.
func (d *Disk) Crash(kill bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
	select {
	case <-d.died: // it has died already
		return
	default:
	}
	d.died = nil
	if kill {
		clear(d.files)
	}
	d.cut(storage.Point{})
}

// cut makes the folder of the next process: what is in the old one, but of files that were changed since they were synced only what a
// power cut at a step leaves. The caller holds mu.
func (d *Disk) cut(at storage.Point) {
	from := d.path()
	lost, torn := d.cuts.Lost, d.cuts.Torn
	to := filepath.Join(d.root, fmt.Sprint(d.mount+1))
	err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return gone(err)
		}
		b, err := os.ReadFile(path)
		info, statErr := os.Stat(path)
		if err := errors.Join(err, statErr); err != nil {
			return gone(err)
		}
		name := d.name(path)
		if old, ok := d.files[name]; ok && os.SameFile(old.info, info) && !bytes.Equal(old.bytes, b) {
			b = d.torn(old.bytes, b, at.Path == path && synced[at.Step])
		}
		if err := os.MkdirAll(filepath.Join(to, filepath.Dir(name)), 0o700); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), b, 0o600)
	})
	if err != nil {
		panic(err)
	}
	d.cuts.Lost, d.cuts.Torn = min(d.cuts.Lost, lost+1), min(d.cuts.Torn, torn+1) // a cut counts once
	d.mount++
	clear(d.files) // what is there now, stays
}

// gone forgives that a process at work has removed a file.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// torn returns a file that was old when it was last synced and is now new. Headers are written when all other pages are synced: so there
// are the old ones with a part of the new pages; or, at the end of a transaction, all pages, and the header whole or broken.
func (d *Disk) torn(old, now []byte, committed bool) []byte {
	kind := 0
	if committed {
		kind = d.rng.IntN(4)
	}
	switch kind {
	case 1: // done: only nobody was told
		return now
	case 2: // one header is broken: the other is the old transaction's
		out := bytes.Clone(now)
		for at := 0; at < headers*pageBytes; at += pageBytes {
			if page := out[at : at+pageBytes]; !bytes.Equal(page, old[at:at+pageBytes]) {
				for i := d.rng.IntN(40); i < 80; i++ {
					page[i] ^= byte(1 + d.rng.IntN(255))
				}
				d.cuts.Torn++
				break
			}
		}
		d.cuts.Lost++
		return out
	case 3: // nothing was written
		d.cuts.Lost++
		return old
	}
	d.cuts.Lost++
	out, some := bytes.Clone(old), false
	out = append(out, make([]byte, max(0, len(now)-len(out)))...)
	for at := headers * pageBytes; at < len(now); at += pageBytes {
		end := min(at+pageBytes, len(now))
		if !bytes.Equal(out[at:end], now[at:end]) && d.rng.IntN(2) == 0 {
			copy(out[at:end], now[at:end])
			some = true
		}
	}
	if some {
		d.cuts.Torn++
	}
	return out
}
