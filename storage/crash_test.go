package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// image is what a crash left, and what it may not have lost.
type crash struct {
	dir     string
	step    string
	durable Position
}

// check opens a crashed folder: it must hold one of the published states, and none before what was durable.
func (c crash) check(t *testing.T, h *history) {
	t.Helper()
	s, err := Open(c.dir, quickly())
	if err != nil {
		t.Errorf("after %s: %v", c.step, err)
		return
	}
	defer s.Abandon()
	at := s.Position().Applied
	if at < c.durable.Applied || at >= uint64(len(h.states)) {
		t.Errorf("after %s: at %d, durable was %d", c.step, at, c.durable.Applied)
		return
	}
	h.states[at].same(t, s)
}

// TestCrash copies the folder at every step, opens every copy, and tears the pages between neighbouring copies.
func TestCrash(t *testing.T) {
	dir, donorDir := t.TempDir(), t.TempDir()
	var mu sync.Mutex
	var crashes []crash
	durable := Position{}
	o := quickly()
	o.FlushEvery = time.Hour
	o.Hook = func(p Point) error {
		mu.Lock()
		defer mu.Unlock()
		crashes = append(crashes, crash{copyDir(t, dir), p.Step, durable})
		return nil
	}
	quiet := quickly()
	s, donor := open(t, dir, o), open(t, donorDir, quiet)
	h := newHistory(5)
	for i := range 40 {
		h.commit(t, donor)
		replay(t, s, h.last())
		if i%4 == 3 {
			ok(t, s.Sync(bg, s.Position().Covered))
			p, err := s.Durable()
			ok(t, err)
			mu.Lock()
			durable = p
			mu.Unlock()
		}
		if i%15 == 14 {
			ok(t, donor.Sync(bg, donor.Position().Covered))
			transfer(t, donor, s)
			ok(t, s.Adopt())
			durable = s.Position()
		}
	}
	ok(t, s.Close())
	steps := map[string]int{}
	r := rand.New(rand.NewPCG(6, 6))
	for i, c := range crashes {
		steps[c.step]++
		c.check(t, h)
		if c.step == "flush.commit" {
			for range 6 {
				tear(t, r, crashes[i-1], c).check(t, h)
			}
		}
	}
	for _, step := range []string{"flush.begin", "flush.rows", "flush.commit", "receive.write", "receive.sync", "receive.rename", "receive.done", "adopt.rename", "adopt.done"} {
		if steps[step] == 0 {
			t.Errorf("no crash at %s", step)
		}
	}
}

// tear makes what a crash inside a commit leaves: some of the new pages, and the old header pages or one torn.
func tear(t *testing.T, r *rand.Rand, before, after crash) crash {
	a, err := os.ReadFile(filepath.Join(before.dir, stateName))
	ok(t, err)
	b, err := os.ReadFile(filepath.Join(after.dir, stateName))
	ok(t, err)
	const size = 4096
	size64 := os.Getpagesize()
	if size64 != size {
		t.Skip("pages of another size")
	}
	torn := bytes.Clone(a)
	torn = append(torn, make([]byte, max(0, len(b)-len(a)))...)
	all := r.IntN(2) == 0
	for at := 2 * size; at < len(b); at += size {
		if all || r.IntN(2) == 0 {
			copy(torn[at:], b[at:at+size])
		}
	}
	if all {
		for at := 0; at < 2*size; at += size {
			copy(torn[at:], b[at:at+headerSize+8*r.IntN((metaSize+8)/8+1)])
		}
	}
	dir := t.TempDir()
	ok(t, os.WriteFile(filepath.Join(dir, stateName), torn, 0o600))
	return crash{dir, "torn " + after.step, before.durable}
}

// smallState is the folder of a state of a few pages, with its model.
func smallState(t testing.TB) (string, model) {
	dir := t.TempDir()
	s, err := Open(dir, quickly())
	ok(t, err)
	h := newHistory(9)
	for range 6 {
		h.commit(t, s)
		ok(t, s.Sync(bg, s.Position().Covered))
	}
	put(t, s, 7, "data/big/documents", "big", digits(20000), "small", "s")
	m := h.last().clone()
	m.position = Position{7, 7}
	m.buckets["data/big/documents"] = map[string]string{"big": digits(20000), "small": "s"}
	ok(t, s.Close())
	return dir, m
}

// smallLog is the path of a log of a few pages, with its entries.
func smallLog(t testing.TB) (string, []Entry) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := OpenLog(path, quickly())
	ok(t, err)
	for i := uint64(1); i < 60; i += 3 {
		ok(t, l.Append(entries(i, i+2, 1, 200)), l.Set("term", fmt.Append(nil, i)), l.Set("vote", []byte("me")))
	}
	ok(t, l.Delete(1, 8), l.Append(entries(61, 61, 1, 9000)), l.Close())
	return path, append(entries(9, 60, 1, 200), entries(61, 61, 1, 9000)...)
}

// damage calls try with every kind of damage to b: all lengths of a page's step, and flips everywhere, denser where the
// headers are.
func damage(b []byte, try func(what string, b []byte)) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		n := r.IntN(len(b))
		try(fmt.Sprintf("cut to %d", n), b[:n:n])
	}
	flip := func(at, bit int) {
		c := bytes.Clone(b)
		c[at] ^= 1 << bit
		try(fmt.Sprintf("bit %d of byte %d", bit, at), c)
	}
	for page := 0; page+4096 <= len(b); page += 4096 {
		for bit := range 16 { // flags and the low byte of the count
			flip(page+8+2*(bit/8), bit%8)
		}
		for range 8 {
			flip(page+r.IntN(128), r.IntN(8))
		}
		for range 8 {
			flip(page+r.IntN(4096), r.IntN(8))
		}
	}
	for i := range 2 * (headerSize + metaSize + 8) { // both header pages, byte by byte
		flip(i%(headerSize+metaSize+8)+4096*(i/(headerSize+metaSize+8)), r.IntN(8))
	}
	for range 100 { // several bytes at once
		c := bytes.Clone(b)
		at := 8192 + r.IntN(len(b)-8192)
		for i := range min(1+r.IntN(40), len(b)-at) {
			c[at+i] = byte(r.Uint32())
		}
		try(fmt.Sprintf("junk from %d", at), c)
	}
}

// TestDamagedState: whatever is cut off or flipped, a state opens with exactly its contents, or is refused.
func TestDamagedState(t *testing.T) {
	from, m := smallState(t)
	whole, err := os.ReadFile(filepath.Join(from, stateName))
	ok(t, err)
	dir := t.TempDir()
	refused, opened := 0, 0
	damage(used(t, whole), func(what string, b []byte) {
		ok(t, os.WriteFile(filepath.Join(dir, stateName), b, 0o600))
		if len(b) == 0 {
			return
		}
		s, err := Open(dir, quickly())
		if err != nil {
			if refused++; !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: %v", what, err)
			}
			return
		}
		opened++
		v, err := s.View()
		ok(t, err)
		if err := m.differs(v); err != nil || s.Position() != m.position {
			t.Errorf("%s: %v, %v", what, s.Position(), err)
		}
		ok(t, v.Close())
		put(t, s, 8, "system", "k", "after")
		if err := s.Close(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	})
	t.Logf("%d refused, %d opened whole", refused, opened)
}

// used cuts a file to the pages that its header counts.
func used(t *testing.T, b []byte) []byte {
	m, err := readImage(bytes.NewReader(b), int64(len(b)))
	ok(t, err)
	return b[:m.pages*m.pageSize]
}

// TestDamagedLog is the same for a log.
func TestDamagedLog(t *testing.T) {
	from, want := smallLog(t)
	whole, err := os.ReadFile(from)
	ok(t, err)
	path := filepath.Join(t.TempDir(), "log")
	refused, opened := 0, 0
	damage(used(t, whole), func(what string, b []byte) {
		ok(t, os.WriteFile(path, b, 0o600))
		if len(b) == 0 {
			return
		}
		l, err := OpenLog(path, quickly())
		if err != nil {
			if refused++; !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: %v", what, err)
			}
			return
		}
		opened++
		term, err := l.Value("term")
		if err := errors.Join(err, holds(l, want)); err != nil || string(term) != "58" {
			t.Errorf("%s: %q, %v", what, term, err)
		}
		ok(t, l.Append(entries(62, 62, 1, 1)), l.Close())
	})
	t.Logf("%d refused, %d opened whole", refused, opened)
}

// TestLater: damage that comes after opening is found at the read.
func TestLater(t *testing.T) {
	dir, _ := smallState(t)
	s := open(t, dir, quickly())
	path := filepath.Join(dir, stateName)
	b, err := os.ReadFile(path)
	ok(t, err)
	at := bytes.LastIndex(b, []byte(digits(20000))) + 9000
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	ok(t, err)
	_, err = f.WriteAt([]byte("x"), int64(at))
	ok(t, err, f.Close())
	v, err := s.View()
	ok(t, err)
	defer v.Close()
	_, err = v.Get("data/big/documents", []byte("big"))
	is(t, err, ErrCorrupt)
	for range v.Scan("data/big/documents", nil) {
		t.Error("a corrupt row was scanned")
	}
	is(t, v.Err(), ErrCorrupt)
	tx, err := s.Begin(context.Background())
	ok(t, err)
	is(t, tx.Put("data/big/documents", []byte("big"), nil), ErrCorrupt)
	tx.Abort()
}

// edit changes a file with bbolt alone, behind the back of storage.
func edit(t *testing.T, path string, do func(tx *bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, boltOptions(quickly(), 0))
	ok(t, err)
	ok(t, db.Update(do), db.Close())
}

// TestMissing: what is gone, or too much, without any page being damaged.
func TestMissing(t *testing.T) {
	meta, big := []byte(metaBucket), Bucket("data/big/documents")
	for what, do := range map[string]func(tx *bolt.Tx) error{
		"a row":         func(tx *bolt.Tx) error { return nested(tx, big).Delete([]byte("small")) },
		"all rows":      func(tx *bolt.Tx) error { return drop(tx, big) },
		"a record":      func(tx *bolt.Tx) error { return tx.Bucket(meta).Delete([]byte(recordPrefix + string(big))) },
		"the position":  func(tx *bolt.Tx) error { return tx.Bucket(meta).Delete([]byte(positionName)) },
		"the format":    func(tx *bolt.Tx) error { return tx.Bucket(meta).Delete([]byte(formatName)) },
		"meta":          func(tx *bolt.Tx) error { return tx.DeleteBucket(meta) },
		"a copied row":  func(tx *bolt.Tx) error { b := nested(tx, big); return b.Put([]byte("other"), b.Get([]byte("small"))) },
		"a short row":   func(tx *bolt.Tx) error { return nested(tx, big).Put([]byte("other"), []byte("short")) },
		"a bucket more": func(tx *bolt.Tx) error { _, err := nested(tx, big).CreateBucket([]byte("more")); return err },
	} {
		dir, _ := smallState(t)
		edit(t, filepath.Join(dir, stateName), do)
		if _, err := Open(dir, quickly()); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	entries, values := []byte(entriesBucket), []byte(valuesBucket)
	for what, do := range map[string]func(tx *bolt.Tx) error{
		"the first entry": func(tx *bolt.Tx) error { return tx.Bucket(entries).Delete(indexKey(9)) },
		"an entry":        func(tx *bolt.Tx) error { return tx.Bucket(entries).Delete(indexKey(30)) },
		"the last entry":  func(tx *bolt.Tx) error { return tx.Bucket(entries).Delete(indexKey(61)) },
		"an entry more":   func(tx *bolt.Tx) error { return tx.Bucket(entries).Put(indexKey(62), seal(indexKey(62), nil)) },
		"a moved entry":   func(tx *bolt.Tx) error { b := tx.Bucket(entries); return b.Put(indexKey(30), b.Get(indexKey(31))) },
		"a value":         func(tx *bolt.Tx) error { return tx.Bucket(values).Delete([]byte("vote")) },
		"the bounds":      func(tx *bolt.Tx) error { return tx.Bucket(values).Delete([]byte(boundsName)) },
		"all entries":     func(tx *bolt.Tx) error { return tx.DeleteBucket(entries) },
	} {
		path, _ := smallLog(t)
		edit(t, path, do)
		if _, err := OpenLog(path, quickly()); !errors.Is(err, ErrCorrupt) {
			t.Errorf("log, %s: %v", what, err)
		}
	}
}

// TestFormat: the files of a newer program are refused by name, not called corrupt.
func TestFormat(t *testing.T) {
	dir, _ := smallState(t)
	path, _ := smallLog(t)
	for name, bucket := range map[string]string{filepath.Join(dir, stateName): metaBucket, path: valuesBucket} {
		edit(t, name, func(tx *bolt.Tx) error {
			format := []byte(formatName)
			return tx.Bucket([]byte(bucket)).Put(format, seal(format, []byte{0, 0, 0, 2}))
		})
	}
	_, err := Open(dir, quickly())
	is(t, err, ErrFormat)
	_, err = OpenLog(path, quickly())
	is(t, err, ErrFormat)
}

func fuzz(f *testing.F, whole []byte, open func(t *testing.T, dir string, b []byte)) {
	f.Add(uint32(0), uint32(8), []byte{1})
	f.Add(uint32(4096*3), uint32(0), []byte{0xff, 0xff})
	for at := 0; at < len(whole); at += 4096 {
		f.Add(uint32(at+8), uint32(2), []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
		f.Add(uint32(at+16), uint32(3), []byte{0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0x80})
	}
	f.Fuzz(func(t *testing.T, at, cut uint32, junk []byte) {
		b := bytes.Clone(whole)
		if cut%16 == 0 {
			b = b[:int(cut/16)%len(b)]
		}
		for i, c := range junk {
			if i += int(at) % len(whole); i < len(b) {
				b[i] ^= c
			}
		}
		if cut%3 == 0 { // a valid header page over whatever it says
			remake(b)
		}
		open(t, t.TempDir(), b)
	})
}

// remake makes the checksums of both header pages right.
func remake(b []byte) {
	for at := headerSize; at < 8192 && at+metaSize+8 <= len(b); at += 4096 {
		sum := metaSum(b[at:])
		for i := range 8 {
			b[at+metaSize+i] = byte(sum >> (8 * i))
		}
	}
}

// FuzzOpenState: no bytes make opening or reading a state panic or fault.
func FuzzOpenState(f *testing.F) {
	dir, _ := smallState(f)
	whole, err := os.ReadFile(filepath.Join(dir, stateName))
	ok(f, err)
	fuzz(f, whole, func(t *testing.T, dir string, b []byte) {
		ok(t, os.WriteFile(filepath.Join(dir, stateName), b, 0o600))
		s, err := Open(dir, quickly())
		if err != nil {
			return
		}
		v, err := s.View()
		ok(t, err)
		for _, b := range v.Buckets("") {
			for range v.Scan(b, nil) {
			}
		}
		ok(t, v.Err(), v.Close())
		put(t, s, s.Position().Applied, "fresh", "k", "v")
		ok(t, s.Close())
	})
}

// FuzzOpenLog is the same for a log.
func FuzzOpenLog(f *testing.F) {
	path, _ := smallLog(f)
	whole, err := os.ReadFile(path)
	ok(f, err)
	fuzz(f, whole, func(t *testing.T, dir string, b []byte) {
		path := filepath.Join(dir, "log")
		ok(t, os.WriteFile(path, b, 0o600))
		l, err := OpenLog(path, quickly())
		if err != nil {
			return
		}
		first, last := l.Bounds()
		for i := first; i <= last && i > 0; i++ {
			_, err := l.Get(i)
			ok(t, err)
		}
		ok(t, l.Append(entries(last+1, last+1, 1, 1)), l.Set("term", nil), l.Close())
	})
}
