package main

import (
	"cmp"
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress shows how far a long step is, on standard error: a bar with rate and time left for a person, a line every few seconds
// for a log. A total of 0 is not known.
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
		p.bar = progressbar.NewOptions(cmp.Or(total, -1),
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
	if p.bar != nil && (p.done < p.total || p.total == 0) {
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
		if p.total == 0 {
			fmt.Fprintf(p.out, "%s: %d, %.0f/s\n", p.what, p.done, rate)
			return
		}
		fmt.Fprintf(p.out, "%s: %d of %d, %.0f/s, %.0f s left\n", p.what, p.done, p.total, rate, float64(p.total-p.done)/rate)
	}
}
