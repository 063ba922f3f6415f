package shard

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"ostraca/retrieval"
)

const entryVersion = 2

// kinds of operations on the wire and in the log.
const (
	kindPut = 1 + iota
	kindPatch
	kindForget
	kindConfigure
)

// appendEntry appends the entry of a stamp, in ms, and encoded operations.
func appendEntry(b []byte, time int64, operations [][]byte) []byte {
	b = append(b, entryVersion)
	b = binary.LittleEndian.AppendUint64(b, uint64(time))
	b = binary.AppendUvarint(b, uint64(len(operations)))
	for _, o := range operations {
		b = appendString(b, o)
	}
	return b
}

// splitEntry reads an entry: its stamp and the bytes of its operations.
func splitEntry(b []byte) (time int64, operations [][]byte, err error) {
	r := reader{rest: b}
	if v := r.byte("entry"); v != entryVersion {
		r.fail("entry of version %d, this release knows %d", v, entryVersion)
	}
	time = int64(r.fixed64("time"))
	for range r.uvarint(MaxEntryOperations, "operations") {
		o := r.bytes(MaxOperationBytes, "operation")
		if r.err != nil {
			break
		}
		operations = append(operations, o)
	}
	return time, operations, r.end("entry")
}

// parseOperations reads the operations of an entry, which stay in its memory.
func parseOperations(encoded [][]byte) ([]Operation, error) {
	operations := make([]Operation, len(encoded))
	for i, b := range encoded {
		var err error
		if operations[i], err = parseOperation(b); err != nil {
			return nil, fmt.Errorf("operation %d: %w", i, err)
		}
	}
	return operations, nil
}

// appendOperation appends an operation.
func appendOperation(b []byte, o *Operation) []byte {
	b = append(b, o.ID[:]...)
	switch body := o.Body.(type) {
	case *Put:
		b = appendString(append(b, kindPut), o.Collection)
		b = appendCondition(b, body.Condition)
		b = binary.AppendUvarint(b, body.Epoch)
		b = appendString(b, body.Document.ID)
		return appendRow(b, &body.Document)
	case *Patch:
		b = appendString(append(b, kindPatch), o.Collection)
		b = appendCondition(b, body.Condition)
		b = appendString(b, body.ID)
		return appendString(b, body.Fields)
	case *Forget:
		b = appendString(append(b, kindForget), o.Collection)
		return appendStrings(appendStrings(b, body.IDs), body.Parents)
	case *Configure:
		b = appendString(append(b, kindConfigure), o.Collection)
		b = append(b, byte(body.Change))
		if body.Change != Drop {
			b = appendConfiguration(b, body.Configuration)
		}
	}
	return b
}

// size returns about how many bytes the operation takes, encoded.
func (o *Operation) size() int {
	n := 64 + len(o.Collection)
	switch body := o.Body.(type) {
	case *Put:
		n += len(body.Document.ID) + rowBytes(&body.Document)
	case *Patch:
		n += len(body.ID) + len(body.Fields)
	case *Forget:
		for _, id := range body.IDs {
			n += len(id) + 2
		}
		for _, id := range body.Parents {
			n += len(id) + 2
		}
	case *Configure:
		n += body.Configuration.fittedBytes() + 16*len(body.Configuration.Calibration)
	}
	return n
}

func appendCondition(b []byte, c Condition) []byte {
	b = append(b, byte(c.Kind))
	if c.Kind == IfVersion {
		b = binary.AppendUvarint(b, c.Version)
	}
	return b
}

func appendStrings(b []byte, all []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(all)))
	for _, s := range all {
		b = appendString(b, s)
	}
	return b
}

// parseOperation reads an operation. What it means is checked at the door, by [Operation.check].
func parseOperation(b []byte) (Operation, error) {
	r := reader{rest: b}
	var o Operation
	copy(o.ID[:], r.take(uint64(len(o.ID)), "operation id"))
	kind := r.byte("kind")
	o.Collection = r.string(MaxCollectionBytes, "collection")
	switch kind {
	case kindPut:
		p := &Put{Condition: r.condition(), Epoch: r.uvarint(maxEpoch, "epoch")}
		id := r.string(retrieval.MaxIDBytes, "id")
		if r.err != nil {
			break
		}
		d, err := parseRow(id, r.rest)
		if err != nil {
			return o, err
		}
		p.Document, r.rest, o.Body = d, nil, p
	case kindPatch:
		o.Body = &Patch{Condition: r.condition(), ID: r.string(retrieval.MaxIDBytes, "id"), Fields: r.bytes(MaxFieldsBytes, "fields")}
	case kindForget:
		o.Body = &Forget{IDs: r.strings(), Parents: r.strings()}
	case kindConfigure:
		c := &Configure{Change: Change(r.byte("change"))}
		if c.Change != Drop {
			c.Configuration = r.configuration()
		}
		o.Body = c
	default:
		r.fail("operation of kind %d, which this release does not know", kind)
	}
	if err := r.end("operation"); err != nil {
		return o, err
	}
	return o, nil
}

func (r *reader) condition() Condition {
	c := Condition{Kind: ConditionKind(r.byte("condition"))}
	switch {
	case c.Kind == IfVersion:
		c.Version = r.uvarint(1<<64-1, "version")
	case c.Kind > IfVersion:
		r.fail("condition %d is unknown", c.Kind)
	}
	return c
}

func (r *reader) strings() []string {
	n := r.uvarint(MaxForget, "count")
	if n > uint64(len(r.rest)) {
		r.fail("%d strings in %d bytes", n, len(r.rest))
		return nil
	}
	var out []string
	for range n {
		out = append(out, r.string(retrieval.MaxIDBytes, "id"))
	}
	return out
}

// check reports why an operation can be of no shard, or nil. Errors wrap retrieval.ErrInvalid or retrieval.ErrTooLarge.
func (o *Operation) check() error {
	if err := CheckCollection(o.Collection); err != nil {
		return err
	}
	switch body := o.Body.(type) {
	case *Put:
		if body.Condition.Kind > IfVersion || body.Epoch > maxEpoch { // what cannot be read back would halt every replica
			return fmt.Errorf("condition %d or epoch %d is unknown: %w", body.Condition.Kind, body.Epoch, retrieval.ErrInvalid)
		}
		return body.Document.check()
	case *Patch:
		if body.Condition.Kind > IfVersion {
			return fmt.Errorf("condition %d is unknown: %w", body.Condition.Kind, retrieval.ErrInvalid)
		}
		if body.Condition.Kind == IfAbsent {
			return fmt.Errorf("a patch of %q if absent would patch nothing: %w", body.ID, retrieval.ErrInvalid)
		}
		if err := retrieval.CheckID(body.ID); err != nil {
			return err
		}
		return checkFields(body.Fields)
	case *Forget:
		if n := len(body.IDs) + len(body.Parents); n == 0 || n > MaxForget {
			return fmt.Errorf("a forget names %d ids and parents, it must be 1 to %d: %w", n, MaxForget, retrieval.ErrInvalid)
		}
		for _, all := range [][]string{body.IDs, body.Parents} {
			for _, id := range all {
				if err := retrieval.CheckID(id); err != nil {
					return err
				}
			}
		}
		return nil
	case *Configure:
		switch body.Change {
		case Create, Alter:
			return body.Configuration.check()
		case Drop:
			return nil
		}
		return fmt.Errorf("change %d of a collection is unknown: %w", body.Change, retrieval.ErrInvalid)
	}
	return fmt.Errorf("operation has no body: %w", retrieval.ErrInvalid)
}

// fingerprint tells a retry, which has the bytes of the first try, from another operation with its id.
func fingerprint(operation []byte) uint64 { return xxhash.Sum64(operation[len(OperationID{}):]) }

// The outcome that is remembered, behind the fingerprint of its operation.

func appendOutcome(b []byte, o Outcome) []byte {
	b = append(b, byte(o.Code))
	b = binary.AppendUvarint(b, o.Version)
	return binary.AppendUvarint(b, o.Count)
}

func parseOutcome(b []byte) (Outcome, error) {
	r := reader{rest: b}
	o := Outcome{Code: Code(r.byte("code")), Version: r.uvarint(1<<64-1, "version"), Count: r.uvarint(1<<63, "count")}
	return o, r.end("outcome")
}
