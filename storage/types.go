package storage

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"math/bits"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Limits of one row. A longer one is refused before anything changes.
const (
	MaxKey   = bolt.MaxKeySize // bytes
	MaxValue = 64 << 20        // bytes; of a row, of an entry and of a value of the log
	MaxPath  = 1024            // bytes of a bucket's path
)

// Key is the secret of a bucket's row hashes.
type Key [sha256.Size]byte

// Digest is a row's hash, or a sum of them modulo 2^256: four little-endian words, the lowest first.
type Digest [sha256.Size]byte

// Add returns d + e modulo 2^256.
func (d Digest) Add(e Digest) Digest { return d.combine(e, bits.Add64) }

// Sub returns d - e modulo 2^256.
func (d Digest) Sub(e Digest) Digest { return d.combine(e, bits.Sub64) }

func (d Digest) combine(e Digest, op func(x, y, carry uint64) (uint64, uint64)) Digest {
	var carry, word uint64
	for i := 0; i < len(d); i += 8 {
		word, carry = op(binary.LittleEndian.Uint64(d[i:]), binary.LittleEndian.Uint64(e[i:]), carry)
		binary.LittleEndian.PutUint64(d[i:], word)
	}
	return d
}

func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Bucket is the path of a bucket, as "data/papers/documents". A bucket holds rows or buckets, never both.
type Bucket string

func (b Bucket) check() error {
	if len(b) > MaxPath {
		return fmt.Errorf("path of %d bytes: the limit is %d", len(b), MaxPath)
	}
	for e := range strings.SplitSeq(string(b), "/") {
		if e == "" {
			return fmt.Errorf("path %q has an empty element", b)
		}
	}
	if b.within(metaBucket) {
		return fmt.Errorf("path %q is reserved", b)
	}
	return nil
}

// within reports whether b is the bucket named, or below it; every bucket is within "".
func (b Bucket) within(prefix Bucket) bool {
	rest, ok := strings.CutPrefix(string(b), string(prefix))
	return ok && (prefix == "" || rest == "" || rest[0] == '/')
}

// Position is how far a state has come in the log. Applied is the last entry that changed rows; the log up to Covered, at or
// above it, holds nothing that the state lacks.
type Position struct{ Applied, Covered uint64 }

// Stat describes a bucket.
type Stat struct {
	Digest Digest
	Rows   uint64
	Bytes  uint64 // keys and values
}

// Point is a named step of work on a file, where tests can make it fail.
type Point struct{ Path, Step string }

// Options of a store or a log; the zero value is for production.
type Options struct {
	// Hook, for tests only, is called at every step; an error makes the step fail as if the disk had.
	Hook func(Point) error
	// NoSync, for tests only, leaves writing to the disk to the operating system.
	NoSync bool
	// MmapBytes is the address space to reserve for the file: a file that outgrows it waits for every reader, snapshots included.
	// 0 is 16 GiB for a state, 4 GiB for a log, 256 MiB where addresses have 32 bits.
	MmapBytes int
	// FlushEvery is how long a row waits for others before it goes to the file; 0 is 50 ms.
	FlushEvery time.Duration
	// FlushBytes are flushed at once, OverlayBytes make Begin wait; 0 is 8 MiB and 64 MiB. Counted with 128 bytes a row.
	FlushBytes, OverlayBytes int
}

func (o Options) withDefaults() Options {
	if o.FlushEvery <= 0 {
		o.FlushEvery = 50 * time.Millisecond
	}
	if o.FlushBytes <= 0 {
		o.FlushBytes = 8 << 20
	}
	if o.OverlayBytes <= 0 {
		o.OverlayBytes = 64 << 20
	}
	return o
}

// at tells the hook that a step is reached.
func (o Options) at(path, step string) error {
	if o.Hook == nil {
		return nil
	}
	return o.Hook(Point{path, step})
}

// hasher makes the hashes of one bucket's rows; for one goroutine.
type hasher struct {
	mac  hash.Hash
	path []byte // with its length in front
}

func newHasher(k Key, b Bucket) *hasher {
	path := binary.BigEndian.AppendUint32(nil, uint32(len(b)))
	return &hasher{hmac.New(sha256.New, k[:]), append(path, b...)}
}

// sum is HMAC-SHA256(key of the bucket, length of path | path | length of key | key | value), lengths as 4 bytes big-endian.
func (h *hasher) sum(key, value []byte) (d Digest) {
	var length [4]byte
	binary.BigEndian.PutUint32(length[:], uint32(len(key)))
	h.mac.Reset()
	h.mac.Write(h.path)
	h.mac.Write(length[:])
	h.mac.Write(key)
	h.mac.Write(value)
	h.mac.Sum(d[:0])
	return d
}
