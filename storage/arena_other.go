//go:build !linux

package storage

import "errors"

const mapsFiles = false

// mapMemory maps nothing here: blocks are Go's own memory.
func mapMemory(int) ([]byte, int, error) { return nil, 0, errors.ErrUnsupported }

func mapFile(string, int) ([]byte, error) { return nil, errors.ErrUnsupported }

func unmap([]byte) error { return nil }
