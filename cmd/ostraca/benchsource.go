package main

import (
	"context"
	"encoding/binary"
	"iter"
	"math"

	"github.com/cespare/xxhash/v2"

	"ostraca/ops/dataset"
	"ostraca/retrieval/index"
)

// This file tells vectors from others of equal counts, by a digest of all of them: a sample would miss a document that was exchanged.

// sourceBlock is how many bytes of vectors are hashed at a time.
const sourceBlock = 4096

// rowDigest is the xxHash64 of a text's vectors, float32, little-endian.
func rowDigest(vectors []float32) uint64 {
	var h xxhash.Digest
	h.Reset()
	block := make([]byte, 0, sourceBlock)
	for _, v := range vectors {
		if block = binary.LittleEndian.AppendUint32(block, math.Float32bits(v)); len(block) == sourceBlock {
			_, _ = h.Write(block) // it never fails
			block = block[:0]
		}
	}
	_, _ = h.Write(block)
	return h.Sum64()
}

// sourceOf makes the digest of many texts of those of each, in their order: with its number of floats, little-endian, 8 bytes each.
type sourceOf struct{ sum *xxhash.Digest }

func newSource() sourceOf { return sourceOf{xxhash.New()} }

// add takes in a text, of whose floats digest is that of [rowDigest].
func (s sourceOf) add(floats int, digest uint64) {
	b := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, uint64(floats)), digest)
	_, _ = s.sum.Write(b)
}

// source returns the digest of all that was added, never 0, which is that of nothing told.
func (s sourceOf) source() index.Source { return max(1, index.Source(s.sum.Sum64())) }

// digestOf returns the digest of texts in memory.
func digestOf(rows []dataset.Row) index.Source {
	s := newSource()
	for _, row := range rows {
		s.add(len(row.Vectors), rowDigest(row.Vectors))
	}
	return s.source()
}

// sourceOfRows reads texts for their digest.
func sourceOfRows(ctx context.Context, rows iter.Seq2[dataset.Row, error], bar *progress) (index.Source, error) {
	s := newSource()
	for row, err := range rows {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return 0, err
		}
		s.add(len(row.Vectors), rowDigest(row.Vectors))
		bar.add(1)
	}
	return s.source(), nil
}
