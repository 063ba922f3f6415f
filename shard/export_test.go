package shard

// CrossCall returns what a call's error is at the far end of a wire.
func CrossCall(err error) error { return fromWire(toWire(err)) }

// CrossResult returns what an operation's error is there.
func CrossResult(err error) error {
	r, broken := fromResult(toResult(Result{Err: err}))
	if broken != nil {
		return broken
	}
	return r.Err
}

// JobOperation returns the operation id of a job's first try.
func JobOperation(j *Job) OperationID { return j.operation(j.Began) }

// Founded returns the voters that a node knows of the placement group.
func Founded(n *Node) []string { return n.memo.get().Voters }

// Learning returns in how many groups a node has no vote yet, since it lost their files.
func Learning(n *Node) int { return len(n.memo.get().Learning) }

// Filled tells whether a node has here all that was acknowledged in a group a moment ago.
func Filled(n *Node, group uint32) (bool, error) {
	g, _, err := n.group(group)
	if err != nil {
		return false, err
	}
	return n.filled(group, g)
}

// Graduate has a node without a vote in a group ask for it, as it does every while. It returns in how many groups it has none then.
func Graduate(n *Node, group uint32) (int, error) {
	if err := n.memo.learns(group, true); err != nil {
		return 0, err
	}
	err := n.graduate()
	return Learning(n), err
}

// Behind has a node's replica of a shard, or its map where the group is that of the placement, lack the last step until undo.
func Behind(n *Node, group uint32) (undo func()) {
	if group == 0 {
		was := n.Map()
		ahead := *was
		ahead.Version = n.places.Load().machine.current.Load().Version + 1
		n.current.Store(&ahead)
		return func() { n.current.Store(was) }
	}
	m := n.Replica(group - 1).machine
	was := m.current.Load()
	behind := *was
	behind.applied--
	m.current.Store(&behind)
	return func() { m.current.Store(was) }
}

// Leads tells whether a node leads a group.
func Leads(n *Node, group uint32) bool {
	g, _, err := n.group(group)
	return err == nil && g.IsLeader()
}
