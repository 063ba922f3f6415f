package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"ostraca/api"
	"ostraca/ops/eval"
	"ostraca/retrieval"
	"ostraca/shard/endpoint"
)

// This file measures what the way through a router costs: the same vectors and queries, asked of a cluster and of the engine in this process,
// in turn, by so many clients at once.

// servedOptions are the flags of bench that are of a cluster.
type servedOptions struct {
	target
	own     owned
	clients []int
	span    time.Duration
}

func (o *servedOptions) register(f *pflag.FlagSet) {
	o.own.register(f)
	o.registerRouter(f, "", "measure the cluster behind this router (host:port) beside the engine; the vectors go into a collection that is dropped afterwards")
	f.IntSliceVar(&o.clients, "clients", []int{1, 16, 64}, "of a cluster: clients that ask at once, each one query at a time")
	f.DurationVar(&o.span, "for", 3*time.Second, "of a cluster: how long each round of a number of clients lasts")
}

const (
	maxClients   = 1024
	servedRounds = 3 // of engine and router in turn
	servedK      = 10
)

// The ways of asking.
const (
	viaEngine = "engine"
	viaRouter = "router"
	viaIDs    = "ids"
)

// wanted reports whether a cluster is to be measured.
func (o *servedOptions) wanted() bool { return o.own.nodes > 0 || o.router != "" }

// where settles which cluster, and says what is wrong with the flags.
func (o *servedOptions) where(f *pflag.FlagSet) error {
	if err := o.own.settle(f, o.router); err != nil {
		return err
	}
	for _, n := range o.clients {
		if n < 1 || n > maxClients {
			return fmt.Errorf("--clients has %d, it must be 1 to %d: %w", n, maxClients, retrieval.ErrInvalid)
		}
	}
	if o.span <= 0 || len(o.clients) == 0 {
		return fmt.Errorf("--for is %s and --clients has %d numbers: more than 0 each: %w", o.span, len(o.clients), retrieval.ErrInvalid)
	}
	return nil
}

// servedResult is how one way of asking fared, over all rounds.
type servedResult struct {
	Via          string       `json:"via"` // engine: in this process; router: over gRPC, documents fetched too; ids: over gRPC, ids and scores alone, as from the engine
	RecallTarget recallTarget `json:"recall_target"`
	Clients      int          `json:"clients"`
	Searches     int          `json:"searches"`
	PerS         float64      `json:"searches_per_s"`
	P50          float64      `json:"p50_us"`
	P99          float64      `json:"p99_us"`
}

// served measures a cluster of our own, or a live one, beside the engine.
func (b *bench) served(ctx context.Context, o servedOptions, r *benchReport) (err error) {
	if o.router == "" {
		c, err := b.app.startOwn(ctx, o.own)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.Close()) }()
		o.router = c.Address()
	}
	cluster, err := b.app.connect(ctx, o.target)
	if err != nil {
		return err
	}
	defer cluster.close()
	return cluster.temporarily(ctx, "bench", b.dir, loadOptions{target: o.target, kind: kindOf(true, b.options.codec)}, func(collection string, _ loadStats) error {
		status, err := cluster.Status(ctx, &api.StatusRequest{})
		if err != nil {
			return err
		}
		o.collection, r.Nodes, r.Shards = collection, len(status.Nodes), len(status.Shards)
		// the plans of the engine: then both do the same work
		if _, err := cluster.ChangeCollection(ctx, &api.ChangeCollectionRequest{Collection: collection, Calibration: &api.Calibration{Plans: endpoint.ToCalibration(b.plans.Complete())}}); err != nil {
			return err
		}
		for _, target := range b.targets {
			both, err := b.sideBySide(ctx, o, target, cluster)
			if err != nil {
				return err
			}
			r.Served = append(r.Served, both...)
		}
		if b.options.writes == 0 {
			return nil
		}
		return b.servedBesideWrites(ctx, o, cluster, r)
	})
}

// askEngine asks queries of the engine in this process.
func (b *bench) askEngine(target retrieval.Target) func(context.Context, int) error {
	plan := b.plans.Plan(target, servedK)
	return func(ctx context.Context, i int) error {
		_, _, err := b.ask(ctx, b.queries[i].Vectors, plan, servedK)
		return err
	}
}

// askRouter asks queries of a collection of a cluster.
func (b *bench) askRouter(target retrieval.Target, collection string, cluster *remote, idsOnly bool) func(context.Context, int) error {
	sent := make([]*api.SearchRequest, len(b.queries))
	for i, v := range b.queries {
		sent[i] = &api.SearchRequest{Collection: collection, Tokens: wireVectors(v.Vectors, b.vectors.Width()), K: servedK, Unweighted: true, RecallTarget: target.String(), IdsOnly: idsOnly}
	}
	return func(ctx context.Context, i int) error {
		_, err := cluster.Search(ctx, sent[i])
		return err
	}
}

// sideBySide asks engine and router in turn.
func (b *bench) sideBySide(ctx context.Context, o servedOptions, target retrieval.Target, cluster *remote) ([]servedResult, error) {
	ways := []struct {
		via string
		ask func(ctx context.Context, i int) error
	}{
		{viaEngine, b.askEngine(target)},
		{viaRouter, b.askRouter(target, o.collection, cluster, false)},
		{viaIDs, b.askRouter(target, o.collection, cluster, true)},
	}
	bar := b.app.progress("side by side, "+target.String(), len(o.clients)*servedRounds*len(ways))
	defer bar.end()
	var out []servedResult
	for _, clients := range o.clients {
		took, spent := make([][]float64, len(ways)), make([]float64, len(ways))
		for range servedRounds {
			for w, way := range ways {
				start := time.Now()
				times, err := together(ctx, clients, o.span, len(b.queries), way.ask)
				if err != nil {
					return nil, err
				}
				took[w], spent[w] = append(took[w], times...), spent[w]+time.Since(start).Seconds()
				bar.add(1)
			}
		}
		for w, way := range ways {
			out = append(out, servedResult{way.via, recallTargetOf(target), clients, len(took[w]), float64(len(took[w])) / spent[w],
				eval.Percentile(took[w], .5), eval.Percentile(took[w], .99)})
		}
	}
	return out, nil
}

// together asks queries by several clients for a while and returns how long each took, in us.
func together(ctx context.Context, clients int, span time.Duration, queries int, ask func(context.Context, int) error) ([]float64, error) {
	var mu sync.Mutex
	var all []float64
	var failed error
	var running sync.WaitGroup
	for c := range clients {
		running.Go(func() {
			var mine []float64
			var err error
			for start, i := time.Now(), c*queries/clients; err == nil && time.Since(start) < span; i++ {
				asked := time.Now()
				err = ask(ctx, i%queries)
				mine = append(mine, time.Since(asked).Seconds()*1e6)
			}
			mu.Lock()
			defer mu.Unlock()
			all, failed = append(all, mine...), errors.Join(failed, err)
		})
	}
	running.Wait()
	return all, failed
}

func (a *app) printServed(r *benchReport) {
	if len(r.Served) == 0 {
		return
	}
	a.printf("through a router, %d shards on %d nodes, beside the engine in this process; k=%d\n", r.Shards, r.Nodes, servedK)
	a.printf("%-8s %-6s %8s %12s %10s %10s %10s\n", "via", "target", "clients", "searches", "per s", "p50 ms", "p99 ms")
	for _, x := range r.Served {
		a.printf("%-8s %-6s %8d %12d %10.1f %10.3f %10.3f\n", x.Via, x.RecallTarget, x.Clients, x.Searches, x.PerS, x.P50/1e3, x.P99/1e3)
	}
}
