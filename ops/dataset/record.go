package dataset

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"strconv"

	"ostraca/retrieval"
)

// record is a line that is a JSON object with an id. What a reader has taken is no longer in rest.
type record struct {
	line
	id   string
	rest map[string]json.RawMessage
}

// records reads a file of records. It ends after the first error, and a file without any record is one.
func records(file string, all iter.Seq2[line, error]) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		for r, err := range eachRecord(file, all) {
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// eachRecord reads a file of records, and goes on after a [LineError].
func eachRecord(file string, all iter.Seq2[line, error]) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		seen, none := newIDs(), true
		for l, err := range all {
			var r record
			if err == nil {
				r, err = parse(l)
			}
			if err == nil {
				if first, ok := seen.add(r.id, l.number); !ok {
					err = l.invalid("id %q was already on line %d", r.id, first)
				}
			}
			none = false
			if !yield(r, err) || err != nil && !isLineError(err) {
				return
			}
		}
		if none {
			yield(record{}, fmt.Errorf("%s: has no lines but blank ones: %w", file, retrieval.ErrInvalid))
		}
	}
}

func isLineError(err error) bool {
	_, ok := errors.AsType[*LineError](err)
	return ok
}

// parse reads the object of a line and takes the id out of it: `_id`, or else `id`.
func parse(l line) (record, error) {
	r := record{line: l}
	if err := json.Unmarshal(l.text, &r.rest); err != nil {
		if !json.Valid(l.text) {
			return r, l.invalid("bad JSON: %v", err)
		}
	}
	if r.rest == nil { // another kind of value, or null
		return r, l.invalid("want a JSON object")
	}
	if loneSurrogate(l.text) {
		return r, l.invalid("half of a surrogate pair (\\ud800 to \\udfff), which is no character")
	}
	key := "_id"
	if _, ok := r.rest[key]; !ok {
		key = "id"
	}
	raw, ok := r.rest[key]
	if !ok {
		return r, l.invalid(`no "_id" and no "id"`)
	}
	delete(r.rest, key)
	if _, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		r.id = string(raw) // a whole number, as it is written
	} else if raw[0] != '"' {
		return r, l.invalid("%q is neither a string nor a whole number", key)
	} else if err := json.Unmarshal(raw, &r.id); err != nil {
		return r, l.invalid("%q: %v", key, err)
	}
	if err := retrieval.CheckID(r.id); err != nil {
		return r, l.wrap(err)
	}
	return r, nil
}

// checkText reports a text over a limit of bytes.
func checkText(text string, limit int) error {
	if len(text) > limit {
		return fmt.Errorf("the text has %d bytes, the limit is %d: %w", len(text), limit, retrieval.ErrTooLarge)
	}
	return nil
}

// takeString takes a string out of the record. It is not ok when the name is missing or null.
func (r record) takeString(name string) (s string, ok bool, err error) {
	raw, ok := r.rest[name]
	delete(r.rest, name)
	if !ok || string(raw) == "null" {
		return "", false, nil
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", false, r.invalid("%q is not a string", name)
	}
	return s, true, nil
}

// takeFields takes everything that is left: the content of the object `fields`, and every other name.
func (r record) takeFields() (map[string]any, error) {
	fields := map[string]any{}
	if raw, ok := r.rest["fields"]; ok {
		delete(r.rest, "fields")
		if err := json.Unmarshal(raw, &fields); err != nil {
			return nil, r.invalid(`"fields" is not an object of values: %v`, err)
		}
		if fields == nil { // null
			fields = map[string]any{}
		}
	}
	for name, raw := range r.rest {
		if name == "metadata" && string(raw) == "{}" {
			continue // BEIR has it on every line
		}
		if _, ok := fields[name]; ok {
			return nil, r.invalid("%q is given twice, inside and outside of \"fields\"", name)
		}
		var value any
		if err := json.Unmarshal(raw, &value); err != nil { // a number over 1e308
			return nil, r.invalid("%q: %v", name, err)
		}
		fields[name] = value
	}
	if len(fields) == 0 {
		return nil, nil
	}
	return fields, nil
}

// loneSurrogate reports a \u escape of half a surrogate pair in valid JSON: encoding/json would put U+FFFD in its place.
func loneSurrogate(text []byte) bool {
	for {
		i := bytes.IndexByte(text, '\\')
		if i < 0 {
			return false
		}
		text = text[i:]
		u := escaped(text)
		switch {
		case u < 0:
			text = text[2:] // an escape of one character, perhaps of a backslash
			continue
		case 0xd800 <= u && u < 0xdc00:
			if low := escaped(text[6:]); low < 0xdc00 || low > 0xdfff {
				return true
			}
			text = text[6:]
		case 0xdc00 <= u && u < 0xe000:
			return true
		}
		text = text[6:]
	}
}

// escaped returns the number of the \u escape that text starts with, or -1.
func escaped(text []byte) int {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return -1
	}
	u, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return int(u)
}

// ids remembers the ids of a file by 128 bits of hash, which needs no more memory for long ones and is nothing that
// the garbage collector has to follow. Two ids of one hash are not to be expected before 2^60 documents.
type ids struct {
	seeds [2]maphash.Seed
	line  map[[2]uint64]int
}

func newIDs() ids {
	return ids{[2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, map[[2]uint64]int{}}
}

// add remembers the line of an id, or returns the line that already had it.
func (s ids) add(id string, number int) (first int, ok bool) {
	key := [2]uint64{maphash.String(s.seeds[0], id), maphash.String(s.seeds[1], id)}
	if first, ok := s.line[key]; ok {
		return first, false
	}
	s.line[key] = number
	return number, true
}
