package main

import (
	"fmt"
	"time"

	"ostraca/retrieval"
)

// This file tells early what a collection will take: memory by tier, and time.

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

// forecaster watches the first documents and says once, on standard error, what the whole will take. It is for one goroutine at a time.
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
	return &forecaster{app: a, codec: codec, width: width, documents: documents, tokens: tokens, start: time.Now()}
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
	if f.told = f.make(); f.told != nil {
		x, p := f.told, f.told.PerToken
		fmt.Fprintf(f.app.err, "forecast: %d documents, %d tokens x %d in codec %s: %.0f MB (bytes a token: %.1f sketch, %.1f coarse, %.1f fine, %.1f starts), about %.0f s\n",
			x.Documents, x.Tokens, f.width, f.codec, float64(x.Bytes)/1e6, p.Sketch, p.Coarse, p.Fine, p.Starts, x.Seconds)
	}
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
