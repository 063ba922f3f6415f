package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// The layout of bbolt's pages, version 2: native byte order, a header of 16 bytes, elements of 16 bytes.
const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2
	headerSize  = 16 // id (8), flags (2), count (2), overflow (4)
	elementSize = 16
	metaSize    = 56 // without its checksum
	branchPage  = 1
	leafPage    = 2
	bucketFlag  = 1
	noFreelist  = 1<<64 - 1
	maxDepth    = 64 // of pages below pages; bbolt's trees of 2^32 keys have fewer than 32
	minPageSize = 1 << 10
	maxPageSize = 1 << 16
)

// broken is a reason why a file cannot be one that bbolt wrote.
type broken string

func (b broken) Error() string { return string(b) }

func brokenf(format string, a ...any) error { return broken(fmt.Sprintf(format, a...)) }

// meta is one of the two roots of a bbolt file; the valid one of the higher transaction counts.
type meta struct{ pageSize, root, freelist, pages, txid uint64 }

func parseMeta(b []byte) (meta, bool) {
	n := binary.NativeEndian
	if n.Uint32(b) != boltMagic || n.Uint32(b[4:]) != boltVersion || n.Uint64(b[metaSize:]) != metaSum(b) {
		return meta{}, false
	}
	return meta{uint64(n.Uint32(b[8:])), n.Uint64(b[16:]), n.Uint64(b[32:]), n.Uint64(b[40:]), n.Uint64(b[48:])}, true
}

func metaSum(b []byte) uint64 {
	h := fnv.New64a()
	h.Write(b[:metaSize])
	return h.Sum64()
}

// flipped returns the meta that b is one bit away from. A meta page torn by a crash is a mix of two and never that close; it
// may be passed over, while passing over a finished commit because of a flipped bit would undo it silently.
func flipped(b []byte) (meta, bool) {
	b = bytes.Clone(b)
	for i := range len(b) * 8 {
		b[i/8] ^= 1 << (i % 8)
		if m, ok := parseMeta(b); ok {
			return m, true
		}
		b[i/8] ^= 1 << (i % 8)
	}
	return meta{}, false
}

// image walks the pages of a bbolt file by reading it, never by mapping it. Every page is visited once.
type image struct {
	meta
	r     io.ReaderAt
	seen  []uint64 // bits
	depth int
	bufs  [maxDepth][]byte
}

// readImage finds the root of a file of the given size. Errors are broken, or what reading said.
func readImage(r io.ReaderAt, size int64) (*image, error) {
	read := func(at int64) ([]byte, error) {
		b := make([]byte, metaSize+8)
		_, err := r.ReadAt(b, at+headerSize)
		if errors.Is(err, io.EOF) {
			return nil, broken("shorter than a header")
		}
		return b, err
	}
	first, err := read(0)
	if err != nil {
		return nil, err
	}
	a, aOK := parseMeta(first)
	var b meta
	var bOK bool
	var second []byte
	for at := int64(minPageSize); at <= maxPageSize && at+headerSize+metaSize+8 <= size; at *= 2 {
		if aOK && at != int64(a.pageSize) {
			continue
		}
		if second, err = read(at); err != nil {
			return nil, err
		}
		b, bOK = parseMeta(second)
		if bOK = bOK && b.pageSize == uint64(at); bOK {
			break
		}
	}
	var lost meta
	switch {
	case !aOK && !bOK:
		return nil, broken("no valid header page")
	case !aOK:
		lost, _ = flipped(first)
	case !bOK && second != nil:
		lost, _ = flipped(second)
	}
	m := a
	if !aOK || bOK && b.txid > a.txid {
		m = b
	}
	if lost.txid > m.txid {
		return nil, broken("a bit of the newest header page has flipped")
	}
	return newImage(r, m, size)
}

func newImage(r io.ReaderAt, m meta, size int64) (*image, error) {
	if m.pageSize < minPageSize || m.pageSize > maxPageSize || m.pageSize&(m.pageSize-1) != 0 {
		return nil, brokenf("page size %d", m.pageSize)
	}
	if m.pages < 4 || m.pages > uint64(size)/m.pageSize {
		return nil, brokenf("%d pages of %d bytes in a file of %d bytes", m.pages, m.pageSize, size)
	}
	if m.freelist != noFreelist {
		return nil, broken("holds a free list, which is never written")
	}
	return &image{meta: m, r: r, seen: make([]uint64, m.pages/64+1)}, nil
}

// page is a page with all that overflows from it, or one inside a bucket's value.
type page struct {
	data  []byte
	flags uint16
	count int
}

func (m *image) page(id uint64) (page, error) {
	if m.depth == maxDepth {
		return page{}, brokenf("page %d: nested too deep", id)
	}
	buf := m.bufs[m.depth]
	if buf == nil {
		buf = make([]byte, m.pageSize)
	}
	if id < 2 || id >= m.pages {
		return page{}, brokenf("page %d of %d", id, m.pages)
	}
	if _, err := m.r.ReadAt(buf[:m.pageSize], int64(id*m.pageSize)); err != nil {
		return page{}, err
	}
	n := binary.NativeEndian
	more := uint64(n.Uint32(buf[12:]))
	if n.Uint64(buf) != id || id+more >= m.pages {
		return page{}, brokenf("page %d says that it is %d and %d more, of %d", id, n.Uint64(buf), more, m.pages)
	}
	for i := id; i <= id+more; i++ {
		if m.seen[i/64]>>(i%64)&1 != 0 {
			return page{}, brokenf("page %d is used twice", i)
		}
		m.seen[i/64] |= 1 << (i % 64)
	}
	size := (more + 1) * m.pageSize
	if uint64(cap(buf)) < size {
		buf = append(make([]byte, 0, size), buf[:m.pageSize]...)
	}
	buf = buf[:size]
	m.bufs[m.depth] = buf
	if _, err := m.r.ReadAt(buf[m.pageSize:], int64((id+1)*m.pageSize)); err != nil && more > 0 {
		return page{}, err
	}
	return page{buf, n.Uint16(buf[8:]), int(n.Uint16(buf[10:]))}, nil
}

// element returns the bytes of element i: its key, and its value on a leaf.
func (p page) element(i int) (key, value []byte, word uint64, err error) {
	at, n := headerSize+i*elementSize, binary.NativeEndian
	if at+elementSize > len(p.data) {
		return nil, nil, 0, broken("a page holds fewer elements than it says")
	}
	e := p.data[at : at+elementSize]
	var from, keys, values uint64
	if p.flags == leafPage {
		word, from, keys, values = uint64(n.Uint32(e)), uint64(n.Uint32(e[4:])), uint64(n.Uint32(e[8:])), uint64(n.Uint32(e[12:]))
	} else {
		from, keys, word = uint64(n.Uint32(e)), uint64(n.Uint32(e[4:])), n.Uint64(e[8:])
	}
	from += uint64(at)
	if keys == 0 || keys > MaxKey || from+keys+values > uint64(len(p.data)) || from < uint64(headerSize+p.count*elementSize) {
		return nil, nil, 0, broken("an element lies outside its page")
	}
	return p.data[from : from+keys], p.data[from+keys : from+keys+values], word, nil
}

// visitor is told every element of a bucket in key order; the bytes are valid during the call.
type visitor func(key, value []byte, isBucket bool) error

// bucket walks the bucket that a leaf element of a parent describes.
func (m *image) bucket(value []byte, visit visitor) error {
	if len(value) < headerSize {
		return broken("a bucket without a header")
	}
	n := binary.NativeEndian
	if root := n.Uint64(value); root != 0 {
		return m.tree(root, nil, nil, visit)
	}
	inside := value[headerSize:]
	if len(inside) < headerSize {
		return broken("a bucket without a page")
	}
	p := page{inside, n.Uint16(inside[8:]), int(n.Uint16(inside[10:]))}
	if p.flags != leafPage {
		return brokenf("a small bucket with page flags %x", p.flags)
	}
	return p.leaf(nil, nil, func(key, value []byte, isBucket bool) error {
		if isBucket {
			return broken("a bucket inside a small bucket")
		}
		return visit(key, value, false)
	})
}

// tree walks the pages from id down, whose keys must lie in [low, high); nil is no bound.
func (m *image) tree(id uint64, low, high []byte, visit visitor) error {
	p, err := m.page(id)
	if err != nil {
		return err
	}
	m.depth++
	defer func() { m.depth-- }()
	switch {
	case p.flags == leafPage:
		return p.leaf(low, high, visit)
	case p.flags != branchPage || p.count == 0:
		return brokenf("page %d: flags %x, %d elements", id, p.flags, p.count)
	}
	for i := range p.count {
		key, _, child, err := p.element(i)
		if err != nil {
			return err
		}
		next := high
		if i+1 < p.count {
			if next, _, _, err = p.element(i + 1); err != nil {
				return err
			}
		}
		if low != nil && bytes.Compare(key, low) < 0 || next != nil && bytes.Compare(key, next) >= 0 {
			return brokenf("page %d: keys out of order", id)
		}
		if err := m.tree(child, key, next, visit); err != nil {
			return err
		}
		low = key
	}
	return nil
}

func (p page) leaf(low, high []byte, visit visitor) error {
	for i := range p.count {
		key, value, flags, err := p.element(i)
		if err != nil {
			return err
		}
		order := bytes.Compare(key, low)
		if low != nil && (order < 0 || order == 0 && i > 0) || high != nil && bytes.Compare(key, high) >= 0 || flags > bucketFlag {
			return broken("a page holds keys out of order")
		}
		if err := visit(key, value, flags == bucketFlag); err != nil {
			return err
		}
		low = key
	}
	return nil
}
