package main

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"ostraca/api"
	"ostraca/ops/dataset"
	"ostraca/ops/eval"
	"ostraca/retrieval"
	"ostraca/retrieval/encoder"
)

// Passages go to the router in small batches, so that progress is seen, and two at a time, so that it always has something to encode.
const demoBatch, demoParallel = 8, 2

// load puts the corpus into the cluster, as text.
func (d *demo) load(ctx context.Context) error {
	d.app.say("Loading %s through the router (kernel %s): every token of a text becomes a vector, every document goes to a majority of its shard.\n", d.corpus, d.Kernel)
	o := loadOptions{target: target{collection: demoCollection}, kind: kindOptions{codec: string(d.codec)}, create: true, batch: demoBatch, parallel: demoParallel, all: true, limit: d.limit}
	if err := o.check(d.corpus); err != nil {
		return err
	}
	l, err := d.client.loader(ctx, d.corpus, o)
	if err != nil {
		return err
	}
	report, err := l.run(ctx)
	if err == nil && report.Rejected > 0 {
		err = fmt.Errorf("%s: document %q: %s: %w", d.corpus, report.Rejects[0].ID, report.Rejects[0].Reason, retrieval.ErrInvalid)
	}
	if err != nil {
		return err
	}
	d.Documents, d.Tokens, d.LoadS = report.Loaded, report.Tokens, report.Seconds
	d.app.say("%d passages, %d tokens, in %.1f s.\n\n", d.Documents, d.Tokens, d.LoadS)
	if d.limit > 0 {
		return d.keepAnswerable()
	}
	return nil
}

// keepAnswerable keeps the questions, and the judgements, whose documents were loaded.
func (d *demo) keepAnswerable() error {
	held := map[string]bool{}
	for x, err := range first(dataset.Documents(d.corpus), d.limit) {
		if err != nil {
			return err
		}
		held[x.ID] = true
	}
	maps.DeleteFunc(d.judgements, func(_ string, grades map[string]int) bool {
		for id := range grades {
			if !held[id] {
				return true
			}
		}
		return false
	})
	d.queries = only(d.queries, d.judgements)
	return nil
}

// measure asks all questions and says how good the answers are.
func (d *demo) measure(ctx context.Context) error {
	o := evalOptions{target: target{collection: demoCollection}, text: textOptions{queryTokens: encoder.QueryTokens}}
	found := measured{loaded: loadStats{Documents: d.Documents}}
	if err := d.client.measure(ctx, d.corpus, o, d.queries, d.judgements, &found); err != nil {
		return err
	}
	if found.missing > 0 {
		d.app.say("Note: %d judged documents are not in the corpus.\n", found.missing)
	}
	report, err := eval.Evaluate(d.judgements, found.rankings)
	if err != nil {
		return err
	}
	d.Queries, d.Scores, d.SearchP50 = report.Queries, report.Scores, found.p50
	d.app.say("%d questions: a right passage is among the first five for %.1f %%. MRR@10 %.4f, nDCG@10 %.4f. Search p50 %.1f ms through the router.\n\n",
		d.Queries, 100*d.Success5, d.MRR10, d.NDCG10, d.SearchP50)
	return nil
}

// answer shows three explained answers.
func (d *demo) answer(ctx context.Context) error {
	for i := range min(3, len(d.queries)) {
		text := d.queries[i*len(d.queries)/3].Text
		d.app.say("? %s\n", printable(text))
		if err := d.ask(ctx, text); err != nil {
			return err
		}
		d.app.say("\n")
	}
	return nil
}

// ask shows the best answer to a question, and which tokens matched.
func (d *demo) ask(ctx context.Context, text string) error {
	answer, err := d.client.Search(ctx, &api.SearchRequest{Collection: demoCollection, Text: text, K: 1, Explain: true, QueryTokens: encoder.QueryTokens})
	if err != nil {
		return err
	}
	found := answerJSON(text, answer)
	if !d.app.json {
		for i, h := range found.Hits {
			d.app.printHit(i+1, h)
		}
	}
	d.Answers = append(d.Answers, found)
	return nil
}

// converse answers what a person types, until an empty line or the end.
func (a *app) converse(ctx context.Context, answer func(context.Context, string) error) error {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(os.Stdin); s.Scan(); {
			lines <- s.Text()
		}
	}()
	for {
		a.printf("Ask (an empty line ends): ")
		select {
		case <-ctx.Done():
			a.printf("\n")
			return nil
		case line, more := <-lines:
			if strings.TrimSpace(line) == "" || !more {
				return nil
			}
			if err := answer(ctx, line); err != nil {
				a.printf("%v\n", err)
			}
		}
	}
}

// leads returns the node that leads most shards, by its place among the nodes, and those shards.
func (d *demo) leads(s *api.StatusResponse) (node int, shards []uint32) {
	for i, n := range d.cluster.Nodes() {
		var its []uint32
		for _, shard := range s.GetShards() {
			if shard.GetLeader() == n.ID {
				its = append(its, shard.GetShard())
			}
		}
		if len(its) > len(shards) {
			node, shards = i, slices.Clone(its)
		}
	}
	return node, shards
}
