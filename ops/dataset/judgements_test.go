package dataset

import (
	"bytes"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"testing"

	"ostraca/retrieval"
)

func TestReadJudgements(t *testing.T) {
	want := Judgements{"q1": {"d 1": 1, "d2": -1}, "q 2": {"d1": 2}}
	spaces := Judgements{"q1": {"d1": 1}, "q2": {"d1": 0}}
	for text, want := range map[string]Judgements{
		"query-id\tcorpus-id\tscore\nq1\td 1\t1\nq1\td2\t-1\nq 2\td1\t2\n":           want,
		"\ufeffquery-id\tcorpus-id\tScore\r\nq1\td 1\t1\r\nq1\td2\t-1\r\nq 2\td1\t2": want,
		"q1\td 1\t1\n\nq1\td2\t-1\nq1\td2\t-1\nq 2\td1\t2\n":                         want,
		"q1\t0\td 1\t1\nq1\tQ0\td2\t-1\nq 2\t0\td1\t2\n":                             want,
		"q1 0 d1 1\nq2  0  d1  0\n":                                                  spaces,
		"q1 d1 1\nq2 d1 0\n":                                                         spaces,
	} {
		dir := write(t, "a/qrels.tsv", text, "b/qrels/test.tsv", text, "train.tsv", text)
		for _, name := range []string{"a", "b", "train.tsv"} {
			if got, err := ReadJudgements(filepath.Join(dir, name)); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%q: %v, %v", text, got, err)
			}
		}
	}
}

func TestJudgementErrors(t *testing.T) {
	for text, part := range map[string]string{
		"":                             "is empty",
		"\n\n":                         "has no judgements",
		"query-id\tcorpus-id\tscore\n": "has no judgements",
		"q\td\t1\nq\td2\n":             "qrels.tsv:2: 2 columns",
		"q\td\t1\nq\t0\td2\t1\n":       "qrels.tsv:2: 4 columns",
		"a b c d 5\n":                  "qrels.tsv:1: 5 columns",
		"q\td\t1.5\n":                  `qrels.tsv:1: grade "1.5"`,
		"q\td\tyes\n":                  `qrels.tsv:1: grade "yes"`,
		"q\td\t9999999999\n":           "32 bits",
		"q\td\t1\nq\td\t2\n":           "already have the grade 1",
		"\td\t1\n":                     "id is empty",
		"q\ta\x00b\t1\n":               "control character",
		"q\t\xff\t1\n":                 "not UTF-8",
		`{"query": "q"}`:               "2 columns",
	} {
		_, err := ReadJudgements(write(t, "qrels.tsv", text))
		wantError(t, err, retrieval.ErrInvalid, part)
	}
	_, err := ReadJudgements(write(t, "corpus.jsonl", ""))
	wantError(t, err, fs.ErrNotExist, "no qrels.tsv or qrels/test.tsv")
	_, err = ReadJudgements(write(t, "qrels.tsv/x", ""))
	wantError(t, err, retrieval.ErrInvalid, "is a directory")
}

func FuzzJudgements(f *testing.F) {
	f.Add([]byte("query-id\tcorpus-id\tscore\nq1\td 1\t1\n"))
	f.Add([]byte("q1 0 d1 1\nq2  0  d1  0\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := judgements("f", readLines("f", bytes.NewReader(data)))
		checkSentinel(t, err)
		if err != nil {
			return
		}
		var b bytes.Buffer
		for q, judged := range got {
			for d, grade := range judged {
				fmt.Fprintf(&b, "%s\t%s\t%d\n", q, d, grade)
			}
		}
		again, err := judgements("g", readLines("g", &b))
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%v became %v, %v", got, again, err)
		}
	})
}
