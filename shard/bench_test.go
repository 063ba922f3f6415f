package shard_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ostraca/consensus"
	"ostraca/retrieval"
	"ostraca/retrieval/index"
	"ostraca/shard"
)

// rig is a cluster on loopback, with files that are synced, and a router.
type rig struct {
	*shard.Router
	nodes   []*shard.Node
	options []shard.NodeOptions
}

// real starts a rig, which ends with the benchmark.
func real(b *testing.B, nodes, shards int) *rig {
	b.Helper()
	dir, g := b.TempDir(), &rig{nodes: make([]*shard.Node, nodes)}
	var seeds []string
	for i := range nodes {
		g.options = append(g.options, shard.NodeOptions{Node: fmt.Sprint("n", i), Dir: filepath.Join(dir, fmt.Sprint(i)), Network: consensus.Wire{},
			Listen: "127.0.0.1:0", Seeds: seeds, Expect: nodes, Replicas: nodes, Shards: shards})
		g.start(b, i)
		g.options[i].Listen = g.nodes[i].Address()
		seeds = append(slices.Clip(seeds), g.nodes[i].Address())
	}
	b.Cleanup(func() {
		for i := range g.nodes {
			g.stop(b, i)
		}
	})
	l, err := shard.OpenLink(shard.LinkOptions{Node: "router-b", Boot: 1, Network: consensus.Wire{}, Listen: "127.0.0.1:0", Seeds: seeds})
	if err != nil {
		b.Fatal(err)
	}
	g.Router = shard.OpenRouter(shard.RouterOptions{Link: l, Timeout: time.Minute})
	b.Cleanup(func() {
		g.Router.Close()
		if err := l.Close(); err != nil {
			b.Error(err)
		}
	})
	for i := range g.nodes {
		g.ready(b, i)
	}
	return g
}

func (g *rig) start(b *testing.B, i int) {
	b.Helper()
	var err error
	if g.nodes[i], err = shard.OpenNode(g.options[i]); err != nil {
		b.Fatal(err)
	}
}

func (g *rig) ready(b *testing.B, i int) {
	b.Helper()
	if err := g.nodes[i].Ready(b.Context()); err != nil {
		b.Fatal(err)
	}
}

func (g *rig) stop(b *testing.B, i int) {
	b.Helper()
	if n := g.nodes[i]; n != nil {
		g.nodes[i] = nil
		if err := n.Close(); err != nil {
			b.Error(err)
		}
	}
}

// filled tells whether a node holds all documents of the large collection.
func (g *rig) filled(i int) bool {
	s, err := g.nodes[i].Replica(0).Status(context.Background())
	return err == nil && len(s.Shards[0].Collections) == 2 && s.Shards[0].Collections[0].Documents == largeDocuments
}

// status returns that of shard 0 on a node.
func (g *rig) status(b *testing.B, i int) shard.ReplicaStatus {
	b.Helper()
	s, err := g.nodes[i].Replica(0).Status(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return s.Shards[0]
}

const (
	benchWidth  = 128
	benchTokens = 79 // with 130 bytes a token and a little around them, 10 KiB
)

var benchConfiguration = shard.Configuration{Codec: retrieval.Int8, Width: benchWidth, Epoch: 1}

// benchDocument returns a document of 10 KiB.
func benchDocument(b testing.TB, number uint64) shard.Document {
	rng := rand.New(rand.NewPCG(number, 2))
	x := make([]float32, benchTokens*benchWidth)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	codes, err := index.Quantize(retrieval.Int8, x, benchWidth)
	if err != nil {
		b.Fatal(err)
	}
	return shard.Document{ID: fmt.Sprint("d", number), Text: "ten kibibytes", Codes: index.Pool(codes)}
}

func configure(b *testing.B, r *shard.Router) {
	b.Helper()
	if _, err := r.Configure(b.Context(), "papers", shard.Configure{Change: shard.Create, Configuration: benchConfiguration}); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkWrite puts documents of 10 KiB through three replicas in one process, with real files and fsync, one at a time a writer.
func BenchmarkWrite(b *testing.B) {
	for _, shards := range []int{1, 3} {
		for _, writers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("shards=%d/writers=%d", shards, writers), func(b *testing.B) {
				g := real(b, 3, shards)
				configure(b, g.Router)
				docs := make([]shard.Document, 2000)
				for i := range docs {
					docs[i] = benchDocument(b, uint64(i))
				}
				var next atomic.Int64
				b.ResetTimer()
				times := write(b, g.Router, writers, func() *shard.Document {
					i := int(next.Add(1)) - 1
					if i >= b.N {
						return nil
					}
					return &docs[i%len(docs)]
				})
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
				report(b, times, "")
				s := g.status(b, 0)
				b.ReportMetric(float64(s.LogFileBytes)/1e6, "log-MB")
				b.ReportMetric(float64(s.StateFileBytes)/1e6, "state-MB")
			})
		}
	}
}

// write puts documents, one at a time a writer, until there is none, and returns what each took, sorted.
func write(b *testing.B, r *shard.Router, writers int, next func() *shard.Document) []time.Duration {
	var all sync.WaitGroup
	times := make([][]time.Duration, writers)
	for i := range writers {
		all.Go(func() {
			for d := next(); d != nil; d = next() {
				start := time.Now()
				results, err := r.Write(context.Background(), &shard.WriteRequest{Operations: []shard.Operation{{Collection: "papers", Body: &shard.Put{Epoch: 1, Document: *d}}}})
				if err == nil {
					err = results[0].Failure()
				}
				if err != nil {
					b.Error(err)
					return
				}
				times[i] = append(times[i], time.Since(start))
			}
		})
	}
	all.Wait()
	return slices.Sorted(slices.Values(slices.Concat(times...)))
}

func report(b *testing.B, times []time.Duration, prefix string) {
	b.ReportMetric(times[len(times)/2].Seconds()*1e3, prefix+"p50-ms")
	b.ReportMetric(times[len(times)*99/100].Seconds()*1e3, prefix+"p99-ms")
}

// largeDocuments of the large collection have 1 M tokens.
const largeDocuments = 5000

// fill puts 1 M tokens into a cluster, 384 wide.
func fill(b *testing.B, r *shard.Router) {
	b.Helper()
	const width, tokens = 384, 1_000_000 / largeDocuments
	c := shard.Configuration{Codec: retrieval.Int8, Width: width, Epoch: 1}
	if _, err := r.Configure(b.Context(), "large", shard.Configure{Change: shard.Create, Configuration: c}); err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, tokens*width)
	for first := 0; first < largeDocuments; first += 20 {
		w := &shard.WriteRequest{}
		for i := range 20 {
			for j := range x {
				x[j] = float32(rng.NormFloat64())
			}
			codes, err := index.Quantize(retrieval.Int8, x, width)
			if err != nil {
				b.Fatal(err)
			}
			d := shard.Document{ID: fmt.Sprint("d", first+i), Codes: index.Pool(codes)}
			w.Operations = append(w.Operations, shard.Operation{Collection: "large", Body: &shard.Put{Epoch: 1, Document: d}})
		}
		results, err := r.Write(b.Context(), w)
		for _, x := range results {
			err = errors.Join(err, x.Failure())
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRestart opens a node with a shard of 1 M tokens, 384 wide, from its files, until it answers: all of the state file is verified,
// and the index is made of it.
func BenchmarkRestart(b *testing.B) {
	g := real(b, 1, 1)
	fill(b, g.Router)
	for b.Loop() {
		b.StopTimer()
		g.stop(b, 0)
		b.StartTimer()
		g.start(b, 0)
		g.ready(b, 0)
		a, err := g.nodes[0].Replica(0).Search(b.Context(), &shard.SearchRequest{Collection: "large", Phase: shard.Statistics, Read: shard.Read{Level: shard.Local}})
		if err != nil || a.Held.Documents != largeDocuments {
			b.Fatalf("%v: %+v", err, a)
		}
	}
	b.ReportMetric(float64(g.status(b, 0).StateFileBytes)/1e6, "state-MB")
}

// BenchmarkTransfer sends a shard of 1 M tokens, 384 wide, to a node that lost its folder, beside 4 writers of 10 KiB and their p99; and, for
// comparison, the same writers alone.
func BenchmarkTransfer(b *testing.B) {
	g := real(b, 3, 1)
	fill(b, g.Router)
	configure(b, g.Router)
	docs := make([]shard.Document, 500)
	for i := range docs {
		docs[i] = benchDocument(b, uint64(i))
	}
	foreground := func(until func() bool) []time.Duration {
		var n atomic.Int64
		return write(b, g.Router, 4, func() *shard.Document {
			if until() {
				return nil
			}
			return &docs[int(n.Add(1))%len(docs)]
		})
	}
	alone := time.Now().Add(5 * time.Second)
	before := foreground(func() bool { return time.Now().After(alone) })
	away := 2
	for b.Loop() {
		b.StopTimer()
		g.stop(b, away)
		if err := os.RemoveAll(g.options[away].Dir); err != nil {
			b.Fatal(err)
		}
		for i := range 2 { // so that the logs do not reach back
			if err := g.nodes[i].Replica(0).Snapshot(b.Context()); err != nil {
				b.Log(err)
			}
		}
		b.StartTimer()
		g.start(b, away)
		var filled atomic.Bool
		var waiting sync.WaitGroup
		waiting.Go(func() {
			defer filled.Store(true)
			g.ready(b, away)
			for !g.filled(away) {
				time.Sleep(5 * time.Millisecond)
			}
		})
		start := time.Now()
		times := foreground(filled.Load)
		waiting.Wait()
		b.ReportMetric(float64(g.status(b, away).StateFileBytes)/1e6/time.Since(start).Seconds(), "MB/s")
		report(b, times, "beside-")
	}
	report(b, before, "alone-")
}
