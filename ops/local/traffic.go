package local

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"ostraca/api"
)

// TrafficOptions say what clients do. Client, Collection, Writers and Document are needed.
type TrafficOptions struct {
	Client           api.MemoryClient
	Collection       string
	Writers, Readers int
	// Document makes a writer's n-th document. An id belongs to one writer, which may write it several times; fields are the traffic's.
	Document func(writer, n int) *api.PutDocument
	// Search makes a reader's n-th search. Readers take turns between searches and gets of what was written; nil: gets alone.
	Search func(reader, n int) *api.SearchRequest
}

// Traffic is clients at work while a cluster has its troubles: writers that keep every acknowledged write, and readers at the level
// linearizable that know what they must see.
type Traffic struct {
	o       TrafficOptions
	stop    context.CancelFunc
	clients sync.WaitGroup

	mu     sync.Mutex
	ids    []string // in the order of their first write's end
	kept   map[string]*written
	report Report
	writes []gap // of each writer
	reads  []gap // of each reader
}

// written is what is known of one id.
type written struct {
	acked   int // the number of its last acknowledged write, 0 for none
	unknown map[int]bool
}

// gap measures the longest time of one client between two successes.
type gap struct {
	last    time.Time
	longest time.Duration
}

func (g *gap) success(now time.Time) { g.longest, g.last = max(g.longest, now.Sub(g.last)), now }

// longest returns the longest gap of several clients; one that lasts counts too.
func longest(clients []gap, now time.Time) (out time.Duration) {
	for _, g := range clients {
		out = max(out, g.longest, now.Sub(g.last))
	}
	return out
}

// Report is what clients met with.
type Report struct {
	Writes, Reads             int           // that succeeded
	FailedWrites, FailedReads int           // that were told an error
	Stale                     int           // reads that did not see what was acknowledged before they began
	WriteGap, ReadGap         time.Duration // the longest that one client was without success, since Mark
	Errors                    []error       // the first few
}

const (
	maxErrors = 5                    // that a report keeps
	failPause = 5 * time.Millisecond // of a client that got nothing
)

// StartTraffic sets clients to work, until Stop or the end of the context.
func StartTraffic(ctx context.Context, o TrafficOptions) *Traffic {
	t := &Traffic{o: o, kept: map[string]*written{}, writes: make([]gap, o.Writers), reads: make([]gap, o.Readers)}
	t.Mark()
	working, stop := context.WithCancel(ctx)
	t.stop = stop
	for w := range o.Writers {
		t.clients.Go(func() {
			for n := 1; working.Err() == nil; n++ {
				if !t.write(ctx, w, n) {
					time.Sleep(failPause)
				}
			}
		})
	}
	for r := range o.Readers {
		t.clients.Go(func() {
			for n := 0; working.Err() == nil; n++ {
				if !t.read(ctx, r, n) {
					time.Sleep(failPause)
				}
			}
		})
	}
	return t
}

// Mark begins to measure gaps anew.
func (t *Traffic) Mark() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, clients := range [][]gap{t.writes, t.reads} {
		for i := range clients {
			clients[i] = gap{last: time.Now()}
		}
	}
}

// Report tells how it stands.
func (t *Traffic) Report() Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.report
	r.Errors = slices.Clone(r.Errors)
	r.WriteGap, r.ReadGap = longest(t.writes, time.Now()), longest(t.reads, time.Now())
	return r
}

// Stop lets all clients end what they are at, and reports.
func (t *Traffic) Stop() Report {
	r := t.Report()
	t.stop()
	t.clients.Wait()
	gaps := r
	r = t.Report()
	r.WriteGap, r.ReadGap = gaps.WriteGap, gaps.ReadGap // not the silence at the end
	return r
}

// failed notes an error, under the lock, and how many there were.
func (t *Traffic) failed(count *int, err error) {
	*count++
	if len(t.report.Errors) < maxErrors {
		t.report.Errors = append(t.report.Errors, err)
	}
}

const numberField = "n"

// write writes once and tells whether that was acknowledged.
func (t *Traffic) write(ctx context.Context, writer, n int) bool {
	d := t.o.Document(writer, n)
	d.Fields = &structpb.Struct{Fields: map[string]*structpb.Value{numberField: structpb.NewNumberValue(float64(n))}}
	answer, err := t.o.Client.Put(ctx, &api.PutRequest{Collection: t.o.Collection, Documents: []*api.PutDocument{d}})
	if err == nil && len(answer.GetOutcomes()) != 1 {
		err = fmt.Errorf("%d outcomes of one document", len(answer.GetOutcomes()))
	} else if err == nil && answer.GetOutcomes()[0].GetError() != nil {
		e := answer.GetOutcomes()[0].GetError()
		err = fmt.Errorf("%s: %s", e.GetCode(), e.GetMessage())
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	is := t.kept[d.Id]
	if is == nil {
		is = &written{unknown: map[int]bool{}}
		t.kept[d.Id], t.ids = is, append(t.ids, d.Id)
	}
	if err != nil { // it may have taken effect, or still will
		is.unknown[n] = true
		t.failed(&t.report.FailedWrites, fmt.Errorf("write of %s: %w", d.Id, err))
		return false
	}
	is.acked = n
	t.report.Writes++
	t.writes[writer].success(time.Now())
	return true
}

// read reads once and tells whether there was something to read, and the answer was right.
func (t *Traffic) read(ctx context.Context, reader, n int) bool {
	var err error
	stale := false
	if id, least := t.pick(); t.o.Search == nil || n%2 == 1 && id != "" {
		if id == "" { // nothing is written yet
			return false
		}
		var found map[string]int
		if found, err = t.get(ctx, id); err == nil {
			stale = found[id] < least && !t.mayBe(id, found[id])
		}
	} else {
		_, err = t.o.Client.Search(ctx, t.o.Search(reader, n))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err != nil:
		t.failed(&t.report.FailedReads, fmt.Errorf("read: %w", err))
	case stale:
		t.report.Stale++
	default:
		t.report.Reads++
		t.reads[reader].success(time.Now())
		return true
	}
	return false
}

// pick returns any id, and the last write of it that is acknowledged.
func (t *Traffic) pick() (string, int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.ids) == 0 {
		return "", 0
	}
	id := t.ids[rand.IntN(len(t.ids))]
	return id, t.kept[id].acked
}

// mayBe reports whether a write of unknown outcome could have left this number: it may take effect late.
func (t *Traffic) mayBe(id string, n int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.kept[id].unknown[n]
}

// get returns the numbers of the writes that are found under ids.
func (t *Traffic) get(ctx context.Context, ids ...string) (map[string]int, error) {
	answer, err := t.o.Client.Get(ctx, &api.GetRequest{Collection: t.o.Collection, Ids: ids, Read: "linearizable"})
	if err != nil {
		return nil, err
	}
	found := map[string]int{}
	for _, d := range answer.GetDocuments() {
		found[d.GetId()] = int(d.GetFields().GetFields()[numberField].GetNumberValue())
	}
	return found, nil
}

// lookBatch is how many ids are asked for at a time.
const lookBatch = 200

// Lost stops the clients, looks for every acknowledged write, at the level linearizable, and tells of those that are not there: acked is how
// many ids it looked for. A write of unknown outcome may have taken effect or not.
func (t *Traffic) Lost(ctx context.Context) (lost []string, acked int, err error) {
	t.stop()
	t.clients.Wait()
	t.mu.Lock()
	ids := slices.Sorted(maps.Keys(t.kept))
	t.mu.Unlock()
	for batch := range slices.Chunk(ids, lookBatch) {
		found, err := t.get(ctx, batch...)
		if err != nil {
			return lost, acked, fmt.Errorf("look for acknowledged writes: %w", err)
		}
		t.mu.Lock()
		for _, id := range batch {
			is, n := t.kept[id], found[id]
			if is.acked > 0 {
				acked++
			}
			if n != is.acked && !is.unknown[n] {
				lost = append(lost, fmt.Sprintf("%s: write %d was acknowledged, %d is found", id, is.acked, n))
			}
		}
		t.mu.Unlock()
	}
	return lost, acked, nil
}

// errUnsettled: replicas differ, or are not all there.
var errUnsettled = errors.New("replicas are not equal yet")

// Settled waits until every replica of every shard answers, stands at the same index and has the same digest, and returns that status.
func Settled(ctx context.Context, client api.MemoryClient) (*api.StatusResponse, error) {
	for {
		status, err := client.Status(ctx, &api.StatusRequest{})
		if err == nil {
			if err = settled(status); err == nil {
				return status, nil
			}
		}
		select {
		case <-ctx.Done():
			return status, fmt.Errorf("%w: %w", err, ctx.Err())
		case <-time.After(2 * askEvery):
		}
	}
}

func settled(s *api.StatusResponse) error {
	if len(s.GetShards()) == 0 {
		return fmt.Errorf("no shard is known: %w", errUnsettled)
	}
	for _, shard := range s.GetShards() {
		if shard.GetLeader() == "" || len(shard.GetReplicas()) == 0 {
			return fmt.Errorf("shard %d has no leader: %w", shard.GetShard(), errUnsettled)
		}
		first := shard.GetReplicas()[0]
		for _, r := range shard.GetReplicas() {
			if r.GetTrouble() != "" || r.GetApplied() != first.GetApplied() || r.GetDigest() != first.GetDigest() || r.GetRole() == "nonvoter" {
				return fmt.Errorf("shard %d on %s: %s, applied %d, digest %.8s, trouble %q; on %s: applied %d, digest %.8s: %w", shard.GetShard(),
					r.GetNode(), r.GetRole(), r.GetApplied(), r.GetDigest(), r.GetTrouble(), first.GetNode(), first.GetApplied(), first.GetDigest(), errUnsettled)
			}
		}
	}
	return nil
}
