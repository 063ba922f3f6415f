package encoder

import "ostraca/retrieval"

const (
	specials     = 2   // [CLS] and [SEP], counted in every length
	windowTokens = 256 // model input length of a window
	strideTokens = 192 // pieces from the start of a window to the start of the next
)

// Lengths that a text may be cut to, and the most that it may have, with [CLS] and [SEP].
const (
	MinTokens = specials + 1
	MaxTokens = retrieval.MaxDocumentTokens
)

// window is a stretch of a text's pieces that the model reads at once, and which of them it speaks for.
type window struct {
	start, end       int // pieces that are read
	ownStart, ownEnd int // pieces whose vectors are kept
}

// windows cuts n pieces into windows of at most size. Every piece belongs to the window where it is farthest from the nearer
// inner edge, ties to the earlier one; a text's own ends are no edges.
func windows(n, size int) []window {
	if n <= size {
		return []window{{end: n, ownEnd: n}}
	}
	stride := max(strideTokens*size/(windowTokens-specials), 1)
	var out []window
	for start := 0; ; start += stride {
		w := window{start: start, end: min(start+size, n)}
		if start > 0 {
			// Of the pieces shared with the window before, [start, last.end), the later half is ours: piece i is last.end-1-i from
			// the earlier window's edge and i-start from ours.
			last := &out[len(out)-1]
			w.ownStart = (last.end + start + 1) / 2
			last.ownEnd = w.ownStart
		}
		w.ownEnd = w.end
		out = append(out, w)
		if w.end == n {
			return out
		}
	}
}
