//go:build unix

package main

import (
	"runtime"
	"syscall"
)

// usage is what the operating system counted for this process.
func usage() syscall.Rusage {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // cannot fail for this process
	return r
}

// cpuSeconds returns the processor time of this process so far.
func cpuSeconds() float64 {
	r := usage()
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
}

// peakRSS returns the largest resident memory of this process, in MB.
func peakRSS() float64 {
	unit := 1024.0 // kilobytes, but on Apple's systems bytes
	if runtime.GOOS == "darwin" || runtime.GOOS == "ios" {
		unit = 1
	}
	return float64(usage().Maxrss) * unit / 1e6
}
