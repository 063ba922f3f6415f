package storage

import (
	"os"
	"syscall"
	"unsafe"
)

const (
	mapsFiles = true

	hugePage = 2 << 20 // bytes, where the system has them
)

// mapMemory maps n bytes of memory, and returns the mapping and where in it they begin: at a huge page.
func mapMemory(n int) (whole []byte, from int, err error) {
	whole, err = syscall.Mmap(-1, 0, n+hugePage, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, 0, err
	}
	from = int(-uintptr(unsafe.Pointer(unsafe.SliceData(whole))) & (hugePage - 1))
	_ = syscall.Madvise(whole[from:from+n], syscall.MADV_HUGEPAGE) // a kernel without them has small ones
	return whole, from, nil
}

// mapFile maps a file of n bytes that has no name.
func mapFile(dir string, n int) (_ []byte, err error) {
	f, err := os.CreateTemp(dir, arenaFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return nil, failed("unlink", f.Name(), err)
	}
	for {
		if err = syscall.Fallocate(int(f.Fd()), 0, 0, int64(n)); err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		return nil, failed("reserve", f.Name(), err)
	}
	b, err := syscall.Mmap(int(f.Fd()), 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	return b, failed("map", f.Name(), err)
}

func unmap(b []byte) error { return syscall.Munmap(b) }
