package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ostraca/ops/dataset"
	"ostraca/ops/eval"
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
	a.say("Encoding %s on %d threads (kernel %s): every token becomes a vector.\n", corpus, threads(a.threads), set.Name())
	m, err := a.open(ctx, corpus, textOptions{queryTokens: 32}, limit)
	if err != nil {
		return err
	}
	a.say("%d passages, %d tokens, in %.1f s. One token takes %.0f bytes.\n\n", m.loaded.Documents, m.loaded.Tokens, m.loaded.Seconds, float64(m.index.Bytes())/float64(max(1, m.loaded.Tokens)))
	queries = m.answerable(queries, judgements)
	rankings, p50, err := m.rank(ctx, queries, m.ask)
	if err != nil {
		return err
	}
	report, err := eval.Evaluate(judgements, rankings)
	if err != nil {
		return err
	}
	a.say("%d questions: the right passage is first for MRR@10 %.3f, among the first five for %.1f %%, nDCG@10 %.3f. Search p50 %.2f ms, exact.\n\n",
		report.Queries, report.MRR10, 100*report.Success5, report.NDCG10, p50)
	r := demoJSON{Documents: m.loaded.Documents, Tokens: m.loaded.Tokens, Queries: report.Queries, Kernel: set.Name(), LoadS: m.loaded.Seconds, SearchP50: p50, Scores: report.Scores}
	for i := range min(3, len(queries)) {
		answer, err := m.explain(ctx, queries[i*len(queries)/3].Text, 1)
		if err != nil {
			return err
		}
		r.Answers = append(r.Answers, answer)
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

// say talks to a person; --json keeps standard output for the one object.
func (a *app) say(format string, v ...any) {
	if !a.json {
		a.printf(format, v...)
	}
}

func threads(n int) int {
	if n > 0 {
		return n
	}
	return runtime.GOMAXPROCS(0)
}

// answerable keeps the questions, and the judgements, whose documents were loaded.
func (m *memory) answerable(queries []dataset.Query, judgements dataset.Judgements) []dataset.Query {
	for id, grades := range judgements {
		for doc := range grades {
			if _, err := m.index.Get(doc); err != nil {
				delete(judgements, id)
				break
			}
		}
	}
	return slices.DeleteFunc(queries, func(q dataset.Query) bool { return judgements[q.ID] == nil })
}

// explain asks one question, and prints its answer unless --json.
func (m *memory) explain(ctx context.Context, text string, k int) (searchJSON, error) {
	qs, err := m.ask(ctx, []string{text}, k)
	if err != nil {
		return searchJSON{}, err
	}
	answer, err := m.index.Search(ctx, qs[0].Query)
	if err != nil {
		return searchJSON{}, err
	}
	hits, err := m.answers(qs[0], answer.Hits, true)
	if err != nil {
		return searchJSON{}, err
	}
	if !m.app.json {
		m.app.printf("? %s\n", text)
		for i, h := range hits {
			m.app.printHit(i+1, h)
		}
		m.app.printf("\n")
	}
	return searchJSON{text, hits, statsOf(answer.Stats), m.loaded}, nil
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
			if _, err := m.explain(ctx, line, 1); err != nil {
				m.app.printf("%v\n", err)
			}
		}
	}
}
