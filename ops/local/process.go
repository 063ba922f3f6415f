package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// How patient a cluster is with its processes.
const (
	readyPatience = 60 * time.Second // from the start until all are ready
	stopPatience  = 10 * time.Second // from SIGTERM to SIGKILL
	killPatience  = 10 * time.Second // from SIGKILL on
	askEvery      = 20 * time.Millisecond
	askPatience   = time.Second // one question whether a process is ready
	tailBytes     = 2 << 10     // of a log, in errors
)

// Addresses are where a process listens, host:port each: the cluster's port, HTTP and, of a router, gRPC.
type Addresses struct {
	Listen string `json:"listen"`
	HTTP   string `json:"http"`
	GRPC   string `json:"grpc"`
}

// process is a node or the router over all its runs.
type process struct {
	id                  string
	args                func(*process) []string
	dir, log, addresses string
	run                 *run // the last one, nil before the first; the cluster's lock
}

// run is one start of a process.
type run struct {
	cmd   *exec.Cmd
	stdin io.Closer     // the process ends when it is closed: with us, whatever ends us
	done  chan struct{} // closed when it has ended
	err   error         // of the wait for it, once done
	at    Addresses     // once told; the cluster's lock
}

func newProcess(dir, id string, args func(*process) []string) *process {
	path := filepath.Join(dir, id)
	return &process{id: id, args: args, dir: path, log: path + ".log", addresses: path + ".addresses"}
}

// running reports whether a run was begun and has not ended.
func (r *run) running() bool {
	if r == nil {
		return false
	}
	select {
	case <-r.done:
		return false
	default:
		return true
	}
}

func (p *process) start(binary string, args []string) (*run, error) {
	if err := os.Remove(p.addresses); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("start %s: %w", p.id, err)
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.id, err)
	}
	defer log.Close() // the process has its own
	r := &run{cmd: exec.Command(binary, args...), done: make(chan struct{})}
	r.cmd.Stdout, r.cmd.Stderr = log, log
	apart(r.cmd)
	if r.stdin, err = r.cmd.StdinPipe(); err == nil {
		err = r.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w: %w", p.id, ErrProcess, err)
	}
	go func() {
		r.err = r.cmd.Wait()
		close(r.done)
	}()
	return r, nil
}

// await asks until the answer is yes. It fails where the process or the time ends first, and says so with the last answer and the end of the log.
func (p *process) await(ctx context.Context, r *run, what string, yes func() error) error {
	for {
		err := yes()
		if err == nil {
			return nil
		}
		select {
		case <-r.done:
			return fmt.Errorf("%s ended before it was %s (%v): %w%s", p.id, what, r.err, ErrProcess, p.tail())
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return fmt.Errorf("%s was not %s in time (%w): %w%s", p.id, what, err, ErrProcess, p.tail())
		case <-time.After(askEvery):
		}
	}
}

func (p *process) listening(ctx context.Context, r *run) (at Addresses, err error) {
	err = p.await(ctx, r, "listening", func() error {
		b, err := os.ReadFile(p.addresses)
		if err != nil {
			return err
		}
		return json.Unmarshal(b, &at)
	})
	return at, err
}

func (p *process) ready(ctx context.Context, r *run) error {
	client := http.Client{Timeout: askPatience}
	defer client.CloseIdleConnections()
	return p.await(ctx, r, "ready", func() error {
		answer, err := client.Get("http://" + r.at.HTTP + "/readyz")
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(io.LimitReader(answer.Body, tailBytes))
		if err == nil && answer.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s", answer.Status, bytes.TrimSpace(body))
		}
		return err
	})
}

// tail returns the end of the log, from the start of a line, for a message.
func (p *process) tail() string {
	f, err := os.Open(p.log)
	if err != nil {
		return ""
	}
	defer f.Close()
	if size, err := f.Seek(0, io.SeekEnd); err == nil {
		_, _ = f.Seek(max(0, size-tailBytes), io.SeekStart) // else all of it is read
	}
	b, err := io.ReadAll(f)
	if err != nil || len(bytes.TrimSpace(b)) == 0 {
		return ""
	}
	if _, rest, ok := bytes.Cut(b, []byte("\n")); ok && len(b) == tailBytes {
		b = rest
	}
	return fmt.Sprintf("; its log, %s, ends:\n%s", p.log, bytes.TrimSpace(b))
}

func (p *process) kill(r *run) error {
	if !r.running() {
		return nil
	}
	if err := r.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.id, err)
	}
	if !r.wait(killPatience) {
		return fmt.Errorf("%s has not ended %v after SIGKILL: %w", p.id, killPatience, ErrProcess)
	}
	return nil
}

func (p *process) stop(r *run) error {
	if !r.running() {
		return nil
	}
	if err := terminate(r); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return errors.Join(fmt.Errorf("stop %s: %w", p.id, err), p.kill(r))
	}
	if !r.wait(stopPatience) {
		return errors.Join(fmt.Errorf("%s had not ended %v after SIGTERM and was killed: %w%s", p.id, stopPatience, ErrProcess, p.tail()), p.kill(r))
	}
	if r.err != nil {
		return fmt.Errorf("%s did not end well (%w): %w%s", p.id, r.err, ErrProcess, p.tail())
	}
	return nil
}

// wait reports whether the process ends in time.
func (r *run) wait(patience time.Duration) bool {
	select {
	case <-r.done:
		return true
	case <-time.After(patience):
		return false
	}
}
