package retrieval

// Bytes are what vectors take in memory, by tier. They add.
type Bytes struct {
	Sketch int64 `json:"sketch"` // sketch vectors, with their scales
	Coarse int64 `json:"coarse"`
	Fine   int64 `json:"fine"`   // codes of tokens, with their scales and clusters
	Starts int64 `json:"starts"` // where a document begins, in each tier
}

// startBytes is what a document takes beside its vectors: a start in each of three tiers, and the one scale of its sketch vectors.
const startBytes = 3*4 + 2

// Bytes returns what a document of so many tokens takes.
func (c Codec) Bytes(width, tokens int) Bytes {
	row, token := int64(Stride(width)+2), int64(c.RowBytes(width)+2)
	if c != Int8 && c != "" {
		token++ // its cluster
	}
	return Bytes{
		Sketch: int64(Windows(tokens)) * row,
		Coarse: int64(Clusters(tokens, c.Pool(width))) * row,
		Fine:   int64(tokens) * token,
		Starts: startBytes,
	}
}

// Add returns the sum of both.
func (b Bytes) Add(c Bytes) Bytes {
	return Bytes{b.Sketch + c.Sketch, b.Coarse + c.Coarse, b.Fine + c.Fine, b.Starts + c.Starts}
}

// All returns the sum of the tiers.
func (b Bytes) All() int64 { return b.Resident() + b.Fine }

// Resident returns what every search reads: all but the codes of tokens, of which it reads those of its candidates.
func (b Bytes) Resident() int64 { return b.Sketch + b.Coarse + b.Starts }

// Forecast says what a collection will take, from the first documents of it.
type Forecast struct {
	Documents int64   // of the whole
	Tokens    int64   // of the whole; an estimate where only some were seen
	Bytes     Bytes   // of the whole
	Seconds   float64 // to make it, at the pace of those that were seen
}

// Forecast scales what some documents had, took and lasted (in seconds) to so many documents, of so many tokens; tokens of 0 are not known, and come in the same
// proportion. Nothing seen, or no token, forecasts nothing.
func (c Codec) Forecast(width int, seen []int, seconds float64, documents, tokens int64) Forecast {
	var all int64
	var bytes Bytes
	for _, n := range seen {
		all, bytes = all+int64(n), bytes.Add(c.Bytes(width, n))
	}
	if all == 0 {
		return Forecast{Documents: documents}
	}
	if tokens == 0 {
		tokens = int64(float64(all) * float64(documents) / float64(len(seen)))
	}
	share := float64(tokens) / float64(all)
	scaled := func(n int64) int64 { return int64(float64(n) * share) }
	return Forecast{
		Documents: documents,
		Tokens:    tokens,
		Bytes:     Bytes{scaled(bytes.Sketch), scaled(bytes.Coarse), scaled(bytes.Fine), startBytes * documents},
		Seconds:   seconds * share,
	}
}
