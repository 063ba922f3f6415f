// Package kernel is the hot loops, over plain slices: integer matrix products, MaxSim, the scan over small documents,
// unpacking of packed codes, and the encoder's element-wise steps. Each loop is a Go twin, which is the truth, and
// assembly that gives the same bits: for amd64 AVX2, and AVX-512 with VNNI, written by the program in gen, and AMX's products
// on top of these, by hand; for arm64 NEON with the dot product of bytes, by hand. A [Set] is one variant of all loops; [Best] is chosen once, and nothing
// else in the project asks what the CPU can do.
//
// Integers are exact in any order. Floats go in a fixed order over 16 virtual lanes, with no fused multiply-add: every
// product in the twins is wrapped in float32(...), which forbids the compiler to fuse it (Go specification, "Floating-point
// operators"), and the assembly has no FMA instruction. See docs/encoder.md and docs/score.md.
package kernel
