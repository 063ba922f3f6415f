package endpoint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"

	"ostraca/retrieval"
	"ostraca/shard"
)

const (
	firstBytes = 4 << 10 // of a body that are held for it before it comes; then as many again as have come
	valueBytes = 256     // that a value of JSON takes when it is decoded, about
)

// bodies reads the bodies of requests whole and passes them on. What it holds of all requests together is bounded, and a body counts as it
// arrives: one that never comes keeps nobody out.
type bodies struct {
	next http.Handler
	most int64
	held atomic.Int64 // bytes
}

var errBodies = errors.New("too much waits") // wraps nothing: only hold returns it

func (b *bodies) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var held int64
	defer func() { b.held.Add(-held) }()
	hold := func(n int64) error {
		held += n
		if b.held.Add(n) > b.most {
			return errBodies
		}
		return nil
	}
	body, err := read(http.MaxBytesReader(w, r.Body, MaxBodyBytes), hold)
	if err == nil {
		n := values(body)
		if err = hold(int64(n) * valueBytes); n > MaxValues {
			err = tooManyValues()
		}
	}
	tooLarge := (*http.MaxBytesError)(nil)
	switch {
	case err == nil:
		r.Body = io.NopCloser(bytes.NewReader(body))
		b.next.ServeHTTP(w, r)
	case err == errBodies:
		WriteError(w, fmt.Errorf("the bodies of requests under way take %d bytes, the limit: try again in a while, with smaller ones or fewer at once: %w", b.most, shard.ErrExhausted))
	case errors.As(err, &tooLarge):
		writeError(w, http.StatusRequestEntityTooLarge, fmt.Errorf("the body has more than %d bytes, the limit: send several smaller requests: %w", MaxBodyBytes, retrieval.ErrTooLarge))
	case errors.Is(err, retrieval.ErrTooLarge):
		WriteError(w, err)
	default:
		WriteError(w, fmt.Errorf("the body did not arrive: %v: %w", err, retrieval.ErrInvalid))
	}
}

// read reads all of a body, and asks before it takes more memory.
func read(from io.Reader, hold func(int64) error) ([]byte, error) {
	var b []byte
	for more := firstBytes; ; more = len(b) {
		if err := hold(int64(more)); err != nil {
			return nil, err
		}
		b = append(make([]byte, 0, len(b)+more), b...)
		for len(b) < cap(b) {
			n, err := from.Read(b[len(b):cap(b)])
			b = b[:len(b)+n]
			if err == io.EOF {
				return b, nil
			}
			if err != nil {
				return nil, err
			}
		}
	}
}
