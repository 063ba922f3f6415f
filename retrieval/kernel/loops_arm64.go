//go:build !noasm

package kernel

// The assembly for arm64: see the fields of loops.

//go:noescape
func gemm8NEON(c *int32, ldc int, a *byte, lda int, b *byte, ldb int, k int, m int)

//go:noescape
func gemm16NEON(c *int32, ldc int, a *byte, lda int, b *byte, ldb int, k int, m int)

// scanNEON is scan on as many panels as it is told, without bias and ahead.
//
//go:noescape
func scanNEON(sums *int64, rows *byte, spans *int32, n int, step int, stride int, b *byte, ldb int, weights *int32, next int, panels int)

// maxsimNEON is maxsim on one panel, without bias; with base, it is residual.
//
//go:noescape
func maxsimNEON(best *int32, pos *int32, rows *byte, n int, stride int, b *byte, scales *uint16, lift int, first int, fetch *byte, last *byte, rate int, base *int32, ldbase int, clusters *byte)

//go:noescape
func scoresNEON(out *int32, ldo int, c *int32, ldc int, bias *int32, scales *uint16, lift int, rows int)

//go:noescape
func unpackNEON(dst *byte, src *byte, table *byte, plane int, bits int, rows int)

//go:noescape
func unpack3NEON(dst *byte, src *byte, table *byte, plane int, rows int)

//go:noescape
func prefetchNEON(p *byte, n int)

//go:noescape
func dequantNEON(y *float32, c *int32, wsum *int32, wscale *float32, bias *float32, scale float32, zero int32, n int)

//go:noescape
func spreadNEON(y *float32, ldy int, c *int32, ldc int, s float32, n int, rows int)

//go:noescape
func boundsNEON(x *float32, ldx int, n int, rows int) (lo, hi float32)

//go:noescape
func geluNEON(y *float32, n int)

//go:noescape
func quantize8NEON(dst *uint8, x *float32, inv float32, zero int32, n int)

//go:noescape
func quantize16NEON(dst *int16, ldd int, x *float32, ldx int, inv float32, n int, rows int)

//go:noescape
func softmaxNEON(p *int16, c *int32, s float32, mask *int32, n int)

//go:noescape
func addNormNEON(h *float32, y *float32, gain *float32, bias *float32, eps float32, size float32, n int)

//go:noescape
func normalizeNEON(x *float32, n int)
