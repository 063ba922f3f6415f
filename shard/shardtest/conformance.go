package shardtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"

	"ostraca/retrieval"
	"ostraca/shard"
)

// Collection is the collection of the conformance suite: whoever opens a memory makes it, in the configuration that it is given.
const Collection = "papers"

// Conformance is what every shard.Memory promises, whatever it is made of. open returns a new memory with an empty [Collection] of a
// configuration, and what tells the cluster time that operation ids are made of. It is called inside a testing/synctest bubble, once for each part.
func Conformance(t *testing.T, open func(t *testing.T, c shard.Configuration) (m shard.Memory, now func() int64)) {
	type part struct {
		name string
		test func(*suite)
	}
	run := func(t *testing.T, config shard.Configuration, c part) {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, now := open(t, config)
				c.test(&suite{T: t, m: m, now: now, codec: config.Codec})
			})
		})
	}
	for _, c := range []part{
		{"Documents", (*suite).documents},
		{"Bare", (*suite).bare},
		{"List", (*suite).list},
		{"Patch", (*suite).patch},
		{"Forget", (*suite).forget},
		{"Conditions", (*suite).conditions},
		{"Retries", (*suite).retries},
		{"Age", (*suite).age},
		{"Refusals", (*suite).refusals},
		{"Search", (*suite).search},
		{"Hits", (*suite).hits},
		{"Filters", (*suite).filters},
		{"FilterLimits", (*suite).filterLimits},
		{"Levels", (*suite).levels},
		{"Status", (*suite).status},
		{"Limits", (*suite).limits},
		{"BatchLimits", (*suite).batchLimits},
		{"ReadLimits", (*suite).readLimits},
	} {
		run(t, Configuration(), c)
	}
	for _, codec := range retrieval.Codecs {
		config := Configuration()
		config.Codec = codec
		run(t, config, part{"Codec/" + string(codec), (*suite).coded})
	}
}

// suite is one part's memory, and how it is used.
type suite struct {
	*testing.T
	m     shard.Memory
	now   func() int64
	count uint64
	codec retrieval.Codec
}

// id returns an operation id that was not used before.
func (s *suite) id() shard.OperationID {
	s.count++
	return shard.NewOperationID(s.now(), s.count)
}

// try writes operations, which are given an id unless they have one.
func (s *suite) try(operations ...shard.Operation) ([]shard.Result, error) {
	base := s.id()
	for i := range operations {
		if operations[i].ID == (shard.OperationID{}) {
			operations[i].ID = base.Plus(i)
		}
	}
	return s.m.Write(s.Context(), &shard.WriteRequest{Operations: operations, Seen: s.now()})
}

// write is try for operations that get an outcome each.
func (s *suite) write(operations ...shard.Operation) []shard.Result {
	s.Helper()
	results, err := s.try(operations...)
	if err != nil || len(results) != len(operations) {
		s.Fatalf("write: %d results for %d operations: %v", len(results), len(operations), err)
	}
	return results
}

// ok is write for operations that take effect.
func (s *suite) ok(operations ...shard.Operation) []shard.Result {
	s.Helper()
	results := s.write(operations...)
	for i, r := range results {
		if err := r.Failure(); err != nil || len(r.Receipts) == 0 {
			s.Fatalf("operation %d: %v, %d receipts", i, err, len(r.Receipts))
		}
	}
	return results
}

// fails expects that one operation is refused, at the door or with an outcome, by an error of a kind.
func (s *suite) fails(what string, kind error, o shard.Operation) shard.Outcome {
	s.Helper()
	results, err := s.try(o)
	if err != nil {
		results = []shard.Result{{Err: err}}
	}
	if err := results[0].Failure(); !errors.Is(err, kind) {
		s.Errorf("%s: %v, want one that is %q", what, err, kind)
	}
	return results[0].Outcome
}

// is expects an error of a kind.
func (s *suite) is(what string, err, kind error) {
	s.Helper()
	if !errors.Is(err, kind) {
		s.Errorf("%s: %v, want one that is %q", what, err, kind)
	}
}

func (s *suite) put(id string, number uint64, c shard.Condition) shard.Operation {
	return Put(Collection, Document(id, number), c)
}

// puts returns puts of documents, by id and number.
func (s *suite) puts(documents map[string]uint64) []shard.Operation {
	var out []shard.Operation
	for _, id := range slices.Sorted(maps.Keys(documents)) {
		out = append(out, s.put(id, documents[id], shard.Condition{}))
	}
	return out
}

func (s *suite) forgets(ids, parents []string) shard.Operation {
	return shard.Operation{Collection: Collection, Body: &shard.Forget{IDs: ids, Parents: parents}}
}

func (s *suite) patchOf(id, fields string, c shard.Condition) shard.Operation {
	return shard.Operation{Collection: Collection, Body: &shard.Patch{ID: id, Fields: []byte(fields), Condition: c}}
}

// get returns documents with their codes.
func (s *suite) get(ids ...string) []shard.Found {
	s.Helper()
	a, err := s.m.Get(s.Context(), &shard.GetRequest{Collection: Collection, IDs: ids, Codes: true})
	if err != nil || len(a.States) == 0 && len(ids) > 0 {
		s.Fatalf("get %q: %v", ids, err)
	}
	return a.Documents
}

// page returns a page of the list, with its codes.
func (s *suite) page(after string, limit int) *shard.ListAnswer {
	s.Helper()
	a, err := s.m.List(s.Context(), &shard.ListRequest{Collection: Collection, After: after, Limit: limit, Codes: true})
	if err != nil || len(a.States) == 0 || len(a.Documents) > limit {
		s.Fatalf("list %d after %q: %v", limit, after, err)
	}
	return a
}

// all returns all documents, in pages of a size.
func (s *suite) all(limit int) []shard.Found {
	s.Helper()
	out, err := All(s.Context(), s.m, Collection, limit)
	if err != nil {
		s.Fatal(err)
	}
	return out
}

// All lists a collection in pages of a size, with codes.
func All(ctx context.Context, m shard.Memory, collection string, limit int) ([]shard.Found, error) {
	var out []shard.Found
	after := ""
	for {
		a, err := m.List(ctx, &shard.ListRequest{Collection: collection, After: after, Limit: limit, Codes: true})
		if err != nil {
			return nil, err
		}
		out = append(out, a.Documents...)
		if !a.More {
			return out, nil
		}
		if a.Next <= after {
			return nil, fmt.Errorf("the page after %q ends at %q", after, a.Next)
		}
		after = a.Next
	}
}

// holds expects exactly these documents, by id and number.
func (s *suite) holds(want map[string]uint64) {
	s.Helper()
	got := s.all(7)
	for i, id := range slices.Sorted(maps.Keys(want)) {
		if i >= len(got) {
			s.Fatalf("%d documents are held, of %d", len(got), len(want))
		}
		s.same(got[i], Document(id, want[id]))
	}
	if len(got) > len(want) {
		s.Errorf("%d documents are held, want %d: %q is one too many", len(got), len(want), ids(got))
	}
}

// same expects a document as it was put.
func (s *suite) same(got shard.Found, want shard.Document) {
	s.Helper()
	if !SameDocument(got.Document, want) || got.Version == 0 {
		s.Errorf("document is\n%+v\nwant\n%+v", got, want)
	}
}

// SameDocument tells whether two documents are the same to the byte.
func SameDocument(a, b shard.Document) bool {
	return a.ID == b.ID && a.Text == b.Text && bytes.Equal(a.Fields, b.Fields) && a.Codes.Codec == b.Codes.Codec && a.Codes.Width == b.Codes.Width &&
		bytes.Equal(a.Codes.Rows, b.Codes.Rows) && slices.Equal(a.Codes.Scales, b.Codes.Scales) && slices.Equal(a.Spans, b.Spans) &&
		bytes.Equal(a.Codes.Clusters, b.Codes.Clusters) && samePooled(a.Codes.Coarse, b.Codes.Coarse) && samePooled(a.Codes.Sketch, b.Codes.Sketch)
}

func samePooled(a, b retrieval.Pooled) bool {
	return bytes.Equal(a.Rows, b.Rows) && slices.Equal(a.Scales, b.Scales)
}

func ids(all []shard.Found) []string {
	var out []string
	for _, d := range all {
		out = append(out, d.ID)
	}
	return out
}
