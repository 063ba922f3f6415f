// Package encodertest holds a random encoder of two layers for tests: hidden width 64, 2 heads, 256 positions, 896 pieces,
// in the format of docs/weights.md. Its vectors mean nothing, but they are cheap, and those of some 40 texts are known from
// another implementation: texts.jsonl and vectors.npy beside this file, made by make.py with transformers in fp32.
package encodertest

import _ "embed"

//go:embed small-f32.ostraca
var float32Weights []byte

//go:embed small-i8.ostraca
var int8Weights []byte

// Float32 returns the weights file whose matrices are float32. Nobody may write to it.
func Float32() []byte { return float32Weights }

// Int8 returns the same encoder's weights file with int8 matrices and word embeddings. Nobody may write to it.
func Int8() []byte { return int8Weights }
