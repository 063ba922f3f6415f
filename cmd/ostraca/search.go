package main

import (
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
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			// What can be refused at once is refused before the corpus is read.
			if err := checkK(k); err != nil {
				return err
			}
			question := strings.Join(args, " ")
			if strings.TrimSpace(question) == "" {
				return fmt.Errorf("the question is empty: %w", retrieval.ErrInvalid)
			}
			m, err := a.open(c.Context(), corpus, text, 0)
			if err != nil {
				return err
			}
			qs, err := m.ask(c.Context(), []string{question}, k)
			if err != nil {
				return err
			}
			answer, err := m.index.Search(c.Context(), qs[0].Query)
			if err != nil {
				return err
			}
			hits, err := m.answers(qs[0], answer.Hits, explain)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(searchJSON{question, hits, statsOf(answer.Stats), m.loaded})
			}
			for i, h := range hits {
				a.printHit(i+1, h)
			}
			if len(hits) == 0 {
				a.printf("no document has a token to match\n")
			}
			a.printf("%d documents, %d tokens scored exactly\n", answer.Stats.Documents, answer.Stats.Tokens)
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

func statsOf(s retrieval.Stats) statsJSON { return statsJSON{s.Documents, s.Tokens, s.Segments} }

func checkK(k int) error {
	if k < 1 || k > retrieval.MaxK {
		return fmt.Errorf("-k is %d, it must be 1 to %d: %w", k, retrieval.MaxK, retrieval.ErrInvalid)
	}
	return nil
}
