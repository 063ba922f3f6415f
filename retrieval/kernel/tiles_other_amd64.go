//go:build !noasm && !linux

package kernel

// tilesGranted is false: that is known of Linux alone.
func tilesGranted() bool { return false }
