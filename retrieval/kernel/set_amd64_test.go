//go:build !noasm

package kernel

import (
	"os"
	"strings"
	"testing"
)

// TestNoSSE: no loop has an instruction of the SSE encoding. Behind 512-bit ones these take about a hundred cycles each on Intel's CPUs, so no mistake shows
// but in time.
func TestNoSSE(t *testing.T) {
	text, err := os.ReadFile("loops_amd64.s")
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for line := range strings.Lines(string(text)) {
		sets, ok := strings.CutPrefix(line, "// Requires: ")
		found = found || ok
		if ok && strings.Contains(sets, "SSE") {
			t.Errorf("a loop requires %s", sets)
		}
	}
	if !found {
		t.Error("no loop says what it requires: has this test gone blind?")
	}
}
