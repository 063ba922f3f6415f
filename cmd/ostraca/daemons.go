package main

import (
	"github.com/spf13/cobra"

	"ostraca/ops/daemon"
)

// newDaemons returns the hidden verbs node and router, the same as the commands of those names: so one binary can start a cluster of itself.
func newDaemons() []*cobra.Command {
	all := []*cobra.Command{daemon.NodeCommand(), daemon.RouterCommand(inside())}
	for _, c := range all {
		c.Hidden = true
	}
	return all
}
