package consensus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/hashicorp/raft"

	"ostraca/storage"
)

// stateAt is a state file that has applied entries 1 to last.
func stateAt(t *testing.T, last uint64) *register {
	t.Helper()
	store, err := storage.Open(t.TempDir(), storage.Options{NoSync: true, MmapBytes: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	r, err := openRegister(store)
	if err != nil {
		t.Fatal(err)
	}
	for i := uint64(1); i <= last; i++ {
		r.Apply([]Entry{{Index: i, Data: command(fmt.Sprint("k", i%5), fmt.Sprint(i))}})
	}
	return r
}

// TestReceive: what a received snapshot does to a replica, given what that holds already.
func TestReceive(t *testing.T) {
	for _, c := range []struct {
		name                   string
		log, applied, recorded uint64
		index, term            uint64
		replaced, kept         bool
	}{
		{"an empty replica", 0, 0, 0, 15, 1, true, false},
		{"a log that ends before", 10, 10, 0, 15, 1, true, false},
		{"a log that contradicts", 18, 10, 0, 15, 2, true, false},
		{"a log that goes on, applied", 20, 20, 0, 15, 1, false, true},
		{"a log that goes on, not applied", 20, 10, 0, 15, 1, true, true},
		{"a late one", 20, 20, 16, 15, 1, false, true},
		{"the state is ahead of the log", 10, 18, 0, 15, 1, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			source, r := stateAt(t, 20), stateAt(t, c.applied)
			if err := source.store.Sync(t.Context(), 20); err != nil {
				t.Fatal(err)
			}
			from, err := source.store.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			defer from.Close()
			l := newShelf(t, c.log)
			l.durable = r.store.Durable
			s := &snapshots{logs: l.logStore, store: r.store, ctx: t.Context()}
			if c.recorded > 0 {
				if err := s.cover(c.recorded); err != nil {
					t.Fatal(err)
				}
				l.snapshot(t, c.recorded, 1)
			}
			k, err := s.Create(1, c.index, c.term, raft.Configuration{}, 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := io.Copy(k, from); n != from.Size() || err != nil {
				t.Fatal(n, err)
			}
			if err := k.Close(); err != nil {
				t.Fatal(err)
			}
			meta, content, err := s.Open(k.ID())
			if err != nil || meta.Index != c.index {
				t.Fatal(meta, err)
			}
			m := machine{r, s}
			r.fail = errors.New("no memory")
			if err := m.Restore(content); (err != nil) != c.replaced {
				t.Errorf("a failing rebuild: %v", err)
			}
			if err := m.Restore(content); err != nil {
				t.Error(err)
			}
			want := map[bool]int{true: 2}[c.replaced]
			if r.restored != want {
				t.Errorf("rebuilt %d times, want %d", r.restored, want)
			}
			if p := r.store.Position(); p.Covered < c.index || p.Covered < c.applied {
				t.Errorf("%+v", p)
			}
			first, last := l.log.Bounds()
			if last > 0 { // what Raft does next
				if err := l.DeleteRange(first, last); errors.Is(err, ErrPurge) != c.kept || err != nil && !c.kept {
					t.Error(err)
				}
			}
			if m, _ := l.newest(); m.Index != max(c.index, c.recorded) {
				t.Errorf("recorded at %d", m.Index)
			}
			if err := l.reconcile(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSinkFailures: what does not arrive whole leaves nothing.
func TestSinkFailures(t *testing.T) {
	r := stateAt(t, 5)
	l := newShelf(t, 5)
	l.durable = r.store.Durable
	s := &snapshots{logs: l.logStore, store: r.store, ctx: t.Context()}
	create := func(index uint64) raft.SnapshotSink {
		k, err := s.Create(1, index, 1, raft.Configuration{}, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	k := create(9)
	if _, err := k.Write([]byte("rubbish")); err != nil {
		t.Fatal(err)
	}
	if err := k.Close(); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("rubbish: %v", err)
	}
	k = create(9)
	if _, err := k.Write([]byte("rub")); err != nil {
		t.Fatal(err)
	}
	if err := k.Cancel(); err != nil {
		t.Error(err)
	}
	if err := create(9).Close(); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("nothing: %v", err)
	}
	if list, err := s.List(); len(list) > 0 || err != nil {
		t.Error(list, err)
	}
	if _, _, err := s.Open("1-9"); err == nil {
		t.Error("a snapshot that is not there opens")
	}
	if err := (persister{}).Persist(create(5)); err != nil {
		t.Error(err)
	}
	if m, content, err := s.Open("1-5"); err != nil || m.Size == 0 {
		t.Error(m, err)
	} else if n, err := io.Copy(io.Discard, content); n != m.Size || err != nil {
		t.Errorf("%d bytes of %d, %v", n, m.Size, err)
	} else if err := content.Close(); err != nil {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	s.ctx = ended
	r.Apply([]Entry{{Index: 6, Data: command("k", "6")}})
	if err := (persister{}).Persist(create(6)); err == nil || !errors.Is(err, context.Canceled) {
		t.Log("flushed before the context ended:", err)
	}
}
