package index

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"

	"ostraca/retrieval"
)

// Load returns the index that a file of [View.WriteFile] holds, as one segment. Rows stay where they lie in data, which must not change as long as the index is used;
// where it begins at a multiple of 64 bytes, as large slices do, so do they. An empty o.Codec is the file's.
//
// Errors wrap retrieval.ErrCorrupt for bytes that no WriteFile has written as they are (torn, foreign, changed), retrieval.ErrTooLarge for more tokens than a segment
// counts, retrieval.ErrInvalid for another version, or another codec than o's.
func Load(data []byte, o Options) (*Index, error) {
	h, err := parseHeader(data)
	if err != nil {
		return nil, err
	}
	if o.Codec == "" {
		o.Codec = h.codec
	}
	if o.Codec != h.codec {
		return nil, fmt.Errorf("index file: codes of codec %q, not %q: %w", h.codec, o.Codec, retrieval.ErrInvalid)
	}
	x, err := New(h.width, o)
	if err != nil {
		return nil, err
	}
	parts, err := cutSections(data, &h)
	if err != nil {
		return nil, err
	}
	g, err := readSegment(&h, parts)
	if err != nil {
		return nil, err
	}
	g.enlist(x.centroids)
	g.measure()
	x.hold(g)
	return x, nil
}

// hold makes a segment all that the index has.
func (x *Index) hold(g *segment) {
	var s snapshot
	if len(g.records) > 0 {
		s = snapshot{{segment: g, numbers: x.numbering.some(len(g.records)), documents: len(g.records), tokens: len(g.fine.scales)}}
	}
	x.publish(s)
}

// cutSections returns the sections, each as its checksum has it.
func cutSections(data []byte, h *fileHeader) (out [sections][]byte, err error) {
	rest := data[headerBytes:]
	for i, n := range h.sizes() {
		all := rest[:padded(n)]
		rest = rest[len(all):]
		out[i] = all[:n:n]
		if got, want := crc32.Checksum(out[i], castagnoli), binary.LittleEndian.Uint32(all[n:]); got != want {
			return out, corrupt("section %d does not fit its checksum", i)
		}
		for _, b := range all[n+sumBytes:] {
			if b != 0 {
				return out, corrupt("something lies behind section %d", i)
			}
		}
	}
	return out, nil
}

// readSegment makes a segment of the sections, and checks all that it holds.
func readSegment(h *fileHeader, parts [sections][]byte) (*segment, error) {
	n := int(h.documents)
	g := &segment{
		codec: h.codec, width: h.width, records: make([]record, 0, n), shared: retrieval.ParseScales(parts[sectionShared]),
		fine:   tier{rows: parts[sectionFine], scales: retrieval.ParseScales(parts[sectionScales]), starts: make([]int32, 1, n+1)},
		coarse: tier{rows: parts[sectionCoarse], scales: retrieval.ParseScales(parts[sectionCoarseScales]), starts: make([]int32, 1, n+1)},
		sketch: tier{rows: parts[sectionSketch], scales: make([]uint16, 0, h.sketches), starts: make([]int32, 1, n+1)},
	}
	if h.codec != retrieval.Int8 {
		g.cluster = parts[sectionClusters]
	}
	if err := g.readLengths(parts[sectionLengths], h); err != nil {
		return nil, err
	}
	if err := g.readIDs(parts[sectionIDs], n); err != nil {
		return nil, err
	}
	for i := range n {
		d := g.document(i)
		if err := d.Validate(h.width); err != nil {
			return nil, corrupt("%v", err)
		}
		if g.length(i) == 0 && g.shared[i] != 0 {
			return nil, corrupt("document %q has a scale and no tokens", d.ID)
		}
	}
	return g, nil
}

// readLengths sets where documents begin in each tier.
func (g *segment) readLengths(b []byte, h *fileHeader) error {
	var tokens, coarse, sketch uint64
	pool := g.codec.Pool(g.width)
	for i := range int(h.documents) {
		n, rest, ok := uvarint(b)
		if b = rest; !ok || n > retrieval.MaxDocumentTokens {
			return corrupt("the length of document %d", i)
		}
		windows := retrieval.Windows(int(n))
		tokens, coarse, sketch = tokens+n, coarse+uint64(retrieval.Clusters(int(n), pool)), sketch+uint64(windows)
		if tokens > h.tokens || coarse > h.coarse || sketch > h.sketches {
			return corrupt("the lengths add up to more than there is")
		}
		g.fine.starts = append(g.fine.starts, int32(tokens))
		g.coarse.starts = append(g.coarse.starts, int32(coarse))
		g.sketch.starts = append(g.sketch.starts, int32(sketch))
		for range windows {
			g.sketch.scales = append(g.sketch.scales, g.shared[i])
		}
	}
	if len(b) > 0 || tokens != h.tokens || coarse != h.coarse || sketch != h.sketches {
		return corrupt("the lengths add up to %d tokens, %d coarse and %d sketch vectors, not %d, %d and %d", tokens, coarse, sketch, h.tokens, h.coarse, h.sketches)
	}
	return nil
}

// readIDs makes the records of n documents, all ids in one string.
func (g *segment) readIDs(b []byte, n int) error {
	all := string(b)
	for i := range n {
		size, rest, ok := uvarint(b)
		if !ok || size > uint64(len(rest)) {
			return corrupt("the id of document %d", i)
		}
		from := len(all) - len(rest)
		b = rest[size:]
		id := all[from : from+int(size)]
		if i > 0 && strings.Compare(g.records[i-1].id, id) >= 0 {
			return corrupt("id %.40q comes after %.40q", id, g.records[i-1].id)
		}
		g.records = append(g.records, record{id: id})
	}
	if len(b) > 0 {
		return corrupt("%d bytes behind the ids", len(b))
	}
	return nil
}

// uvarint reads a number in its shortest form, and returns what follows.
func uvarint(b []byte) (uint64, []byte, bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 || n > 1 && b[n-1] == 0 {
		return 0, b, false
	}
	return v, b[n:], true
}
