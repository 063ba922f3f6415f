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

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"ostraca/retrieval"
	"ostraca/retrieval/kernel"
)

// app is what every verb shares: the flags of the root and where output goes.
type app struct {
	out, err io.Writer
	terminal bool // a person watches out
	json     bool
	kernel   string
	threads  int
	model    string // of --encoder
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

// writeLines writes rows as a JSON object a line.
func writeLines[T any](path string, rows []T) error {
	return writeFile(path, func(w io.Writer) error {
		for _, row := range rows {
			if err := json.NewEncoder(w).Encode(row); err != nil {
				return err
			}
		}
		return nil
	})
}

// writeFile writes a file that is not there yet, under another name first: an interrupted run leaves none.
func writeFile(path string, fill func(io.Writer) error) (err error) {
	if err := checkWritable(path); err != nil {
		return err
	}
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
	if err = fill(w); err != nil {
		return err
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
	if p := (*os.PathError)(nil); errors.As(err, &p) { // which names a file that nobody asked for
		return fmt.Errorf("%s cannot be written: %w", path, p.Err)
	} else if err != nil {
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

// plural counts things for a person.
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
