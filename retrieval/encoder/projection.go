package encoder

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"ostraca/retrieval"
)

// Limits of a projection.
const (
	MaxProjectionFrom    = 4096    // dimensions that it takes
	MaxProjectionWeights = 1 << 19 // of its matrix: 1 MiB
	MaxSampleName        = 256     // bytes of the name of the sample that it was fitted on
)

const (
	projectionVersion = 1
	weightUnit        = 1 << 15 // no row of weights is longer, so that no product of a row and a vector leaves 32 bits
)

// Projection is a linear map of token vectors to fewer dimensions, and what it was fitted on. It is a value: two are equal, by ==, if their bytes
// are. The zero value is none. docs/projection.md has its bytes and its arithmetic.
type Projection struct {
	bytes string // checked
}

// Sample is what a projection was fitted on. It stays an influence on everything that is projected, whatever is forgotten.
type Sample struct {
	Name    string
	Texts   uint64 // 0: vectors from outside
	Vectors uint64
	Hash    [sha256.Size]byte // SHA-256 of the vectors as they came, float32, little-endian
}

func (s Sample) String() string {
	out := fmt.Sprintf("%s: %d token vectors", s.Name, s.Vectors)
	if s.Texts > 0 {
		out += fmt.Sprintf(" of %d texts", s.Texts)
	}
	return out + ", sha256 " + hex.EncodeToString(s.Hash[:8])
}

// ParseProjection reads what [Projection.Bytes] wrote. What it returns can be applied. Errors wrap retrieval.ErrCorrupt.
func ParseProjection(b []byte) (Projection, error) {
	h, weights, err := splitProjection(b)
	if err == nil {
		err = checkWeights(weights, h.from)
	}
	if err != nil {
		return Projection{}, fmt.Errorf("projection: %w: %w", err, retrieval.ErrCorrupt)
	}
	return Projection{string(b)}, nil
}

// projectionHead is what stands before the weights.
type projectionHead struct {
	from, width int
	sample      Sample
}

// newProjection makes one of a matrix, width rows of from weights.
func newProjection(h projectionHead, weights []int16) (Projection, error) {
	b := []byte{projectionVersion}
	b = binary.AppendUvarint(b, uint64(h.from))
	b = binary.AppendUvarint(b, uint64(h.width))
	b = binary.AppendUvarint(b, uint64(len(h.sample.Name)))
	b = append(b, h.sample.Name...)
	b = binary.AppendUvarint(b, h.sample.Texts)
	b = binary.AppendUvarint(b, h.sample.Vectors)
	b = append(b, h.sample.Hash[:]...)
	for _, w := range weights {
		b = binary.LittleEndian.AppendUint16(b, uint16(w))
	}
	return ParseProjection(b)
}

// splitProjection reads the head, and returns the bytes of the weights, as many as it says.
func splitProjection[T string | []byte](in T) (h projectionHead, weights T, err error) {
	rest := in
	number := func(limit uint64, what string) int {
		v, n := binary.Uvarint([]byte(rest[:min(len(rest), binary.MaxVarintLen64)]))
		if err == nil && (n <= 0 || n > 1 && rest[n-1] == 0 || v > limit) {
			err = fmt.Errorf("%s is %d, the limit is %d", what, v, limit)
		}
		if err != nil {
			return 0
		}
		rest = rest[n:]
		return int(v)
	}
	if v := number(projectionVersion, "version"); err == nil && v != projectionVersion {
		err = fmt.Errorf("version is %d, this release knows %d", v, projectionVersion)
	}
	h.from, h.width = number(MaxProjectionFrom, "width it takes"), number(retrieval.MaxWidth, "width")
	name := number(MaxSampleName, "length of the sample's name")
	if err == nil && name > len(rest) {
		err = fmt.Errorf("%d bytes of a name of %d", len(rest), name)
	}
	if err != nil {
		return h, weights, err
	}
	h.sample.Name, rest = string(rest[:name]), rest[name:]
	h.sample.Texts, h.sample.Vectors = uint64(number(MaxSampleVectors, "number of texts")), uint64(number(MaxSampleVectors, "number of vectors"))
	switch {
	case err != nil:
	case h.width < 1 || h.width > h.from || h.width*h.from > MaxProjectionWeights:
		err = checkShape(h.from, h.width)
	case len(rest) != len(h.sample.Hash)+2*h.from*h.width:
		err = fmt.Errorf("%d bytes of hash and weights for %d x %d", len(rest), h.width, h.from)
	default:
		err = checkSampleName(h.sample.Name)
		copy(h.sample.Hash[:], rest)
		weights = rest[len(h.sample.Hash):]
	}
	return h, weights, err
}

// checkShape reports why no projection can have these dimensions, or nil.
func checkShape(from, width int) error {
	switch {
	case from > MaxProjectionFrom:
		return fmt.Errorf("from %d dimensions, the limit is %d", from, MaxProjectionFrom)
	case width < 1 || width > from || width > retrieval.MaxWidth:
		return fmt.Errorf("to %d dimensions from %d: it must be 1 to %d", width, from, min(max(from, 1), retrieval.MaxWidth))
	case from*width > MaxProjectionWeights:
		return fmt.Errorf("from %d to %d dimensions takes %d weights, the limit is %d: take %d dimensions or fewer", from, width, from*width, MaxProjectionWeights, MaxProjectionWeights/from)
	}
	return nil
}

func checkSampleName(name string) error {
	if len(name) > MaxSampleName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return fmt.Errorf("name of the sample %.40q: at most %d bytes of UTF-8 without control characters", name, MaxSampleName)
	}
	return nil
}

// checkWeights makes sure that no product can overflow, and that no dimension is always 0.
func checkWeights[T string | []byte](weights T, from int) error {
	for row := 0; 2*from*row < len(weights); row++ {
		var squares int64
		for i := range from {
			w := int64(weightAt(weights, row*from+i))
			squares += w * w
		}
		if squares == 0 || squares > weightUnit*weightUnit {
			return fmt.Errorf("the weights of dimension %d have squares of %d, it must be 1 to %d", row, squares, weightUnit*weightUnit)
		}
	}
	return nil
}

func weightAt[T string | []byte](weights T, i int) int16 {
	return int16(uint16(weights[2*i]) | uint16(weights[2*i+1])<<8)
}

// head returns what stands before the weights of a projection that is not zero, and the weights.
func (p Projection) head() (projectionHead, string) {
	h, weights, err := splitProjection(p.bytes)
	if err != nil && p.bytes != "" {
		panic("encoder: a projection that was not parsed: " + err.Error())
	}
	return h, weights
}

// IsZero tells whether this is none.
func (p Projection) IsZero() bool { return p.bytes == "" }

// Bytes returns the bytes of docs/projection.md, none of the zero value.
func (p Projection) Bytes() []byte { return []byte(p.bytes) }

// Len returns how many bytes these are.
func (p Projection) Len() int { return len(p.bytes) }

// From returns the dimensions that it takes.
func (p Projection) From() int {
	h, _ := p.head()
	return h.from
}

// Width returns the dimensions that it gives.
func (p Projection) Width() int {
	h, _ := p.head()
	return h.width
}

// Sample returns what it was fitted on.
func (p Projection) Sample() Sample {
	h, _ := p.head()
	return h.sample
}

// Hash names the projection: the SHA-256 of its bytes, in hexadecimal, or "" of none.
func (p Projection) Hash() string {
	if p.IsZero() {
		return ""
	}
	sum := sha256.Sum256([]byte(p.bytes))
	return hex.EncodeToString(sum[:])
}

// Cut returns the projection to the first width of its dimensions, which of a fitted one are the best. Errors wrap retrieval.ErrInvalid.
func (p Projection) Cut(width int) (Projection, error) {
	h, weights := p.head()
	if width < 1 || width > h.width {
		return Projection{}, fmt.Errorf("projection to %d dimensions, this one has 1 to %d: %w", width, h.width, retrieval.ErrInvalid)
	}
	h.width = width
	rows := make([]int16, width*h.from)
	for i := range rows {
		rows[i] = weightAt(weights, i)
	}
	return newProjection(h, rows)
}

// MarshalText returns the bytes in base64, so that a projection can stand in JSON.
func (p Projection) MarshalText() ([]byte, error) {
	return base64.StdEncoding.AppendEncode(nil, []byte(p.bytes)), nil
}

// UnmarshalText reads them.
func (p *Projection) UnmarshalText(text []byte) error {
	b, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil {
		return fmt.Errorf("projection: %v: %w", err, retrieval.ErrCorrupt)
	}
	if *p = (Projection{}); len(b) > 0 {
		*p, err = ParseProjection(b)
	}
	return err
}
