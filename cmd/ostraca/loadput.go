package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"ostraca/api"
	"ostraca/ops/dataset"
	"ostraca/retrieval"
	"ostraca/retrieval/index"
	"ostraca/shard"
	"ostraca/shard/endpoint"
)

// put writes a batch under one operation id, until every document of it was written or refused.
func (l *loader) put(ctx context.Context, batch []item) error {
	if len(batch) == 0 {
		return nil
	}
	if long := batch[0]; l.split && len(batch) == 1 && len(long.Text) > retrieval.MaxTextBytes {
		return l.passages(ctx, long) // no write can hold it
	}
	in := &api.PutRequest{Collection: l.collection, MaxTokens: uint32(l.maxTokens)}
	for _, x := range batch {
		in.Documents = append(in.Documents, x.wire())
	}
	var err error
	if in.OperationId, err = l.operation(ctx); err != nil {
		return err
	}
	var out *api.WriteResponse
	err = l.persist(ctx, func(ctx context.Context) (err error) {
		if out, err = l.Put(ctx, in); err != nil {
			return err
		}
		for _, o := range out.Outcomes {
			if err := outcomeError(o.Error); transient(err) && !parentFull(err) {
				return err // the same again tells the others what it told them before
			}
		}
		return nil
	})
	refused := errors.Is(err, retrieval.ErrInvalid) || errors.Is(err, retrieval.ErrTooLarge)
	switch {
	case refused && len(batch) == 1:
		l.reject(batch[0].Line, batch[0].ID, err)
		return nil
	case refused: // one of them spoils the whole: each alone
		for i := range batch {
			if err := l.put(ctx, batch[i:i+1]); err != nil {
				return err
			}
		}
		return nil
	case errors.Is(err, shard.ErrExhausted):
		return fmt.Errorf("%w: make room and run the same command again", err)
	case err != nil:
		return err
	case len(out.Outcomes) != len(batch):
		return fmt.Errorf("%s gave %d outcomes for %d documents: is it of another release? %w", l.address, len(out.Outcomes), len(batch), retrieval.ErrCorrupt)
	}
	return l.settle(ctx, batch, out.Outcomes)
}

// parentFull reports that a document was refused for its parent, which waiting does not mend: every other limit that is exhausted is of the
// cluster. They have one reason, so the text of shard's limit tells them apart.
func parentFull(err error) bool {
	return errors.Is(err, shard.ErrExhausted) && strings.Contains(err.Error(), fmt.Sprintf("holds %d passages, the limit", shard.MaxPassages))
}

// settle counts what came of a batch, and cuts the texts that were too long where that was asked for.
func (l *loader) settle(ctx context.Context, batch []item, outcomes []*api.WriteOutcome) error {
	for i, o := range outcomes {
		x, err := batch[i], outcomeError(o.Error)
		if err == nil {
			l.mu.Lock()
			l.report.Loaded++
			l.report.Tokens += int64(o.Tokens)
			l.report.Cut += int64(o.TokensCut)
			l.guess.saw(int(o.Tokens))
			l.mu.Unlock()
			continue
		}
		if l.split && errors.Is(err, retrieval.ErrTooLarge) && len(x.Text) > passageBytes && x.Codes == nil {
			err = l.passages(ctx, x)
			if err != nil {
				return err
			}
			continue
		}
		l.reject(x.Line, x.ID, err)
	}
	return nil
}

// wire is the document as a put takes it.
func (x item) wire() *api.PutDocument {
	d := &api.PutDocument{Id: x.ID, Text: x.Text, Fields: x.fields, Spans: wireSpans(x.Spans)}
	if x.Codes != nil {
		d.Codes = endpoint.ToCodes(*x.Codes)
	}
	if x.vectors != nil {
		d.Tokens = wireVectors(x.vectors, x.width)
	}
	return d
}

// passages loads a long text as passages of one parent.
func (l *loader) passages(ctx context.Context, x item) error {
	parts, err := split(x)
	if err != nil {
		l.reject(x.Line, x.ID, err)
		return nil
	}
	l.mu.Lock()
	l.report.Split++
	l.mu.Unlock()
	for len(parts) > 0 {
		n, full := 0, 0.0
		for n < len(parts) && n < l.batch && (n == 0 || full+parts[n].size() <= 1) {
			full += parts[n].size()
			n++
		}
		if err := l.load(ctx, parts[:n]); err != nil {
			return err
		}
		parts = parts[n:]
	}
	return nil
}

// vectorItems reads rows of vectors: as codes, unless the router has to project or to reduce them.
func (l *loader) vectorItems() iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		v, err := dataset.OpenVectors(l.path)
		if err != nil {
			yield(item{}, err)
			return
		}
		defer v.Close()
		raw := l.to.VectorWidth != 0 && l.to.VectorWidth != l.to.Width || l.to.Reduction != nil
		number := 0
		for row, err := range v.Documents() {
			if err != nil {
				yield(item{}, err)
				return
			}
			number++
			x, err := newItem(dataset.Stored{Document: row.Document, Spans: row.Spans, Line: number}, nil)
			if err == nil && raw {
				x.vectors, x.width = row.Vectors, v.Width()
			} else if err == nil {
				var codes retrieval.Codes
				if codes, err = index.Quantize(retrieval.Codec(l.to.Codec), row.Vectors, v.Width()); err == nil {
					x.Codes = &codes
				} else {
					err = &dataset.LineError{File: l.path, Line: number, ID: row.ID, Err: err}
				}
			}
			if !yield(x, err) {
				return
			}
		}
	}
}
