package index

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"ostraca/retrieval"
)

// This file is the layout of an index file, docs/indexfile.md: a header, then sections in fixed order whose sizes the header gives, each begun at a multiple of fileAlign
// and followed by its checksum.

const (
	fileMagic   = "ostraca\n"
	fileVersion = 2
	fileAlign   = 64 // bytes: a line of the cache, so that rows lie as they would in memory of their own
	headerBytes = 128
	sumBytes    = 4
)

// The sections, in the order of the file: what every search reads comes first.
const (
	sectionLengths = iota // tokens of each document, varints
	sectionIDs            // of each document a varint of its bytes, and these
	sectionShared         // the scale of each document's sketch vectors
	sectionSketch
	sectionCoarseScales
	sectionCoarse
	sectionClusters
	sectionScales
	sectionFine
	sections
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Source names what an index was built from: a digest that its maker takes, so that who opens the file can tell whether it is of the same. 0 tells nothing.
type Source uint64

// String returns its 16 hexadecimal digits.
func (s Source) String() string { return fmt.Sprintf("%016x", uint64(s)) }

// FileSource returns the source in the header of a file of [View.WriteFile]. Errors are those of [Load] about a header.
func FileSource(data []byte) (Source, error) {
	h, err := parseHeader(data)
	return h.source, err
}

// fileHeader is what a file holds.
type fileHeader struct {
	source                              Source
	codec                               retrieval.Codec
	width                               int
	documents, tokens, coarse, sketches uint64
	lengths, ids                        uint64 // bytes of these sections
}

// sizes returns the bytes of each section.
func (h *fileHeader) sizes() [sections]uint64 {
	stride := uint64(retrieval.Stride(h.width))
	s := [sections]uint64{
		sectionLengths: h.lengths, sectionIDs: h.ids, sectionShared: 2 * h.documents, sectionSketch: stride * h.sketches,
		sectionCoarseScales: 2 * h.coarse, sectionCoarse: stride * h.coarse,
		sectionScales: 2 * h.tokens, sectionFine: uint64(h.codec.RowBytes(h.width)) * h.tokens,
	}
	if h.codec != retrieval.Int8 {
		s[sectionClusters] = h.tokens
	}
	return s
}

// padded returns the bytes that a section takes with its checksum, up to where the next one begins.
func padded(size uint64) uint64 { return (size + sumBytes + fileAlign - 1) / fileAlign * fileAlign }

// size returns the bytes of the whole file.
func (h *fileHeader) size() uint64 {
	n := uint64(headerBytes)
	for _, s := range h.sizes() {
		n += padded(s)
	}
	return n
}

// Where the fields of a header are. All numbers are little-endian; the codec's name is filled up with zeros, and what is not a field is zero.
const (
	atVersion = 8
	atWidth   = 12
	atCodec   = 16
	atCounts  = 24 // six of 8 bytes
	atSource  = 72
	atSum     = headerBytes - sumBytes
)

// bytes returns the header as it is written.
func (h *fileHeader) bytes() []byte {
	b := make([]byte, headerBytes)
	copy(b, fileMagic)
	binary.LittleEndian.PutUint32(b[atVersion:], fileVersion)
	binary.LittleEndian.PutUint32(b[atWidth:], uint32(h.width))
	copy(b[atCodec:atCounts], h.codec)
	for i, n := range [...]uint64{h.documents, h.tokens, h.coarse, h.sketches, h.lengths, h.ids} {
		binary.LittleEndian.PutUint64(b[atCounts+8*i:], n)
	}
	binary.LittleEndian.PutUint64(b[atSource:], uint64(h.source))
	binary.LittleEndian.PutUint32(b[atSum:], crc32.Checksum(b[:atSum], castagnoli))
	return b
}

// corrupt makes an error of a file's content.
func corrupt(format string, args ...any) error {
	return fmt.Errorf("index file: "+format+": %w", append(args, retrieval.ErrCorrupt)...)
}

// parseHeader reads the header of a whole file.
func parseHeader(data []byte) (fileHeader, error) {
	var h fileHeader
	if len(data) < headerBytes || string(data[:len(fileMagic)]) != fileMagic {
		return h, corrupt("%d bytes that do not begin as one", len(data))
	}
	b := data[:headerBytes]
	if crc32.Checksum(b[:atSum], castagnoli) != binary.LittleEndian.Uint32(b[atSum:]) {
		return h, corrupt("the header does not fit its checksum")
	}
	if v := binary.LittleEndian.Uint32(b[atVersion:]); v != fileVersion {
		return h, fmt.Errorf("index file: version %d, this release reads %d: build it anew: %w", v, fileVersion, retrieval.ErrInvalid)
	}
	h.codec = retrieval.Codec(bytes.TrimRight(b[atCodec:atCounts], "\x00"))
	width := binary.LittleEndian.Uint32(b[atWidth:])
	if h.codec.Bits() == 0 || width < 1 || width > retrieval.MaxWidth {
		return h, corrupt("codec %q of width %d", h.codec, width)
	}
	h.width, h.source = int(width), Source(binary.LittleEndian.Uint64(b[atSource:]))
	for i, n := range []*uint64{&h.documents, &h.tokens, &h.coarse, &h.sketches, &h.lengths, &h.ids} {
		if *n = binary.LittleEndian.Uint64(b[atCounts+8*i:]); *n > uint64(len(data)) { // none takes less than a byte, so no size below overflows
			return h, corrupt("a count of %d in %d bytes", *n, len(data))
		}
	}
	if h.tokens >= maxSegmentRows || h.documents >= maxSegmentRows {
		return h, fmt.Errorf("index file: %d tokens in %d documents, the limit is %d: %w", h.tokens, h.documents, maxSegmentRows-1, retrieval.ErrTooLarge)
	}
	if !bytes.Equal(h.bytes(), b) {
		return h, corrupt("the header has more than its fields")
	}
	if h.size() != uint64(len(data)) {
		return h, corrupt("%d bytes, not %d: it was not written whole", len(data), h.size())
	}
	return h, nil
}
