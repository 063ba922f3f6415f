//go:build unix

package local

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// apart gives the process a group of its own: Ctrl-C at a terminal reaches us alone, and we end the processes in order.
func apart(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// terminate asks for an orderly end, also of a process that is paused.
func terminate(r *run) error {
	return errors.Join(r.cmd.Process.Signal(syscall.SIGTERM), r.cmd.Process.Signal(syscall.SIGCONT))
}

func pause(p *os.Process) error  { return p.Signal(syscall.SIGSTOP) }
func resume(p *os.Process) error { return p.Signal(syscall.SIGCONT) }
