package dataset

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"ostraca/retrieval"
)

// Judgements say how relevant a document is to a query: query id, document id, grade. A grade of 0 or less is a judgement
// that it is not relevant.
type Judgements map[string]map[string]int

// ReadJudgements reads the judgements of a directory (qrels.tsv or qrels/test.tsv) or of a file. A line is "query,
// document, grade", as in BEIR, or "query, anything, document, grade", as trec_eval reads it; between tabs, or between
// spaces where a line has no tab. The first line may be a header, whose last column is score, relevance, rel or label.
//
// It is the only reader of judgements in the project, so that who sees them is who calls it.
func ReadJudgements(path string) (Judgements, error) {
	file, err := findIn(path, "qrels.tsv", "qrels/test.tsv")
	if err != nil {
		return nil, err
	}
	return judgements(file, lines(file))
}

func judgements(file string, all iter.Seq2[line, error]) (Judgements, error) {
	out, width, first := Judgements{}, 0, true
	for l, err := range all {
		if err != nil {
			return nil, err
		}
		columns := split(string(l.text))
		header := first && isHeader(columns)
		first = false
		if header {
			continue
		}
		if width == 0 {
			width = len(columns)
		}
		if len(columns) != width || width < 3 || width > 4 {
			return nil, l.invalid("%d columns: a judgement is query, document, grade, or query, 0, document, grade, all lines alike", len(columns))
		}
		if err := out.add(columns[0], columns[width-2], columns[width-1]); err != nil {
			return nil, l.wrap(err)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: has no judgements: %w", file, retrieval.ErrInvalid)
	}
	return out, nil
}

// add checks and keeps one judgement. The same one twice is allowed, another grade for the pair is not.
func (j Judgements) add(query, document, grade string) error {
	for _, id := range []string{query, document} {
		if err := retrieval.CheckID(id); err != nil {
			return err
		}
	}
	g, err := strconv.ParseInt(grade, 10, 32)
	if err != nil {
		return fmt.Errorf("grade %q is not a whole number of 32 bits: %w", grade, retrieval.ErrInvalid)
	}
	if old, ok := j[query][document]; ok && old != int(g) {
		return fmt.Errorf("query %q and document %q already have the grade %d: %w", query, document, old, retrieval.ErrInvalid)
	}
	if j[query] == nil {
		j[query] = map[string]int{}
	}
	j[query][document] = int(g)
	return nil
}

// split cuts a line into columns. Only tabs allow spaces inside an id.
func split(text string) []string {
	if !strings.Contains(text, "\t") {
		return strings.Fields(text)
	}
	columns := strings.Split(text, "\t")
	for i := range columns {
		columns[i] = strings.TrimSpace(columns[i])
	}
	return columns
}

func isHeader(columns []string) bool {
	last := columns[len(columns)-1]
	return slices.Contains([]string{"score", "relevance", "rel", "label"}, strings.ToLower(last))
}
