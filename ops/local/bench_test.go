package local

import (
	"context"
	"slices"
	"testing"
	"time"
)

// BenchmarkLeaderKill kills the leader of the only shard with kill -9 while clients write and read, brings it back, and so on. Each round's gap
// is the longest that one writer was without a successful write.
//
//	go test -run '^$' -bench LeaderKill -benchtime 10x ./ops/local
func BenchmarkLeaderKill(b *testing.B) { benchmarkLoss(b, (*Cluster).Kill) }

// BenchmarkLeaderTerminated is the same with SIGTERM: the leader hands over.
func BenchmarkLeaderTerminated(b *testing.B) { benchmarkLoss(b, (*Cluster).Stop) }

func benchmarkLoss(b *testing.B, end func(*Cluster, int) error) {
	c, client := startCluster(b, 1)
	clients := traffic(b, client, "bench")
	more(b, clients, 200)
	var writes, reads []time.Duration
	for b.Loop() {
		leads, _ := leads(b, c, client)
		clients.Mark()
		if err := end(c, leads); err != nil {
			b.Fatal(err)
		}
		more(b, clients, 200)
		r := clients.Report()
		writes, reads = append(writes, r.WriteGap), append(reads, r.ReadGap)
		if err := c.Restart(b.Context(), leads); err != nil {
			b.Fatal(err)
		}
		more(b, clients, 200)
	}
	r := clients.Stop()
	ctx, cancel := context.WithTimeout(b.Context(), testPatience)
	defer cancel()
	lost, acked, err := clients.Lost(ctx)
	if err != nil {
		b.Fatal(err)
	}
	slices.Sort(writes)
	slices.Sort(reads)
	b.Logf("%d rounds: longest gap between successful writes: median %v, all %v; between reads: median %v, longest %v", len(writes), median(writes), writes,
		median(reads), reads[len(reads)-1])
	b.Logf("%d writes and %d reads; acknowledged writes lost %d (of %d ids), failed writes %d, failed reads %d, stale reads %d %v", r.Writes, r.Reads, len(lost), acked,
		r.FailedWrites, r.FailedReads, r.Stale, r.Errors)
	b.ReportMetric(float64(median(writes).Milliseconds()), "ms-median-gap")
	b.ReportMetric(float64(writes[len(writes)-1].Milliseconds()), "ms-longest-gap")
	b.ReportMetric(float64(len(lost)), "lost")
	b.ReportMetric(float64(r.FailedReads), "failed-reads")
	if len(lost) > 0 || r.Stale > 0 {
		b.Errorf("lost: %v, stale reads: %d", lost, r.Stale)
	}
}

// median is of what is sorted.
func median(all []time.Duration) time.Duration { return (all[(len(all)-1)/2] + all[len(all)/2]) / 2 }
