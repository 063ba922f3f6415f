package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ostraca/api"
)

// registerFilter adds the flag of the verbs that take some of a collection's documents.
func registerFilter(f *pflag.FlagSet, filter *string) {
	f.StringVar(filter, "filter", "", `only documents for which this holds, such as 'fields.year >= 2020 && fields.lang == "en"' (docs/endpoint.md)`)
}

func newCount(a *app) *cobra.Command {
	var o target
	var filter string
	c := &cobra.Command{
		Use:     "count --collection C",
		Short:   "Count documents of a live cluster, all or those that a filter lets through",
		Example: "  ostraca count -c notes --filter 'fields.lang == \"en\"'",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.needsCollection(); err != nil {
				return err
			}
			r, err := a.connect(c.Context(), o)
			if err != nil {
				return err
			}
			defer r.close()
			n, err := r.Count(c.Context(), &api.CountRequest{Collection: o.collection, Filter: filter, Read: o.read})
			if err != nil {
				return err
			}
			if a.json {
				return a.printMessage(n)
			}
			a.printf("%d\n", n.Count)
			return nil
		},
	}
	o.register(c.Flags())
	o.registerCollection(c.Flags())
	o.registerRead(c.Flags())
	registerFilter(c.Flags(), &filter)
	return c
}
