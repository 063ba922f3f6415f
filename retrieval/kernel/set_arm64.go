//go:build !noasm

package kernel

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

var variants = available()

// available asks for the dot product of bytes, optional from Armv8.2 on and there on every server core since; all else in
// the assembly is in every 64-bit Arm CPU.
func available() []*Set {
	sets := []*Set{twin}
	if cpu.ARM64.HasASIMDDP {
		sets = append(sets, neon)
	}
	return sets
}

var neon = &Set{name: "neon", loops: loops{
	gemm8:      [2]product{gemm8NEON},
	gemm16:     [2]product{gemm16NEON},
	dequant:    dequantNEON,
	spread:     spreadNEON,
	bounds:     boundsNEON,
	gelu:       geluNEON,
	quantize8:  quantize8NEON,
	quantize16: quantize16NEON,
	softmax:    softmaxNEON,
	addNorm:    addNormNEON,
	normalize:  normalizeNEON,
	scores:     scoresNEON,
	unpack:     unpackNEON,
	unpack3:    unpack3NEON,
	prefetch:   prefetchNEON,
	scan:       &[2]scan{scanOne, scanTwo},
	maxsim:     &[2]maxsim{maxsimOne, maxsimTwo},
	residual:   &[2]residual{residualOne, residualTwo},
}}

// Below, products are of signed codes, so there is no bias to take off; rows that a scan reads one behind the other are left to
// the hardware to fetch.

func scanOne(sums *int64, rows *byte, spans *int32, n int, step int, stride int, b *byte, ldb int, weights *int32, _ int64, _ int, next int) {
	scanNEON(sums, rows, spans, n, step, stride, b, ldb, weights, next, 1)
}

func scanTwo(sums *int64, rows *byte, spans *int32, n int, step int, stride int, b *byte, ldb int, weights *int32, _ int64, _ int, next int) {
	scanNEON(sums, rows, spans, n, step, stride, b, ldb, weights, next, 2)
}

func maxsimOne(best *int32, pos *int32, rows *byte, n int, stride int, b *byte, _ int, _ *int32, scales *uint16, lift int, first int, fetch *byte, last *byte, rate int) {
	maxsimNEON(best, pos, rows, n, stride, b, scales, lift, first, fetch, last, rate, nil, 0, nil)
}

// maxsimTwo takes one panel after the other: the second finds the rows in the cache.
func maxsimTwo(best *int32, pos *int32, rows *byte, n int, stride int, b *byte, ldb int, _ *int32, scales *uint16, lift int, first int, fetch *byte, last *byte, rate int) {
	maxsimNEON(best, pos, rows, n, stride, b, scales, lift, first, fetch, last, rate, nil, 0, nil)
	maxsimNEON(second(best), second(pos), rows, n, stride, &unsafe.Slice(b, ldb+1)[ldb], scales, lift, first, fetch, fetch, 0, nil, 0, nil)
}

func residualOne(best *int32, pos *int32, rows *byte, n int, stride int, b *byte, _ int, _ *int32, scales *uint16, lift int, first int, fetch *byte, last *byte, rate int, base *int32, ldbase int, clusters *byte) {
	maxsimNEON(best, pos, rows, n, stride, b, scales, lift, first, fetch, last, rate, base, ldbase, clusters)
}

func residualTwo(best *int32, pos *int32, rows *byte, n int, stride int, b *byte, ldb int, _ *int32, scales *uint16, lift int, first int, fetch *byte, last *byte, rate int, base *int32, ldbase int, clusters *byte) {
	maxsimNEON(best, pos, rows, n, stride, b, scales, lift, first, fetch, last, rate, base, ldbase, clusters)
	maxsimNEON(second(best), second(pos), rows, n, stride, &unsafe.Slice(b, ldb+1)[ldb], scales, lift, first, fetch, fetch, 0, second(base), ldbase, clusters)
}

// second returns where a second panel's columns begin.
func second(columns *int32) *int32 { return &unsafe.Slice(columns, 2*Lanes)[Lanes] }
