//go:build !linux

package storage

import "errors"

func mountSmall(string) error { return errors.ErrUnsupported }

func unmountSmall(string) {}
