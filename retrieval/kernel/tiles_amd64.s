//go:build !noasm

#include "textflag.h"

// Products by AMX. Go's assembler does not know its instructions, so they are written as bytes, with tiles 0 to 7 and the first eight registers, which need no
// more bits in the prefix (Intel's Software Developer's Manual, volume 2, "TDPBUSD", "TILELOADD").

#define rAX 0
#define rCX 1
#define rDX 2
#define rBX 3
#define rSI 6
#define rDI 7

// LDTILECFG takes the shapes of all tiles from (AX).
#define LDTILECFG BYTE $0xc4; BYTE $0xe2; BYTE $0x78; BYTE $0x49; BYTE $0x00
#define TILERELEASE BYTE $0xc4; BYTE $0xe2; BYTE $0x78; BYTE $0x49; BYTE $0xc0
#define TILEZERO(t) BYTE $0xc4; BYTE $0xe2; BYTE $0x7b; BYTE $0x49; BYTE $(0xc0|t<<3)

// Rows of a tile are stride bytes apart, from base on.
#define TILELOADD(base, stride, t) BYTE $0xc4; BYTE $0xe2; BYTE $0x7b; BYTE $0x4b; BYTE $(0x04|t<<3); BYTE $(stride<<3|base)
#define TILESTORED(t, base, stride) BYTE $0xc4; BYTE $0xe2; BYTE $0x7a; BYTE $0x4b; BYTE $(0x04|t<<3); BYTE $(stride<<3|base)

// TDPBUSD adds to tile c the product of a's unsigned bytes with b's signed ones.
#define TDPBUSD(b, a, c) BYTE $0xc4; BYTE $0xe2; BYTE $(0x79-b<<3); BYTE $0x5e; BYTE $(0xc0|c<<3|a)

// func tiles32(c *int32, ldc int, a *byte, lda int, b *byte, ldb int, steps int, strips int, shape *tileShape)
TEXT ·tiles32(SB), NOSPLIT, $0-72
	MOVQ shape+64(FP), AX
	LDTILECFG
	MOVQ c+0(FP), R8
	MOVQ ldc+8(FP), R9
	MOVQ a+16(FP), R10
	MOVQ lda+24(FP), R11
	MOVQ b+32(FP), R12
	MOVQ ldb+40(FP), R13
	MOVQ strips+56(FP), R15
	MOVQ $64, DI

strip:
	TILEZERO(0)
	TILEZERO(1)
	TILEZERO(2)
	TILEZERO(3)
	MOVQ R10, BX
	MOVQ R11, CX
	MOVQ R11, DX
	SHLQ $4, DX
	ADDQ BX, DX
	MOVQ R12, SI
	LEAQ (R12)(R13*1), AX
	MOVQ steps+48(FP), R14

step:
	TILELOADD(rBX, rCX, 4)
	TILELOADD(rSI, rDI, 6)
	TILELOADD(rAX, rDI, 7)
	TDPBUSD(6, 4, 0)
	TILELOADD(rDX, rCX, 5)
	TDPBUSD(7, 4, 1)
	TDPBUSD(6, 5, 2)
	TDPBUSD(7, 5, 3)
	ADDQ $64, BX
	ADDQ $64, DX
	ADDQ $1024, SI
	ADDQ $1024, AX
	DECQ R14
	JNZ  step

	MOVQ R8, BX
	MOVQ R9, CX
	MOVQ R9, DX
	SHLQ $4, DX
	ADDQ BX, DX
	TILESTORED(0, rBX, rCX)
	TILESTORED(2, rDX, rCX)
	ADDQ $64, BX
	ADDQ $64, DX
	TILESTORED(1, rBX, rCX)
	TILESTORED(3, rDX, rCX)
	MOVQ R9, CX
	SHLQ $5, CX
	ADDQ CX, R8
	MOVQ R11, CX
	SHLQ $5, CX
	ADDQ CX, R10
	DECQ R15
	JNZ  strip
	TILERELEASE
	RET

// func tiles16(c *int32, ldc int, a *byte, lda int, b *byte, ldb int, steps int, shape *tileShape)
TEXT ·tiles16(SB), NOSPLIT, $0-64
	MOVQ shape+56(FP), AX
	LDTILECFG
	MOVQ a+16(FP), BX
	MOVQ lda+24(FP), CX
	MOVQ b+32(FP), SI
	MOVQ ldb+40(FP), AX
	ADDQ SI, AX
	MOVQ steps+48(FP), R14
	MOVQ $64, DI
	TILEZERO(0)
	TILEZERO(1)

step:
	TILELOADD(rBX, rCX, 4)
	TILELOADD(rSI, rDI, 6)
	TDPBUSD(6, 4, 0)
	TILELOADD(rAX, rDI, 7)
	TDPBUSD(7, 4, 1)
	ADDQ $64, BX
	ADDQ $1024, SI
	ADDQ $1024, AX
	DECQ R14
	JNZ  step

	MOVQ c+0(FP), BX
	MOVQ ldc+8(FP), CX
	TILESTORED(0, rBX, rCX)
	ADDQ $64, BX
	TILESTORED(1, rBX, rCX)
	TILERELEASE
	RET

// func busyTiles(n int, shape *tileShape)
TEXT ·busyTiles(SB), NOSPLIT, $0-16
	MOVQ shape+8(FP), AX
	LDTILECFG
	MOVQ n+0(FP), R8
	TILEZERO(0)
	TILEZERO(1)
	TILEZERO(2)
	TILEZERO(3)
	TILEZERO(4)
	TILEZERO(5)
	TILEZERO(6)
	TILEZERO(7)

again:
	TDPBUSD(6, 4, 0)
	TDPBUSD(7, 4, 1)
	TDPBUSD(6, 5, 2)
	TDPBUSD(7, 5, 3)
	DECQ R8
	JNZ  again
	TILERELEASE
	RET
