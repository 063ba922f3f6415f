package shard

import (
	"encoding/binary"
	"fmt"

	"ostraca/retrieval"
)

// The bytes of docs/operations.md and docs/state.md: fixed integers, uvarints, and strings behind their length.

func appendString[T ~string | ~[]byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// reader takes bytes apart. The first thing that is wrong stays, and everything after it reads as zero, so a decoder checks once.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format+": %w", append(args, retrieval.ErrCorrupt)...)
		r.rest = nil
	}
}

// take returns the next n bytes, in the memory of the input.
func (r *reader) take(n uint64, what string) []byte {
	if n > uint64(len(r.rest)) {
		r.fail("%s: %d bytes of %d", what, len(r.rest), n)
		return nil
	}
	out := r.rest[:n:n]
	r.rest = r.rest[n:]
	return out
}

func (r *reader) byte(what string) byte {
	if b := r.take(1, what); b != nil {
		return b[0]
	}
	return 0
}

// uvarint reads a number of at most limit, in its shortest form: equal things have equal bytes.
func (r *reader) uvarint(limit uint64, what string) uint64 {
	v, n := binary.Uvarint(r.rest)
	switch {
	case n <= 0:
		r.fail("%s: not a number", what)
		return 0
	case n > 1 && r.rest[n-1] == 0:
		r.fail("%s: a number longer than it needs to be", what)
		return 0
	case v > limit:
		r.fail("%s is %d, the limit is %d", what, v, limit)
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) bytes(limit int, what string) []byte {
	return r.take(r.uvarint(uint64(limit), what+" length"), what)
}

func (r *reader) string(limit int, what string) string { return string(r.bytes(limit, what)) }

func (r *reader) fixed64(what string) uint64 {
	if b := r.take(8, what); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// end returns what went wrong, also that bytes are left over.
func (r *reader) end(what string) error {
	if len(r.rest) > 0 {
		r.fail("%s: %d bytes left over", what, len(r.rest))
	}
	return r.err
}
