package consensus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"ostraca/storage"
)

// readTimeout bounds a step of a round: a leader without a quorum steps down well before.
const readTimeout = 10 * time.Second

// askMore is how long a majority may take to answer before the other voters are asked too: nearly always they are spared.
const askMore = 3 * time.Millisecond

// reads gathers the readers of a leader. One that arrives while no round runs, in a term whose barrier is applied, has a round of its own, and runs
// it itself, so that its question is on its way before anything else gets the processor; all that arrive meanwhile share the next one.
type reads struct {
	next    *round
	running bool
	barrier uint64          // the term whose barrier is applied
	quick   []raft.ServerID // the voters that confirmed last
}

// A round finds one index for all who joined it before it began.
type round struct {
	done  chan struct{}
	index uint64
	err   error
}

// ReadIndex returns an index of which a replica that has applied it has applied everything that was committed when ReadIndex was
// called. It is that of an entry somebody proposed, for a state machine sees no others; 0 where there is none. It fails with
// ErrNotLeader, ErrNoQuorum or ErrClosed, or when ctx ends.
func (g *Group) ReadIndex(ctx context.Context) (uint64, error) {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return 0, ErrClosed
	}
	g.pending.Add(1)
	defer g.pending.Done()
	if term := g.raft.CurrentTerm(); !g.reads.running && g.reads.barrier == term { // a barrier would not end with ctx
		g.reads.running = true
		g.mu.Unlock()
		index, err := g.readRound(ctx, term)
		g.mu.Lock()
		g.reads.running = false
		g.runRounds()
		g.mu.Unlock()
		return index, g.readFailed(err)
	}
	r := g.reads.next
	if r == nil {
		r = &round{done: make(chan struct{})}
		g.reads.next = r
	}
	g.runRounds()
	g.mu.Unlock()
	select {
	case <-r.done:
		return r.index, g.readFailed(r.err)
	case <-ctx.Done():
		return 0, g.readFailed(ctx.Err())
	}
}

func (g *Group) readFailed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("consensus: read index of group %d: %w", g.o.ID, err)
}

// runRounds runs rounds for as long as readers wait, unless somebody does. It is called with the lock held.
func (g *Group) runRounds() {
	if g.reads.running || g.reads.next == nil {
		return
	}
	g.reads.running = true
	g.pending.Go(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		for g.reads.next != nil {
			r := g.reads.next
			g.reads.next = nil
			g.mu.Unlock()
			r.index, r.err = g.readRound(context.Background(), g.raft.CurrentTerm())
			close(r.done)
			g.mu.Lock()
		}
		g.reads.running = false
	})
}

// readRound: a leader knows what is committed once an entry of its own term is, and that it still leads by asking a quorum. The
// index is taken in between, and the term must be one and the same throughout.
func (g *Group) readRound(ctx context.Context, term uint64) (uint64, error) {
	if !g.IsLeader() {
		return 0, ErrNotLeader
	}
	if g.reads.barrier != term { // only who runs a round writes it, and others read it while nobody does
		err := g.raft.Barrier(readTimeout).Error()
		if errors.Is(err, storage.ErrFull) { // Raft steps down for it: another may lead, and answer
			return 0, fmt.Errorf("%w: %w", ErrNotLeader, err)
		}
		if err != nil {
			return 0, translate(err, false)
		}
		if g.raft.CurrentTerm() != term {
			return 0, ErrNotLeader
		}
		g.reads.barrier = term
	}
	commit := g.raft.CommitIndex()
	if err := g.confirm(ctx, term, ""); err != nil {
		return 0, err
	}
	return g.lastCommand(commit)
}

// confirm asks the voters, now, whether they know a later term than the one that this replica leads in, and returns once a majority said no:
// then nobody had been elected since by the time it was called. The question is a heartbeat. Raft's own VerifyLeader also
// counts answers to heartbeats that were sent before it was called, so that a late answer could confirm a leader that was deposed meanwhile.
// No more voters are asked than make a majority, unless these are slow. One node may be left out, as if it were none of the voters.
func (g *Group) confirm(ctx context.Context, term uint64, without string) error {
	request := raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(g.o.Node), Addr: []byte(g.o.Node)},
		Term:      term, Leader: []byte(g.o.Node),
	}
	votes, voters, asked := 0, 0, 0
	var others []raft.Server
	for _, s := range g.raft.GetConfiguration().Configuration().Servers {
		switch {
		case s.Suffrage != raft.Voter || s.ID == raft.ServerID(without):
			continue
		case s.ID == raft.ServerID(g.o.Node):
			votes++
		default:
			others = append(others, s)
		}
		voters++
	}
	g.quickFirst(others)
	answers := make(chan answered, len(others))
	ask := func(n int) {
		for _, s := range others[:n] {
			asked++
			g.loops.Go(func() { answers <- answered{s.ID, g.follows(s, request)} })
		}
		others = others[n:]
	}
	ask(min(voters/2+1-votes, len(others)))
	var heard []raft.ServerID
	patience, slow := time.After(readTimeout), time.After(askMore)
	for {
		changed := g.LeaderChanged()
		if !g.IsLeader() || g.raft.CurrentTerm() != term {
			return ErrNotLeader
		}
		if 2*votes > voters {
			g.mu.Lock()
			g.reads.quick = heard
			g.mu.Unlock()
			return nil
		}
		if asked == 0 {
			return ErrNoQuorum
		}
		select {
		case a := <-answers:
			asked--
			if a.yes {
				votes, heard = votes+1, append(heard, a.id)
			} else {
				ask(len(others))
			}
		case <-slow:
			ask(len(others))
		case <-changed:
		case <-g.ctx.Done():
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		case <-patience:
			return ErrNoQuorum
		}
	}
}

// answered is what a voter said.
type answered struct {
	id  raft.ServerID
	yes bool
}

// quickFirst puts those that made the last majority first.
func (g *Group) quickFirst(voters []raft.Server) {
	g.mu.Lock()
	quick := g.reads.quick
	g.mu.Unlock()
	slices.SortStableFunc(voters, func(a, b raft.Server) int {
		switch x, y := slices.Contains(quick, a.ID), slices.Contains(quick, b.ID); {
		case x == y:
			return 0
		case x:
			return -1
		}
		return 1
	})
}

// lastCommand returns the index of the last proposed entry at or below a committed one, or, where that is not in the log any
// more, one that is surely applied and no older.
func (g *Group) lastCommand(commit uint64) (uint64, error) {
	p := g.store.Position()
	for i := commit; ; i-- {
		if i <= p.Covered { // all commands up to it are applied, the last is at Applied or before
			return min(i, p.Applied), nil
		}
		command, err := g.logs.isCommand(i)
		if errors.Is(err, raft.ErrLogNotFound) { // purged meanwhile, so covered meanwhile
			if q := g.store.Position(); q != p {
				p, i = q, i+1
				continue
			}
		}
		if err != nil || command {
			return i, err
		}
	}
}

// follows asks one voter. A stream that was kept from before may be broken by now: there are some to try, and then a new one.
func (g *Group) follows(s raft.Server, request raft.AppendEntriesRequest) bool {
	for range maxPool + 1 {
		var r raft.AppendEntriesResponse
		if err := g.transport.AppendEntries(s.ID, s.Address, &request, &r); err == nil {
			return r.Success && r.Term == request.Term
		}
		if g.ctx.Err() != nil || !g.IsLeader() {
			break
		}
	}
	return false
}
