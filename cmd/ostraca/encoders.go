package main

import (
	"fmt"

	"github.com/spf13/pflag"

	"ostraca/ops"
	"ostraca/retrieval/encoder"
	"ostraca/retrieval/encoder/bge"
)

// inside returns the encoder in this binary.
func inside() ops.Embedded {
	return ops.Embedded{Name: "bge", Weights: bge.Weights(), Projection: bge.Projection()}
}

// registerEncoder adds the flag of the verbs that encode in this process.
func (a *app) registerEncoder(f *pflag.FlagSet) {
	f.StringVar(&a.model, "encoder", inside().Name, "encoder: bge, the one inside, or the folder of a model (docs/encoder.md)")
}

// encoder loads the encoder that was asked for.
func (a *app) encoder() (*encoder.Encoder, error) {
	set, err := a.set()
	if err != nil {
		return nil, err
	}
	m, err := inside().Load(a.model, set)
	if err != nil {
		return nil, fmt.Errorf("--encoder: %w", err)
	}
	return m.Encoder, nil
}
