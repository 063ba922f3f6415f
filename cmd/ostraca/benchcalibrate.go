package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"ostraca/ops/dataset"
	"ostraca/retrieval"
	"ostraca/retrieval/index"
)

// This file has the plans by which bench reaches its recall targets: measured once, on queries that are not the measured ones, and kept beside the index.

const calibrationFile = "calibration.json"

// calibrationJSON is the file: plans, and what they are of. One that is of something else is made anew.
type calibrationJSON struct {
	Of    calibrationOf `json:"of"`
	Plans []planOf      `json:"plans"`
}

// calibrationOf names an index and the queries that were asked.
type calibrationOf struct {
	Codec     string `json:"codec"`
	Width     int    `json:"width"`
	Documents int    `json:"documents"`
	Tokens    int64  `json:"tokens"`
	Vectors   string `json:"vectors"` // their digest
	Lists     string `json:"lists,omitempty"`
	Asked     string `json:"asked"`    // that of the queries that the plans were made with
	Measured  int    `json:"measured"` // queries that were kept out
	Queries   int    `json:"queries"`  // that the plans were made with
	HeldOut   bool   `json:"held_out"`
}

// planOf is a plan for a target.
type planOf struct {
	RecallTarget string `json:"recall_target"`
	K            int    `json:"k"`
	planJSON
}

// calibrate reads the plans, or measures them.
func (b *bench) calibrate(ctx context.Context, r *benchReport) error {
	if slices.Equal(b.targets, []retrieval.Target{retrieval.Exact}) {
		return nil
	}
	rows, heldOut := b.others, true
	if len(rows) < minCalibration { // then all are used
		rows, heldOut = append(append([]dataset.Row{}, b.queries...), b.others...), false
	}
	asked := make([]dataset.Row, min(maxCalibration, len(rows)))
	for i, at := range spread(len(asked), len(rows)) {
		asked[i] = rows[at]
	}
	of := calibrationOf{b.options.codec, b.vectors.Width(), b.vectors.Len(), b.vectors.Tokens(), b.source.String(), b.lists.String(), digestOf(asked).String(), len(b.queries), len(asked), heldOut}
	r.CalibratedOn = &calibratedOn{Queries: of.Queries, HeldOut: heldOut}
	path := filepath.Join(b.options.index, calibrationFile)
	if b.options.index != "" {
		var err error
		if b.plans, r.CalibratedOn.Kept, err = readCalibration(path, of); err != nil || r.CalibratedOn.Kept {
			return err
		}
	}
	var queries []*retrieval.Query
	for _, row := range asked {
		q, err := index.QuantizeQuery(b.codec, row.Vectors, b.vectors.Width(), nil, 1)
		if err != nil {
			return b.named(row, err)
		}
		queries = append(queries, q)
	}
	fmt.Fprintf(b.app.err, "calibrating on %d queries\n", len(queries))
	var err error
	targets := retrieval.Targets // a calibration that is kept has them all
	if b.options.index == "" {
		targets = slices.DeleteFunc(slices.Clone(b.targets), func(t retrieval.Target) bool { return t == retrieval.Exact })
	}
	bar := b.app.progress("calibrating", 0) // how many searches it takes, the answers tell
	defer bar.end()
	if b.plans, err = retrieval.Calibrate(ctx, counted{b.index, bar}, queries, targets...); err != nil || b.options.index == "" {
		return err
	}
	return writeCalibration(path, of, b.plans)
}

// counted shows how many searches were done.
type counted struct {
	retrieval.Searcher
	bar *progress
}

func (c counted) Search(ctx context.Context, q *retrieval.Query) (retrieval.Answer, error) {
	c.bar.add(1)
	return c.Searcher.Search(ctx, q)
}

// readCalibration returns the plans of a file, if there is one and it is of the same.
func readCalibration(path string, of calibrationOf) (retrieval.Calibration, bool, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	} else if err != nil {
		return nil, false, err
	}
	var file calibrationJSON
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, false, fmt.Errorf("%s: %v: remove it, and the plans are measured anew: %w", path, err, retrieval.ErrCorrupt)
	}
	var out retrieval.Calibration
	for _, p := range file.Plans {
		target, err := retrieval.ParseTarget(p.RecallTarget)
		if err != nil {
			return nil, false, fmt.Errorf("%s: %w", path, err)
		}
		out = append(out, retrieval.Calibrated{Target: target, K: p.K, Plan: retrieval.Plan(p.planJSON)})
	}
	if err := out.Validate(); err != nil {
		return nil, false, fmt.Errorf("%s: %w", path, err)
	}
	return out, file.Of == of, nil
}

// writeCalibration keeps plans, in place of those that were there.
func writeCalibration(path string, of calibrationOf, plans retrieval.Calibration) error {
	file := calibrationJSON{Of: of, Plans: []planOf{}}
	for _, c := range plans {
		file.Plans = append(file.Plans, planOf{c.Target.String(), c.K, planJSON(c.Plan)})
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return writeFile(path, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(file)
	})
}
