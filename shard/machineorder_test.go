package shard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ostraca/consensus"
	"ostraca/retrieval"
	"ostraca/retrieval/index"
	"ostraca/storage"
)

func TestMachineRetries(t *testing.T) {
	r := newRig(t)
	r.do(r.op("papers", create(testPapers)))
	put := r.op("papers", putOf("a", 1, 1))
	first := r.expect(OK, put)
	absent := r.op("papers", putOf("a", 2, 1).when(Condition{Kind: IfAbsent}))
	stood := r.expect(Exists, absent)
	forget := r.op("papers", &Forget{IDs: []string{"a"}})
	r.expect(OK, forget)
	for _, c := range []struct {
		o    Operation
		want Outcome
	}{{put, first}, {absent, stood}, {forget, Outcome{Count: 1}}} {
		if got := r.do(c.o, c.o); got[0] != c.want || got[1] != c.want {
			t.Fatalf("%+v, not %+v", got, c.want)
		}
	}
	if r.collections["papers"].index.Len() != 0 {
		t.Fatal("a retry brought back what was forgotten")
	}
	twice := r.op("papers", putOf("b", 3, 1))
	if out := r.do(twice, twice); out[0] != out[1] || out[0].Version != r.index<<16 {
		t.Fatalf("%+v", out)
	}
	early := r.op("papers", putOf("c", 4, 1))
	early.Body.(*Put).Epoch = 2
	r.expect(Retry, early) // not remembered: it fares better once the epoch is there
	next := testPapers
	next.Epoch = 2
	r.expect(OK, r.op("papers", &Configure{Alter, next}))
	r.expect(OK, early)
}

// TestMachineWindow: an operation id lives from a minute before its time to ten minutes after it, to the millisecond.
func TestMachineWindow(t *testing.T) {
	window, ahead := RetryWindow.Milliseconds(), MaxEarly.Milliseconds()
	for _, c := range []struct {
		age  int64
		want Code
	}{{0, OK}, {window, OK}, {window + 1, Expired}, {-ahead, OK}, {-ahead - 1, Early}, {birth, Expired}} {
		r := newRig(t)
		r.do(r.op("papers", create(testPapers)))
		o := Operation{NewOperationID(birth-c.age, 9), "papers", putOf("a", 1, 1)}
		before := r.store.Position()
		r.expect(c.want, o)
		if r.store.Position().Applied != before.Applied+1 {
			t.Fatal("the entry is not applied")
		}
		v, err := r.view()
		if err != nil {
			t.Fatal(err)
		}
		if n := v.rows.Stat(bucketOperations).Rows; (n == 2) != (c.want == OK) || (v.collections["papers"].Len() == 1) != (c.want == OK) {
			t.Errorf("age %d: %d operations are remembered", c.age, n)
		}
		v.close()
	}
	r := newRig(t)
	r.do(r.op("papers", create(testPapers)))
	for _, id := range []OperationID{{0: 0x80, 7: 1}, {0: 0xff, 1: 0xff}, {0: 0x80}} { // past all time, not before it
		r.expect(Early, Operation{id, "papers", putOf("a", 1, 1)})
	}
	now := r.time
	r.now = birth - 1_000_000_000 // a stamp of the past moves nothing
	r.do(Operation{NewOperationID(birth, 1<<40), "papers", putOf("a", 1, 1)})
	if r.time != now {
		t.Fatal("time went back")
	}
}

// TestMachineExpiry: what is older than the window leaves, oldest first, 64 an entry.
func TestMachineExpiry(t *testing.T) {
	r := newRig(t)
	remembered := func() int {
		v, err := r.view()
		if err != nil {
			t.Fatal(err)
		}
		defer v.close()
		return int(v.rows.Stat(bucketOperations).Rows)
	}
	r.do(r.op("papers", create(testPapers)))
	var all []Operation
	for i := range 150 {
		o := r.op("papers", putOf(fmt.Sprint("d", i), i, 0))
		o.ID = NewOperationID(birth+int64(i), uint64(1000-i))
		all = append(all, o)
	}
	r.do(all...)
	r.now = birth + RetryWindow.Milliseconds() + 140
	step := func(want int) {
		t.Helper()
		if r.do(r.op("none", &Forget{IDs: []string{"a"}})); remembered() != want {
			t.Fatalf("%d operations are remembered, not %d", remembered(), want)
		}
	}
	step(151 - 66 + 1) // 64, and 2 for the one operation
	step(151 - 132 + 2)
	oldest := func() (id OperationID) {
		v, err := r.view()
		if err != nil {
			t.Fatal(err)
		}
		defer v.close()
		for k := range v.rows.Scan(bucketOperations, nil) {
			return OperationID(k)
		}
		return id
	}
	if got := oldest().Time(); got != birth+131 {
		t.Fatalf("the oldest is of birth + %d", got-birth)
	}
	step(10 + 3) // those of birth + 140 to 149 are inside the window
	r.expect(Expired, all[139])
	if out := r.expect(OK, all[140]); out.Version>>16 != 2 {
		t.Fatalf("a retry at the edge of the window: %+v", out)
	}
}

func TestMachineExhausted(t *testing.T) {
	r := newRig(t)
	r.most = 3
	r.do(r.op("papers", create(testPapers)), r.op("papers", putOf("a", 1, 1)))
	third, fourth := r.op("papers", putOf("b", 2, 1)), r.op("papers", putOf("c", 3, 1))
	out := r.do(third, fourth)
	if out[0].Code != OK || out[1].Code != Exhausted || !strings.Contains(out[1].Reason, "3 operations") {
		t.Fatalf("%+v", out)
	}
	if again := r.expect(OK, third); again != out[0] { // a retry is answered also then
		t.Fatalf("%+v", again)
	}
	r.now += RetryWindow.Milliseconds() + 1
	fourth.ID = NewOperationID(r.now, 77)
	r.expect(OK, fourth)
	if openMachine := newRig(t); openMachine.most != MaxRemembered {
		t.Fatal("the limit of production is", openMachine.most)
	}
}

// play applies entries in batches of the given sizes; a negative size crashes before, and replays what the file lacks.
func (r *rig) play(entries []consensus.Entry, sizes []int) []any {
	r.t.Helper()
	results := make([]any, len(entries))
	apply := func(from, to int) {
		for i, x := range r.Apply(entries[from:to]) {
			if err, ok := x.(error); ok {
				r.t.Fatal(err)
			}
			if x != nil && results[from+i] != nil && !reflect.DeepEqual(results[from+i], x) {
				r.t.Fatalf("entry %d was %+v, and %+v at the replay", entries[from+i].Index, results[from+i], x)
			}
			if x != nil {
				results[from+i] = x
			}
		}
	}
	at := 0
	for i := 0; at < len(entries); i++ {
		n := 1
		if i < len(sizes) {
			n = sizes[i]
		}
		switch {
		case n == 0: // a flush, so that a crash leaves something
			if err := r.store.Sync(context.Background(), r.store.Position().Applied); err != nil {
				r.t.Fatal(err)
			}
		case n < 0:
			r.crash()
			replay := 0
			for replay < at && entries[replay].Index <= r.store.Position().Applied {
				replay++
			}
			apply(max(0, replay-1), at) // one more than the file lacks: it is skipped
		default:
			apply(at, min(at+n, len(entries)))
			at = min(at+n, len(entries))
		}
	}
	return results
}

// TestMachineIsDeterministic: the same entries make the same rows, outcomes, receipts and memory, however they are batched, flushed,
// lost in a crash and replayed.
func TestMachineIsDeterministic(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		entries := someEntries(rt)
		one, two, three := newRig(t), newRig(t), newRig(t)
		defer func() {
			for _, r := range []*rig{one, two, three} {
				r.store.Abandon()
			}
		}()
		a := one.play(entries, nil)
		b := two.play(entries, []int{len(entries)})
		c := three.play(entries, rapid.SliceOfN(rapid.SampledFrom([]int{1, 2, 5, 0, -1}), 1, 12).Draw(rt, "batches"))
		for i := range entries {
			if !reflect.DeepEqual(a[i], b[i]) || !reflect.DeepEqual(a[i], c[i]) {
				rt.Fatalf("entry %d:\n%+v\n%+v\n%+v", entries[i].Index, a[i], b[i], c[i])
			}
		}
		text := one.contents()
		if two.contents() != text || three.contents() != text {
			rt.Fatalf("states differ:\n%s\n%s\n%s", text, two.contents(), three.contents())
		}
		if err := three.store.Close(); err != nil {
			rt.Fatal(err)
		}
		if three.open(); three.contents() != text {
			rt.Fatalf("after a restart:\n%s\n%s", text, three.contents())
		}
	})
}

// TestMachineReceipts: a receipt's digest is that of the collection just after the entry, whatever else is in the batch.
func TestMachineReceipts(t *testing.T) {
	one, all := newRig(t), newRig(t)
	var entries []consensus.Entry
	entries = append(entries, all.entry(all.op("a", create(testPapers)), all.op("b", create(testPapers))))
	for i := range 5 {
		all.now++
		entries = append(entries, all.entry(all.op("a", putOf(fmt.Sprint("d", i), i, 1)), all.op("b", putOf("x", i, 1)), all.op("a", putOf(fmt.Sprint("e", i), i, 2))))
	}
	entries = append(entries, all.entry(all.op("a", &Configure{Change: Drop})))
	results := all.Apply(entries)
	for i, e := range entries {
		one.Apply(entries[i : i+1])
		v, err := one.view()
		if err != nil {
			t.Fatal(err)
		}
		_, operations, err := parseEntry(e.Data)
		if err != nil {
			t.Fatal(err)
		}
		for j, receipt := range results[i].(*entryResult).receipts {
			want := Receipt{Shard: 0, Generation: 7, Index: e.Index, Digest: v.dataDigest(operations[j].Collection), Time: v.time}
			if receipt != want {
				t.Errorf("entry %d, operation %d: %+v, not %+v", e.Index, j, receipt, want)
			}
		}
		v.close()
	}
}

// TestMachineHalts: an entry that cannot be read stops the replica before it changes anything, and everything after it is refused.
func TestMachineHalts(t *testing.T) {
	good := func(r *rig) consensus.Entry { return r.entry(r.op("papers", putOf("a", 1, 1))) }
	for what, spoil := range map[string]func(*rig) []consensus.Entry{
		"garbage": func(r *rig) []consensus.Entry {
			return []consensus.Entry{good(r), {Index: r.index + 1, Data: []byte("x")}}
		},
		"empty": func(r *rig) []consensus.Entry { return []consensus.Entry{{Index: r.index + 1}} },
		"a byte more": func(r *rig) []consensus.Entry {
			both := []consensus.Entry{good(r), good(r)}
			both[1].Data = append(both[1].Data, 0)
			return both
		},
		"an unknown kind": func(r *rig) []consensus.Entry {
			o := appendOperation(nil, &Operation{NewOperationID(birth, 1), "papers", &Forget{IDs: []string{"a"}}})
			o[20] = 5
			return []consensus.Entry{{Index: r.index + 1, Data: appendEntry(nil, birth, [][]byte{o})}}
		},
		"a panic": func(r *rig) []consensus.Entry {
			r.collections["papers"].index = nil
			return []consensus.Entry{good(r)}
		},
	} {
		r := newRig(t)
		r.do(r.op("papers", create(testPapers)))
		digest := func() storage.Digest {
			v, err := r.store.View()
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			return v.StateDigest()
		}
		before := digest()
		entries := spoil(r)
		for _, x := range r.Apply(entries) {
			if err, ok := x.(error); !ok || !errors.Is(err, errHalted) {
				t.Errorf("%s: %v", what, x)
			}
		}
		if x, ok := r.Apply([]consensus.Entry{{Index: 99, Data: entryOf(birth)}})[0].(error); !ok || !errors.Is(x, errHalted) {
			t.Errorf("%s: it goes on: %v", what, x)
		}
		if digest() != before || r.store.Position().Applied != 1 {
			t.Errorf("%s: rows have changed", what)
		}
		if _, err := r.view(); !errors.Is(err, errHalted) {
			t.Errorf("%s: a reader is told %v", what, err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.wait(ended, 1<<40); !errors.Is(err, errHalted) {
			t.Errorf("%s: who waits is told %v", what, err)
		}
		closed := make(chan error, 1)
		go func() { closed <- r.store.Close() }()
		select {
		case err := <-closed:
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		case <-time.After(10 * time.Second):
			r.stuck = true
			t.Fatalf("%s: the store waits for a transaction that nobody ends", what)
		}
	}
}

func TestMachineWait(t *testing.T) {
	r := newRig(t)
	told := make(chan error)
	go func() { told <- r.wait(context.Background(), 2) }()
	r.do(r.op("papers", create(testPapers)))
	select {
	case err := <-told:
		t.Fatalf("told before its entry: %v", err)
	default:
	}
	r.do(r.op("papers", putOf("a", 1, 1)))
	if err := <-told; err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.wait(ctx, 3); !errors.Is(err, context.Canceled) || r.wait(ctx, 2) != nil {
		t.Fatal(err)
	}
}

// TestMachineIdentity: files of another shard or generation are refused.
func TestMachineIdentity(t *testing.T) {
	r := newRig(t)
	for _, other := range []Identity{{1, 1, 7, birth}, {0, 2, 7, birth}, {0, 1, 8, birth}, {0, 1, 7, birth + 1}} {
		if _, err := openMachine(r.store, other, index.Options{}); !errors.Is(err, ErrGeneration) {
			t.Errorf("%+v: %v", other, err)
		}
	}
	if _, err := openMachine(r.store, testIdentity, index.Options{}); err != nil {
		t.Error(err)
	}
}

// TestMachineTakesOverASnapshot: between the file and memory made of it, no reader sees the one beside the other.
func TestMachineTakesOverASnapshot(t *testing.T) {
	from, to := newRig(t), newRig(t)
	from.do(from.op("papers", create(testPapers)))
	from.do(from.op("papers", putOf("a#1", 1, 2)))
	if err := from.store.Sync(t.Context(), from.index); err != nil {
		t.Fatal(err)
	}
	s, err := from.store.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	w, err := to.store.Receive()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, s); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Commit(), s.Close(), to.store.Adopt()); err != nil {
		t.Fatal(err)
	}
	if v, err := to.view(); !errors.Is(err, ErrUnavailable) {
		to.stuck = true // the view is open
		t.Fatalf("%v: memory of entry %d beside newer rows", err, v.applied)
	}
	if err := to.Restored(); err != nil {
		t.Fatal(err)
	}
	if to.contents() != from.contents() {
		t.Fatalf("%s\n%s", to.contents(), from.contents())
	}
	if _, ok := to.collections["papers"]; !ok || to.time != from.time {
		t.Fatal("memory is not that of the snapshot")
	}
}

func TestMachineRefusesRowsThatItCannotRead(t *testing.T) {
	r := newRig(t)
	r.do(r.op("papers", create(testPapers)), r.op("papers", putOf("a", 1, 1)))
	tx, err := r.store.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(tx.Put(bucketDocuments("papers"), []byte("a"), []byte{1}), tx.Commit(r.store.Position())); err != nil {
		t.Fatal(err)
	}
	if _, err := openMachine(r.store, testIdentity, index.Options{}); !errors.Is(err, retrieval.ErrCorrupt) {
		t.Fatal(err)
	}
	if x, ok := r.Apply([]consensus.Entry{r.entry(r.op("papers", &Patch{ID: "a"}))})[0].(error); !ok || !errors.Is(x, errHalted) {
		t.Fatal(x)
	}
}
