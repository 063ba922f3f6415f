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

// wrap says where err happened.
func (l line) wrap(err error) error {
	return fmt.Errorf("%s:%d: %w", l.file, l.number, err)
}

// invalid makes an error of the line's content.
func (l line) invalid(format string, args ...any) error {
	return l.wrap(fmt.Errorf(format+": %w", append(args, retrieval.ErrInvalid)...))
}

// lines reads the lines of a text file, compressed if it is named .gz. It ends after the first error.
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

// readLines yields the lines of r that are not blank: in UTF-8, ended by \n or \r\n, a byte order mark in front allowed.
func readLines(file string, r io.Reader) iter.Seq2[line, error] {
	return func(yield func(line, error) bool) {
		scan := bufio.NewScanner(r)
		scan.Buffer(nil, MaxLineBytes+2) // the limit counts the end of the line
		l := line{file: file}
		// A failed read leaves the piece of a line before it in the scanner, which is not a line.
		for scan.Scan() && scan.Err() == nil {
			l.number++
			l.text = scan.Bytes()
			if l.number == 1 {
				l.text = bytes.TrimPrefix(l.text, []byte("\ufeff"))
			}
			if len(bytes.TrimSpace(l.text)) == 0 {
				continue
			}
			if !utf8.Valid(l.text) {
				yield(line{}, l.invalid("not UTF-8"))
				return
			}
			if !yield(l, nil) {
				return
			}
		}
		if err := scan.Err(); errors.Is(err, bufio.ErrTooLong) {
			l.number++
			yield(line{}, l.wrap(fmt.Errorf("line is longer than %d bytes: %w", MaxLineBytes, retrieval.ErrTooLarge)))
		} else if err != nil {
			yield(line{}, readError(file, err))
		}
	}
}

// readError names the file of a failed read. One that the system did not report is of the content: a broken gzip file.
func readError(file string, err error) error {
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return err
	}
	return fmt.Errorf("%s: %w: %w", file, err, retrieval.ErrCorrupt)
}
