package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"time"

	"github.com/spf13/cobra"

	"ostraca/ops/dataset"
	"ostraca/retrieval"
	"ostraca/retrieval/encoder"
)

func newEncode(a *app) *cobra.Command {
	var text textOptions
	var dir string
	var skipEmpty bool
	c := &cobra.Command{
		Use:   "encode PATH --out DIR",
		Short: "Turn texts into token vectors, as NumPy files",
		Long: "Encodes the documents of a BEIR directory or .jsonl file, and the directory's queries if it has any, into DIR:\n" +
			"doc_tokens.npy (float16), doc_lens.npy, doc_token_ids.npy, query_tokens.npy (float32), query_lens.npy,\n" +
			"docs.jsonl and queries.jsonl with the byte span of every token. An interrupted run leaves no such files.",
		Example: "  ostraca encode testdata/corpora/xquad_en --out vectors --max-tokens 256",
		Args:    needs("PATH", false),
		RunE: func(c *cobra.Command, args []string) error {
			return a.encode(c.Context(), args[0], dir, text, skipEmpty)
		},
	}
	c.Flags().StringVar(&dir, "out", "", "directory to write, which must not hold vectors already")
	c.Flags().BoolVar(&skipEmpty, "skip-empty", false, "leave out documents without any token")
	text.registerMax(c)
	text.registerQuery(c)
	a.registerEncoder(c.Flags())
	return c
}

// encodeJSON is what encode reports.
type encodeJSON struct {
	Out       string  `json:"out"`
	Documents int     `json:"documents"`
	Skipped   int     `json:"skipped"` // without tokens
	Queries   int     `json:"queries"`
	Tokens    int64   `json:"tokens"`
	Width     int     `json:"width"`
	Kernel    string  `json:"kernel"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"tokens_per_s"`
}

func (a *app) encode(ctx context.Context, path, dir string, text textOptions, skipEmpty bool) error {
	if dir == "" {
		return fmt.Errorf("--out is missing: name the directory to write: %w", retrieval.ErrInvalid)
	}
	if err := text.check(); err != nil {
		return err
	}
	total, err := dataset.Count(path)
	if err != nil {
		return err
	}
	queries, err := dataset.Queries(path)
	if layout, _ := dataset.Detect(path); layout == dataset.JSONL || errors.Is(err, fs.ErrNotExist) {
		queries, err = nil, nil // a file of documents has no questions, and a directory need not
	}
	if err != nil {
		return err
	}
	e, err := a.encoder()
	if err != nil {
		return err
	}
	w, err := dataset.CreateVectors(dir, e.Width())
	if err != nil {
		return err
	}
	defer w.Abort()
	r := encodeJSON{Out: dir, Width: e.Width(), Kernel: e.Kernel().Name()}
	add := func(row dataset.Row) error {
		if skipEmpty && len(row.VocabIDs) == 0 {
			r.Skipped++
			return nil
		}
		r.Documents++
		r.Tokens += int64(len(row.VocabIDs))
		return w.AddDocument(row)
	}
	// Questions first: they are few, and what is wrong with them is told before the long work.
	r.Queries = len(queries)
	asked := func(yield func(dataset.Document, error) bool) {
		for _, q := range queries {
			if !yield(dataset.Document{ID: q.ID, Text: q.Text}, nil) {
				return
			}
		}
	}
	questions := texts{what: "question", flag: "--query-tokens", path: path, total: len(queries), all: asked}
	if err := a.encodeAll(ctx, e, text.query(e, a.threads), questions, eachRow(w.AddQuery)); err != nil {
		return err
	}
	start := time.Now()
	documents := texts{what: "document", flag: "--max-tokens", path: path, total: total, all: dataset.Documents(path)}
	if err := a.encodeAll(ctx, e, encoder.Options{MaxTokens: text.maxTokens, Threads: a.threads}, documents, eachRow(add)); err != nil {
		return err
	}
	r.Seconds = time.Since(start).Seconds()
	r.PerSecond = float64(r.Tokens) / r.Seconds
	if err := w.Close(); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(r)
	}
	a.printf("%d documents, %d tokens x %d, and %d questions in %s: %.1f s, %.0f tokens/s (%s)\n", r.Documents, r.Tokens, r.Width, r.Queries, dir, r.Seconds, r.PerSecond, r.Kernel)
	return nil
}

// texts are documents or questions on their way to the encoder.
type texts struct {
	what  string // document or question, for messages
	flag  string // that cuts them
	path  string // where they come from
	total int
	all   iter.Seq2[dataset.Document, error]
}

// encodeAll encodes texts in batches and hands each batch on with its vectors.
func (a *app) encodeAll(ctx context.Context, e *encoder.Encoder, o encoder.Options, t texts, done func([]dataset.Document, []encoder.Matrix) error) error {
	if t.total == 0 {
		return nil
	}
	bar := a.progress("encoding "+t.what+"s", t.total)
	defer bar.end()
	for batch, err := range batches(t.all, batchOf(a.workers(), e.Kernel())) {
		if err != nil {
			return err
		}
		strings := make([]string, len(batch))
		for i, d := range batch {
			strings[i] = d.Text
		}
		matrices, err := e.Encode(ctx, strings, o)
		if x := (*encoder.TextError)(nil); errors.As(err, &x) {
			err = fmt.Errorf("%s %q: %w (%s cuts it)", t.what, batch[x.Text].ID, x.Err, t.flag)
		}
		if err == nil {
			err = done(batch, matrices)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", t.path, err)
		}
		bar.add(len(batch))
	}
	return nil
}

// eachRow hands a batch on row by row.
func eachRow(add func(dataset.Row) error) func([]dataset.Document, []encoder.Matrix) error {
	return func(batch []dataset.Document, matrices []encoder.Matrix) error {
		for i, m := range matrices {
			if err := add(row(batch[i], m)); err != nil {
				return err
			}
		}
		return nil
	}
}

func row(d dataset.Document, m encoder.Matrix) dataset.Row {
	ids := make([]int32, len(m.Tokens))
	for i, t := range m.Tokens {
		ids[i] = t.ID
	}
	return dataset.Row{Document: d, Vectors: m.Vectors, Spans: spans(m.Tokens), VocabIDs: ids}
}
