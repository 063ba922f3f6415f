package shardtest

import "syscall"

// errFull is what a full disk says.
var errFull error = syscall.ENOSPC
