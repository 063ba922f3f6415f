package main

import (
	"cmp"
	"context"
	"fmt"

	"ostraca/api"
	"ostraca/retrieval"
	"ostraca/shard"
)

// This file settles, before documents are written, that a data set and a collection are of one kind.

// createFor makes the collection that a data set is loaded into. Vectors from outside say how wide they are.
func (r *remote) createFor(ctx context.Context, o loadOptions, width int) (*api.Collection, error) {
	in, err := r.app.request(&o.kind, o.collection)
	if err != nil {
		return nil, err
	}
	if in.Encoder == "none" && width > 0 {
		if in.Width == 0 {
			in.Width = uint32(width)
		}
		if in.VectorWidth == 0 && int(in.Width) != width {
			in.VectorWidth = uint32(width)
		}
	}
	in.IfAbsent = true
	return r.create(ctx, in)
}

// agrees reports where flags that were given, of a collection to make, contradict the one that is there.
func (r *remote) agrees(ctx context.Context, held *api.Collection, o loadOptions) error {
	if o.kind == (kindOptions{}) {
		return nil
	}
	encoder := held.Encoder
	if encoder == "" {
		encoder = "none"
	}
	for _, f := range []struct {
		flag        string
		given       bool
		asked, held any
	}{
		{"encoder", o.kind.encoder != "", o.kind.encoder, encoder},
		{"codec", o.kind.codec != "", o.kind.codec, held.Codec},
		{"width", o.kind.width != 0, o.kind.width, held.Width},
		{"vector-width", o.kind.vectorWidth != 0, o.kind.vectorWidth, max(held.VectorWidth, held.Width)},
		{"pool", o.kind.reduction.pool != 0, max(o.kind.reduction.pool, 1), max(held.Reduction.GetPool(), 1)},
		{"drop-punctuation", o.kind.reduction.dropPunctuation, true, held.Reduction.GetDropPunctuation()},
		{"keep", o.kind.reduction.keep != 0, o.kind.reduction.keep, cmp.Or(held.Reduction.GetKeep(), 1)},
		{"project-sample", o.kind.sample != "" && held.Projection == "", o.kind.sample, "none"},
		{"lists-sample", o.kind.lists != "" && held.Lists == "", o.kind.lists, "none"},
	} {
		if f.given && f.asked != f.held {
			return fmt.Errorf("collection %q is there already (%s): its --%s is %.12s, not %v: leave the flag out, or load into another collection: %w", held.Name, describeKind(held), f.flag, fmt.Sprint(f.held), f.asked, shard.ErrExists)
		}
	}
	if o.kind.sample == "" && o.kind.lists == "" {
		return nil
	}
	o.kind.encoder, o.kind.codec, o.kind.width, o.kind.vectorWidth = encoder, held.Codec, held.Width, 0
	if held.Encoder == "" {
		o.kind.vectorWidth = held.VectorWidth
	}
	o.kind.reduction = reductionOptions{held.Reduction.GetPool(), held.Reduction.GetDropPunctuation(), held.Reduction.GetKeep()}
	_, err := r.createFor(ctx, o, 0) // which fits the projection, makes the lists, and compares
	return err
}

// encodes tells why no text can be encoded for a collection, in unfit. The error is that it could not be found out.
func (r *remote) encodes(ctx context.Context, c *api.Collection) (unfit, err error) {
	if c.Encoder == "" {
		return fmt.Errorf("collection %q takes vectors or codes, not texts: it was made without an encoder: %w", c.Name, retrieval.ErrInvalid), nil
	}
	var s *api.StatusResponse
	err = r.persist(ctx, func(ctx context.Context) (err error) {
		s, err = r.Status(ctx, &api.StatusRequest{})
		return err
	})
	if err == nil && s.Encoder != c.Encoder {
		has := "none"
		if s.Encoder != "" {
			has = fmt.Sprintf("%.12s", s.Encoder)
		}
		unfit = fmt.Errorf("collection %q is of encoder %.12s, and the router at %s has %s: ask a router that has it, or load into another collection: %w", c.Name, c.Encoder, r.address, has, retrieval.ErrInvalid)
	}
	return unfit, err
}

// fits reports a mistake that concerns the whole data set, found at its first document.
func (l *loader) fits(x item) error {
	switch {
	case x.Codes == nil && x.vectors == nil && x.Text != "" && l.unfit != nil:
		return fmt.Errorf("%s: row %d, %q: %w", l.path, x.Line, x.ID, l.unfit)
	case x.Codes != nil && x.Codes.Width != int(l.to.Width):
		return fmt.Errorf("%s: row %d, %q: its codes are %d wide, and collection %q takes %d: %w", l.path, x.Line, x.ID, x.Codes.Width, l.to.Name, l.to.Width, retrieval.ErrInvalid)
	case x.Codes != nil && string(x.Codes.Codec) != l.to.Codec:
		return fmt.Errorf("%s: row %d, %q: its codes are of codec %s, and collection %q holds %s: %w", l.path, x.Line, x.ID, x.Codes.Codec, l.to.Name, l.to.Codec, retrieval.ErrInvalid)
	}
	return nil
}

// nothing is the failure of a load of which every row was rejected, nil of any other.
func (l *loader) nothing() error {
	r := l.report
	if r.Rejected == 0 || r.Loaded+r.Unchanged > 0 {
		return nil
	}
	return fmt.Errorf("%s: nothing could be loaded: %s rejected, the first: %s", l.path, plural(r.Rejected, "row"), l.rejects[0])
}

// undo drops the collection that a failed load made, if nothing is in it.
func (l *loader) undo(ctx context.Context, cause error) error {
	if !l.made || l.report.Loaded > 0 || transient(cause) || ctx.Err() != nil {
		return nil
	}
	c, err := l.find(ctx, l.collection)
	if err == nil && c != nil && c.Documents == 0 {
		_, err = l.drop(ctx, l.collection)
	}
	return err
}
