package consensus

import (
	"slices"
	"time"
)

const (
	// maxLead is how far one entry may move cluster time beyond what passed on the leader's monotonic clock, in ms.
	maxLead = 1000
	// maxSpread is how far apart clocks may be that are believed, in ms.
	maxSpread = 60_000
)

// Timekeeper gives the entries of a leader their cluster time, docs/operations.md. It reads no clock. It is not safe for
// concurrent use.
type Timekeeper struct {
	previous int64         // ms
	at       time.Duration // on the monotonic clock, of previous
	anchored bool
}

// Reset begins a leadership: previous is the cluster time of the last entry, ms since 1970.
func (k *Timekeeper) Reset(previous int64) { *k = Timekeeper{previous: previous} }

// Stamp returns the next entry's cluster time, ms since 1970: the median of the voters' clocks, but no less than the previous entry's, and
// no further ahead of it than what passed on the leader's monotonic clock, now, plus 1 s. Without a median (ok is false) it
// moves by the monotonic clock alone.
func (k *Timekeeper) Stamp(now time.Duration, median int64, ok bool) int64 {
	if !k.anchored || now < k.at {
		k.at, k.anchored = now, true
	}
	passed := (now - k.at).Milliseconds()
	next := k.previous + passed
	if ok {
		next = min(max(median, k.previous), next+maxLead)
	}
	k.at += time.Duration(passed) * time.Millisecond // the rest of a millisecond counts next time
	k.previous = next
	return next
}

// median returns the middle, the earlier one of two, of the largest set of clocks within a minute of each other, the earliest of several such;
// ok says that a majority of so many voters is in it. It sorts clocks, ms since 1970.
func median(clocks []int64, voters int) (ms int64, ok bool) {
	slices.Sort(clocks)
	from, most := 0, 0
	for i, j := 0, 0; i < len(clocks); i++ {
		for j < len(clocks) && uint64(clocks[j]-clocks[i]) <= maxSpread {
			j++
		}
		if j-i > most {
			from, most = i, j-i
		}
	}
	if 2*most <= voters {
		return 0, false
	}
	return clocks[from+(most-1)/2], true
}
