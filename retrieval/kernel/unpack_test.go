package kernel

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// packed is the definition of packed rows, backwards: codes of so many bits into planes.
func packed(codes []byte, rows, stride, bits int) []byte {
	p := stride * bits / 8
	out := make([]byte, rows*p)
	for r := range rows {
		for i, c := range codes[r*stride:][:stride] {
			row, b := out[r*p:][:p], bits
			if b == 3 {
				high := row[stride/4:]
				high[i%len(high)] |= c >> 2 << (i / len(high))
				row, c, b = row[:stride/4], c&3, 2
			}
			row[i%len(row)] |= c << (b * (i / len(row)))
		}
	}
	return out
}

func checkUnpack(t *testing.T, s *Set, rng *rand.Rand, rows, stride, bits int) {
	t.Helper()
	table, codes := Table(bytesOf(rng, 16)), bytesOf(rng, rows*stride)
	want := make([]byte, len(codes))
	for i := range codes {
		codes[i] &= 1<<bits - 1
		want[i] = table[codes[i]]
	}
	const guard = 64
	src, dst := packed(codes, rows, stride, bits), fill(len(codes)+guard, byte(77))
	s.Unpack(dst, src, rows, stride, bits, &table)
	if !bytes.Equal(dst[:len(want)], want) {
		t.Fatalf("%s: %d rows of %d in %d bits: got %v, want %v", s.name, rows, stride, bits, dst, want)
	}
	if !bytes.Equal(dst[len(want):], fill(guard, byte(77))) {
		t.Fatalf("%s: %d rows of %d in %d bits: written behind the end", s.name, rows, stride, bits)
	}
}

func TestUnpack(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for _, bits := range []int{1, 2, 3, 4} {
			for stride := 8; stride <= 1032; stride += 8 {
				checkUnpack(t, s, rng, 1+stride%5, stride, bits)
			}
			checkUnpack(t, s, rng, 0, 64, bits)
			checkUnpack(t, s, rng, 300, 384, bits)
		}
	})
}

func FuzzUnpack(f *testing.F) {
	f.Add(uint64(1), byte(3), uint16(16), byte(2))
	f.Fuzz(func(t *testing.T, seed uint64, rows byte, width uint16, bits byte) {
		for _, s := range All() {
			checkUnpack(t, s, rand.New(rand.NewPCG(seed, 0)), int(rows), int(width%256+1)*8, int(bits%4)+1)
		}
	})
}

// BenchmarkUnpack reports the bytes written by its fastest run; rows in the first-level cache.
func BenchmarkUnpack(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, s := range All() {
		for _, bits := range []int{1, 2, 3, 4} {
			for _, stride := range []int{64, 128, 384} {
				b.Run(fmt.Sprintf("%s/%dx%d", s.name, stride, bits), func(b *testing.B) {
					rows := 16384 / stride
					table, src, dst := Table(bytesOf(rng, 16)), bytesOf(rng, rows*stride*bits/8), make([]byte, rows*stride)
					const times = 20
					least := fastest(b, func() {
						for range times {
							s.Unpack(dst, src, rows, stride, bits, &table)
						}
					})
					b.ReportMetric(float64(times*len(dst))/least/1e9, "GB/s")
				})
			}
		}
	}
}
