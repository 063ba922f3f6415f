package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/spf13/cobra"

	"ostraca/ops/dataset"
	"ostraca/retrieval"
	"ostraca/retrieval/encoder"
	"ostraca/retrieval/index"
	"ostraca/retrieval/kernel"
	"ostraca/shard"
)

// memory is an encoder and the one shard it fills, in this process.
type memory struct {
	app     *app
	path    string
	vectors bool // the corpus is of vectors
	text    textOptions
	codec   retrieval.Codec
	target  retrieval.Target // of all questions
	reduced shard.Reduction  // of documents
	encoder *encoder.Encoder // nil where questions are vectors too
	kernel  *kernel.Set
	index   *index.Index
	loaded  loadStats
}

// textOptions say how texts become tokens.
type textOptions struct {
	maxTokens   int
	queryTokens int
	noIDF       bool
}

// register adds all flags.
func (o *textOptions) register(c *cobra.Command) {
	o.registerMax(c)
	o.registerQuery(c)
	o.registerWeights(c)
}

func (o *textOptions) registerMax(c *cobra.Command) {
	c.Flags().IntVar(&o.maxTokens, "max-tokens", 0, "cut documents to this many tokens, [CLS] and [SEP] counted; 0: to the model's own length, or read whole, in windows")
}

func (o *textOptions) registerQuery(c *cobra.Command) {
	c.Flags().IntVar(&o.queryTokens, "query-tokens", 0, fmt.Sprintf("cut questions likewise; 0: to the model's own length, or to %d", encoder.QueryTokens))
}

func (o *textOptions) registerWeights(c *cobra.Command) {
	c.Flags().BoolVar(&o.noIDF, "no-idf", false, "weigh all tokens of a question alike, not by the rarity of their vocabulary id")
}

// check tells before the work that a length is out of range.
func (o *textOptions) check() error {
	for _, f := range []struct {
		flag  string
		value int
	}{{"--max-tokens", o.maxTokens}, {"--query-tokens", o.queryTokens}} {
		if f.value != 0 && (f.value < encoder.MinTokens || f.value > encoder.MaxTokens) {
			return fmt.Errorf("%s is %d, it must be 0 or %d to %d: %w", f.flag, f.value, encoder.MinTokens, encoder.MaxTokens, retrieval.ErrInvalid)
		}
	}
	return nil
}

// query says how an encoder reads questions.
func (o *textOptions) query(e *encoder.Encoder, threads int) encoder.Options {
	return encoder.Options{Query: true, MaxTokens: e.QueryLength(o.queryTokens), Threads: threads}
}

// loadStats say what a load cost.
type loadStats struct {
	Documents int     `json:"documents"`
	Tokens    int64   `json:"tokens"`
	Seconds   float64 `json:"load_s,omitempty"` // 0: nothing was loaded
	Cut       int64   `json:"tokens_cut"`       // left out by --max-tokens
}

// batchOf returns how many texts are encoded at a time: enough to keep all threads busy, few enough that progress is seen and
// memory is bounded.
func batchOf(workers int, set *kernel.Set) int {
	if set.Name() == "go" {
		return 2 * workers
	}
	return 16 * workers
}

// open prepares a memory of the corpus at path, texts (BEIR, JSONL) or vectors (NPY), and loads nothing yet: so questions can be
// encoded, and refused, before the corpus is read. Without encode it is for vectors that ask vectors.
func (a *app) open(path string, text textOptions, encode bool) (*memory, error) {
	layout, err := dataset.Detect(path)
	if err != nil {
		return nil, err
	}
	if err := text.check(); err != nil {
		return nil, err
	}
	m := &memory{app: a, path: path, text: text, codec: retrieval.Int8, vectors: layout == dataset.NPY}
	if m.vectors && text.maxTokens != 0 {
		return nil, fmt.Errorf("%s holds vectors, which --max-tokens cannot cut: give it to encode: %w", path, retrieval.ErrInvalid)
	}
	if m.kernel, err = a.set(); err != nil {
		return nil, err
	}
	if encode {
		m.encoder, err = a.encoder()
	}
	return m, err
}

// load fills the index with the first limit documents; 0 is all.
func (m *memory) load(ctx context.Context, limit int) error {
	load := m.loadTexts
	if m.vectors {
		load = m.loadVectors
	}
	start := time.Now()
	err := load(ctx, limit)
	m.loaded.Seconds = time.Since(start).Seconds()
	return err
}

func (m *memory) newIndex(width int) (err error) {
	m.index, err = index.New(width, index.Options{Codec: m.codec, Kernel: m.kernel, Threads: m.app.threads})
	return err
}

func (m *memory) loadTexts(ctx context.Context, limit int) error {
	total, err := dataset.Count(m.path)
	if err != nil {
		return err
	}
	if err := m.newIndex(m.encoder.Width()); err != nil {
		return err
	}
	if limit > 0 {
		total = min(total, limit)
	}
	t := texts{what: "document", flag: "--max-tokens", path: m.path, total: total, all: first(dataset.Documents(m.path), limit)}
	return m.app.encodeAll(ctx, m.encoder, encoder.Options{MaxTokens: m.text.maxTokens, Threads: m.app.threads}, t, m.put)
}

// put stores encoded documents.
func (m *memory) put(batch []dataset.Document, matrices []encoder.Matrix) (err error) {
	docs := make([]retrieval.Document, len(batch))
	for i, x := range matrices {
		m.loaded.Cut += int64(x.Cut)
		tokens := shard.Tokens{Text: batch[i].Text, Vectors: x.Vectors, Width: m.encoder.Width(), Spans: spans(x.Tokens), Weights: m.encoder.QueryWeights(x.Tokens)}
		if docs[i], err = m.document(batch[i], tokens); err != nil {
			return err
		}
		m.count(docs[i])
	}
	return m.index.Put(docs)
}

func (m *memory) count(d retrieval.Document) {
	m.loaded.Documents++
	m.loaded.Tokens += int64(d.Codes.Len())
}

func (m *memory) document(d dataset.Document, x shard.Tokens) (retrieval.Document, error) {
	x, err := m.reduced.Apply(x, nil)
	var codes retrieval.Codes
	if err == nil {
		codes, err = index.Quantize(m.codec, x.Vectors, x.Width)
	}
	if err != nil {
		return retrieval.Document{}, fmt.Errorf("document %q: %w", d.ID, err)
	}
	return retrieval.Document{ID: d.ID, Text: d.Text, Fields: d.Fields, Codes: codes, Spans: x.Spans}, nil
}

func spans(tokens []encoder.Token) []retrieval.Span {
	out := make([]retrieval.Span, len(tokens))
	for i, t := range tokens {
		out[i] = t.Span
	}
	return out
}

func (m *memory) loadVectors(ctx context.Context, limit int) error {
	v, err := dataset.OpenVectors(m.path)
	if err != nil {
		return err
	}
	defer v.Close()
	if m.encoder != nil && v.Width() != m.encoder.Width() {
		return fmt.Errorf("the vectors are %d wide and the encoder's %d: they are of another encoder, which this command cannot ask with: %w", v.Width(), m.encoder.Width(), retrieval.ErrInvalid)
	}
	if err := m.newIndex(v.Width()); err != nil {
		return err
	}
	total := v.Len()
	if limit > 0 {
		total = min(total, limit)
	}
	bar := m.app.progress("loading vectors", total)
	defer bar.end()
	return m.putVectors(ctx, first(v.Documents(), limit), func(d retrieval.Document) {
		m.count(d)
		bar.add(1)
	})
}

// vectorBatchTokens bounds the vectors that are held beside the index while they are loaded: 100 MB at 384 wide.
const vectorBatchTokens = 1 << 16

// putVectors fills the index with rows of vectors, and tells of each.
func (m *memory) putVectors(ctx context.Context, rows iter.Seq2[dataset.Row, error], done func(retrieval.Document)) error {
	var batch []retrieval.Document
	tokens := 0
	put := func() error {
		if err := m.index.Put(batch); err != nil {
			return fmt.Errorf("%s: %w", m.path, err)
		}
		batch, tokens = nil, 0
		return nil
	}
	for row, err := range rows {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		d, err := m.document(row.Document, shard.Tokens{Text: row.Text, Vectors: row.Vectors, Width: m.index.Width(), Spans: row.Spans})
		if err != nil {
			return fmt.Errorf("%s: %w", m.path, err)
		}
		done(d)
		batch, tokens = append(batch, d), tokens+d.Codes.Len()
		if tokens >= vectorBatchTokens || len(batch) == retrieval.MaxBatch {
			if err := put(); err != nil {
				return err
			}
		}
	}
	return put()
}

// question is a text ready to be asked, with the tokens that explain its answer.
type question struct {
	*retrieval.Query
	text   string
	tokens []encoder.Token
}

// ask encodes questions for the k best documents.
func (m *memory) ask(ctx context.Context, texts []string, k int) ([]question, error) {
	matrices, err := m.encoder.Encode(ctx, texts, m.text.query(m.encoder, m.app.threads))
	if e := (*encoder.TextError)(nil); errors.As(err, &e) {
		return nil, fmt.Errorf("question %q: %w (--query-tokens cuts it)", shorten(texts[e.Text], 60), e.Err)
	} else if err != nil {
		return nil, err
	}
	out := make([]question, len(texts))
	for i, x := range matrices {
		var weights []uint16
		if !m.text.noIDF {
			weights = m.encoder.QueryWeights(x.Tokens)
		}
		q, err := m.quantize(x.Vectors, m.encoder.Width(), weights, k)
		if err != nil {
			return nil, fmt.Errorf("question %q: %w", shorten(texts[i], 60), err)
		}
		out[i] = question{q, texts[i], x.Tokens}
	}
	return out, nil
}

// quantize makes a query of vectors. An index in this process has no plans of its own.
func (m *memory) quantize(vectors []float32, width int, weights []uint16, k int) (*retrieval.Query, error) {
	q, err := index.QuantizeQuery(m.codec, vectors, width, weights, k)
	if err == nil {
		q.Plan = retrieval.Default.Plan(m.target, k)
	}
	return q, err
}

// shorten cuts a text for a message.
func shorten(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}
