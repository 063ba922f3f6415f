package shard

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"ostraca/retrieval"
	"ostraca/retrieval/index"
)

// ListSample is what the lists of a collection are to be made of: documents like those that it will hold, as texts, vectors or codes. It is
// declared influence, and no part of the collection: nothing that is forgotten changes the lists.
type ListSample struct {
	Name      string  // told with the collection
	Documents []Input // at most retrieval.MaxLists; only their content and, in errors, their ids are looked at
}

// ListsFor returns lists for a collection that is to be made, of its configuration but for them: documents of the sample become codes as those do
// that are put, and their sketches centroids. Errors wrap retrieval.ErrInvalid and retrieval.ErrTooLarge. It takes as long as encoding the sample.
func (r *Router) ListsFor(ctx context.Context, collection string, c Configuration, s ListSample) (none index.Lists, err error) {
	if err := c.check(); err != nil {
		return none, err
	}
	if n := len(s.Documents); n > retrieval.MaxLists {
		return none, fmt.Errorf("lists: %d documents of a sample, the limit is %d: %w", n, retrieval.MaxLists, retrieval.ErrTooLarge)
	}
	to := target{Configuration: c, name: collection}
	if !c.Projection.IsZero() {
		to.projector = c.Projection.Pack(nil)
	}
	sample := make([]retrieval.Codes, 0, len(s.Documents))
	for some := range slices.Chunk(s.Documents, sampleTexts) {
		matrices, err := r.encode(ctx, to, some, 0)
		if err != nil {
			return none, fmt.Errorf("lists: sample: %w", err)
		}
		for i := range some {
			codes, _, err := to.codes(&some[i], matrices[i])
			if err != nil {
				return none, fmt.Errorf("lists: document %.40q of the sample: %w", some[i].ID, err)
			}
			sample = append(sample, codes.Sketched()) // all codes of a sample could be gigabytes
		}
	}
	return index.ListsOf(s.Name, sample)
}

// fittedBytes returns how many bytes of a configuration were fitted on samples.
func (c Configuration) fittedBytes() int { return c.Projection.Len() + len(c.Lists.Bytes()) }

// maxListsBytes is what lists that are read may take: their centroids, and a head of their sample.
const maxListsBytes = index.MaxListBytes + index.MaxListsName + 16

// appendLists appends the lists of a configuration, and how many of them each of its plans looks into.
func appendLists(b []byte, c Configuration) []byte {
	b = appendString(b, c.Lists.Bytes())
	for _, x := range c.Calibration {
		b = binary.AppendUvarint(b, uint64(x.Plan.Lists))
	}
	return b
}

// lists reads them into a configuration whose calibration was read.
func (r *reader) lists(c *Configuration) {
	b := r.bytes(maxListsBytes, "lists")
	for i := range c.Calibration {
		c.Calibration[i].Plan.Lists = int(r.uvarint(retrieval.MaxLists, "plan"))
	}
	if r.err == nil {
		c.Lists, r.err = index.ParseLists(b)
	}
}
