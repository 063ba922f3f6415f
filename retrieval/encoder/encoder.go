// Package encoder turns text into a matrix of token vectors: a tokenizer and a transformer of BERT's shape from one weights
// file, with windows over long texts. It is a function of the text and the weights alone: the same text gives the same
// bytes in any batch, on any number of threads and in every kernel variant. The conventions are docs/encoder.md, the file
// is docs/weights.md. [LoadDir] makes such a file of a local Hugging Face directory.
package encoder

import (
	"context"
	"encoding/hex"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"ostraca/retrieval"
	"ostraca/retrieval/kernel"
)

// QueryTokens is the usual length of a query, with [CLS] and [SEP].
const QueryTokens = 32

// Encoder is safe for concurrent use.
type Encoder struct {
	model       *model
	tokenizer   *Tokenizer
	conventions Conventions
	weights     []uint16 // of query tokens by id; nil where the file has none
	hash        string
	spaces      sync.Pool // of *workspace
}

// Options of one call. The zero value reads documents, whole or to the length that the model states, on every processor.
type Options struct {
	Query     bool // the texts are queries: the model's marker, length and expansion for these; else for documents, and its skiplist
	MaxTokens int  // cut every text to this many tokens, with [CLS], marker and [SEP]; 0: the model's length, or whole, in windows
	Threads   int  // 0: as many as the process may use
}

// Matrix is one encoded text.
type Matrix struct {
	Tokens  []Token   // one a row; [CLS], [SEP], markers and expansion only where the conventions give them vectors, with empty spans
	Vectors []float32 // len(Tokens) rows, unit length
	Pooled  []float32 // the vector of [CLS], of the first window where there are several, unit length
	Cut     int       // pieces that the length left out
}

// TextError says which text of a call was refused.
type TextError struct {
	Text int // its place in the call
	Err  error
}

func (e *TextError) Error() string { return fmt.Sprintf("text %d: %v", e.Text, e.Err) }
func (e *TextError) Unwrap() error { return e.Err }

// Load reads a weights file and prepares it for one kernel variant; nil is kernel.Best(). The bytes may be dropped
// afterwards. An error wraps retrieval.ErrCorrupt.
func Load(weights []byte, set *kernel.Set) (*Encoder, error) {
	if set == nil {
		set = kernel.Best()
	}
	f, err := parse(weights)
	if err != nil {
		return nil, err
	}
	e := &Encoder{model: f.model(set), hash: hex.EncodeToString(f.hash[:]), conventions: f.conventions}
	if f.has("query.weight") {
		e.weights = f.words("query.weight", f.Vocabulary)
	}
	if f.err != nil {
		return nil, f.err
	}
	if e.tokenizer, err = f.tokenizer(); err != nil {
		return nil, err
	}
	e.spaces.New = func() any { return new(workspace) }
	return e, nil
}

// Config returns what the weights file says of itself.
func (e *Encoder) Config() Config { return e.model.Config }

// Width returns the dimensions of a token vector, after the projection where the model has one.
func (e *Encoder) Width() int { return e.model.width() }

// Conventions returns how the model wants its texts.
func (e *Encoder) Conventions() Conventions { return e.conventions }

// Hash names the encoder: the SHA-256 of its weights file, in hexadecimal.
func (e *Encoder) Hash() string { return e.hash }

// Kernel returns the variant that the encoder was prepared for.
func (e *Encoder) Kernel() *kernel.Set { return e.model.set }

// Tokenizer returns the encoder's tokenizer.
func (e *Encoder) Tokenizer() *Tokenizer { return e.tokenizer }

// QueryWeights returns the weight of each token of a query, or nil where the weights file has none.
func (e *Encoder) QueryWeights(tokens []Token) []uint16 {
	if e.weights == nil {
		return nil
	}
	out := make([]uint16, len(tokens))
	for i, t := range tokens {
		out[i] = e.weights[t.ID]
	}
	return out
}

// Encode returns one matrix a text. A text over a limit fails the call before anything is encoded, with a [TextError] that wraps
// retrieval.ErrTooLarge; options out of range wrap retrieval.ErrInvalid, a cancelled call the context's error.
func (e *Encoder) Encode(ctx context.Context, texts []string, o Options) ([]Matrix, error) {
	if least := e.conventions.of(o.Query).specials() + 1; o.MaxTokens != 0 && (o.MaxTokens < least || o.MaxTokens > MaxTokens) {
		return nil, fmt.Errorf("cut to %d tokens: it must be %d to %d, [CLS] and [SEP] counted: %w", o.MaxTokens, least, MaxTokens, retrieval.ErrInvalid)
	}
	out := make([]Matrix, len(texts))
	var jobs []job
	for i, text := range texts {
		r, err := e.read(&out[i], text, o)
		if err != nil {
			return nil, &TextError{i, err}
		}
		for _, w := range windows(len(r.pieces), r.window) {
			jobs = append(jobs, job{r, w})
		}
	}
	return out, e.run(ctx, jobs, o.Threads)
}

// batchRows bounds the rows that go through the model together: enough to use each weight often, few enough for the cache.
const batchRows = 256

// run encodes jobs in batches on several threads. Which batch a job falls into does not change its bytes.
func (e *Encoder) run(ctx context.Context, jobs []job, threads int) error {
	batches := batch(jobs)
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	var next atomic.Int64
	work := func() {
		w := e.spaces.Get().(*workspace)
		defer e.spaces.Put(w)
		for i := next.Add(1) - 1; int(i) < len(batches) && ctx.Err() == nil; i = next.Add(1) - 1 {
			e.encode(w, batches[i])
		}
	}
	var wait sync.WaitGroup
	for range min(threads, len(batches)) - 1 {
		wait.Go(work)
	}
	work() // here: one query waits for no other goroutine to be scheduled
	wait.Wait()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	return nil
}

func batch(jobs []job) [][]job {
	var out [][]job
	start, rows := 0, 0
	for i, j := range jobs {
		n := j.tokens()
		if rows+n > batchRows && i > start {
			out = append(out, jobs[start:i])
			start, rows = i, 0
		}
		rows += n
	}
	if start < len(jobs) {
		out = append(out, jobs[start:])
	}
	return out
}

// encode runs one batch and copies out the vectors that each window speaks for.
func (e *Encoder) encode(w *workspace, jobs []job) {
	sequences := make([]sequence, len(jobs))
	for i, j := range jobs {
		sequences[i] = j.sequence()
	}
	vectors, width := e.model.forward(w, sequences), e.Width()
	for i, j := range jobs {
		j.keep(vectors, width)
		vectors = vectors[len(sequences[i].ids)*width:]
	}
}
