// Instructions that Go's assembler has no name for, as words ("Arm Architecture Reference Manual", A64 SIMD; SDOT is the
// dot-product extension, the rest is in every 64-bit Arm CPU). The order of operands is Go's, the destination last, and
// registers are plain numbers. R18 and R27 to R30 are the system's or Go's, so the loops live in R0 to R15 and R19 to R26.

#define SDOT(m, n, d) WORD $(0x4e809400 | (m)<<16 | (n)<<5 | (d)) // SDOT Vd.4S, Vn.16B, Vm.16B
#define SDOTLANE(i, m, n, d) WORD $(0x4f80e000 | ((i)&1)<<21 | (m)<<16 | ((i)>>1)<<11 | (n)<<5 | (d)) // SDOT Vd.4S, Vn.16B, Vm.4B[i]
#define SMLALLANE(i, m, n, d) WORD $(0x0f402000 | ((i)&3)<<20 | (m)<<16 | ((i)>>2)<<11 | (n)<<5 | (d)) // SMLAL Vd.4S, Vn.4H, Vm.H[i], m < 16
#define SMLAL2LANE(i, m, n, d) WORD $(0x4f402000 | ((i)&3)<<20 | (m)<<16 | ((i)>>2)<<11 | (n)<<5 | (d)) // SMLAL2 Vd.4S, Vn.8H, Vm.H[i], m < 16
#define SMLAL(m, n, d) WORD $(0x0ea08000 | (m)<<16 | (n)<<5 | (d)) // SMLAL Vd.2D, Vn.2S, Vm.2S
#define SMLAL2(m, n, d) WORD $(0x4ea08000 | (m)<<16 | (n)<<5 | (d)) // SMLAL2 Vd.2D, Vn.4S, Vm.4S
#define SQDMULH(m, n, d) WORD $(0x4ea0b400 | (m)<<16 | (n)<<5 | (d)) // SQDMULH Vd.4S, Vn.4S, Vm.4S
#define CMGT(m, n, d) WORD $(0x4ea03400 | (m)<<16 | (n)<<5 | (d)) // CMGT Vd.4S, Vn.4S, Vm.4S: n > m
#define SMAX(m, n, d) WORD $(0x4ea06400 | (m)<<16 | (n)<<5 | (d)) // SMAX Vd.4S, Vn.4S, Vm.4S
#define SSHL(m, n, d) WORD $(0x4ea04400 | (m)<<16 | (n)<<5 | (d)) // SSHL Vd.4S, Vn.4S, Vm.4S
#define USHL(m, n, d) WORD $(0x6e204400 | (m)<<16 | (n)<<5 | (d)) // USHL Vd.16B, Vn.16B, Vm.16B: to the right where m < 0

#define FADD(m, n, d) WORD $(0x4e20d400 | (m)<<16 | (n)<<5 | (d)) // FADD Vd.4S, Vn.4S, Vm.4S
#define FSUB(m, n, d) WORD $(0x4ea0d400 | (m)<<16 | (n)<<5 | (d)) // FSUB Vd.4S, Vn.4S, Vm.4S: n - m
#define FMUL(m, n, d) WORD $(0x6e20dc00 | (m)<<16 | (n)<<5 | (d)) // FMUL Vd.4S, Vn.4S, Vm.4S
#define FMAX(m, n, d) WORD $(0x4e20f400 | (m)<<16 | (n)<<5 | (d)) // FMAX Vd.4S, Vn.4S, Vm.4S
#define FMIN(m, n, d) WORD $(0x4ea0f400 | (m)<<16 | (n)<<5 | (d)) // FMIN Vd.4S, Vn.4S, Vm.4S
#define FMAXV(n, d) WORD $(0x6e30f800 | (n)<<5 | (d)) // FMAXV Sd, Vn.4S
#define FMINV(n, d) WORD $(0x6eb0f800 | (n)<<5 | (d)) // FMINV Sd, Vn.4S
#define SCVTF(n, d) WORD $(0x4e21d800 | (n)<<5 | (d)) // SCVTF Vd.4S, Vn.4S
#define FCVTNS(n, d) WORD $(0x4e21a800 | (n)<<5 | (d)) // FCVTNS Vd.4S, Vn.4S: to the nearest, halves to even
#define VMUL(m, n, d) WORD $(0x4ea09c00 | (m)<<16 | (n)<<5 | (d)) // MUL Vd.4S, Vn.4S, Vm.4S
#define SMAXV(n, d) WORD $(0x4eb0a800 | (n)<<5 | (d)) // SMAXV Sd, Vn.4S
#define SQXTN(n, d) WORD $(0x0e614800 | (n)<<5 | (d)) // SQXTN Vd.4H, Vn.4S
#define SQXTN2(n, d) WORD $(0x4e614800 | (n)<<5 | (d)) // SQXTN2 Vd.8H, Vn.4S
#define SQXTUN(n, d) WORD $(0x2e212800 | (n)<<5 | (d)) // SQXTUN Vd.8B, Vn.8H
#define SQXTUN2(n, d) WORD $(0x6e212800 | (n)<<5 | (d)) // SQXTUN2 Vd.16B, Vn.8H

#define ZERO4(a, b, c, d) \
	VEOR a.B16, a.B16, a.B16; \
	VEOR b.B16, b.B16, b.B16; \
	VEOR c.B16, c.B16, c.B16; \
	VEOR d.B16, d.B16, d.B16

// A step is 16 lanes, four registers: below, its operand is the first of four registers; a name with S takes one register for all four as m.
#define ADDS4(m, n, d) FADD(m, n, d); FADD(m, n + 1, d + 1); FADD(m, n + 2, d + 2); FADD(m, n + 3, d + 3)
#define SUBS4(m, n, d) FSUB(m, n, d); FSUB(m, n + 1, d + 1); FSUB(m, n + 2, d + 2); FSUB(m, n + 3, d + 3)
#define MULS4(m, n, d) FMUL(m, n, d); FMUL(m, n + 1, d + 1); FMUL(m, n + 2, d + 2); FMUL(m, n + 3, d + 3)
#define MAXS4(m, n, d) FMAX(m, n, d); FMAX(m, n + 1, d + 1); FMAX(m, n + 2, d + 2); FMAX(m, n + 3, d + 3)
#define MINS4(m, n, d) FMIN(m, n, d); FMIN(m, n + 1, d + 1); FMIN(m, n + 2, d + 2); FMIN(m, n + 3, d + 3)
#define ADD4(m, n, d) FADD(m, n, d); FADD(m + 1, n + 1, d + 1); FADD(m + 2, n + 2, d + 2); FADD(m + 3, n + 3, d + 3)
#define SUB4(m, n, d) FSUB(m, n, d); FSUB(m + 1, n + 1, d + 1); FSUB(m + 2, n + 2, d + 2); FSUB(m + 3, n + 3, d + 3)
#define MUL4(m, n, d) FMUL(m, n, d); FMUL(m + 1, n + 1, d + 1); FMUL(m + 2, n + 2, d + 2); FMUL(m + 3, n + 3, d + 3)
#define SCVTF4(n, d) SCVTF(n, d); SCVTF(n + 1, d + 1); SCVTF(n + 2, d + 2); SCVTF(n + 3, d + 3)
#define FCVTNS4(n, d) FCVTNS(n, d); FCVTNS(n + 1, d + 1); FCVTNS(n + 2, d + 2); FCVTNS(n + 3, d + 3)
#define VSUBS4(m, a, b, c, d) VSUB m.S4, a.S4, a.S4; VSUB m.S4, b.S4, b.S4; VSUB m.S4, c.S4, c.S4; VSUB m.S4, d.S4, d.S4
#define VADDS4(m, a, b, c, d) VADD m.S4, a.S4, a.S4; VADD m.S4, b.S4, b.S4; VADD m.S4, c.S4, c.S4; VADD m.S4, d.S4, d.S4

#define AT0 [V0.S4, V1.S4, V2.S4, V3.S4]
#define AT4 [V4.S4, V5.S4, V6.S4, V7.S4]

// NARROW packs a step of integers in V0 to V3 into 16 16-bit ones in V4 and V5, saturated.
#define NARROW \
	SQXTN(0, 4);  \
	SQXTN2(1, 4); \
	SQXTN(2, 5);  \
	SQXTN2(3, 5)

// START fills four registers with one.
#define START(from, a, b, c, d) \
	VMOV from.B16, a.B16; \
	VMOV from.B16, b.B16; \
	VMOV from.B16, c.B16; \
	VMOV from.B16, d.B16
