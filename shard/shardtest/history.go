package shardtest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Verdict is what a history says.
type Verdict struct {
	Operations   int
	Acknowledged int // writes
	Unknown      int // writes whose outcome no one was told
	Reads        int // linearizable
	Bounded      int // reads that may be somewhat older
	Searches     int
	Lost         int // acknowledged writes that a later read should have shown
	Stale        int // reads that showed less than was acknowledged before them, or before their bound
	Resurrected  int // documents read after their forget was acknowledged, without a later put
	Cuts         Cuts
	Err          error
	Document     string // that Err is about, if about one
}

// Judge checks the history: by direct comparison of versions, which says what is wrong, and for linearizability by porcupine, per id and per
// shard, which finds also what the comparison does not know of.
func (w *Workload) Judge(patience time.Duration) Verdict {
	v := Verdict{Operations: len(w.ops), Err: w.fault}
	for _, o := range w.ops {
		switch {
		case o.Unknown:
			v.Unknown++
		case o.wrote() || o.Kind == OpForget:
			v.Acknowledged++
		case o.Kind == OpRead || o.Kind == OpList:
			v.Reads++
		case o.Kind == OpBounded:
			v.Bounded++
		}
	}
	v.Searches = w.searches
	w.compare(&v)
	if v.Err == nil {
		v.Document, v.Err = w.truths()
	}
	byShard := map[uint32][]Op{}
	for _, o := range w.ops {
		if o.Kind != OpBounded {
			byShard[o.Shard] = append(byShard[o.Shard], o)
		}
	}
	for _, id := range w.IDs {
		if v.Err == nil {
			v.Document, v.Err = id, linearizable("document "+id, w.of(id), patience)
		}
	}
	for _, s := range slices.Sorted(maps.Keys(byShard)) {
		if v.Err == nil {
			v.Document, v.Err = "", linearizable(fmt.Sprintf("shard %d", s), byShard[s], patience)
		}
	}
	return v
}

// of returns what happened to one document. Of a forget of several, how many there were says nothing here.
func (w *Workload) of(id string) []Op {
	var out []Op
	for _, o := range w.ops {
		if o.Kind == OpList || o.Kind == OpBounded || !o.touches(id) {
			continue
		}
		if o.Kind == OpForget && o.Parent {
			o.Part = true
		}
		out = append(out, o)
	}
	return out
}

// Tell returns the last operations on a document, or on all.
func (w *Workload) Tell(id string, most int) []string {
	var out []string
	for _, o := range w.ops {
		if id == "" || o.touches(id) {
			out = append(out, o.String())
		}
	}
	return out[max(0, len(out)-most):]
}

// compare looks at every linearizable and bounded read: what was the latest that had been acknowledged when it began, or its bound before?
// Versions tell, for they grow with every write of a shard; a forget has none, so it is placed by what was acknowledged before it
// began.
func (w *Workload) compare(v *Verdict) {
	for _, read := range w.ops {
		if read.Kind != OpRead && read.Kind != OpBounded {
			continue
		}
		var before Op          // the newest acknowledged put
		forgotten := int64(-1) // when the latest acknowledged forget was called
		for _, o := range w.ops {
			if o.Unknown || !o.touches(read.ID) || !read.mustShow(o) {
				continue
			}
			if o.wrote() && o.Version > before.Version {
				before = o
			}
			if o.Kind == OpForget {
				forgotten = max(forgotten, o.Call)
			}
		}
		bad := v.Stale + v.Resurrected
		switch final := read.Client == w.Clients; {
		case read.Version != 0 && read.Version < before.Version,
			read.Version == 0 && before.Version != 0 && !w.mayBeForgotten(read, before):
			if v.Stale++; final {
				v.Lost++
			}
		case read.Version != 0 && forgotten >= 0 && w.writtenBefore(read, forgotten):
			v.Resurrected++
		}
		if bad == 0 && v.Stale+v.Resurrected > 0 {
			v.Document = read.ID
		}
	}
	if v.Err == nil && v.Lost+v.Stale+v.Resurrected > 0 {
		v.Err = fmt.Errorf("document %s and maybe others: %d lost, %d stale, %d resurrected", v.Document, v.Lost, v.Stale, v.Resurrected)
	}
}

// mustShow tells whether a read must show what an acknowledged operation did, unless later ones undid it.
func (o Op) mustShow(earlier Op) bool {
	if o.Kind == OpBounded {
		return earlier.Returned.Before(o.Called.Add(-o.Bound))
	}
	return earlier.Return < o.Call
}

// mayBeForgotten tells whether a forget, acknowledged or not, may lie between a put and a read.
func (w *Workload) mayBeForgotten(read, put Op) bool {
	return slices.ContainsFunc(w.ops, func(o Op) bool {
		return o.Kind == OpForget && o.touches(read.ID) && o.Call < read.Return && (o.Unknown || o.Return > put.Call)
	})
}

// writtenBefore tells whether the put or patch that a read shows had been acknowledged before a forget was called.
func (w *Workload) writtenBefore(read Op, forgotten int64) bool {
	return slices.ContainsFunc(w.ops, func(o Op) bool {
		return o.ID == read.ID && !o.Unknown && o.wrote() && o.Version == read.Version && o.Return < forgotten
	})
}

// truths checks all reads, of whatever level and replica: at one index a document is one thing, and with the index its version grows.
func (w *Workload) truths() (string, error) {
	seen := slices.Clone(w.seen)
	slices.SortFunc(seen, func(a, b Observation) int {
		return cmp.Or(cmp.Compare(a.Shard, b.Shard), strings.Compare(a.ID, b.ID), cmp.Compare(a.Index, b.Index))
	})
	newest := uint64(0)
	for i, o := range seen {
		if i == 0 || seen[i-1].Shard != o.Shard || seen[i-1].ID != o.ID {
			newest = 0
		} else if p := seen[i-1]; p.Index == o.Index && p.Value != o.Value {
			return o.ID, fmt.Errorf("%s at entry %d of shard %d was read as %+v and as %+v", o.ID, o.Index, o.Shard, p.Value, o.Value)
		}
		if o.Version>>16 > o.Index {
			return o.ID, fmt.Errorf("%s at entry %d of shard %d is of entry %d", o.ID, o.Index, o.Shard, o.Version>>16)
		}
		if o.Version != 0 && o.Version < newest {
			return o.ID, fmt.Errorf("%s at entry %d of shard %d has version %d after %d", o.ID, o.Index, o.Shard, o.Version, newest)
		}
		newest = max(newest, o.Version)
	}
	return "", nil
}
