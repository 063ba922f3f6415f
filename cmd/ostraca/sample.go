package main

import (
	"fmt"
	"iter"

	"google.golang.org/protobuf/proto"

	"ostraca/api"
	"ostraca/ops/dataset"
	"ostraca/retrieval"
)

// What is sent of samples at most: enough to fit a projection on, and to make lists of, encoded within seconds, both in one message
// (api.MaxMessageBytes).
const (
	projectionTexts = 1000
	projectionBytes = 16 << 20 // of these texts, or of vectors, 4 a dimension
	listsTextBytes  = 1 << 20  // of documents as they are sent, texts that are to be encoded
	listsBytes      = 12 << 20 // of those that have vectors
)

// projectionSample takes the first texts, or vectors, of a file or folder.
func (a *app) projectionSample(path string) (*api.Projection, error) {
	p, taken, bytes := &api.Projection{}, 0, 0
	for d, err := range sample(path) {
		if err != nil {
			return nil, fmt.Errorf("--project-sample: %w", err)
		}
		size := len(d.Text)
		if d.Tokens != nil {
			size = 4 * len(d.Tokens) * len(d.Tokens[0].Values)
		}
		if taken == 0 && size > projectionBytes {
			return nil, tooLarge("project-sample", path, size, projectionBytes)
		}
		if bytes += size; bytes > projectionBytes || d.Tokens == nil && taken == projectionTexts {
			fmt.Fprintf(a.err, "the first %s of %s are the sample\n", plural(taken, "document"), path)
			break
		}
		if d.Tokens == nil {
			p.SampleTexts = append(p.SampleTexts, d.Text)
		}
		p.SampleTokens = append(p.SampleTokens, d.Tokens...)
		taken++
	}
	return p, nil
}

// listsSample takes documents evenly spread over a file or folder: as many as there can be lists, or as fit, by the mean of their sizes.
func (a *app) listsSample(path string) (*api.Lists, error) {
	all, bytes, most := 0, 0, listsBytes
	for d, err := range sample(path) {
		if err != nil {
			return nil, fmt.Errorf("--lists-sample: %w", err)
		}
		if d.Tokens == nil {
			most = listsTextBytes
		}
		all++
		bytes += proto.Size(d)
	}
	some := spread(max(1, min(retrieval.MaxLists, most*all/max(1, bytes))), all)
	l, n, first, room := &api.Lists{}, 0, 0, most
	for d, err := range sample(path) {
		if err != nil {
			return nil, fmt.Errorf("--lists-sample: %w", err)
		}
		if len(some) > 0 && some[0] == n {
			some = some[1:]
			size := proto.Size(d)
			if n == 0 {
				first = size
			}
			if size <= room { // where those that are picked are larger than the mean, not all are taken
				l.Sample, room = append(l.Sample, d), room-size
			}
		}
		n++
	}
	if all > 0 && len(l.Sample) == 0 {
		return nil, tooLarge("lists-sample", path, first, most)
	}
	if len(l.Sample) < all {
		fmt.Fprintf(a.err, "%d of %d documents of %s, evenly spread, are the sample\n", len(l.Sample), all, path)
	}
	return l, nil
}

func tooLarge(flag, path string, size, limit int) error {
	return fmt.Errorf("--%s: the first document of %s has %d bytes, the limit of a sample is %d: %w", flag, path, size, limit, retrieval.ErrTooLarge)
}

// sample reads the documents of a file or folder: texts, or vectors, of which those without any are left out. It ends after the first error.
func sample(path string) iter.Seq2[*api.PutDocument, error] {
	return func(yield func(*api.PutDocument, error) bool) {
		layout, err := dataset.Detect(path)
		switch {
		case err != nil:
			yield(nil, err)
		case layout == dataset.NPY:
			vectorSample(path, yield)
		default:
			for d, err := range dataset.Documents(path) {
				if !yield(&api.PutDocument{Id: d.ID, Text: d.Text}, err) {
					return
				}
			}
		}
	}
}

func vectorSample(path string, yield func(*api.PutDocument, error) bool) {
	v, err := dataset.OpenVectors(path)
	if err != nil {
		yield(nil, err)
		return
	}
	defer v.Close()
	for row, err := range v.Documents() {
		if err == nil && len(row.Vectors) == 0 {
			continue
		}
		if !yield(&api.PutDocument{Id: row.ID, Text: row.Text, Tokens: wireVectors(row.Vectors, v.Width()), Spans: wireSpans(row.Spans)}, err) {
			return
		}
	}
}
