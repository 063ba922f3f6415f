package endpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

	"ostraca/api"
	"ostraca/shard"
)

// put is a put under way. Documents are encoded in chunks, and while one chunk is encoded the one before is written, so that memory does not
// grow with the request.
type put struct {
	*Service
	collection string
	base       shard.OperationID
	maxTokens  int
	outcomes   []*api.WriteOutcome // nil: nothing was tried yet
	receipts   receipts
	written    bool // something may have been
}

// pending is a document on its way.
type pending struct {
	at    int
	input shard.Input
	shard.Prepared
}

func (s *Service) put(ctx context.Context, q *api.PutRequest) (*api.WriteResponse, error) {
	if err := cmp.Or(shard.CheckCollection(q.GetCollection()), atMost(len(q.GetDocuments()), MaxPut, "documents of a put", "put several batches")); err != nil {
		return nil, fmt.Errorf("put: %w", err)
	}
	base, err := s.operation(ctx, q.GetOperationId())
	if err != nil {
		return nil, fmt.Errorf("put: %w", err)
	}
	p := &put{Service: s, collection: q.GetCollection(), base: base, maxTokens: int(q.GetMaxTokens()),
		outcomes: make([]*api.WriteOutcome, len(q.GetDocuments())), receipts: receipts{}}
	if err := p.run(ctx, q.GetDocuments()); err != nil && !p.written {
		return nil, fmt.Errorf("put: %w", err)
	} else if err != nil {
		for i, o := range p.outcomes {
			if o == nil {
				p.outcomes[i] = &api.WriteOutcome{Id: q.GetDocuments()[i].GetId(), Error: toError(fmt.Errorf("not tried: %w", err))}
			}
		}
	}
	return &api.WriteResponse{Outcomes: p.outcomes, Receipts: p.receipts.api(), OperationId: text(base)}, nil
}

// run puts documents until all have an outcome, or something stops it that concerns all.
func (p *put) run(ctx context.Context, documents []*api.PutDocument) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	prepared := make(chan []pending)
	var writing sync.WaitGroup
	writing.Go(func() {
		for chunk := range prepared {
			if ctx.Err() == nil {
				if err := p.guard(ctx, func() error { return p.write(ctx, chunk) }); err != nil {
					stop(err)
				}
			}
		}
	})
	err := p.prepareAll(ctx, documents, prepared)
	close(prepared)
	writing.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// prepareAll makes chunks of documents and sends them on.
func (p *put) prepareAll(ctx context.Context, documents []*api.PutDocument, to chan<- []pending) error {
	var next chunk
	flush := func() error {
		todo, err := p.prepare(ctx, next.inputs, next.at)
		next = chunk{}
		if err == nil && len(todo) > 0 {
			to <- todo // the writer takes them also when it has stopped
		}
		return errors.Join(err, ctx.Err())
	}
	for i, d := range documents {
		in, err := inputOf(d)
		if err != nil {
			p.outcomes[i] = &api.WriteOutcome{Id: toText(d.GetId()), Error: toError(err)}
			continue
		}
		if !next.takes(in) {
			if err := flush(); err != nil {
				return err
			}
		}
		next.add(i, in)
	}
	if len(next.at) == 0 {
		return nil
	}
	return flush()
}

// prepare encodes documents; those that cannot be have their outcome then.
func (p *put) prepare(ctx context.Context, inputs []shard.Input, at []int) ([]pending, error) {
	prepared, err := p.router.Prepare(ctx, p.collection, inputs, p.maxTokens)
	if err != nil {
		return nil, err
	}
	var out []pending
	for i, x := range prepared {
		if x.Err != nil {
			p.outcomes[at[i]] = &api.WriteOutcome{Id: inputs[i].ID, Error: toError(x.Err)}
			continue
		}
		x.Operation.ID = p.base.Plus(at[i])
		out = append(out, pending{at[i], inputs[i], x})
	}
	return out, nil
}

// write writes a chunk. Where a collection has another epoch by now it is encoded anew and written again, by the same operation ids: an outcome
// that says so is not remembered.
func (p *put) write(ctx context.Context, todo []pending) error {
	for try := 1; len(todo) > 0; try++ {
		results, err := p.router.Write(ctx, operations(todo))
		if err != nil {
			return err
		}
		p.written = true
		var again chunk
		for i, r := range results {
			d := todo[i]
			if errors.Is(r.Failure(), shard.ErrRetry) && try < putTries {
				again.add(d.at, d.input)
				continue
			}
			p.receipts.add(r.Receipts)
			p.outcomes[d.at] = outcome(d.input.ID, r)
			if r.Failure() == nil {
				p.outcomes[d.at].Tokens, p.outcomes[d.at].TokensCut = uint32(d.Tokens), uint32(d.Cut)
			}
		}
		if todo = nil; len(again.at) > 0 {
			if todo, err = p.prepare(ctx, again.inputs, again.at); err != nil {
				return err
			}
		}
	}
	return nil
}

func operations(todo []pending) *shard.WriteRequest {
	w := &shard.WriteRequest{}
	for _, d := range todo {
		w.Operations = append(w.Operations, d.Operation)
	}
	return w
}

// outcome says what became of one operation on one document.
func outcome(id string, r shard.Result) *api.WriteOutcome {
	out := &api.WriteOutcome{Id: id, Version: r.Version}
	if err := r.Failure(); err != nil {
		out.Error = toError(fmt.Errorf("document %q: %w", id, err))
	}
	return out
}

// chunk is texts that are encoded together, and vectors and codes that are prepared together.
type chunk struct {
	at                      []int
	inputs                  []shard.Input
	texts, textBytes, bytes int
}

// takes tells whether a further document fits.
func (c *chunk) takes(in shard.Input) bool {
	if len(c.at) == 0 {
		return true
	}
	if !in.Encoded() {
		return c.texts < chunkTexts && c.textBytes+len(in.Text) <= chunkTextBytes
	}
	return c.bytes+4*len(in.Vectors)+len(in.Codes.Rows)+len(in.Text) <= chunkBytes
}

func (c *chunk) add(at int, in shard.Input) {
	c.at, c.inputs = append(c.at, at), append(c.inputs, in)
	if in.Encoded() {
		c.bytes += 4*len(in.Vectors) + len(in.Codes.Rows) + len(in.Text)
	} else {
		c.texts, c.textBytes = c.texts+1, c.textBytes+len(in.Text)
	}
}

func (s *Service) patch(ctx context.Context, q *api.PatchRequest) (*api.WriteResponse, error) {
	if err := cmp.Or(shard.CheckCollection(q.GetCollection()), atMost(len(q.GetDocuments()), MaxPut, "documents of a patch", "patch several batches")); err != nil {
		return nil, fmt.Errorf("patch: %w", err)
	}
	base, err := s.operation(ctx, q.GetOperationId())
	if err != nil {
		return nil, fmt.Errorf("patch: %w", err)
	}
	outcomes, all := make([]*api.WriteOutcome, len(q.GetDocuments())), receipts{}
	w, at := &shard.WriteRequest{}, []int(nil)
	for i, d := range q.GetDocuments() {
		body := &shard.Patch{ID: d.GetId()}
		body.Fields, err = fieldsOf(d.GetFields())
		if err == nil {
			body.Condition, err = conditionOf(false, d.IfVersion)
		}
		if err != nil {
			outcomes[i] = &api.WriteOutcome{Id: d.GetId(), Error: toError(fmt.Errorf("document %q: %w", d.GetId(), err))}
			continue
		}
		w.Operations, at = append(w.Operations, shard.Operation{ID: base.Plus(i), Collection: q.GetCollection(), Body: body}), append(at, i)
	}
	results, err := s.router.Write(ctx, w)
	if err != nil {
		return nil, fmt.Errorf("patch: %w", err)
	}
	for i, r := range results {
		all.add(r.Receipts)
		outcomes[at[i]] = outcome(q.GetDocuments()[at[i]].GetId(), r)
	}
	return &api.WriteResponse{Outcomes: outcomes, Receipts: all.api(), OperationId: text(base)}, nil
}
