package endpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"ostraca/api"
	"ostraca/retrieval"
	"ostraca/retrieval/index"
	"ostraca/shard"
)

// noEncoder is the encoder of a collection whose vectors come from outside.
const noEncoder = "none"

func (s *Service) createCollection(ctx context.Context, q *api.CreateCollectionRequest) (*api.Collection, error) {
	name := q.GetName()
	if err := shard.CheckCollection(name); err != nil {
		return nil, fmt.Errorf("create collection: %w", err)
	}
	held, there := s.router.Map().Collections[name]
	if there && !q.GetIfAbsent() {
		return nil, fmt.Errorf("create collection %q: %w", name, shard.ErrExists)
	}
	c, err := s.configuration(ctx, q, held)
	same := !there || held.SameCodes(c) && (q.GetLists() == nil || !held.Lists.IsZero()) // key, epoch and calibration are its own, and lists of which nothing is said
	if err == nil && same && q.GetLists() != nil {                                       // its sample is encoded: not in vain
		c.Lists, err = s.lists(ctx, name, c, q.GetLists())
		same = !there || held.Lists == c.Lists
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("create collection: %w", err)
	case !same:
		return nil, fmt.Errorf("create collection %q: it is there and of another kind (codec %s, width %d of %d, projection %q, encoder %.16q, reduction %q, lists %q): %w", name, held.Codec, held.Width, held.VectorWidth(), projectionOf(held), held.Encoder, held.Reduction, held.Lists, shard.ErrExists)
	case !there:
		if _, err := s.router.Configure(ctx, name, shard.Configure{Change: shard.Create, Configuration: c}); err != nil {
			return nil, fmt.Errorf("create collection: %w", err)
		}
	}
	return s.collection(ctx, name)
}

// configuration returns what a collection is to be. Its vectors are of the encoder, or from outside; where it is to hold fewer dimensions than
// they have they are projected, and where nothing is said of that as in the collection that is held, zero of none.
func (s *Service) configuration(ctx context.Context, q *api.CreateCollectionRequest, held shard.Configuration) (shard.Configuration, error) {
	c := shard.Configuration{Codec: cmp.Or(retrieval.Codec(q.GetCodec()), retrieval.Int8), Width: int(q.GetWidth()), Epoch: 1}
	var err error
	if c.Reduction, err = reductionOf(q.GetReduction()); err != nil {
		return c, err
	}
	from := int(q.GetVectorWidth()) // dimensions of its vectors
	switch {
	case q.GetEncoder() == noEncoder:
		if c.Width == 0 {
			return c, fmt.Errorf("width is missing: of vectors from outside it must be said: %w", retrieval.ErrInvalid)
		}
		from = cmp.Or(from, c.Width)
	case s.encoder == nil:
		return c, fmt.Errorf("this router has no encoder: say encoder %q for vectors from outside: %w", noEncoder, retrieval.ErrInvalid)
	case q.GetEncoder() != "" && q.GetEncoder() != s.encoder.Hash():
		return c, fmt.Errorf("encoder %.70q is not the router's, which is %q: leave it out, or say %q: %w", q.GetEncoder(), s.encoder.Hash(), noEncoder, retrieval.ErrInvalid)
	default:
		c.Encoder = s.encoder.Hash()
		c.Width = cmp.Or(c.Width, s.encoder.Width())
		if from = cmp.Or(from, s.encoder.Width()); from != s.encoder.Width() {
			return c, fmt.Errorf("vector_width is %d, the encoder's vectors have %d: leave it out: %w", from, s.encoder.Width(), retrieval.ErrInvalid)
		}
	}
	switch p := q.GetProjection(); {
	case c.Width > from:
		return c, fmt.Errorf("width is %d, and the vectors have %d: it cannot be more: %w", c.Width, from, retrieval.ErrInvalid)
	case c.Width == from && p != nil:
		return c, fmt.Errorf("there is a projection and nothing to project: width is %d, as the vectors have: %w", c.Width, retrieval.ErrInvalid)
	case c.Width == from:
		return c, nil
	case p == nil && held.Width == c.Width && held.VectorWidth() == from && held.Encoder == c.Encoder:
		c.Projection = held.Projection
		return c, nil
	}
	return s.projected(ctx, c, from, q.GetProjection())
}

// projected returns c with the projection of its vectors, from dimensions each, that was asked for.
func (s *Service) projected(ctx context.Context, c shard.Configuration, from int, p *api.Projection) (shard.Configuration, error) {
	if err := atMost(len(p.GetSampleTexts()), MaxSampleTexts, "texts of a sample", "fewer are enough"); err != nil {
		return c, err
	}
	sample := shard.Sample{Name: cmp.Or(p.GetName(), "sample"), Texts: p.GetSampleTexts(), Width: from}
	if len(p.GetSampleTokens()) > 0 {
		var err error
		if sample.Vectors, sample.Width, err = vectorsOf(p.GetSampleTokens()); err != nil {
			return c, fmt.Errorf("sample: %w", err)
		}
		if sample.Width != from {
			return c, fmt.Errorf("the sample's vectors have %d dimensions, those of the collection %d: %w", sample.Width, from, retrieval.ErrInvalid)
		}
	}
	var err error
	c.Projection, err = s.router.ProjectionFor(ctx, c, sample)
	return c, err
}

// lists returns those that were asked for.
func (s *Service) lists(ctx context.Context, collection string, c shard.Configuration, l *api.Lists) (index.Lists, error) {
	sample := shard.ListSample{Name: cmp.Or(l.GetName(), "sample")}
	if err := atMost(len(l.GetSample()), retrieval.MaxLists, "documents of a sample", "each becomes a list"); err != nil {
		return index.Lists{}, fmt.Errorf("lists: %w", err)
	}
	for _, d := range l.GetSample() {
		in, err := inputOf(d)
		if err != nil {
			return index.Lists{}, fmt.Errorf("lists: sample: %w", err)
		}
		sample.Documents = append(sample.Documents, in)
	}
	return s.router.ListsFor(ctx, collection, c, sample)
}

// collection tells of one, or that it is not there.
func (s *Service) collection(ctx context.Context, name string) (*api.Collection, error) {
	all, err := s.listCollections(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range all.Collections {
		if c.Name == name {
			return c, nil
		}
	}
	return nil, fmt.Errorf("collection %q: %w", name, retrieval.ErrNotFound)
}

func (s *Service) listCollections(ctx context.Context) (*api.ListCollectionsResponse, error) {
	all, err := s.router.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("list collections: %w", err)
	}
	return &api.ListCollectionsResponse{Collections: collections(s.router.Map(), all)}, nil
}

// collections adds up what the shards hold, each as its furthest replica has it. Where a shard does not answer there is no digest.
func collections(m *shard.Map, all *shard.Status) []*api.Collection {
	furthest := map[uint32]*shard.ReplicaStatus{}
	for i, r := range all.Shards {
		if f := furthest[r.Shard]; r.Role != unreachable && (f == nil || r.Applied > f.Applied) {
			furthest[r.Shard] = &all.Shards[i]
		}
	}
	var out []*api.Collection
	for _, name := range sorted(m.Collections) {
		c := m.Collections[name]
		x := &api.Collection{Name: name, Codec: string(c.Codec), Width: uint32(c.Width), Encoder: c.Encoder, Epoch: c.Epoch, VectorWidth: uint32(c.VectorWidth()), Projection: projectionOf(c), Lists: c.Lists.String()}
		if r := c.Reduction; !r.IsZero() {
			x.Reduction = &api.Reduction{Pool: uint32(r.Pool), DropPunctuation: r.DropPunctuation, Keep: r.Share()}
		}
		x.Calibration = ToCalibration(c.Calibration)
		var sum shard.CollectionStatus
		for _, r := range furthest {
			for _, held := range r.Collections {
				if held.Name == name {
					sum.Documents, sum.Tokens, sum.Digest = sum.Documents+held.Documents, sum.Tokens+held.Tokens, sum.Digest.Add(held.Digest)
				}
			}
		}
		x.Documents, x.Tokens = uint64(sum.Documents), uint64(sum.Tokens)
		if len(furthest) == len(m.Shards) {
			x.Digest = sum.Digest.String()
		}
		out = append(out, x)
	}
	return out
}

// projectionOf tells what a collection's projection was fitted on, "" of none.
func projectionOf(c shard.Configuration) string {
	if c.Projection.IsZero() {
		return ""
	}
	return c.Projection.Sample().String()
}

// changeCollection changes what can be changed of a collection that holds documents.
func (s *Service) changeCollection(ctx context.Context, q *api.ChangeCollectionRequest) (*api.Collection, error) {
	name := q.GetCollection()
	c, err := s.router.Configuration(ctx, name)
	if err == nil && q.GetCalibration() != nil {
		if c.Calibration, err = calibrationOf(q.GetCalibration()); err == nil {
			_, err = s.router.Configure(ctx, name, shard.Configure{Change: shard.Alter, Configuration: c})
		}
	}
	if err != nil {
		return nil, fmt.Errorf("change collection: %w", err)
	}
	return s.collection(ctx, name)
}

func reductionOf(in *api.Reduction) (shard.Reduction, error) {
	return shard.NewReduction(int(in.GetPool()), in.GetDropPunctuation(), in.GetKeep())
}

// ToCalibration returns plans as the contract has them.
func ToCalibration(c retrieval.Calibration) (out []*api.Calibrated) {
	for _, x := range c {
		out = append(out, &api.Calibrated{RecallTarget: x.Target.String(), K: uint32(x.K), Plan: ToPlan(x.Plan)})
	}
	return out
}

func calibrationOf(in *api.Calibration) (retrieval.Calibration, error) {
	var out retrieval.Calibration
	for i, p := range in.GetPlans() {
		t, err := retrieval.ParseTarget(p.GetRecallTarget())
		if err != nil {
			return nil, fmt.Errorf("plan %d of the calibration: %w", i, err)
		}
		out = append(out, retrieval.Calibrated{Target: t, K: int(p.GetK()), Plan: planOf(p.GetPlan())})
	}
	return out, out.Validate()
}

func (s *Service) dropCollection(ctx context.Context, q *api.DropCollectionRequest) (*api.DropCollectionResponse, error) {
	n, err := s.router.Configure(ctx, q.GetCollection(), shard.Configure{Change: shard.Drop})
	if q.GetAllowMissing() && errors.Is(err, retrieval.ErrNotFound) {
		return &api.DropCollectionResponse{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("drop collection: %w", err)
	}
	return &api.DropCollectionResponse{Count: uint32(n)}, nil
}
