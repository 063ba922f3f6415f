package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"ostraca/api"
	"ostraca/retrieval"
	"ostraca/shard"
)

// listOptions are the flags of list.
type listOptions struct {
	target
	limit          int
	cursor, filter string
	all            bool
}

func newList(a *app) *cobra.Command {
	var o listOptions
	c := &cobra.Command{
		Use:   "list --collection C",
		Short: "List documents of a live cluster in the order of their ids",
		Long: "Lists a page of documents, a line each. Where there are more, it says the cursor of the next page. For whole documents see\n" +
			"get, for all of a collection in a file see export.",
		Example: "  ostraca list -c notes --filter 'fields.year >= 2020'",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return a.list(c.Context(), o) },
	}
	f := c.Flags()
	o.register(f)
	o.registerCollection(f)
	o.registerRead(f)
	f.IntVar(&o.limit, "limit", 100, "documents of a page")
	f.StringVar(&o.cursor, "cursor", "", "start after this one: what the page before said")
	registerFilter(f, &o.filter)
	f.BoolVar(&o.all, "all", false, "all pages")
	return c
}

type listJSON struct {
	Documents  []documentJSON `json:"documents"`
	NextCursor string         `json:"next_cursor"` // empty: that was all
}

func (a *app) list(ctx context.Context, o listOptions) error {
	if err := o.needsCollection(); err != nil {
		return err
	}
	if o.limit < 1 {
		return fmt.Errorf("--limit is %d, it must be at least 1: %w", o.limit, retrieval.ErrInvalid)
	}
	r, err := a.connect(ctx, o.target)
	if err != nil {
		return err
	}
	defer r.close()
	out := listJSON{Documents: []documentJSON{}, NextCursor: o.cursor}
	for n := 0; o.all || n < o.limit; { // a page of the cluster may be shorter than asked for, or empty
		limit := shard.MaxListed
		if !o.all {
			limit = min(limit, o.limit-n)
		}
		page, err := r.List(ctx, &api.ListRequest{Collection: o.collection, Cursor: out.NextCursor, Limit: uint32(limit), Filter: o.filter, Read: o.read})
		if err != nil {
			return err
		}
		n += len(page.Documents)
		for _, d := range page.Documents {
			if !a.json {
				a.printLine(d)
			}
		}
		if a.json {
			out.Documents = append(out.Documents, documentsJSON(page.Documents)...)
		}
		if out.NextCursor = page.NextCursor; out.NextCursor == "" {
			break
		}
	}
	if a.json {
		return a.printJSON(out)
	}
	if out.NextCursor != "" {
		a.printf("There are more: go on with --cursor %q, or see all with --all.\n", out.NextCursor)
	}
	return nil
}
