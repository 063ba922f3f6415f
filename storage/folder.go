package storage

import (
	"errors"
	"os"
	"path/filepath"
)

// LockDir takes a folder for this process, until the file is closed. The error says so if another process holds it.
func LockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, failed("lock", path, err)
	}
	if err := lock(f); err != nil {
		return nil, errors.Join(failed("lock", path, err), f.Close())
	}
	return f, nil
}

// ReplaceFile puts a small file in the place of another: after a crash there is the old one or the new one, whole.
func ReplaceFile(path string, data []byte) error {
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return failed("write", part, err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = rename(part, path, Options{})
	}
	return failed("write", path, err)
}
