package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"ostraca/api"
	"ostraca/ops/dataset"
	"ostraca/retrieval"
)

// This file measures searches beside writes: rounds without and with so many replacements of documents a second, in turn.

// writeRounds is how many rounds of each kind there are.
const writeRounds = 3

// writesResult is how searches fared beside writes, over all rounds.
type writesResult struct {
	Via          string       `json:"via"` // engine: in this process; router: over gRPC
	RecallTarget recallTarget `json:"recall_target"`
	K            int          `json:"k"`
	WritesPerS   float64      `json:"writes_per_s"` // done
	Quiet        times        `json:"quiet"`
	Writing      times        `json:"writing"`
	RatioP50     float64      `json:"ratio_p50"` // writing to quiet
	RatioP95     float64      `json:"ratio_p95"`
}

// besideWrites measures the engine, by every target.
func (b *bench) besideWrites(ctx context.Context, r *benchReport) error {
	put := func(_ context.Context, n int) error {
		d, err := b.index.Get(fmt.Sprintf(b.idFormat(), chosen(n, b.vectors.Len())))
		if err != nil {
			return err
		}
		return b.index.Put([]retrieval.Document{d})
	}
	for _, target := range b.targets {
		x, err := b.alternate(ctx, b.askEngine(target), put)
		if err != nil {
			return err
		}
		x.Via, x.RecallTarget, x.K = viaEngine, recallTargetOf(target), servedK
		r.Writes = append(r.Writes, x)
	}
	return nil
}

// replaced is how many different documents are put through a router: their vectors are held.
const replaced = 256

// servedBesideWrites measures a cluster, by every target. It puts vectors, which the router quantises.
func (b *bench) servedBesideWrites(ctx context.Context, o servedOptions, cluster *remote, r *benchReport) error {
	want := map[int]bool{}
	for _, row := range spread(replaced, b.vectors.Len()) {
		want[row] = true
	}
	var docs []*api.PutDocument
	row := 0
	for x, err := range b.vectors.Documents() {
		if err != nil {
			return err
		}
		if want[row] {
			d, err := newItem(dataset.Stored{Document: x.Document, Spans: x.Spans}, nil)
			if err != nil {
				return err
			}
			d.vectors, d.width = x.Vectors, b.vectors.Width()
			docs = append(docs, d.wire())
		}
		row++
	}
	put := func(ctx context.Context, n int) error {
		out, err := cluster.Put(ctx, &api.PutRequest{Collection: o.collection, Documents: docs[chosen(n, len(docs)):][:1]})
		for _, x := range out.GetOutcomes() {
			err = errors.Join(err, outcomeError(x.Error))
		}
		return err
	}
	for _, target := range b.targets {
		x, err := b.alternate(ctx, b.askRouter(target, o.collection, cluster, false), put)
		if err != nil {
			return err
		}
		x.Via, x.RecallTarget, x.K = viaRouter, recallTargetOf(target), servedK
		r.Writes = append(r.Writes, x)
	}
	return nil
}

// alternate asks for a while, alone and beside puts, in turn.
func (b *bench) alternate(ctx context.Context, ask func(context.Context, int) error, put func(context.Context, int) error) (writesResult, error) {
	var x writesResult
	var quietly, writing []float64
	written, spent := 0, 0.0
	for range writeRounds {
		took, err := together(ctx, 1, b.options.served.span, len(b.queries), ask)
		if err != nil {
			return x, err
		}
		quietly = append(quietly, took...)
		start := time.Now()
		stop := pace(ctx, b.options.writes, put)
		took, err = together(ctx, 1, b.options.served.span, len(b.queries), ask)
		n, failed := stop()
		if err := errors.Join(err, failed); err != nil {
			return x, err
		}
		writing, written, spent = append(writing, took...), written+n, spent+time.Since(start).Seconds()
	}
	x.Quiet, x.Writing, x.WritesPerS = newTimes(quietly), newTimes(writing), float64(written)/spent
	x.RatioP50, x.RatioP95 = x.Writing.P50/x.Quiet.P50, x.Writing.P95/x.Quiet.P95
	return x, nil
}

// writers is how many puts are under way at once at most: enough to keep the pace where each waits for a disk.
const writers = 16

// pace puts numbers 0, 1, 2 and so on, so many a second, until what it returns is called, which tells how many were put. Where they take too long, there are fewer.
func pace(ctx context.Context, perSecond int, put func(ctx context.Context, n int) error) (stop func() (int, error)) {
	going, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	var taken, done atomic.Int64
	failed := make([]error, writers)
	start := time.Now()
	for w := range writers {
		running.Go(func() {
			for failed[w] == nil {
				n := taken.Add(1) - 1
				select {
				case <-time.After(time.Until(start.Add(time.Duration(n+1) * time.Second / time.Duration(perSecond)))):
				case <-going.Done():
					return
				}
				if failed[w] = put(ctx, int(n)); failed[w] == nil {
					done.Add(1)
				}
			}
		})
	}
	return func() (int, error) {
		cancel()
		running.Wait()
		return int(done.Load()), errors.Join(failed...)
	}
}

// chosen returns a number below n that seems random, the same for the same i.
func chosen(i, n int) int { return rand.New(rand.NewPCG(1, uint64(i))).IntN(n) }

func (a *app) printWrites(r *benchReport) {
	if len(r.Writes) == 0 {
		return
	}
	a.printf("beside writes, k=%d\n", servedK)
	a.printf("%-8s %-6s %9s %10s %10s %10s %10s %7s %7s\n", "via", "target", "writes/s", "p50 ms", "beside", "p95 ms", "beside", "p50 x", "p95 x")
	for _, x := range r.Writes {
		a.printf("%-8s %-6s %9.1f %10.3f %10.3f %10.3f %10.3f %7.3f %7.3f\n", x.Via, x.RecallTarget, x.WritesPerS, x.Quiet.P50/1e3, x.Writing.P50/1e3, x.Quiet.P95/1e3, x.Writing.P95/1e3,
			x.RatioP50, x.RatioP95)
	}
}
