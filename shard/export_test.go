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
