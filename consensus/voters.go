package consensus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// Voters returns the ids of those who vote, by the latest configuration that this replica knows, in order.
func (g *Group) Voters() []string {
	var out []string
	for _, s := range g.raft.GetConfiguration().Configuration().Servers {
		if s.Suffrage == raft.Voter {
			out = append(out, string(s.ID))
		}
	}
	slices.Sort(out)
	return out
}

// suffrage tells what the latest configuration has a node for, and whether it has it.
func (g *Group) suffrage(node string) (raft.ServerSuffrage, bool) {
	for _, s := range g.raft.GetConfiguration().Configuration().Servers {
		if s.ID == raft.ServerID(node) {
			return s.Suffrage, true
		}
	}
	return 0, false
}

// Readmit makes of a voter that lost its files one that only listens, until Promote: with its votes gone it might vote twice in a term,
// and with its entries gone confirm what nobody has. It must not run before Readmit returns nil. It is asked of the leader, and fails
// with ErrNotLeader or ErrNoQuorum or ErrClosed, having done nothing or half; or with ErrUnknownOutcome. To call it again is always safe.
func (g *Group) Readmit(ctx context.Context, node string) error {
	if err := g.readmit(ctx, node); err != nil {
		return fmt.Errorf("consensus: readmit %s to group %d: %w", node, g.o.ID, err)
	}
	return nil
}

func (g *Group) readmit(ctx context.Context, node string) error {
	if node == g.o.Node {
		return errors.New("this is the node that was asked, and it has its files")
	}
	term := g.raft.CurrentTerm()
	if !g.IsLeader() {
		return ErrNotLeader
	}
	is, known := g.suffrage(node)
	if known && is != raft.Voter {
		return g.settle(ctx)
	}
	if known {
		// The removal counts from when it is in the log, committed or not: a leader that the remaining voters do not hear would have locked
		// itself out. So they are asked first.
		if err := g.after(ctx, func() raft.Future { return answer{g.confirm(ctx, term, node)} }); err != nil {
			return err
		}
		if err := g.after(ctx, func() raft.Future { return g.raft.RemoveServer(raft.ServerID(node), 0, patience(ctx)) }); err != nil {
			return err
		}
	}
	return g.after(ctx, func() raft.Future {
		return g.raft.AddNonvoter(raft.ServerID(node), raft.ServerAddress(node), 0, patience(ctx))
	})
}

// Promote makes a voter of a node. It should have about all entries by then: until it has, it counts as one that is away. It is asked of
// the leader, and fails as Readmit does.
func (g *Group) Promote(ctx context.Context, node string) error {
	var err error
	is, known := g.suffrage(node)
	switch {
	case !g.IsLeader():
		err = ErrNotLeader
	case known && is == raft.Voter:
		err = g.settle(ctx)
	default:
		err = g.after(ctx, func() raft.Future {
			return g.raft.AddVoter(raft.ServerID(node), raft.ServerAddress(node), 0, patience(ctx))
		})
	}
	if err != nil {
		return fmt.Errorf("consensus: promote %s in group %d: %w", node, g.o.ID, err)
	}
	return nil
}

// settle returns when the latest configuration is committed: until then it may be undone.
func (g *Group) settle(ctx context.Context) error {
	return g.after(ctx, func() raft.Future { return g.raft.Barrier(patience(ctx)) })
}

// after waits for a step on the way to another configuration.
func (g *Group) after(ctx context.Context, begin func() raft.Future) error {
	f, err := future(g, ctx, begin)
	if err != nil {
		return err
	}
	if err = f.Error(); err != nil && !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrNoQuorum) && !errors.Is(err, ErrClosed) {
		return translate(err, true)
	}
	return err
}

// answer is a future that has come.
type answer struct{ err error }

func (a answer) Error() error { return a.err }

// patience is how long a busy leader may take to begin, as far as ctx allows. To Raft, 0 is for ever.
func patience(ctx context.Context) time.Duration {
	d := enqueueTimeout
	if deadline, ok := ctx.Deadline(); ok {
		d = min(d, time.Until(deadline))
	}
	return max(d, time.Millisecond)
}
