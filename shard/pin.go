package shard

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// pins are states kept for later phases, so that all phases of a request see one: the text of a hit is that of its score.
type pins struct {
	node string
	mu   sync.Mutex
	held []*pin // by age
	done bool
}

// pin is one state. Its rows are one transaction, which takes one reader at a time.
type pin struct {
	view
	token   uint64
	timer   *time.Timer
	reading sync.Mutex
	release func() // under reading, once
	gone    bool
}

// hold keeps a state, and will release it. Past MaxPins the oldest is given up.
func (p *pins) hold(v view, release func()) (*Pin, error) {
	kept := &pin{view: v, token: rand.Uint64(), release: release}
	p.mu.Lock()
	if p.done {
		p.mu.Unlock()
		release()
		return nil, fmt.Errorf("replica is closed: %w", ErrUnavailable)
	}
	kept.timer = time.AfterFunc(PinTime, func() { p.drop(kept) })
	p.held = append(p.held, kept)
	var oldest *pin
	if len(p.held) > MaxPins {
		oldest = p.held[0]
	}
	p.mu.Unlock()
	if oldest != nil {
		p.drop(oldest)
	}
	return &Pin{Node: p.node, Token: kept.token, Index: v.applied}, nil
}

// drop gives a state up, once its reader has finished.
func (p *pins) drop(kept *pin) {
	p.mu.Lock()
	p.held = slices.DeleteFunc(p.held, func(x *pin) bool { return x == kept })
	p.mu.Unlock()
	kept.timer.Stop()
	kept.reading.Lock()
	defer kept.reading.Unlock()
	if !kept.gone {
		kept.gone = true
		kept.release()
	}
}

// find returns what is held for a pin, or nil.
func (p *pins) find(q *Pin) *pin {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.held, func(x *pin) bool { return x.token == q.Token })
	if i < 0 || q.Node != p.node {
		return nil
	}
	return p.held[i]
}

// take returns the state of a pin, to one reader at a time.
func (p *pins) take(q *Pin) (view, func(), error) {
	if kept := p.find(q); kept != nil {
		kept.reading.Lock()
		if !kept.gone {
			return kept.view, kept.reading.Unlock, nil
		}
		kept.reading.Unlock()
	}
	return view{}, nil, fmt.Errorf("state at entry %d: %w", q.Index, ErrMoved)
}

// give gives a state up that is not needed any more, once its reader has finished.
func (p *pins) give(q *Pin) {
	if kept := p.find(q); kept != nil {
		p.drop(kept)
	}
}

func (p *pins) close() {
	p.mu.Lock()
	p.done = true
	held := slices.Clone(p.held)
	p.mu.Unlock()
	for _, kept := range held {
		p.drop(kept)
	}
}
