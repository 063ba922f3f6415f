package dataset

import (
	"bufio"
	"os"
	"path/filepath"
)

// growing is a file that is being written: lines of text, or an array whose number of rows is known at the end.
type growing struct {
	npy // of which file and rows hold for a text too; its dtype is empty
	f   *os.File
	w   *bufio.Writer
}

// grow makes a file in the partial folder, with room for the header of an array.
func (w *VectorWriter) grow(name string, a npy) (*growing, error) {
	a.file = filepath.Join(w.dir, partial, name)
	f, err := os.Create(a.file)
	if err != nil {
		return nil, err
	}
	g := &growing{a, f, bufio.NewWriterSize(f, 1<<18)}
	w.files = append(w.files, g)
	if a.dtype != "" {
		_, err = g.w.Write(npyHeader(a))
	}
	return g, err
}

// write appends rows.
func (g *growing) write(raw []byte, rows int) error {
	g.rows += int64(rows)
	_, err := g.w.Write(raw)
	return err
}

// finish writes the header anew, now that the number of rows is known, and makes the file durable.
func (g *growing) finish() error {
	if err := g.w.Flush(); err != nil {
		return err
	}
	if g.dtype != "" {
		if _, err := g.f.WriteAt(npyHeader(g.npy), 0); err != nil {
			return err
		}
	}
	if err := g.f.Sync(); err != nil {
		return err
	}
	return g.f.Close()
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
