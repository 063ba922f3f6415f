package index

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"ostraca/retrieval"
	"ostraca/storage"
)

// liveIndex returns an index of 1.2 million tokens of 384 dimensions, as a node has it, and a source of more documents like those.
func liveIndex(b *testing.B) (*Index, func() retrieval.Document) {
	const width, n = 384, 1_200_000 / benchTokens
	arena, err := storage.NewArena(storage.ArenaOptions{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	x, err := New(width, Options{Memory: arena, Merging: Merging{
		Clock: func() int64 { return time.Since(start).Microseconds() }, Sleep: func(d int64) { time.Sleep(time.Duration(d) * time.Microsecond) },
	}})
	if err != nil {
		b.Fatal(err)
	}
	docs := benchDocuments(b, 64, width)
	for i := range docs {
		docs[i].Codes = Pool(docs[i].Codes)
	}
	next := uint32(0)
	document := func() retrieval.Document {
		next++
		return retrieval.Document{ID: fmt.Sprintf("%08x", next*2654435761), Codes: docs[next%64].Codes}
	}
	for range n / 100 {
		var batch []retrieval.Document
		for range 100 {
			batch = append(batch, document())
		}
		put(b, x, batch...)
	}
	x.Settle()
	b.Cleanup(x.Close)
	return x, document
}

// tail reports the median and worse of some times.
func tail(b *testing.B, times []time.Duration) {
	slices.Sort(times)
	for name, at := range map[string]float64{"p50-us": .5, "p99-us": .99, "max-us": 1} {
		b.ReportMetric(float64(times[int(at*float64(len(times)-1))].Nanoseconds())/1e3, name)
	}
}

// BenchmarkPutOne puts one document after the other into a live index: in a storm, and with a pause after each, as most writes come.
func BenchmarkPutOne(b *testing.B) {
	x, document := liveIndex(b)
	for name, pause := range map[string]time.Duration{"storm": 0, "paced": 5 * time.Millisecond} {
		b.Run(name, func(b *testing.B) {
			var times []time.Duration
			most := 0
			for b.Loop() {
				d := document()
				start := time.Now()
				put(b, x, d)
				times = append(times, time.Since(start))
				most = max(most, len(x.snapshot()))
				if pause > 0 {
					b.StopTimer()
					time.Sleep(pause)
					b.StartTimer()
				}
			}
			tail(b, times)
			b.ReportMetric(float64(most), "segments")
		})
	}
}

// BenchmarkDeleteOne deletes one document after the other from a live index. What is deleted comes back from time to time, unmeasured.
func BenchmarkDeleteOne(b *testing.B) {
	x, document := liveIndex(b)
	var times []time.Duration
	var victims []string
	rng := rand.New(rand.NewPCG(1, 1))
	for b.Loop() {
		if len(victims) == 0 {
			b.StopTimer()
			for range len(times) {
				put(b, x, document())
			}
			x.Settle()
			victims = ids(x, "")
			rng.Shuffle(len(victims), func(i, j int) { victims[i], victims[j] = victims[j], victims[i] })
			victims = victims[:len(victims)/2]
			b.StartTimer()
		}
		id := victims[len(victims)-1]
		victims = victims[:len(victims)-1]
		start := time.Now()
		x.Delete([]string{id})
		times = append(times, time.Since(start))
	}
	tail(b, times)
}
