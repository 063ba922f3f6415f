package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"ostraca/ops/dataset"
	"ostraca/retrieval"
	"ostraca/retrieval/index"
	"ostraca/storage"
)

// This file makes the index that bench measures, or opens the one of an earlier run.

// indexFile is the name of the index in the folder of --index.
const indexFile = "index.ostraca"

// open opens the index of --index, or builds one.
func (b *bench) open(ctx context.Context, r *benchReport) (err error) {
	dir, err := os.MkdirTemp("", "ostraca-bench-*")
	if err != nil {
		return err
	}
	defer os.Remove(dir) // memory has no limit, so no file comes to be in it
	if b.arena, err = storage.NewArena(storage.ArenaOptions{Dir: dir}); err != nil {
		return err
	}
	if err := b.readLists(ctx); err != nil {
		return err
	}
	path := filepath.Join(b.options.index, indexFile)
	if b.options.index != "" && !b.options.buildOnly {
		switch err := b.load(ctx, path); {
		case err == nil:
			return b.weigh(r)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	if b.options.index != "" {
		if err := os.MkdirAll(b.options.index, 0o755); err != nil {
			return err
		}
		if err := checkWritable(path); err != nil {
			return err
		}
	}
	start := time.Now()
	if err := b.build(ctx, r); err != nil {
		return err
	}
	if b.options.index != "" {
		if err := b.save(path); err != nil {
			return err
		}
	}
	r.BuildS = time.Since(start).Seconds()
	return b.weigh(r)
}

// weigh reports what the index takes.
func (b *bench) weigh(r *benchReport) error {
	tokens := float64(max(1, b.vectors.Tokens()))
	r.BytesPerMemory = float64(b.index.Tiers().Resident()) / tokens
	r.Tiers, r.BytesPerLoaded = perToken(b.index.Tiers(), tokens), float64(b.index.Bytes())/tokens
	if b.options.index == "" {
		return nil
	}
	info, err := os.Stat(filepath.Join(b.options.index, indexFile))
	if err != nil {
		return err
	}
	r.BytesPerDisk = float64(info.Size()) / tokens
	return nil
}

// indexOptions are those of a node: vectors lie in blocks of their own, in huge pages where there are some, and merges leave time for searches.
func (b *bench) indexOptions() index.Options {
	start := time.Now()
	clock := func() int64 { return time.Since(start).Microseconds() }
	sleep := func(micros int64) { time.Sleep(time.Duration(micros) * time.Microsecond) }
	return index.Options{Codec: b.codec, Kernel: b.kernel, Threads: b.app.threads, Clock: clock, Memory: b.arena, Lists: b.lists, Merging: index.Merging{Clock: clock, Sleep: sleep}}
}

// readBlock reads a file into one block of the arena, which is never given back.
func (b *bench) readBlock(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > math.MaxInt {
		return nil, fmt.Errorf("%s has %d bytes: %w", path, info.Size(), retrieval.ErrTooLarge)
	}
	data, _ := b.arena.Hot(int(info.Size()))
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, nil
}

// load reads an index file, which must be of these vectors.
func (b *bench) load(ctx context.Context, path string) error {
	data, err := b.readBlock(path)
	if err != nil {
		return err
	}
	if b.index, err = index.Load(data, b.indexOptions()); err != nil {
		return fmt.Errorf("%s: %w: %s", path, err, remedy(path))
	}
	if b.index.Width() != b.vectors.Width() || b.index.Len() != b.vectors.Len() || int64(b.index.Tokens()) != b.vectors.Tokens() {
		return fmt.Errorf("%s holds %d documents, %d tokens x %d, and %s %d, %d x %d: it is of other vectors: %s: %w", path, b.index.Len(), b.index.Tokens(), b.index.Width(),
			b.dir, b.vectors.Len(), b.vectors.Tokens(), b.vectors.Width(), remedy(path), retrieval.ErrInvalid)
	}
	made, err := index.FileSource(data)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	bar := b.app.progress("comparing", b.vectors.Len())
	defer bar.end()
	if b.source, err = sourceOfRows(ctx, b.vectors.Documents(), bar); err != nil {
		return err
	}
	if made != b.source {
		return fmt.Errorf("%s was built from vectors of digest %s, those of %s have %s: it is of other vectors: %s: %w", path, made, b.dir, b.source, remedy(path), retrieval.ErrInvalid)
	}
	return nil
}

// remedy says what to do about an index that cannot be used.
func remedy(path string) string {
	return fmt.Sprintf("remove %s, and the next run builds it anew, or name another folder with --index", path)
}

// save writes the index file.
func (b *bench) save(path string) error {
	if err := os.Remove(filepath.Join(filepath.Dir(path), calibrationFile)); err != nil && !errors.Is(err, fs.ErrNotExist) { // of an index that is gone
		return err
	}
	return writeFile(path, func(w io.Writer) error {
		_, err := b.index.View().WriteFile(w, b.source)
		return err
	})
}

// made is a document on its way into the index: its vectors, then its codes.
type made struct {
	row  dataset.Row
	done chan struct{} // closed when codes or err are there
	docs retrieval.Document
	size int    // floats
	sum  uint64 // of them
	err  error
}

// build makes the index: one goroutine reads, several quantise and pool, this one gathers, in the order of the rows. A document's id is its row number with leading
// zeros, so that this is the order of ids too. Little more than the index itself is held.
func (b *bench) build(ctx context.Context, r *benchReport) error {
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	builder, err := index.NewBuilder(b.vectors.Width(), b.indexOptions(), b.vectors.Len(), int(b.vectors.Tokens()))
	if err != nil {
		return err
	}
	workers := b.app.workers()
	queue, work := make(chan *made, 4*workers), make(chan *made)
	running.Go(func() { b.read(ctx, queue, work) })
	for range workers {
		running.Go(func() {
			for m := range work {
				m.size, m.sum = len(m.row.Vectors), rowDigest(m.row.Vectors)
				m.docs.Codes, m.err = encodeRow(b.codec, m.row, b.vectors.Width())
				m.row.Vectors = nil
				close(m.done)
			}
		})
	}
	guess := b.app.forecaster(b.codec, b.vectors.Width(), int64(b.vectors.Len()), b.vectors.Tokens())
	bar := b.app.progress("building", b.vectors.Len())
	defer bar.end()
	n, source := 0, newSource()
	for m := range queue {
		select {
		case <-m.done:
		case <-ctx.Done(): // then it may never be handed out
			return ctx.Err()
		}
		m.docs.ID = fmt.Sprintf(b.idFormat(), n)
		if m.err == nil {
			m.err = builder.Add(m.docs)
		}
		if m.err != nil {
			return fmt.Errorf("%s: document %q: %w", b.dir, m.row.ID, m.err)
		}
		source.add(m.size, m.sum)
		guess.saw(m.docs.Codes.Len())
		bar.add(1)
		n++
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	b.index, b.source, r.Forecast = builder.Index(), source.source(), guess.report()
	return nil
}

// read queues all documents, in order, and hands them out to be made.
func (b *bench) read(ctx context.Context, queue, work chan<- *made) {
	defer close(queue)
	defer close(work)
	for row, err := range b.vectors.Documents() {
		m := &made{row: dataset.Row{Document: dataset.Document{ID: row.ID}, Vectors: row.Vectors}, done: make(chan struct{}), err: err} // only vectors are measured, not texts
		select {
		case queue <- m:
		case <-ctx.Done():
			return
		}
		if err != nil {
			close(m.done)
			return
		}
		select {
		case work <- m:
		case <-ctx.Done():
			return
		}
	}
}

// encodeRow quantises a document's vectors and pools them.
func encodeRow(codec retrieval.Codec, row dataset.Row, width int) (retrieval.Codes, error) {
	codes, err := index.Quantize(codec, row.Vectors, width)
	if err != nil {
		return codes, err
	}
	return index.Pool(codes), nil
}

// idFormat is how the row of a document becomes its id: with as many digits as the greatest.
func (b *bench) idFormat() string { return fmt.Sprintf("%%0%dd", len(strconv.Itoa(b.vectors.Len()))) }

// rowOf returns the row of a document of the index.
func rowOf(id string) int {
	n, err := strconv.Atoi(id)
	if err != nil {
		return -1 // not one that build made: no row
	}
	return n
}
