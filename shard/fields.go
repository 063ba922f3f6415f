package shard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"ostraca/retrieval"
)

// Fields are a JSON object in one canonical form, so that equal fields are equal bytes: keys sorted at every level, no spaces, numbers
// as they were written, text escaped only where JSON must. The empty object is no bytes at all.

// CanonicalFields returns the canonical form of a JSON object, or of nothing. Errors wrap retrieval.ErrInvalid or
// retrieval.ErrTooLarge.
func CanonicalFields(raw []byte) ([]byte, error) {
	if len(raw) > MaxFieldsBytes {
		return nil, fmt.Errorf("fields have %d bytes, the limit is %d: %w", len(raw), MaxFieldsBytes, retrieval.ErrTooLarge)
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var object map[string]any
	if err := d.Decode(&object); err != nil {
		return nil, fmt.Errorf("fields are not a JSON object (%v): %w", err, retrieval.ErrInvalid)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("fields are more than one JSON object: %w", retrieval.ErrInvalid)
	}
	if len(object) == 0 {
		return nil, nil
	}
	out, err := marshal(object)
	if err == nil && len(out) > MaxFieldsBytes { // an invalid byte becomes three
		return nil, fmt.Errorf("fields have %d bytes, the limit is %d: %w", len(out), MaxFieldsBytes, retrieval.ErrTooLarge)
	}
	return out, err
}

// checkFields reports why fields are not in canonical form, or nil.
func checkFields(fields []byte) error {
	canonical, err := CanonicalFields(fields)
	if err == nil && !bytes.Equal(canonical, fields) {
		err = fmt.Errorf("fields are not in canonical form: %w", retrieval.ErrInvalid)
	}
	return err
}

// patchFields sets what patch has in fields; null removes. Values move as bytes: nothing of them is computed.
func patchFields(fields, patch []byte) ([]byte, error) {
	object, change := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	for _, x := range []struct {
		from []byte
		to   *map[string]json.RawMessage
	}{{fields, &object}, {patch, &change}} {
		if len(x.from) == 0 {
			continue
		}
		if err := json.Unmarshal(x.from, x.to); err != nil {
			return nil, fmt.Errorf("fields: %v: %w", err, retrieval.ErrCorrupt)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(change)) {
		if bytes.Equal(change[name], []byte("null")) {
			delete(object, name)
		} else {
			object[name] = change[name]
		}
	}
	if len(object) == 0 {
		return nil, nil
	}
	return marshal(object)
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("fields: %v: %w", err, retrieval.ErrInvalid)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
