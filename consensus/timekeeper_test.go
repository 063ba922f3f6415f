package consensus

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const year = 365 * 24 * time.Hour

// TestStampRules: whatever the clocks say, cluster time never goes back, never runs from the monotonic clock by more than a
// second an entry, and without a median passes exactly as that does.
func TestStampRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var k Timekeeper
		begin := rapid.Int64Range(0, 1<<42).Draw(t, "begin")
		k.Reset(begin)
		now := time.Duration(rapid.Int64Range(0, int64(year)).Draw(t, "now"))
		previous, last, alone := begin, now, true
		first := now
		for entry := range rapid.IntRange(1, 50).Draw(t, "entries") {
			now += time.Duration(rapid.Int64Range(0, int64(10*time.Second)).Draw(t, "passed"))
			if entry == 0 {
				first, last = now, now // it anchors
			}
			ok := rapid.Bool().Draw(t, "ok")
			median := rapid.OneOf(
				rapid.Int64Range(previous-int64(year/time.Millisecond), previous+int64(year/time.Millisecond)),
				rapid.Int64Range(previous-5000, previous+5000), rapid.Int64()).Draw(t, "median")
			stamp := k.Stamp(now, median, ok)
			passed := (now - last).Milliseconds() + 1 // and what the last stamp left of a millisecond
			if stamp < previous || stamp > previous+passed+maxLead {
				t.Fatalf("%d after %d, %d ms passed, median %d, %v", stamp, previous, passed, median, ok)
			}
			if ok && stamp < median && stamp < previous+passed-2+maxLead {
				t.Fatalf("%d stays behind the median %d, previous %d, passed %d", stamp, median, previous, passed)
			}
			if ok && stamp > max(median, previous) {
				t.Fatalf("%d is ahead of the median %d, previous %d", stamp, median, previous)
			}
			alone = alone && !ok
			if exact := begin + (now - first).Milliseconds(); alone && stamp != exact {
				t.Fatalf("%d without clocks, %d passed", stamp, exact)
			}
			previous, last = stamp, now
		}
	})
}

// TestStampCarries: many entries within a millisecond do not make time stand still.
func TestStampCarries(t *testing.T) {
	var k Timekeeper
	k.Reset(1000)
	for i := range 10_001 {
		if stamp, want := k.Stamp(time.Duration(i)*100*time.Microsecond, 0, false), int64(1000+i/10); stamp != want {
			t.Fatalf("entry %d: %d, want %d", i, stamp, want)
		}
	}
	// A monotonic clock that goes back, another node's, starts anew.
	if stamp := k.Stamp(0, 0, false); stamp != 2000 {
		t.Error(stamp)
	}
}

// TestMedian: a minority of clocks, wrong by whatever, moves nothing beyond the honest ones.
func TestMedian(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		voters := rapid.IntRange(1, 7).Draw(t, "voters")
		honest := rapid.IntRange(voters/2+1, voters).Draw(t, "honest")
		now := int64(1 << 41)
		var clocks []int64
		for range honest {
			clocks = append(clocks, now+rapid.Int64Range(0, maxSpread).Draw(t, "honest clock"))
		}
		low, high := slices.Min(clocks), slices.Max(clocks)
		for range rapid.IntRange(0, voters-honest).Draw(t, "answering liars") {
			clocks = append(clocks, rapid.OneOf(rapid.Int64(), rapid.Int64Range(now-2*maxSpread, now+2*maxSpread)).Draw(t, "liar"))
		}
		ms, ok := median(clocks, voters)
		if !ok {
			t.Fatalf("no majority in %v of %d", clocks, voters)
		}
		if ms < low-maxSpread || ms > high+maxSpread {
			t.Fatalf("%d of %v, honest %d to %d", ms, clocks, low, high)
		}
	})
}

func TestMedianTable(t *testing.T) {
	const now, far = 1_700_000_000_000, int64(year / time.Millisecond)
	for _, c := range []struct {
		name   string
		clocks []int64
		voters int
		want   int64
		ok     bool
	}{
		{"none", nil, 3, 0, false},
		{"no voters", nil, 0, 0, false},
		{"alone", []int64{now}, 1, now, true},
		{"one of three", []int64{now}, 3, 0, false},
		{"two of three", []int64{now + 5, now}, 3, now, true},
		{"a year ahead", []int64{now, now + 1, now + far}, 3, now, true},
		{"a year behind", []int64{now - far, now, now + 1}, 3, now, true},
		{"a minute apart", []int64{now, now + 60_000}, 2, now, true},
		{"more than a minute apart", []int64{now, now + 60_001}, 2, 0, false},
		{"all apart", []int64{now, now + far, now - far}, 3, 0, false},
		{"two of four", []int64{now, now, now + far, now + far}, 4, 0, false},
		{"five", []int64{now + 2, now + 1, now, now + 3, now + 4}, 5, now + 2, true},
		{"the ends of time", []int64{-1 << 63, 1<<63 - 1, 0}, 3, 0, false},
	} {
		if ms, ok := median(c.clocks, c.voters); ms != c.want || ok != c.ok {
			t.Errorf("%s: %d, %v", c.name, ms, ok)
		}
	}
}
