package shardtest

import (
	"fmt"
	"time"

	"ostraca/shard"
)

// Kind of an operation.
type Kind uint8

// The kinds.
const (
	OpPut Kind = iota
	OpForget
	OpPatch
	OpRead    // linearizable
	OpList    // linearizable, one shard's part; a search for more than there is tells the same
	OpBounded // a read that may be somewhat older
)

// String returns the name of the kind.
func (k Kind) String() string {
	return [...]string{"put", "forget", "patch", "read", "list", "bounded read"}[k]
}

// Op is one operation of a history on one shard.
type Op struct {
	Client           int
	Shard            uint32
	Kind             Kind
	ID               string
	Parent           bool            // of a forget: of all passages of ID
	Part             bool            // of a forget: of other documents too, so Count says nothing
	Number           uint64          // of the document put or found
	Condition        shard.Condition // of a put or patch
	Bound            time.Duration   // of a bounded read
	Call, Return     int64           // in their order
	Called, Returned time.Time
	Unknown          bool // it may take effect at any time after the call
	Code             shard.Code
	Version          uint64           // put, patch: given, or in the way; read: found, 0 for none
	Count            uint64           // forgotten
	Found            map[string]Value // of a list
}

// Value is a document as it was read.
type Value struct{ Version, Number uint64 }

// Observation is a document at one index of a shard, on whatever replica: by Raft there is one truth about it.
type Observation struct {
	Shard uint32
	Index uint64
	ID    string
	Value
}

// wrote tells whether the operation is a put or patch that surely took effect.
func (o Op) wrote() bool {
	return (o.Kind == OpPut || o.Kind == OpPatch) && !o.Unknown && o.Code == shard.OK
}

// touches tells whether the operation reads or changes a document.
func (o Op) touches(id string) bool {
	if o.Kind == OpList {
		_, ok := o.Found[id]
		return ok
	}
	return o.ID == id || o.Parent && shard.Parent(id) == o.ID
}

// String returns the operation on a line, for people.
func (o Op) String() string {
	const clock = "04:05.000"
	s := fmt.Sprintf("%s-%s client %d: %s %q of shard %d, version %d, number %x", o.Called.Format(clock), o.Returned.Format(clock), o.Client, o.Kind, o.ID, o.Shard, o.Version, o.Number)
	switch {
	case o.Kind == OpList:
		return s + fmt.Sprintf(", found %v", o.Found)
	case o.Unknown:
		return s + ", outcome unknown"
	case o.Kind == OpForget:
		return s + fmt.Sprintf(", parent %v, count %d", o.Parent, o.Count)
	case o.Kind <= OpPatch:
		return s + fmt.Sprintf(", condition %v, outcome %d", o.Condition, o.Code)
	}
	return s
}
