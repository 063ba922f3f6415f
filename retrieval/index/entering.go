package index

import (
	"cmp"
	"slices"
)

// entering returns those of scored, documents by one score, that are among the best n of themselves and all that come before them by another, that of
// from: about as many times n as 1 plus the logarithm of len(from)/n where the scores have nothing to do with each other, hardly more than n where they
// agree. The best n of all would not do: a part lets documents pass its first stage that the whole does not, and these could push out what the whole
// keeps. Here, what is not in the part can only make room.
func (s snapshot) entering(from, scored []candidate, n int) []candidate {
	type ranked struct {
		sum int64
		i   int
	}
	order := make([]ranked, len(from))
	for i, x := range from {
		order[i] = ranked{x.sum, i}
	}
	slices.SortFunc(order, func(a, b ranked) int {
		switch {
		case a.sum != b.sum:
			return cmp.Compare(b.sum, a.sum)
		case s.before(from[a.i], from[b.i]):
			return -1
		}
		return 1
	})
	best := make([]candidate, 0, n) // so far: a heap with the worst on top
	in, count := make([]bool, len(from)), 0
	for _, r := range order {
		switch x := scored[r.i]; {
		case len(best) < n:
			best = append(best, x)
			for at := len(best) - 1; at > 0 && s.better(best[(at-1)/2], best[at]); at = (at - 1) / 2 {
				best[at], best[(at-1)/2] = best[(at-1)/2], best[at]
			}
		case s.better(x, best[0]):
			best[0] = x
			sink(best, 0, func(a, b candidate) bool { return s.better(b, a) })
		default:
			continue
		}
		in[r.i], count = true, count+1
	}
	out := make([]candidate, 0, count)
	for i, x := range scored {
		if in[i] {
			out = append(out, x)
		}
	}
	return out
}
