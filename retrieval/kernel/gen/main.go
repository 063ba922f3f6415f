// Command gen writes the amd64 assembly of package kernel. It is a module of its own, so that the project does not depend
// on the assembler library. Run it by `go generate` in the parent folder; the Go twins say what each function computes.
package main

import . "github.com/mmcloughlin/avo/build"

func main() {
	ConstraintExpr("!noasm")
	gemms()
	widen16()
	scans()
	linears()
	maxsims()
	prefetch()
	busy(gemmShape{name: "busyVNNI", wide: true, dot: dotVNNI8})
	busy(gemmShape{name: "busyAVX2", dot: dotAVX2})
	for _, w := range []width{wide, narrow} {
		dequant(w)
		spread(w)
		bounds(w)
		gelu(w)
		quantize8(w)
		quantize16(w)
		softmax(w)
		addNorm(w)
		normalize(w)
		scores(w)
		unpack(w)
		unpack3(w)
	}
	fold(narrow, "fold", false)
	fold(narrow, "foldBase", true)
	foldPair("foldPair", false)
	foldPair("foldPairBase", true)
	Generate()
}
