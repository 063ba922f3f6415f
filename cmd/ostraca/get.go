package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"ostraca/api"
	"ostraca/retrieval"
)

func newGet(a *app) *cobra.Command {
	var o target
	var codes bool
	c := &cobra.Command{
		Use:     "get ID... --collection C",
		Short:   "Show documents of a live cluster by id",
		Long:    "Shows documents with their text, fields and version. It fails if it finds none of them; which of several are missing is said.",
		Example: "  ostraca get rome paris -c notes\n  ostraca get rome -c notes --read local --json",
		Args:    needs("ID", true),
		RunE: func(c *cobra.Command, args []string) error {
			return a.get(c.Context(), o, args, codes)
		},
	}
	o.register(c.Flags())
	o.registerCollection(c.Flags())
	o.registerRead(c.Flags())
	c.Flags().BoolVar(&codes, "codes", false, "with the codes and spans of their tokens")
	return c
}

type getJSON struct {
	Documents []documentJSON `json:"documents"`
	Missing   []string       `json:"missing"`
}

func (a *app) get(ctx context.Context, o target, ids []string, codes bool) error {
	if err := o.needsCollection(); err != nil {
		return err
	}
	r, err := a.connect(ctx, o)
	if err != nil {
		return err
	}
	defer r.close()
	got, err := r.Get(ctx, &api.GetRequest{Collection: o.collection, Ids: ids, Read: o.read, Codes: codes})
	if err != nil {
		return err
	}
	if len(got.Documents) == 0 {
		return fmt.Errorf("%q holds no document of the ids %s: %w", o.collection, shorten(fmt.Sprintf("%q", ids), 200), retrieval.ErrNotFound)
	}
	if a.json {
		return a.printJSON(getJSON{documentsJSON(got.Documents), append([]string{}, got.Missing...)})
	}
	for _, d := range got.Documents {
		a.printWhole(d)
	}
	for _, id := range got.Missing {
		a.printf("%s  not held\n", printable(id))
	}
	return nil
}
