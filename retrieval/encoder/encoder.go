// Package encoder turns text into a matrix of token vectors: a WordPiece tokenizer and a BERT transformer from one weights
// file, with windows over long texts. It is a function of the text and the weights alone: the same text gives the same
// bytes in any batch, on any number of threads and in every kernel variant. The conventions are docs/encoder.md, the file
// is docs/weights.md.
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
	model     *model
	tokenizer *Tokenizer
	weights   []uint16 // of query tokens by id; nil where the file has none
	hash      string
	spaces    sync.Pool // of *workspace
}

// Options of one call. The zero value reads whole texts on every processor.
type Options struct {
	MaxTokens int // cut every text to this many tokens, with [CLS] and [SEP]; 0 reads it whole, in windows
	Threads   int // 0: as many as the process may use
}

// Matrix is one encoded text.
type Matrix struct {
	Tokens  []Token   // without [CLS] and [SEP]
	Vectors []float32 // len(Tokens) rows, unit length
	Pooled  []float32 // the vector of [CLS], of the first window where there are several, unit length
	Cut     int       // pieces that MaxTokens left out
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
	e := &Encoder{model: f.model(set), hash: hex.EncodeToString(f.hash[:])}
	vocabulary := f.vocabulary()
	if f.has("query.weight") {
		e.weights = f.words("query.weight", f.Vocabulary)
	}
	if f.err != nil {
		return nil, f.err
	}
	if e.tokenizer, err = NewWordPiece(vocabulary); err != nil {
		return nil, err
	}
	e.spaces.New = func() any { return new(workspace) }
	return e, nil
}

// Config returns what the weights file says of itself.
func (e *Encoder) Config() Config { return e.model.Config }

// Width returns the dimensions of a token vector.
func (e *Encoder) Width() int { return e.model.Hidden }

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
	if o.MaxTokens != 0 && (o.MaxTokens < MinTokens || o.MaxTokens > MaxTokens) {
		return nil, fmt.Errorf("cut to %d tokens: it must be %d to %d, [CLS] and [SEP] counted: %w", o.MaxTokens, MinTokens, MaxTokens, retrieval.ErrInvalid)
	}
	out := make([]Matrix, len(texts))
	var jobs []job
	for i, text := range texts {
		if err := e.read(&out[i], text, o.MaxTokens); err != nil {
			return nil, &TextError{i, err}
		}
		for _, w := range windows(len(out[i].Tokens), e.windowPieces()) {
			jobs = append(jobs, job{&out[i], w})
		}
	}
	return out, e.run(ctx, jobs, o.Threads)
}

func (e *Encoder) windowPieces() int { return min(windowTokens, e.model.Positions) - specials }

// read tokenizes a text and makes room for its vectors.
func (e *Encoder) read(m *Matrix, text string, cut int) error {
	if len(text) > retrieval.MaxTextBytes {
		return fmt.Errorf("%d bytes, the limit is %d: %w", len(text), retrieval.MaxTextBytes, retrieval.ErrTooLarge)
	}
	m.Tokens = e.tokenizer.Tokenize(text)
	if most := cut - specials; cut > 0 && len(m.Tokens) > most {
		m.Cut = len(m.Tokens) - most
		m.Tokens = m.Tokens[:most:most]
	}
	if n := len(m.Tokens); n > MaxTokens-specials {
		return fmt.Errorf("%d tokens, the limit is %d: split the text into passages, or cut it: %w", n+specials, MaxTokens, retrieval.ErrTooLarge)
	}
	m.Vectors = make([]float32, len(m.Tokens)*e.Width())
	m.Pooled = make([]float32, e.Width())
	return nil
}

// job is one window of one text.
type job struct {
	matrix *Matrix
	window window
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
	var wait sync.WaitGroup
	for range min(threads, len(batches)) {
		wait.Go(func() {
			w := e.spaces.Get().(*workspace)
			defer e.spaces.Put(w)
			for i := next.Add(1) - 1; int(i) < len(batches) && ctx.Err() == nil; i = next.Add(1) - 1 {
				e.encode(w, batches[i])
			}
		})
	}
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
		n := j.window.end - j.window.start + specials
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
		ids := make(sequence, 0, j.window.end-j.window.start+specials)
		ids = append(ids, e.tokenizer.CLS())
		for _, t := range j.matrix.Tokens[j.window.start:j.window.end] {
			ids = append(ids, t.ID)
		}
		sequences[i] = append(ids, e.tokenizer.SEP())
	}
	e.model.forward(w, sequences)
	H, at := e.Width(), 0
	for i, j := range jobs {
		first := at + 1 - j.window.start // the row of piece 0, if it were here
		copy(j.matrix.Vectors[j.window.ownStart*H:j.window.ownEnd*H], w.hidden[(first+j.window.ownStart)*H:])
		if j.window.start == 0 {
			copy(j.matrix.Pooled, w.hidden[at*H:][:H])
		}
		at += len(sequences[i])
	}
}
