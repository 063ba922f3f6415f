package shard

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ostraca/consensus"
	"ostraca/retrieval"
	"ostraca/storage"
)

// places is a placement machine, fed command by command.
type places struct {
	t     testing.TB
	m     *placement
	dir   string
	index uint64
}

func newPlaces(t testing.TB) *places {
	t.Helper()
	p := &places{t: t, dir: t.TempDir()}
	p.open()
	t.Cleanup(func() { p.m.store.Abandon() })
	return p
}

func (p *places) open() {
	p.t.Helper()
	store, err := storage.Open(p.dir, storage.Options{NoSync: true, MmapBytes: 16 << 20})
	if err == nil {
		p.m, err = openPlacement(store)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// raw applies bytes.
func (p *places) raw(b []byte) error {
	p.index++
	err, _ := p.m.Apply([]consensus.Entry{{Index: p.index, Data: b}})[0].(error)
	return err
}

func (p *places) do(c placementCommand) error {
	p.t.Helper()
	b, err := json.Marshal(c)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.raw(b)
}

func (p *places) now() *Map { return p.m.current.Load() }

func (p *places) json() string {
	p.t.Helper()
	b, err := json.Marshal(p.now())
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}

func firstMap(shards int) *Map {
	return &Map{Born: birth, Voters: []string{"n0"}, Shards: slices.Repeat([]ShardPlace{{Generation: 5, Replicas: []string{"n0", "n1"}}}, shards)}
}

func startedPlaces(t testing.TB, shards int) *places {
	t.Helper()
	p := newPlaces(t)
	if err := p.do(placementCommand{First: firstMap(shards)}); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *places) begin(id, collection string, change Change, to Configuration) error {
	p.t.Helper()
	return p.do(placementCommand{Job: &Job{ID: id, Collection: collection, Change: change, To: to}})
}

func (p *places) step(id string, shard uint32, code Code, count uint64) {
	p.t.Helper()
	if err := p.do(placementCommand{Done: &jobStep{id, shard, code, count}}); err != nil {
		p.t.Fatal(err)
	}
}

func TestPlacementFirst(t *testing.T) {
	p := newPlaces(t)
	if err := p.begin("j", "papers", Create, testPapers); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("a change before the start: %v", err)
	}
	for _, n := range []int{0, MaxShards + 1} {
		if err := p.do(placementCommand{First: firstMap(n)}); !errors.Is(err, retrieval.ErrInvalid) {
			t.Fatalf("%d shards: %v", n, err)
		}
	}
	if p.now().Version != 0 {
		t.Fatal("a refused command changed the map")
	}
	if err := p.do(placementCommand{First: firstMap(2)}); err != nil || p.now().Version != p.index {
		t.Fatal(err, p.json())
	}
	if err := p.do(placementCommand{First: firstMap(3)}); !errors.Is(err, ErrExists) || len(p.now().Shards) != 2 {
		t.Fatalf("a second start: %v", err)
	}
	if got := p.now().identity(1); got != (Identity{1, 2, 5, birth}) {
		t.Fatal(got)
	}
	for range 2 {
		if err := p.do(placementCommand{Started: &startedNode{1, "n1"}}); err != nil {
			t.Fatal(err)
		}
	}
	if s := p.now().Shards; len(s[0].Started) != 0 || !slices.Equal(s[1].Started, []string{"n1"}) {
		t.Fatalf("%+v", s)
	}
	if err := p.do(placementCommand{Started: &startedNode{2, "n1"}}); !errors.Is(err, retrieval.ErrInvalid) {
		t.Fatal(err)
	}
}

func TestPlacementJobs(t *testing.T) {
	p := startedPlaces(t, 2)
	if err := p.begin("1", "papers", Create, testPapers); err != nil {
		t.Fatal(err)
	}
	if err := p.begin("1", "papers", Create, testPapers); err != nil || len(p.now().Jobs) != 1 {
		t.Fatalf("a retry: %v", err)
	}
	if err := p.begin("2", "papers", Create, testPapers); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("a second change beside the first: %v", err)
	}
	p.step("1", 0, OK, 1)
	p.step("1", 0, Exists, 9) // a retry
	p.step("1", 7, OK, 9)     // no such shard
	p.step("x", 1, OK, 9)     // no such job
	if j := p.now().Jobs; len(j) != 1 || !slices.Equal(j[0].Done, []bool{true, false}) || j[0].Code != OK || j[0].Count != 1 || len(p.now().Collections) != 0 {
		t.Fatal(p.json())
	}
	p.step("1", 1, OK, 2)
	if j, ok := p.now().finished("1"); !ok || j.Count != 3 || !p.now().Collections["papers"].Equal(testPapers) || len(p.now().Jobs) != 0 {
		t.Fatal(p.json())
	}
	p.step("1", 1, OK, 2)
	if err := p.begin("1", "papers", Create, testPapers); err != nil || len(p.now().Jobs) != 0 {
		t.Fatalf("a retry of what has ended: %v", err)
	}
	// The same collection once more, whatever key it drew, is there already.
	again := testPapers
	again.Key[5] = 9
	if err := p.do(placementCommand{Job: &Job{ID: "3", Collection: "papers", Change: Create, To: again, Drawn: true, Code: Exists, Count: 7}}); err != nil {
		t.Fatal(err)
	}
	if j, ok := p.now().finished("3"); !ok || j.Code != OK || j.Count != 0 || !p.now().Collections["papers"].Equal(testPapers) {
		t.Fatalf("%+v", j)
	}
	other := testPapers
	other.Width = 8
	if err := p.begin("4", "papers", Create, other); !errors.Is(err, ErrExists) {
		t.Fatal(err)
	}
	// A change: of the epoch, not of the codes, which no shard would take.
	if err := p.begin("5", "papers", Alter, other); !errors.Is(err, retrieval.ErrInvalid) || len(p.now().Jobs) != 0 {
		t.Fatalf("%v: %s", err, p.json())
	}
	next := testPapers
	next.Epoch = 2
	if err := p.begin("6", "papers", Alter, next); err != nil {
		t.Fatal(err)
	}
	p.step("6", 0, NotFound, 0)
	p.step("6", 1, OK, 0)
	if j, _ := p.now().finished("6"); j.Code != NotFound || !p.now().Collections["papers"].Equal(testPapers) {
		t.Fatal("a change that failed in a shard is shown")
	}
	if err := p.begin("7", "papers", Drop, Configuration{}); err != nil {
		t.Fatal(err)
	}
	p.step("7", 1, OK, 4)
	p.step("7", 0, OK, 5)
	if j, _ := p.now().finished("7"); j.Count != 9 || len(p.now().Collections) != 0 {
		t.Fatal(p.json())
	}
	if err := p.begin("8", "papers", Drop, Configuration{}); !errors.Is(err, retrieval.ErrNotFound) {
		t.Fatal(err)
	}
	for what, j := range map[string]Job{"name": {Collection: "A", Change: Create, To: testPapers}, "width": {Collection: "a", Change: Create}, "change": {Collection: "a", Change: 4, To: testPapers}, "no change": {Collection: "a", To: testPapers}} {
		if j.ID = "9"; !errors.Is(p.do(placementCommand{Job: &j}), retrieval.ErrInvalid) {
			t.Errorf("%s: a job that no shard would log has begun", what)
		}
	}
}

func TestPlacementLimits(t *testing.T) {
	p := startedPlaces(t, 1)
	for i := range maxJobs {
		if err := p.begin(fmt.Sprint(i), fmt.Sprint("c", i), Create, testPapers); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.begin("x", "x", Create, testPapers); !errors.Is(err, ErrExhausted) {
		t.Fatal(err)
	}
	n := 0
	for ; n < maxJobs; n++ {
		p.step(fmt.Sprint(n), 0, OK, 0)
	}
	for ; n < MaxCollections; n++ {
		if err := p.begin(fmt.Sprint(n), fmt.Sprint("c", n), Create, testPapers); err != nil {
			t.Fatal(n, err)
		}
		p.step(fmt.Sprint(n), 0, OK, 0)
	}
	if err := p.begin("x", "x", Create, testPapers); !errors.Is(err, ErrExhausted) {
		t.Fatal(err)
	}
	if err := p.begin("y", "c0", Create, testPapers); err != nil {
		t.Fatalf("what is there is no more: %v", err)
	}
	if got := p.now().Finished; len(got) != maxFinished || got[maxFinished-1].ID != "y" || got[0].ID != fmt.Sprint(MaxCollections-maxFinished+1) {
		t.Fatalf("%d have ended, from %q on", len(got), got[0].ID)
	}
}

// corruptPlacements are refused, by all alike.
var corruptPlacements = []string{``, `{`, `[]`, `{"x":1}`, `{"job":1}`, `{"first":{"born":"x"}}`, `{"done":{"shard":-1}}`, `{"started":{"shard":4294967296}}`, `{} {}`, `{}x`, `{"started":{"node":"n9"}} {}`}

func TestPlacementRefusesAlike(t *testing.T) {
	a, b := startedPlaces(t, 2), startedPlaces(t, 2)
	before := a.json()
	for _, c := range append(corruptPlacements, `{}`, `null`) {
		x, y := a.raw([]byte(c)), b.raw([]byte(c))
		if x == nil || y == nil || x.Error() != y.Error() || !errors.Is(x, retrieval.ErrCorrupt) && !errors.Is(x, retrieval.ErrInvalid) {
			t.Errorf("%s: %v, %v", c, x, y)
		}
	}
	if a.json() != before || b.json() != before || a.m.store.Position().Applied != a.index {
		t.Fatal(a.json())
	}
	if err := a.begin("1", "papers", Create, testPapers); err != nil {
		t.Fatalf("after corrupt commands: %v", err)
	}
}

// TestPlacementIsDeterministic: the same commands make the same map, entry by entry or at once, over crashes and replays.
func TestPlacementIsDeterministic(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var entries []consensus.Entry
		for range rapid.IntRange(1, 30).Draw(rt, "commands") {
			id := rapid.StringMatching(`[1-5]`).Draw(rt, "job")
			to := testPapers
			to.Epoch, to.Key[0] = rapid.Uint64Range(1, 2).Draw(rt, "epoch"), rapid.Byte().Draw(rt, "key")
			var c placementCommand
			switch rapid.IntRange(0, 7).Draw(rt, "command") {
			case 0, 1:
				c.First = firstMap(rapid.IntRange(1, 2).Draw(rt, "shards"))
			case 2:
				c.Started = &startedNode{rapid.Uint32Range(0, 2).Draw(rt, "shard"), rapid.SampledFrom([]string{"n0", "n1"}).Draw(rt, "node")}
			case 3, 4:
				c.Job = &Job{ID: id, Collection: rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "collection"), Change: Change(rapid.IntRange(1, 3).Draw(rt, "change")), To: to}
			default:
				c.Done = &jobStep{id, rapid.Uint32Range(0, 2).Draw(rt, "shard"), Code(rapid.SampledFrom([]int{0, 0, 1, 3}).Draw(rt, "code")), 1}
			}
			b, err := json.Marshal(c)
			if err != nil {
				rt.Fatal(err)
			}
			entries = append(entries, consensus.Entry{Index: uint64(2 * (len(entries) + 1)), Data: b})
		}
		one, all := newPlaces(t), newPlaces(t)
		defer one.m.store.Abandon()
		defer func() { all.m.store.Abandon() }()
		results := all.m.Apply(entries)
		for i, e := range entries {
			before := one.json()
			got := one.m.Apply([]consensus.Entry{e})[0]
			if fmt.Sprint(got) != fmt.Sprint(results[i]) {
				rt.Fatalf("command %d: %v, in one batch %v", i, got, results[i])
			}
			if m := one.now(); (got == nil) != (m.Version == e.Index) || got != nil && one.json() != before {
				rt.Fatalf("command %d, %v: version %d", i, got, m.Version)
			}
		}
		if one.json() != all.json() {
			rt.Fatalf("%s\n%s", one.json(), all.json())
		}
		m := one.now()
		for _, j := range m.Jobs {
			if !slices.Contains(j.Done, false) {
				rt.Fatalf("a job has ended and goes on: %+v", j)
			}
		}
		if err := all.m.store.Abandon(); err != nil {
			rt.Fatal(err)
		}
		all.open()
		if all.m.Apply(entries); all.json() != one.json() { // what the file has is skipped
			rt.Fatalf("after a crash:\n%s\n%s", all.json(), one.json())
		}
		copied := &Map{}
		if err := json.Unmarshal([]byte(all.json()), copied); err != nil || !reflect.DeepEqual(copied.Collections, m.Collections) {
			rt.Fatal(err)
		}
	})
}

// TestPlacementHalts: once its store fails, nothing more is applied.
func TestPlacementHalts(t *testing.T) {
	p := startedPlaces(t, 1)
	before := p.json()
	if err := p.m.store.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := p.begin("1", "papers", Create, testPapers); !errors.Is(err, errHalted) || !errors.Is(err, storage.ErrClosed) {
			t.Fatal(err)
		}
	}
	if p.json() != before {
		t.Fatal(p.json())
	}
}
