//go:build !noasm

package kernel

import "golang.org/x/sys/cpu"

//go:generate sh -c "cd gen && go run . -out ../loops_amd64.s -stubs ../loops_amd64.go -pkg kernel"

var variants = available()

func available() []*Set {
	sets := []*Set{twin}
	x := &cpu.X86
	if x.HasAVX2 {
		sets = append(sets, avx2)
	}
	if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL && x.HasAVX512VNNI {
		sets = append(sets, avx512)
		if x.HasAMXTile && x.HasAMXInt8 && tilesGranted() {
			sets = append(sets, amx)
		}
	}
	return sets
}

var avx2 = &Set{name: "avx2", loops: loops{
	gemm16:     [2]product{gemm16AVX2x1},
	widen:      widenAVX2,
	dequant:    dequantAVX2,
	spread:     spreadAVX2,
	bounds:     boundsAVX2,
	gelu:       geluAVX2,
	quantize8:  quantize8AVX2,
	quantize16: quantize16AVX2,
	softmax:    softmaxAVX2,
	addNorm:    addNormAVX2,
	normalize:  normalizeAVX2,
	fold:       foldAVX2,
	foldBase:   foldBaseAVX2,
	scores:     scoresAVX2,
	unpack:     unpackAVX2,
	unpack3:    unpack3AVX2,
	prefetch:   prefetchT0,
	scan:       &[2]scan{scanAVX2x1},
	linear:     linearAVX2,
	linearBits: 16,
}}

var avx512 = &Set{name: "avx512vnni", loops: loops{
	gemm8:      [2]product{gemm8VNNIx1, gemm8VNNIx2},
	gemm16:     [2]product{gemm16VNNIx1, gemm16VNNIx2},
	dequant:    dequantAVX512,
	spread:     spreadAVX512,
	bounds:     boundsAVX512,
	gelu:       geluAVX512,
	quantize8:  quantize8AVX512,
	quantize16: quantize16AVX512,
	softmax:    softmaxAVX512,
	addNorm:    addNormAVX512,
	normalize:  normalizeAVX512,
	scores:     scoresAVX512,
	unpack:     unpackAVX512,
	unpack3:    unpack3AVX512,
	prefetch:   prefetchT0,
	scan:       &[2]scan{scanVNNIx1, scanVNNIx2},
	linear:     linearAVX512,
	linearBits: 8,
	maxsim:     &[2]maxsim{maxsimVNNIx1, maxsimVNNIx2},
	residual:   &[2]residual{residualVNNIx1, residualVNNIx2},
}}
