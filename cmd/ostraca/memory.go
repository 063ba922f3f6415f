package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"ostraca/ops/dataset"
	"ostraca/retrieval"
	"ostraca/retrieval/encoder"
	"ostraca/retrieval/index"
)

// memory is an encoder and the one shard it fills, in this process.
type memory struct {
	app     *app
	text    textOptions
	encoder *encoder.Encoder // nil where only vectors are read
	index   *index.Index
	loaded  loadStats
}

// textOptions say how texts become tokens: the flags that eval, search and demo share.
type textOptions struct {
	maxTokens   int
	queryTokens int
	noIDF       bool
}

func (o *textOptions) register(c *cobra.Command) {
	c.Flags().IntVar(&o.maxTokens, "max-tokens", 0, "cut documents to this many tokens, [CLS] and [SEP] counted (default: read whole, in windows)")
	c.Flags().IntVar(&o.queryTokens, "query-tokens", encoder.QueryTokens, "cut questions to this many tokens, [CLS] and [SEP] counted")
	c.Flags().BoolVar(&o.noIDF, "no-idf", false, "weigh all tokens of a question alike, not by the rarity of their vocabulary id")
}

// loadStats say what a load cost.
type loadStats struct {
	Documents int     `json:"documents"`
	Tokens    int64   `json:"tokens"`
	Seconds   float64 `json:"load_s"`
	Cut       int64   `json:"tokens_cut"` // left out by --max-tokens
}

// Batches keep all threads busy and the memory that a load takes bounded.
const encodeBatch = 64

// open loads a corpus of texts (BEIR, JSONL) or of vectors (NPY), at most limit documents (0: all).
func (a *app) open(ctx context.Context, path string, text textOptions, limit int) (*memory, error) {
	layout, err := dataset.Detect(path)
	if err != nil {
		return nil, err
	}
	m := &memory{app: a, text: text}
	if m.encoder, err = a.encoder(); err != nil {
		return nil, err
	}
	start := time.Now()
	if layout == dataset.NPY {
		err = m.loadVectors(ctx, path, limit)
	} else {
		err = m.loadTexts(ctx, path, limit)
	}
	m.loaded.Seconds = time.Since(start).Seconds()
	return m, err
}

func (m *memory) newIndex(width int) (err error) {
	m.index, err = index.New(width, index.Options{Kernel: m.encoder.Kernel(), Threads: m.app.threads})
	return err
}

func (m *memory) loadTexts(ctx context.Context, path string, limit int) error {
	total, err := dataset.Count(path)
	if err != nil {
		return err
	}
	if err := m.newIndex(m.encoder.Width()); err != nil {
		return err
	}
	if limit > 0 {
		total = min(total, limit)
	}
	bar := m.app.progress("encoding", total)
	var batch []dataset.Document
	flush := func() error {
		defer func() { bar.add(len(batch)); batch = batch[:0] }()
		return m.put(ctx, batch)
	}
	read := 0
	for d, err := range dataset.Documents(path) {
		if err != nil {
			return err
		}
		if read == total {
			break
		}
		read++
		if batch = append(batch, d); len(batch) == encodeBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// put encodes and stores documents.
func (m *memory) put(ctx context.Context, batch []dataset.Document) error {
	texts := make([]string, len(batch))
	for i, d := range batch {
		texts[i] = d.Text
	}
	matrices, err := m.encoder.Encode(ctx, texts, encoder.Options{MaxTokens: m.text.maxTokens, Threads: m.app.threads})
	if err != nil {
		return named(err, batch)
	}
	docs := make([]retrieval.Document, len(batch))
	for i, x := range matrices {
		m.loaded.Cut += int64(x.Cut)
		if docs[i], err = document(batch[i], x.Vectors, spans(x.Tokens), m.encoder.Width()); err != nil {
			return err
		}
		m.count(docs[i])
	}
	return m.index.Put(docs)
}

// named tells which document of a batch an encoding error means.
func named(err error, batch []dataset.Document) error {
	var e *encoder.TextError
	if errors.As(err, &e) {
		return fmt.Errorf("document %q: %w", batch[e.Text].ID, e.Err)
	}
	return err
}

func (m *memory) count(d retrieval.Document) {
	m.loaded.Documents++
	m.loaded.Tokens += int64(d.Codes.Len())
}

func document(d dataset.Document, vectors []float32, spans []retrieval.Span, width int) (retrieval.Document, error) {
	codes, err := index.Quantize(vectors, width)
	if err != nil {
		return retrieval.Document{}, fmt.Errorf("document %q: %w", d.ID, err)
	}
	return retrieval.Document{ID: d.ID, Text: d.Text, Fields: d.Fields, Codes: codes, Spans: spans}, nil
}

func spans(tokens []encoder.Token) []retrieval.Span {
	out := make([]retrieval.Span, len(tokens))
	for i, t := range tokens {
		out[i] = t.Span
	}
	return out
}

func (m *memory) loadVectors(ctx context.Context, path string, limit int) error {
	v, err := dataset.OpenVectors(path)
	if err != nil {
		return err
	}
	defer v.Close()
	if err := m.newIndex(v.Width()); err != nil {
		return err
	}
	total := v.Len()
	if limit > 0 {
		total = min(total, limit)
	}
	bar := m.app.progress("loading vectors", total)
	var batch []retrieval.Document
	for row, err := range v.Documents() {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		d, err := document(row.Document, row.Vectors, row.Spans, v.Width())
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		m.count(d)
		bar.add(1)
		batch = append(batch, d)
		if m.loaded.Documents == total {
			break
		}
		if len(batch) == 16*encodeBatch {
			if err := m.index.Put(batch); err != nil {
				return err
			}
			batch = nil
		}
	}
	return m.index.Put(batch)
}

// question is a text ready to be asked, with the tokens that explain its answer.
type question struct {
	*retrieval.Query
	text   string
	tokens []encoder.Token
}

// ask encodes questions for the k best documents.
func (m *memory) ask(ctx context.Context, texts []string, k int) ([]question, error) {
	if m.index.Width() != m.encoder.Width() {
		return nil, fmt.Errorf("the vectors are %d wide and the encoder's %d: they are of another encoder, which this command cannot ask with: %w", m.index.Width(), m.encoder.Width(), retrieval.ErrInvalid)
	}
	matrices, err := m.encoder.Encode(ctx, texts, encoder.Options{MaxTokens: m.text.queryTokens, Threads: m.app.threads})
	if err != nil {
		return nil, err
	}
	out := make([]question, len(texts))
	for i, x := range matrices {
		var weights []uint16
		if !m.text.noIDF {
			weights = m.encoder.QueryWeights(x.Tokens)
		}
		q, err := index.QuantizeQuery(x.Vectors, m.encoder.Width(), weights, k)
		if err != nil {
			return nil, fmt.Errorf("question %q: %w", shorten(texts[i], 60), err)
		}
		out[i] = question{q, texts[i], x.Tokens}
	}
	return out, nil
}

// shorten cuts a text for a message.
func shorten(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}
