package storage

import (
	"bytes"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// TestSpacers: entries below, at and above the size that has spacers are appended, read, deleted from either end, and verified at every opening;
// a spacer that is missing, or one too many, is damage.
func TestSpacers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	sizes := []int{0, 1, spacedBytes - 1, spacedBytes, spacedBytes + 1, 20 << 10, 3, 1 << 20, 20 << 10, 20 << 10, 0, spacedBytes}
	data := func(index uint64) []byte { return bytes.Repeat([]byte{byte(index)}, sizes[int(index-1)%len(sizes)]) }
	check := func(first, last uint64) *Log {
		l, err := OpenLog(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if f, e := l.Bounds(); f != first || e != last {
			t.Fatalf("%d to %d, want %d to %d", f, e, first, last)
		}
		for i := first; i <= last && i > 0; i++ {
			if got, err := l.Get(i); err != nil || !bytes.Equal(got, data(i)) {
				t.Fatalf("entry %d: %d bytes, %v", i, len(got), err)
			}
		}
		return l
	}
	last, l := uint64(0), check(0, 0)
	for _, n := range []int{1, 5, 12, 3, 1, 1, 24} {
		var batch []Entry
		for range n {
			last++
			batch = append(batch, Entry{last, data(last)})
		}
		if err := l.Append(batch); err != nil {
			t.Fatal(err)
		}
	}
	for _, cut := range []struct{ min, max, first, last uint64 }{{1, 3, 4, 47}, {4, 9, 10, 47}, {46, 47, 10, 45}, {39, 45, 10, 38}, {1, 37, 38, 38}, {1, 99, 0, 0}} {
		if err := l.Delete(cut.min, cut.max); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = check(cut.first, cut.last)
	}
	if err := l.Append([]Entry{{7, data(6)}, {8, nil}}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*bolt.Bucket) error{
		"missing":  func(b *bolt.Bucket) error { return b.Delete(spacerKey(7, 2)) },
		"too many": func(b *bolt.Bucket) error { return b.Put(spacerKey(8, 0), nil) },
	} {
		tamper(t, path, change)
		if l, err := OpenLog(path, Options{}); err == nil {
			l.Close()
			t.Errorf("a spacer %s, and the log opens", what)
		}
		tamper(t, path, func(b *bolt.Bucket) error { // mended
			if what == "missing" {
				return b.Put(spacerKey(7, 2), nil)
			}
			return b.Delete(spacerKey(8, 0))
		})
	}
}

// tamper changes the entries' bucket behind the log's back.
func tamper(t *testing.T, path string, change func(*bolt.Bucket) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(func(tx *bolt.Tx) error { return change(tx.Bucket([]byte(entriesBucket))) }); err != nil {
		t.Fatal(err)
	}
}
