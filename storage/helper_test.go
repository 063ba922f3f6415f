package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var bg = context.Background()

// quick options: no syncing, small address space.
func quickly() Options { return Options{NoSync: true, MmapBytes: 64 << 20} }

func open(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Abandon() })
	return s
}

func ok(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// is checks that err is the wanted one.
func is(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func keyOf(b Bucket) Key { return Key(newHasher(Key{1}, b).sum(nil, nil)) }

// put commits rows "bucket key" -> value at a position, creating buckets.
func put(t testing.TB, s *Store, at uint64, b Bucket, pairs ...string) {
	t.Helper()
	tx, err := s.Begin(bg)
	ok(t, err)
	ok(t, tx.Create(b, keyOf(b)))
	for i := 0; i < len(pairs); i += 2 {
		ok(t, tx.Put(b, []byte(pairs[i]), []byte(pairs[i+1])))
	}
	ok(t, tx.Commit(Position{at, at}))
}

// model is a state written down the dumbest way.
type model struct {
	position Position
	buckets  map[Bucket]map[string]string
}

func newModel() model { return model{buckets: map[Bucket]map[string]string{}} }

func (m model) clone() model {
	out := model{m.position, map[Bucket]map[string]string{}}
	for b, rows := range m.buckets {
		out.buckets[b] = maps.Clone(rows)
	}
	return out
}

// stat sums the hashes of a bucket anew.
func (m model) stat(b Bucket) (out Stat) {
	for k, v := range m.buckets[b] {
		out.Digest = out.Digest.Add(newHasher(keyOf(b), b).sum([]byte(k), []byte(v)))
		out.Rows++
		out.Bytes += uint64(len(k) + len(v))
	}
	return out
}

// differs compares all that a view tells with m.
func (m model) differs(v *View) error {
	paths := slices.Sorted(maps.Keys(m.buckets))
	if got := v.Buckets(""); !slices.Equal(got, paths) {
		return fmt.Errorf("buckets %v, want %v", got, paths)
	}
	var all Digest
	for _, b := range paths {
		rows := m.buckets[b]
		keys := slices.Sorted(maps.Keys(rows))
		var got []string
		for k, value := range v.Scan(b, nil) {
			got = append(got, string(k))
			if rows[string(k)] != string(value) {
				return fmt.Errorf("%s: scan of %q: %d bytes, want %d", b, k, len(value), len(rows[string(k)]))
			}
		}
		if v.Err() != nil || !slices.Equal(got, keys) {
			return fmt.Errorf("%s: scan %q, want %q: %v", b, got, keys, v.Err())
		}
		for _, k := range keys {
			if value, err := v.Get(b, []byte(k)); err != nil || string(value) != rows[k] {
				return fmt.Errorf("%s: get %q: %d bytes, %v", b, k, len(value), err)
			}
		}
		if _, err := v.Get(b, []byte("absent")); !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("%s: absent row: %v", b, err)
		}
		want := m.stat(b)
		if v.Stat(b) != want {
			return fmt.Errorf("%s: %v, want %v", b, v.Stat(b), want)
		}
		all = all.Add(want.Digest)
	}
	if v.StateDigest() != all {
		return fmt.Errorf("state digest %v, want %v", v.StateDigest(), all)
	}
	return nil
}

// same checks the store against m, position included.
func (m model) same(t testing.TB, s *Store) {
	t.Helper()
	v, err := s.View()
	ok(t, err)
	err = m.differs(v)
	if v.Position() != m.position {
		err = errors.Join(err, fmt.Errorf("position %v, want %v", v.Position(), m.position))
	}
	ok(t, err, v.Close(), counted(s.now.Load()))
}

// counted checks the bytes of the overlay against a count of all that is in it.
func counted(p *published) error {
	layers := []*layer{p.active}
	if p.flushing != nil {
		layers = append(layers, p.flushing.layer)
	}
	n := 0
	for _, l := range layers {
		if l == nil {
			continue
		}
		for _, d := range l.deltas {
			d.rows.Ascend(func(w row) bool {
				n += rowCost + len(w.key) + len(w.value)
				return true
			})
		}
	}
	if n != p.bytes() {
		return fmt.Errorf("overlay of %d bytes, counted as %d", n, p.bytes())
	}
	return nil
}

// history makes random commits and remembers the state after each.
type history struct {
	r      *rand.Rand
	states []model // states[i].position.Applied == i
}

func newHistory(seed uint64) *history {
	return &history{rand.New(rand.NewPCG(seed, 1)), []model{newModel()}}
}

func (h *history) last() model { return h.states[len(h.states)-1] }

var someBuckets = []Bucket{"data/a/documents", "data/b/documents", "versions/a", "collections", "system"}

// commit changes some rows in one transaction.
func (h *history) commit(t testing.TB, s *Store) {
	t.Helper()
	m := h.last().clone()
	tx, err := s.Begin(bg)
	ok(t, err)
	for range 1 + h.r.IntN(8) {
		b := someBuckets[h.r.IntN(len(someBuckets))]
		if h.r.IntN(12) == 0 {
			prefix := Bucket(strings.Split(string(b), "/d")[0])
			tx.Drop(prefix)
			maps.DeleteFunc(m.buckets, func(b Bucket, _ map[string]string) bool { return b.within(prefix) })
			continue
		}
		ok(t, tx.Create(b, keyOf(b)))
		if m.buckets[b] == nil {
			m.buckets[b] = map[string]string{}
		}
		k := fmt.Sprintf("k%02d", h.r.IntN(30))
		if h.r.IntN(4) == 0 {
			ok(t, tx.Delete(b, []byte(k)))
			delete(m.buckets[b], k)
			continue
		}
		value := strings.Repeat(string(rune('a'+h.r.IntN(26))), h.r.IntN(3000))
		ok(t, tx.Put(b, []byte(k), []byte(value)))
		m.buckets[b][k] = value
	}
	m.position = Position{uint64(len(h.states)), uint64(len(h.states))}
	ok(t, tx.Commit(m.position))
	h.states = append(h.states, m)
}

// copyDir copies the files of a folder, as a crash at this moment would leave them.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	entries, err := os.ReadDir(from)
	ok(t, err)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(from, e.Name()))
		ok(t, err, os.WriteFile(filepath.Join(to, e.Name()), b, 0o600))
	}
	return to
}

// transfer sends a snapshot of one store to another, up to the rename to state.new.
func transfer(t testing.TB, from, to *Store) Position {
	t.Helper()
	n, err := from.Snapshot()
	ok(t, err)
	r, err := to.Receive()
	ok(t, err)
	c, err := io.Copy(r, n)
	ok(t, err, r.Commit(), n.Close())
	if c != n.Size() {
		t.Fatalf("%d bytes streamed, Size says %d", c, n.Size())
	}
	return n.Position()
}

// eventually waits for what another goroutine does soon.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for range 2000 {
		if done() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

// digits is n bytes that do not repeat.
func digits(n int) string {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprint(&b, i)
	}
	return b.String()[:n]
}
