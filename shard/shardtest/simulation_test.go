package shardtest_test

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ostraca/shard"
	"ostraca/shard/shardtest"
)

var (
	firstSeed = flag.Uint64("seed", 1, "the first seed of the simulation")
	seeds     = flag.Uint64("seeds", 20, "how many seeds it runs")
	onlyFault = flag.String("fault", "", "only this fault, or several with commas between; default: all")
	span      = flag.Duration("span", 30*time.Second, "virtual time of one seed under faults")
	verbose   = flag.Bool("tell", false, "tell every fault")
)

// TestSimulation runs a whole cluster in virtual time, by seed: clients write and read while wires, disks, clocks and processes fail;
// what they were told must be linearizable, and replicas must be equal in the end. A seed that fails is run again by
// go test -run 'TestSimulation' ./shard/shardtest -seed N -seeds 1 -tell
// The seed repeats the faults and the operations that are drawn, and which of two timers is first. It does not repeat every interleaving: who
// of several goroutines that can run at one moment of virtual time goes first is up to the Go scheduler, so a rare failure may need
// several runs of its seed. What a failing run knows is in its log: the faults, and the last operations on the document in question.
func TestSimulation(t *testing.T) {
	faults := shardtest.Faults()
	if *onlyFault != "" {
		faults = nil
		for f := range strings.SplitSeq(*onlyFault, ",") {
			faults = append(faults, shardtest.Fault(f))
		}
	}
	var total shardtest.Verdict
	var mu sync.Mutex
	t.Cleanup(func() {
		t.Logf("faults %v: %d seeds, %d writes acknowledged, %d of unknown outcome, %d linearizable reads, %d bounded, %d searches, %d power cuts within a disk's work, %d cuts that lost and %d that tore something; %d lost, %d stale, %d resurrected", faults, *seeds,
			total.Acknowledged, total.Unknown, total.Reads, total.Bounded, total.Searches, total.Cuts.Armed, total.Cuts.Lost, total.Cuts.Torn, total.Lost, total.Stale, total.Resurrected)
	})
	for seed := *firstSeed; seed < *firstSeed+*seeds; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			v := simulate(t, seed, faults)
			mu.Lock()
			defer mu.Unlock()
			total.Operations += v.Operations
			total.Acknowledged += v.Acknowledged
			total.Unknown += v.Unknown
			total.Reads += v.Reads
			total.Bounded += v.Bounded
			total.Searches += v.Searches
			total.Lost += v.Lost
			total.Cuts = shardtest.Cuts{Armed: total.Cuts.Armed + v.Cuts.Armed, Lost: total.Cuts.Lost + v.Cuts.Lost, Torn: total.Cuts.Torn + v.Cuts.Torn}
			total.Stale += v.Stale
			total.Resurrected += v.Resurrected
		})
	}
}

// simulate runs one seed.
func simulate(t *testing.T, seed uint64, faults []shardtest.Fault) shardtest.Verdict {
	w := &shardtest.Workload{Collection: "papers", Shards: 3, Clients: 4, Think: 150 * time.Millisecond, Patience: 4 * time.Second}
	for i := range 7 {
		w.IDs = append(w.IDs, fmt.Sprint("d", i))
	}
	w.IDs = append(w.IDs, "p#1", "p#2")
	nodes := 3
	if seed%4 == 0 {
		nodes = 5 // of which each shard has 3
	}
	nemesis := &shardtest.Nemesis{Faults: faults, Seed: seed, Log: func(string, ...any) {}}
	var cuts shardtest.Cuts
	synctest.Test(t, func(t *testing.T) {
		c := shardtest.Start(t, shardtest.Options{Nodes: nodes, Shards: 3, Replicas: 3, Seed: seed, SnapshotBytes: 64 << 10})
		defer c.Close()
		if _, err := c.Router().Configure(t.Context(), w.Collection, shard.Configure{Change: shard.Create, Configuration: shardtest.Configuration()}); err != nil {
			t.Fatal(err)
		}
		if nemesis.Cluster = c; *verbose {
			nemesis.Log = t.Logf
		}
		ctx, cancel := context.WithTimeout(context.Background(), *span)
		defer cancel()
		done := make(chan struct{})
		go func() {
			defer close(done)
			nemesis.Run(ctx)
		}()
		w.Run(ctx, []*shard.Router{c.Router(), c.AddRouter()}, seed)
		<-done
		c.Settle(t)
		if err := w.End(context.Background(), c.Router()); err != nil {
			t.Error(err)
		}
		c.CheckEqual(t)
		cuts = c.Cuts()
	})
	v := w.Judge(20 * time.Second)
	v.Cuts = cuts
	if v.Err != nil {
		t.Errorf("seed %d: %v (%+v)", seed, v.Err, v)
	}
	if t.Failed() {
		t.Logf("faults:\n%s\noperations:\n%s", strings.Join(nemesis.Told, "\n"), strings.Join(w.Tell(v.Document, 40), "\n"))
	}
	if v.Acknowledged < 50 || v.Reads < 50 {
		t.Errorf("seed %d: only %d writes and %d reads: nothing is shown", seed, v.Acknowledged, v.Reads)
	}
	return v
}
