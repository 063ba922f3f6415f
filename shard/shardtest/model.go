package shardtest

import (
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/anishathalye/porcupine"

	"ostraca/shard"
)

// held is a shard's documents, by id: the state of the model.
type held = map[string]Value

// linearizable asks porcupine. A write of unknown outcome may take effect at any time after its call, so its return is put at the end.
func linearizable(what string, ops []Op, patience time.Duration) error {
	history := make([]porcupine.Operation, len(ops))
	for i, o := range ops {
		history[i] = porcupine.Operation{ClientId: i, Input: o, Call: o.Call, Output: o, Return: o.Return}
		if o.Unknown {
			history[i].Return = math.MaxInt64
		}
	}
	model := porcupine.Model{
		Init:  func() any { return held{} },
		Step:  func(state, input, _ any) (bool, any) { return step(state.(held), input.(Op)) },
		Equal: func(a, b any) bool { return maps.Equal(a.(held), b.(held)) },
	}
	switch porcupine.CheckOperationsTimeout(model, history, patience) {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return fmt.Errorf("%s: %d operations could not be judged within %v", what, len(ops), patience)
	}
	return fmt.Errorf("%s: %d operations are not linearizable", what, len(ops))
}

// unknownVersion is that of a put whose writer was not told: a read will show it.
const unknownVersion = math.MaxUint64

// step is the model: a map of documents.
func step(s held, o Op) (bool, any) {
	v, there := s[o.ID]
	switch o.Kind {
	case OpRead:
		return same(v, Value{o.Version, o.Number}), learn(s, o.ID, Value{o.Version, o.Number})
	case OpList:
		next := any(s)
		for id, found := range o.Found {
			if !same(s[id], found) {
				return false, s
			}
			next = learn(next.(held), id, found)
		}
		return true, next
	case OpForget:
		next := maps.Clone(s)
		maps.DeleteFunc(next, func(id string, _ Value) bool { return o.touches(id) })
		return o.Unknown || o.Part || o.Count == uint64(len(s)-len(next)), next
	case OpPatch:
		return stepPatch(s, o)
	}
	meets := o.Condition.Kind == shard.Always || o.Condition.Kind == shard.IfAbsent && !there ||
		o.Condition.Kind == shard.IfVersion && (v.Version == o.Condition.Version || v.Version == unknownVersion)
	if o.Unknown {
		if !meets {
			return true, s
		}
		return true, put(s, o.ID, Value{unknownVersion, o.Number})
	}
	switch o.Code {
	case shard.OK:
		return meets, put(s, o.ID, Value{o.Version, o.Number})
	case shard.Exists:
		return there && (v.Version == o.Version || v.Version == unknownVersion), s
	}
	return v.Version != o.Condition.Version && (v.Version == o.Version || v.Version == unknownVersion), s
}

// stepPatch is step for a patch: the document stays and its version changes.
func stepPatch(s held, o Op) (bool, any) {
	v, there := s[o.ID]
	meets := there && (o.Condition.Kind == shard.Always || v.Version == o.Condition.Version || v.Version == unknownVersion)
	switch {
	case o.Unknown && !meets:
		return true, s
	case o.Unknown:
		return true, put(s, o.ID, Value{unknownVersion, v.Number})
	case o.Code == shard.OK:
		return meets, put(s, o.ID, Value{o.Version, v.Number})
	case o.Code == shard.NotFound:
		return !there, s
	}
	return v.Version != o.Condition.Version && (v.Version == o.Version || v.Version == unknownVersion), s
}

// same tells whether a read may show what the model holds.
func same(model, read Value) bool {
	return model == read || model.Version == unknownVersion && model.Number == read.Number && read.Version != 0
}

// learn takes the version of a put of unknown outcome from a read of it.
func learn(s held, id string, read Value) any {
	if s[id].Version != unknownVersion {
		return s
	}
	return put(s, id, read)
}

func put(s held, id string, v Value) held {
	next := maps.Clone(s)
	next[id] = v
	return next
}
