// What the products of bytes, the scan and MaxSim for arm64 share: blocks of four rows against one panel of 16 columns.

// ROWS4 sets p0 to p3 to four addresses from p0 on, ld apart, of which only the first left are real: the last of these
// stands for the others, so that a short block is worked on like a whole one and its last row several times.
#define ROWS4(ld, left, t, p0, p1, p2, p3) \
	CMP  $2, left;        \
	CSEL GE, ld, ZR, t;   \
	ADD  t, p0, p1;       \
	CMP  $3, left;        \
	CSEL GE, ld, ZR, t;   \
	ADD  t, p1, p2;       \
	CMP  $4, left;        \
	CSEL GE, ld, ZR, t;   \
	ADD  t, p2, p3

// DOT4 adds group i of a row's bytes times 16 columns, in V16 to V19, to the four registers from acc on.
#define DOT4(i, row, acc) \
	SDOTLANE(i, row, 16, acc);     \
	SDOTLANE(i, row, 17, acc + 1); \
	SDOTLANE(i, row, 18, acc + 2); \
	SDOTLANE(i, row, 19, acc + 3)

#define PANEL8 VLD1.P 64(R15), [V16.B16, V17.B16, V18.B16, V19.B16]

#define STEP8(i) \
	PANEL8;          \
	DOT4(i, 20, 0);  \
	DOT4(i, 21, 4);  \
	DOT4(i, 22, 8);  \
	DOT4(i, 23, 12)

// SIGNED4 makes signed codes of bytes, which are 128 more: V31 is 128 everywhere.
#define SIGNED4 \
	VEOR V31.B16, V20.B16, V20.B16; \
	VEOR V31.B16, V21.B16, V21.B16; \
	VEOR V31.B16, V22.B16, V22.B16; \
	VEOR V31.B16, V23.B16, V23.B16

// BLOCK8 adds the products of four rows at R19 to R22, of R14 groups of 4 bytes, and the panel at R15 to V0 to V15.
#define BLOCK8(four, one, rest, end) \
	SUBS $4, R14, R14;              \
	BLT  rest;                      \
four:                              \
	VLD1.P 16(R19), [V20.B16];      \
	VLD1.P 16(R20), [V21.B16];      \
	VLD1.P 16(R21), [V22.B16];      \
	VLD1.P 16(R22), [V23.B16];      \
	SIGNED4;                        \
	STEP8(0);                       \
	STEP8(1);                       \
	STEP8(2);                       \
	STEP8(3);                       \
	SUBS $4, R14, R14;              \
	BGE  four;                      \
rest:                              \
	ADDS $4, R14, R14;              \
	BEQ  end;                       \
one:                               \
	FMOVS.P 4(R19), F20;            \
	FMOVS.P 4(R20), F21;            \
	FMOVS.P 4(R21), F22;            \
	FMOVS.P 4(R22), F23;            \
	SIGNED4;                        \
	STEP8(0);                       \
	SUBS $1, R14, R14;              \
	BNE  one;                       \
end:

// ROW8 is BLOCK8 for a single row at R19, into V0 to V3.
#define ROW8(four, one, rest, end) \
	SUBS $4, R14, R14;              \
	BLT  rest;                      \
four:                              \
	VLD1.P 16(R19), [V20.B16];      \
	VEOR V31.B16, V20.B16, V20.B16; \
	PANEL8;                         \
	DOT4(0, 20, 0);                 \
	PANEL8;                         \
	DOT4(1, 20, 0);                 \
	PANEL8;                         \
	DOT4(2, 20, 0);                 \
	PANEL8;                         \
	DOT4(3, 20, 0);                 \
	SUBS $4, R14, R14;              \
	BGE  four;                      \
rest:                              \
	ADDS $4, R14, R14;              \
	BEQ  end;                       \
one:                               \
	FMOVS.P 4(R19), F20;            \
	VEOR V31.B16, V20.B16, V20.B16; \
	PANEL8;                         \
	DOT4(0, 20, 0);                 \
	SUBS $1, R14, R14;              \
	BNE  one;                       \
end:

#define FROM24(a, b, c, d) \
	VMOV V24.B16, a.B16; \
	VMOV V25.B16, b.B16; \
	VMOV V26.B16, c.B16; \
	VMOV V27.B16, d.B16
