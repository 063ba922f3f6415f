package daemon

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/grpclog"

	"ostraca/consensus"
	"ostraca/ops"
	"ostraca/retrieval/index"
	"ostraca/shard"
	"ostraca/storage"
)

// NodeCommand returns the command that runs a node until its context ends.
func NodeCommand() *cobra.Command {
	o := &nodeOptions{}
	c := &cobra.Command{Use: "node", Short: "Run a node: it keeps replicas of shards",
		Long: "A node keeps replicas of shards, and with others makes a cluster. It ends after SIGTERM or SIGINT: requests under way have --drain-timeout\n" +
			"to end, and leadership is handed over. A second signal ends it at once. docs/running.md shows how to run a cluster."}
	o.register(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := o.configure(c.ErrOrStderr(), o.check); err != nil {
			return err
		}
		ctx, cancel := o.until(c.Context(), c.InOrStdin())
		defer cancel()
		return o.run(ctx)
	}
	return c
}

// run is the node's life.
func (o *nodeOptions) run(ctx context.Context) (err error) {
	metrics := ops.NewMetrics("node", o.set.Name())
	w, err := openWeb(o.http, metrics.Registry, o.log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	n, err := shard.OpenNode(o.options(metrics))
	if err != nil {
		return err
	}
	metrics.Node(n)
	w.is(func(ctx context.Context) ops.Readiness { return ops.NodeReadiness(ctx, n) })
	failed := o.listening(addresses{Listen: n.Address(), HTTP: w.address()})
	if failed == nil {
		failed = o.wait(ctx, w.failed)
	}
	w.drains()
	drain, cancel := context.WithTimeout(context.Background(), o.drain)
	defer cancel()
	if err := n.Drain(drain); err != nil {
		o.log.Warn("not all requests have ended in time", "error", err)
	}
	return errors.Join(failed, n.Close())
}

func (o *nodeOptions) options(metrics *ops.Metrics) shard.NodeOptions {
	requests := ops.Requests{Logger: o.log, Reason: shard.NodeReason}
	countUnary, countStream := metrics.Server()
	return shard.NodeOptions{Node: o.id, Dir: o.dir, Network: consensus.Wire{}, Listen: o.listen, Advertise: o.advertise, Seeds: o.join,
		Expect: o.expect, Replicas: o.replicas, Shards: o.shards, Logger: o.log,
		Index: index.Options{Kernel: o.set, Threads: o.threads}, Storage: storage.Options{OverlayBytes: o.overlayBytes},
		SnapshotBytes: int64(o.snapshotBytes), TrailingBytes: int64(o.snapshotBytes) / 4, MemoryLimit: int64(o.memoryLimit), Dial: metrics.Dial(),
		Serve: []grpc.ServerOption{grpc.ChainUnaryInterceptor(countUnary, requests.Unary), grpc.ChainStreamInterceptor(countStream, requests.Stream)}}
}

// configure reads the file and checks everything.
func (o *common) configure(log io.Writer, check func(io.Writer) error) error {
	if o.config != "" {
		if err := o.settings.read(o.config); err != nil {
			return err
		}
	}
	if err := check(log); err != nil {
		return err
	}
	grpcLog.Do(func() { grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, libraryErrors{o.log})) })
	return nil
}

// grpcLog takes gRPC's own log over, which there is one of in a process.
var grpcLog sync.Once

// libraryErrors makes lines of ours of gRPC's and the gateway's errors: most tell of a client that went away.
type libraryErrors struct{ log *slog.Logger }

func (l libraryErrors) Write(b []byte) (int, error) {
	_, text, _ := strings.Cut(string(b), "ERROR: ")
	l.log.Info("grpc", "error", strings.TrimSpace(text))
	return len(b), nil
}
