package dataset

import (
	"bufio"
	"encoding/binary"
	"io"
	"math"
	"slices"
)

// npyValues reads the values of an array from the first to the last, through a buffer of its own.
type npyValues struct {
	npy
	r   *bufio.Reader
	raw []byte
}

// values starts a reading of the array. Several can go on at once.
func (a npy) values(r io.ReaderAt) *npyValues {
	return &npyValues{npy: a, r: bufio.NewReaderSize(io.NewSectionReader(r, a.start, a.size()), 1<<18)}
}

// next returns the bytes of the next n values, valid until the next call. The caller has checked that there are so many.
func (v *npyValues) next(n int) ([]byte, error) {
	size := n * int(npyItems[v.dtype])
	v.raw = slices.Grow(v.raw[:0], size)[:size]
	if _, err := io.ReadFull(v.r, v.raw); err != nil {
		return nil, readError(v.file, err)
	}
	return v.raw, nil
}

// floats returns the next n values of an array of floats, rounded to float32 if they are wider.
func (v *npyValues) floats(n int) ([]float32, error) {
	raw, err := v.next(n)
	if err != nil {
		return nil, err
	}
	out := make([]float32, n)
	switch v.dtype {
	case "<f2":
		for i := range out {
			out[i] = fromFloat16(binary.LittleEndian.Uint16(raw[2*i:]))
		}
	case "<f4":
		for i := range out {
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
	case "<f8":
		for i := range out {
			out[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:])))
		}
	}
	return out, nil
}

// ints returns the next n values of an array of integers, none of which may be negative or over 2^31 - 1.
func (v *npyValues) ints(n int) ([]int32, error) {
	raw, err := v.next(n)
	if err != nil {
		return nil, err
	}
	out := make([]int32, n)
	for i := range out {
		x := v.integer(raw, i)
		if x < 0 || x > math.MaxInt32 {
			return nil, v.corrupt("a value of %d, want 0 to %d", x, math.MaxInt32)
		}
		out[i] = int32(x)
	}
	return out, nil
}

func (v *npyValues) integer(raw []byte, i int) int64 {
	switch v.dtype {
	case "<u8":
		return int64(min(binary.LittleEndian.Uint64(raw[8*i:]), math.MaxInt64)) // what is over is refused all the same
	case "<i4":
		return int64(int32(binary.LittleEndian.Uint32(raw[4*i:])))
	case "<u4":
		return int64(binary.LittleEndian.Uint32(raw[4*i:]))
	case "<i2":
		return int64(int16(binary.LittleEndian.Uint16(raw[2*i:])))
	case "<u2":
		return int64(binary.LittleEndian.Uint16(raw[2*i:]))
	case "<u1", "|u1":
		return int64(raw[i])
	case "<i1", "|i1":
		return int64(int8(raw[i]))
	}
	return int64(binary.LittleEndian.Uint64(raw[8*i:])) // "<i8"
}
