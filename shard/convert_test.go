package shard

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"ostraca/api/nodeapi"
	"ostraca/consensus"
	"ostraca/retrieval"
	"ostraca/storage"
)

var (
	someReceipt = rapid.Custom(func(t *rapid.T) Receipt {
		r := Receipt{Shard: rapid.Uint32().Draw(t, "shard"), Generation: rapid.Uint64().Draw(t, "generation"), Index: rapid.Uint64().Draw(t, "index"), Time: rapid.Int64().Draw(t, "time")}
		r.Digest = someDigest.Draw(t, "digest")
		return r
	})
	someDigest = rapid.Custom(func(t *rapid.T) (d storage.Digest) {
		copy(d[:], rapid.SliceOfN(rapid.Byte(), len(d), len(d)).Draw(t, "digest"))
		return d
	})
	someQuery = rapid.Custom(func(t *rapid.T) *retrieval.Query {
		n, width := rapid.IntRange(1, 4).Draw(t, "tokens"), rapid.IntRange(1, 5).Draw(t, "width")
		plan := retrieval.Plan{Lists: rapid.IntRange(0, retrieval.MaxLists).Draw(t, "lists"), Sketched: rapid.IntRange(0, retrieval.MaxCandidates).Draw(t, "sketched"), Scored: rapid.IntRange(0, retrieval.MaxCandidates).Draw(t, "scored")}
		return &retrieval.Query{Codec: rapid.SampledFrom(retrieval.Codecs).Draw(t, "codec"), Plan: plan, Width: width, Codes: rapid.SliceOfN(rapid.Int8Range(-127, 127), n*width, n*width).Draw(t, "codes"),
			Weights: rapid.SliceOfN(rapid.Uint16Range(1, math.MaxUint16), n, n).Draw(t, "weights"), Max: 0.25, K: rapid.IntRange(1, retrieval.MaxK).Draw(t, "k")}
	})
	someStatus = rapid.Custom(func(t *rapid.T) ReplicaStatus {
		s := ReplicaStatus{Shard: rapid.Uint32().Draw(t, "shard"), Digest: someDigest.Draw(t, "digest"), Collections: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) CollectionStatus {
			return CollectionStatus{Name: someName.Draw(t, "name"), Configuration: someConfiguration.Draw(t, "configuration"), Held: Held{3, 4}, Digest: someDigest.Draw(t, "digest")}
		}), 1, 3).Draw(t, "collections")}
		v := reflect.ValueOf(&s).Elem() // every number and string is another one, so that none can stand in for another
		for i := range v.NumField() {
			switch f := v.Field(i); f.Kind() {
			case reflect.String:
				f.SetString(fmt.Sprint("s", i))
			case reflect.Uint64, reflect.Uint32:
				f.SetUint(uint64(i + 1))
			case reflect.Int64:
				f.SetInt(int64(-i - 1))
			}
		}
		s.Voters = rapid.SliceOfN(someName, 1, 3).Draw(t, "voters")
		return s
	})
)

// travel sends a message through its bytes.
func travel[M proto.Message](t interface{ Fatal(...any) }, m, to M) M {
	b, err := proto.Marshal(m)
	if err == nil {
		err = proto.Unmarshal(b, to)
	}
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func TestMessagesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		receipt := someReceipt.Draw(t, "receipt")
		read := Read{Level: Level(rapid.IntRange(0, 255).Draw(t, "level")), Bound: time.Duration(rapid.Int64().Draw(t, "bound")), After: []Receipt{receipt, {}}}
		if rapid.Bool().Draw(t, "pinned") {
			read.Pin = &Pin{Node: "n", Token: rapid.Uint64().Draw(t, "token"), Index: 7}
		}
		if got, err := fromRead(travel(t, toRead(read), &nodeapi.Read{})); err != nil || !reflect.DeepEqual(got, read) {
			t.Fatalf("%v: %+v, not %+v", err, got, read)
		}
		q := someQuery.Draw(t, "query")
		if got, err := fromQuery(travel(t, toQuery(q), &nodeapi.Query{})); err != nil || !reflect.DeepEqual(got, q) || got.Validate() != nil {
			t.Fatalf("%v: %+v, not %+v", err, got, q)
		}
		hit := retrieval.Hit{ID: someID.Draw(t, "id"), Sum: rapid.Int64().Draw(t, "sum")}
		hit.Score = q.Score(hit.Sum)
		for range q.Len() {
			hit.Alignments = append(hit.Alignments, retrieval.Alignment{Token: rapid.Int32().Draw(t, "token"), Score: rapid.Int32().Draw(t, "score")})
		}
		if got, err := fromHit(travel(t, toHit(hit), &nodeapi.Hit{}), q, true); err != nil || !reflect.DeepEqual(got, hit) {
			t.Fatalf("%v: %+v, not %+v", err, got, hit)
		}
		var stats retrieval.Stats
		for i, n := range []*int64{&stats.Documents, &stats.Tokens, &stats.Segments, &stats.Centroids, &stats.Sketches, &stats.Coarse, &stats.Sketched, &stats.Micros.Sketch, &stats.Micros.Coarse, &stats.Micros.Score} {
			*n = int64(i + 1)
		}
		told := &nodeapi.ShardAnswer{}
		if toStats(told, stats); fromStats(travel(t, told, &nodeapi.ShardAnswer{})) != stats {
			t.Fatalf("%+v is not what %+v says", told, stats)
		}
		result := Result{Outcome: Outcome{Code(rapid.IntRange(0, 255).Draw(t, "code")), rapid.Uint64().Draw(t, "version"), rapid.Uint64().Draw(t, "count"), "why"}}
		if rapid.Bool().Draw(t, "receipt") {
			result.Receipts = []Receipt{receipt}
		}
		if got, err := fromResult(travel(t, toResult(result), &nodeapi.Result{})); err != nil || !reflect.DeepEqual(got, result) {
			t.Fatalf("%v: %+v, not %+v", err, got, result)
		}
		s := someStatus.Draw(t, "status")
		if got, err := fromStatus(travel(t, toStatus(&s), &nodeapi.ShardStatus{})); err != nil || !reflect.DeepEqual(got, s) {
			t.Fatalf("%v:\n%+v\n%+v", err, got, s)
		}
	})
	if toPin(nil) != nil || fromPin(nil) != nil || toQuery(nil) != nil {
		t.Fatal("nothing became something")
	}
}

func TestMessagesRefused(t *testing.T) {
	q := &retrieval.Query{Codec: retrieval.Int8, Width: 1, Codes: []int8{1}, Weights: []uint16{1}, Max: 1, K: 1}
	for what, err := range map[string]error{
		"receipt's digest":           second(fromReceipt(&nodeapi.Receipt{Digest: make([]byte, 31)})),
		"no receipt":                 second(fromReceipt(nil)),
		"receipt of a read":          second(fromRead(&nodeapi.Read{After: []*nodeapi.Receipt{nil}})),
		"read level":                 second(fromRead(&nodeapi.Read{Level: 256})),
		"negative read level":        second(fromRead(&nodeapi.Read{Level: -1})),
		"weight":                     second(fromQuery(&nodeapi.Query{Weights: []uint32{1 << 16}})),
		"hit without a query":        second(fromHit(&nodeapi.Hit{Id: "a"}, nil, true)),
		"hit of too few alignments":  second(fromHit(&nodeapi.Hit{Id: "a"}, q, true)),
		"hit of too many alignments": second(fromHit(&nodeapi.Hit{Id: "a", Tokens: []int32{1, 2}, Scores: []int32{1, 2}}, q, true)),
		"hit of uneven alignments":   second(fromHit(&nodeapi.Hit{Id: "a", Tokens: []int32{1}}, q, true)),
		"status digest":              second(fromStatus(&nodeapi.ShardStatus{Digest: make([]byte, 33)})),
		"status configuration":       second(fromStatus(&nodeapi.ShardStatus{Digest: make([]byte, 32), Collections: []*nodeapi.CollectionStatus{{Digest: make([]byte, 32)}}})),
		"document":                   second(fromFound([]*nodeapi.Document{{Id: "a"}})),
		"no document":                second(fromFound([]*nodeapi.Document{nil})),
		"result's receipt":           second(fromResult(&nodeapi.Result{Receipt: &nodeapi.Receipt{}})),
	} {
		if !errors.Is(err, retrieval.ErrCorrupt) && !errors.Is(err, retrieval.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if q, err := fromQuery(nil); err != nil || q.Validate() == nil {
		t.Errorf("no query: %v", err)
	}
	if q, err := fromQuery(&nodeapi.Query{Width: math.MaxUint32, K: math.MaxUint32}); err != nil || q.Width < retrieval.MaxWidth || q.K < retrieval.MaxK {
		t.Errorf("a wide query: %v: %+v", err, q)
	}
	if r, err := fromResult(&nodeapi.Result{Code: 1 << 20}); err != nil || r.Failure() == nil {
		t.Errorf("a far outcome: %v: %+v", err, r)
	}
}

// sentinels are what callers can act on, and what becomes of each on the way: itself where it says nothing else.
var sentinels = map[error]error{
	ErrUnavailable: nil, ErrUnknown: nil, ErrExists: nil, ErrChanged: nil, ErrRetry: nil, ErrExpired: nil, ErrExhausted: nil, ErrMoved: nil,
	ErrWrongShard: nil, ErrPartial: nil, ErrGeneration: nil, ErrNotLeader: nil, errUnspecified: nil,
	retrieval.ErrInvalid: nil, retrieval.ErrTooLarge: nil, retrieval.ErrNotFound: nil, retrieval.ErrCorrupt: nil,
	context.DeadlineExceeded: nil, context.Canceled: nil,
	storage.ErrFull: ErrExhausted, storage.ErrCorrupt: retrieval.ErrCorrupt, storage.ErrClosed: ErrUnavailable, errHalted: ErrUnavailable,
	consensus.ErrNotLeader: ErrNotLeader, consensus.ErrUnknownOutcome: ErrUnknown, consensus.ErrNoQuorum: ErrUnavailable, consensus.ErrClosed: ErrUnavailable,
	errors.New("some error"): errUnspecified, errUnspecified: nil,
}

func TestErrorsTravel(t *testing.T) {
	for sent, want := range sentinels {
		if want == nil {
			want = sent
		}
		wrapped := fmt.Errorf("shard 3: write: %w", sent)
		got := fromWire(toWire(wrapped))
		if !errors.Is(got, want) || got.Error() != wrapped.Error() {
			t.Errorf("%v became %v, which is not %v", sent, got, want)
		}
		if again := fromWire(toWire(got)); !errors.Is(again, want) {
			t.Errorf("%v became %v on the second way", sent, again)
		}
		for other := range sentinels {
			if other != want && errors.Is(got, other) {
				t.Errorf("%v arrives as %v too", sent, other)
			}
		}
		if f := failure(codeOf(wrapped), "text"); !errors.Is(f, want) || f.Error() != "text" {
			t.Errorf("%v in a result became %v", sent, f)
		}
		if got := writeFailure(toWire(wrapped)); !errors.Is(got, want) && !errors.Is(got, ErrUnknown) {
			t.Errorf("%v of a write became %v", sent, got)
		}
	}
	if toWire(nil) != nil || fromWire(nil) != nil || codeOf(nil) != codes.OK || failure(codes.OK, "x") != nil {
		t.Error("nothing is an error")
	}
	for _, w := range kinds {
		if _, known := sentinels[w.err]; !known {
			t.Errorf("the table has %v, which this test does not know", w.err)
		}
	}
}

// TestWireTable: of every code the table knows one meaning first, and no error has two codes but the one that says so. A reason has one public
// code, of gRPC.
func TestWireTable(t *testing.T) {
	meaning, code, public := map[codes.Code]error{}, map[error]codes.Code{}, map[string]codes.Code{}
	for _, w := range kinds {
		if c, ok := public[w.reason]; ok && c != w.public || w.public == codes.OK || w.public > codes.Unauthenticated || w.reason == "" {
			t.Errorf("%v is %q with code %v, and with %v", w.err, w.reason, w.public, c)
		}
		public[w.reason] = w.public
		if w.code == codes.OK || w.code == codes.Internal && w.err != errUnspecified || w.code == codes.Unknown || w.code == codes.Unimplemented {
			t.Errorf("%v has code %v, which says nothing", w.err, w.code)
		}
		if m, ok := meaning[w.code]; !ok {
			meaning[w.code] = w.err
		} else if want := sentinels[w.err]; want != nil && want != m && codeOf(w.err) == w.code && !errors.Is(want, m) {
			t.Errorf("code %d is read as %v, and %v is sent with it", w.code, m, w.err)
		}
		if c, ok := code[w.err]; ok && w.err != ErrUnavailable {
			t.Errorf("%v has the codes %v and %v", w.err, c, w.code)
		}
		if _, ok := code[w.err]; !ok {
			code[w.err] = w.code
		}
	}
	for err, c := range code {
		if codeOf(err) != c || meaning[c] != err && sentinels[err] != meaning[c] {
			t.Errorf("%v is sent as %v, which is read as %v", err, codeOf(err), meaning[c])
		}
	}
}

// TestWriteFailure: a write whose answer is lost may have been done; one that was refused was not.
func TestWriteFailure(t *testing.T) {
	for code, unknown := range map[codes.Code]bool{codes.Unavailable: true, codes.DeadlineExceeded: true, codes.Canceled: true, codes.Unknown: true, codes.Internal: true,
		codes.InvalidArgument: false, codeOf(ErrUnavailable): false, codeOf(ErrNotLeader): false, codes.Aborted: true} {
		if got := writeFailure(status.Error(code, "x")); errors.Is(got, ErrUnknown) != unknown {
			t.Errorf("%v: %v", code, got)
		}
	}
}

func TestOutcomeErrors(t *testing.T) {
	for code, want := range map[Code]error{OK: nil, Exists: ErrExists, Changed: ErrChanged, NotFound: retrieval.ErrNotFound, Retry: ErrRetry, Expired: ErrExpired,
		Early: retrieval.ErrInvalid, Exhausted: ErrExhausted, Invalid: retrieval.ErrInvalid, 9: errUnspecified, 255: errUnspecified} {
		for _, reason := range []string{"", "why"} {
			if err := (Outcome{Code: code, Reason: reason}).Err(); !errors.Is(err, want) || (err == nil) != (want == nil) {
				t.Errorf("code %d: %v", code, err)
			}
		}
	}
}

func TestPartialError(t *testing.T) {
	err := fmt.Errorf("search: %w", &PartialError{Missing: []Missing{{1, ErrUnavailable}, {4, ErrMoved}}})
	if !errors.Is(err, ErrPartial) || !errors.Is(err, ErrUnavailable) || err.Error() != "search: no answer from shard 1 (unavailable); shard 4 (state no longer held)" {
		t.Fatal(err)
	}
	if got := fromWire(toWire(err)); !errors.Is(got, ErrPartial) {
		t.Fatal(got)
	}
}

func TestPlace(t *testing.T) {
	for id, want := range map[string]uint32{"a": 52, "b": 30, "a#1": 52, "a#2": 52, "é": 5, "": 59, "a#1#2": 41} {
		if got := Place(id, 64); got != want {
			t.Errorf("%q: shard %d of 64, not %d", id, got, want)
		}
	}
	for id, want := range map[string]string{"a": "a", "a#1": "a", "a#": "a", "#": "", "": "", "#1": "", "a#b#c": "a#b", "a/b": "a/b"} {
		if got := Parent(id); got != want {
			t.Errorf("parent of %q is %q, not %q", id, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		id, shards := someID.Draw(t, "id"), rapid.Uint32Range(1, MaxShards).Draw(t, "shards")
		at := Place(id, shards)
		if at >= shards || at != PlaceParent(Parent(id), shards) || at != Place(Parent(id)+"#7", shards) {
			t.Fatalf("%q lies in %d of %d, its parent in %d", id, at, shards, PlaceParent(Parent(id), shards))
		}
		if half := Place(id, 2*shards) / 2; half != at { // high bits: twice the shards split every shard in two
			t.Fatalf("%q moves from %d to %d", id, at, half)
		}
	})
	const documents, shards = 200_000, 64
	var held [shards]int
	for i := range documents {
		held[Place(fmt.Sprint("doc-", i), shards)]++
	}
	chi := 0.0
	for _, n := range held {
		d := float64(n) - documents/shards
		chi += d * d / (documents / shards)
	}
	if chi > 120 { // 63 degrees of freedom: above that once in 50,000
		t.Errorf("uneven, chi-squared %.0f: %v", chi, held)
	}
}

// answering is a connection whose far end answers everything with the same message.
type answering struct{ proto.Message }

func (a answering) Invoke(_ context.Context, _ string, _, reply any, _ ...grpc.CallOption) error {
	proto.Merge(reply.(proto.Message), a.Message)
	return nil
}

func (a answering) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errors.ErrUnsupported
}

// TestClientDoubtsAnswers: what a far end answers to a write that it may have done is an unknown outcome, whatever is wrong with it.
func TestClientDoubtsAnswers(t *testing.T) {
	w := &WriteRequest{Operations: []Operation{{Collection: "papers", Body: &Forget{IDs: []string{"a"}}}}}
	for what, m := range map[string]*nodeapi.WriteResponse{"no result": {}, "two results": {Results: []*nodeapi.Result{{}, {}}}, "a bad receipt": {Results: []*nodeapi.Result{{Receipt: &nodeapi.Receipt{}}}}} {
		if _, err := NewClient(answering{m}, 0).Write(t.Context(), w); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := NewClient(answering{&nodeapi.StatusResponse{}}, 0).Status(t.Context()); !errors.Is(err, retrieval.ErrCorrupt) {
		t.Errorf("a status of nothing: %v", err)
	}
	hit := &nodeapi.SearchResponse{Answers: []*nodeapi.ShardAnswer{{Hits: []*nodeapi.Hit{{Id: "a"}}}}}
	if _, err := NewClient(answering{hit}, 0).Search(t.Context(), &SearchRequest{Phase: Statistics}); !errors.Is(err, retrieval.ErrCorrupt) {
		t.Errorf("a hit that nobody asked for: %v", err)
	}
	if _, err := NewClient(answering{&nodeapi.SearchResponse{}}, 0).Search(t.Context(), &SearchRequest{Phase: Statistics}); !errors.Is(err, retrieval.ErrCorrupt) {
		t.Errorf("an answer of no shard: %v", err)
	}
}
