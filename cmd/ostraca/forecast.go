package main

import (
	"fmt"
	"time"

	"ostraca/retrieval"
)

// This file tells early what a collection will take: memory by tier before the work, as far as it follows from what is known, and time when some of it is done.

// The first documents are watched so long, and so many at least, before the whole is forecast: fewer say nothing about time.
const (
	forecastAfter     = time.Second
	forecastDocuments = 32
)

// forecastJSON is a forecast in a report.
type forecastJSON struct {
	Documents int64         `json:"documents"`
	Tokens    int64         `json:"tokens"`
	Bytes     int64         `json:"bytes"`
	PerToken  tierBytesJSON `json:"bytes_per_token"`
	Seconds   float64       `json:"seconds"`
	From      int           `json:"from_documents"` // how many were seen
}

// tierBytesJSON are bytes per token.
type tierBytesJSON struct {
	Sketch float64 `json:"sketch"`
	Coarse float64 `json:"coarse"`
	Fine   float64 `json:"fine"`
	Starts float64 `json:"starts"`
}

func perToken(b retrieval.Bytes, tokens float64) tierBytesJSON {
	return tierBytesJSON{float64(b.Sketch) / tokens, float64(b.Coarse) / tokens, float64(b.Fine) / tokens, float64(b.Starts) / tokens}
}

// forecaster says on standard error what the whole will take: memory at once, where the number of tokens is known, and the rest from the first documents. It is for one
// goroutine at a time.
type forecaster struct {
	app               *app
	codec             retrieval.Codec
	width             int
	documents, tokens int64 // of the whole; tokens of 0 are not known
	start             time.Time
	seen              []int
	told              *forecastJSON
}

func (a *app) forecaster(codec retrieval.Codec, width int, documents, tokens int64) *forecaster {
	f := &forecaster{app: a, codec: codec, width: width, documents: documents, tokens: tokens, start: time.Now()}
	switch {
	case documents == 0:
	case tokens > 0:
		f.sayBytes(codec.Estimate(width, documents, tokens), tokens)
	default: // texts, which nobody has counted the tokens of
		p := perToken(codec.Bytes(width, retrieval.SketchTokens), retrieval.SketchTokens)
		fmt.Fprintf(a.err, "forecast: %s; a token takes %.1f bytes x %d in codec %s (%.1f resident, of documents of %d tokens): how many there are, and how long it takes, the first will tell\n",
			plural(int(documents), "document"), p.Sketch+p.Coarse+p.Fine+p.Starts, width, codec, p.Sketch+p.Coarse+p.Starts, retrieval.SketchTokens)
	}
	return f
}

// sayBytes says what the memory will be for.
func (f *forecaster) sayBytes(b retrieval.Bytes, tokens int64) {
	p := perToken(b, float64(tokens))
	fmt.Fprintf(f.app.err, "forecast: %d documents, %d tokens x %d in codec %s: %.0f MB (bytes a token: %.1f sketch, %.1f coarse, %.1f fine, %.1f starts)\n",
		f.documents, tokens, f.width, f.codec, float64(b.All())/1e6, p.Sketch, p.Coarse, p.Fine, p.Starts)
}

// saw counts a document that is done.
func (f *forecaster) saw(tokens int) {
	if f.told != nil {
		return
	}
	f.seen = append(f.seen, tokens)
	if len(f.seen) < forecastDocuments || time.Since(f.start) < forecastAfter {
		return
	}
	if f.told = f.make(); f.told == nil {
		return
	}
	if f.tokens == 0 {
		f.sayBytes(f.codec.Estimate(f.width, f.told.Documents, f.told.Tokens), f.told.Tokens)
	}
	fmt.Fprintf(f.app.err, "forecast: about %.0f s\n", f.told.Seconds)
}

// make forecasts the whole from what was seen; nil where no token was.
func (f *forecaster) make() *forecastJSON {
	x := f.codec.Forecast(f.width, f.seen, time.Since(f.start).Seconds(), f.documents, f.tokens)
	if x.Tokens == 0 {
		return nil
	}
	return &forecastJSON{x.Documents, x.Tokens, x.Bytes.All(), perToken(x.Bytes, float64(x.Tokens)), x.Seconds, len(f.seen)}
}

// report returns the forecast; of what was done before there was one, that of all of it.
func (f *forecaster) report() *forecastJSON {
	if f.told == nil {
		return f.make()
	}
	return f.told
}
