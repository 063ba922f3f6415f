package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"ostraca/api"
	"ostraca/ops/dataset"
	"ostraca/retrieval"
	"ostraca/retrieval/index"
)

// exportOptions are the flags of export.
type exportOptions struct {
	target
	out, format, filter string
	codes               bool
}

func newExport(a *app) *cobra.Command {
	var o exportOptions
	c := &cobra.Command{
		Use:   "export --collection C --out PATH",
		Short: "Write documents of a live cluster to a file or a directory of vectors, which load reads back",
		Long: "Writes all documents, or those that --filter lets through, in the order of their ids. To a .jsonl file: a document a line, with\n" +
			"--codes also the codes and spans of its tokens, so that a load gives back the very same data, digest included. To a directory\n" +
			"(--format npy): the token vectors, as the codes have them (those of 4bit to 1bit turned back), in the layout of docs/vectors.md. An interrupted run leaves neither.",
		Example: "  ostraca export -c notes --out notes.jsonl --codes\n  ostraca export -c notes --out vectors --format npy",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return a.export(c.Context(), o) },
	}
	f := c.Flags()
	o.register(f)
	o.registerCollection(f)
	o.registerRead(f)
	registerFilter(f, &o.filter)
	f.StringVar(&o.out, "out", "", "file or directory to write, which must not be there already")
	f.StringVar(&o.format, "format", "", "jsonl or npy (default: jsonl for a file named .jsonl, npy for a name without extension)")
	f.BoolVar(&o.codes, "codes", false, "jsonl with codes and spans")
	return c
}

// exportJSON is what export reports.
type exportJSON struct {
	Out       string  `json:"out"`
	Documents int     `json:"documents"`
	Format    string  `json:"format"`
	Tokens    *int64  `json:"tokens,omitempty"` // where their codes or vectors were written
	Seconds   float64 `json:"seconds"`
}

// check fills in the format and tells what cannot be.
func (o *exportOptions) check() error {
	if err := o.needsCollection(); err != nil {
		return err
	}
	ext := filepath.Ext(o.out)
	named := ext == ".jsonl"
	switch {
	case o.out == "":
		return fmt.Errorf("--out is missing: name a .jsonl file, or a directory for token vectors: %w", retrieval.ErrInvalid)
	case o.format == "" && ext != "" && !named:
		return fmt.Errorf("--out %s: documents go to a file named .jsonl; for a directory of token vectors of this name add --format npy: %w", o.out, retrieval.ErrInvalid)
	}
	if o.format == "" {
		o.format = string(dataset.NPY)
		if named {
			o.format = string(dataset.JSONL)
		}
	}
	switch {
	case o.format != string(dataset.JSONL) && o.format != string(dataset.NPY):
		return fmt.Errorf("--format is %q, it must be jsonl or npy: %w", o.format, retrieval.ErrInvalid)
	case named != (o.format == string(dataset.JSONL)):
		return fmt.Errorf("--out %s with --format %s: jsonl goes to a file named .jsonl, npy to a directory: %w", o.out, o.format, retrieval.ErrInvalid)
	}
	return nil
}

func (a *app) export(ctx context.Context, o exportOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	r, err := a.connect(ctx, o.target)
	if err != nil {
		return err
	}
	defer r.close()
	c, err := r.mustFind(ctx, o.collection)
	if err != nil {
		return err
	}
	start, out := time.Now(), exportJSON{Out: o.out, Format: o.format}
	if o.codes || o.format == string(dataset.NPY) {
		out.Tokens = new(int64)
	}
	documents := r.stream(ctx, o, c)
	count := func(s dataset.Stored) {
		out.Documents++
		if s.Codes != nil {
			*out.Tokens += int64(s.Codes.Len())
		}
	}
	if o.format == string(dataset.NPY) {
		err = exportVectors(o.out, int(c.Width), documents, count)
	} else {
		err = exportLines(o.out, documents, count)
	}
	if err != nil {
		return err
	}
	out.Seconds = time.Since(start).Seconds()
	if a.json {
		return a.printJSON(out)
	}
	a.printf("%s of %s in %s, %s: %.1f s\n", plural(out.Documents, "document"), o.collection, o.out, o.what(), out.Seconds)
	return nil
}

// what says what is written.
func (o *exportOptions) what() string {
	switch {
	case o.format == string(dataset.NPY):
		return "a directory of token vectors"
	case o.codes:
		return "a file with codes"
	}
	return "a file of texts"
}

// stream yields the documents of a collection. Where the way breaks, it goes on after the last one that came.
func (r *remote) stream(ctx context.Context, o exportOptions, c *api.Collection) iter.Seq2[dataset.Stored, error] {
	return func(yield func(dataset.Stored, error) bool) {
		bar := r.app.progress("exporting", int(c.Documents))
		defer bar.end()
		in := &api.ExportRequest{Collection: o.collection, Filter: o.filter, Read: o.read, Codes: o.codes || o.format == string(dataset.NPY)}
		stopped := false
		err := r.persist(ctx, func(ctx context.Context) error {
			before := in.Cursor
			err := r.exportFrom(ctx, in, func(d *api.Document) bool {
				bar.add(1)
				stopped = !yield(storedOf(d))
				return !stopped
			})
			if err != nil && in.Cursor != before {
				r.moved()
			}
			return err
		})
		if err != nil && !stopped {
			yield(dataset.Stored{}, err)
		}
	}
}

// exportFrom hands on the documents of one stream, and keeps in the request where it stands.
func (r *remote) exportFrom(ctx context.Context, in *api.ExportRequest, use func(*api.Document) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	from, err := r.Export(ctx, in)
	for err == nil {
		var d *api.Document
		if d, err = from.Recv(); err == nil {
			in.Cursor = d.Id
			if !use(d) {
				return nil
			}
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return r.told(ctx, err)
}

// exportLines writes a document a line.
func exportLines(path string, documents iter.Seq2[dataset.Stored, error], count func(dataset.Stored)) error {
	return writeFile(path, func(w io.Writer) error {
		for s, err := range documents {
			if err != nil {
				return err
			}
			line, err := dataset.StoredLine(s)
			if err != nil {
				return fmt.Errorf("document %q: %w", s.ID, err)
			}
			if _, err := w.Write(line); err != nil {
				return err
			}
			count(s)
		}
		return nil
	})
}

// exportVectors writes the npy layout.
func exportVectors(dir string, width int, documents iter.Seq2[dataset.Stored, error], count func(dataset.Stored)) error {
	w, err := dataset.CreateVectors(dir, width)
	if err != nil {
		return err
	}
	defer w.Abort()
	for s, err := range documents {
		if err != nil {
			return err
		}
		row := dataset.Row{Document: s.Document, Spans: s.Spans}
		if s.Codes != nil {
			d := retrieval.Document{ID: s.ID, Codes: *s.Codes}
			if err := d.Validate(width); err != nil {
				return err
			}
			row.Vectors = index.Decode(*s.Codes)
		}
		if err := w.AddDocument(row); err != nil {
			return err
		}
		count(s)
	}
	return w.Close()
}
