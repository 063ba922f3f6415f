//go:build linux && amd64

// Command amxrun runs a program on a CPU without AMX as if it had tiles: go test -exec amxrun ./retrieval/kernel -args -amx.
//
// It traces the program. Instructions on tiles raise SIGILL there; amxrun does what Intel's Software Developer's Manual (volume 2) says that they do, on tiles of
// its own for each thread, and lets the program go on behind them. It is slow, and knows what the loops of package kernel use: whole 64-bit addresses of base
// and index, palette 1.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: amxrun PROGRAM [ARGUMENT ...]")
		os.Exit(2)
	}
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "amxrun:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

// tracer follows a process, and those that it starts, such as a fuzzer's.
type tracer struct {
	pid     int
	threads map[int]*tiles
	done    int // instructions
}

func run(args []string) (code int, err error) {
	runtime.LockOSThread() // ptrace answers the thread that began alone
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	t := &tracer{pid: cmd.Process.Pid, threads: map[int]*tiles{}}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(t.pid, &status, 0, nil); err != nil {
		return 0, fmt.Errorf("wait for the program's start: %w", err)
	}
	const endWithTracer = 1 << 20
	const all = syscall.PTRACE_O_TRACECLONE | syscall.PTRACE_O_TRACEFORK | syscall.PTRACE_O_TRACEVFORK | syscall.PTRACE_O_TRACEEXEC
	if err := syscall.PtraceSetOptions(t.pid, all|endWithTracer); err != nil {
		return 0, fmt.Errorf("trace its threads: %w", err)
	}
	return t.follow()
}

// follow lets the threads run until the first process ends.
func (t *tracer) follow() (code int, err error) {
	thread, signal := t.pid, 0
	for {
		if err := syscall.PtraceCont(thread, signal); err != nil && err != syscall.ESRCH { // it may just have been killed
			return 0, fmt.Errorf("go on: %w", err)
		}
		var status syscall.WaitStatus
		for {
			if thread, err = syscall.Wait4(-1, &status, syscall.WALL, nil); err != nil {
				return 0, fmt.Errorf("wait: %w", err)
			}
			if status.Stopped() {
				break
			}
			delete(t.threads, thread)
			if thread == t.pid {
				return t.ended(status), nil
			}
		}
		signal = t.stopped(thread, status)
	}
}

func (t *tracer) ended(status syscall.WaitStatus) int {
	fmt.Fprintf(os.Stderr, "amxrun: %d instructions on tiles\n", t.done)
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// stopped returns the signal that a stopped thread is to have.
func (t *tracer) stopped(thread int, status syscall.WaitStatus) int {
	state := t.threads[thread]
	if state == nil {
		state = new(tiles)
		t.threads[thread] = state
		if status.StopSignal() == syscall.SIGSTOP { // how a new thread begins
			return 0
		}
	}
	switch signal := status.StopSignal(); signal {
	case syscall.SIGTRAP:
		return 0
	case syscall.SIGILL:
		if err := t.emulate(thread, state); err != nil {
			fmt.Fprintln(os.Stderr, "amxrun:", err)
			return int(signal)
		}
		t.done++
		return 0
	default:
		return int(signal)
	}
}

// emulate does the instruction that a thread stopped at.
func (t *tracer) emulate(thread int, state *tiles) error {
	var regs syscall.PtraceRegs
	if err := syscall.PtraceGetRegs(thread, &regs); err != nil {
		return err
	}
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", thread), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer memory.Close()
	var code [6]byte
	if _, err := memory.ReadAt(code[:], int64(regs.Rip)); err != nil {
		return err
	}
	n, err := state.step(code, &regs, memory)
	if err != nil {
		return fmt.Errorf("at %#x, % x: %w", regs.Rip, code, err)
	}
	regs.Rip += uint64(n)
	return syscall.PtraceSetRegs(thread, &regs)
}
