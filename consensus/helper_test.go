package consensus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ostraca/consensus/simnet"
	"ostraca/storage"
)

// register is a toy state machine: data is a key and a value; the result is "key=value@index". It remembers every entry applied
// since it was opened.
type register struct {
	store *storage.Store

	mu       sync.Mutex
	applied  []uint64
	rows     map[string]string
	restored int
	fail     error // of Restored, once
}

const registerBucket = storage.Bucket("data/register")

func openRegister(store *storage.Store) (*register, error) {
	r := &register{store: store}
	return r, r.load()
}

// load reads the rows of the state file into memory.
func (r *register) load() error {
	v, err := r.store.View()
	if err != nil {
		return err
	}
	rows := map[string]string{}
	if v.Has(registerBucket) {
		for k, b := range v.Scan(registerBucket, nil) {
			rows[string(k)] = string(b)
		}
	}
	r.mu.Lock()
	r.rows = rows
	r.mu.Unlock()
	return errors.Join(v.Err(), v.Close())
}

func command(key, value string) []byte {
	return append(append(binary.AppendUvarint(nil, uint64(len(key))), key...), value...)
}

func (r *register) Apply(entries []Entry) []any {
	out := make([]any, len(entries))
	for i, e := range entries {
		n, w := binary.Uvarint(e.Data)
		key, value := string(e.Data[w:w+int(n)]), string(e.Data[w+int(n):])
		tx, err := r.store.Begin(context.Background())
		if err != nil {
			return slices.Repeat([]any{err}, len(entries))
		}
		err = errors.Join(tx.Create(registerBucket, storage.Key{1}), tx.Put(registerBucket, []byte(key), []byte(value)), tx.Commit(storage.Position{Applied: e.Index, Covered: e.Index}))
		if err != nil {
			panic(err)
		}
		r.mu.Lock()
		r.applied = append(r.applied, e.Index)
		r.rows[key] = value
		r.mu.Unlock()
		out[i] = fmt.Sprintf("%s=%d bytes@%d", key, len(value), e.Index)
	}
	return out
}

func (r *register) Store() *storage.Store { return r.store }

func (r *register) Restored() error {
	r.mu.Lock()
	r.restored++
	err := r.fail
	r.fail = nil
	r.mu.Unlock()
	if err != nil {
		return err
	}
	return r.load()
}

func (r *register) get(key string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rows[key]
}

// order fails if an index was applied twice or out of order.
func (r *register) order(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := 1; i < len(r.applied); i++ {
		if r.applied[i] <= r.applied[i-1] {
			t.Errorf("applied %d after %d", r.applied[i], r.applied[i-1])
		}
	}
}

// replica is one node of a test: files, machine, mux and group.
type replica struct {
	id, dir, at string
	voters      []string
	network     Network
	options     func(*GroupOptions)
	hook        func(storage.Point) error

	log     *storage.Log
	store   *storage.Store
	machine *register
	mux     *Mux
	group   *Group
}

// open starts the node from its files.
func (r *replica) open(address func(string) (string, bool)) (err error) {
	o := storage.Options{NoSync: true, Hook: r.hook, MmapBytes: 64 << 20}
	if r.store, err = storage.Open(r.dir, o); err != nil {
		return err
	}
	if r.log, err = storage.OpenLog(filepath.Join(r.dir, "log"), o); err != nil {
		return errors.Join(err, r.store.Abandon())
	}
	if r.machine, err = openRegister(r.store); err != nil {
		return errors.Join(err, r.store.Abandon(), r.log.Close())
	}
	l, err := r.network.Listen(r.at)
	if err != nil {
		return errors.Join(err, r.store.Abandon(), r.log.Close())
	}
	r.mux = NewMux(r.network, l, nil)
	g := GroupOptions{ID: 7, Node: r.id, Log: r.log, Machine: r.machine, Mux: r.mux, Address: address, Bootstrap: r.voters}
	if r.options != nil {
		r.options(&g)
	}
	if r.group, err = OpenGroup(g); err != nil {
		return errors.Join(err, r.mux.Close(), r.store.Abandon(), r.log.Close())
	}
	return nil
}

// close stops the node; with crash, what the state file lacks is lost.
func (r *replica) close(crash bool) error {
	if r.group == nil {
		return nil
	}
	err := errors.Join(r.group.Close(), r.mux.Close())
	if crash {
		err = errors.Join(err, r.store.Abandon())
	} else {
		err = errors.Join(err, r.store.Close())
	}
	r.group = nil
	return errors.Join(err, r.log.Close())
}

// cluster is nodes on a fabric.
type cluster struct {
	t     *testing.T
	net   *simnet.Fabric
	nodes []*replica
}

// inBubble runs a test over n nodes in virtual time.
func inBubble(t *testing.T, n int, options func(*GroupOptions), test func(t *testing.T, c *cluster)) {
	t.Helper()
	dirs := make([]string, n)
	for i := range dirs {
		dirs[i] = t.TempDir()
	}
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, net: simnet.New(1)}
		defer c.net.Close()
		var voters []string
		for i := range n {
			voters = append(voters, fmt.Sprintf("n%d", i))
		}
		for i := range n {
			h := c.net.Host(fmt.Sprintf("10.0.0.%d", i+1))
			c.nodes = append(c.nodes, &replica{id: voters[i], dir: dirs[i], at: fmt.Sprintf("10.0.0.%d:7000", i+1), voters: voters, network: h, options: options})
		}
		for _, r := range c.nodes {
			if err := r.open(c.address); err != nil {
				t.Fatal(err)
			}
		}
		defer func() {
			for _, r := range c.nodes {
				if r.group == nil {
					continue
				}
				r.machine.order(t)
				if err := r.close(false); err != nil {
					t.Error(err)
				}
			}
		}()
		test(t, c)
	})
}

func (c *cluster) address(id string) (string, bool) {
	for _, r := range c.nodes {
		if r.id == id {
			return r.at, true
		}
	}
	return "", false
}

// leader waits for one that can commit, other than some.
func (c *cluster) leader(not ...*replica) *replica {
	c.t.Helper()
	for range 3000 {
		for _, r := range c.nodes {
			if r.group != nil && r.group.IsLeader() && !slices.Contains(not, r) {
				ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Second)
				_, err := r.group.ReadIndex(ctx)
				cancel()
				if err == nil {
					return r
				}
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	c.t.Fatal("no leader")
	return nil
}

// put proposes until it is told success, on whoever leads.
func (c *cluster) put(key, value string) uint64 {
	c.t.Helper()
	for range 100 {
		l := c.leader()
		ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
		index, result, err := l.group.Propose(ctx, command(key, value))
		cancel()
		if err == nil {
			if want := fmt.Sprintf("%s=%d bytes@%d", key, len(value), index); result != want {
				c.t.Fatalf("result %v, want %s", result, want)
			}
			return index
		}
	}
	c.t.Fatal("nothing is committed")
	return 0
}

// reaches waits until a node has a value.
func (c *cluster) reaches(r *replica, key, value string) {
	c.t.Helper()
	for range 6000 {
		if r.machine.get(key) == value {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.t.Fatalf("%s does not get %s: %+v", r.id, key, r.group.Status())
}

func free(t *testing.T) net.Listener {
	t.Helper()
	l, err := Wire{}.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}
