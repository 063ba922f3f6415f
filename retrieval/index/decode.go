package index

import "ostraca/retrieval"

// Decode returns the vectors that codes stand for, rows of their width, of about unit length: of 8 bits the codes times their scale; of packed codecs the coarse vector of
// a token's cluster and the difference from it, turned back by the inverse of the rotation. They are for people and other tools: no score is made of them, so they are float64
// until they are returned. The codes must be valid (retrieval.Document.Validate); those of packed codecs come with what is pooled.
func Decode(c retrieval.Codes) []float32 {
	n, width := c.Len(), c.Width
	out := make([]float32, n*width)
	if c.Codec == retrieval.Int8 || c.Codec == "" {
		for t := range n {
			add8(out[t*width:(t+1)*width], retrieval.Pooled{Rows: c.Rows, Scales: c.Scales}, t)
		}
		return out
	}
	every, first := c.Codec.Pool(width), 0
	for i := range retrieval.Windows(n) {
		from, to, count := retrieval.Window(i, n, every)
		for t := from; t < to; t++ {
			row := out[t*width : (t+1)*width]
			add8(row, c.Coarse, first+int(c.Clusters[t]))
			addPacked(row, c, t)
			unrotate(row)
		}
		first += count
	}
	return out
}

// unitOf is what a code of 1 stands for in a row of a scale.
func unitOf(scale uint16) float64 { return float64(scale) / (127 * retrieval.MaxScale) }

// add8 adds row i of 8 bits to x.
func add8(x []float32, p retrieval.Pooled, i int) {
	unit := unitOf(p.Scales[i])
	for j, b := range p.Rows[i*retrieval.Stride(len(x)):][:len(x)] {
		x[j] += float32(float64(int(b)-128) * unit)
	}
}

// addPacked adds the difference of token t to x.
func addPacked(x []float32, c retrieval.Codes, t int) {
	bytes, unit := c.Codec.RowBytes(c.Width), unitOf(c.Scales[t])
	row, table, wide := c.Rows[t*bytes:(t+1)*bytes], tables[c.Codec], retrieval.PackedStride(len(x))
	for i := range x {
		code, shift, part := 0, 0, row
		for _, bits := range c.Codec.Parts() {
			n := wide * bits / 8
			code |= int(part[i%n]>>(bits*(i/n))) & (1<<bits - 1) << shift
			shift, part = shift+bits, part[n:]
		}
		x[i] += float32(float64(int(table[code])-128) * unit)
	}
}
