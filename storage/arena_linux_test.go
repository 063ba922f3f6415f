package storage

import "syscall"

func mountSmall(dir string) error {
	return syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=5m")
}

func unmountSmall(dir string) { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }
