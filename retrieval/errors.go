package retrieval

import "errors"

// What a caller can act on. Every error of this module that stems from its input wraps one of these.
var (
	ErrInvalid  = errors.New("invalid argument")
	ErrTooLarge = errors.New("over the limit")
	ErrNotFound = errors.New("not found")
	ErrCorrupt  = errors.New("corrupt data")
)
