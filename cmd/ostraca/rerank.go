package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"ostraca/api"
	"ostraca/ops/dataset"
	"ostraca/retrieval"
)

// rerankOptions are the flags of rerank.
type rerankOptions struct {
	target
	ids, texts string
	k          int
	explain    bool
	text       textOptions
}

func newRerank(a *app) *cobra.Command {
	var o rerankOptions
	c := &cobra.Command{
		Use:   "rerank TEXT --collection C (--ids FILE | --texts FILE)",
		Short: "Score candidates of your own exactly: documents of a live cluster by id, or texts",
		Long: "Orders candidates by late interaction with a question. --ids takes a file of ids of the collection, one a line; --texts a file of\n" +
			"texts, one a line, or documents (.jsonl), which are encoded for the occasion and not stored.",
		Example: "  ostraca rerank \"who won the game?\" -c xquad --ids candidates.txt --explain\n  ostraca rerank \"who won?\" -c xquad --texts passages.jsonl",
		Args:    needs("TEXT", true),
		RunE: func(c *cobra.Command, args []string) error {
			return a.rerank(c.Context(), strings.Join(args, " "), o)
		},
	}
	f := c.Flags()
	o.register(f)
	o.registerCollection(f)
	o.registerRead(f)
	f.StringVar(&o.ids, "ids", "", "file of ids, one a line")
	f.StringVar(&o.texts, "texts", "", "file of texts, one a line, or of documents (.jsonl)")
	f.IntVarP(&o.k, "k", "k", 0, "documents to show (default: all)")
	f.BoolVar(&o.explain, "explain", false, "show each question token beside the document span it matched")
	o.text.registerQuery(c)
	o.text.registerWeights(c)
	return c
}

func (a *app) rerank(ctx context.Context, text string, o rerankOptions) error {
	if (o.ids == "") == (o.texts == "") {
		return fmt.Errorf("rerank needs --ids FILE or --texts FILE, one of them: %w", retrieval.ErrInvalid)
	}
	if o.k < 0 {
		return fmt.Errorf("-k is %d, it must be 0 (all) or more: %w", o.k, retrieval.ErrInvalid)
	}
	if err := o.needsCollection(); err != nil {
		return err
	}
	if err := o.text.check(); err != nil {
		return err
	}
	in := &api.RerankRequest{Collection: o.collection, Text: text, Read: o.read, Explain: o.explain, QueryTokens: uint32(o.text.queryTokens), Unweighted: o.text.noIDF, K: uint32(o.k)}
	names, err := o.candidates(in)
	if err != nil {
		return err
	}
	r, err := a.connect(ctx, o.target)
	if err != nil {
		return err
	}
	defer r.close()
	answer, err := r.Rerank(ctx, in)
	if err != nil {
		return err
	}
	for _, h := range answer.Hits { // texts are named by their place
		if i, err := strconv.Atoi(h.Id); err == nil && i >= 0 && i < len(names) {
			h.Id = names[i]
		}
	}
	out := answerJSON(text, answer)
	if out.NotHeld, err = r.notHeld(ctx, in, answer.Hits); err != nil {
		return err
	}
	return a.printAnswer(out, false)
}

// notHeld returns the ids that the collection does not hold. One that is no hit may be held: without tokens, or beyond -k.
func (r *remote) notHeld(ctx context.Context, in *api.RerankRequest, hits []*api.Hit) ([]string, error) {
	seen := map[string]bool{}
	for _, h := range hits {
		seen[h.Id] = true
	}
	var ask, out []string
	for _, id := range in.Ids {
		if !seen[id] {
			ask = append(ask, id)
		}
		seen[id] = true
	}
	for batch := range slices.Chunk(ask, missingBatch) {
		got, err := r.Get(ctx, &api.GetRequest{Collection: in.Collection, Ids: batch, Read: in.Read})
		if err != nil {
			return nil, err
		}
		out = append(out, got.Missing...)
	}
	return out, nil
}

// candidates reads them into the request, and returns the ids that texts have in their file.
func (o *rerankOptions) candidates(in *api.RerankRequest) (names []string, err error) {
	if strings.HasSuffix(o.texts, ".jsonl") || strings.HasSuffix(o.texts, ".jsonl.gz") {
		for d, err := range dataset.Documents(o.texts) {
			if err != nil {
				return nil, err
			}
			names, in.Texts = append(names, d.ID), append(in.Texts, d.Text)
		}
		return names, nil
	}
	path, to := o.ids, &in.Ids
	if o.texts != "" {
		path, to = o.texts, &in.Texts
	}
	err = eachLine(path, func(line []byte) error {
		if text := strings.TrimSpace(string(line)); text != "" {
			*to = append(*to, text)
		}
		return nil
	})
	if err == nil && len(*to) == 0 {
		err = fmt.Errorf("%s: is empty, want candidates: %w", path, retrieval.ErrInvalid)
	}
	return nil, err
}
