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

// Times returns those of n times as much.
func (b Bytes) Times(n int64) Bytes {
	return Bytes{n * b.Sketch, n * b.Coarse, n * b.Fine, n * b.Starts}
}

// All returns the sum of the tiers.
func (b Bytes) All() int64 { return b.Resident() + b.Fine }

// Resident returns what every search reads: all but the codes of tokens, of which it reads those of its candidates. (Their scales and clusters stay in
// memory too.)
func (b Bytes) Resident() int64 { return b.Sketch + b.Coarse + b.Starts }

// Estimate returns what so many documents take that have so many tokens together, as if all were equally long: it is exact but for the vectors of a few tokens, of which
// every document has at least one.
func (c Codec) Estimate(width int, documents, tokens int64) Bytes {
	if documents == 0 {
		return Bytes{}
	}
	short, longer := int(tokens/documents), tokens%documents
	return c.Bytes(width, short).Times(documents - longer).Add(c.Bytes(width, short+1).Times(longer))
}

// Forecast says what a collection will take, from the first documents of it.
type Forecast struct {
	Documents int64   // of the whole
	Tokens    int64   // of the whole; an estimate where only some were seen
	Bytes     Bytes   // of the whole, by [Codec.Estimate]
	Seconds   float64 // to make it, at the pace of those that were seen
}

// Forecast scales how many tokens some documents had, and how long they lasted (in seconds), to so many documents, of so many tokens; tokens of 0 are not known, and come in the same
// proportion. Nothing seen, or no token, forecasts nothing.
func (c Codec) Forecast(width int, seen []int, seconds float64, documents, tokens int64) Forecast {
	var all int64
	for _, n := range seen {
		all += int64(n)
	}
	if all == 0 {
		return Forecast{Documents: documents}
	}
	if tokens == 0 {
		tokens = int64(float64(all) * float64(documents) / float64(len(seen)))
	}
	return Forecast{documents, tokens, c.Estimate(width, documents, tokens), seconds * float64(tokens) / float64(all)}
}
