//go:build !unix

package local

import (
	"errors"
	"os"
	"os/exec"
)

func apart(*exec.Cmd) {}

// terminate asks for an orderly end by the end of the process's input, for there is no SIGTERM here.
func terminate(r *run) error { return r.stdin.Close() }

func pause(*os.Process) error  { return errors.ErrUnsupported }
func resume(*os.Process) error { return errors.ErrUnsupported }
