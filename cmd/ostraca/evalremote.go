package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"ostraca/api"
	"ostraca/ops/daemon"
	"ostraca/ops/dataset"
	"ostraca/ops/eval"
	"ostraca/ops/local"
	"ostraca/retrieval"
	"ostraca/shard"
)

// This file measures a cluster: one of its own, or a live one.

// owned is the flags of a cluster that is started for the occasion.
type owned struct{ nodes, shards, replicas int }

func (o *owned) register(f *pflag.FlagSet) {
	f.IntVar(&o.nodes, "nodes", 0, "measure on a cluster of this many nodes and a router, as processes on this machine, which are gone afterwards")
	f.IntVar(&o.shards, "shards", 1, "shards of that cluster; alone it means one node")
	f.IntVar(&o.replicas, "replicas", 0, "replicas of each of its shards (default: as many as nodes, 3 at most)")
}

// settle fills in what was left out, or says that the flags contradict each other: a cluster is our own or a live one.
func (o *owned) settle(f *pflag.FlagSet, router string) error {
	own := f.Changed("nodes") || f.Changed("shards") || f.Changed("replicas")
	switch {
	case own && f.Changed("router"):
		return fmt.Errorf("--nodes and --shards start a cluster and --router names a live one, choose one: %w", retrieval.ErrInvalid)
	case f.Changed("router") && router == "":
		return fmt.Errorf("--router is empty: %w", retrieval.ErrInvalid)
	case !own:
		return nil
	}
	if !f.Changed("nodes") {
		o.nodes = 1
	}
	if !f.Changed("replicas") {
		o.replicas = min(max(o.nodes, 1), 3)
	}
	for _, x := range []struct {
		flag        string
		value, most int
	}{{"nodes", o.nodes, local.MaxNodes}, {"shards", o.shards, shard.MaxShards}, {"replicas", o.replicas, min(o.nodes, daemon.MaxReplicas)}} {
		if x.value < 1 || x.value > x.most {
			return fmt.Errorf("--%s is %d, it must be 1 to %d%s: %w", x.flag, x.value, x.most, o.why(x.flag), retrieval.ErrInvalid)
		}
	}
	return nil
}

// why says what the range of a flag comes from, where that is not plain.
func (o *owned) why(flag string) string {
	if flag == "replicas" && o.nodes < daemon.MaxReplicas {
		return fmt.Sprintf(", for there are %s", plural(o.nodes, "node"))
	}
	return ""
}

// where says what is measured, or that the flags contradict each other.
func (o *evalOptions) where(f *pflag.FlagSet) error {
	switch {
	case o.router == "" && o.collection != "":
		return fmt.Errorf("--collection is of a live cluster, name it with --router: %w", retrieval.ErrInvalid)
	case o.router != "" && f.Changed("encoder"):
		return fmt.Errorf("a live cluster has an encoder of its own, --encoder cannot change it: %w", retrieval.ErrInvalid)
	case o.collection != "" && f.Changed("codec"):
		return fmt.Errorf("--codec cannot change what %q holds already: %w", o.collection, retrieval.ErrInvalid)
	case o.collection != "" && o.reduced != reductionOptions{}:
		return fmt.Errorf("--pool, --drop-punctuation and --keep cannot change what %q holds already: %w", o.collection, retrieval.ErrInvalid)
	case o.collection != "" && f.Changed("max-tokens"):
		return fmt.Errorf("--max-tokens cannot cut what %q holds already: %w", o.collection, retrieval.ErrInvalid)
	}
	return o.own.settle(f, o.router)
}

// startOwn starts a cluster of this binary.
func (a *app) startOwn(ctx context.Context, o owned) (*local.Cluster, error) {
	binary, err := os.Executable()
	if err != nil {
		return nil, err
	}
	flags := []string{"--threads", strconv.Itoa(a.threads)}
	if a.kernel != "" {
		flags = append(flags, "--kernel", a.kernel)
	}
	return local.Start(ctx, local.Options{Command: []string{binary}, Nodes: o.nodes, Shards: o.shards, Replicas: o.replicas,
		NodeFlags: flags, RouterFlags: append([]string{"--encoder", a.model}, flags...)})
}

// measureRemote loads the corpus into a cluster, or takes it as loaded, and asks it.
func (a *app) measureRemote(ctx context.Context, path string, o evalOptions, queries []query, judgements dataset.Judgements) (out *measured, err error) {
	if err := o.text.check(); err != nil {
		return nil, err
	}
	kernel := ""
	if o.router == "" {
		set, err := a.set()
		if err != nil {
			return nil, err
		}
		kernel = set.Name()
		c, err := a.startOwn(ctx, o.own)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, c.Close()) }()
		o.router = c.Address()
	}
	r, err := a.connect(ctx, o.target)
	if err != nil {
		return nil, err
	}
	defer r.close()
	out = &measured{kernel: kernel}
	if o.collection != "" {
		return out, r.measure(ctx, path, o, queries, judgements, out)
	}
	return out, r.temporarily(ctx, "eval", path, loadOptions{target: o.target, kind: o.kind(), maxTokens: o.text.maxTokens}, func(collection string, loaded loadStats) error {
		o.collection, out.loaded = collection, loaded
		return r.measure(ctx, path, o, queries, judgements, out)
	})
}

// kind is the kind of the collection that is measured: of vectors from outside, or of the router's encoder.
func (o *evalOptions) kind() kindOptions {
	k := kindOf(o.vectors, o.codec)
	k.reduction = o.reduced
	return k
}

// kindOf is the kind of a collection that is measured: of vectors from outside, or of the router's encoder.
func kindOf(vectors bool, codec string) kindOptions {
	if vectors {
		return kindOptions{encoder: "none", codec: codec}
	}
	return kindOptions{codec: codec}
}

// temporarily loads a data set into a new collection, which is dropped when use returns. Figures are of all of it or of nothing: a rejected row is
// an error.
func (r *remote) temporarily(ctx context.Context, name, path string, o loadOptions, use func(collection string, loaded loadStats) error) (err error) {
	o.collection = name + "-" + strings.ToLower(rand.Text()[:12])
	o.create, o.batch, o.parallel, o.all = true, loadBatch, loadParallel, true
	defer func() {
		if _, e := r.drop(context.WithoutCancel(ctx), o.collection); err == nil {
			err = e
		}
	}()
	if err := o.check(path); err != nil {
		return err
	}
	loader, err := r.loader(ctx, path, o)
	if err != nil {
		return err
	}
	report, err := loader.run(ctx)
	if err != nil {
		return err
	}
	if report.Rejected > 0 {
		x, hint := report.Rejects[0], ""
		if o.kind.encoder == "" {
			hint = " (--max-tokens cuts long ones)"
		}
		return fmt.Errorf("%s: document %q: %s%s: %w", path, x.ID, x.Reason, hint, retrieval.ErrInvalid)
	}
	return use(o.collection, loadStats{Documents: report.Loaded, Tokens: report.Tokens, Seconds: report.Seconds, Cut: report.Cut})
}

// measure asks all queries, one after the other.
func (r *remote) measure(ctx context.Context, path string, o evalOptions, queries []query, judgements dataset.Judgements, out *measured) error {
	layout, err := dataset.Detect(path)
	if err != nil {
		return err
	}
	out.texts, out.codec = o.text.describe(layout == dataset.NPY, out.loaded.Cut), cmp.Or(o.codec, string(retrieval.Int8))
	out.reduction = describeReduction(o.reduced.wire())
	status, err := r.Status(ctx, &api.StatusRequest{})
	if err != nil {
		return err
	}
	out.shards, out.nodes = len(status.Shards), len(status.Nodes)
	if out.loaded.Documents == 0 { // it was there
		c, err := r.mustFind(ctx, o.collection)
		if err != nil {
			return err
		}
		out.loaded.Documents, out.loaded.Tokens = int(c.Documents), int64(c.Tokens)
		out.codec, out.reduction = c.Codec, describeReduction(c.Reduction)
		out.texts, out.width, path = "texts as loaded", int(c.Width), fmt.Sprintf("collection %q", o.collection)
	}
	if out.missing, err = r.missing(ctx, path, o.collection, judgements); err != nil {
		return err
	}
	if out.weighted, err = r.weighted(ctx, o, queries); err != nil {
		return err
	}
	bar := r.app.progress("searching", len(queries))
	defer bar.end()
	out.rankings = make(map[string][]string, len(queries))
	times := make([]float64, len(queries))
	for i, q := range queries {
		in := &api.SearchRequest{Collection: o.collection, K: rankedHits, IdsOnly: true, RecallTarget: o.recall.recall, Unweighted: o.text.noIDF || o.vectors}
		if o.vectors {
			in.Tokens = wireVectors(q.vectors, q.width)
		} else {
			in.Text, in.QueryTokens = q.Text, uint32(o.text.queryTokens)
		}
		start := time.Now()
		answer, err := r.Search(ctx, in)
		if err != nil {
			return fmt.Errorf("query %q: %w", q.ID, err)
		}
		times[i] = time.Since(start).Seconds() * 1e3
		ids := make([]string, len(answer.Hits))
		for j, h := range answer.Hits {
			ids[j] = h.Id
		}
		out.rankings[q.ID] = ids
		bar.add(1)
	}
	out.p50 = eval.Percentile(times, .5)
	return nil
}

// weightedSample is how many questions are looked at for weights: an encoder either has them or not.
const weightedSample = 8

// weighted is weighted of a cluster: of a few questions, as its router encodes them.
func (r *remote) weighted(ctx context.Context, o evalOptions, queries []query) (bool, error) {
	if o.text.noIDF || o.vectors {
		return false, nil
	}
	in := &api.EncodeRequest{Query: true, MaxTokens: uint32(o.text.queryTokens)}
	for _, q := range queries[:min(len(queries), weightedSample)] {
		in.Texts = append(in.Texts, q.Text)
	}
	out, err := r.Encode(ctx, in)
	if err != nil {
		return false, fmt.Errorf("weights of questions: %w", err)
	}
	return slices.ContainsFunc(out.Results, func(x *api.EncodedText) bool {
		return slices.ContainsFunc(x.Tokens, func(t *api.EncodedToken) bool { return t.Weight != 1 })
	}), nil
}

// missingBatch is how many judged documents are asked for at a time.
const missingBatch = 100

// missing is memory.missing of a cluster.
func (r *remote) missing(ctx context.Context, path, collection string, judgements dataset.Judgements) (int, error) {
	ids, held := judgedIDs(judgements), 0
	for batch := range slices.Chunk(ids, missingBatch) {
		got, err := r.Get(ctx, &api.GetRequest{Collection: collection, Ids: batch})
		if err != nil {
			return 0, err
		}
		held += len(got.Documents)
	}
	return absent(path, len(ids), held)
}
