// Package bge holds the default encoder's weights, about 35 MB that go into every binary which imports it. Only cmd and this
// package's own tests import it; everything else receives an encoder, in tests the one of encodertest.
package bge

import (
	_ "embed"
	"unsafe"
)

//go:embed bge-small-en-v1.5.ostraca
var weights string

// Weights returns the weights file of BAAI/bge-small-en-v1.5 (docs/weights.md), an English BERT of 12 layers, 384 wide, under
// the MIT licence (NOTICE), made by make.py from the fp32 model: matrices and word embeddings int8 with a float32 scale a row,
// positions, biases and norms float32, query weights 16 bits. The bytes lie in the binary's read-only pages, at no particular
// alignment: writing to them ends the program.
func Weights() []byte { return unsafe.Slice(unsafe.StringData(weights), len(weights)) }

//go:embed bge-small-en-v1.5.projection
var projection string

// Projection returns the projection of these vectors to fewer dimensions (docs/projection.md, encoder.ParseProjection): all 384 principal
// directions, best first, to be cut to the width that is wanted. It was fitted on other text than we evaluate on (NOTICE) by TestProjectionIsMade.
func Projection() []byte { return []byte(projection) }
