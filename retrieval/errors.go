package retrieval

import "errors"

// What a caller can act on. Errors that stem from documents, queries and the files that hold them wrap one of these, or an
// error of package os.
var (
	ErrInvalid  = errors.New("invalid argument")
	ErrTooLarge = errors.New("over the limit")
	ErrNotFound = errors.New("not found")
	ErrCorrupt  = errors.New("corrupt data")
)
