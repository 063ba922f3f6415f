package index

import (
	"math"
	"math/bits"
	"slices"
)

// candidate is a document on its way through the stages of a plan, and its score in the one behind it.
type candidate struct {
	sum      int64
	part, at int32
}

// better orders candidates as retrieval.Compare orders hits: the same on every shard, so that the best of a whole are among the best of its parts.
func (s snapshot) better(a, b candidate) bool {
	return a.sum > b.sum || a.sum == b.sum && s.before(a, b)
}

// before orders candidates of one score, apart so that better is inlined.
func (s snapshot) before(a, b candidate) bool {
	return s[a.part].records[a.at].id < s[b.part].records[b.at].id
}

// contest keeps the best n candidates of any number that are added.
type contest struct {
	parts snapshot
	n     int
	best  []candidate
	least int64 // once n were kept, the worst of them: what is worse need not be added
	close []candidate
}

func newContest(parts snapshot, n int) *contest {
	return &contest{parts: parts, n: n, least: math.MinInt64}
}

// add adds a candidate. One below c.least, which could not stay, need not be added.
func (c *contest) add(x candidate) {
	c.best = append(c.best, x)
	if len(c.best) >= 2*c.n {
		c.cut()
	}
}

// cut leaves the best n, in the order in which they were added.
func (c *contest) cut() {
	if len(c.best) <= c.n {
		return
	}
	worst, kept := c.nth(), 0
	for _, x := range c.best {
		c.best[kept] = x
		if !c.parts.better(worst, x) {
			kept++
		}
	}
	c.best, c.least = c.best[:kept], worst.sum
}

// nth returns the candidate that n-1 others are better than. It counts scores in 256 steps, and looks closer at those of one step alone.
func (c *contest) nth() candidate {
	low, high := c.best[0].sum, c.best[0].sum
	for _, x := range c.best {
		low, high = min(low, x.sum), max(high, x.sum)
	}
	shift := max(0, bits.Len64(uint64(high-low))-8)
	var counts [256]int
	for _, x := range c.best {
		counts[uint8(uint64(x.sum-low)>>shift)]++
	}
	step, above := uint64(255), 0
	for ; above+counts[step] < c.n; step-- {
		above += counts[step]
	}
	c.close = c.close[:0]
	for _, x := range c.best {
		if uint64(x.sum-low)>>shift == step {
			c.close = append(c.close, x)
		}
	}
	return nth(c.close, c.n-above-1, c.parts.better)
}

// nth returns what n others of b are better than, which it brings to its place (quickselect, Hoare 1961).
func nth[T any](b []T, n int, better func(a, b T) bool) T {
	for lo, hi := 0, len(b)-1; lo < hi; {
		pivot, i, j := b[(lo+hi)/2], lo, hi
		for i <= j {
			for better(b[i], pivot) {
				i++
			}
			for better(pivot, b[j]) {
				j--
			}
			if i <= j {
				b[i], b[j] = b[j], b[i]
				i++
				j--
			}
		}
		switch {
		case n <= j:
			hi = j
		case n >= i:
			lo = i
		default:
			return b[n]
		}
	}
	return b[n]
}

// merged returns the best candidates of all workers, in the order in which they lie.
func merged(contests []*contest, err error) ([]candidate, error) {
	if err != nil {
		return nil, err
	}
	all := contests[0]
	for _, c := range contests[1:] {
		for _, x := range c.best {
			all.add(x)
		}
	}
	all.cut()
	slices.SortFunc(all.best, inPlace)
	return all.best, nil
}

// inPlace orders candidates as they lie.
func inPlace(a, b candidate) int {
	if a.part != b.part {
		return int(a.part) - int(b.part)
	}
	return int(a.at) - int(b.at)
}
