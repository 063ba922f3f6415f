package main

import (
	"fmt"

	"ostraca/api"
	"ostraca/ops/dataset"
)

// What is sent of a sample: enough to fit a projection on, or to make lists of, and encoded within seconds.
const (
	sampleBytes   = 16 << 20
	sampleTexts   = 1000
	listTextBytes = 1 << 20
)

// sampleLimits is what is sent of a sample at most.
type sampleLimits struct{ documents, bytes int }

// sample takes documents of the sample that a flag names, texts or vectors, from its start as many as the limits of these let through.
func (a *app) sample(flag, path string, texts, vectors sampleLimits, take func(*api.PutDocument)) error {
	layout, err := dataset.Detect(path)
	if err != nil {
		return fmt.Errorf("--%s: %w", flag, err)
	}
	most, read := texts, textSample
	if layout == dataset.NPY {
		most, read = vectors, vectorSample
	}
	taken, bytes := 0, 0
	all, err := read(path, func(d *api.PutDocument, n int) bool {
		if bytes += n; bytes > most.bytes || taken == most.documents {
			return false
		}
		take(d)
		taken++
		return true
	})
	if err != nil {
		return fmt.Errorf("--%s: %w", flag, err)
	}
	if taken < all {
		fmt.Fprintf(a.err, "the first %d of %d documents of %s are the sample\n", taken, all, path)
	}
	return nil
}

// textSample reads texts, with their bytes, as long as they are taken, and tells how many there are.
func textSample(path string, take func(*api.PutDocument, int) bool) (all int, err error) {
	if all, err = dataset.Count(path); err != nil {
		return 0, err
	}
	for d, err := range dataset.Documents(path) {
		if err != nil || !take(&api.PutDocument{Id: d.ID, Text: d.Text}, len(d.Text)) {
			return all, err
		}
	}
	return all, nil
}

// vectorSample reads documents as vectors likewise, those that have any.
func vectorSample(path string, take func(*api.PutDocument, int) bool) (all int, err error) {
	v, err := dataset.OpenVectors(path)
	if err != nil {
		return 0, err
	}
	defer v.Close()
	all = v.Len()
	for row, err := range v.Documents() {
		if err == nil && len(row.Vectors) == 0 {
			all--
			continue
		}
		if err != nil || !take(&api.PutDocument{Id: row.ID, Text: row.Text, Tokens: wireVectors(row.Vectors, v.Width()), Spans: wireSpans(row.Spans)}, 4*len(row.Vectors)) {
			return all, err
		}
	}
	return all, nil
}
