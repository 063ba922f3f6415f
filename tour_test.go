package ostraca_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// tourTime bounds the whole tour.
const tourTime = 3 * time.Minute

// step is a command of the README's tour and the output that stands below it.
type step struct {
	line    int
	command string
	want    []string
}

// tour reads the commands of README.md: lines of a code block that begin with "$ ".
func tour(t *testing.T) []step {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var out []step
	in := false // below a command
	for i, line := range strings.Split(string(text), "\n") {
		code, ok := strings.CutPrefix(line, "    ")
		switch command, asked := strings.CutPrefix(code, "$ "); {
		case line == "" && in: // within an output, or after it
			out[len(out)-1].want = append(out[len(out)-1].want, "")
		case !ok:
			in = false
		case asked:
			out, in = append(out, step{line: i + 1, command: command}), true
		case in && strings.HasPrefix(code, "  {"): // a command goes on
			out[len(out)-1].command += "\n" + code
		case in:
			out[len(out)-1].want = append(out[len(out)-1].want, code)
		}
	}
	if len(out) < 8 {
		t.Fatalf("%d commands in README.md: has this test gone blind?", len(out))
	}
	return out
}

// differs are what may differ between two runs: times, rates, sizes of processes, and the names of kernels, digests and operations.
var differs = []struct {
	of *regexp.Regexp
	as string
}{
	{regexp.MustCompile(`\b(avx512vnni|avx512amx|avx2|neon|go)\b`), "KERNEL"},
	{regexp.MustCompile(`[0-9][0-9.,]*( ?)(ms|s|MB|kB|MiB|KiB|tokens/s|documents/s|/s)\b`), "#$1$2"},
	{regexp.MustCompile(`\b[0-9a-f]{12,}\b`), "HEX"},
	{regexp.MustCompile(`127\.0\.0\.1:[0-9]+`), "ADDRESS"},
	{regexp.MustCompile(`\bindex [0-9]+`), "INDEX"}, // writes that wait together share an entry
	{regexp.MustCompile(`\brouter-[a-z0-9-]+`), "ROUTER"},
	{regexp.MustCompile(` +`), " "},
}

// timed are commands whose tables are of times: there every number may differ.
var timed = regexp.MustCompile(`^ostraca (bench|cluster status)`)

var number = regexp.MustCompile(`[0-9][0-9.,]*`)

func same(line string, all bool) string {
	for _, d := range differs {
		line = d.of.ReplaceAllString(line, d.as)
	}
	if all {
		line = number.ReplaceAllString(line, "#")
	}
	return strings.TrimSpace(line)
}

// TestTour runs the commands of the README in one shell, as its reader would, and compares what they print. Ports are free ones and /tmp/ is a
// folder of the test.
func TestTour(t *testing.T) {
	if testing.Short() || runtime.GOOS == "windows" {
		t.Skip("needs a shell and half a minute")
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash")
	}
	dir := t.TempDir()
	steps, script := tour(t), bytes.Buffer{}
	replace := strings.NewReplacer(append(ports(t), "/tmp/", dir+"/")...)
	fmt.Fprintf(&script, "export PATH=%s:$PATH OSTRACA_ROUTER=%s\ntrap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n", built(t, dir), replace.Replace("127.0.0.1:7600"))
	for i, s := range steps {
		fmt.Fprintf(&script, "echo '=== %d'\n%s\n", i, replace.Replace(s.command))
	}
	ctx, cancel := context.WithTimeout(t.Context(), tourTime)
	defer cancel()
	c := exec.CommandContext(ctx, bash, "-c", script.String())
	c.WaitDelay = 10 * time.Second
	var said, wrong bytes.Buffer
	c.Stdout, c.Stderr = &said, &wrong
	if err := c.Run(); err != nil {
		t.Errorf("the tour ended with %v: %s", err, wrong.String())
	}
	parts := strings.Split(said.String(), "=== ")
	for i, s := range steps {
		if i+1 >= len(parts) {
			t.Fatalf("README.md:%d: %s: the shell did not get there: %s", s.line, s.command, wrong.String())
		}
		_, got, _ := strings.Cut(strings.ReplaceAll(parts[i+1], dir+"/", "/tmp/"), "\n")
		if want := strings.TrimRight(strings.Join(s.want, "\n"), "\n"); !matchesTour(strings.TrimRight(got, "\n"), want, timed.MatchString(s.command)) {
			t.Errorf("README.md:%d: $ %s\nprinted\n%s\nthe README says\n%s\nstandard error: %s", s.line, s.command, got, want, wrong.String())
		}
	}
}

// matchesTour compares line by line; a line of the README that is only "..." stands for any lines.
func matchesTour(got, want string, all bool) bool {
	pattern := "^"
	for i, line := range strings.Split(want, "\n") {
		if line == "..." {
			pattern += `(\n?[^\n]*)*`
			continue
		}
		if i > 0 {
			pattern += `\n?`
		}
		pattern += regexp.QuoteMeta(same(line, all))
	}
	var lines []string
	for _, line := range strings.Split(got, "\n") {
		lines = append(lines, same(line, all))
	}
	return regexp.MustCompile(pattern + "$").MatchString(strings.Join(lines, "\n"))
}

// ports returns a replacement for each port that the README uses by default, by one that is free.
func ports(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, port := range []string{"7400", "7401", "7410", "7411", "7420", "7421", "7500", "7600", "7601"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // all at once: no two are the same
		out = append(out, "127.0.0.1:"+port, l.Addr().String())
	}
	return out
}

// built returns a folder with the command.
func built(t *testing.T, dir string) string {
	t.Helper()
	bin := filepath.Join(dir, "bin")
	build := exec.Command("go", "build", "-o", bin+"/", "./cmd/ostraca")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	return bin
}
