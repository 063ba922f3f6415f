package dataset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"ostraca/retrieval"
)

// Layout is a way in which a collection lies on disk.
type Layout string

// The layouts.
const (
	BEIR  Layout = "beir"
	JSONL Layout = "jsonl"
	NPY   Layout = "npy"
)

// Detect tells the layout of path. A directory that has both token vectors and a corpus.jsonl is [NPY].
func Detect(path string) (Layout, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		if strings.HasSuffix(path, ".jsonl") || strings.HasSuffix(path, ".jsonl.gz") {
			return JSONL, nil
		}
		return "", fmt.Errorf("%s: a file of documents must be named .jsonl or .jsonl.gz: %w", path, retrieval.ErrInvalid)
	}
	if _, err := find(path, docTokens); err == nil {
		return NPY, nil
	}
	if _, err := find(path, "corpus.jsonl", "corpus.jsonl.gz"); err == nil {
		return BEIR, nil
	}
	return "", fmt.Errorf("%s: no data set: looked for %s (token vectors) and corpus.jsonl or corpus.jsonl.gz (BEIR): %w",
		path, docTokens, fs.ErrNotExist)
}

// find returns the first of the names that is in dir.
func find(dir string, names ...string) (string, error) {
	for _, name := range names {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", fmt.Errorf("%s: no %s: %w", dir, strings.Join(names, " or "), fs.ErrNotExist)
}

// findIn returns path itself if it is a file, and the first of the names in it if it is a directory.
func findIn(path string, names ...string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return path, nil
	}
	return find(path, names...)
}

// open opens a file that must be there, be a file, and hold something.
func open(path string) (*os.File, fs.FileInfo, error) {
	info, err := os.Stat(path) // before os.Open, which would wait for the writer of a pipe
	if err != nil {
		return nil, nil, err
	}
	if info.IsDir() {
		return nil, nil, fmt.Errorf("%s: is a directory, want a file: %w", path, retrieval.ErrInvalid)
	}
	if !info.Mode().IsRegular() { // nobody may write to a pipe for a while, or ever
		return nil, nil, fmt.Errorf("%s: is not a regular file: copy its content to one: %w", path, retrieval.ErrInvalid)
	}
	if info.Size() == 0 {
		return nil, nil, fmt.Errorf("%s: is empty: %w", path, retrieval.ErrInvalid)
	}
	f, err := os.Open(path)
	return f, info, err
}
