package shard_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"ostraca/retrieval"
	"ostraca/retrieval/index"
	"ostraca/shard"
	"ostraca/shard/shardtest"
	"ostraca/storage"
)

// lawLists is how many lists a collection has.
const lawLists = 9

// configurationOf is that of a collection of a codec, with lists.
func configurationOf(codec retrieval.Codec) shard.Configuration {
	c := shardtest.Configuration()
	c.Codec = codec
	var sample []retrieval.Codes
	for i := range lawLists {
		sample = append(sample, shardtest.DocumentOf(codec, "x", uint64(1000+i)).Codes)
	}
	var err error
	if c.Lists, err = index.ListsOf("others", sample); err != nil {
		panic(err)
	}
	return c
}

// found is what a question finds: exactly, and by each plan.
type found struct {
	exact   []retrieval.Hit
	planned [][]retrieval.Hit
}

var lawPlans = []retrieval.Plan{{Sketched: 12, Scored: 6}, {Sketched: 20}, {Scored: 8}, {Lists: 2, Sketched: 12, Scored: 6}, {Lists: 1}, {Lists: 4, Scored: 8}, {Lists: lawLists, Sketched: 12, Scored: 6}}

// TestLaw1Codecs: in every codec answers do not depend on how documents lie on shards; by a plan every score is the exact one, and more shards
// find no less. What is held, and its digest, is the same as well, also after every node was killed.
func TestLaw1Codecs(t *testing.T) {
	var all []map[retrieval.Codec][]found
	var digests []map[string]storage.Digest
	for _, shards := range []int{1, 3, 7} {
		told := map[retrieval.Codec][]found{}
		bubble(t, shardtest.Options{Nodes: 3, Shards: shards, Replicas: 2, Seed: uint64(shards), SnapshotBytes: 64 << 10}, func(t *testing.T, c *shardtest.Cluster) {
			held := map[retrieval.Codec]map[string]shard.Document{}
			for _, codec := range retrieval.Codecs {
				held[codec] = fillCodec(t, c, codec)
			}
			for i := range 3 {
				c.Crash(i, i == 0)
				c.Up(i)
			}
			digests = append(digests, settled(t, c))
			for _, codec := range retrieval.Codecs {
				sameDocuments(t, c, string(codec), held[codec])
				for i, k := range []int{1, 5, 10} {
					told[codec] = append(told[codec], askPlans(t, c, codec, shardtest.QueryOf(codec, uint64(i), k)))
				}
			}
		})
		all = append(all, told)
	}
	for i, told := range all {
		if !maps.Equal(digests[i], digests[0]) {
			t.Errorf("digests differ: %v, %v", digests[i], digests[0])
		}
		for codec, found := range told {
			for j, f := range found {
				if !reflect.DeepEqual(f.exact, all[0][codec][j].exact) {
					t.Errorf("%s, question %d, %d shards: the exact answer is another than on one", codec, j, []int{1, 3, 7}[i])
				}
				for p, hits := range f.planned {
					if i > 0 && common(hits, f.exact) < common(all[i-1][codec][j].planned[p], f.exact) {
						t.Errorf("%s, question %d, plan %+v: more shards find less", codec, j, lawPlans[p])
					}
				}
			}
		}
	}
}

// fillCodec makes a collection of a codec, by its name, with documents of it.
func fillCodec(t *testing.T, c *shardtest.Cluster, codec retrieval.Codec) map[string]shard.Document {
	t.Helper()
	createAs(t, c, string(codec), configurationOf(codec))
	held, w := map[string]shard.Document{}, &shard.WriteRequest{}
	for i := range 100 {
		d := shardtest.DocumentOf(codec, fmt.Sprintf("p%d#%d", i/3, i), uint64(i%70))
		held[d.ID] = d
		w.Operations = append(w.Operations, shardtest.Put(string(codec), d, shard.Condition{}))
	}
	results, err := c.Router().Write(t.Context(), w)
	for _, r := range results {
		err = errors.Join(err, r.Failure())
	}
	if err != nil {
		t.Fatal(err)
	}
	return held
}

// askPlans asks exactly and by plans, and expects of these that they score few documents, and as exactly.
func askPlans(t *testing.T, c *shardtest.Cluster, codec retrieval.Codec, q *retrieval.Query) found {
	t.Helper()
	ask := func(q *retrieval.Query) *shard.SearchAnswer {
		a, err := c.Router().Search(t.Context(), &shard.SearchRequest{Collection: string(codec), Query: q})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	whole := *q
	whole.K = 1000
	every := ask(&whole).Hits
	out := found{exact: ask(q).Hits}
	for _, p := range lawPlans {
		planned := *q
		planned.Plan = p
		a := ask(&planned)
		most := max(q.K, cmp.Or(p.Sketched, p.Scored, len(every))) * len(a.States) // of both, the second stage may pass more than Scored
		if n := int(a.Stats.Documents); n > most || len(a.Hits) != min(q.K, n) || (a.Stats.Centroids > 0) != (p.Lists > 0 && p.Lists < lawLists) {
			t.Errorf("plan %+v: %d hits, %+v", p, len(a.Hits), a.Stats)
		}
		for _, h := range a.Hits {
			if i := slices.IndexFunc(every, func(e retrieval.Hit) bool { return e.ID == h.ID }); i < 0 || !reflect.DeepEqual(every[i], h) {
				t.Errorf("plan %+v: %+v is not what it is exactly", p, h)
			}
		}
		out.planned = append(out.planned, a.Hits)
	}
	return out
}

// common counts the hits that both have.
func common(a, b []retrieval.Hit) (n int) {
	for _, h := range a {
		if slices.ContainsFunc(b, func(o retrieval.Hit) bool { return o.ID == h.ID }) {
			n++
		}
	}
	return n
}

// TestCalibration: plans of a collection are a change of it that every shard logs: it is there after a restart, for every router, and a create that
// says nothing of it leaves it alone.
func TestCalibration(t *testing.T) {
	bubble(t, shardtest.Options{Nodes: 3, Shards: 3, Replicas: 3, Seed: 4}, func(t *testing.T, c *shardtest.Cluster) {
		create(t, c, "papers")
		puts(t, c.Router(), "a", 9)
		to := shardtest.Configuration()
		if p := to.Plan(retrieval.Recall95, 10); p != retrieval.Default.Plan(retrieval.Recall95, 10) || !to.Plan(retrieval.Exact, 10).Exact() {
			t.Errorf("without a calibration the plan is %+v", p)
		}
		to.Calibration = retrieval.Calibration{{Target: retrieval.Recall90, K: 10, Plan: retrieval.Plan{Sketched: 3, Scored: 2}}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		configure := func(change shard.Change, to shard.Configuration) error {
			_, err := c.Router().Configure(ctx, "papers", shard.Configure{Change: change, Configuration: to})
			return err
		}
		oneOf(t, "calibrate", configure(shard.Alter, to), nil)
		plain := shardtest.Configuration()
		oneOf(t, "create again", configure(shard.Create, plain), nil)
		wrong := to
		wrong.Calibration = append(slices.Clone(to.Calibration), to.Calibration...)
		oneOf(t, "two plans for one", configure(shard.Alter, wrong), retrieval.ErrInvalid)
		settled(t, c)
		for i := range 3 {
			c.Crash(i, false)
		}
		for i := range 3 {
			c.Up(i)
		}
		settled(t, c)
		r := c.AddRouter()
		held, err := r.Configuration(t.Context(), "papers")
		if err != nil || !held.Equal(to) || held.Plan(retrieval.Recall90, 10) != to.Calibration[0].Plan || !held.Plan(retrieval.Recall99, 10).Exact() {
			t.Errorf("%v: %+v", err, held)
		}
		status, err := r.Status(t.Context())
		if err != nil || !status.Shards[0].Collections[0].Configuration.Equal(to) {
			t.Errorf("%v: %+v", err, status)
		}
		q, err := r.AskVectors(t.Context(), "papers", make([]float32, shardtest.Width), shardtest.Width, shard.AskOptions{K: 4})
		if !errors.Is(err, retrieval.ErrInvalid) {
			t.Errorf("a question of zeros: %v, %v", q, err)
		}
		x := slices.Repeat([]float32{1}, shardtest.Width)
		for _, ask := range []struct {
			o    shard.AskOptions
			want retrieval.Plan
			kind error
		}{
			{shard.AskOptions{K: 4}, retrieval.Plan{}, nil},
			{shard.AskOptions{K: 4, Target: retrieval.Recall90}, retrieval.Plan{Sketched: 3, Scored: 2}, nil},
			{shard.AskOptions{K: 20, Target: retrieval.Recall90}, retrieval.Plan{Sketched: 6, Scored: 4}, nil},
			{shard.AskOptions{K: 4, Plan: retrieval.Plan{Scored: 5}}, retrieval.Plan{Scored: 5}, nil},
			{shard.AskOptions{K: 4, Target: retrieval.Recall90, Plan: retrieval.Plan{Scored: 5}}, retrieval.Plan{}, retrieval.ErrInvalid},
			{shard.AskOptions{K: 4, Plan: retrieval.Plan{Scored: retrieval.MaxCandidates + 1}}, retrieval.Plan{}, retrieval.ErrTooLarge},
		} {
			q, err := r.AskVectors(t.Context(), "papers", x, shardtest.Width, ask.o)
			if oneOf(t, fmt.Sprintf("%+v", ask.o), err, ask.kind); err == nil && q.Plan != ask.want {
				t.Errorf("%+v: plan %+v", ask.o, q.Plan)
			}
		}
	})
}
