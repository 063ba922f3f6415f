package consensus

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"ostraca/storage"
)

// BenchmarkPropose is three nodes in one process, on loopback and with synced files; MB/s counts data once.
func BenchmarkPropose(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10, 1 << 20} {
		for _, writers := range []int{1, 8} {
			b.Run(fmt.Sprintf("%dKiB/writers=%d", size>>10, writers), func(b *testing.B) { propose(b, size, writers) })
		}
	}
}

// BenchmarkReadIndex is a leader with nothing else to do.
func BenchmarkReadIndex(b *testing.B) {
	for _, readers := range []int{1, 64} {
		b.Run(fmt.Sprintf("readers=%d", readers), func(b *testing.B) {
			measure(b, readers, func(g *Group, _ int) error { _, err := g.ReadIndex(b.Context()); return err })
		})
	}
}

func propose(b *testing.B, size, writers int) {
	b.SetBytes(int64(size))
	measure(b, writers, func(g *Group, i int) error {
		_, _, err := g.Propose(b.Context(), command(fmt.Sprint(i%4), string(make([]byte, size))))
		return err
	})
}

// measure has so many callers do something on the leader of three.
func measure(b *testing.B, callers int, do func(leader *Group, i int) error) {
	var groups []*Group
	at := map[string]string{}
	var muxes []*Mux
	voters := []string{"n0", "n1", "n2"}
	for _, v := range voters {
		l, err := Wire{}.Listen("127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		at[v] = l.Addr().String()
		muxes = append(muxes, NewMux(Wire{}, l, nil))
	}
	address := func(id string) (string, bool) { a, ok := at[id]; return a, ok }
	for i, v := range voters {
		dir := b.TempDir()
		store, err := storage.Open(dir, storage.Options{})
		if err != nil {
			b.Fatal(err)
		}
		log, err := storage.OpenLog(filepath.Join(dir, "log"), storage.Options{})
		if err != nil {
			b.Fatal(err)
		}
		machine, err := openRegister(store)
		if err != nil {
			b.Fatal(err)
		}
		g, err := OpenGroup(GroupOptions{Node: v, Log: log, Machine: machine, Mux: muxes[i], Address: address, Bootstrap: voters})
		if err != nil {
			b.Fatal(err)
		}
		groups = append(groups, g)
		defer func() { g.Close(); muxes[i].Close(); store.Close(); log.Close() }()
	}
	var leader *Group
	for leader == nil {
		for _, g := range groups {
			if g.IsLeader() {
				leader = g
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	var mu sync.Mutex
	var took []time.Duration
	var all sync.WaitGroup
	work := make(chan int)
	b.ResetTimer()
	for range callers {
		all.Go(func() {
			for i := range work {
				start := time.Now()
				if err := do(leader, i); err != nil {
					b.Error(err)
				}
				d := time.Since(start)
				mu.Lock()
				took = append(took, d)
				mu.Unlock()
			}
		})
	}
	for i := range b.N {
		work <- i
	}
	close(work)
	all.Wait()
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50_µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99_µs")
}
