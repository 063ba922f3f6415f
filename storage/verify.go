package storage

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	"github.com/google/btree"
)

// Names in the state file's bucket meta.
const (
	metaBucket   = "meta"
	formatName   = "format"
	positionName = "position"
	recordPrefix = "bucket/"
	format       = 1 // of both files
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal puts the CRC-32C of name and value in front of the value: the checksum of what no bucket's key protects.
func seal(name, value []byte) []byte {
	sum := crc32.Update(crc32.Checksum(name, castagnoli), castagnoli, value)
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(value)), sum), value...)
}

// unseal returns the value, in the same memory.
func unseal(name, sealed []byte) ([]byte, bool) {
	if len(sealed) < 4 {
		return nil, false
	}
	value := sealed[4:]
	sum := crc32.Update(crc32.Checksum(name, castagnoli), castagnoli, value)
	return value, sum == binary.BigEndian.Uint32(sealed)
}

// checkFormat reads the number of a format.
func checkFormat(value []byte) error {
	if len(value) != 4 {
		return broken("a format that is no number")
	}
	if v := binary.BigEndian.Uint32(value); v > format {
		return fmt.Errorf("%w: format %d, this program knows %d: use the program that wrote it, or a newer one", ErrFormat, v, format)
	} else if v != format {
		return brokenf("format %d", v)
	}
	return nil
}

func formatValue() []byte { return binary.BigEndian.AppendUint32(nil, format) }

func (p Position) encode() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, p.Applied), p.Covered)
}

func decodePosition(b []byte) (Position, bool) {
	if len(b) != 16 {
		return Position{}, false
	}
	return Position{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}, true
}

func (r record) encode() []byte {
	b := append(append(make([]byte, 0, 80), r.key[:]...), r.Digest[:]...)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, r.Rows), r.Bytes)
}

func decodeRecord(path string, b []byte) (r record, ok bool) {
	if len(b) != 80 || Bucket(path).check() != nil {
		return r, false
	}
	r.path = Bucket(path)
	copy(r.key[:], b)
	copy(r.Digest[:], b[32:])
	r.Rows, r.Bytes = binary.BigEndian.Uint64(b[64:]), binary.BigEndian.Uint64(b[72:])
	return r, true
}

// contents is what a state file says of itself.
type contents struct {
	position Position
	records  *btree.BTreeG[record]
	met      int // buckets found with rows, or empty as recorded
}

// verify reads a whole state file: every page that can be reached, the hash of every row, the sums of every bucket.
func (c *contents) verify(r io.ReaderAt, size int64) (*image, error) {
	m, err := readImage(r, size)
	if err != nil {
		return nil, err
	}
	c.records = btree.NewG(degree, recordLess)
	top, err := m.top()
	if err != nil {
		return nil, err
	}
	if err := c.readMeta(m, top[metaBucket]); err != nil {
		return nil, err
	}
	delete(top, metaBucket)
	for name, value := range top {
		if err := c.readBucket(m, Bucket(name), value); err != nil {
			return nil, err
		}
	}
	if c.met != c.records.Len() {
		return nil, brokenf("%d of %d buckets found", c.met, c.records.Len())
	}
	return m, nil
}

// top returns the buckets of the root: what the file says of each.
func (m *image) top() (map[string][]byte, error) {
	top := map[string][]byte{}
	err := m.tree(m.root, nil, nil, func(key, value []byte, isBucket bool) error {
		if !isBucket {
			return broken("a row outside all buckets")
		}
		top[string(key)] = append([]byte{}, value...)
		return nil
	})
	return top, err
}

func (c *contents) readMeta(m *image, value []byte) error {
	if value == nil {
		return broken("no bucket meta")
	}
	formatted, placed := false, false
	err := m.bucket(value, func(key, sealed []byte, isBucket bool) error {
		value, ok := unseal(key, sealed)
		if isBucket || !ok {
			return brokenf("meta: %q has a wrong checksum", key)
		}
		path, isRecord := strings.CutPrefix(string(key), recordPrefix)
		switch {
		case isRecord:
			r, ok := decodeRecord(path, value)
			if !ok {
				return brokenf("meta: %q cannot be read", key)
			}
			c.records.ReplaceOrInsert(r)
		case string(key) == positionName:
			c.position, placed = decodePosition(value)
		case string(key) == formatName:
			formatted = true
			return checkFormat(value)
		}
		return nil
	})
	if err == nil && !(formatted && placed) {
		err = broken("meta: no format or no position")
	}
	return err
}

// readBucket checks a bucket and all below it.
func (c *contents) readBucket(m *image, path Bucket, value []byte) error {
	r, ok := c.records.Get(record{path: path})
	h := newHasher(r.key, path)
	var sum Stat
	err := m.bucket(value, func(key, value []byte, isBucket bool) error {
		switch {
		case isBucket == ok || strings.Contains(string(key), "/") && isBucket:
			return brokenf("bucket %s: a row where buckets should be, or the other way round", path)
		case isBucket:
			if len(path)+1+len(key) > MaxPath {
				return brokenf("bucket %s: a path too long", path)
			}
			return c.readBucket(m, path+"/"+Bucket(key), value)
		case len(value) < len(Digest{}):
			return brokenf("bucket %s: a row without a hash", path)
		}
		d := Digest(value[:len(Digest{})])
		if value = value[len(d):]; h.sum(key, value) != d {
			return brokenf("bucket %s: the hash of a row differs", path)
		}
		sum.Digest = sum.Digest.Add(d)
		sum.Rows++
		sum.Bytes += uint64(len(key) + len(value))
		return nil
	})
	if err == nil && ok {
		if c.met++; sum != r.Stat {
			err = brokenf("bucket %s: %d rows in %d bytes with digest %v, recorded are %d, %d and %v", path, sum.Rows, sum.Bytes, sum.Digest, r.Rows, r.Bytes, r.Digest)
		}
	}
	return err
}
