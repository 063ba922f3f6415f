// Package dataset reads and writes collections of texts and of token vectors.
//
// Three layouts are known, and [Detect] tells them apart:
//
//   - BEIR: a directory with corpus.jsonl, queries.jsonl and qrels.tsv or qrels/test.tsv. The .jsonl files may be
//     compressed (.jsonl.gz); of two forms of one file the plain one is read.
//   - JSONL: one .jsonl or .jsonl.gz file, a document a line.
//   - NPY: a directory of token vectors in NumPy files, with the texts beside them; see [OpenVectors].
//
// A line is a JSON object with an id (`_id` or `id`), a `text`, and in a document a `title` and an object `fields`;
// every other name is a field too. Everything is streamed: what is held of a corpus is a hash of every id, by which
// a second document of the same id is found.
//
// NPY is read here and not by a library: github.com/sbinet/npyio (v0.6.0) has no float16, panics on a malformed header, and
// takes a file that is cut off for whole.
//
// Every error names the file, and the line where there is one. It wraps [retrieval.ErrInvalid] (a text file that is not
// what was asked for), [retrieval.ErrCorrupt] (a NumPy or gzip file that is broken, or files that contradict each
// other), [retrieval.ErrTooLarge], or an error of package os such as [fs.ErrNotExist].
package dataset
