package shard

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ostraca/consensus"
	"ostraca/retrieval"
	"ostraca/retrieval/index"
	"ostraca/storage"
)

const (
	testWidth = 4
	birth     = int64(1_700_000_000_000) // ms
)

var (
	testIdentity = Identity{Shard: 0, Shards: 1, Generation: 7, Born: birth}
	testPapers   = Configuration{Key: [32]byte{1}, Codec: retrieval.Int8, Width: testWidth, Epoch: 1}
)

// rig is a machine over a store, and a log of entries that it was fed.
type rig struct {
	t testing.TB
	*machine
	dir    string
	index  uint64
	now    int64
	serial uint64
	stuck  bool // closing it would wait for ever
}

func openRig(t testing.TB, dir string) *rig {
	t.Helper()
	r := &rig{t: t, dir: dir, now: birth}
	r.open()
	t.Cleanup(func() {
		if !r.stuck {
			r.store.Abandon()
		}
	})
	return r
}

func newRig(t testing.TB) *rig {
	t.Helper()
	return openRig(t, t.TempDir())
}

func (r *rig) open() {
	r.t.Helper()
	store, err := storage.Open(r.dir, storage.Options{NoSync: true, MmapBytes: 16 << 20})
	if err != nil {
		r.t.Fatal(err)
	}
	if r.machine, err = openMachine(store, testIdentity, index.Options{Threads: 1}); err != nil {
		r.t.Fatal(err)
	}
	r.index = store.Position().Applied
}

// crash loses what was not flushed.
func (r *rig) crash() {
	r.t.Helper()
	if err := r.store.Abandon(); err != nil {
		r.t.Fatal(err)
	}
	r.open()
}

// op makes an operation with a fresh id of the present time.
func (r *rig) op(collection string, body any) Operation {
	r.serial++
	return Operation{NewOperationID(r.now, r.serial), collection, body}
}

func (r *rig) entry(operations ...Operation) consensus.Entry {
	r.index++
	return consensus.Entry{Index: r.index, Data: entryOf(r.now, operations...)}
}

func entryOf(stamp int64, operations ...Operation) []byte {
	var encoded [][]byte
	for i := range operations {
		encoded = append(encoded, appendOperation(nil, &operations[i]))
	}
	return appendEntry(nil, stamp, encoded)
}

// do applies operations as one entry.
func (r *rig) do(operations ...Operation) []Outcome {
	r.t.Helper()
	switch x := r.Apply([]consensus.Entry{r.entry(operations...)})[0].(type) {
	case *entryResult:
		return x.outcomes
	default:
		r.t.Fatal(x)
		return nil
	}
}

// expect applies one operation and checks what becomes of it.
func (r *rig) expect(want Code, o Operation) Outcome {
	r.t.Helper()
	got := r.do(o)[0]
	if got.Code != want {
		r.t.Fatalf("outcome %+v, not code %d, of %+v", got, want, o.Body)
	}
	return got
}

func create(c Configuration) *Configure { return &Configure{Create, c} }

// putOf returns a put of a document of n tokens, whose codes and text tell the number.
func putOf(id string, number, n int) *Put {
	rng := rand.New(rand.NewPCG(uint64(number), 3))
	d := Document{ID: id, Text: fmt.Sprint("text ", number), Fields: fmt.Appendf(nil, `{"number":%d}`, number), Codes: retrieval.Codes{Codec: retrieval.Int8, Width: testWidth}}
	for range n {
		for range testWidth {
			d.Codes.Rows = append(d.Codes.Rows, byte(1+rng.IntN(255)))
		}
		d.Codes.Scales = append(d.Codes.Scales, uint16(1+rng.IntN(retrieval.MaxScale)))
	}
	d.Codes = index.Pool(d.Codes)
	return &Put{Epoch: 1, Document: d}
}

func (p *Put) when(c Condition) *Put {
	p.Condition = c
	return p
}

// contents is all that can be read, of rows and of memory, at one moment.
func (r *rig) contents() string {
	r.t.Helper()
	v, err := r.view()
	if err != nil {
		r.t.Fatal(err)
	}
	defer v.close()
	text, err := describe(v)
	if err != nil {
		r.t.Fatal(err)
	}
	var parents strings.Builder
	for _, name := range v.names() {
		fmt.Fprint(&parents, name, r.collections[name].parents)
	}
	return text + parents.String()
}

// describe tells a view, and whether its rows and its memory are of the same state.
func describe(v view) (string, error) {
	var b strings.Builder
	fmt.Fprintln(&b, v.applied, v.time, v.rows.StateDigest())
	at, err := readTime(v.rows)
	if err != nil || at != v.time || v.rows.Position().Applied != v.applied {
		return "", fmt.Errorf("%w: memory is of time %d and entry %d, rows of %d and %d", err, v.time, v.applied, at, v.rows.Position().Applied)
	}
	var rows []string
	for name := range v.rows.Scan(bucketCollections, nil) {
		rows = append(rows, string(name))
	}
	if !slices.Equal(rows, v.names()) {
		return "", fmt.Errorf("memory has collections %v, rows %v", v.names(), rows)
	}
	for _, name := range v.names() {
		c := v.collections[name]
		fmt.Fprintf(&b, "%s %+v %d %d %v\n", name, c.Configuration, c.Len(), c.Tokens(), v.dataDigest(name))
		documents := 0
		for id, row := range v.rows.Scan(bucketDocuments(name), nil) {
			d, err := parseRow(string(id), row)
			if err != nil {
				return "", err
			}
			held, err := c.Get(d.ID)
			if err != nil || !bytes.Equal(held.Codes.Rows, d.Codes.Rows) || !slices.Equal(held.Codes.Scales, d.Codes.Scales) {
				return "", fmt.Errorf("document %q: %w: memory has %v, rows %v", d.ID, err, held.Codes, d.Codes)
			}
			f, _, err := v.document(name, d.ID, true, true)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&b, "%+v\n", f)
			documents++
		}
		versions := v.rows.Stat(bucketVersions(name)).Rows
		if documents != c.Len() || versions != uint64(documents) {
			return "", fmt.Errorf("collection %s: %d documents, %d versions, memory has %d", name, documents, versions, c.Len())
		}
	}
	for id, row := range v.rows.Scan(bucketOperations, nil) {
		fmt.Fprintf(&b, "%x %x\n", id, row)
	}
	return b.String(), v.rows.Err()
}

func TestMachineWrites(t *testing.T) {
	r := newRig(t)
	r.expect(NotFound, r.op("papers", putOf("a", 1, 2)))
	r.expect(NotFound, r.op("papers", &Forget{IDs: []string{"a"}}))
	r.expect(OK, r.op("papers", &Configure{Change: Drop}))
	r.expect(NotFound, r.op("papers", &Configure{Alter, testPapers}))
	r.expect(OK, r.op("papers", create(testPapers)))
	r.expect(OK, r.op("papers", create(testPapers)))
	wider := testPapers
	wider.Width = 8
	r.expect(Exists, r.op("papers", create(wider)))
	r.expect(Invalid, r.op("papers", &Configure{Alter, wider}))

	first := r.expect(OK, r.op("papers", putOf("a", 1, 2)))
	if first.Version != r.index<<16 {
		t.Fatalf("version %x at entry %d", first.Version, r.index)
	}
	if out := r.expect(Exists, r.op("papers", putOf("a", 2, 1).when(Condition{Kind: IfAbsent}))); out.Version != first.Version {
		t.Fatalf("%+v", out)
	}
	if out := r.expect(Changed, r.op("papers", putOf("a", 2, 1).when(Condition{IfVersion, first.Version + 1}))); out.Version != first.Version {
		t.Fatalf("%+v", out)
	}
	if out := r.expect(Changed, r.op("papers", putOf("b", 2, 1).when(Condition{IfVersion, 5}))); out.Version != 0 {
		t.Fatalf("%+v", out)
	}
	second := r.expect(OK, r.op("papers", putOf("a", 2, 1).when(Condition{IfVersion, first.Version})))
	r.expect(OK, r.op("papers", putOf("b", 3, 0).when(Condition{IfVersion, 0})))
	r.expect(Retry, r.op("papers", &Put{Epoch: 2, Document: Document{ID: "c"}}))
	r.expect(Invalid, r.op("papers", &Put{Epoch: 1, Document: Document{ID: "c", Codes: retrieval.Codes{Codec: retrieval.Int8, Width: 8}}}))
	r.expect(OK, r.op("papers", &Put{Epoch: 1, Document: Document{ID: "bare"}}))

	r.expect(NotFound, r.op("papers", &Patch{Condition{}, "z", []byte(`{"x":1}`)}))
	r.expect(Changed, r.op("papers", &Patch{Condition{IfVersion, first.Version}, "a", []byte(`{"x":1}`)}))
	patched := r.expect(OK, r.op("papers", &Patch{Condition{IfVersion, second.Version}, "a", []byte(`{"number":null,"x":1.0}`)}))
	r.expect(Invalid, r.op("papers", &Patch{Condition{}, "a", []byte(`{"y":"` + strings.Repeat("y", MaxFieldsBytes-8) + `"}`)}))
	v, err := r.view()
	if err != nil {
		t.Fatal(err)
	}
	defer v.close()
	f, _, err := v.document("papers", "a", true, true)
	if err != nil || f.Version != patched.Version || string(f.Fields) != `{"x":1.0}` || f.Text != "text 2" || f.Codes.Len() != 1 {
		t.Fatalf("%v: %+v", err, f)
	}
	if out := r.expect(OK, r.op("papers", &Forget{IDs: []string{"b", "z", "b"}})); out.Count != 1 {
		t.Fatalf("%+v", out)
	}
	again := r.expect(OK, r.op("papers", putOf("b", 3, 0).when(Condition{Kind: IfAbsent})))
	if again.Version <= patched.Version {
		t.Fatal("a version does not grow over a forget")
	}
	if out := r.expect(OK, r.op("papers", &Configure{Change: Drop})); out.Count != 3 {
		t.Fatalf("%+v", out)
	}
	if _, err := describe(v); err != nil { // of the moment when it was taken
		t.Fatal(err)
	}
	r.contents()
}

// TestMachineWrongShard: a document of another shard is refused also inside, whatever the door let pass.
func TestMachineWrongShard(t *testing.T) {
	r := newRig(t)
	r.identity.Shards = 2
	r.do(r.op("papers", create(testPapers)))
	for _, id := range []string{"a", "b", "c", "d"} {
		want := OK
		if Place(id, 2) != 0 {
			want = Invalid
		}
		o := r.op("papers", putOf(id, 1, 1))
		r.expect(want, o)
		if err := r.identity.checkPlace(&o); errors.Is(err, ErrWrongShard) != (want == Invalid) {
			t.Fatalf("%q: %v", id, err)
		}
	}
}

// TestMachineLargestDocument: what a patch makes of a document is never more than a row may have, so it can be read back.
func TestMachineLargestDocument(t *testing.T) {
	r := newRig(t)
	wide := testPapers
	wide.Width = retrieval.MaxWidth
	r.do(r.op("papers", create(wide)))
	d := Document{ID: "a", Codes: retrieval.Codes{Codec: retrieval.Int8, Width: wide.Width, Rows: bytes.Repeat([]byte{128}, 4096*wide.Width), Scales: slices.Repeat([]uint16{1}, 4096)}}
	d.Codes = index.Pool(d.Codes)
	d.Text = strings.Repeat("x", MaxDocumentBytes-rowBytes(&d)-20) // room for 18 bytes of fields
	o := r.op("papers", &Put{Epoch: 1, Document: d})
	if err := o.check(); err != nil {
		t.Fatal(err)
	}
	r.expect(OK, o)
	r.expect(OK, r.op("papers", &Patch{ID: "a", Fields: []byte(`{"a":1}`)}))
	r.expect(Invalid, r.op("papers", &Patch{ID: "a", Fields: []byte(`{"b":"01234567890123456789"}`)}))
	r.contents()
}

func TestMachineSeveralOnOneID(t *testing.T) {
	r := newRig(t)
	r.do(r.op("papers", create(testPapers)))
	out := r.do(
		r.op("papers", putOf("a", 1, 1)),
		r.op("papers", putOf("a", 2, 2)),
		r.op("papers", &Forget{IDs: []string{"a"}}),
		r.op("papers", putOf("a", 3, 3).when(Condition{Kind: IfAbsent})),
		r.op("papers", &Patch{ID: "a", Fields: []byte(`{"x":1}`)}),
		r.op("papers", putOf("b", 4, 1)),
		r.op("papers", &Forget{IDs: []string{"b"}}))
	for i, o := range out {
		forget := i == 2 || i == 6
		if o.Code != OK || forget && o.Count != 1 || !forget && o.Version != r.index<<16|uint64(i) {
			t.Fatalf("operation %d: %+v", i, o)
		}
	}
	if text := r.contents(); !strings.Contains(text, "text 3") || strings.Contains(text, "text 4") {
		t.Fatal(text)
	}
	// A drop and a new collection of another width in one entry, with documents before and after.
	other := testPapers
	other.Key, other.Width = [32]byte{9}, 3
	out = r.do(
		r.op("papers", putOf("c", 5, 1)),
		r.op("papers", &Configure{Change: Drop}),
		r.op("papers", putOf("d", 6, 1)),
		r.op("papers", create(other)),
		r.op("papers", putOf("e", 7, 1)),
		r.op("papers", &Put{Epoch: 1, Document: Document{ID: "f"}}))
	var codes []Code
	for _, o := range out {
		codes = append(codes, o.Code)
	}
	if !slices.Equal(codes, []Code{OK, OK, NotFound, OK, Invalid, OK}) || out[1].Count != 2 {
		t.Fatalf("%+v", out)
	}
	before := r.contents()
	if r.collections["papers"].index.Width() != 3 || r.collections["papers"].index.Len() != 1 {
		t.Fatal(before)
	}
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	if r.open(); r.contents() != before {
		t.Fatalf("after a restart:\n%s\n%s", r.contents(), before)
	}
}

// TestMachineNeighbours: a drop takes nothing of a collection whose name goes on.
func TestMachineNeighbours(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"a", "ab", "a-b", "a_"} {
		r.do(r.op(name, create(testPapers)), r.op(name, putOf("x", 1, 1)))
	}
	r.expect(OK, r.op("a", &Configure{Change: Drop}))
	v, err := r.view()
	if err != nil {
		t.Fatal(err)
	}
	defer v.close()
	if len(v.collections) != 3 || v.dataDigest("a") != (storage.Digest{}) || v.dataDigest("ab") != v.rows.Stat("data/ab/documents").Digest || v.dataDigest("ab") == (storage.Digest{}) {
		t.Fatal(v.names(), v.dataDigest("a"), v.dataDigest("ab"))
	}
	r.contents()
}

func TestMachinePassages(t *testing.T) {
	r := newRig(t)
	r.do(r.op("papers", create(testPapers)))
	for _, id := range []string{"p", "p#1", "p#2", "p#2#x", "p#2#y", "p2", "p!", "p$", "q#1", "#1"} {
		r.expect(OK, r.op("papers", putOf(id, 1, 1)))
	}
	if got := r.collections["papers"].parents; !reflect.DeepEqual(got, map[string]int{"p": 2, "p#2": 2, "q": 1, "": 1}) {
		t.Fatal(got)
	}
	if out := r.expect(OK, r.op("papers", &Forget{Parents: []string{"p#2"}})); out.Count != 2 {
		t.Fatalf("%+v", out)
	}
	if out := r.expect(OK, r.op("papers", &Forget{IDs: []string{"p#1"}, Parents: []string{"p", "nobody"}})); out.Count != 3 {
		t.Fatalf("%+v", out)
	}
	if got := r.collections["papers"].parents; !reflect.DeepEqual(got, map[string]int{"q": 1, "": 1}) {
		t.Fatal(got)
	}
	r.collections["papers"].parents["q"] = MaxPassages
	full := r.op("papers", putOf("q#2", 1, 1))
	r.expect(Exhausted, full)
	r.expect(OK, r.op("papers", putOf("q#1", 2, 1))) // it is there: nothing is added
	r.expect(OK, r.op("papers", &Forget{IDs: []string{"q#1"}}))
	r.expect(OK, full) // the refusal was not remembered
	r.collections["papers"].parents["q"] = 1
	before := r.contents()
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	if r.open(); r.contents() != before {
		t.Fatal("parents are counted anew otherwise")
	}
}

func TestMachineCollectionsLimit(t *testing.T) {
	r := newRig(t)
	var all []Operation
	for i := range MaxCollections {
		all = append(all, r.op(fmt.Sprint("c", i), create(testPapers)))
	}
	r.do(all...)
	r.expect(Exhausted, r.op("d", create(testPapers)))
	r.expect(OK, r.op("c0", &Configure{Change: Drop}))
	r.expect(OK, r.op("d", create(testPapers)))
}

// TestMachineView: rows and memory are of one moment while entries are applied. Run with -race.
func TestMachineView(t *testing.T) {
	r := newRig(t)
	r.do(r.op("papers", create(testPapers)))
	done := make(chan struct{})
	errs := make(chan error, 3)
	for range cap(errs) {
		go func() {
			var err error
			for last := uint64(0); err == nil; {
				select {
				case <-done:
					errs <- nil
					return
				default:
				}
				var v view
				if v, err = r.view(); err != nil {
					break
				}
				if v.applied < last {
					err = fmt.Errorf("entry %d after %d", v.applied, last)
				}
				last = v.applied
				if err == nil {
					_, err = describe(v)
				}
				v.close()
			}
			errs <- err
		}()
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 150 {
		var entries []consensus.Entry
		for range 1 + rng.IntN(3) {
			id := fmt.Sprintf("d%d", rng.IntN(12))
			o := []Operation{r.op("papers", putOf(id, i, rng.IntN(4))), r.op("papers", &Forget{IDs: []string{fmt.Sprintf("d%d", rng.IntN(12))}})}
			if i%40 == 39 {
				o = []Operation{r.op("papers", &Configure{Change: Drop}), r.op("papers", create(testPapers))}
			}
			entries = append(entries, r.entry(o...))
		}
		for _, x := range r.Apply(entries) {
			if err, ok := x.(error); ok {
				t.Fatal(err)
			}
		}
	}
	close(done)
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// someEntries draws entries, and what a leader would say of their time.
func someEntries(t *rapid.T) []consensus.Entry {
	var out []consensus.Entry
	at, now, serial := uint64(0), birth, uint64(0)
	var made []Operation
	for range rapid.IntRange(1, 12).Draw(t, "entries") {
		at += uint64(rapid.IntRange(1, 3).Draw(t, "gap"))
		now += rapid.SampledFrom([]int64{0, 1, 1000, -5000, 30_000, RetryWindow.Milliseconds() + 1}).Draw(t, "passes")
		var operations []Operation
		for range rapid.IntRange(1, 6).Draw(t, "operations") {
			if len(made) > 0 && rapid.IntRange(0, 4).Draw(t, "retry") == 0 {
				operations = append(operations, rapid.SampledFrom(made).Draw(t, "of"))
				continue
			}
			serial++
			o := Operation{ID: NewOperationID(now+rapid.SampledFrom([]int64{0, 0, 0, 59_000, 61_000, -RetryWindow.Milliseconds() - 1}).Draw(t, "skew"), serial)}
			o.Collection = rapid.SampledFrom([]string{"a", "a", "b"}).Draw(t, "collection")
			o.Body = someChange(t, int(serial))
			operations, made = append(operations, o), append(made, o)
		}
		out = append(out, consensus.Entry{Index: at, Data: entryOf(now, operations...)})
	}
	return out
}

func someChange(t *rapid.T, number int) any {
	id := rapid.SampledFrom([]string{"x", "y", "x#1", "x#2", "x#2#1"}).Draw(t, "id")
	condition := Condition{Kind: ConditionKind(rapid.SampledFrom([]int{0, 0, 0, 1, 2}).Draw(t, "condition"))}
	if condition.Kind == IfVersion {
		condition.Version = rapid.SampledFrom([]uint64{0, 1 << 16, 2<<16 | 1}).Draw(t, "version")
	}
	switch rapid.IntRange(0, 9).Draw(t, "change") {
	case 0, 1, 2, 3:
		p := putOf(id, number, rapid.IntRange(0, 3).Draw(t, "tokens")).when(condition)
		p.Epoch = rapid.SampledFrom([]uint64{1, 1, 1, 2}).Draw(t, "epoch")
		return p
	case 4:
		return &Patch{condition, id, rapid.SampledFrom([][]byte{nil, []byte(`{"number":null}`), []byte(`{"x":[1.0]}`)}).Draw(t, "patch")}
	case 5:
		return &Forget{IDs: []string{id}}
	case 6:
		return &Forget{Parents: []string{Parent(id)}}
	case 7:
		next := testPapers
		next.Epoch = rapid.SampledFrom([]uint64{1, 2}).Draw(t, "epoch")
		return &Configure{rapid.SampledFrom([]Change{Create, Alter}).Draw(t, "configure"), next}
	case 8:
		if rapid.Bool().Draw(t, "drop") {
			return &Configure{Change: Drop}
		}
	}
	return create(testPapers)
}

// parseEntry reads an entry as a machine does.
func parseEntry(b []byte) (time int64, operations []Operation, err error) {
	time, encoded, err := splitEntry(b)
	if err != nil {
		return time, nil, err
	}
	operations, err = parseOperations(encoded)
	return time, operations, err
}
