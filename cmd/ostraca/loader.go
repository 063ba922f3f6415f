package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"ostraca/api"
	"ostraca/ops/dataset"
	"ostraca/retrieval"
	"ostraca/shard"
	"ostraca/shard/endpoint"
)

// This file brings a data set into a collection: it reads, looks what is there already, and writes what is not.

// item is a document on its way.
type item struct {
	dataset.Stored
	fields  *structpb.Struct
	vectors []float32 // where the router projects or reduces them; else they are codes
	width   int
}

// loader is one load. Several goroutines write; mu guards what they count.
type loader struct {
	*remote
	loadOptions
	path   string
	total  int
	tokens int64 // of all documents, as the collection keeps them; 0: not known
	to     *api.Collection
	made   bool  // the collection is this load's
	unfit  error // why no text can be encoded for the collection

	mu      sync.Mutex
	bar     *progress
	guess   *forecaster
	report  loadReport
	rejects []reject
}

// loader prepares a load: the collection is there, and of the right kind, or an error says what to do.
func (r *remote) loader(ctx context.Context, path string, o loadOptions) (l *loader, err error) {
	l = &loader{remote: r, loadOptions: o, path: path, report: loadReport{Collection: o.collection}}
	width := 0
	if o.format == string(dataset.NPY) {
		v, err := dataset.OpenVectors(path)
		if err != nil {
			return nil, err
		}
		l.total, l.tokens, width = v.Len(), v.Tokens(), v.Width()
		if err := v.Close(); err != nil {
			return nil, err
		}
	} else if l.total, err = dataset.Count(path); err != nil {
		return nil, err
	}
	if o.limit > 0 {
		l.total, l.tokens = min(l.total, o.limit), 0
	}
	if l.to, err = r.find(ctx, o.collection); err != nil {
		return nil, err
	}
	if l.to == nil && !o.create {
		return nil, fmt.Errorf("there is no collection %q: make it with ostraca collection create %s, or load with --create: %w", o.collection, o.collection, retrieval.ErrNotFound)
	}
	if l.made = l.to == nil; l.made {
		l.to, err = r.createFor(ctx, o, width)
	} else {
		err = r.agrees(ctx, l.to, o)
	}
	if err != nil {
		return nil, err
	}
	if takes := int(max(l.to.Width, l.to.VectorWidth)); width != 0 && width != takes {
		return nil, fmt.Errorf("%s has vectors that are %d wide, and %q takes %d: load them into a collection created with --encoder none --width %d: %w", path, width, o.collection, takes, width, retrieval.ErrInvalid)
	}
	if l.to.Reduction != nil {
		l.tokens = 0 // how many are kept of them, the first documents tell
	}
	if width == 0 {
		l.unfit, err = r.encodes(ctx, l.to)
	}
	return l, err
}

// run loads everything. What it returns counts also where it ended early.
func (l *loader) run(ctx context.Context) (loadReport, error) {
	start := time.Now()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	l.bar = l.app.progress("loading", l.total)
	defer l.bar.end()
	l.guess = l.app.forecaster(retrieval.Codec(l.to.Codec), int(l.to.Width), int64(l.total), l.tokens)
	work := make(chan []item)
	var wait sync.WaitGroup
	for range l.parallel {
		wait.Go(func() {
			for batch := range work {
				if err := l.load(ctx, batch); err != nil {
					fail(err)
					continue
				}
				l.tick(len(batch))
			}
		})
	}
	if err := l.read(ctx, work); err != nil {
		fail(err)
	}
	close(work)
	wait.Wait()
	slices.SortStableFunc(l.rejects, func(a, b reject) int { return a.Row - b.Row })
	l.report.Rejects = l.rejects[:min(len(l.rejects), rejectsShown)]
	l.report.Forecast = l.guess.report()
	l.report.finish(start)
	return l.report, context.Cause(ctx)
}

func (l *loader) tick(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bar.add(n)
}

// firstBatch is how many documents the first batch of every writer has at most: so something is held, and shown, early.
const firstBatch = 8

// What a batch may hold, so that encoding it takes a second or so, and reading back what is stored stays far below the limit of an
// answer.
const (
	batchTextBytes = 64 << 10 // of texts to encode
	batchCodeBytes = 4 << 20  // of codes and vectors
)

// read cuts the data set into batches.
func (l *loader) read(ctx context.Context, work chan<- []item) error {
	var batch []item
	full, most, sent := 0.0, min(firstBatch, l.batch), 0
	send := func() error {
		select {
		case work <- batch:
			batch, full = nil, 0
			if sent++; sent >= l.parallel {
				most = l.batch
			}
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	all := l.items()
	if l.limit > 0 {
		all = first(all, l.limit) // which ends at a row that cannot be loaded
	}
	for x, err := range all {
		if bad := (*dataset.LineError)(nil); errors.As(err, &bad) {
			l.reject(bad.Line, bad.ID, bad.Err)
			l.tick(1)
			continue
		} else if err != nil {
			return err
		}
		if err := l.fits(x); err != nil {
			return err
		}
		size := x.size()
		if len(batch) > 0 && full+size > 1 {
			if err := send(); err != nil {
				return err
			}
		}
		if batch, full = append(batch, x), full+size; len(batch) == most {
			if err := send(); err != nil {
				return err
			}
		}
	}
	if len(batch) == 0 {
		return ctx.Err()
	}
	return send()
}

// size is the part of a batch that a document takes.
func (x item) size() float64 {
	if x.Codes != nil {
		return float64(len(x.Text)+len(x.Codes.Rows)) / batchCodeBytes
	}
	if x.vectors != nil {
		return float64(len(x.Text)+4*len(x.vectors)) / batchCodeBytes
	}
	return float64(len(x.Text)) / batchTextBytes
}

// items reads the data set.
func (l *loader) items() iter.Seq2[item, error] {
	if l.format == string(dataset.NPY) {
		return l.vectorItems()
	}
	return func(yield func(item, error) bool) {
		longest := retrieval.MaxTextBytes
		if l.split {
			longest = dataset.MaxLineBytes
		}
		for s, err := range dataset.Stream(l.path, longest) {
			if !yield(newItem(s, err)) {
				return
			}
		}
	}
}

// newItem makes an item of a document that was read.
func newItem(s dataset.Stored, err error) (item, error) {
	if err != nil {
		return item{}, err
	}
	x := item{Stored: s}
	if x.fields, err = structpb.NewStruct(s.Fields); err != nil {
		return x, &dataset.LineError{Line: s.Line, ID: s.ID, Err: err}
	}
	return x, nil
}

// load brings a batch in, all but what is there already.
func (l *loader) load(ctx context.Context, batch []item) error {
	for {
		rest, err := l.changed(ctx, batch)
		if err == nil {
			err = l.put(ctx, rest)
		}
		if errors.Is(err, shard.ErrExpired) { // the outage was longer than operations are remembered: look what came of it
			continue
		}
		return err
	}
}

// changed leaves out the documents that the collection holds as they are.
func (l *loader) changed(ctx context.Context, batch []item) ([]item, error) {
	if l.all {
		return batch, nil
	}
	in := &api.GetRequest{Collection: l.collection}
	for _, x := range batch {
		in.Ids = append(in.Ids, x.ID)
		in.Codes = in.Codes || x.Codes != nil
	}
	held := map[string]*api.Document{}
	err := l.persist(ctx, func(ctx context.Context) error {
		got, err := l.Get(ctx, in)
		for _, d := range got.GetDocuments() {
			held[d.Id] = d
		}
		return err
	})
	if errors.Is(err, retrieval.ErrTooLarge) || errors.Is(err, retrieval.ErrInvalid) {
		return batch, nil // the answer is over a limit, or an id is: then the write says what is wrong
	}
	rest := slices.DeleteFunc(slices.Clone(batch), func(x item) bool { return x.same(held[x.ID]) })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Unchanged += len(batch) - len(rest)
	return rest, err
}

// same reports that a document is held as it is. Of vectors that the router projects or reduces it cannot be known.
func (x item) same(d *api.Document) bool {
	if d == nil || x.vectors != nil || x.Text != d.Text {
		return false
	}
	if len(x.fields.Fields) != 0 || len(d.Fields.GetFields()) != 0 {
		if !proto.Equal(x.fields, d.Fields) {
			return false
		}
	}
	if x.Codes == nil {
		return true
	}
	if d.Codes == nil {
		return x.Codes.Len() == 0
	}
	return proto.Equal(d.Codes, endpoint.ToCodes(x.Codes.Bare())) && slices.Equal(spansOf(d.Spans), x.Spans) // an answer's codes are bare
}

// reject notes a row that is not loaded.
func (l *loader) reject(row int, id string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Rejected++
	l.rejects = append(l.rejects, reject{row, id, strings.Replace(err.Error(), fmt.Sprintf("document %q: ", id), "", 1)})
}
