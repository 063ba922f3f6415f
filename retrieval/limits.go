package retrieval

// Limits, checked at the door and told in the error.
const (
	MaxTextBytes      = 1 << 20 // bytes of a document's or query's text
	MaxIDBytes        = 512     // bytes of a document's id
	MaxDocumentTokens = 4096    // token vectors of one document
	MaxQueryTokens    = 4096    // token vectors of one query
	MaxWidth          = 1024    // stored dimensions of a token vector
	MaxBatch          = 4096    // documents of one write
	MaxK              = 10_000  // hits of one answer
	MaxCandidates     = 1 << 20 // documents that a plan keeps after a stage
	MaxLists          = 1 << 13 // lists of a collection, and those that a plan looks into
	MaxAlignments     = 1 << 22 // hits times query tokens of one answer: 32 MB a worker
)
