// Command node runs a node of a cluster: it keeps replicas of shards (docs/running.md).
package main

import (
	"os"

	"ostraca/ops/daemon"
)

func main() { os.Exit(daemon.Main(daemon.NodeCommand())) }
