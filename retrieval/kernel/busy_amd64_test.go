//go:build !noasm

package kernel

// busy is a variant's own multiplication with nothing to wait for, and how many operations on bytes a step of it is.
func busy(s *Set) (f func(n int), ops float64) {
	switch s.name {
	case amx.name:
		return func(n int) { busyTiles(n, &tileShapes[tileRows]) }, 4 * 2 * tileRows * Lanes * tileStep
	case avx512.name:
		return busyVNNI, 12 * 2 * 64
	case avx2.name:
		return busyAVX2, 12 * 2 * 16
	}
	return nil, 0
}
