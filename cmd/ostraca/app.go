package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"ostraca/retrieval"
	"ostraca/retrieval/encoder"
	"ostraca/retrieval/encoder/bge"
	"ostraca/retrieval/kernel"
)

// app is what every verb shares: the flags of the root and where output goes.
type app struct {
	out, err io.Writer
	terminal bool // a person watches out
	json     bool
	kernel   string
	threads  int
}

// sink remembers that output could not be written, which is told at the end.
type sink struct {
	w   io.Writer
	err error
}

func (s *sink) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	if s.err == nil {
		s.err = err
	}
	return n, err
}

// needs is the check of a verb's arguments: exactly one, or at least one.
func needs(what string, more bool) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == 1 && args[0] != "" || len(args) > 1 && more {
			return nil
		}
		return fmt.Errorf("%s needs one %s: see %s --help: %w", c.Name(), what, c.CommandPath(), retrieval.ErrInvalid)
	}
}

// maxThreads bounds --threads.
const maxThreads = 1024

// set returns the kernel variant that was asked for.
func (a *app) set() (*kernel.Set, error) {
	if a.threads < 0 || a.threads > maxThreads {
		return nil, fmt.Errorf("--threads is %d, it must be 0 to %d: %w", a.threads, maxThreads, retrieval.ErrInvalid)
	}
	if a.kernel == "" {
		return kernel.Best(), nil
	}
	s, err := kernel.ByName(a.kernel)
	if err != nil {
		return nil, fmt.Errorf("--kernel: %w", err)
	}
	return s, nil
}

// encoder loads the embedded default encoder.
func (a *app) encoder() (*encoder.Encoder, error) {
	set, err := a.set()
	if err != nil {
		return nil, err
	}
	return encoder.Load(bge.Weights(), set)
}

// checkK tells before the work that k is out of range.
func checkK(k int) error {
	if k < 1 || k > retrieval.MaxK {
		return fmt.Errorf("-k is %d, it must be 1 to %d: %w", k, retrieval.MaxK, retrieval.ErrInvalid)
	}
	return nil
}

// workers returns how many threads there are to work with.
func (a *app) workers() int {
	if a.threads > 0 {
		return a.threads
	}
	return runtime.GOMAXPROCS(0)
}

// batches groups a sequence, so that all threads have work and what is held stays bounded.
func batches[T any](all iter.Seq2[T, error], size int) iter.Seq2[[]T, error] {
	return func(yield func([]T, error) bool) {
		var batch []T
		for x, err := range all {
			if err != nil {
				yield(nil, err)
				return
			}
			if batch = append(batch, x); len(batch) == size {
				if !yield(batch, nil) {
					return
				}
				batch = nil
			}
		}
		if len(batch) > 0 {
			yield(batch, nil)
		}
	}
}

// first ends a sequence after n; 0 keeps all.
func first[T any](all iter.Seq2[T, error], n int) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		left := n
		for x, err := range all {
			if !yield(x, err) || err != nil {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}
}

// writeLines writes rows as a JSON object a line, to a file of another name first: an interrupted run leaves none.
func writeLines[T any](path string, rows []T) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	w := bufio.NewWriter(f)
	for _, row := range rows {
		if err = json.NewEncoder(w).Encode(row); err != nil {
			return err
		}
	}
	if err = w.Flush(); err != nil {
		return err
	}
	if err = f.Chmod(0o644); err != nil {
		return err
	}
	if err = os.Link(f.Name(), path); err != nil { // unlike a rename, it fails where somebody else was faster
		return err
	}
	return errors.Join(os.Remove(f.Name()), f.Close())
}

// checkWritable tells before the work that a file cannot be written after it. One that is there is never overwritten.
func checkWritable(path string) error {
	if path == "" {
		return nil
	}
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s is already there: choose another file, or delete it: %w", path, retrieval.ErrInvalid)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// printJSON writes the one object of --json.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// say talks to a person; --json keeps standard output for the one object.
func (a *app) say(format string, v ...any) {
	if !a.json {
		a.printf(format, v...)
	}
}

func (a *app) printf(format string, v ...any) { fmt.Fprintf(a.out, format, v...) }

// isTerminal reports whether a person watches w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// progress shows how far a long step is, on standard error: a bar with rate and time left for a person, a line every few seconds
// for a log.
type progress struct {
	bar   *progressbar.ProgressBar
	what  string
	out   io.Writer
	total int
	done  int
	start time.Time
	told  time.Time
}

const linePeriod = 5 * time.Second

func (a *app) progress(what string, total int) *progress {
	p := &progress{what: what, out: a.err, total: total, start: time.Now(), told: time.Now()}
	if isTerminal(a.err) {
		p.bar = progressbar.NewOptions(total,
			progressbar.OptionSetWriter(a.err),
			progressbar.OptionSetDescription(fmt.Sprintf("%-18s", what)),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("texts"),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionFullWidth(),
			progressbar.OptionOnCompletion(func() { fmt.Fprintln(a.err) }))
		_ = p.bar.RenderBlank()
	}
	return p
}

// end leaves the bar's line where it stopped short.
func (p *progress) end() {
	if p.bar != nil && p.done < p.total {
		fmt.Fprintln(p.out)
	}
}

func (p *progress) add(n int) {
	p.done += n
	if p.bar != nil {
		_ = p.bar.Add(n) // a bar that cannot be drawn is no reason to stop
		return
	}
	if now := time.Now(); now.Sub(p.told) >= linePeriod {
		p.told = now
		rate := float64(p.done) / now.Sub(p.start).Seconds()
		fmt.Fprintf(p.out, "%s: %d of %d, %.0f/s, %.0f s left\n", p.what, p.done, p.total, rate, float64(p.total-p.done)/rate)
	}
}
