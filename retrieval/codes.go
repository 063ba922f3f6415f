package retrieval

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
)

// Codec names how vectors became codes, by the formulas of docs/score.md. Codes of different codecs cannot meet: a change of a formula is another name.
type Codec string

// The codecs. All score by one formula; they differ in the bytes of a token and in what is lost.
const (
	Int8  Codec = "int8" // a byte a dimension
	Bits4 Codec = "4bit" // of the rotated vector, 4 bits a dimension, and so on
	Bits3 Codec = "3bit"
	Bits2 Codec = "2bit"
	Bits1 Codec = "1bit"
)

// Codecs lists all of them, the finest first.
var Codecs = []Codec{Int8, Bits4, Bits3, Bits2, Bits1}

// Bits returns how many bits a dimension takes, 0 of a codec that is not known.
func (c Codec) Bits() int {
	switch c {
	case Int8:
		return 8
	case Bits4:
		return 4
	case Bits3:
		return 3
	case Bits2:
		return 2
	case Bits1:
		return 1
	}
	return 0
}

// RowBytes returns the bytes of a stored row of the given width: whole bytes, and of 8 bits whole groups of 4.
func (c Codec) RowBytes(width int) int {
	if c == Int8 || c == "" {
		return Stride(width)
	}
	return PackedStride(width) * c.Bits() / 8
}

// Parts returns how many bits of a code each part of a packed row holds, the lowest first: 3 bits are planes of two of them and then planes of the third.
func (c Codec) Parts() []int {
	if c == Bits3 {
		return []int{2, 1}
	}
	return []int{c.Bits()}
}

// Stride returns the bytes of a row of 8 bits a dimension: the width rounded up to a multiple of 4.
func Stride(width int) int { return (width + 3) &^ 3 }

// PackedStride returns the dimensions that a packed row has codes for: the width rounded up to a multiple of 8.
func PackedStride(width int) int { return (width + 7) &^ 7 }

// SketchTokens is how many tokens of a document one sketch vector stands for, at most. Windows of so many are pooled by themselves.
const SketchTokens = 256

// Pool returns how many tokens one coarse vector stands for, by codec and width: about 16 bytes a token beside the codec of 8 bits, where more of them find
// candidates better, and 4 beside packed ones, where they are to be few and tokens are stored as differences from them.
func (c Codec) Pool(width int) int {
	if c == Int8 || c == "" {
		return max(8, width/16)
	}
	return max(8, width/4)
}

// Pooled are vectors of 8 bits that stand for several tokens each: rows of Stride(width) bytes, codes + 128, padded with 128, and a scale a row.
type Pooled struct {
	Rows   []byte
	Scales []uint16
}

// Len returns the number of vectors.
func (p Pooled) Len() int { return len(p.Scales) }

// AppendScales appends scales as all formats have them: two bytes each, little-endian.
func AppendScales(b []byte, scales []uint16) []byte {
	b = slices.Grow(b, 2*len(scales))
	for _, s := range scales {
		b = append(b, byte(s), byte(s>>8))
	}
	return b
}

// ParseScales reads what [AppendScales] wrote; an odd byte at the end counts nothing.
func ParseScales(b []byte) []uint16 {
	out := make([]uint16, len(b)/2)
	for i := range out {
		out[i] = uint16(b[2*i]) | uint16(b[2*i+1])<<8
	}
	return out
}

// Codes are the quantised token vectors of one document, in the layout of docs/score.md, with the pooled vectors by which a search finds candidates.
//
// Codes of 8 bits stand for themselves, and what is pooled of them is a function of them (index.Pool): they may travel without. Packed codes stand for
// the difference from the coarse vector of their token's cluster, so they are nothing without these.
type Codes struct {
	Codec    Codec
	Width    int      // dimensions of a vector
	Rows     []byte   // Len() rows of Codec.RowBytes(Width)
	Scales   []uint16 // one a token, 1 to MaxScale
	Clusters []byte   // of packed codes: which coarse vector of its window each token's is
	Coarse   Pooled   // Clusters(Len()) of them, window by window
	Sketch   Pooled   // Windows(Len()) of them, all of one scale
}

// Len returns the number of tokens.
func (c Codes) Len() int { return len(c.Scales) }

// Pooled tells whether the pooled vectors are there.
func (c Codes) Pooled() bool { return c.Sketch.Len() > 0 || c.Len() == 0 }

// Bare returns codes of 8 bits without what is pooled of them; packed ones as they are.
func (c Codes) Bare() Codes {
	if c.Codec == Int8 {
		c.Coarse, c.Sketch = Pooled{}, Pooled{}
	}
	return c
}

// Sketched returns codes with nothing but their sketches and scales, which tell how many tokens there were: all that lists of a sample look at.
func (c Codes) Sketched() Codes {
	return Codes{Codec: c.Codec, Width: c.Width, Scales: c.Scales, Sketch: c.Sketch}
}

// Windows returns how many windows, and sketch vectors, a document of n tokens has. Window i begins at token i*n/Windows(n).
func Windows(n int) int { return (n + SketchTokens - 1) / SketchTokens }

// Window returns where window i of a document of n tokens begins and ends, and how many coarse vectors it has, where one stands for pool tokens.
func Window(i, n, pool int) (from, to, clusters int) {
	w := Windows(n)
	from, to = i*n/w, (i+1)*n/w
	return from, to, (to - from + pool - 1) / pool
}

// Clusters returns how many coarse vectors a document of n tokens has: in each window one for every pool tokens, rounded up.
func Clusters(n, pool int) int {
	all := 0
	for i := range Windows(n) {
		_, _, k := Window(i, n, pool)
		all += k
	}
	return all
}

// check reports why c is not codes of the given width, or nil.
func (c Codes) check(width int) error {
	n, row := c.Len(), c.Codec.RowBytes(width)
	switch {
	case c.Codec.Bits() == 0 && (n > 0 || c.Codec != ""):
		return fmt.Errorf("codes of codec %q, known are %q: %w", c.Codec, Codecs, ErrInvalid)
	case n > MaxDocumentTokens:
		return fmt.Errorf("%d tokens, the limit is %d: %w", n, MaxDocumentTokens, ErrTooLarge)
	case c.Width != width && (n > 0 || c.Width != 0):
		return fmt.Errorf("vectors are %d wide, not %d: %w", c.Width, width, ErrInvalid)
	case len(c.Rows) != n*row:
		return fmt.Errorf("%d bytes of codes for %d tokens of %d: %w", len(c.Rows), n, row, ErrInvalid)
	}
	if c.Codec != Int8 && c.Codec != "" {
		return cmp.Or(c.checkPacked(), c.checkPooled())
	}
	if len(c.Clusters) > 0 {
		return fmt.Errorf("codes of codec %q with clusters: %w", c.Codec, ErrInvalid)
	}
	if err := checkRows(c.Rows, c.Scales, width, "token"); err != nil || !c.holdsPooled() {
		return err
	}
	return c.checkPooled()
}

func (c Codes) holdsPooled() bool {
	return c.Coarse.Len()+c.Sketch.Len()+len(c.Coarse.Rows)+len(c.Sketch.Rows) > 0
}

// checkRows reports what is wrong with rows of 8 bits, or nil.
func checkRows(rows []byte, scales []uint16, width int, what string) error {
	stride := Stride(width)
	if len(rows) != len(scales)*stride {
		return fmt.Errorf("%d bytes of %s codes for %d of %d: %w", len(rows), what, len(scales), stride, ErrInvalid)
	}
	if i := bytes.IndexByte(rows, 0); i >= 0 {
		return fmt.Errorf("%s %d has a code of -128: %w", what, i/stride, ErrInvalid)
	}
	for i, scale := range scales {
		if scale < 1 || scale > MaxScale {
			return fmt.Errorf("%s %d has scale %d, it must be 1 to %d: %w", what, i, scale, MaxScale, ErrInvalid)
		}
		for _, b := range rows[i*stride+width : (i+1)*stride] {
			if b != 128 {
				return fmt.Errorf("%s %d is padded with %d, it must be 128: %w", what, i, b, ErrInvalid)
			}
		}
	}
	return nil
}

// checkPacked reports what is wrong with packed rows, or nil: dimensions past the width have code 0.
func (c Codes) checkPacked() error {
	wide, parts, rows := PackedStride(c.Width), c.Codec.Parts(), c.Rows
	if len(c.Clusters) != c.Len() {
		return fmt.Errorf("%d clusters of %d tokens: %w", len(c.Clusters), c.Len(), ErrInvalid)
	}
	for t, scale := range c.Scales {
		if scale < 1 || scale > MaxScale {
			return fmt.Errorf("token %d has scale %d, it must be 1 to %d: %w", t, scale, MaxScale, ErrInvalid)
		}
		for _, bits := range parts {
			n := wide * bits / 8
			for i := c.Width; i < wide; i++ {
				if rows[i%n]>>(bits*(i/n))&(1<<bits-1) != 0 {
					return fmt.Errorf("token %d is padded with a code that is not 0: %w", t, ErrInvalid)
				}
			}
			rows = rows[n:]
		}
	}
	return nil
}

func (c Codes) checkPooled() error {
	n, pool := c.Len(), c.Codec.Pool(c.Width)
	for i := range Windows(n) {
		from, to, count := Window(i, n, pool)
		for t := from; t < min(to, len(c.Clusters)); t++ {
			if int(c.Clusters[t]) >= count {
				return fmt.Errorf("token %d is of cluster %d of %d: %w", t, c.Clusters[t], count, ErrInvalid)
			}
		}
	}
	if want := Clusters(n, pool); c.Coarse.Len() != want || c.Sketch.Len() != Windows(n) {
		return fmt.Errorf("%d coarse and %d sketch vectors for %d tokens, not %d and %d: %w", c.Coarse.Len(), c.Sketch.Len(), n, want, Windows(n), ErrInvalid)
	}
	if err := checkRows(c.Coarse.Rows, c.Coarse.Scales, c.Width, "coarse vector"); err != nil {
		return err
	}
	for _, s := range c.Sketch.Scales {
		if s != c.Sketch.Scales[0] {
			return fmt.Errorf("sketch vectors of scales %d and %d: %w", c.Sketch.Scales[0], s, ErrInvalid)
		}
	}
	return checkRows(c.Sketch.Rows, c.Sketch.Scales, c.Width, "sketch vector")
}
