package shard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"ostraca/retrieval"
	"ostraca/storage"
)

// writing is an operation on the documents of one collection, inside a batch.
type writing struct {
	*batch
	collection *collection
	name       string
	version    uint64
}

// meets tells whether a condition holds, and the version of the document, 0 if there is none.
func (w writing) meets(c Condition, id string) (Outcome, uint64, error) {
	row, err := w.tx.Get(bucketVersions(w.name), []byte(id))
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return Outcome{}, 0, err
	}
	var held uint64
	if err == nil {
		held = binary.BigEndian.Uint64(row)
	}
	switch {
	case c.Kind == IfAbsent && held != 0:
		return Outcome{Code: Exists, Version: held}, held, nil
	case c.Kind == IfVersion && held != c.Version:
		return Outcome{Code: Changed, Version: held}, held, nil
	}
	return Outcome{}, held, nil
}

func (w writing) put(p *Put) (Outcome, error) {
	d, c := &p.Document, w.collection
	if here := w.machine.identity; Place(d.ID, here.Shards) != here.Shard {
		return Outcome{Code: Invalid, Reason: fmt.Sprintf("document %q is of shard %d, not of %d", d.ID, Place(d.ID, here.Shards), here.Shard)}, nil
	}
	switch {
	case p.Epoch != c.Epoch:
		return Outcome{Code: Retry, Reason: fmt.Sprintf("the codes are of epoch %d, the shard holds %d", p.Epoch, c.Epoch)}, nil
	case !isBare(d.Codes) && (d.Codes.Width != c.Width || d.Codes.Codec != c.Codec):
		return Outcome{Code: Invalid, Reason: fmt.Sprintf("codes are %s, %d wide; the collection holds %s, %d wide", d.Codes.Codec, d.Codes.Width, c.Codec, c.Width)}, nil
	}
	out, held, err := w.meets(p.Condition, d.ID)
	if err != nil || out.Code != OK {
		return out, err
	}
	if parent := Parent(d.ID); held == 0 && c.parents[parent] >= MaxPassages {
		return Outcome{Code: Exhausted, Reason: fmt.Sprintf("parent %q holds %d passages, the limit", parent, MaxPassages)}, nil
	}
	if held == 0 {
		c.count(d.ID, 1)
	}
	w.gather().put(d)
	return w.store(d)
}

// isBare tells whether codes say nothing at all: so a document without tokens may come.
func isBare(c retrieval.Codes) bool { return c.Len() == 0 && c.Width == 0 && c.Codec == "" }

// store writes a document's rows.
func (w writing) store(d *Document) (Outcome, error) {
	err := errors.Join(
		w.tx.Put(bucketDocuments(w.name), []byte(d.ID), appendRow(nil, d)),
		w.tx.Put(bucketVersions(w.name), []byte(d.ID), binary.BigEndian.AppendUint64(nil, w.version)))
	return Outcome{Version: w.version}, err
}

func (w writing) gather() *gathering {
	g := w.gathered[w.name]
	if g == nil {
		g = &gathering{}
		w.gathered[w.name] = g
	}
	return g
}

func (w writing) patch(p *Patch) (Outcome, error) {
	out, held, err := w.meets(p.Condition, p.ID)
	switch {
	case err != nil || out.Code != OK:
		return out, err
	case held == 0:
		return Outcome{Code: NotFound}, nil
	}
	row, err := w.tx.Get(bucketDocuments(w.name), []byte(p.ID))
	if err != nil {
		return Outcome{}, err
	}
	d, err := parseRow(p.ID, row)
	if err != nil {
		return Outcome{}, err
	}
	if d.Fields, err = patchFields(d.Fields, p.Fields); err != nil {
		return Outcome{}, err
	}
	if len(d.Fields) > MaxFieldsBytes {
		return Outcome{Code: Invalid, Reason: fmt.Sprintf("fields would have %d bytes, the limit is %d", len(d.Fields), MaxFieldsBytes)}, nil
	}
	if n := rowBytes(&d); n > MaxDocumentBytes {
		return Outcome{Code: Invalid, Reason: fmt.Sprintf("the document would have %d bytes, the limit is %d", n, MaxDocumentBytes)}, nil
	}
	w.gather().touch(d.ID)
	return w.store(&d)
}

func (w writing) forget(f *Forget) (Outcome, error) {
	ids := map[string]bool{}
	for _, id := range f.IDs {
		ids[id] = true
	}
	for _, parent := range f.Parents {
		for _, id := range w.passages(parent) {
			ids[id] = true
		}
	}
	var out Outcome
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		_, err := w.tx.Get(bucketVersions(w.name), []byte(id))
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err = errors.Join(err, w.tx.Delete(bucketDocuments(w.name), []byte(id)), w.tx.Delete(bucketVersions(w.name), []byte(id))); err != nil {
			return Outcome{}, err
		}
		w.collection.count(id, -1)
		w.gather().set(id, nil)
		w.forgets = true
		out.Count++
	}
	return out, w.tx.Err()
}

// passages returns the ids of a parent's documents: the parent itself if it is its own, and every id that is the parent, '#' and
// something without another '#'.
func (w writing) passages(parent string) []string {
	var out []string
	if Parent(parent) == parent {
		out = append(out, parent)
	}
	from := []byte(parent + "#")
	for id := range w.tx.Scan(bucketVersions(w.name), from) {
		if !slices.Equal(id[:min(len(id), len(from))], from) {
			break
		}
		if Parent(string(id)) == parent {
			out = append(out, string(id))
		}
	}
	return out
}

// checkPlace reports an operation that is not this shard's, or nil. Of a forget, every id and parent must be.
func (i Identity) checkPlace(o *Operation) error {
	wrong := func(what, id string, at uint32) error {
		if at == i.Shard {
			return nil
		}
		return fmt.Errorf("%s %q is of shard %d, not of %d: %w", what, id, at, i.Shard, ErrWrongShard)
	}
	switch body := o.Body.(type) {
	case *Put:
		return wrong("document", body.Document.ID, Place(body.Document.ID, i.Shards))
	case *Patch:
		return wrong("document", body.ID, Place(body.ID, i.Shards))
	case *Forget:
		for _, id := range body.IDs {
			if err := wrong("document", id, Place(id, i.Shards)); err != nil {
				return err
			}
		}
		for _, parent := range body.Parents {
			if err := wrong("parent", parent, PlaceParent(parent, i.Shards)); err != nil {
				return err
			}
		}
	case nil:
		return fmt.Errorf("operation has no body: %w", retrieval.ErrInvalid)
	}
	return nil
}
