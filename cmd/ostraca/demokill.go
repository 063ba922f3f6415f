package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"ostraca/api"
	"ostraca/ops/local"
)

// demoKill is what the demo measured while a node was killed.
type demoKill struct {
	Failed        int     `json:"failed_during_kill"` // queries and writes
	QueriesDuring int     `json:"queries_during_kill"`
	WritesDuring  int     `json:"writes_during_kill"`
	WriteGap      float64 `json:"longest_write_gap_ms"` // between two successful writes
	QueryGap      float64 `json:"longest_query_gap_ms"`
	ShardsLed     int     `json:"shards_led_by_killed"`
	ElectedMS     float64 `json:"new_leaders_ms"` // from the kill until all shards had leaders again
	RestartS      float64 `json:"restart_s"`      // from the start of the process until its replicas were equal to the others
	Acknowledged  int     `json:"writes_acknowledged"`
	Lost          int     `json:"acknowledged_writes_lost"`
}

// The clients of the demo, and how long they work before the kill and after it.
const (
	demoWriters, demoReaders = 2, 4
	beforeKill               = time.Second
	afterKill                = 2 * time.Second
	electPatience            = 30 * time.Second
	beforeAgain              = 20 * time.Millisecond // until a question is asked again
	catchUpPatience          = 60 * time.Second
)

// survive kills the node that leads most shards while clients work, brings it back, and looks for every acknowledged write.
func (d *demo) survive(ctx context.Context) error {
	status, err := d.client.Status(ctx, &api.StatusRequest{})
	if err != nil {
		return fmt.Errorf("status: %w", err)
	}
	node, led := d.leads(status)
	killed := d.cluster.Info(node)
	d.ShardsLed = len(led)
	d.app.say("Now %d clients search and %d clients write, as fast as they are answered, and the node that leads most shards is killed.\n", demoReaders, demoWriters)
	start := time.Now()
	event := func(format string, v ...any) {
		d.app.say("  %5.2f s  %s\n", time.Since(start).Seconds(), fmt.Sprintf(format, v...))
	}
	traffic := d.traffic(ctx)
	defer traffic.Stop()
	if err := wait(ctx, beforeKill); err != nil {
		return err
	}
	before := traffic.Report()
	event("%d queries and %d writes answered; kill -9 of node %s, process %d, leader of shards %s", before.Reads, before.Writes, killed.ID, killed.PID, list(led))
	traffic.Mark()
	if err := d.cluster.Kill(node); err != nil {
		return err
	}
	if err := d.elected(ctx, killed.ID, event); err != nil {
		return err
	}
	if err := wait(ctx, afterKill); err != nil {
		return err
	}
	now := traffic.Report()
	event("%d queries and %d writes answered since the kill, %d failed; starting node %s again", now.Reads-before.Reads, now.Writes-before.Writes, now.FailedReads+now.FailedWrites+now.Stale, killed.ID)
	restarted := time.Now()
	if err := d.cluster.Restart(ctx, node); err != nil {
		return err
	}
	back := d.cluster.Info(node)
	event("node %s is back: process %d, at %s, with the files it was killed with", back.ID, back.PID, back.Listen)
	all := traffic.Stop()
	return d.settle(ctx, traffic, before, all, restarted, event)
}

// settle waits until all replicas are equal, and looks for what was acknowledged.
func (d *demo) settle(ctx context.Context, traffic *local.Traffic, before, all local.Report, restarted time.Time, event func(string, ...any)) error {
	d.QueriesDuring, d.WritesDuring = all.Reads-before.Reads, all.Writes-before.Writes
	d.Failed = all.FailedReads + all.FailedWrites + all.Stale
	d.WriteGap, d.QueryGap = ms(all.WriteGap), ms(all.ReadGap)
	settling, cancel := context.WithTimeout(ctx, catchUpPatience)
	defer cancel()
	if _, err := local.Settled(settling, d.client); err != nil {
		return fmt.Errorf("wait until the node has caught up: %w", err)
	}
	d.RestartS = time.Since(restarted).Seconds()
	event("it has caught up: in every shard all %d replicas have the same digest over every row", d.Replicas)
	lost, acknowledged, err := traffic.Lost(ctx)
	if err != nil {
		return err
	}
	d.Acknowledged, d.Lost = acknowledged, len(lost)
	event("looked for all %d acknowledged writes: %d are lost", d.Acknowledged, d.Lost)
	for _, err := range all.Errors {
		event("failed: %v", err)
	}
	for _, what := range lost {
		event("lost: %s", what)
	}
	d.app.say("%d queries and %d writes since the kill, %d failed. The longest time without a successful write was %.0f ms, without a query %.0f ms.\n\n",
		d.QueriesDuring, d.WritesDuring, d.Failed, d.WriteGap, d.QueryGap)
	return nil
}

// traffic sets the clients to work.
func (d *demo) traffic(ctx context.Context) *local.Traffic {
	return local.StartTraffic(ctx, local.TrafficOptions{
		Client: d.client, Collection: demoCollection, Writers: demoWriters, Readers: demoReaders,
		Document: func(writer, n int) *api.PutDocument {
			return &api.PutDocument{Id: fmt.Sprintf("note-%d-%d", writer, n), Text: fmt.Sprintf("Clerk %d counted the potsherds of basket %d.", writer, n)}
		},
		Search: func(reader, n int) *api.SearchRequest {
			q := d.queries[(reader*len(d.queries)/demoReaders+n)%len(d.queries)]
			return &api.SearchRequest{Collection: demoCollection, Text: q.Text, K: 10}
		},
	})
}

// elected waits until every shard has a leader that lives.
func (d *demo) elected(ctx context.Context, killed string, event func(string, ...any)) error {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, electPatience)
	defer cancel()
	for {
		status, err := d.client.Status(ctx, &api.StatusRequest{})
		if err == nil {
			leaders := make([]string, len(status.GetShards()))
			for i, s := range status.GetShards() {
				if leaders[i] = s.GetLeader(); leaders[i] == "" || leaders[i] == killed {
					err = fmt.Errorf("shard %d has no new leader", s.GetShard())
				}
			}
			if err == nil {
				d.ElectedMS = ms(time.Since(start))
				event("the others have elected: shards are led by %s", strings.Join(leaders, ", "))
				return nil
			}
		}
		if gone := wait(ctx, 20*time.Millisecond); gone != nil {
			return errors.Join(fmt.Errorf("wait for new leaders: %w", gone), err)
		}
	}
}

// wait waits, unless the context ends.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

// list writes numbers for a sentence.
func list(numbers []uint32) string {
	return strings.Join(strings.Fields(strings.Trim(fmt.Sprint(numbers), "[]")), ", ")
}
