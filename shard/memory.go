package shard

import (
	"context"
	"slices"
	"time"

	"ostraca/retrieval"
	"ostraca/storage"
)

// Memory is token-level memory, of one shard or of all: a [Replica], a [Client] and a [Router] have it. All methods are safe for
// concurrent use and end with their context. Errors wrap those of this package and of package retrieval.
type Memory interface {
	// Search answers one phase of a query.
	Search(ctx context.Context, r *SearchRequest) (*SearchAnswer, error)
	// Write applies operations, each on its own: results stand in their order. The error is for what concerns all of them, such as a
	// batch over its limit; then nothing was written.
	Write(ctx context.Context, r *WriteRequest) ([]Result, error)
	// Get returns the documents of these ids that are held, in the order asked for.
	Get(ctx context.Context, r *GetRequest) (*GetAnswer, error)
	// List returns a page of documents in the order of their ids, or counts them.
	List(ctx context.Context, r *ListRequest) (*ListAnswer, error)
	// Status tells of every shard that the memory is made of.
	Status(ctx context.Context) (*Status, error)
}

// WriteRequest is operations to be applied.
type WriteRequest struct {
	Operations []Operation
	Seen       int64 // cluster time, ms, that the writer saw last: it travels with writes as a Lamport clock, so shards keep one time
}

// Level is what a read promises.
type Level uint8

// The read levels.
const (
	Linearizable Level = iota // per shard: all that was acknowledged before the read began
	Bounded                   // per shard: all that was acknowledged longer ago than the bound
	Local                     // nothing: whatever the replica has
)

// Read says how fresh the state of a read must be.
type Read struct {
	Level Level
	Bound time.Duration // of Bounded
	After []Receipt     // the state must have all of these: read your writes
	Pin   *Pin          // exactly this state, which an earlier phase named; the rest is then ignored
}

// Receipt says where in the log of a shard a write stands, and what the collection's data digest in that shard was just then.
type Receipt struct {
	Shard      uint32
	Generation uint64
	Index      uint64
	Digest     storage.Digest
	Time       int64 // cluster time, ms
}

// Pin is a state that one replica keeps for up to PinTime.
type Pin struct {
	Node  string
	Token uint64
	Index uint64
}

// Phase is a step of a search.
type Phase uint8

// The phases. A router answers each over all shards.
const (
	Candidates Phase = iota // the best k documents
	Scores                  // the documents of given ids, scored exactly
	Statistics              // how much there is
)

// SearchRequest is one phase of a search.
type SearchRequest struct {
	Collection   string
	Phase        Phase
	Query        *retrieval.Query // not of Statistics
	IDs          []string         // of Scores
	Filter       string           // an expression, see CheckFilter: only documents that it lets through are scored; not of Statistics
	Read         Read
	SumsOnly     bool // hits without their alignments, and documents that come along without their spans: for who asks which and how good, and not why
	Documents    bool // with the documents of the hits, of the same state as their scores; of a replica, of the first that have up to MaxHitBytes
	Hold         bool // of a replica: keep the state, unless all documents that were asked for are in the answer, and name it there
	AllowPartial bool // of a router: an answer that lacks shards is no error
}

// SearchAnswer is what a phase found.
type SearchAnswer struct {
	retrieval.Answer
	Documents  []Found   // one a hit, where they were asked for; of a replica, of the first hits
	Held       Held      // of Statistics
	States     []State   // of every shard that answered, in shard order
	Missing    []Missing // shards that did not answer, where that is allowed
	Candidates int       // hits of all shards before they were cut to k
}

// Held is how much a memory holds. It adds.
type Held struct{ Documents, Tokens int64 }

// State is the state of one shard that a read saw.
type State struct {
	Shard uint32
	Index uint64
	Time  int64 // cluster time, ms
	Pin   *Pin  // where it was held

	Leader string // that the replica knows; empty if none
}

// Result is what became of one operation: an outcome with its receipts, or Err, why there is no outcome.
type Result struct {
	Outcome
	Receipts []Receipt // of every shard that took part: one, but for a forget over several
	Err      error
}

// Failure returns why the operation did not take effect, or nil.
func (r Result) Failure() error {
	if r.Err != nil {
		return r.Err
	}
	return r.Outcome.Err()
}

// GetRequest asks for documents by id.
type GetRequest struct {
	Collection string
	IDs        []string
	Codes      bool // with their codes
	Read       Read
	Last       bool // of a pin's state: nothing more will be asked of it
}

// GetAnswer has the documents that are held.
type GetAnswer struct {
	Documents []Found
	States    []State
}

// ListRequest asks for a page, or with Count for a number.
type ListRequest struct {
	Collection string
	After      string // the Next of the page before; empty starts
	Limit      int    // documents, 1 to MaxListed; not of Count
	Codes      bool
	Filter     string // an expression, see CheckFilter: only documents that it lets through
	Count      bool   // no documents, only how many
	Read       Read
}

// ListAnswer is a page. It may have fewer documents than the limit, also none, and there be more: a replica ends a page after MaxScanned
// rows, or fewer that were much work to filter.
//
// A replica counts a page's rows; without a filter, and from the start, it knows them all. A router adds pages up until all is counted: what
// they count is of one instant in a shard if it needed one page there, else of one instant a page.
type ListAnswer struct {
	Documents []Found
	More      bool   // go on after Next
	Next      string // the last id that was looked at, where there is more
	Count     uint64
	States    []State // of a count over pages those of the last
}

// Status is how a memory is.
type Status struct{ Shards []ReplicaStatus }

// ReplicaStatus is how one replica of a shard is.
type ReplicaStatus struct {
	Shard, Shards  uint32
	Node, Leader   string
	Role           string
	Generation     uint64
	Term, Commit   uint64
	Applied        uint64 // index of the last entry that is in memory
	Covered        uint64 // index up to which the state file needs no log
	Time           int64  // cluster time, ms
	Digest         storage.Digest
	Operations     int64 // remembered
	Collections    []CollectionStatus
	LogFirst       uint64
	LogLast        uint64
	LogBytes       int64 // entries
	LogFileBytes   int64
	StateFileBytes int64
	OverlayBytes   int64 // rows not yet in the state file
	IndexBytes     int64
	Voters         []string
	Trouble        string // what keeps the replica from writing; empty when nothing does
}

// Voter tells whether the replica has a vote, as far as it knows itself.
func (s *ReplicaStatus) Voter() bool { return len(s.Voters) == 0 || slices.Contains(s.Voters, s.Node) }

// CollectionStatus is what a shard holds of a collection.
type CollectionStatus struct {
	Name          string
	Configuration // without its projection, which the map has
	Held
	Digest storage.Digest // of its data
}

// Equal tells whether two shards, or two replicas of one, hold the same.
func (c CollectionStatus) Equal(o CollectionStatus) bool {
	return c.Name == o.Name && c.Held == o.Held && c.Digest == o.Digest && c.Configuration.Equal(o.Configuration)
}
