package index

import (
	"bufio"
	"encoding/binary"
	"hash/crc32"
	"io"
	"runtime"

	"ostraca/retrieval"
)

// WriteFile writes the ids and codes of all documents as one index file, which [Load] reads; texts, fields and spans are not in it. Equal documents of an equal source
// give equal bytes. The sections are written one after the other, so it needs no memory to speak of. It returns how many bytes were written; errors are those of w.
func (v View) WriteFile(w io.Writer, of Source) (int64, error) {
	f := &fileWriter{to: bufio.NewWriterSize(w, 1<<18)}
	h := v.header()
	h.source = of
	f.write(h.bytes())
	for i := range sections {
		f.sum = 0
		for p, at := range v.parts.walk("") {
			f.section(i, p.records[at].id, p.codes(at))
		}
		f.end()
	}
	runtime.KeepAlive(v) // rows may lie where the garbage collector does not see them
	if err := f.to.Flush(); f.err == nil {
		f.err = err
	}
	return f.written, f.err
}

// header counts what there is.
func (v View) header() fileHeader {
	h := fileHeader{codec: v.index.codec, width: v.index.width}
	var b [binary.MaxVarintLen64]byte
	for p, at := range v.parts.walk("") {
		c, id := p.codes(at), p.records[at].id
		h.documents++
		h.tokens += uint64(c.Len())
		h.coarse += uint64(c.Coarse.Len())
		h.sketches += uint64(c.Sketch.Len())
		h.lengths += uint64(binary.PutUvarint(b[:], uint64(c.Len())))
		h.ids += uint64(binary.PutUvarint(b[:], uint64(len(id))) + len(id))
	}
	return h
}

// fileWriter writes sections; after the first error it writes nothing more.
type fileWriter struct {
	to      *bufio.Writer
	sum     uint32 // of the section so far
	written int64
	scratch []byte
	err     error
}

// section writes what a section has of a document.
func (f *fileWriter) section(i int, id string, c retrieval.Codes) {
	switch i {
	case sectionLengths:
		f.write(binary.AppendUvarint(f.scratch[:0], uint64(c.Len())))
	case sectionIDs:
		f.write(append(binary.AppendUvarint(f.scratch[:0], uint64(len(id))), id...))
	case sectionShared:
		shared := []uint16{0}
		if c.Len() > 0 {
			shared = c.Sketch.Scales[:1]
		}
		f.scales(shared)
	case sectionSketch:
		f.write(c.Sketch.Rows)
	case sectionCoarseScales:
		f.scales(c.Coarse.Scales)
	case sectionCoarse:
		f.write(c.Coarse.Rows)
	case sectionClusters:
		f.write(c.Clusters)
	case sectionScales:
		f.scales(c.Scales)
	case sectionFine:
		f.write(c.Rows)
	}
}

func (f *fileWriter) scales(all []uint16) {
	f.scratch = retrieval.AppendScales(f.scratch[:0], all)
	f.write(f.scratch)
}

func (f *fileWriter) write(b []byte) {
	if f.err != nil {
		return
	}
	f.sum = crc32.Update(f.sum, castagnoli, b)
	n, err := f.to.Write(b)
	f.written, f.err = f.written+int64(n), err
}

// end writes the checksum of a section, and zeros up to the next.
func (f *fileWriter) end() {
	f.write(binary.LittleEndian.AppendUint32(nil, f.sum))
	f.write(make([]byte, -f.written&(fileAlign-1)))
}
