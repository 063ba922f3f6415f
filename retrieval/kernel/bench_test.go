package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func BenchmarkGemm8(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, s := range All() {
		for _, d := range [][3]int{{32, 1536, 384}, {256, 1152, 384}, {256, 384, 384}, {256, 1536, 384}, {256, 384, 1536}} {
			m, n, k := d[0], d[1], d[2]
			b.Run(fmt.Sprintf("%s/%dx%dx%d", s.name, m, n, k), func(b *testing.B) {
				w := s.Pack(codes(rng, n*k), n, k)
				a, c := bytesOf(rng, m*k), make([]int32, m*n)
				rate(b, s, float64(m), 2*float64(m*n*k), func() { s.Gemm8(c, a, w, m) })
			})
		}
	}
}

func BenchmarkRows(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, s := range All() {
		x := floats(rng, 1536, 1)
		y := floats(rng, 384, 1)
		gain, bias := floats(rng, 1536, 1), floats(rng, 1536, 1)
		c, p, u := make([]int32, 1536), make([]int16, 1536), make([]byte, 1536)
		run := func(name string, f func()) {
			b.Run(s.name+"/"+name, func(b *testing.B) {
				for b.Loop() {
					f()
				}
			})
		}
		run("Gelu1536", func() { s.Gelu(x) })
		run("Dequantize1536", func() { s.Dequantize(x, c, c, Affine{gain, bias}, 1, 3) })
		run("Bounds1536", func() { s.Bounds(x, 1536, 1536, 1) })
		run("Quantize8x1536", func() { s.Quantize8(u, x, 1, 3) })
		run("AddNorm384", func() { s.AddNorm(y, y, gain, bias, 1) })
		run("Softmax128", func() { s.Softmax(p, c[:128], 128, .001) })
	}
}
