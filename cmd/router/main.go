// Command router runs a router: it answers the clients of a cluster, over gRPC and HTTP (docs/running.md).
package main

import (
	"os"

	"ostraca/ops"
	"ostraca/ops/daemon"
	"ostraca/retrieval/encoder/bge"
)

func main() {
	os.Exit(daemon.Main(daemon.RouterCommand(ops.Embedded{Name: "bge", Weights: bge.Weights(), Projection: bge.Projection()})))
}
