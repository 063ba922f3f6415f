package consensus

import (
	"bytes"
	"errors"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"

	"ostraca/storage"
)

// shelf is a log store over files, with a durable position that the test sets.
type shelf struct {
	*logStore
	log     *storage.Log
	covered uint64
}

func newShelf(t *testing.T, entries uint64) *shelf {
	t.Helper()
	log, err := storage.OpenLog(filepath.Join(t.TempDir(), "log"), storage.Options{NoSync: true, MmapBytes: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	s := &shelf{log: log}
	if s.logStore, err = openLogStore(log, func() (storage.Position, error) { return storage.Position{Covered: s.covered}, nil }); err != nil {
		t.Fatal(err)
	}
	s.append(t, 1, entries, 1)
	return s
}

func (s *shelf) append(t *testing.T, first, last, term uint64) {
	t.Helper()
	for i := first; i <= last; i++ {
		if err := s.StoreLog(&raft.Log{Index: i, Term: term, Type: raft.LogCommand, Data: []byte("data")}); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *shelf) snapshot(t *testing.T, index, term uint64) {
	t.Helper()
	if err := s.write(raft.SnapshotMeta{Index: index, Term: term}); err != nil {
		t.Fatal(err)
	}
}

func (s *shelf) bounds(t *testing.T, first, last uint64) {
	t.Helper()
	f, err1 := s.FirstIndex()
	l, err2 := s.LastIndex()
	if f != first || l != last || err1 != nil || err2 != nil {
		t.Errorf("the log goes from %d to %d, want %d to %d; %v, %v", f, l, first, last, err1, err2)
	}
}

func TestLogStore(t *testing.T) {
	s := newShelf(t, 0)
	s.bounds(t, 0, 0)
	in := []*raft.Log{
		{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: []byte("c")},
		{Index: 2, Term: 3, Type: raft.LogNoop, AppendedAt: time.Unix(5, 6)},
		{Index: 3, Term: 3, Type: raft.LogCommand, Data: bytes.Repeat([]byte("d"), 1<<20), Extensions: []byte("e"), AppendedAt: time.Unix(7, 8)},
	}
	if err := s.StoreLogs(in); err != nil {
		t.Fatal(err)
	}
	for _, want := range in {
		var l raft.Log
		if err := s.GetLog(want.Index, &l); err != nil || !l.AppendedAt.Equal(want.AppendedAt) {
			t.Fatal(err, l.AppendedAt)
		}
		l.AppendedAt = want.AppendedAt
		if l.Data == nil || len(l.Data) == 0 {
			l.Data = want.Data
		}
		if !reflect.DeepEqual(&l, want) {
			t.Errorf("%v, want %v", l, want)
		}
	}
	for i, want := range map[uint64]bool{1: false, 2: false, 3: true} {
		if got, err := s.isCommand(i); got != want || err != nil {
			t.Error(i, got, err)
		}
	}
	old, err := openLogStore(s.log, nil) // one that did not see them stored
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range map[uint64]bool{1: false, 2: false, 3: true} {
		if got, err := old.isCommand(i); got != want || err != nil {
			t.Error(i, got, err)
		}
	}
	var l raft.Log
	if err := s.GetLog(4, &l); err != raft.ErrLogNotFound {
		t.Error(err)
	}
	if _, err := s.Get([]byte("k")); err == nil || err.Error() != "not found" {
		t.Error(err)
	}
	if _, err := s.GetUint64([]byte("k")); err == nil || err.Error() != "not found" {
		t.Error(err)
	}
	if err := s.SetUint64([]byte("k"), 1<<40+5); err != nil {
		t.Error(err)
	}
	if v, err := s.GetUint64([]byte("k")); v != 1<<40+5 || err != nil {
		t.Error(v, err)
	}
	if err := s.Set([]byte("k"), []byte("short")); err != nil {
		t.Error(err)
	}
	if _, err := s.GetUint64([]byte("k")); !errors.Is(err, storage.ErrCorrupt) {
		t.Error(err)
	}
	if err := newShelf(t, 0).StoreLog(&raft.Log{Index: 5}); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("a log that begins at 5 without a snapshot: %v", err)
	}
}

// TestPurgeGuard: what may be deleted, given what the state file on the disk covers.
func TestPurgeGuard(t *testing.T) {
	for _, c := range []struct {
		name                      string
		snapshot, covered         uint64
		least, most, first, final uint64
		ok                        bool
	}{
		{"the front, covered", 10, 12, 1, 8, 9, 20, true},
		{"the front, to the snapshot", 10, 10, 1, 10, 11, 20, true},
		{"the front, not covered", 10, 9, 1, 8, 1, 20, false},
		{"beyond what is covered", 5, 9, 1, 10, 1, 20, false},
		{"without a snapshot, covered", 0, 9, 1, 9, 10, 20, true},
		{"without a snapshot, not covered", 0, 8, 1, 9, 1, 20, false},
		{"the back, of another leader", 10, 10, 15, 20, 1, 14, true},
		{"the back, not covered by anything", 0, 0, 15, 20, 1, 14, true},
		{"the back, into a snapshot that is not there", 18, 10, 15, 20, 1, 20, false},
		{"all, after a received snapshot", 30, 30, 1, 20, 0, 0, true},
		{"all, before it is taken over", 30, 10, 1, 20, 1, 20, false},
	} {
		s := newShelf(t, 20)
		if c.snapshot > 0 {
			s.snapshot(t, c.snapshot, 1)
		}
		s.covered = c.covered
		err := s.DeleteRange(c.least, c.most)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrPurge) {
			t.Errorf("%s: %v", c.name, err)
		}
		s.bounds(t, c.first, c.final)
	}
	s := newShelf(t, 20)
	broken := errors.New("broken disk")
	s.durable = func() (storage.Position, error) { return storage.Position{}, broken }
	if err := s.DeleteRange(1, 5); !errors.Is(err, broken) {
		t.Error(err)
	}
	s.bounds(t, 1, 20)
}

// TestGhosts: a snapshot replaced a log that went on beyond it, contradicting it. Raft goes on believing in the entries; it is
// led to overwrite them.
func TestGhosts(t *testing.T) {
	s := newShelf(t, 20)
	s.snapshot(t, 15, 3)
	s.covered = 15
	if err := s.DeleteRange(1, 20); err != nil {
		t.Fatal(err)
	}
	for i, want := range map[uint64]uint64{15: 3, 16: 0, 20: 0} {
		var l raft.Log
		if err := s.GetLog(i, &l); err != nil || l.Term != want || l.Index != i {
			t.Errorf("%d: %+v, %v", i, l, err)
		}
	}
	var l raft.Log
	for _, i := range []uint64{14, 21} {
		if err := s.GetLog(i, &l); err != raft.ErrLogNotFound {
			t.Errorf("%d: %v", i, err)
		}
	}
	if err := s.DeleteRange(16, 20); err != nil { // a new leader contradicts them
		t.Fatal(err)
	}
	s.append(t, 16, 17, 4)
	if err := s.GetLog(18, &l); err != raft.ErrLogNotFound {
		t.Error(err)
	}
	s.bounds(t, 16, 17)
}

// TestKeep: a snapshot of what the log has takes nothing from it, once.
func TestKeep(t *testing.T) {
	s := newShelf(t, 20)
	s.snapshot(t, 15, 1)
	s.covered = 15
	s.keepOnce()
	if err := s.DeleteRange(1, 10); err != nil { // the front is another matter
		t.Error(err)
	}
	if err := s.DeleteRange(11, 20); !errors.Is(err, ErrPurge) {
		t.Error(err)
	}
	s.bounds(t, 11, 20)
	if err := s.DeleteRange(11, 20); err != nil {
		t.Error(err)
	}
	s.keepOnce() // nothing to keep
	s.append(t, 16, 17, 4)
	s.covered = 17
	if err := s.DeleteRange(16, 17); err != nil {
		t.Error(err)
	}
}

// TestReconcile: after a crash, log and snapshot become one history again, or are refused.
func TestReconcile(t *testing.T) {
	for _, c := range []struct {
		name                string
		purged, index, term uint64
		first, last         uint64
		corrupt             bool
		covered             uint64
	}{
		{"no snapshot", 0, 0, 0, 1, 20, false, 0},
		{"within the log", 0, 15, 1, 1, 20, false, 15},
		{"at its end", 0, 20, 1, 1, 20, false, 20},
		{"before its begin", 10, 10, 1, 11, 20, false, 12},
		{"far beyond it", 0, 30, 2, 0, 0, false, 30},
		{"contradicting it", 0, 15, 2, 0, 0, false, 15},
		{"a hole between", 10, 9, 1, 11, 20, true, 12},
	} {
		s := newShelf(t, 20)
		s.covered = c.covered
		if c.purged > 0 {
			if err := s.DeleteRange(1, c.purged); err != nil {
				t.Fatal(err)
			}
		}
		if c.index > 0 {
			s.snapshot(t, c.index, c.term)
		}
		if err := s.reconcile(); (err != nil) != c.corrupt || err != nil && !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("%s: %v", c.name, err)
		}
		s.bounds(t, c.first, c.last)
	}
}

// TestSnapshotRecord: the newest record is found again and is never replaced by an older one.
func TestSnapshotRecord(t *testing.T) {
	s := newShelf(t, 20)
	want := raft.SnapshotMeta{
		Version: 1, ID: "4-15", Index: 15, Term: 4, ConfigurationIndex: 3, Size: 99,
		Configuration: raft.Configuration{Servers: []raft.Server{{ID: "a", Address: "b"}, {Suffrage: raft.Nonvoter, ID: "c", Address: "d"}}},
	}
	if err := s.write(want); err != nil {
		t.Fatal(err)
	}
	s.snapshot(t, 14, 9)
	again, err := openLogStore(s.log, nil)
	if err != nil {
		t.Fatal(err)
	}
	if m, ok := again.newest(); !ok || !reflect.DeepEqual(m, want) {
		t.Errorf("%+v", m)
	}
	if err := s.log.Set(snapshotValue, []byte{9, 9}); err != nil {
		t.Fatal(err)
	}
	if _, err := openLogStore(s.log, nil); !errors.Is(err, storage.ErrCorrupt) {
		t.Error(err)
	}
}

func TestLogRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bytesOrNil := rapid.Custom(func(t *rapid.T) []byte {
			if b := rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"); len(b) > 0 {
				return b
			}
			return nil
		})
		in := raft.Log{
			Index: rapid.Uint64().Draw(t, "index"), Term: rapid.Uint64().Draw(t, "term"), Type: raft.LogType(rapid.IntRange(0, 5).Draw(t, "type")),
			Extensions: bytesOrNil.Draw(t, "extensions"), Data: bytesOrNil.Draw(t, "data"),
		}
		if at := rapid.Int64().Draw(t, "at"); at != 0 {
			in.AppendedAt = time.Unix(0, at)
		}
		var out raft.Log
		if err := decodeLog(in.Index, encodeLog(&in), &out); err != nil {
			t.Fatal(err)
		}
		if len(out.Data) == 0 {
			out.Data = nil
		}
		if !reflect.DeepEqual(in, out) {
			t.Fatalf("%+v, %+v", in, out)
		}
		if err := decodeLog(in.Index+1, encodeLog(&in), &out); !errors.Is(err, storage.ErrCorrupt) {
			t.Fatal(err)
		}
	})
}

func FuzzLog(f *testing.F) {
	f.Add(uint64(7), encodeLog(&raft.Log{Index: 7, Term: 3, Type: raft.LogCommand, Data: []byte("d"), Extensions: []byte("e"), AppendedAt: time.Unix(1, 2)}))
	f.Add(uint64(1), []byte{logFormat, 0, 1, 1, 0, 0})
	f.Add(uint64(1), []byte{2, 0, 1, 1, 0, 0})
	f.Fuzz(func(t *testing.T, index uint64, b []byte) {
		var l raft.Log
		if err := decodeLog(index, b, &l); err != nil {
			if !errors.Is(err, storage.ErrCorrupt) {
				t.Error(err)
			}
			return
		}
		var again raft.Log
		if err := decodeLog(index, encodeLog(&l), &again); err != nil || !reflect.DeepEqual(l, again) {
			t.Errorf("%+v, %+v, %v", l, again, err)
		}
	})
}

func FuzzSnapshotRecord(f *testing.F) {
	f.Add(encodeSnapshot(raft.SnapshotMeta{Index: 1, Term: 2, Size: 3, Configuration: raft.Configuration{Servers: []raft.Server{{ID: "a", Address: "a"}}}}))
	f.Add([]byte{snapshotFormat, 1, 1, 1, 1, 255, 255, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeSnapshot(b)
		if err != nil {
			if !errors.Is(err, storage.ErrCorrupt) {
				t.Error(err)
			}
			return
		}
		if again, err := decodeSnapshot(encodeSnapshot(m)); err != nil || !reflect.DeepEqual(m, again) {
			t.Errorf("%+v, %+v, %v", m, again, err)
		}
	})
}
