package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"ostraca/retrieval"
)

func newSearch(a *app) *cobra.Command {
	var corpus string
	var k int
	var explain bool
	var text textOptions
	c := &cobra.Command{
		Use:   "search TEXT --corpus PATH",
		Short: "Answer a question from a corpus, and show which tokens matched",
		Long: "Loads a corpus (a BEIR directory, a .jsonl file, or a directory of token vectors made by encode) into memory and prints\n" +
			"the best documents for a question. Encoding takes the time: encode a corpus once and search its vectors.",
		Example: "  ostraca search \"who won the game?\" --corpus testdata/corpora/xquad_en --explain\n  ostraca encode corpus/ --out vectors/ && ostraca search \"...\" --corpus vectors/",
		Args:    needs("TEXT", true),
		RunE: func(c *cobra.Command, args []string) error {
			// What can be refused at once is refused before the corpus is read.
			if err := checkK(k); err != nil {
				return err
			}
			if corpus == "" {
				return fmt.Errorf("--corpus is empty, name what to search: %w", retrieval.ErrInvalid)
			}
			question := strings.Join(args, " ")
			if strings.TrimSpace(question) == "" {
				return fmt.Errorf("the question is empty: %w", retrieval.ErrInvalid)
			}
			m, err := a.open(corpus, text, true)
			if err != nil {
				return err
			}
			qs, err := m.ask(c.Context(), []string{question}, k)
			if err != nil {
				return err
			}
			if err := m.load(c.Context(), 0); err != nil {
				return err
			}
			r, err := m.explain(c.Context(), qs[0], explain)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(r)
			}
			if len(r.Hits) == 0 {
				a.printf("no document has a token to match\n")
			}
			a.printf("%d documents, %d tokens scored exactly\n", r.Stats.Documents, r.Stats.Tokens)
			return nil
		},
	}
	c.Flags().StringVar(&corpus, "corpus", "", "what to search: a BEIR directory, a .jsonl file, or a directory of token vectors")
	c.Flags().IntVarP(&k, "k", "k", 5, "documents to show")
	c.Flags().BoolVar(&explain, "explain", false, "show each question token beside the document span it matched")
	_ = c.MarkFlagRequired("corpus")
	text.register(c)
	return c
}

type searchJSON struct {
	Query string    `json:"query"`
	Hits  []hitJSON `json:"hits"`
	Stats statsJSON `json:"stats"`
	Load  loadStats `json:"load"`
}

type statsJSON struct {
	Documents int64 `json:"documents_scored"`
	Tokens    int64 `json:"tokens_scored"`
	Segments  int64 `json:"segments"`
}

// explain answers one question, with alignments or without, and prints the hits unless --json.
func (m *memory) explain(ctx context.Context, q question, alignments bool) (searchJSON, error) {
	answer, err := m.index.Search(ctx, q.Query)
	if err != nil {
		return searchJSON{}, err
	}
	hits, err := m.answers(q, answer.Hits, alignments)
	if err != nil {
		return searchJSON{}, err
	}
	if !m.app.json {
		for i, h := range hits {
			m.app.printHit(i+1, h)
		}
	}
	return searchJSON{q.text, hits, statsOf(answer.Stats), m.loaded}, nil
}

func statsOf(s retrieval.Stats) statsJSON { return statsJSON{s.Documents, s.Tokens, s.Segments} }
