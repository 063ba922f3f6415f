package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ostraca/ops/dataset"
	"ostraca/ops/eval"
	"ostraca/retrieval"
	"ostraca/retrieval/encoder"
)

// demoCorpus is where the repository keeps XQuAD.
const demoCorpus = "testdata/corpora/xquad_en"

// withoutKernel is how many passages the demo takes on a CPU that only runs the Go twin, which is a hundred times slower.
const withoutKernel = 24

func newDemo(a *app) *cobra.Command {
	var corpus string
	var exit bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Load a real corpus, measure, and show explained answers",
		Long: "Encodes 240 passages of XQuAD, asks 1,190 questions whose right passage is known, reports how often it was found, and explains\n" +
			"three answers. Then it takes questions of your own, unless --exit is given or nobody is typing.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.demo(c.Context(), corpus, exit || a.json || !isTerminal(os.Stdin))
		},
	}
	c.Flags().StringVar(&corpus, "corpus", demoCorpus, "another corpus: a BEIR directory with queries and judgements")
	c.Flags().BoolVar(&exit, "exit", false, "end after the three answers")
	return c
}

// demoJSON is what demo --json prints.
type demoJSON struct {
	Documents int     `json:"documents"`
	Tokens    int64   `json:"tokens"`
	Queries   int     `json:"queries"`
	Kernel    string  `json:"kernel"`
	LoadS     float64 `json:"load_s"`
	SearchP50 float64 `json:"search_p50_ms"`
	eval.Scores
	Answers []searchJSON `json:"answers"`
	Seconds float64      `json:"seconds"`
}

func (a *app) demo(ctx context.Context, corpus string, exit bool) error {
	start := time.Now()
	if layout, err := dataset.Detect(corpus); err == nil && layout != dataset.BEIR {
		return fmt.Errorf("%s: the demo needs a directory with corpus.jsonl, queries.jsonl and qrels.tsv: %w", corpus, retrieval.ErrInvalid)
	}
	queries, judgements, err := judged(corpus, evalOptions{})
	if errors.Is(err, fs.ErrNotExist) && corpus == demoCorpus {
		return fmt.Errorf("%w (run the demo from the root of the repository, or name another corpus with --corpus DIR)", err)
	}
	if err != nil {
		return err
	}
	set, err := a.set()
	if err != nil {
		return err
	}
	limit := 0
	if set.Name() == "go" {
		limit = withoutKernel
		a.say("No kernel for this CPU is in use, only the Go twin, which is slow: the first %d passages and their questions.\n", limit)
	}
	m, err := a.open(corpus, textOptions{queryTokens: encoder.QueryTokens}, true)
	if err != nil {
		return err
	}
	a.say("Loading %s on %d threads (kernel %s): every token of a text becomes a vector.\n", corpus, a.workers(), set.Name())
	if err := m.load(ctx, limit); err != nil {
		return err
	}
	a.say("%d passages, %d tokens, in %.1f s; %.0f bytes a token, texts and spans included.\n\n", m.loaded.Documents, m.loaded.Tokens, m.loaded.Seconds, float64(m.index.Bytes())/float64(max(1, m.loaded.Tokens)))
	if limit > 0 {
		queries = m.answerable(queries, judgements)
	}
	r, err := m.measure(ctx, queries, judgements)
	if err != nil {
		return err
	}
	r.Seconds = time.Since(start).Seconds()
	if a.json {
		return a.printJSON(r)
	}
	a.say("Measured in %.1f s.\n", r.Seconds)
	if exit {
		return nil
	}
	return m.converse(ctx)
}

// measure asks all questions, says how good the answers are, and explains three.
func (m *memory) measure(ctx context.Context, queries []query, judgements dataset.Judgements) (*demoJSON, error) {
	a := m.app
	missing, err := m.missing(judgements)
	if err != nil {
		return nil, err
	}
	if missing > 0 {
		a.say("Note: %d judged documents are not in the corpus.\n", missing)
	}
	questions, err := m.prepare(ctx, queries)
	if err != nil {
		return nil, err
	}
	rankings, p50, err := m.rank(ctx, queries, questions)
	if err != nil {
		return nil, err
	}
	report, err := eval.Evaluate(judgements, rankings)
	if err != nil {
		return nil, err
	}
	a.say("%d questions: a right passage is among the first five for %.1f %%. MRR@10 %.3f, nDCG@10 %.3f. Search p50 %.2f ms, exact.\n\n",
		report.Queries, 100*report.Success5, report.MRR10, report.NDCG10, p50)
	r := &demoJSON{Documents: m.loaded.Documents, Tokens: m.loaded.Tokens, Queries: report.Queries, Kernel: m.kernel.Name(), LoadS: m.loaded.Seconds, SearchP50: p50, Scores: report.Scores}
	for i := range min(3, len(questions)) {
		q := questions[i*len(questions)/3]
		q.K = 1
		a.say("? %s\n", printable(q.text))
		answer, err := m.explain(ctx, q, true)
		if err != nil {
			return nil, err
		}
		a.say("\n")
		r.Answers = append(r.Answers, answer)
	}
	return r, nil
}

// answerable keeps the questions, and the judgements, whose documents were loaded.
func (m *memory) answerable(queries []query, judgements dataset.Judgements) []query {
	for id, grades := range judgements {
		for doc := range grades {
			if _, err := m.index.Get(doc); err != nil {
				delete(judgements, id)
				break
			}
		}
	}
	return only(queries, judgements)
}

// converse answers what a person types, until an empty line or the end.
func (m *memory) converse(ctx context.Context) error {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(os.Stdin); s.Scan(); {
			lines <- s.Text()
		}
	}()
	for {
		m.app.printf("Ask (an empty line ends): ")
		select {
		case <-ctx.Done():
			m.app.printf("\n")
			return nil
		case line, more := <-lines:
			if strings.TrimSpace(line) == "" || !more {
				return nil
			}
			qs, err := m.ask(ctx, []string{line}, 1)
			if err == nil {
				_, err = m.explain(ctx, qs[0], true)
			}
			if err != nil {
				m.app.printf("%v\n", err)
			}
		}
	}
}
