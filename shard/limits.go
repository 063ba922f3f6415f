package shard

import "time"

// Limits, checked at the door and told in the error; more of them in package retrieval.
const (
	MaxDocumentBytes   = 5 << 20                   // bytes of an encoded document, text, fields, codes and spans together
	MaxFieldsBytes     = 64 << 10                  // bytes of a document's fields, as JSON
	MaxCollectionBytes = 64                        // bytes of a collection's name
	MaxFittedBytes     = 8 << 20                   // bytes of all collections' projections and lists together; each has at most 1 MiB
	MaxCollections     = 1024                      // collections of a cluster
	MaxPassages        = 100_000                   // documents of one parent
	MaxBatch           = 4096                      // operations of one write, ids of one get
	MaxForget          = 10_000                    // ids and parents of one forget
	MaxOperationBytes  = MaxDocumentBytes + 64<<10 // bytes of one encoded operation: three of them are below 16 MiB
	MaxEntryBytes      = 1 << 20                   // bytes at which an entry is closed; one operation may be larger
	MaxEntryOperations = 1 << 16                   // operations of one entry: a version has 16 bits for the place
	MaxRemembered      = 1_000_000                 // operations whose outcome a shard remembers
	MaxListed          = 1000                      // documents of one page of a list
	MaxScanned         = 20_000                    // rows of a shard that one page of a list or count looks at
	MaxFilterBytes     = 4 << 10                   // bytes of a filter's expression
	MaxFilterCost      = 100_000                   // steps, as CEL counts them, that a filter may take over one document
	MaxAnswerBytes     = 16 << 20                  // bytes of rows in one answer; a list is cut before, a get is refused
	MaxHitBytes        = 64 << 10                  // bytes of documents that come along with the hits of a shard; a router fetches further ones
	MaxShards          = 4096                      // shards of a cluster
	MaxPins            = 256                       // states that a replica keeps for later phases
	MaxWaiting         = 4096                      // writes that wait at a leader
	MaxWaitingBytes    = 128 << 20                 // bytes of them
	MaxReceipts        = 4096                      // receipts that one read waits for

	RetryWindow = 10 * time.Minute // how long a retry is told the first outcome, by cluster time
	MaxEarly    = time.Minute      // how far an operation id may be ahead of cluster time
	PinTime     = 5 * time.Second  // how long a replica keeps a state for a later phase

	expiredPerEntry = 64 // remembered operations that leave in one entry, and 2 more for each of its operations
)
