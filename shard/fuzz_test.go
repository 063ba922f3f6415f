package shard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"ostraca/api/nodeapi"
	"ostraca/consensus"
	"ostraca/retrieval"
	"ostraca/retrieval/index"
	"ostraca/storage"
)

// bounded runs f, which may allocate a few times its input and no more.
func bounded(t *testing.T, input int, times int, f func()) {
	t.Helper()
	if n := allocated(f); n > uint64(times*input+128<<10) {
		t.Fatalf("%d bytes of input allocate %d", input, n)
	}
}

// fuzzOperations is one of each kind.
func fuzzOperations() [][]byte {
	var out [][]byte
	for i, body := range []any{&Put{Condition{IfVersion, 1 << 16}, 1, goldenDocument()}, putOf("a", 1, 2), &Patch{Condition{}, "a", []byte(`{"n":null}`)},
		&Forget{[]string{"a#1", "b"}, []string{"a"}}, create(testPapers), &Configure{Alter, goldenConfiguration()}, &Configure{Change: Drop}} {
		out = append(out, appendOperation(nil, &Operation{NewOperationID(birth, uint64(i)), "papers", body}))
	}
	return out
}

// FuzzOperation: what can be read is written the same, and what passes the door as well.
func FuzzOperation(f *testing.F) {
	for _, b := range fuzzOperations() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var o Operation
		var err error
		bounded(t, len(b), 128, func() { o, err = parseOperation(b) })
		if err != nil {
			if !errors.Is(err, retrieval.ErrCorrupt) && !errors.Is(err, retrieval.ErrTooLarge) {
				t.Fatal(err)
			}
			return
		}
		if again := appendOperation(nil, &o); !bytes.Equal(again, b) {
			t.Fatalf("%x became %x", b, again)
		}
		if err := o.check(); err != nil && !errors.Is(err, retrieval.ErrInvalid) && !errors.Is(err, retrieval.ErrTooLarge) {
			t.Fatal(err)
		}
		if err := testIdentity.checkPlace(&o); err != nil {
			t.Fatalf("there is but one shard: %v", err)
		}
	})
}

// FuzzEntry: what can be read is written the same, and applied as two replicas do, in one batch and entry by entry.
func FuzzEntry(f *testing.F) {
	all := fuzzOperations()
	f.Add(appendEntry(nil, birth, all))
	f.Add(appendEntry(nil, birth, [][]byte{all[4], all[1], all[2], all[3], all[6]}))
	f.Add(appendEntry(nil, 0, nil))
	start := entryOf(birth, Operation{NewOperationID(birth, 99), "papers", create(testPapers)})
	f.Fuzz(func(t *testing.T, b []byte) {
		var operations []Operation
		var stamp int64
		var err error
		bounded(t, len(b), 128, func() { stamp, operations, err = parseEntry(b) })
		if err != nil {
			if !errors.Is(err, retrieval.ErrCorrupt) && !errors.Is(err, retrieval.ErrTooLarge) {
				t.Fatal(err)
			}
			return
		}
		var encoded [][]byte
		valid := true
		for i := range operations {
			encoded = append(encoded, appendOperation(nil, &operations[i]))
			valid = valid && operations[i].check() == nil
		}
		if again := appendEntry(nil, stamp, encoded); !bytes.Equal(again, b) {
			t.Fatalf("%x became %x", b, again)
		}
		if !valid { // the door has refused it
			return
		}
		entries := []consensus.Entry{{Index: 1, Data: start}, {Index: 2, Data: b}, {Index: 5, Data: b}}
		one, two := newRig(t), newRig(t)
		first := one.Apply(entries)
		for i := range entries {
			if got := two.Apply(entries[i : i+1])[0]; fmt.Sprint(got) != fmt.Sprint(first[i]) {
				t.Fatalf("entry %d: %v, in one batch %v", i, got, first[i])
			}
			if _, ok := first[i].(*entryResult); !ok {
				t.Fatalf("an entry that passed the door halts: %v", first[i])
			}
		}
		if a, b := one.contents(), two.contents(); a != b {
			t.Fatalf("%s\n%s", a, b)
		}
	})
}

func FuzzRow(f *testing.F) {
	d, bare := goldenDocument(), Document{}
	f.Add(appendRow(nil, &d))
	f.Add(appendRow(nil, &bare))
	f.Fuzz(func(t *testing.T, b []byte) {
		var d Document
		var err error
		bounded(t, len(b), 32, func() { d, err = parseRow("a", b) })
		if err != nil {
			if !errors.Is(err, retrieval.ErrCorrupt) && !errors.Is(err, retrieval.ErrTooLarge) {
				t.Fatal(err)
			}
			return
		}
		if again := appendRow(nil, &d); !bytes.Equal(again, b) || rowBytes(&d) != len(b) {
			t.Fatalf("%x of %d bytes became %x", b, rowBytes(&d), again)
		}
	})
}

func FuzzConfiguration(f *testing.F) {
	f.Add(appendConfiguration(nil, goldenConfiguration()))
	f.Add(appendConfiguration(nil, testPapers))
	f.Add(appendConfiguration(nil, projected(testPapers, testWidth+1, 1)))
	f.Add(appendConfiguration(nil, reduced(projected(testPapers, testWidth+1, 1), Reduction{Pool: 2, DropPunctuation: true})))
	f.Add(appendConfiguration(nil, listed(reduced(projected(testPapers, testWidth+1, 1), Reduction{Pool: 2}), 2, 1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseConfiguration(b)
		if err != nil {
			return
		}
		if again := appendConfiguration(nil, c); !bytes.Equal(again, b) {
			t.Fatalf("%x became %x", b, again)
		}
		if _, err := index.New(c.Width, index.Options{}); err != nil {
			t.Fatalf("%+v has no index: %v", c, err)
		}
	})
}

func FuzzOutcome(f *testing.F) {
	f.Add(appendOutcome(nil, Outcome{Code: Changed, Version: 1 << 20, Count: 3}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, err := parseOutcome(b); err == nil && !bytes.Equal(appendOutcome(nil, o), b) {
			t.Fatalf("%x became %+v", b, o)
		} else if err == nil && (o.Err() == nil) != (o.Code == OK) {
			t.Fatalf("%+v: %v", o, o.Err())
		}
	})
}

// FuzzFields: fields have one form, and a patch of two has it too.
func FuzzFields(f *testing.F) {
	f.Add([]byte(`{"b":[1.50,{"y":1e400,"x":null}],"a":"\u2028<é>","a":{}}`), []byte(`{"b":null,"c":-0}`))
	f.Add([]byte(``), []byte(`{"":{"":""}}`))
	f.Add([]byte("{\"a\":\"\xff\\ud800\"}"), []byte(` { } `))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var fields []byte
		var err error
		bounded(t, len(a), 1024, func() { fields, err = CanonicalFields(a) })
		patch, err2 := CanonicalFields(b)
		if err = errors.Join(err, err2); err != nil {
			if !errors.Is(err, retrieval.ErrInvalid) && !errors.Is(err, retrieval.ErrTooLarge) {
				t.Fatal(err)
			}
			return
		}
		if err := errors.Join(checkFields(fields), checkFields(patch)); err != nil {
			t.Fatalf("not idempotent: %q, %q: %v", fields, patch, err)
		}
		got, err := patchFields(fields, patch)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) <= MaxFieldsBytes && checkFields(got) != nil {
			t.Fatalf("%s with %s is %s: %v", fields, patch, got, checkFields(got))
		}
		if again, err := patchFields(got, patch); err != nil || !bytes.Equal(again, got) {
			t.Fatalf("patched twice: %v: %s, not %s", err, again, got)
		}
	})
}

// FuzzPlacement: any bytes are refused or applied by two replicas alike, and the map that comes of it can be read back.
func FuzzPlacement(f *testing.F) {
	for _, c := range corruptPlacements {
		f.Add([]byte(c))
	}
	for _, c := range []placementCommand{{First: firstMap(2)}, {Started: &startedNode{1, "n1"}}, {Job: &Job{ID: "1", Collection: "papers", Change: Create, To: testPapers}}, {Done: &jobStep{"0", 0, Exists, 3}}} {
		b, err := json.Marshal(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		bounded(t, len(b), 1024, func() { parsePlacement(b) })
		one, two := startedPlaces(t, 1), startedPlaces(t, 1)
		for _, p := range []*places{one, two} {
			if err := p.begin("0", "old", Create, testPapers); err != nil {
				t.Fatal(err)
			}
		}
		if x, y := one.raw(b), two.raw(b); fmt.Sprint(x) != fmt.Sprint(y) || one.json() != two.json() {
			t.Fatalf("%v, %v\n%s\n%s", x, y, one.json(), two.json())
		}
		before := one.json()
		if err := one.m.Restored(); err != nil || one.json() != before {
			t.Fatalf("read back: %v:\n%s\n%s", err, before, one.json())
		}
		one.step("0", 0, OK, 0)
	})
}

// requests are what a node is asked, and messages what it answers.
var requests = []proto.Message{&nodeapi.SearchRequest{}, &nodeapi.WriteRequest{}, &nodeapi.GetRequest{}, &nodeapi.ListRequest{}, &nodeapi.StatusRequest{}, &nodeapi.ReadIndexRequest{}, &nodeapi.PlacementRequest{}}

var messages = []proto.Message{&nodeapi.Read{}, &nodeapi.Query{}, &nodeapi.Hit{}, &nodeapi.Document{}, &nodeapi.Result{}, &nodeapi.ShardStatus{}, &nodeapi.Receipt{}}

// lonelyNode is a node that is a cluster by itself, over the loopback of this machine.
func lonelyNode(t testing.TB) *service {
	t.Helper()
	n, err := OpenNode(NodeOptions{Node: "n0", Dir: t.TempDir(), Network: consensus.Wire{}, Listen: "127.0.0.1:0", Expect: 1, Replicas: 1, Shards: 1,
		Index: index.Options{Threads: 1}, Storage: storage.Options{NoSync: true, MmapBytes: 64 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Abandon() })
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := n.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return &service{node: n}
}

// ask sends a request to a service as gRPC does.
func ask(ctx context.Context, s *service, m proto.Message) (proto.Message, error) {
	switch m := m.(type) {
	case *nodeapi.SearchRequest:
		return s.Search(ctx, m)
	case *nodeapi.WriteRequest:
		return s.Write(ctx, m)
	case *nodeapi.GetRequest:
		return s.Get(ctx, m)
	case *nodeapi.ListRequest:
		return s.List(ctx, m)
	case *nodeapi.StatusRequest:
		return s.Status(ctx, m)
	case *nodeapi.ReadIndexRequest:
		return s.ReadIndex(ctx, m)
	case *nodeapi.PlacementRequest:
		return s.Placement(ctx, m)
	}
	return nil, os.ErrInvalid
}

// take reads a message of another node.
func take(m proto.Message) (proto.Message, error) {
	q := &retrieval.Query{Codec: retrieval.Int8, Width: 1, Codes: []int8{1, 2}, Weights: []uint16{1, 1}, Max: 1, K: 1}
	switch m := m.(type) {
	case *nodeapi.Read:
		r, err := fromRead(m)
		return toRead(r), err
	case *nodeapi.Query:
		q, err := fromQuery(m)
		return toQuery(q), err
	case *nodeapi.Hit:
		fromHit(m, nil, true)
		h, err := fromHit(m, q, true)
		return toHit(h), err
	case *nodeapi.Document:
		all, err := fromFound([]*nodeapi.Document{m})
		if err != nil {
			return nil, err
		}
		return toFound(all)[0], nil
	case *nodeapi.Result:
		r, err := fromResult(m)
		return toResult(r), err
	case *nodeapi.ShardStatus:
		s, err := fromStatus(m)
		return toStatus(&s), err
	case *nodeapi.Receipt:
		r, err := fromReceipt(m)
		return toReceipt(r), err
	}
	return nil, os.ErrInvalid
}

// FuzzMessages: no message, asked or answered, makes a node panic, and what is taken is sent on as it came. A node serves on after it.
func FuzzMessages(f *testing.F) {
	add := func(kind int, m proto.Message) {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(kind), b)
	}
	local := toRead(Read{Level: Local})
	q := &retrieval.Query{Codec: retrieval.Int8, Width: testWidth, Codes: make([]int8, testWidth), Weights: []uint16{1}, Max: 1, K: 3}
	for i, m := range []proto.Message{&nodeapi.SearchRequest{Shards: []uint32{0}, Collection: "papers", Query: toQuery(q), Read: local, Hold: true}, &nodeapi.WriteRequest{Operations: fuzzOperations(), SeenMs: birth},
		&nodeapi.GetRequest{Collection: "papers", Ids: []string{"a", "b"}, Codes: true, Read: local}, &nodeapi.ListRequest{Collection: "papers", Limit: 9, Read: local}, &nodeapi.StatusRequest{},
		&nodeapi.ReadIndexRequest{}, &nodeapi.PlacementRequest{Command: []byte(`{"done":{"job":"1"}}`)}} {
		add(i, m)
	}
	golden := goldenDocument()
	status := ReplicaStatus{Node: "n0", Collections: []CollectionStatus{{Name: "papers", Configuration: testPapers}}}
	for i, m := range []proto.Message{toRead(Read{Level: Bounded, Bound: 5, After: []Receipt{{Index: 1}}, Pin: &Pin{Node: "n0"}}), toQuery(q), &nodeapi.Hit{Id: "a", Tokens: []int32{1, 2}, Scores: []int32{3, 4}},
		toFound([]Found{{golden, 7}})[0], toResult(Result{Receipts: []Receipt{{Index: 1}}, Err: ErrUnknown}), toStatus(&status), toReceipt(Receipt{Index: 1})} {
		add(len(requests)+i, m)
	}
	s := lonelyNode(f)
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		if n := int(kind) % (len(requests) + len(messages)); n >= len(requests) {
			m := proto.Clone(messages[n-len(requests)])
			if proto.Unmarshal(b, m) != nil {
				return
			}
			var out proto.Message
			var err error
			bounded(t, len(b), 512, func() { out, err = take(m) })
			if err != nil {
				return
			}
			once, err := proto.Marshal(out)
			if err != nil {
				t.Fatal(err)
			}
			again := proto.Clone(messages[n-len(requests)])
			if err := proto.Unmarshal(once, again); err != nil {
				t.Fatal(err)
			}
			if twice, err := take(again); err != nil || !proto.Equal(twice, again) {
				t.Fatalf("%v:\n%v\n%v", err, again, twice)
			}
			return
		} else {
			m := proto.Clone(requests[n])
			if proto.Unmarshal(b, m) != nil {
				return
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if _, err := ask(ctx, s, m); err != nil && fromWire(err) == nil {
				t.Fatal(err)
			}
			if err := s.node.Replica(0).machine.halt(nil); err != nil {
				t.Fatal(err)
			}
		}
	})
}
