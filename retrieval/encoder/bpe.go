package encoder

import (
	"container/heap"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"ostraca/retrieval"
)

// bpe joins neighbours in the order in which they were joined in training (Sennrich, Haddow and Birch 2016).
type bpe struct {
	pieces   map[string]int32
	merges   map[[2]int32]merge
	unknown  int32 // -1: a character without a piece is passed over
	fuse     bool
	fallback bool
	whole    bool // a word that is a piece is not cut
	bytes    [256]int32
}

// merge says when two pieces are joined, and to what.
type merge struct{ rank, id int32 }

func readBPE(c component) (subwords, error) {
	var f struct {
		Type     string            `json:"type"`
		Dropout  *float64          `json:"dropout"`
		Unknown  *string           `json:"unk_token"`
		Prefix   *string           `json:"continuing_subword_prefix"`
		Suffix   *string           `json:"end_of_word_suffix"`
		Fuse     bool              `json:"fuse_unk"`
		Fallback bool              `json:"byte_fallback"`
		Whole    bool              `json:"ignore_merges"`
		Pieces   map[string]int32  `json:"vocab"`
		Merges   []json.RawMessage `json:"merges"`
	}
	if err := c.fields(&f); err != nil {
		return nil, err
	}
	if err := checkVocabulary(f.Pieces); err != nil {
		return nil, err
	}
	for name, s := range map[string]*string{"continuing_subword_prefix": f.Prefix, "end_of_word_suffix": f.Suffix} {
		if s != nil && *s != "" {
			return nil, unsupported("BPE with %s %q", name, *s)
		}
	}
	if f.Dropout != nil && *f.Dropout != 0 {
		return nil, unsupported("BPE with dropout")
	}
	if len(f.Merges) > maxVocabulary {
		return nil, fmt.Errorf("tokenizer.json: %d merges, the limit is %d: %w", len(f.Merges), maxVocabulary, retrieval.ErrTooLarge)
	}
	m := &bpe{pieces: f.Pieces, merges: make(map[[2]int32]merge, len(f.Merges)), unknown: -1, fuse: f.Fuse, fallback: f.Fallback, whole: f.Whole}
	if f.Unknown != nil {
		id, found := f.Pieces[*f.Unknown]
		if !found {
			return nil, fmt.Errorf("tokenizer.json: the vocabulary has no %q, its unk_token: %w", *f.Unknown, retrieval.ErrInvalid)
		}
		m.unknown = id
	}
	m.bytes = bytePieces(m.pieces)
	for rank, raw := range f.Merges {
		var pair [2]string
		if json.Unmarshal(raw, &pair) != nil { // older files write "a b"
			var line string
			if json.Unmarshal(raw, &line) != nil || strings.Count(line, " ") != 1 {
				return nil, fmt.Errorf("tokenizer.json: merge %d is no pair: %w", rank, retrieval.ErrInvalid)
			}
			pair[0], pair[1], _ = strings.Cut(line, " ")
		}
		a, okA := f.Pieces[pair[0]]
		b, okB := f.Pieces[pair[1]]
		both, ok := f.Pieces[pair[0]+pair[1]]
		if !okA || !okB || !ok {
			return nil, fmt.Errorf("tokenizer.json: merge %d, of %q and %q: a piece is missing in the vocabulary: %w", rank, pair[0], pair[1], retrieval.ErrInvalid)
		}
		m.merges[[2]int32{a, b}] = merge{int32(rank), both}
	}
	return m, nil
}

func (m *bpe) vocabulary() map[string]int32 { return m.pieces }

func (m *bpe) cut(word string) []subword {
	if id, found := m.pieces[word]; m.whole && found {
		return []subword{{id, 0, len(word)}}
	}
	s := symbols{merges: m.merges}
	unknown := 0 // bytes of unknown characters that wait for their neighbour
	flush := func() {
		if unknown > 0 {
			s.add(m.unknown, unknown)
			unknown = 0
		}
	}
	for at, size := 0, 0; at < len(word); at += size {
		_, size = utf8.DecodeRuneInString(word[at:])
		char := word[at : at+size]
		id, found := m.pieces[char]
		switch {
		case found:
			flush()
			s.add(id, size)
		case m.fallback && m.allBytes(char):
			for _, b := range []byte(char) { // what is unknown stays behind, as in the reference
				s.add(m.bytes[b], 1)
			}
		case m.unknown >= 0:
			if !m.fuse {
				flush()
			}
			unknown += size
		}
	}
	flush()
	return s.merge()
}

func (m *bpe) allBytes(s string) bool {
	for _, b := range []byte(s) {
		if m.bytes[b] < 0 {
			return false
		}
	}
	return true
}

// symbols is a word while neighbours are joined.
type symbols struct {
	merges map[[2]int32]merge
	list   []symbol
	queue  candidates
}

type symbol struct {
	id         int32
	size       int // bytes; 0 once it was joined to the one before
	prev, next int // -1: none
}

// candidate is a pair that may be joined, by the place of its left side.
type candidate struct {
	merge
	at int
}

type candidates []candidate

func (c candidates) Len() int { return len(c) }
func (c candidates) Less(i, j int) bool {
	return c[i].rank < c[j].rank || c[i].rank == c[j].rank && c[i].at < c[j].at
}
func (c candidates) Swap(i, j int) { c[i], c[j] = c[j], c[i] }
func (c *candidates) Push(x any)   { *c = append(*c, x.(candidate)) }
func (c *candidates) Pop() any {
	last := len(*c) - 1
	x := (*c)[last]
	*c = (*c)[:last]
	return x
}

func (s *symbols) add(id int32, size int) {
	n := len(s.list)
	if n > 0 {
		s.list[n-1].next = n
	}
	s.list = append(s.list, symbol{id, size, n - 1, -1})
}

func (s *symbols) consider(at int) {
	if at < 0 || s.list[at].next < 0 {
		return
	}
	if m, found := s.merges[[2]int32{s.list[at].id, s.list[s.list[at].next].id}]; found {
		heap.Push(&s.queue, candidate{m, at})
	}
}

// merge joins the earliest pair first, the leftmost of equals, and returns what is left. Sizes add up from the start of the word.
func (s *symbols) merge() []subword {
	for i := range s.list {
		s.consider(i)
	}
	for s.queue.Len() > 0 {
		c := heap.Pop(&s.queue).(candidate)
		left := &s.list[c.at]
		if left.size == 0 || left.next < 0 {
			continue
		}
		right := &s.list[left.next]
		if m, found := s.merges[[2]int32{left.id, right.id}]; !found || m.id != c.id {
			continue
		}
		left.id, left.size, left.next, right.size = c.id, left.size+right.size, right.next, 0
		if left.next >= 0 {
			s.list[left.next].prev = c.at
		}
		s.consider(left.prev)
		s.consider(c.at)
	}
	var out []subword
	at := 0
	for _, x := range s.list {
		if x.size > 0 {
			out = append(out, subword{x.id, at, at + x.size})
			at += x.size
		}
	}
	return out
}
