//go:build !noasm

#include "textflag.h"
#include "words_arm64.h"
#include "blocks_arm64.h"

// For arm64, the products of a block of rows and one panel of 16 columns, and what goes before: unpacking and fetching.

// func gemm8NEON(c *int32, ldc int, a *byte, lda int, b *byte, ldb int, k int, m int)
//
// SDOT wants both sides signed, so the rows lose 128, and every sum starts from 128 times the sum of its column.
TEXT ·gemm8NEON(SB), NOSPLIT, $0-64
	MOVD  c+0(FP), R0
	MOVD  ldc+8(FP), R1
	MOVD  a+16(FP), R2
	MOVD  lda+24(FP), R3
	MOVD  b+32(FP), R4
	MOVD  k+48(FP), R5
	MOVD  m+56(FP), R6
	VMOVI $128, V31.B16
	VMOVI $1, V30.B16
	ZERO4(V24, V25, V26, V27)
	MOVD  R4, R15
	MOVD  R5, R14

columns:
	PANEL8
	SDOT(30, 16, 24)
	SDOT(30, 17, 25)
	SDOT(30, 18, 26)
	SDOT(30, 19, 27)
	SUBS $1, R14, R14
	BNE  columns
	VSHL $7, V24.S4, V24.S4
	VSHL $7, V25.S4, V25.S4
	VSHL $7, V26.S4, V26.S4
	VSHL $7, V27.S4, V27.S4

block:
	MOVD R4, R15
	MOVD R5, R14
	MOVD R2, R19
	CMP  $2, R6
	BLT  single
	FROM24(V0, V1, V2, V3)
	FROM24(V4, V5, V6, V7)
	FROM24(V8, V9, V10, V11)
	FROM24(V12, V13, V14, V15)
	ROWS4(R3, R6, R7, R19, R20, R21, R22)
	BLOCK8(four, one, rest, end)
	ROWS4(R1, R6, R7, R0, R9, R10, R11)
	VST1 [V0.S4, V1.S4, V2.S4, V3.S4], (R0)
	VST1 [V4.S4, V5.S4, V6.S4, V7.S4], (R9)
	VST1 [V8.S4, V9.S4, V10.S4, V11.S4], (R10)
	VST1 [V12.S4, V13.S4, V14.S4, V15.S4], (R11)
	ADD  R1<<2, R0, R0
	ADD  R3<<2, R2, R2
	SUBS $4, R6, R6
	BGT  block
	RET

single:
	CBZ R6, done
	FROM24(V0, V1, V2, V3)
	ROW8(four1, one1, rest1, end1)
	VST1 [V0.S4, V1.S4, V2.S4, V3.S4], (R0)

done:
	RET

// PAIR16 adds two 16-bit integers of a row, lanes i and i + 1, times 16 columns to the four registers from acc on.
#define PAIR16(i, row, acc) \
	SMLALLANE(i, row, 20, acc);              \
	SMLAL2LANE(i, row, 20, acc + 1);         \
	SMLALLANE(i, row, 22, acc + 2);          \
	SMLAL2LANE(i, row, 22, acc + 3);         \
	SMLALLANE((i) + 1, row, 21, acc);        \
	SMLAL2LANE((i) + 1, row, 21, acc + 1);   \
	SMLALLANE((i) + 1, row, 23, acc + 2);    \
	SMLAL2LANE((i) + 1, row, 23, acc + 3)

// STEP16 takes a pair of 16 columns apart, the first of every pair in V20 and V22, the second in V21 and V23.
#define STEP16(i) \
	VLD2.P 32(R15), [V20.H8, V21.H8]; \
	VLD2.P 32(R15), [V22.H8, V23.H8]; \
	PAIR16(i, 0, 4);                  \
	PAIR16(i, 1, 8);                  \
	PAIR16(i, 2, 12);                 \
	PAIR16(i, 3, 16)

// func gemm16NEON(c *int32, ldc int, a *byte, lda int, b *byte, ldb int, k int, m int)
TEXT ·gemm16NEON(SB), NOSPLIT, $0-64
	MOVD c+0(FP), R0
	MOVD ldc+8(FP), R1
	MOVD a+16(FP), R2
	MOVD lda+24(FP), R3
	MOVD b+32(FP), R4
	MOVD k+48(FP), R5
	MOVD m+56(FP), R6
	CBZ  R6, done

block:
	MOVD R4, R15
	MOVD R5, R14
	MOVD R2, R19
	ROWS4(R3, R6, R7, R19, R20, R21, R22)
	ZERO4(V4, V5, V6, V7)
	ZERO4(V8, V9, V10, V11)
	ZERO4(V12, V13, V14, V15)
	ZERO4(V16, V17, V18, V19)
	SUBS $4, R14, R14
	BLT  rest

four:
	VLD1.P 16(R19), [V0.B16]
	VLD1.P 16(R20), [V1.B16]
	VLD1.P 16(R21), [V2.B16]
	VLD1.P 16(R22), [V3.B16]
	STEP16(0)
	STEP16(2)
	STEP16(4)
	STEP16(6)
	SUBS   $4, R14, R14
	BGE    four

rest:
	ADDS $4, R14, R14
	BEQ  end

one:
	FMOVS.P 4(R19), F0
	FMOVS.P 4(R20), F1
	FMOVS.P 4(R21), F2
	FMOVS.P 4(R22), F3
	STEP16(0)
	SUBS    $1, R14, R14
	BNE     one

end:
	ROWS4(R1, R6, R7, R0, R9, R10, R11)
	VST1 [V4.S4, V5.S4, V6.S4, V7.S4], (R0)
	VST1 [V8.S4, V9.S4, V10.S4, V11.S4], (R9)
	VST1 [V12.S4, V13.S4, V14.S4, V15.S4], (R10)
	VST1 [V16.S4, V17.S4, V18.S4, V19.S4], (R11)
	ADD  R1<<2, R0, R0
	ADD  R3<<2, R2, R2
	SUBS $4, R6, R6
	BGT  block

done:
	RET

// PLANE picks the table's bytes for the low bits of V0 into V1 and moves the next bits down; NEXT goes to the plane after.
#define PLANE \
	VAND V29.B16, V0.B16, V1.B16;   \
	VTBL V1.B16, [V31.B16], V1.B16; \
	USHL(30, 0, 0)

#define NEXT(again) \
	ADD  R3, R9, R9;   \
	SUBS $1, R10, R10; \
	BNE  again

// func unpackNEON(dst *byte, src *byte, table *byte, plane int, bits int, rows int)
//
// A row goes in pieces of 16 bytes, or of 8 or 1 where it is shorter; the last of the larger ones overlaps the one before it.
TEXT ·unpackNEON(SB), NOSPLIT, $0-48
	MOVD  dst+0(FP), R0
	MOVD  src+8(FP), R1
	MOVD  table+16(FP), R2
	MOVD  plane+24(FP), R3
	MOVD  bits+32(FP), R4
	MOVD  rows+40(FP), R5
	VLD1  (R2), [V31.B16]
	NEG   R4, R6
	VDUP  R6, V30.B16 // shifts to the right
	MOVD  $1, R6
	LSL   R4, R6, R6
	SUB   $1, R6, R6
	VDUP  R6, V29.B16 // the mask
	MOVD  $8, R7
	UDIV  R4, R7, R7  // planes

row:
	MOVD ZR, R8 // place in the plane
	CMP  $16, R3
	BLT  short

sixteen:
	SUB  $16, R3, R9
	CMP  R9, R8
	CSEL GT, R9, R8, R8
	ADD  R1, R8, R9
	VLD1 (R9), [V0.B16]
	ADD  R0, R8, R9
	MOVD R7, R10

next16:
	PLANE
	VST1 [V1.B16], (R9)
	NEXT(next16)
	ADD  $16, R8, R8
	CMP  R3, R8
	BLT  sixteen
	JMP  rowEnd

short:
	CMP $8, R3
	BLT byte

eight:
	SUB  $8, R3, R9
	CMP  R9, R8
	CSEL GT, R9, R8, R8
	FMOVD (R1)(R8), F0
	ADD  R0, R8, R9
	MOVD R7, R10

next8:
	PLANE
	FMOVD F1, (R9)
	NEXT(next8)
	ADD  $8, R8, R8
	CMP  R3, R8
	BLT  eight
	JMP  rowEnd

byte:
	MOVBU (R1)(R8), R9
	VMOV  R9, V0.B[0]
	ADD   R0, R8, R9
	MOVD  R7, R10

next1:
	PLANE
	VST1 V1.B[0], (R9)
	NEXT(next1)
	ADD   $1, R8, R8
	CMP   R3, R8
	BLT   byte

rowEnd:
	ADD  R3, R1, R1
	MUL  R3, R7, R9
	ADD  R9, R0, R0
	SUBS $1, R5, R5
	BNE  row
	RET

// LOOK stores what stands for two blocks of codes, both in a byte of v, at R9 and R10; what is a register or its first byte.
#define LOOK(v, what) \
	VAND   V27.B16, v.B16, V4.B16;     \
	VTBL   V4.B16, [V31.B16], V4.B16;  \
	VST1.P what, (R9)(R3);             \
	VUSHR  $4, v.B16, V4.B16;          \
	VTBL   V4.B16, [V31.B16], V4.B16;  \
	VST1.P what, (R10)(R3)

// CODES sets V3 to the low bits, in lo, and the high bits, in hi, that are where they shall be.
#define CODES(lo, hi) \
	VAND V29.B16, lo.B16, V3.B16; \
	VBIT V28.B16, hi.B16, V3.B16

// STEP3 unpacks a step of all eight blocks: the low bits of the even ones and of the odd ones, and the high bits.
#define STEP3(even, odd, high, what) \
	ADD    R1, R8, R11;             \
	ADD    R0, R8, R9;              \
	ADD    R3<<2, R9, R10;          \
	VLD1.P (R11)(R3), even;         \
	VLD1.P (R11)(R3), odd;          \
	VLD1   (R11), high;             \
	VSHL   $2, V2.B16, V5.B16;      \
	CODES(V0, V5);                  \
	LOOK(V3, what);                 \
	VSHL   $1, V2.B16, V5.B16;      \
	CODES(V1, V5);                  \
	LOOK(V3, what);                 \
	VUSHR  $2, V0.B16, V0.B16;      \
	CODES(V0, V2);                  \
	LOOK(V3, what);                 \
	VUSHR  $2, V1.B16, V1.B16;      \
	VUSHR  $1, V2.B16, V5.B16;      \
	CODES(V1, V5);                  \
	LOOK(V3, what)

// func unpack3NEON(dst *byte, src *byte, table *byte, plane int, rows int)
//
// A byte of codes holds two, of blocks 4 apart: low bits at 0 and 4, the high bit behind them. Pieces are those of unpackNEON.
TEXT ·unpack3NEON(SB), NOSPLIT, $0-40
	MOVD  dst+0(FP), R0
	MOVD  src+8(FP), R1
	MOVD  table+16(FP), R2
	MOVD  plane+24(FP), R3
	MOVD  rows+32(FP), R5
	VLD1  (R2), [V31.B16]
	VMOVI $0x33, V29.B16
	VMOVI $0x44, V28.B16
	VMOVI $0x0f, V27.B16

row:
	MOVD ZR, R8 // place in the plane
	CMP  $16, R3
	BLT  short

sixteen:
	SUB  $16, R3, R9
	CMP  R9, R8
	CSEL GT, R9, R8, R8
	STEP3([V0.B16], [V1.B16], [V2.B16], [V4.B16])
	ADD  $16, R8, R8
	CMP  R3, R8
	BLT  sixteen
	JMP  rowEnd

short:
	CMP $8, R3
	BLT byte

eight:
	SUB  $8, R3, R9
	CMP  R9, R8
	CSEL GT, R9, R8, R8
	STEP3([V0.B8], [V1.B8], [V2.B8], [V4.B8])
	ADD  $8, R8, R8
	CMP  R3, R8
	BLT  eight
	JMP  rowEnd

byte:
	STEP3(V0.B[0], V1.B[0], V2.B[0], V4.B[0])
	ADD  $1, R8, R8
	CMP  R3, R8
	BLT  byte

rowEnd:
	ADD  R3<<1, R3, R9
	ADD  R9, R1, R1
	ADD  R3<<3, R0, R0
	SUBS $1, R5, R5
	BNE  row
	RET

// func prefetchNEON(p *byte, n int)
TEXT ·prefetchNEON(SB), NOSPLIT, $0-16
	MOVD p+0(FP), R0
	MOVD n+8(FP), R1
	ADD  R0, R1, R1
	AND  $~63, R0, R0

line:
	PRFM (R0), PLDL1KEEP
	ADD  $64, R0, R0
	CMP  R1, R0
	BLO  line
	RET
