//go:build !noasm

#include "textflag.h"
#include "words_arm64.h"

// The element-wise loops of the encoder for arm64, bit by bit what rows.go does: no fused multiply-add, sums over 16 lanes.

// SUM16 adds the 16 lanes of V16 to V19 into F16 in the order of sumLanes; V20 is lost.
#define SUM16 \
	FADD(18, 16, 16);                  \
	FADD(19, 17, 17);                  \
	FADD(17, 16, 16);                  \
	VEXT $8, V16.B16, V16.B16, V20.B16; \
	FADD(20, 16, 16);                  \
	VEXT $4, V16.B16, V16.B16, V20.B16; \
	FADDS F20, F16, F16

// INVERSEROOT sets F16 to 1 / sqrt(F16), two roundings; F20 is lost.
#define INVERSEROOT \
	FSQRTS F16, F16; \
	FMOVS $1.0, F20; \
	FDIVS F16, F20, F16

// func dequantNEON(y *float32, c *int32, wsum *int32, wscale *float32, bias *float32, scale float32, zero int32, n int)
TEXT ·dequantNEON(SB), NOSPLIT, $0-56
	MOVD  y+0(FP), R0
	MOVD  c+8(FP), R1
	MOVD  wsum+16(FP), R2
	MOVD  wscale+24(FP), R3
	MOVD  bias+32(FP), R4
	MOVWU scale+40(FP), R5
	MOVWU zero+44(FP), R6
	MOVD  n+48(FP), R7
	VDUP  R5, V30.S4
	VDUP  R6, V31.S4

step:
	VLD1.P 64(R2), AT4
	VMUL(31, 4, 4)
	VMUL(31, 5, 5)
	VMUL(31, 6, 6)
	VMUL(31, 7, 7)
	VLD1.P 64(R1), AT0
	VSUB   V4.S4, V0.S4, V0.S4
	VSUB   V5.S4, V1.S4, V1.S4
	VSUB   V6.S4, V2.S4, V2.S4
	VSUB   V7.S4, V3.S4, V3.S4
	SCVTF4(0, 0)
	VLD1.P 64(R3), AT4
	MULS4(30, 4, 4)
	MUL4(4, 0, 0)
	VLD1.P 64(R4), AT4
	ADD4(4, 0, 0)
	VST1.P AT0, 64(R0)
	SUBS   $1, R7, R7
	BNE    step
	RET

// func spreadNEON(y *float32, ldy int, c *int32, ldc int, s float32, n int, rows int)
TEXT ·spreadNEON(SB), NOSPLIT, $0-56
	MOVD  y+0(FP), R0
	MOVD  ldy+8(FP), R1
	MOVD  c+16(FP), R2
	MOVD  ldc+24(FP), R3
	MOVWU s+32(FP), R4
	MOVD  n+40(FP), R5
	MOVD  rows+48(FP), R6
	VDUP  R4, V31.S4

row:
	MOVD R0, R8
	MOVD R2, R9
	MOVD R5, R10

step:
	VLD1.P 64(R9), AT0
	SCVTF4(0, 0)
	MULS4(31, 0, 0)
	VST1.P AT0, 64(R8)
	SUBS   $1, R10, R10
	BNE    step
	ADD    R1, R0, R0
	ADD    R3, R2, R2
	SUBS   $1, R6, R6
	BNE    row
	RET

// func boundsNEON(x *float32, ldx int, n int, rows int) (lo, hi float32)
TEXT ·boundsNEON(SB), NOSPLIT, $0-40
	MOVD x+0(FP), R0
	MOVD ldx+8(FP), R1
	MOVD n+16(FP), R2
	MOVD rows+24(FP), R3
	VLD1R (R0), [V4.S4]
	VMOV V4.B16, V5.B16
	VMOV V4.B16, V6.B16
	VMOV V4.B16, V7.B16

row:
	MOVD R0, R8
	MOVD R2, R9

step:
	VLD1.P 64(R8), AT0
	FMIN(0, 4, 4)
	FMIN(1, 5, 5)
	FMAX(0, 6, 6)
	FMAX(1, 7, 7)
	FMIN(2, 4, 4)
	FMIN(3, 5, 5)
	FMAX(2, 6, 6)
	FMAX(3, 7, 7)
	SUBS   $1, R9, R9
	BNE    step
	ADD    R1, R0, R0
	SUBS   $1, R3, R3
	BNE    row
	FMIN(5, 4, 4)
	FMAX(7, 6, 6)
	FMINV(4, 4)
	FMAXV(6, 6)
	FMOVS  F4, lo+32(FP)
	FMOVS  F6, hi+36(FP)
	RET

// HORNER takes p one coefficient on: p = p * x + c, rounded twice.
#define HORNER(c, x, p) MUL4(x, p, p); ADDS4(c, p, p)

// func geluNEON(y *float32, n int)
TEXT ·geluNEON(SB), NOSPLIT, $0-16
	MOVD  y+0(FP), R0
	MOVD  n+8(FP), R1
	MOVD  $geluConstants<>(SB), R2
	VLD4R.P 16(R2), [V16.S4, V17.S4, V18.S4, V19.S4] // the polynomial, from the constant term up
	VLD4R.P 16(R2), [V20.S4, V21.S4, V22.S4, V23.S4]
	VLD4R.P 16(R2), [V24.S4, V25.S4, V26.S4, V27.S4] // its end, geluClamp, and less, 2 / geluClamp^2
	VLD4R.P 16(R2), [V28.S4, V29.S4, V30.S4, V31.S4] // 1, 1/2

step:
	VLD1 (R0), AT0
	MAXS4(26, 0, 4)
	MINS4(25, 4, 4)
	MUL4(4, 4, 8)
	MULS4(27, 8, 8)
	SUBS4(28, 8, 8)
	START(V24, V12, V13, V14, V15)
	HORNER(23, 8, 12)
	HORNER(22, 8, 12)
	HORNER(21, 8, 12)
	HORNER(20, 8, 12)
	HORNER(19, 8, 12)
	HORNER(18, 8, 12)
	HORNER(17, 8, 12)
	HORNER(16, 8, 12)
	MUL4(4, 12, 12)
	ADDS4(29, 12, 12)
	MUL4(12, 0, 0)
	VST1.P AT0, 64(R0)
	SUBS   $1, R1, R1
	BNE    step
	RET

// func quantize8NEON(dst *uint8, x *float32, inv float32, zero int32, n int)
TEXT ·quantize8NEON(SB), NOSPLIT, $0-32
	MOVD  dst+0(FP), R0
	MOVD  x+8(FP), R1
	MOVWU inv+16(FP), R2
	MOVWU zero+20(FP), R3
	MOVD  n+24(FP), R4
	VDUP  R2, V30.S4
	VDUP  R3, V31.S4

step:
	VLD1.P 64(R1), AT0
	MULS4(30, 0, 0)
	FCVTNS4(0, 0)
	VADDS4(V31, V0, V1, V2, V3)
	NARROW
	SQXTUN(4, 6)
	SQXTUN2(5, 6)
	VST1.P [V6.B16], 16(R0)
	SUBS   $1, R4, R4
	BNE    step
	RET

// func quantize16NEON(dst *int16, ldd int, x *float32, ldx int, inv float32, n int, rows int)
TEXT ·quantize16NEON(SB), NOSPLIT, $0-56
	MOVD  dst+0(FP), R0
	MOVD  ldd+8(FP), R1
	MOVD  x+16(FP), R2
	MOVD  ldx+24(FP), R3
	MOVWU inv+32(FP), R4
	MOVD  n+40(FP), R5
	MOVD  rows+48(FP), R6
	VDUP  R4, V31.S4

row:
	MOVD R0, R8
	MOVD R2, R9
	MOVD R5, R10

step:
	VLD1.P 64(R9), AT0
	MULS4(31, 0, 0)
	FCVTNS4(0, 0)
	NARROW
	VST1.P [V4.H8, V5.H8], 32(R8)
	SUBS   $1, R10, R10
	BNE    step
	ADD    R1, R0, R0
	ADD    R3, R2, R2
	SUBS   $1, R6, R6
	BNE    row
	RET

// POWER puts the integer part, in the low bits of z, into the exponent of q.
#define POWER(z, q) VSHL $23, z.S4, z.S4; VADD z.S4, q.S4, q.S4

// func softmaxNEON(p *int16, c *int32, s float32, mask *int32, n int)
TEXT ·softmaxNEON(SB), NOSPLIT, $0-40
	MOVD  p+0(FP), R0
	MOVD  c+8(FP), R1
	MOVWU s+16(FP), R2
	MOVD  mask+24(FP), R3
	MOVD  n+32(FP), R4
	VDUP  R2, V31.S4
	VLD1R (R1), [V4.S4]
	MOVD  R1, R8
	MOVD  R4, R9

top:
	VLD1.P 64(R8), AT0
	SMAX(1, 0, 0)
	SMAX(3, 2, 2)
	SMAX(0, 4, 4)
	SMAX(2, 4, 4)
	SUBS   $1, R9, R9
	BNE    top
	SMAXV(4, 4)
	VDUP   V4.S[0], V30.S4
	MOVD   $expConstants<>(SB), R10
	VLD4R.P 16(R10), [V24.S4, V25.S4, V26.S4, V27.S4] // the polynomial, from the constant term up
	VLD4R.P 16(R10), [V20.S4, V21.S4, V22.S4, V23.S4] // its end, roundMagic, expFloor, 32767
	ZERO4(V16, V17, V18, V19)
	MOVD   R1, R8
	MOVD   R4, R9

exp:
	VLD1 (R8), AT0
	VSUBS4(V30, V0, V1, V2, V3)
	SCVTF4(0, 0)
	MULS4(31, 0, 0)
	MAXS4(22, 0, 0)
	ADDS4(21, 0, 4)
	SUBS4(21, 4, 8)
	SUB4(8, 0, 8)
	START(V20, V0, V1, V2, V3)
	HORNER(27, 8, 0)
	HORNER(26, 8, 0)
	HORNER(25, 8, 0)
	HORNER(24, 8, 0)
	POWER(V4, V0)
	POWER(V5, V1)
	POWER(V6, V2)
	POWER(V7, V3)
	CMP  $1, R9
	BNE  whole
	VLD1 (R3), AT4
	VAND V4.B16, V0.B16, V0.B16
	VAND V5.B16, V1.B16, V1.B16
	VAND V6.B16, V2.B16, V2.B16
	VAND V7.B16, V3.B16, V3.B16

whole:
	ADD4(0, 16, 16)
	VST1.P AT0, 64(R8)
	SUBS   $1, R9, R9
	BNE    exp
	SUM16
	FDIVS  F16, F23, F16
	VDUP   V16.S[0], V31.S4

scale:
	VLD1.P 64(R1), AT0
	MULS4(31, 0, 0)
	FCVTNS4(0, 0)
	NARROW
	VST1.P [V4.H8, V5.H8], 32(R0)
	SUBS   $1, R4, R4
	BNE    scale
	RET

// func addNormNEON(h *float32, y *float32, gain *float32, bias *float32, eps float32, size float32, n int)
TEXT ·addNormNEON(SB), NOSPLIT, $0-48
	MOVD  h+0(FP), R0
	MOVD  y+8(FP), R1
	MOVD  gain+16(FP), R2
	MOVD  bias+24(FP), R3
	FMOVS eps+32(FP), F22
	FMOVS size+36(FP), F23
	MOVD  n+40(FP), R4
	ZERO4(V16, V17, V18, V19)
	MOVD  R0, R8
	MOVD  R4, R9

sum:
	VLD1   (R8), AT0
	VLD1.P 64(R1), AT4
	ADD4(4, 0, 0)
	VST1.P AT0, 64(R8)
	ADD4(0, 16, 16)
	SUBS   $1, R9, R9
	BNE    sum
	SUM16
	FDIVS  F23, F16, F16
	VDUP   V16.S[0], V31.S4 // the mean
	ZERO4(V16, V17, V18, V19)
	MOVD   R0, R8
	MOVD   R4, R9

square:
	VLD1.P 64(R8), AT0
	SUBS4(31, 0, 0)
	MUL4(0, 0, 0)
	ADD4(0, 16, 16)
	SUBS   $1, R9, R9
	BNE    square
	SUM16
	FDIVS  F23, F16, F16
	FADDS  F22, F16, F16
	INVERSEROOT
	VDUP   V16.S[0], V30.S4

norm:
	VLD1   (R0), AT0
	SUBS4(31, 0, 0)
	MULS4(30, 0, 0)
	VLD1.P 64(R2), AT4
	MUL4(4, 0, 0)
	VLD1.P 64(R3), AT4
	ADD4(4, 0, 0)
	VST1.P AT0, 64(R0)
	SUBS   $1, R4, R4
	BNE    norm
	RET

// func normalizeNEON(x *float32, n int)
TEXT ·normalizeNEON(SB), NOSPLIT, $0-16
	MOVD x+0(FP), R0
	MOVD n+8(FP), R1
	ZERO4(V16, V17, V18, V19)
	MOVD R0, R8
	MOVD R1, R9

square:
	VLD1.P 64(R8), AT0
	MUL4(0, 0, 0)
	ADD4(0, 16, 16)
	SUBS   $1, R9, R9
	BNE    square
	SUM16
	INVERSEROOT
	VDUP   V16.S[0], V31.S4

scale:
	VLD1   (R0), AT0
	MULS4(31, 0, 0)
	VST1.P AT0, 64(R0)
	SUBS   $1, R1, R1
	BNE    scale
	RET

// The constants of rows.go, as bits, in the order in which the loops above read them.
DATA geluConstants<>+0(SB)/4, $0x3e20aaeb // 0.156902
DATA geluConstants<>+4(SB)/4, $0xbd9e0c9e // -0.0771725029
DATA geluConstants<>+8(SB)/4, $0x3d608e70 // 0.054823339
DATA geluConstants<>+12(SB)/4, $0xbd2616ff // -0.0405492745
DATA geluConstants<>+16(SB)/4, $0x3ce21494 // 0.027597703
DATA geluConstants<>+20(SB)/4, $0xbc8950c8 // -0.0167621523
DATA geluConstants<>+24(SB)/4, $0x3c49164f // 0.0122733852
DATA geluConstants<>+28(SB)/4, $0xbc189d17 // -0.00931479689
DATA geluConstants<>+32(SB)/4, $0x3b5925bd // 0.0033134066
DATA geluConstants<>+36(SB)/4, $0x40900000 // 4.5
DATA geluConstants<>+40(SB)/4, $0xc0900000 // -4.5
DATA geluConstants<>+44(SB)/4, $0x3dca4588 // 0.09876543209876543
DATA geluConstants<>+48(SB)/4, $0x3f800000 // 1
DATA geluConstants<>+52(SB)/4, $0x3f000000 // 0.5
DATA geluConstants<>+56(SB)/8, $0 // unused
GLOBL geluConstants<>(SB), RODATA|NOPTR, $64

DATA expConstants<>+0(SB)/4, $0x3f7ffff4 // 0.9999993
DATA expConstants<>+4(SB)/4, $0x3f31706f // 0.69312185
DATA expConstants<>+8(SB)/4, $0x3e76036e // 0.24024746
DATA expConstants<>+12(SB)/4, $0x3d6509d3 // 0.055917572
DATA expConstants<>+16(SB)/4, $0x3c1ccb2f // 0.009569927
DATA expConstants<>+20(SB)/4, $0x4b400000 // 12582912
DATA expConstants<>+24(SB)/4, $0xc2fc0000 // -126
DATA expConstants<>+28(SB)/4, $0x46fffe00 // 32767
GLOBL expConstants<>(SB), RODATA|NOPTR, $32
