package main

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"ostraca/api"
)

func newCluster(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "cluster",
		Short: "Look at a live cluster",
		Args:  noVerb("status"),
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },

		FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true}, // those of a verb that is misspelt are not what is wrong
	}
	c.AddCommand(newClusterStatus(a))
	return c
}

func newClusterStatus(a *app) *cobra.Command {
	var o target
	c := &cobra.Command{
		Use:   "status",
		Short: "Show nodes, shards, leaders, lag, sizes and pending work",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := a.connect(c.Context(), o)
			if err != nil {
				return err
			}
			defer r.close()
			s, err := r.Status(c.Context(), &api.StatusRequest{})
			if err != nil {
				return err
			}
			if a.json {
				return a.printMessage(s)
			}
			a.printStatus(s)
			return nil
		},
	}
	o.register(c.Flags())
	return c
}

// unreachable is the role of a replica that did not answer.
const unreachable = "unreachable"

// troubleWidth is how much of a replica's trouble the table shows; --json has it whole.
const troubleWidth = 60

func (a *app) printStatus(s *api.StatusResponse) {
	a.printf("cluster %s, asked through %s\n\n", s.Cluster, s.Router)
	table := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	row := func(cells ...any) {
		text := make([]string, len(cells))
		for i, c := range cells {
			text[i] = printable(fmt.Sprint(c))
		}
		fmt.Fprintln(table, strings.TrimRight(strings.Join(text, "\t"), "\t"))
	}
	reached := map[string]bool{} // of the nodes with replicas, whether one answered
	for _, x := range s.Shards {
		for _, r := range x.Replicas {
			reached[r.Node] = reached[r.Node] || r.Role != unreachable
		}
	}
	row("NODE", "ADDRESS", "STATE", "REPLICAS", "LEADS")
	for _, n := range s.Nodes {
		state := "alive"
		if !n.Alive {
			state = "not heard of"
		} else if answers, has := reached[n.Node]; has && !answers {
			state = unreachable
		}
		row(n.Node, cmp.Or(n.Address, "-"), state, n.Replicas, n.Leads)
	}
	row()
	row("SHARD", "NODE", "ROLE", "APPLIED", "LAG", "DOCUMENTS", "TOKENS", "STATE FILE", "LOG", "MEMORY", "TROUBLE")
	for _, x := range s.Shards {
		for _, r := range x.Replicas {
			trouble := cut(r.Trouble, troubleWidth)
			if r.Role == unreachable { // nothing is known of it
				row(x.Shard, r.Node, r.Role, "-", "-", "-", "-", "-", "-", "-", trouble)
				continue
			}
			row(x.Shard, r.Node, r.Role, r.Applied, r.Lag, r.Documents, r.Tokens, megabytes(r.StateBytes), megabytes(r.LogBytes), megabytes(r.IndexBytes+r.OverlayBytes), trouble)
		}
	}
	row()
	row("COLLECTION", "DOCUMENTS", "TOKENS", "KIND")
	for _, c := range s.Collections {
		row(c.Name, c.Documents, c.Tokens, describeKind(c))
	}
	_ = table.Flush() // the sink remembers what could not be written
	a.printf("\n")
	for _, x := range s.Shards {
		if x.Leader == "" {
			a.printf("shard %d has no leader: it takes no writes\n", x.Shard)
		}
		if !x.DigestsAgree {
			a.printf("shard %d: replicas at the same index differ: one of them is damaged\n", x.Shard)
		}
	}
	for _, p := range s.Pending {
		a.printf("pending: %s of collection %s, %d of %d shards done\n", p.Change, p.Collection, p.ShardsDone, p.Shards)
	}
	if len(s.Pending) == 0 {
		a.printf("nothing is pending\n")
	}
}

func megabytes(n uint64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
