//go:build noasm || !amd64

package kernel

var variants = []*Set{twin}
