package ops

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"ostraca/retrieval"
	"ostraca/retrieval/encoder"
	"ostraca/retrieval/kernel"
)

// Embedded is an encoder that a command carries in its binary: only commands may, for it is large.
type Embedded struct {
	Name       string
	Weights    []byte // docs/weights.md
	Projection []byte // docs/projection.md; empty if none ships with it
}

// Model is an encoder, and the projection of its vectors that ships with it: the zero one where none does.
type Model struct {
	*encoder.Encoder
	Projection encoder.Projection
}

// Load loads the embedded encoder by its name, or a model from the folder of that name (docs/encoder.md).
func (e Embedded) Load(name string, set *kernel.Set) (m Model, err error) {
	if name == e.Name {
		if len(e.Projection) > 0 {
			if m.Projection, err = encoder.ParseProjection(e.Projection); err != nil {
				return m, err
			}
		}
		m.Encoder, err = encoder.Load(e.Weights, set)
		return m, err
	}
	if info, err := os.Stat(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return m, err
	} else if err != nil || !info.IsDir() {
		return m, fmt.Errorf("encoder %q: it must be %s, or the folder of a model: %w", name, e.Name, retrieval.ErrInvalid)
	}
	m.Encoder, err = encoder.LoadDir(os.DirFS(name), set)
	return m, err
}
