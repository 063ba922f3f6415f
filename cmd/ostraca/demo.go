package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"ostraca/ops/dataset"
	"ostraca/ops/eval"
	"ostraca/ops/local"
	"ostraca/retrieval"
)

// demoCorpus is where the repository keeps XQuAD.
const demoCorpus = "testdata/corpora/xquad_en"

// withoutKernel is how many passages the demo takes on a CPU that only runs the Go twin, which is a hundred times slower.
const withoutKernel = 24

// demoPatience is how long one request may take.
const demoPatience = time.Minute

// The demo's cluster.
const demoNodes, demoShards, demoReplicas, demoCollection = 3, 3, 3, "demo"

func newDemo(a *app) *cobra.Command {
	d := &demo{app: a}
	var exit bool
	var codec string
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run a cluster on this machine, load a real corpus, measure, and kill a node",
		Long: "Starts three nodes and a router as processes on loopback, loads 240 passages of XQuAD into three replicated shards, asks 1,190\n" +
			"questions whose right passage is known, and explains three answers. Then it kills a node with kill -9 while clients write and\n" +
			"search, brings it back, and forgets a document on every replica. At the end it takes questions of your own, unless --exit is given or\n" +
			"nobody is typing. All processes and files of the demo are gone afterwards.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if d.codec, err = checkCodec(codec); err != nil {
				return err
			}
			return d.run(c.Context(), exit || a.json || !isTerminal(os.Stdin))
		},
	}
	c.Flags().StringVar(&d.corpus, "corpus", demoCorpus, "another corpus: a BEIR directory with queries and judgements")
	c.Flags().StringVar(&codec, "codec", "", "how vectors are stored: int8, 4bit, 3bit, 2bit or 1bit (default int8)")
	c.Flags().BoolVar(&exit, "exit", false, "end without taking questions")
	return c
}

// demoJSON is what demo --json prints.
type demoJSON struct {
	Nodes     int     `json:"nodes"`
	Shards    int     `json:"shards"`
	Replicas  int     `json:"replicas"`
	Documents int     `json:"documents"`
	Tokens    int64   `json:"tokens"`
	Queries   int     `json:"queries"`
	Kernel    string  `json:"kernel"`
	StartS    float64 `json:"start_s"`
	LoadS     float64 `json:"load_s"`
	SearchP50 float64 `json:"search_p50_ms"` // through the router, the question's encoding included
	eval.Scores
	Answers []searchJSON `json:"answers"`
	demoKill
	demoForget
	Seconds float64 `json:"seconds"`
}

// demo is one run of it.
type demo struct {
	app        *app
	corpus     string
	codec      retrieval.Codec
	limit      int // documents to load, 0 is all
	queries    []query
	judgements dataset.Judgements
	cluster    *local.Cluster
	client     *remote
	demoJSON
}

// run is the whole demo. However it ends, the processes end and their files go.
func (d *demo) run(ctx context.Context, exit bool) (err error) {
	start := time.Now()
	if err := d.read(); err != nil {
		return err
	}
	defer func() {
		if ctx.Err() != nil { // and not what was interrupted
			err = ctx.Err()
		}
	}()
	if err := d.start(ctx); err != nil {
		return err
	}
	defer func() {
		d.app.say("Ending all processes.\n")
		err = errors.Join(err, d.cluster.Close())
	}()
	if d.client, err = d.app.connect(ctx, target{router: d.cluster.Address(), timeout: demoPatience}); err != nil {
		return err
	}
	defer d.client.close()
	for _, step := range []func(context.Context) error{d.load, d.measure, d.answer, d.survive, d.forget} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	d.Seconds = time.Since(start).Seconds()
	if d.app.json {
		return d.app.printJSON(d.demoJSON)
	}
	d.summary()
	if exit {
		return nil
	}
	d.invite()
	return d.app.converse(ctx, d.ask)
}

// read reads questions and judgements, and tells of a slow CPU.
func (d *demo) read() error {
	if layout, err := dataset.Detect(d.corpus); err == nil && layout != dataset.BEIR {
		return fmt.Errorf("%s: the demo needs a directory with corpus.jsonl, queries.jsonl and qrels.tsv: %w", d.corpus, retrieval.ErrInvalid)
	}
	var err error
	d.queries, d.judgements, err = judged(d.corpus, evalOptions{})
	if errors.Is(err, fs.ErrNotExist) && d.corpus == demoCorpus {
		return fmt.Errorf("%w (run the demo from the root of the repository, or name another corpus with --corpus DIR)", err)
	}
	if err != nil {
		return err
	}
	set, err := d.app.set()
	if err != nil {
		return err
	}
	d.Kernel = set.Name()
	if d.Kernel == "go" {
		d.limit = withoutKernel
		d.app.say("No kernel for this CPU is in use, only the Go twin, which is slow: the first %d passages and their questions.\n", d.limit)
	}
	return nil
}

// start starts the cluster, of this very binary.
func (d *demo) start(ctx context.Context) error {
	began := time.Now()
	d.Nodes, d.Shards, d.Replicas = demoNodes, demoShards, demoReplicas
	d.app.say("Starting %d nodes and a router: processes of their own, on loopback.\n", d.Nodes)
	var err error
	if d.cluster, err = d.app.startOwn(ctx, owned{nodes: d.Nodes, shards: d.Shards, replicas: d.Replicas}); err != nil {
		return err
	}
	d.StartS = time.Since(began).Seconds()
	for _, n := range d.cluster.Nodes() {
		d.app.say("  node   %-9s process %-8d %s\n", n.ID, n.PID, n.Listen)
	}
	r := d.cluster.Info(local.Router)
	d.app.say("  router %-9s process %-8d %s (HTTP and JSON), %s (gRPC)\n", r.ID, r.PID, r.HTTP, r.GRPC)
	d.app.say("Ready in %.1f s: %d shards, each on %d nodes that agree by Raft. Logs: %s\n\n", d.StartS, d.Shards, d.Replicas, d.cluster.Dir())
	return nil
}

// summary says what was measured.
func (d *demo) summary() {
	say := d.app.say
	say("Measured in %.1f s:\n", d.Seconds)
	say("  %d documents, %d questions, nDCG@10 %.4f; search p50 %.1f ms through the router, encoding included\n", d.Documents, d.Queries, d.NDCG10, d.SearchP50)
	say("  during the kill: %d queries and %d writes, %d failed; no successful write for at most %.0f ms, no successful query for at most %.0f ms\n",
		d.QueriesDuring, d.WritesDuring, d.Failed, d.WriteGap, d.QueryGap)
	say("  acknowledged writes lost: %d of %d; the killed node back, with all of it, after %.1f s\n", d.Lost, d.Acknowledged, d.RestartS)
	say("  the forgotten document was found on %d of %d replicas\n", d.ForgottenFound, d.ReplicasAsked)
}

// invite tells how to go on from another terminal.
func (d *demo) invite() {
	d.app.say("\nThe cluster runs at http://%s until you end the demo. From another terminal:\n", d.cluster.HTTP())
	d.app.say("  curl -s http://%s/v1/collections/%s:search -d '{\"text\": \"Who won Super Bowl 50?\", \"k\": 1}'\n\n", d.cluster.HTTP(), demoCollection)
}
