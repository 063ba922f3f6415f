package endpoint

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"ostraca/api"
	"ostraca/retrieval"
	"ostraca/shard"
	"ostraca/storage"
)

func TestToShard(t *testing.T) {
	replica := func(node, role string, term, commit, applied uint64, digest byte) *shard.ReplicaStatus {
		return &shard.ReplicaStatus{Shard: 2, Node: node, Role: role, Term: term, Commit: commit, Applied: applied, Digest: storage.Digest{digest}, Voters: []string{"a", "b"},
			LogFirst: 5, LogLast: 9, Collections: []shard.CollectionStatus{{Held: shard.Held{Documents: 2, Tokens: 3}}, {Held: shard.Held{Documents: 1, Tokens: 1}}}}
	}
	of := []*shard.ReplicaStatus{replica("a", "Leader", 3, 10, 10, 1), replica("b", "Leader", 4, 12, 11, 2), replica("c", "Follower", 4, 12, 10, 1),
		{Shard: 2, Node: "d", Role: "unreachable", Trouble: "it is gone"}}
	s := toShard(2, of)
	if s.Leader != "b" || s.Commit != 12 || !s.DigestsAgree || s.Shard != 2 {
		t.Errorf("%v", s)
	}
	if a := s.Replicas[0]; a.Lag != 1 || a.Documents != 3 || a.Tokens != 4 || a.LogEntries != 5 || a.Role != "leader" {
		t.Errorf("%v", a)
	}
	if s.Replicas[2].Role != "nonvoter" || s.Replicas[3].Digest != "" || s.Replicas[3].Lag != 0 || s.Replicas[3].Trouble == "" {
		t.Errorf("%v", s)
	}
	of[2].Digest[0] = 9 // at the index of the first
	if toShard(2, of).DigestsAgree {
		t.Error("digests differ at one index, and are said to agree")
	}
}

func TestToPending(t *testing.T) {
	p := toPending(&shard.Job{ID: "j", Collection: "c", Change: shard.Drop, Done: []bool{true, false, true}})
	if p.Id != "j" || p.Collection != "c" || p.Change != "drop" || p.ShardsDone != 2 || p.Shards != 3 {
		t.Errorf("%v", p)
	}
	for change, want := range map[shard.Change]string{shard.Create: "create", shard.Alter: "change"} {
		if got := toPending(&shard.Job{Change: change}).Change; got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
}

func TestCheckNumbers(t *testing.T) {
	for _, c := range []struct {
		x  float64
		ok bool
	}{{0, true}, {-1.5, true}, {1<<53 - 1, true}, {1 - 1<<53, true}, {1 << 53, false}, {-1 << 53, false}, {1e300, false}, {math.NaN(), false}, {math.Inf(1), false}, {math.Inf(-1), false}} {
		v := structpb.NewNumberValue(c.x)
		for _, in := range []*structpb.Value{v, structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{nil, v}}),
			structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{"x": v}})} {
			_, err := fieldsOf(&structpb.Struct{Fields: map[string]*structpb.Value{"a": in, "b": structpb.NewNullValue()}})
			_, empty := in.GetKind().(*structpb.Value_ListValue)
			if c.ok && err != nil && !empty || !c.ok && !errors.Is(err, retrieval.ErrInvalid) {
				t.Errorf("%v in %v: %v", c.x, in, err)
			}
		}
	}
}

func TestGuard(t *testing.T) {
	s := New(Options{})
	err := s.guard(context.Background(), func() error { panic("at the disco") })
	if _, reason := shard.Reason(err); reason != "INTERNAL" || strings.Contains(err.Error(), "disco") {
		t.Error(err)
	}
	want := errors.New("as it was")
	if err := s.guard(context.Background(), func() error { return want }); err != want {
		t.Error(err)
	}
}

func TestTogether(t *testing.T) {
	long := strings.Repeat("x", chunkTextBytes)
	for _, c := range []struct {
		texts []string
		want  int
	}{{nil, 0}, {[]string{"a", "b"}, 2}, {make([]string, 200), chunkTexts}, {[]string{long + "y", "b"}, 1}, {[]string{"a", long}, 1}, {[]string{long, ""}, 2}} {
		if got := together(c.texts); got != c.want {
			t.Errorf("%d texts: %d together, not %d", len(c.texts), got, c.want)
		}
	}
}

func TestReadOf(t *testing.T) {
	for text, want := range map[string]shard.Read{
		"": {Level: shard.Linearizable}, "linearizable": {Level: shard.Linearizable}, "local": {Level: shard.Local},
		"bounded:500ms": {Level: shard.Bounded, Bound: 500 * time.Millisecond}, "bounded:1h2s": {Level: shard.Bounded, Bound: time.Hour + 2*time.Second},
		"bounded:1ns": {Level: shard.Bounded, Bound: 1},
	} {
		got, err := readOf(&api.GetRequest{Read: text})
		if err != nil || got.Level != want.Level || got.Bound != want.Bound || len(got.After) != 0 || got.Pin != nil {
			t.Errorf("%q: %v, %+v", text, err, got)
		}
	}
	for _, text := range []string{"bounded", "bounded:", "bounded:5", "bounded:0s", "bounded:-1s", "bounded:local", "local:", "local:1s", "linearizable:1s", "Local", " local", "fresh"} {
		if got, err := readOf(&api.GetRequest{Read: text}); !errors.Is(err, retrieval.ErrInvalid) {
			t.Errorf("%q: %v, %+v", text, err, got)
		}
	}
	after := []*api.Receipt{{Shard: 2, Generation: "18446744073709551615", Index: 7}, {Shard: 0, Generation: "0", Index: 9}}
	got, err := readOf(&api.GetRequest{Read: "local", After: after})
	if want := []shard.Receipt{{Shard: 2, Generation: math.MaxUint64, Index: 7}, {Index: 9}}; err != nil || got.Level != shard.Local || !slices.Equal(got.After, want) {
		t.Errorf("%v, %+v", err, got)
	}
	for _, generation := range []string{"", "-1", "x", "18446744073709551616"} {
		if got, err := readOf(&api.GetRequest{After: []*api.Receipt{{Generation: generation}}}); !errors.Is(err, retrieval.ErrInvalid) {
			t.Errorf("generation %q: %v, %+v", generation, err, got)
		}
	}
	if _, err := readOf(&api.GetRequest{After: make([]*api.Receipt, shard.MaxReceipts+1)}); !errors.Is(err, retrieval.ErrTooLarge) {
		t.Error(err)
	}
}

// Of each shard the latest receipt is kept, in whichever order they come: who reads after it reads all of the writes.
func TestReceipts(t *testing.T) {
	r := func(of uint32, index uint64) shard.Receipt {
		return shard.Receipt{Shard: of, Generation: 3, Index: index, Digest: storage.Digest{byte(index)}, Time: int64(index) * 10}
	}
	for _, writes := range [][]shard.Receipt{
		{r(1, 5), r(0, 7), r(1, 9), r(0, 8), r(1, 6)}, {r(0, 8), r(0, 7), r(1, 9), r(1, 5)}, {r(1, 9), r(0, 8)},
	} {
		together, single := receipts{}, receipts{}
		together.add(writes)
		for _, w := range writes {
			single.add([]shard.Receipt{w})
		}
		for _, all := range []receipts{together, single} {
			got := all.api()
			if len(got) != 2 || got[0].Shard != 0 || got[0].Index != 8 || got[1].Shard != 1 || got[1].Index != 9 || got[1].TimeMs != 90 || got[1].Generation != "3" ||
				got[1].Digest != (storage.Digest{9}).String() {
				t.Errorf("%v: %v", writes, got)
			}
		}
	}
}
