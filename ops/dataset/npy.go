package dataset

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/bits"
	"os"
	"strconv"
	"strings"

	"ostraca/retrieval"
)

// The format is NumPy's own (numpy.lib.format, versions 1.0 and 2.0): the magic, two bytes of version, the length of the
// header, the header as a Python literal, the values. Read here: little-endian, C order, one or two dimensions.
const (
	npyMagic       = "\x93NUMPY"
	maxNPYHeader   = 10_000 // bytes; numpy.load has the same limit
	npyHeaderBytes = 128    // of a file that we write: room for any shape, and a multiple of 64 as NumPy has it
)

// npyItems are the element types, with their bytes. NumPy writes | for a type of one byte.
var npyItems = map[string]int64{
	"<f2": 2, "<f4": 4, "<f8": 8,
	"|i1": 1, "<i1": 1, "<i2": 2, "<i4": 4, "<i8": 8, "|u1": 1, "<u1": 1, "<u2": 2, "<u4": 4, "<u8": 8,
}

// npy is the shape of an array and where it lies.
type npy struct {
	file  string
	dtype string // a key of npyItems
	dims  int    // 1 or 2
	rows  int64
	cols  int64 // 1 in one dimension
	start int64 // of the values in the file
}

// corrupt makes an error of the file's content.
func (a npy) corrupt(format string, args ...any) error {
	return fmt.Errorf("%s: "+format+": %w", append(append([]any{a.file}, args...), retrieval.ErrCorrupt)...)
}

func (a npy) size() int64 { return a.rows * a.cols * npyItems[a.dtype] }

// openNPY opens an array of the dimensions asked for, of numbers of one of the kinds ("f", "iu").
func openNPY(path string, dims int, kinds string) (npy, *os.File, error) {
	f, info, err := open(path)
	if err != nil {
		return npy{}, nil, err
	}
	a, err := readNPY(path, f, info.Size())
	if err == nil && (a.dims != dims || !strings.Contains(kinds, a.dtype[1:2])) {
		err = a.corrupt("%d dimensions of type %s: want %d, of type %s", a.dims, a.dtype, dims,
			map[string]string{"f": "float", "iu": "integer"}[kinds])
	}
	if err != nil {
		f.Close()
		return npy{}, nil, err
	}
	return a, f, nil
}

// readNPY reads the header of an array, and checks that the file has exactly the values that it promises.
func readNPY(file string, r io.ReaderAt, size int64) (npy, error) {
	a := npy{file: file}
	var head [12]byte
	n, err := r.ReadAt(head[:], 0)
	if n < len(head) && err != io.EOF {
		return a, readError(file, err)
	}
	if n < len(head) || string(head[:6]) != npyMagic {
		return a, a.corrupt("not a NumPy file")
	}
	var length int64
	switch version := [2]byte(head[6:8]); version {
	case [2]byte{1, 0}:
		length, a.start = int64(binary.LittleEndian.Uint16(head[8:])), 10
	case [2]byte{2, 0}:
		length, a.start = int64(binary.LittleEndian.Uint32(head[8:])), 12
	default:
		return a, a.corrupt("NumPy format %d.%d, want 1.0 or 2.0", version[0], version[1])
	}
	if length > maxNPYHeader || length > size-a.start {
		return a, a.corrupt("a header of %d bytes, in a file of %d; the limit is %d", length, size, maxNPYHeader)
	}
	header := make([]byte, length)
	if n, err := r.ReadAt(header, a.start); n < len(header) {
		return a, readError(file, err)
	}
	a.start += length
	if err := a.parse(string(header)); err != nil {
		return a, err
	}
	return a, a.checkSize(size - a.start)
}

// checkSize compares the shape with the bytes that the file has for it.
func (a npy) checkSize(have int64) error {
	over, items := bits.Mul64(uint64(a.rows), uint64(a.cols))
	over2, want := bits.Mul64(items, uint64(npyItems[a.dtype]))
	if over != 0 || over2 != 0 || want > math.MaxInt64 || int64(want) != have {
		return a.corrupt("shape (%d, %d) of type %s does not fit the %d bytes after the header", a.rows, a.cols, a.dtype, have)
	}
	return nil
}

// parse reads a header: {'descr': '<f2', 'fortran_order': False, 'shape': (3, 4), } in any order of the names, padded with
// spaces and ended by a new line.
func (a *npy) parse(header string) error {
	p := npyParser{rest: header}
	seen := map[string]bool{}
	p.want("{")
	for !p.failed && !p.have("}") {
		name := p.quoted()
		p.want(":")
		if seen[name] {
			return a.corrupt("%q is twice in the header", name)
		}
		seen[name] = true
		switch name {
		case "descr":
			a.dtype = p.quoted()
		case "fortran_order":
			if p.have("True") {
				return a.corrupt("Fortran order, want C order")
			}
			p.want("False")
		case "shape":
			a.shape(&p)
		default:
			p.failed = true
		}
		if !p.have(",") && !strings.HasPrefix(p.space(), "}") {
			p.failed = true
		}
	}
	if p.failed || len(seen) != 3 || p.space() != "" || !strings.HasSuffix(header, "\n") {
		return a.corrupt("malformed header %q", header[:min(len(header), 200)])
	}
	if npyItems[a.dtype] == 0 {
		return a.corrupt("type %q, want little-endian float16 to float64 or an integer of 8 to 64 bits", a.dtype)
	}
	if a.dims != 1 && a.dims != 2 {
		return a.corrupt("%d dimensions, want 1 or 2", a.dims)
	}
	return nil
}

// shape reads (), (5,), (3, 4) and so on, and keeps the first two numbers.
func (a *npy) shape(p *npyParser) {
	a.rows, a.cols = 1, 1
	p.want("(")
	for !p.failed && !p.have(")") {
		switch n := p.number(); a.dims {
		case 0:
			a.rows = n
		case 1:
			a.cols = n
		}
		a.dims++
		// One dimension is (5,) in Python: (5) is a number.
		if !p.have(",") && (a.dims == 1 || !strings.HasPrefix(p.space(), ")")) {
			p.failed = true
		}
	}
}

// npyParser reads a header from its front. After the first failure its answers mean nothing.
type npyParser struct {
	rest   string
	failed bool
}

// space skips spaces and returns what follows.
func (p *npyParser) space() string {
	p.rest = strings.TrimLeft(p.rest, " \n")
	return p.rest
}

func (p *npyParser) have(token string) bool {
	rest, ok := strings.CutPrefix(p.space(), token)
	p.rest = rest
	return ok
}

func (p *npyParser) want(token string) {
	if !p.have(token) {
		p.failed = true
	}
}

func (p *npyParser) quoted() string {
	quote := `'`
	if !p.have(quote) {
		quote = `"`
		p.want(quote)
	}
	s, rest, ok := strings.Cut(p.rest, quote)
	if !ok {
		p.failed = true
	}
	p.rest = rest
	return s
}

func (p *npyParser) number() int64 {
	rest := strings.TrimLeft(p.space(), "0123456789")
	n, err := strconv.ParseInt(strings.TrimSuffix(p.rest, rest), 10, 64)
	if err != nil {
		p.failed = true
	}
	p.rest = rest
	return n
}

// npyHeader writes a header of version 1 and npyHeaderBytes.
func npyHeader(a npy) []byte {
	shape := fmt.Sprintf("(%d,)", a.rows)
	if a.dims == 2 {
		shape = fmt.Sprintf("(%d, %d)", a.rows, a.cols)
	}
	dict := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': %s, }", a.dtype, shape)
	head := append([]byte(npyMagic), 1, 0)
	head = binary.LittleEndian.AppendUint16(head, npyHeaderBytes-10)
	return fmt.Appendf(head, "%-*s\n", npyHeaderBytes-11, dict)
}
