//go:build !noasm

#include "textflag.h"
#include "words_arm64.h"
#include "blocks_arm64.h"

// Documents against a query, for arm64: products of blocks of rows whose results stay in registers. Rows read in sequence
// are left to the hardware to fetch; documents that lie anywhere are not.

// LINES fetches from p to end, which is behind it.
#define LINES(again, p, end) \
again: \
	PRFM (p), PLDL1KEEP; \
	ADD  $64, p, p;      \
	CMP  end, p;         \
	BLO  again

// SMALLEST fills V24 to V27 with the smallest integer.
#define SMALLEST \
	VMOVI $128, V24.B16;       \
	VSHL  $24, V24.S4, V24.S4; \
	VMOV  V24.B16, V25.B16;    \
	VMOV  V24.B16, V26.B16;    \
	VMOV  V24.B16, V27.B16

// func scanNEON(sums *int64, rows *byte, spans *int32, n int, step int, stride int, b *byte, ldb int, weights *int32, next int, panels int)
//
// A document's rows meet one panel after the other, four rows at a time; V24 to V27 keep the best of each column. Products
// are of signed codes, so there is no bias to take off.
TEXT ·scanNEON(SB), NOSPLIT, $0-88
	MOVD  sums+0(FP), R0
	MOVD  rows+8(FP), R1
	MOVD  spans+16(FP), R2
	MOVD  n+24(FP), R3
	MOVD  stride+40(FP), R4
	MOVD  ldb+56(FP), R6
	MOVD  next+72(FP), R8
	VMOVI $128, V31.B16

document:
	CBZ  R8, fetched
	ADD  R8, R2, R9
	MOVW (R9), R10
	MOVW 4(R9), R11
	SUBS R10, R11, R11
	BLE  fetched
	MUL  R4, R11, R11
	MOVD $4096, R9 // then the hardware follows
	CMP  R9, R11
	CSEL GT, R9, R11, R11
	MADD R4, R1, R10, R10
	ADD  R10, R11, R11
	AND  $~63, R10, R10
	LINES(line, R10, R11)

fetched:
	MOVW (R2), R11
	MOVW 4(R2), R12
	SUBS R11, R12, R12
	BLE  done
	MADD R4, R1, R11, R11 // the first row
	MOVD b+48(FP), R5
	MOVD weights+64(FP), R7
	MOVD panels+80(FP), R9
	VEOR V30.B16, V30.B16, V30.B16

panel:
	MOVD R11, R10
	MOVD R12, R13
	SMALLEST

block:
	MOVD R5, R15
	LSR  $2, R4, R14
	MOVD R10, R19
	ZERO4(V0, V1, V2, V3)
	CMP  $2, R13
	BLT  single
	ZERO4(V4, V5, V6, V7)
	ZERO4(V8, V9, V10, V11)
	ZERO4(V12, V13, V14, V15)
	ROWS4(R4, R13, R23, R19, R20, R21, R22)
	BLOCK8(four, one, rest, end)
	SMAX(4, 0, 0)
	SMAX(5, 1, 1)
	SMAX(6, 2, 2)
	SMAX(7, 3, 3)
	SMAX(8, 12, 8)
	SMAX(9, 13, 9)
	SMAX(10, 14, 10)
	SMAX(11, 15, 11)
	SMAX(8, 0, 0)
	SMAX(9, 1, 1)
	SMAX(10, 2, 2)
	SMAX(11, 3, 3)
	JMP  best

single:
	ROW8(four1, one1, rest1, end1)

best:
	SMAX(0, 24, 24)
	SMAX(1, 25, 25)
	SMAX(2, 26, 26)
	SMAX(3, 27, 27)
	ADD  R4<<2, R10, R10
	SUBS $4, R13, R13
	BGT  block

	VLD1.P 64(R7), [V16.S4, V17.S4, V18.S4, V19.S4]
	SMLAL(16, 24, 30)
	SMLAL2(16, 24, 30)
	SMLAL(17, 25, 30)
	SMLAL2(17, 25, 30)
	SMLAL(18, 26, 30)
	SMLAL2(18, 26, 30)
	SMLAL(19, 27, 30)
	SMLAL2(19, 27, 30)
	ADD    R6, R5, R5
	SUBS   $1, R9, R9
	BNE    panel
	VADDP  V30.D2, V30.D2, V30.D2
	VMOV   V30.D[0], R13
	MOVD   (R0), R14
	ADD    R14, R13, R13
	MOVD   R13, (R0)

done:
	ADD  $8, R0, R0
	MOVD step+32(FP), R9
	ADD  R9, R2, R2
	SUBS $1, R3, R3
	BNE  document
	RET

// SCORE makes scores of four columns of a row, dots in x: the row's scale << 15 is in V28, the lift in V29. The doubled product's high half is the product
// with the scale, shifted right by 16: exact, and rounded towards minus infinity.
#define SCORE(x) \
	SSHL(29, x, x);    \
	SQDMULH(28, x, x)

// SCALE spreads the scale at an address for SCORE; R23 is lost.
#define SCALE(at) \
	MOVHU at, R23;      \
	LSL   $15, R23, R23; \
	VDUP  R23, V28.S4

// FOLD takes four columns of a row, scores in x, into best and pos; its position is in V30. V20 is lost.
#define FOLD(x, best, pos) \
	CMGT(best, x, 20);              \
	VBIT V20.B16, V30.B16, pos.B16; \
	SMAX(x, best, best)

// TAKE folds a row's products, in the registers from x on, with its scale, beginning from the scores of its cluster where there are such (the base at R24, rows
// of R25 bytes); R8 counts the positions.
#define TAKE(x, a, b, c, d, scale, cluster, plain) \
	VDUP  R8, V30.S4;      \
	ADD   $1, R8, R8;      \
	SCALE(scale);          \
	SCORE(x);              \
	SCORE(x + 1);          \
	SCORE(x + 2);          \
	SCORE(x + 3);          \
	CBZ   R24, plain;      \
	MOVBU cluster, R23;    \
	MADD  R25, R24, R23, R23; \
	VLD1  (R23), [V20.S4, V21.S4, V22.S4, V23.S4]; \
	VADD  V20.S4, a.S4, a.S4; \
	VADD  V21.S4, b.S4, b.S4; \
	VADD  V22.S4, c.S4, c.S4; \
	VADD  V23.S4, d.S4, d.S4; \
plain:                   \
	FOLD(x, 24, V16);      \
	FOLD(x + 1, 25, V17);  \
	FOLD(x + 2, 26, V18);  \
	FOLD(x + 3, 27, V19)

// func maxsimNEON(best *int32, pos *int32, rows *byte, n int, stride int, b *byte, scales *uint16, lift int, first int, fetch *byte, last *byte, rate int, base *int32, ldbase int, clusters *byte)
//
// One panel. A last row that stands for rows that are not there scores no more than itself, so their positions never count.
TEXT ·maxsimNEON(SB), NOSPLIT, $0-120
	MOVD  best+0(FP), R0
	MOVD  pos+8(FP), R1
	MOVD  rows+16(FP), R2
	MOVD  n+24(FP), R3
	MOVD  stride+32(FP), R4
	MOVD  b+40(FP), R5
	MOVD  scales+48(FP), R6
	MOVD  lift+56(FP), R7
	MOVD  first+64(FP), R8
	MOVD  fetch+72(FP), R9
	MOVD  last+80(FP), R10
	MOVD  rate+88(FP), R11
	MOVD  base+96(FP), R24
	MOVD  ldbase+104(FP), R25
	MOVD  clusters+112(FP), R26
	MUL   R4, R11, R11
	LSR   $1, R11, R11 // bytes to fetch during a block of four rows
	MOVD  R9, R12
	VDUP  R7, V29.S4
	MOVD  $1, R7
	VMOVI $128, V31.B16
	VLD1  (R0), [V24.S4, V25.S4, V26.S4, V27.S4]

block:
	ADD  R11, R12, R12
	CMP  R10, R12
	CSEL HI, R10, R12, R12

line:
	CMP  R12, R9
	BHS  fetched
	PRFM (R9), PLDL1KEEP
	ADD  $64, R9, R9
	JMP  line

fetched:
	MOVD R5, R15
	LSR  $2, R4, R14
	MOVD R2, R19
	ZERO4(V0, V1, V2, V3)
	CMP  $2, R3
	BLT  single
	ZERO4(V4, V5, V6, V7)
	ZERO4(V8, V9, V10, V11)
	ZERO4(V12, V13, V14, V15)
	ROWS4(R4, R3, R23, R19, R20, R21, R22)
	BLOCK8(four, one, rest, end)
	LSL   $1, R7, R13
	ROWS4(R13, R3, R23, R6, R20, R21, R22)
	ROWS4(R7, R3, R23, R26, R13, R14, R15)
	VLD1  (R1), [V16.S4, V17.S4, V18.S4, V19.S4]
	TAKE(0, V0, V1, V2, V3, (R6), (R26), plain0)
	TAKE(4, V4, V5, V6, V7, (R20), (R13), plain1)
	TAKE(8, V8, V9, V10, V11, (R21), (R14), plain2)
	TAKE(12, V12, V13, V14, V15, (R22), (R15), plain3)
	VST1  [V16.S4, V17.S4, V18.S4, V19.S4], (R1)
	ADD   $8, R6, R6
	ADD   $4, R26, R26
	ADD   R4<<2, R2, R2
	SUBS  $4, R3, R3
	BGT   block
	VST1  [V24.S4, V25.S4, V26.S4, V27.S4], (R0)
	RET

single:
	ROW8(four1, one1, rest1, end1)
	VLD1 (R1), [V16.S4, V17.S4, V18.S4, V19.S4]
	TAKE(0, V0, V1, V2, V3, (R6), (R26), plain)
	VST1 [V16.S4, V17.S4, V18.S4, V19.S4], (R1)
	VST1 [V24.S4, V25.S4, V26.S4, V27.S4], (R0)
	RET

// func scoresNEON(out *int32, ldo int, c *int32, ldc int, bias *int32, scales *uint16, lift int, rows int)
TEXT ·scoresNEON(SB), NOSPLIT, $0-64
	MOVD out+0(FP), R0
	MOVD ldo+8(FP), R1
	MOVD c+16(FP), R2
	MOVD ldc+24(FP), R3
	MOVD bias+32(FP), R4
	MOVD scales+40(FP), R6
	MOVD lift+48(FP), R7
	MOVD rows+56(FP), R8
	VDUP R7, V29.S4
	VLD1 (R4), [V4.S4, V5.S4, V6.S4, V7.S4]

row:
	VLD1.P (R2)(R3), [V0.S4, V1.S4, V2.S4, V3.S4]
	VSUB   V4.S4, V0.S4, V0.S4
	VSUB   V5.S4, V1.S4, V1.S4
	VSUB   V6.S4, V2.S4, V2.S4
	VSUB   V7.S4, V3.S4, V3.S4
	SCALE((R6))
	ADD    $2, R6, R6
	SCORE(0)
	SCORE(1)
	SCORE(2)
	SCORE(3)
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], (R0)(R1)
	SUBS   $1, R8, R8
	BNE    row
	RET
