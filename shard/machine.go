package shard

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"ostraca/consensus"
	"ostraca/retrieval/index"
	"ostraca/storage"
)

// The buckets of docs/state.md.
const (
	bucketCollections storage.Bucket = "collections"
	bucketOperations  storage.Bucket = "operations"
	bucketSystem      storage.Bucket = "system"
	prefixData                       = "data/"
	prefixVersions                   = "versions/"
)

func bucketDocuments(collection string) storage.Bucket {
	return storage.Bucket(prefixData + collection + "/documents")
}

func bucketVersions(collection string) storage.Bucket {
	return storage.Bucket(prefixVersions + collection)
}

// Identity is which shard a replica is of.
type Identity struct {
	Shard, Shards uint32
	Generation    uint64 // a random number, drawn when the shard is made or restored
	Born          int64  // cluster time at which it was, ms
}

// key is the hash key of the buckets outside data/.
func (i Identity) key() storage.Key {
	return sha256.Sum256(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32([]byte("ostraca shard "), i.Shard), i.Generation))
}

func (i Identity) row() []byte {
	b := binary.BigEndian.AppendUint32(nil, i.Shard)
	b = binary.BigEndian.AppendUint32(b, i.Shards)
	b = binary.BigEndian.AppendUint64(b, i.Generation)
	return binary.BigEndian.AppendUint64(b, uint64(i.Born))
}

// machine is the state machine of a shard: rows in a store, and what is derived from them in memory. One goroutine applies; readers
// take what it published last.
type machine struct {
	store    *storage.Store
	identity Identity
	options  index.Options
	most     uint64 // operations that are remembered: MaxRemembered, fewer in tests

	collections map[string]*collection // the applying goroutine's
	time        int64                  // cluster time, ms
	behind      bool                   // memory is older than the store: rebuilding it failed, and it is to be tried again

	publishing sync.RWMutex // held while store and memory move from one state to the next, which takes no I/O
	current    atomic.Pointer[published]
	changed    atomic.Pointer[chan struct{}] // closed at the next publication
	halted     atomic.Pointer[error]
	verdicts   *verdicts

	ctx    context.Context // ends when the replica closes: a full overlay is not waited for then
	cancel context.CancelFunc
}

// collection is what the applying goroutine keeps of one.
type collection struct {
	Configuration
	index   *index.Index
	parents map[string]int // documents of parents that are not documents themselves
}

// published is what readers see beside the store: it never changes.
type published struct {
	applied     uint64
	time        int64
	collections map[string]shelf
	verdicts    *verdicts
}

// shelf is a collection as readers see it.
type shelf struct {
	Configuration
	index.View
	bytes int
}

// openMachine reads the state of a store, which is given its identity if it is new.
func openMachine(store *storage.Store, identity Identity, o index.Options) (*machine, error) {
	m := &machine{store: store, identity: identity, options: o, most: MaxRemembered}
	m.verdicts = newVerdicts(maxVerdictBytes, m.current.Load)
	m.ctx, m.cancel = context.WithCancel(context.Background())
	if err := m.initialise(); err != nil {
		return nil, err
	}
	m.changed.Store(new(make(chan struct{})))
	return m, m.load()
}

// initialise makes the buckets of a new store: of the same identity, every replica begins with the same rows.
func (m *machine) initialise() error {
	tx, err := m.store.Begin(context.Background())
	if err != nil {
		return err
	}
	_, err = tx.Get(bucketSystem, []byte("shard"))
	switch {
	case err == nil:
		tx.Abort()
		return nil
	case !errors.Is(err, storage.ErrNotFound):
		tx.Abort()
		return err
	}
	key := m.identity.key()
	for _, b := range []storage.Bucket{bucketCollections, bucketOperations, bucketSystem} {
		if err = tx.Create(b, key); err != nil {
			break
		}
	}
	if err == nil {
		err = errors.Join(tx.Put(bucketSystem, []byte("shard"), m.identity.row()), tx.Put(bucketSystem, []byte("time"), timeRow(m.identity.Born)),
			tx.Put(bucketSystem, []byte("rows"), []byte{rowsFormat}))
	}
	if err != nil {
		tx.Abort()
		return err
	}
	return tx.Commit(m.store.Position())
}

// load makes memory from the store's rows.
func (m *machine) load() error {
	v, err := m.store.View()
	if err != nil {
		return err
	}
	defer v.Close()
	if row, err := v.Get(bucketSystem, []byte("shard")); err != nil || !bytes.Equal(row, m.identity.row()) {
		return errors.Join(err, fmt.Errorf("the state is of shard %x, not of %x: %w", row, m.identity.row(), ErrGeneration))
	}
	if err := checkRows(v); err != nil {
		return err
	}
	if m.time, err = readTime(v); err != nil {
		return err
	}
	closeIndexes(m.collections)
	m.collections = map[string]*collection{}
	for name, row := range v.Scan(bucketCollections, nil) {
		c, err := parseConfiguration(row)
		if err != nil {
			return fmt.Errorf("collection %q: %w", name, err)
		}
		loaded, err := m.loadCollection(v, string(name), c)
		if err != nil {
			return err
		}
		m.collections[string(name)] = loaded
	}
	if err := v.Err(); err != nil {
		return err
	}
	m.publish(v.Position().Applied)
	return nil
}

// rowsFormat is the format of the rows, of docs/state.md; that of the file around them is storage's.
const rowsFormat = 2

// checkRows reports that the rows are of another release's format, or nil.
func checkRows(v *storage.View) error {
	row, err := v.Get(bucketSystem, []byte("rows"))
	if errors.Is(err, storage.ErrNotFound) { // before format 2 it was not written down
		row, err = []byte{1}, nil
	}
	if err != nil {
		return err
	}
	if !bytes.Equal(row, []byte{rowsFormat}) {
		return fmt.Errorf("rows are of format %d, this release reads format %d: export the documents with the release that wrote them, and load them into a new cluster: %w", row, rowsFormat, errRows)
	}
	return nil
}

func timeRow(t int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(t)) }

// readTime returns the cluster time of a state.
func readTime(v *storage.View) (int64, error) {
	row, err := v.Get(bucketSystem, []byte("time"))
	if err != nil {
		return 0, fmt.Errorf("cluster time: %w", err)
	}
	if len(row) != 8 {
		return 0, fmt.Errorf("cluster time has %d bytes: %w", len(row), storage.ErrCorrupt)
	}
	return int64(binary.BigEndian.Uint64(row)), nil
}

func (m *machine) newCollection(c Configuration) (*collection, error) {
	o := m.options
	o.Codec, o.Lists = c.Codec, c.Lists
	x, err := index.New(c.Width, o)
	return &collection{Configuration: c, index: x, parents: map[string]int{}}, err
}

func (m *machine) loadCollection(v *storage.View, name string, c Configuration) (*collection, error) {
	out, err := m.newCollection(c)
	if err != nil {
		return nil, err
	}
	g := gathering{}
	for id, row := range v.Scan(bucketDocuments(name), nil) {
		d, err := parseRow(string(id), row)
		if err != nil {
			return nil, fmt.Errorf("collection %q: %w", name, err)
		}
		out.count(d.ID, 1)
		g.put(&d)
		if g.tokens >= loadTokens || len(g.docs) == maxGathered {
			if err := g.flush(out.index); err != nil {
				return nil, err
			}
		}
	}
	return out, errors.Join(v.Err(), g.flush(out.index))
}

// count keeps the number of a parent's passages.
func (c *collection) count(id string, by int) {
	parent := Parent(id)
	if parent == id {
		return
	}
	if c.parents[parent] += by; c.parents[parent] == 0 {
		delete(c.parents, parent)
	}
}

// publish shows readers the present state of memory. Where the store moves with it, the caller holds publishing.
func (m *machine) publish(applied uint64) {
	p := &published{applied: applied, time: m.time, collections: make(map[string]shelf, len(m.collections)), verdicts: m.verdicts}
	for name, c := range m.collections {
		p.collections[name] = shelf{c.Configuration, c.index.View(), c.index.Bytes()}
	}
	m.current.Store(p)
	close(*m.changed.Swap(new(make(chan struct{}))))
}

// Store returns the state file, which is the snapshot.
func (m *machine) Store() *storage.Store { return m.store }

// Restored makes memory anew from a state file that was received. It is called by the goroutine that applies. Until memory is there, rows
// and memory are of different states, and [machine.view] says so.
func (m *machine) Restored() error {
	m.behind = true
	err := m.load()
	if m.behind = err != nil; !m.behind {
		m.verdicts.forget(m.current.Load().applied)
	}
	return err
}

// Apply applies entries in order, and publishes once: readers see all of them or none. An entry that cannot be read, or rows that
// cannot, halt the replica: to go on would make replicas differ.
func (m *machine) Apply(entries []consensus.Entry) (results []any) {
	results = make([]any, len(entries))
	if err := m.halt(nil); err != nil {
		return fill(results, err)
	}
	defer func() {
		if r := recover(); r != nil {
			fill(results, m.halt(fmt.Errorf("apply panicked: %v\n%s", r, debug.Stack())))
		}
	}()
	if err := m.apply(entries, results); err != nil {
		fill(results, m.halt(err))
	}
	return results
}

func fill(results []any, err error) []any {
	for i := range results {
		results[i] = err
	}
	return results
}

// halt keeps the first reason for which the replica stopped, and returns it, or nil.
func (m *machine) halt(err error) error {
	if err != nil {
		err = fmt.Errorf("shard %d: %w: %w", m.identity.Shard, errHalted, err)
		m.halted.CompareAndSwap(nil, &err)
		close(*m.changed.Swap(new(make(chan struct{}))))
	}
	if p := m.halted.Load(); p != nil {
		return *p
	}
	return nil
}

func (m *machine) apply(entries []consensus.Entry, results []any) error {
	if m.behind {
		return errors.New("entries came before memory was made of the snapshot they follow")
	}
	applied := m.store.Position().Applied
	tx, err := m.store.Begin(m.ctx)
	if err != nil {
		return err
	}
	defer tx.Abort() // also after a panic: the store waits for the end of a transaction before it closes
	b := &batch{machine: m, tx: tx, time: m.time, gathered: map[string]*gathering{}, collections: maps.Clone(m.collections)}
	for i, e := range entries {
		if e.Index <= applied { // the state file was ahead of the log: a crash after a flush, or a snapshot newer than its index
			continue
		}
		if results[i], err = b.entry(e); err != nil {
			return fmt.Errorf("entry %d: %w", e.Index, err)
		}
		applied = e.Index
	}
	return b.commit(applied)
}

// wait blocks until the entry of an index is applied.
func (m *machine) wait(ctx context.Context, index uint64) error {
	for {
		changed := *m.changed.Load()
		if err := m.halt(nil); err != nil {
			return err
		}
		if m.current.Load().applied >= index {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for entry %d, %d is applied: %w", index, m.current.Load().applied, ctx.Err())
		}
	}
}

// view is one state: rows, and memory made of the same rows.
type view struct {
	*published
	rows *storage.View
}

// view pins the present state. Close its rows.
func (m *machine) view() (view, error) {
	if err := m.halt(nil); err != nil {
		return view{}, err
	}
	m.publishing.RLock()
	defer m.publishing.RUnlock()
	current := m.current.Load()
	rows, err := m.store.View()
	if err == nil && rows.Position().Applied != current.applied { // the file is replaced before memory is made of it
		rows.Close()
		err = fmt.Errorf("shard %d takes over a snapshot: %w", m.identity.Shard, ErrUnavailable)
	}
	return view{current, rows}, err
}

// names returns the collections' names in order.
func (p *published) names() []string { return slices.Sorted(maps.Keys(p.collections)) }

// dataDigest returns the digest of a collection's data.
func (v view) dataDigest(collection string) storage.Digest {
	var sum storage.Digest
	for _, b := range v.rows.Buckets(storage.Bucket(strings.TrimSuffix(prefixData+collection, "/"))) {
		sum = sum.Add(v.rows.Stat(b).Digest)
	}
	return sum
}
