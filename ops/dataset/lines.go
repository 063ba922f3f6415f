package dataset

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"
	"unicode/utf8"

	"ostraca/retrieval"
)

// MaxLineBytes is the limit of a line of a text file: a text of [retrieval.MaxTextBytes] with every byte escaped, and
// two million bytes for the rest.
const MaxLineBytes = 8 << 20

// line is a line of a text file, without its end. Its text is valid until the next one is read.
type line struct {
	file   string
	number int // from 1
	text   []byte
}

// LineError is what is wrong with one line of a text file. The lines after it can be read all the same.
type LineError struct {
	File string
	Line int    // from 1
	ID   string // of the record, where it was read that far
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err) }

// Unwrap returns the reason.
func (e *LineError) Unwrap() error { return e.Err }

// wrap says where err happened.
func (l line) wrap(err error) error { return &LineError{File: l.file, Line: l.number, Err: err} }

// invalid makes an error of the line's content.
func (l line) invalid(format string, args ...any) error {
	return l.wrap(fmt.Errorf(format+": %w", append(args, retrieval.ErrInvalid)...))
}

// lines reads the lines of a text file, compressed if it is named .gz. It ends after the first error, a [LineError] aside.
func lines(path string) iter.Seq2[line, error] {
	return func(yield func(line, error) bool) {
		f, _, err := open(path)
		if err != nil {
			yield(line{}, err)
			return
		}
		defer f.Close()
		var r io.Reader = f
		if strings.HasSuffix(path, ".gz") {
			if r, err = gzip.NewReader(bufio.NewReader(f)); err != nil {
				yield(line{}, readError(path, err))
				return
			}
		}
		readLines(path, r)(yield)
	}
}

// readLines yields the lines of r that are not blank: in UTF-8, ended by \n or \r\n, a byte order mark in front allowed. A line
// that is none is a [LineError], and the next one follows.
func readLines(file string, r io.Reader) iter.Seq2[line, error] {
	return func(yield func(line, error) bool) {
		from := bufio.NewReaderSize(r, 1<<16)
		l := line{file: file}
		for more := true; more; {
			text, err := nextLine(from, l.text[:0])
			if err != nil && err != io.EOF { // the piece of a line before it is not a line
				yield(line{}, readError(file, err))
				return
			}
			more = err == nil
			l.number++
			l.text = text
			if l.number == 1 {
				l.text = bytes.TrimPrefix(l.text, []byte("\ufeff"))
			}
			if len(bytes.TrimSpace(l.text)) == 0 {
				continue
			}
			if !yield(l, l.check()) {
				return
			}
		}
	}
}

// nextLine appends the next line to b, without its end. One over the limit is read to its end, of which only what tells it is kept.
// The last line comes with io.EOF.
func nextLine(r *bufio.Reader, b []byte) ([]byte, error) {
	for {
		piece, err := r.ReadSlice('\n')
		b = append(b, piece[:min(len(piece), MaxLineBytes+3-len(b))]...) // an end of two bytes, and one too many
		if err == bufio.ErrBufferFull {
			continue
		}
		return bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r")), err
	}
}

// check reports what makes a line no text, or nil.
func (l line) check() error {
	switch {
	case len(l.text) > MaxLineBytes:
		return l.wrap(fmt.Errorf("line is longer than %d bytes: %w", MaxLineBytes, retrieval.ErrTooLarge))
	case !utf8.Valid(l.text):
		return l.invalid("not UTF-8")
	}
	return nil
}

// readError names the file of a failed read. One that the system did not report is of the content: a broken gzip file.
func readError(file string, err error) error {
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return err
	}
	return fmt.Errorf("%s: %w: %w", file, err, retrieval.ErrCorrupt)
}
