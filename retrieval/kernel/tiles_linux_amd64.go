//go:build !noasm

package kernel

import "syscall"

// tilesGranted asks Linux for the state of tiles, which it keeps for those threads alone that use it, and only if asked: once, for the whole process
// (Documentation/arch/x86/xstate.rst in its sources).
func tilesGranted() bool {
	const requestPermission, tileData = 0x1023, 18
	_, _, errno := syscall.RawSyscall(syscall.SYS_ARCH_PRCTL, requestPermission, tileData, 0)
	return errno == 0
}
