package index

import (
	"ostraca/retrieval"
	"ostraca/retrieval/kernel"
)

// Decode returns the vectors that codes stand for, rows of their width, of about unit length: of 8 bits the codes times their scale; of packed codecs the coarse vector of
// a token's cluster and the difference from it, turned back by the inverse of the rotation. They are for people and other tools: no score is made of them, so they are float64
// until they are returned. The codes must be valid (retrieval.Document.Validate); those of packed codecs come with what is pooled.
func Decode(c retrieval.Codes) []float32 {
	n, width, stride := c.Len(), c.Width, retrieval.Stride(c.Width)
	out := make([]float32, n*width)
	if c.Codec == retrieval.Int8 || c.Codec == "" {
		for t := range n {
			add8(out[t*width:(t+1)*width], c.Rows[t*stride:], c.Scales[t])
		}
		return out
	}
	every, first, wide := c.Codec.Pool(width), 0, retrieval.PackedStride(width)
	differences := make([]byte, n*wide)
	kernel.Best().Unpack(differences, c.Rows, n, wide, c.Codec.Bits(), tables[c.Codec])
	for i := range retrieval.Windows(n) {
		from, to, count := retrieval.Window(i, n, every)
		for t := from; t < to; t++ {
			row, k := out[t*width:(t+1)*width], first+int(c.Clusters[t])
			add8(row, c.Coarse.Rows[k*stride:], c.Coarse.Scales[k])
			add8(row, differences[t*wide:], c.Scales[t])
			unrotate(row)
		}
		first += count
	}
	return out
}

// unitOf is what a code of 1 stands for in a row of a scale.
func unitOf(scale uint16) float64 { return float64(scale) / (127 * retrieval.MaxScale) }

// add8 adds a row of 8 bits to x.
func add8(x []float32, row []byte, scale uint16) {
	unit := unitOf(scale)
	for j, b := range row[:len(x)] {
		x[j] += float32(float64(int(b)-128) * unit)
	}
}
