//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package storage

import "os"

// lock does nothing here: bbolt takes its own lock when it opens the file.
func lock(*os.File) error { return nil }

func unlock(*os.File) error { return nil }

// syncDir does nothing here: folders cannot be synced.
func syncDir(string) error { return nil }
