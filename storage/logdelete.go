package storage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	bolt "go.etcd.io/bbolt"
)

// Delete removes the entries from min to max that the log has: a prefix from the front, a suffix or all from the end (what
// is left then is older, never what a conflict refuted). Large ranges go in several transactions; a crash between
// them, or an error, leaves a log without holes. A range in the middle is refused. Others may write between the slices of a prefix; a
// suffix goes as one, for what would be appended in between would follow entries that are about to go.
func (l *Log) Delete(min, max uint64) error {
	for {
		if more, err := l.deleteTurn(min, max); err != nil || !more {
			return err
		}
	}
}

// deleteTurn removes what may go without letting others write, and tells whether there may be more.
func (l *Log) deleteTurn(min, max uint64) (more bool, err error) {
	l.write <- struct{}{}
	defer func() { <-l.write }()
	for {
		b := l.state()
		if b.last == 0 || max < b.first || min > b.last || min > max {
			return false, nil
		}
		forward := max < b.last
		if forward && min > b.first {
			return false, fmt.Errorf("delete %d to %d of %s, which has %d to %d: %w", min, max, l.file.path, b.first, b.last, errMiddle)
		}
		if err := l.deleteSlice(b, min, max, forward); err != nil || forward {
			return true, err
		}
	}
}

// deleteSlice removes as many entries as fit one transaction.
func (l *Log) deleteSlice(b bounds, min, max uint64, forward bool) error {
	next, size := b, int64(0)
	err := l.change("delete", func(tx *bolt.Tx) error {
		c := tx.Bucket([]byte(entriesBucket))
		for n := 0; n < sliceEntries && size < sliceBytes && next.last > 0; n++ {
			index := next.last
			if forward {
				index = next.first
			}
			if index < min && !forward || index > max {
				break
			}
			key := indexKey(index)
			sealed := c.Get(key)
			if len(sealed) < 4 {
				return corrupt(l.file.path, "entry %d is missing", index)
			}
			held := len(sealed) - 4
			size += int64(held)
			if err := c.Delete(key); err != nil {
				return err
			}
			if err := space(index, held, c.Delete); err != nil {
				return err
			}
			switch {
			case next.first == next.last:
				next.first, next.last = 0, 0
			case forward:
				next.first++
			default:
				next.last--
			}
		}
		return next.put(tx)
	})
	if err == nil || l.shown(next) {
		l.become(next, -size)
	}
	if err != nil {
		return err
	}
	return failed("delete", l.file.path, l.options.at(l.file.path, "delete.slice"))
}

// verify reads a whole log file: every page that can be reached, every checksum, no hole between the bounds.
func (l *Log) verify(r io.ReaderAt, size int64) (*image, error) {
	m, err := readImage(r, size)
	if err != nil {
		return nil, err
	}
	top, err := m.top()
	if err != nil {
		return nil, err
	}
	if len(top) != 2 || top[entriesBucket] == nil || top[valuesBucket] == nil {
		return nil, brokenf("%d buckets, not entries and values", len(top))
	}
	if err := l.verifyValues(m, top[valuesBucket]); err != nil {
		return nil, err
	}
	want, due := l.bounds.first, 0 // the next entry; spacers that the one before still has
	err = m.bucket(top[entriesBucket], func(key, sealed []byte, isBucket bool) error {
		if due > 0 {
			if !bytes.Equal(key, spacerKey(want-1, spacers-due)) || len(sealed) != 0 || isBucket {
				return brokenf("key %x where a spacer of entry %d should be", key, want-1)
			}
			due--
			return nil
		}
		data, ok := unseal(key, sealed)
		if isBucket || len(key) != 8 || !ok {
			return brokenf("entry %x has a wrong checksum", key)
		}
		if index := binary.BigEndian.Uint64(key); index != want || want == 0 || want > l.bounds.last {
			return brokenf("entry %d where %d should be, of %d to %d", index, want, l.bounds.first, l.bounds.last)
		}
		want++
		l.bytes += int64(len(data))
		if len(data) >= spacedBytes {
			due = spacers
		}
		return nil
	})
	if err == nil && due > 0 {
		err = brokenf("ends before the spacers of entry %d", want-1)
	}
	if err == nil && l.bounds.last > 0 && want != l.bounds.last+1 {
		err = brokenf("ends before entry %d, but had %d", want, l.bounds.last)
	}
	return m, err
}

func (l *Log) verifyValues(m *image, bucket []byte) error {
	formatted, bounded := false, false
	err := m.bucket(bucket, func(name, sealed []byte, isBucket bool) error {
		value, ok := unseal(name, sealed)
		if isBucket || !ok {
			return brokenf("value %q has a wrong checksum", name)
		}
		switch string(name) {
		case formatName:
			formatted = true
			return checkFormat(value)
		case boundsName:
			if bounded = len(value) == 24; bounded {
				e := binary.BigEndian
				l.bounds = bounds{e.Uint64(value), e.Uint64(value[8:]), e.Uint64(value[16:])}
			}
		default:
			l.names[string(name)] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	if b := l.bounds; !formatted || !bounded || b.values != uint64(len(l.names)) || b.first > b.last || (b.first == 0) != (b.last == 0) {
		return brokenf("%d values, entries %d to %d: not what was recorded", len(l.names), b.first, b.last)
	}
	return nil
}
