package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"ostraca/retrieval"
	"ostraca/retrieval/encoder"
	"ostraca/retrieval/encoder/bge"
	"ostraca/retrieval/kernel"
)

// app is what every verb shares: the flags of the root and where output goes.
type app struct {
	out, err io.Writer
	json     bool
	kernel   string
	threads  int
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

// printJSON writes the one object of --json.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
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
			progressbar.OptionShowCount(), progressbar.OptionShowIts(),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionFullWidth(),
			progressbar.OptionOnCompletion(func() { fmt.Fprintln(a.err) }))
	}
	return p
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
