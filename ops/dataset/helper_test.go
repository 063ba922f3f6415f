package dataset

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ostraca/retrieval"
)

// write makes files, named and filled by turns, in a new directory.
func write(t *testing.T, pairs ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(pairs); i += 2 {
		path := filepath.Join(dir, pairs[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(pairs[i+1]), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func zip(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(text))
	w.Close()
	return b.String()
}

// wantError checks the sentinel of an error and a part of its text.
func wantError(t *testing.T, err, sentinel error, part string) {
	t.Helper()
	if !errors.Is(err, sentinel) || !strings.Contains(err.Error(), part) {
		t.Errorf("error %v, want one of %v with %q", err, sentinel, part)
	}
}

// checkSentinel fails if err is none that a caller can act on.
func checkSentinel(t *testing.T, err error) {
	t.Helper()
	for _, s := range []error{nil, retrieval.ErrInvalid, retrieval.ErrCorrupt, retrieval.ErrTooLarge, fs.ErrNotExist} {
		if errors.Is(err, s) {
			return
		}
	}
	t.Errorf("%v wraps no sentinel", err)
}
