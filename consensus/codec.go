package consensus

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/hashicorp/raft"

	"ostraca/storage"
)

// One byte in front of what this package writes, so that it can change.
const (
	logFormat      = 1
	snapshotFormat = 1
)

// encodeLog writes an entry: format (1) | type (1) | index | term | appended at, Unix ns, 0 for never (signed) | length of the
// extensions | extensions | data. Integers are varints.
func encodeLog(l *raft.Log) []byte {
	b := make([]byte, 0, 2+5*binary.MaxVarintLen64+len(l.Extensions)+len(l.Data))
	b = append(b, logFormat, byte(l.Type))
	b = binary.AppendUvarint(b, l.Index)
	b = binary.AppendUvarint(b, l.Term)
	var at int64
	if !l.AppendedAt.IsZero() {
		at = l.AppendedAt.UnixNano()
	}
	b = binary.AppendVarint(b, at)
	b = binary.AppendUvarint(b, uint64(len(l.Extensions)))
	b = append(b, l.Extensions...)
	return append(b, l.Data...)
}

// decodeLog reads what encodeLog wrote for the index. The log shares b's memory. It fails with storage.ErrCorrupt.
func decodeLog(index uint64, b []byte, l *raft.Log) error {
	r := reader{rest: b}
	format, kind := r.byte(), r.byte()
	*l = raft.Log{Type: raft.LogType(kind), Index: r.uvarint(), Term: r.uvarint()}
	if at := r.varint(); at != 0 {
		l.AppendedAt = time.Unix(0, at)
	}
	l.Extensions, l.Data = r.bytes(), r.rest
	switch {
	case r.bad || kind > byte(raft.LogConfiguration) || l.Index != index:
		return fmt.Errorf("consensus: log entry %d: %w", index, storage.ErrCorrupt)
	case format != logFormat:
		return fmt.Errorf("consensus: log entry %d has format %d, this program reads %d: %w", index, format, logFormat, storage.ErrCorrupt)
	}
	return nil
}

// encodeSnapshot writes the record of a snapshot: format (1) | index | term | index of the configuration | size | servers; each
// server: suffrage | id | address.
func encodeSnapshot(m raft.SnapshotMeta) []byte {
	b := []byte{snapshotFormat}
	for _, v := range []uint64{m.Index, m.Term, m.ConfigurationIndex, uint64(m.Size), uint64(len(m.Configuration.Servers))} {
		b = binary.AppendUvarint(b, v)
	}
	for _, s := range m.Configuration.Servers {
		b = binary.AppendUvarint(b, uint64(s.Suffrage))
		for _, t := range []string{string(s.ID), string(s.Address)} {
			b = binary.AppendUvarint(b, uint64(len(t)))
			b = append(b, t...)
		}
	}
	return b
}

// maxServers bounds what a damaged record makes this program allocate.
const maxServers = 1 << 10

// decodeSnapshot reads what encodeSnapshot wrote. It fails with storage.ErrCorrupt.
func decodeSnapshot(b []byte) (raft.SnapshotMeta, error) {
	r := reader{rest: b}
	format := r.byte()
	m := raft.SnapshotMeta{Version: raft.SnapshotVersionMax, Index: r.uvarint(), Term: r.uvarint(), ConfigurationIndex: r.uvarint()}
	size, servers := r.uvarint(), r.uvarint()
	if format != snapshotFormat || size > math.MaxInt64 || servers > maxServers {
		return raft.SnapshotMeta{}, fmt.Errorf("consensus: the record of the snapshot (format %d): %w", format, storage.ErrCorrupt)
	}
	m.Size = int64(size)
	for range servers {
		suffrage := r.uvarint()
		s := raft.Server{Suffrage: raft.ServerSuffrage(suffrage), ID: raft.ServerID(r.bytes()), Address: raft.ServerAddress(r.bytes())}
		r.bad = r.bad || suffrage > uint64(raft.Staging)
		if r.bad {
			break
		}
		m.Configuration.Servers = append(m.Configuration.Servers, s)
	}
	if r.bad || len(r.rest) > 0 {
		return raft.SnapshotMeta{}, fmt.Errorf("consensus: the record of the snapshot: %w", storage.ErrCorrupt)
	}
	m.ID = snapshotID(m.Index, m.Term)
	return m, nil
}

// snapshotID names a snapshot to Raft.
func snapshotID(index, term uint64) string { return fmt.Sprintf("%d-%d", term, index) }

// reader takes values off the front of rest until one is not there.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) byte() byte {
	if len(r.rest) == 0 {
		r.bad = true
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	return v * r.skip(n)
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.rest)
	return v * int64(r.skip(n))
}

// skip drops n bytes and returns 1, or 0 where there was no value.
func (r *reader) skip(n int) uint64 {
	if n <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return 1
}

// bytes takes a length and as many bytes; none for a length of 0.
func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
	}
	if r.bad || n == 0 {
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}
