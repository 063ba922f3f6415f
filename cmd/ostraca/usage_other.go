//go:build !unix

package main

// cpuSeconds is not known here; results say 0.
func cpuSeconds() float64 { return 0 }

// peakRSS is not known here; results say 0.
func peakRSS() float64 { return 0 }
