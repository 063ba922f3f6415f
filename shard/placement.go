package shard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"

	"ostraca/consensus"
	"ostraca/retrieval"
	"ostraca/retrieval/encoder"
	"ostraca/retrieval/index"
	"ostraca/storage"
)

// Map is where everything is: what the placement group agrees on. It never changes; the group publishes a new one.
type Map struct {
	Cluster     uint64                   `json:"cluster"` // a random number, drawn at the first start
	Version     uint64                   `json:"version"` // index of the last change in the placement group's log
	Born        int64                    `json:"born"`    // cluster time of the first start, ms
	Voters      []string                 `json:"voters"`  // of the placement group
	Shards      []ShardPlace             `json:"shards"`  // by number
	Collections map[string]Configuration `json:"collections"`
	Jobs        []Job                    `json:"jobs"`     // under way, oldest first
	Finished    []Job                    `json:"finished"` // the last maxFinished
}

// ShardPlace is where a shard is.
type ShardPlace struct {
	Generation uint64   `json:"generation"`
	Replicas   []string `json:"replicas"` // nodes
	Started    []string `json:"started"`  // nodes that have begun: one that lost its files must not begin anew as if it had never voted
}

// Job is a change of a collection that every shard logs. It is driven on by whichever node leads the placement group.
type Job struct {
	ID         string        `json:"id"`
	Collection string        `json:"collection"`
	Change     Change        `json:"change"`
	To         Configuration `json:"to"`
	Drawn      bool          `json:"drawn"` // of a create: the key was drawn, so a collection with another one is as good
	Began      int64         `json:"began"` // cluster time at the leader that proposed it, ms
	Done       []bool        `json:"done"`  // by shard
	Code       Code          `json:"code"`  // the first outcome that was not OK
	Count      uint64        `json:"count"` // documents forgotten
}

const (
	maxFinished = 256
	maxJobs     = 64 // under way
)

// identity returns which shard number n is.
func (m *Map) identity(n uint32) Identity {
	return Identity{Shard: n, Shards: uint32(len(m.Shards)), Generation: m.Shards[n].Generation, Born: m.Born}
}

// finished returns a job that has ended.
func (m *Map) finished(id string) (Job, bool) {
	i := slices.IndexFunc(m.Finished, func(j Job) bool { return j.ID == id })
	if i < 0 {
		return Job{}, false
	}
	return m.Finished[i], true
}

// placementCommand is one entry of the placement group's log: exactly one of its parts.
type placementCommand struct {
	First   *Map         `json:"first,omitempty"`   // the first map; later ones change nothing
	Started *startedNode `json:"started,omitempty"` // a replica has begun
	Job     *Job         `json:"job,omitempty"`     // begin a job
	Done    *jobStep     `json:"done,omitempty"`    // a shard has logged its part
}

type startedNode struct {
	Shard uint32 `json:"shard"`
	Node  string `json:"node"`
}

type jobStep struct {
	Job   string `json:"job"`
	Shard uint32 `json:"shard"`
	Code  Code   `json:"code"`
	Count uint64 `json:"count"`
}

func parsePlacement(b []byte) (*placementCommand, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	c := &placementCommand{}
	if err := d.Decode(c); err != nil {
		return nil, fmt.Errorf("placement command: %v: %w", err, retrieval.ErrCorrupt)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("placement command: bytes are left over: %w", retrieval.ErrCorrupt)
	}
	return c, nil
}

// placement is the state machine of the placement group: one row, the map.
type placement struct {
	store   *storage.Store
	current atomic.Pointer[Map]
	changed atomic.Pointer[chan struct{}]
	halted  error // the applying goroutine's: once its store fails, to go on would make replicas differ
}

const bucketPlacement storage.Bucket = "placement"

func openPlacement(store *storage.Store) (*placement, error) {
	p := &placement{store: store}
	p.changed.Store(new(make(chan struct{})))
	return p, p.Restored()
}

// Store returns the state file.
func (p *placement) Store() *storage.Store { return p.store }

// Restored reads the map from the store.
func (p *placement) Restored() error {
	v, err := p.store.View()
	if err != nil {
		return err
	}
	defer v.Close()
	row, err := v.Get(bucketPlacement, []byte("map"))
	m := &Map{}
	switch {
	case errors.Is(err, storage.ErrNotFound):
	case err != nil:
		return err
	default:
		if err := json.Unmarshal(row, m); err != nil {
			return fmt.Errorf("placement map: %v: %w", err, storage.ErrCorrupt)
		}
	}
	p.publish(m)
	return nil
}

func (p *placement) publish(m *Map) {
	p.current.Store(m)
	close(*p.changed.Swap(new(make(chan struct{}))))
}

// Apply applies entries; a result is nil or why the command was refused.
func (p *placement) Apply(entries []consensus.Entry) []any {
	results := make([]any, len(entries))
	for i, e := range entries {
		if e.Index <= p.store.Position().Applied {
			continue
		}
		var refused error
		if p.halted == nil {
			refused, p.halted = p.apply(e)
		}
		if p.halted != nil {
			refused = fmt.Errorf("placement: %w: %w", errHalted, p.halted)
		}
		if refused != nil {
			results[i] = refused
		}
	}
	return results
}

// apply applies one entry. It tells why the command was refused, and, apart from that, what failed.
func (p *placement) apply(e consensus.Entry) (refused, failed error) {
	next := p.current.Load().clone()
	refused = fmt.Errorf("placement: empty command: %w", retrieval.ErrInvalid)
	c, err := parsePlacement(e.Data)
	switch {
	case err != nil:
		refused = err
	case c.First != nil:
		refused = next.first(c.First)
	case c.Started != nil:
		refused = next.started(c.Started)
	case c.Job != nil:
		refused = next.begin(*c.Job)
	case c.Done != nil:
		refused = next.step(c.Done)
	}
	tx, err := p.store.Begin(context.Background())
	if err != nil {
		return nil, err
	}
	if refused == nil {
		next.Version = e.Index
		row, err := json.Marshal(next)
		if err = errors.Join(err, tx.Create(bucketPlacement, storage.Key{}), tx.Put(bucketPlacement, []byte("map"), row)); err != nil {
			tx.Abort()
			return nil, err
		}
	}
	if err := tx.Commit(storage.Position{Applied: e.Index, Covered: max(e.Index, p.store.Position().Covered)}); err != nil {
		return nil, err
	}
	if refused == nil {
		p.publish(next)
	}
	return refused, nil
}

// clone returns a copy that can be changed: of what changes, all is copied.
func (m *Map) clone() *Map {
	next := *m
	next.Shards, next.Jobs, next.Finished = slices.Clone(m.Shards), slices.Clone(m.Jobs), slices.Clone(m.Finished)
	next.Collections = make(map[string]Configuration, len(m.Collections))
	for name, c := range m.Collections {
		next.Collections[name] = c
	}
	return &next
}

func (m *Map) first(first *Map) error {
	if len(m.Shards) > 0 {
		return fmt.Errorf("placement: the cluster has started already: %w", ErrExists)
	}
	if len(first.Shards) == 0 || len(first.Shards) > MaxShards {
		return fmt.Errorf("placement: %d shards, it must be 1 to %d: %w", len(first.Shards), MaxShards, retrieval.ErrInvalid)
	}
	m.Cluster, m.Shards, m.Born, m.Voters = first.Cluster, first.Shards, first.Born, first.Voters
	return nil
}

func (m *Map) started(s *startedNode) error {
	if int(s.Shard) >= len(m.Shards) {
		return fmt.Errorf("placement: shard %d is not there: %w", s.Shard, retrieval.ErrInvalid)
	}
	place := &m.Shards[s.Shard]
	if !slices.Contains(place.Started, s.Node) {
		place.Started = append(slices.Clip(place.Started), s.Node)
	}
	return nil
}

func (m *Map) begin(j Job) error {
	busy := slices.ContainsFunc(m.Jobs, func(o Job) bool { return o.Collection == j.Collection && o.ID != j.ID })
	known := slices.ContainsFunc(m.Jobs, func(o Job) bool { return o.ID == j.ID })
	_, ended := m.finished(j.ID)
	held, there := m.Collections[j.Collection]
	wrong := (&Operation{Collection: j.Collection, Body: &Configure{j.Change, j.To}}).check()
	switch {
	case known || ended: // a retry
		return nil
	case len(m.Shards) == 0:
		return fmt.Errorf("placement: the cluster has not started: %w", ErrUnavailable)
	case wrong != nil: // no shard would ever log it
		return fmt.Errorf("placement: %w", wrong)
	case busy:
		return fmt.Errorf("placement: another change of collection %q is under way: %w", j.Collection, ErrUnavailable)
	case j.Change == Create && there && !sameCollection(held, j.To, j.Drawn):
		return fmt.Errorf("placement: collection %q: %w", j.Collection, ErrExists)
	case j.Change != Create && !there:
		return fmt.Errorf("placement: collection %q: %w", j.Collection, retrieval.ErrNotFound)
	case j.Change == Alter && !held.follows(j.To):
		return fmt.Errorf("placement: key, codec, width and lists of collection %q stay, its epoch does not go back, and another encoder, projection or reduction is another epoch: %w", j.Collection, retrieval.ErrInvalid)
	case j.Change == Create && !there && len(m.Collections)+len(m.Jobs) >= MaxCollections:
		return fmt.Errorf("placement: %d collections, the limit: %w", MaxCollections, ErrExhausted)
	case len(m.Jobs) >= maxJobs:
		return fmt.Errorf("placement: %d changes are under way, the limit: %w", maxJobs, ErrExhausted)
	case j.To.fittedBytes() > 0 && m.fittedBytes(j.Collection)+j.To.fittedBytes() > MaxFittedBytes:
		return fmt.Errorf("placement: all collections' projections and lists together have at most %d bytes, for every node and router holds them: drop one, project to fewer dimensions, or make fewer lists: %w", MaxFittedBytes, ErrExhausted)
	}
	j.Code, j.Count = OK, 0
	if there && j.Change == Create { // the same collection once more: nothing to do
		j.Done = slices.Repeat([]bool{true}, len(m.Shards))
		m.end(j)
		return nil
	}
	j.Done = make([]bool, len(m.Shards))
	m.Jobs = append(m.Jobs, j)
	return nil
}

// fittedBytes returns the bytes of the projections and lists of all collections but one, those on their way counted.
func (m *Map) fittedBytes(but string) (n int) {
	for name, c := range m.Collections {
		if name != but {
			n += c.fittedBytes()
		}
	}
	for _, j := range m.Jobs {
		n += j.To.fittedBytes()
	}
	return n
}

// sameCollection tells whether a configuration is that of a collection that is held, whose key may be another one where it was drawn, and which may
// have been calibrated since.
func sameCollection(held, asked Configuration, drawn bool) bool {
	if drawn {
		asked.Key = held.Key
	}
	if len(asked.Calibration) == 0 {
		asked.Calibration = held.Calibration
	}
	return held.Equal(asked)
}

func (m *Map) step(s *jobStep) error {
	i := slices.IndexFunc(m.Jobs, func(j Job) bool { return j.ID == s.Job })
	if i < 0 || int(s.Shard) >= len(m.Jobs[i].Done) || m.Jobs[i].Done[s.Shard] {
		return nil // a retry
	}
	j := &m.Jobs[i]
	j.Done = slices.Clone(j.Done)
	j.Done[s.Shard], j.Count = true, j.Count+s.Count
	if j.Code == OK {
		j.Code = s.Code
	}
	if !slices.Contains(j.Done, false) {
		ended := *j
		m.Jobs = slices.Delete(m.Jobs, i, i+1)
		m.end(ended)
	}
	return nil
}

// end finishes a job.
func (m *Map) end(j Job) {
	switch {
	case j.Change == Drop:
		delete(m.Collections, j.Collection)
	case j.Code == OK:
		if _, there := m.Collections[j.Collection]; !there || j.Change == Alter {
			m.Collections[j.Collection] = j.To
		}
	}
	j.To.Projection, j.To.Lists = encoder.Projection{}, index.Lists{} // they can be large, and who asks for a job that has ended asks how
	m.Finished = append(m.Finished, j)
	m.Finished = m.Finished[max(0, len(m.Finished)-maxFinished):]
}
