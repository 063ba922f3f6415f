package shard

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/golang-lru/simplelru"

	"ostraca/retrieval/index"
)

// keptThings is how many things a keeper keeps at most, however small.
const keptThings = 1024

// keeper keeps what was found out about documents, by their numbers: so much as fits into a number of bytes, of it what was asked for last.
type keeper[V any] struct {
	mu    sync.Mutex
	kept  *simplelru.LRU // *growing[V] by kept
	bytes int
	most  int
}

// kept names what was found out about the documents of one numbering.
type kept struct {
	numbering *index.Numbering
	name      string
}

// growing is something as it is found out. Whoever has the turn may replace it by more; what others see never changes.
type growing[V any] struct {
	turn  chan struct{}
	now   atomic.Pointer[V]
	bytes int // that it is counted with, under the keeper's lock
}

func newKeeper[V any](most int) *keeper[V] {
	k := &keeper[V]{most: most}
	k.kept, _ = simplelru.NewLRU(keptThings, func(_, g any) { k.count(g.(*growing[V]), 0) }) // it refuses a size below 1 alone
	return k
}

func (k *keeper[V]) count(g *growing[V], bytes int) {
	k.bytes += bytes - g.bytes
	g.bytes = bytes
}

// find returns what is known under a name.
func (k *keeper[V]) find(name kept) *V {
	k.mu.Lock()
	defer k.mu.Unlock()
	if g, ok := k.kept.Get(name); ok {
		return g.(*growing[V]).now.Load()
	}
	return new(V)
}

// begin returns what is kept under a name; if nothing is, it is from now on.
func (k *keeper[V]) begin(name kept) *growing[V] {
	k.mu.Lock()
	defer k.mu.Unlock()
	if g, ok := k.kept.Get(name); ok {
		return g.(*growing[V])
	}
	g := &growing[V]{turn: make(chan struct{}, 1)}
	g.now.Store(new(V))
	k.kept.Add(name, g)
	return g
}

// all returns what is kept.
func (k *keeper[V]) all() map[kept]*growing[V] {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make(map[kept]*growing[V], k.kept.Len())
	for _, name := range k.kept.Keys() {
		g, _ := k.kept.Peek(name)
		out[name.(kept)] = g.(*growing[V])
	}
	return out
}

// grown replaces what is kept under a name, if it is kept still, and gives up other things for it. One that is too large by itself is not kept.
func (k *keeper[V]) grown(name kept, g *growing[V], now *V, bytes int) {
	g.now.Store(now)
	k.mu.Lock()
	defer k.mu.Unlock()
	if held, ok := k.kept.Peek(name); !ok || held != any(g) {
		return
	}
	k.count(g, bytes+len(name.name))
	for k.bytes > k.most {
		k.kept.RemoveOldest()
	}
}

// wait waits for a turn, and returns what gives it back.
func wait(ctx context.Context, turn chan struct{}) (func(), error) {
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
