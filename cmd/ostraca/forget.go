package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"ostraca/api"
	"ostraca/retrieval"
)

// forgetOptions are the flags of forget.
type forgetOptions struct {
	target
	parents []string
	dryRun  bool
}

func newForget(a *app) *cobra.Command {
	var o forgetOptions
	c := &cobra.Command{
		Use:   "forget ID... --collection C",
		Short: "Forget documents of a live cluster, by id or with all passages of a parent",
		Long: "Forgets documents and says how many there were, with a receipt of every shard: where in its log the forget stands, and the\n" +
			"digest of the collection's data from then on, that of a collection which never held them. It asks nothing: see --dry-run.",
		Example: "  ostraca forget rome -c notes --dry-run\n  ostraca forget --parent book -c notes",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 && len(o.parents) == 0 {
				return fmt.Errorf("forget needs an ID or --parent P: see ostraca forget --help: %w", retrieval.ErrInvalid)
			}
			return a.forget(c.Context(), o, args)
		},
	}
	o.register(c.Flags())
	o.registerCollection(c.Flags())
	c.Flags().StringArrayVar(&o.parents, "parent", nil, "forget all passages of this parent, ids P#...; may be given several times")
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "only tell what would be forgotten")
	return c
}

func (a *app) forget(ctx context.Context, o forgetOptions, ids []string) error {
	if err := o.needsCollection(); err != nil {
		return err
	}
	r, err := a.connect(ctx, o.target)
	if err != nil {
		return err
	}
	defer r.close()
	in := &api.ForgetRequest{Collection: o.collection, Ids: ids, Parents: o.parents, DryRun: o.dryRun}
	if !o.dryRun {
		if in.OperationId, err = r.operation(ctx); err != nil {
			return err
		}
	}
	var out *api.ForgetResponse
	err = r.persist(ctx, func(ctx context.Context) (err error) {
		out, err = r.Forget(ctx, in)
		return err
	})
	if err != nil {
		return err
	}
	if a.json {
		return a.printMessage(out)
	}
	if o.dryRun {
		for _, id := range out.Ids {
			a.printf("%s\n", printable(id))
		}
		a.printf("%s would be forgotten\n", plural(int(out.Count), "document"))
		return nil
	}
	a.printf("%s forgotten\n", plural(int(out.Count), "document"))
	for _, x := range out.Receipts {
		a.printf("    shard %d, index %d, digest %s\n", x.Shard, x.Index, x.Digest)
	}
	return nil
}
