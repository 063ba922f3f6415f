package main

import (
	"github.com/spf13/pflag"

	"ostraca/api"
	"ostraca/shard"
)

// reductionOptions are the flags that say how many token vectors of a document are kept.
type reductionOptions struct {
	pool            uint32
	dropPunctuation bool
	keep            float64
}

func (o *reductionOptions) register(f *pflag.FlagSet) {
	f.Uint32Var(&o.pool, "pool", 0, "of a new collection: one vector for every N tokens of a document, the mean of those that are alike, 2 to 16")
	f.BoolVar(&o.dropPunctuation, "drop-punctuation", false, "of a new collection: no vectors of tokens without a letter or a number")
	f.Float64Var(&o.keep, "keep", 0, "of a new collection: this share of a document's tokens, the rarest in the encoder's own statistics, as .5 (default: all)")
}

// reduction is what the flags say.
func (o reductionOptions) reduction() (shard.Reduction, error) {
	return shard.NewReduction(int(o.pool), o.dropPunctuation, o.keep)
}

// wire is what the flags say, to be sent; nothing where none was given.
func (o reductionOptions) wire() *api.Reduction {
	if o == (reductionOptions{}) {
		return nil
	}
	return &api.Reduction{Pool: o.pool, DropPunctuation: o.dropPunctuation, Keep: o.keep}
}

// describeReduction says what a collection's reduction does; nothing, nothing.
func describeReduction(r *api.Reduction) string {
	held, err := shard.NewReduction(int(r.GetPool()), r.GetDropPunctuation(), r.GetKeep())
	if err != nil { // of a release that knows more
		return r.String()
	}
	return held.String()
}
