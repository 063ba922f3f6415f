//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package storage

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// lock takes the lock that bbolt takes again for the same open file, so that a file can be verified before bbolt maps it.
func lock(f *os.File) error {
	for wait := time.Duration(0); ; wait += lockEvery {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil || !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		if wait >= lockWait {
			return errLocked
		}
		time.Sleep(lockEvery)
	}
}

// unlock gives the lock back before closing: a mapping that bbolt could not undo would keep it.
func unlock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }

// syncDir makes a rename in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
