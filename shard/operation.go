package shard

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"ostraca/retrieval"
)

// OperationID names one try of one change, so that a retry of it is known: cluster time in ms (8 bytes, big-endian), a random number
// (8), an ordinal (4). Ids sort by time.
type OperationID [20]byte

// NewOperationID returns the id of a batch's first operation.
func NewOperationID(time int64, random uint64) OperationID {
	var id OperationID
	binary.BigEndian.PutUint64(id[:], uint64(max(time, 0)))
	binary.BigEndian.PutUint64(id[8:], random)
	return id
}

// Time returns the cluster time of the id, in ms.
func (id OperationID) Time() int64 { return int64(min(binary.BigEndian.Uint64(id[:]), math.MaxInt64)) }

// Plus returns the id of the operation n places on in a batch.
func (id OperationID) Plus(n int) OperationID {
	binary.BigEndian.PutUint32(id[16:], binary.BigEndian.Uint32(id[16:])+uint32(n))
	return id
}

// Operation is one change of one shard. Body is a *[Put], *[Patch], *[Forget] or *[Configure].
type Operation struct {
	ID         OperationID
	Collection string
	Body       any
}

// maxEpoch is the largest epoch that travels.
const maxEpoch = 1 << 63

// Condition is what must hold for a Put or Patch to take effect.
type Condition struct {
	Kind    ConditionKind
	Version uint64 // of IfVersion
}

// ConditionKind is the kind of a condition; the numbers are those of docs/operations.md.
type ConditionKind uint8

// The conditions.
const (
	Always ConditionKind = iota
	IfAbsent
	IfVersion
)

// Put inserts or replaces a document, whose codes are of an epoch of the collection.
type Put struct {
	Condition Condition
	Epoch     uint64
	Document  Document
}

// Patch sets fields of a document, at the top level; null removes one.
type Patch struct {
	Condition Condition // Always or IfVersion
	ID        string
	Fields    []byte // canonical JSON object
}

// Forget removes documents by id, and all passages of parents. Of a shard, it says what of both is the shard's.
type Forget struct {
	IDs     []string
	Parents []string
}

// Change is what a [Configure] does.
type Change uint8

// The changes; the numbers are those of docs/operations.md.
const (
	Create Change = 1 + iota
	Alter
	Drop
)

// Configure makes, changes or drops a collection. A drop forgets everything in it.
type Configure struct {
	Change        Change
	Configuration Configuration // not of a drop
}

// CheckCollection reports why a name cannot be a collection's, or nil: it goes into paths, buckets and metrics.
func CheckCollection(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("collection has no name: %w", retrieval.ErrInvalid)
	case len(name) > MaxCollectionBytes:
		return fmt.Errorf("collection name %.20q... has %d bytes, the limit is %d: %w", name, len(name), MaxCollectionBytes, retrieval.ErrTooLarge)
	case strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" || name[0] == '-':
		return fmt.Errorf("collection name %q: only a-z, 0-9, - and _ are allowed, and no - at the start: %w", name, retrieval.ErrInvalid)
	}
	return nil
}

// Code is the kind of an outcome; the numbers are those of docs/operations.md.
type Code uint8

// The outcomes.
const (
	OK Code = iota
	Exists
	Changed
	NotFound
	Retry
	Expired
	Early
	Exhausted
	Invalid
)

// remembered tells whether retries are told this outcome: those that say "not like this" are not, for they change nothing and a
// later try may fare better.
func (c Code) remembered() bool { return c <= NotFound }

// Outcome is what became of an operation.
type Outcome struct {
	Code    Code
	Version uint64 // of the document that was written, or that stood in the way
	Count   uint64 // documents forgotten
	Reason  string // for people, where Code is not OK; not remembered
}

// Err returns nil of OK, else an error that wraps what the code stands for.
func (o Outcome) Err() error {
	kinds := [...]error{nil, ErrExists, ErrChanged, retrieval.ErrNotFound, ErrRetry, ErrExpired, retrieval.ErrInvalid, ErrExhausted, retrieval.ErrInvalid}
	switch {
	case o.Code == OK:
		return nil
	case int(o.Code) >= len(kinds):
		return fmt.Errorf("outcome %d: %w", o.Code, errUnspecified)
	case o.Reason == "" && o.Code == Changed:
		return fmt.Errorf("version is %d: %w", o.Version, ErrChanged)
	case o.Reason == "":
		return kinds[o.Code]
	}
	return fmt.Errorf("%s: %w", o.Reason, kinds[o.Code])
}

// Parent returns the parent of a document: its id up to the last '#', or the whole id.
func Parent(id string) string {
	if i := strings.LastIndexByte(id, '#'); i >= 0 {
		return id[:i]
	}
	return id
}
