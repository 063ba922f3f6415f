package main

import (
	"context"
	"fmt"
	"path/filepath"

	"ostraca/ops/dataset"
	"ostraca/retrieval"
	"ostraca/retrieval/index"
)

// readLists makes the lists of --lists-sample: of a folder of vectors as wide as those that are measured. At most as many documents as there can be lists are read,
// evenly spread over it.
func (b *bench) readLists(ctx context.Context) (err error) {
	dir := b.options.lists
	if dir == "" {
		return nil
	}
	v, err := dataset.OpenVectors(dir)
	if err != nil {
		return fmt.Errorf("--lists-sample: %w", err)
	}
	defer v.Close()
	if v.Width() != b.vectors.Width() {
		return fmt.Errorf("--lists-sample: vectors of %s are %d wide, those of %s %d: %w", dir, v.Width(), b.dir, b.vectors.Width(), retrieval.ErrInvalid)
	}
	some := spread(min(v.Len(), retrieval.MaxLists), v.Len())
	bar := b.app.progress("reading the sample of lists", v.Len())
	defer bar.end()
	var sample []retrieval.Codes
	n := 0
	for row, err := range v.Documents() {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("--lists-sample: %w", err)
		}
		if len(sample) < len(some) && some[len(sample)] == n {
			codes, err := encodeRow(b.codec, row, v.Width())
			if err != nil {
				return fmt.Errorf("%s: document %q: %w", dir, row.ID, err)
			}
			sample = append(sample, codes.Sketched())
		}
		n++
		bar.add(1)
	}
	if b.lists, err = index.ListsOf(filepath.Base(dir), sample); err != nil {
		return fmt.Errorf("--lists-sample: %w", err)
	}
	return nil
}
