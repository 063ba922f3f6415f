package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"

	"ostraca/ops/eval"
	"ostraca/retrieval"
)

// This file asks the engine in this process, one query at a time, and looks how well it found.

// warmup is the queries asked before the clock starts.
const warmup = 5

// quietHeap is the garbage, in bytes, that may lie about while searches are timed.
const quietHeap = 1 << 30

// quiet collects garbage and then leaves it, up to quietHeap, until what it returns is called.
func quiet() (again func()) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	limit := debug.SetMemoryLimit(int64(m.Sys-m.HeapReleased) + quietHeap)
	percent := debug.SetGCPercent(-1)
	return func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}
}

// run asks every query for k documents, and measures: from float vectors to hits.
func (b *bench) run(ctx context.Context, target recallTarget, plan retrieval.Plan, k int) (benchResult, [][]int, error) {
	r := benchResult{RecallTarget: target, K: k, Threads: b.app.workers()}
	r.Plan = planJSON(plan)
	for _, row := range b.queries[:min(warmup, len(b.queries))] {
		if _, _, err := b.ask(ctx, row.Vectors, plan, k); err != nil {
			return r, nil, b.named(row, err)
		}
	}
	defer quiet()()
	var wall, quantize []float64
	var ids [][]int
	var stats retrieval.Stats
	before := cpuSeconds()
	for _, row := range b.queries {
		start := time.Now()
		answer, quantized, err := b.ask(ctx, row.Vectors, plan, k)
		if err != nil {
			return r, nil, b.named(row, err)
		}
		wall, quantize = append(wall, time.Since(start).Seconds()*1e6), append(quantize, quantized.Sub(start).Seconds()*1e6)
		stats = stats.Add(answer.Stats)
		ids = append(ids, rowsOf(answer))
	}
	cpu := cpuSeconds() - before
	r.P50, r.P95 = eval.Percentile(wall, .5), eval.Percentile(wall, .95)
	r.CPU = cpu * 1e6 / float64(len(wall))
	if cpu > 0 { // not known on every system
		r.Rate = float64(stats.Tokens) / cpu
	}
	r.Stats = newStages(stats, quantize)
	return r, ids, nil
}

func rowsOf(a retrieval.Answer) []int {
	rows := make([]int, len(a.Hits))
	for i, h := range a.Hits {
		rows[i] = rowOf(h.ID)
	}
	return rows
}

// recall measures the overlap with float32 on n of the queries, spread evenly.
func (b *bench) recall(ctx context.Context, r *benchReport, found []idsLine, n int) error {
	if n == 0 {
		return nil
	}
	var sample [][]float32
	var at []int
	for _, i := range spread(n, len(b.queries)) {
		at, sample = append(at, i), append(sample, b.queries[i].Vectors)
	}
	bar := b.app.progress("float32 check", b.vectors.Len())
	defer bar.end()
	best, err := eval.FloatMaxSim(b.matrices(ctx, bar), sample, b.vectors.Width(), 100)
	if err != nil {
		return err
	}
	for i := range r.Results {
		x := &r.Results[i]
		share := 0.0
		for j, row := range at {
			share += eval.Overlap(found[i].IDs[row], best[j], x.K)
		}
		share /= float64(n)
		x.RecallQueries = n
		if x.K == 10 {
			x.Recall10 = &share
		} else {
			x.Recall100 = &share
		}
	}
	return nil
}

// matrices yields the documents' vectors as they lie in the files.
func (b *bench) matrices(ctx context.Context, bar *progress) func(func([]float32, error) bool) {
	return func(yield func([]float32, error) bool) {
		for row, err := range b.vectors.Documents() {
			if err == nil {
				err = ctx.Err()
			}
			if !yield(row.Vectors, err) || err != nil {
				return
			}
			bar.add(1)
		}
	}
}
