package shard

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"ostraca/retrieval"
	"ostraca/retrieval/encoder"
	"ostraca/retrieval/index"
)

// Configuration is what a collection is.
type Configuration struct {
	Key     [32]byte // of the data digest
	Codec   retrieval.Codec
	Width   int    // dimensions of a token vector
	Encoder string // hash of the encoder whose vectors it holds, empty for vectors from outside
	Epoch   uint64 // grows with every change of the codes

	Projection  encoder.Projection    `json:",omitzero"`  // to Width, of vectors that have more dimensions; zero: they are as wide
	Reduction   Reduction             `json:",omitzero"`  // of a document's token vectors before they are codes; zero: none
	Lists       index.Lists           `json:",omitzero"`  // that plans may look into, of Width; zero: none
	Calibration retrieval.Calibration `json:",omitempty"` // plans by recall target and k; empty: retrieval.Default
}

// VectorWidth returns the dimensions of vectors before they are projected: what encoders give and vectors from outside have.
func (c Configuration) VectorWidth() int {
	if c.Projection.IsZero() {
		return c.Width
	}
	return c.Projection.From()
}

// Plan returns how a search for k hits finds its candidates, so that it finds a share of the exact answer. Nothing but the arguments and the
// configuration enters it.
func (c Configuration) Plan(target retrieval.Target, k int) retrieval.Plan {
	if len(c.Calibration) == 0 {
		return retrieval.Default.Plan(target, k)
	}
	return c.Calibration.Plan(target, k)
}

// Equal tells whether two configurations are the same.
func (c Configuration) Equal(o Configuration) bool {
	return c.SameCodes(o) && c.Key == o.Key && c.Epoch == o.Epoch && c.Lists == o.Lists && slices.Equal(c.Calibration, o.Calibration)
}

// SameCodes tells whether the same text becomes the same codes in both: all but the key, the epoch, the lists and the calibration is alike.
func (c Configuration) SameCodes(o Configuration) bool {
	return c.Codec == o.Codec && c.Width == o.Width && c.Encoder == o.Encoder && c.Projection == o.Projection && c.Reduction == o.Reduction
}

// follows tells whether a collection that is c can become o while it holds codes: those of another encoder, projection or reduction
// are of another epoch. Its lists stay: every document lies in one.
func (c Configuration) follows(o Configuration) bool {
	return c.Key == o.Key && c.Codec == o.Codec && c.Width == o.Width && c.Lists == o.Lists && (c.SameCodes(o) && c.Epoch <= o.Epoch || c.Epoch < o.Epoch)
}

// check reports why a configuration cannot be, or nil.
func (c Configuration) check() error {
	switch {
	case c.Codec.Bits() == 0:
		return fmt.Errorf("codec %q, known are %q: %w", c.Codec, retrieval.Codecs, retrieval.ErrInvalid)
	case c.Width < 1 || c.Width > retrieval.MaxWidth:
		return fmt.Errorf("width is %d, it must be 1 to %d: %w", c.Width, retrieval.MaxWidth, retrieval.ErrInvalid)
	case len(c.Encoder) > 64:
		return fmt.Errorf("encoder hash has %d bytes, the limit is 64: %w", len(c.Encoder), retrieval.ErrTooLarge)
	case c.Epoch > maxEpoch:
		return fmt.Errorf("epoch is %d, the limit is 2^63: %w", c.Epoch, retrieval.ErrInvalid)
	case !c.Projection.IsZero() && (c.Projection.Width() != c.Width || c.Projection.From() <= c.Width):
		return fmt.Errorf("projection from %d to %d dimensions, for width %d: it must be to that, from more: %w", c.Projection.From(), c.Projection.Width(), c.Width, retrieval.ErrInvalid)
	case !c.Lists.IsZero() && c.Lists.Width() != c.Width:
		return fmt.Errorf("lists of width %d, for width %d: they must be alike: %w", c.Lists.Width(), c.Width, retrieval.ErrInvalid)
	case c.Lists.IsZero() && slices.ContainsFunc(c.Calibration, func(x retrieval.Calibrated) bool { return x.Plan.Lists > 0 }):
		return fmt.Errorf("a calibration whose plans look into lists, of a collection that has none: %w", retrieval.ErrInvalid)
	case c.Reduction.Keep > 0 && c.Encoder == "":
		return fmt.Errorf("%g of the tokens are to be kept, by an encoder's weights, and the collection has no encoder: its vectors come from outside: %w", c.Reduction.Share(), retrieval.ErrInvalid)
	}
	return cmp.Or(c.Reduction.check(), c.Calibration.Validate())
}

// maxMakingBytes is what the making of codes that is read may take: a projection, its weights and a head of its sample, and lists and a reduction in front.
const maxMakingBytes = 2*encoder.MaxProjectionWeights + maxListsBytes + 2048

// What may be in front of a projection, in this order. Its bytes begin with its version, which stays below.
const (
	withLists     = 0xfe
	withReduction = 0xff
)

// maxCalibrated is how many plans a configuration that is read may have; how many a calibration may, that one says itself.
const maxCalibrated = 64

// appendConfiguration appends the configuration of docs/state.md.
func appendConfiguration(b []byte, c Configuration) []byte {
	b = append(b, c.Key[:]...)
	b = appendString(b, string(c.Codec))
	b = binary.AppendUvarint(b, uint64(c.Width))
	b = appendString(b, c.Encoder)
	b = binary.AppendUvarint(b, c.Epoch)
	b = binary.AppendUvarint(b, uint64(len(c.Calibration)))
	for _, x := range c.Calibration {
		for _, n := range []int{int(x.Target), x.K, x.Plan.Sketched, x.Plan.Scored} {
			b = binary.AppendUvarint(b, uint64(n))
		}
	}
	var making []byte // of what there is nothing, no bytes: as it was before there was any
	if !c.Lists.IsZero() {
		making = appendLists(append(making, withLists), c)
	}
	if !c.Reduction.IsZero() {
		making = c.Reduction.append(append(making, withReduction))
	}
	return appendString(b, append(making, c.Projection.Bytes()...))
}

// configuration reads one, to the end, without checking what it means.
func (r *reader) configuration() Configuration {
	var c Configuration
	copy(c.Key[:], r.take(32, "key"))
	c.Codec = retrieval.Codec(r.string(16, "codec"))
	c.Width = int(r.uvarint(retrieval.MaxWidth, "width"))
	c.Encoder = r.string(64, "encoder")
	c.Epoch = r.uvarint(maxEpoch, "epoch")
	for range r.uvarint(maxCalibrated, "plans") {
		x := retrieval.Calibrated{Target: retrieval.Target(r.uvarint(1000, "recall target")), K: int(r.uvarint(retrieval.MaxK, "k"))}
		x.Plan.Sketched = int(r.uvarint(retrieval.MaxCandidates, "plan"))
		x.Plan.Scored = int(r.uvarint(retrieval.MaxCandidates, "plan"))
		c.Calibration = append(c.Calibration, x)
	}
	made := reader{rest: r.bytes(maxMakingBytes, "making")} // how codes are made of vectors
	if len(made.rest) > 0 && made.rest[0] == withLists {
		made.rest = made.rest[1:]
		made.lists(&c)
	}
	if len(made.rest) > 0 && made.rest[0] == withReduction {
		made.rest = made.rest[1:]
		c.Reduction = made.reduction()
	}
	if made.err == nil && len(made.rest) > 0 {
		c.Projection, made.err = encoder.ParseProjection(made.rest)
	}
	if made.err != nil {
		r.fail("configuration: %v", made.err)
	}
	return c
}

// parseConfiguration reads and checks one.
func parseConfiguration(b []byte) (Configuration, error) {
	r := reader{rest: b}
	c := r.configuration()
	if err := r.end("configuration"); err != nil {
		return Configuration{}, err
	}
	return c, c.check()
}
