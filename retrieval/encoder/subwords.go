package encoder

import (
	"encoding/json"
	"fmt"
	"math"
	"unicode/utf8"

	"ostraca/retrieval"
)

// maxWordLimit bounds WordPiece's own limit of characters a word: its cost grows with the square.
const maxWordLimit = 1000

// subword is a piece of a word, in bytes of the word.
type subword struct {
	id         int32
	start, end int
}

// subwords is a tokenizer's model: it cuts a word into pieces of the vocabulary. The word is UTF-8 and not empty.
type subwords interface {
	cut(word string) []subword
	vocabulary() map[string]int32
}

// readModel reads tokenizer.json's model.
func readModel(raw json.RawMessage) (subwords, error) {
	c, err := readComponent("model", raw)
	if err != nil {
		return nil, err
	}
	switch c.kind {
	case "WordPiece":
		return readWordPiece(c)
	case "BPE":
		return readBPE(c)
	case "Unigram":
		return readUnigram(c)
	}
	return nil, unsupported("the model %q", c.kind)
}

func checkVocabulary(vocabulary map[string]int32) error {
	if len(vocabulary) > maxVocabulary {
		return fmt.Errorf("tokenizer.json: a vocabulary of %d pieces, the limit is %d: %w", len(vocabulary), maxVocabulary, retrieval.ErrTooLarge)
	}
	seen := make(map[int32]bool, len(vocabulary))
	for piece, id := range vocabulary {
		if id < 0 || id >= maxVocabulary || seen[id] {
			return fmt.Errorf("tokenizer.json: piece %q has the id %d, it must be below %d and its own: %w", piece, id, maxVocabulary, retrieval.ErrInvalid)
		}
		seen[id] = true
	}
	return nil
}

// wordPiece takes the longest piece first (Schuster and Nakajima 2012; Devlin et al. 2019).
type wordPiece struct {
	pieces   map[string]int32
	prefix   string // of pieces that do not start a word
	unknown  int32
	longest  int // bytes of the longest piece
	maxChars int
}

func readWordPiece(c component) (subwords, error) {
	f := struct {
		Type     string           `json:"type"`
		Unknown  string           `json:"unk_token"`
		Prefix   string           `json:"continuing_subword_prefix"`
		MaxChars int              `json:"max_input_chars_per_word"`
		Pieces   map[string]int32 `json:"vocab"`
	}{MaxChars: maxWordChars}
	if err := c.fields(&f); err != nil {
		return nil, err
	}
	if err := checkVocabulary(f.Pieces); err != nil {
		return nil, err
	}
	if f.MaxChars < 1 || f.MaxChars > maxWordLimit {
		return nil, unsupported("max_input_chars_per_word of %d, it must be 1 to %d; that", f.MaxChars, maxWordLimit)
	}
	unknown, found := f.Pieces[f.Unknown]
	if !found {
		return nil, fmt.Errorf("tokenizer.json: the vocabulary has no %q, its unk_token: %w", f.Unknown, retrieval.ErrInvalid)
	}
	m := &wordPiece{pieces: f.Pieces, prefix: f.Prefix, unknown: unknown, maxChars: f.MaxChars}
	for p := range f.Pieces {
		m.longest = max(m.longest, len(p))
	}
	return m, nil
}

func (m *wordPiece) vocabulary() map[string]int32 { return m.pieces }

func (m *wordPiece) cut(word string) []subword {
	unknown := []subword{{m.unknown, 0, len(word)}}
	if utf8.RuneCountInString(word) > m.maxChars {
		return unknown
	}
	var out []subword
	for start := 0; start < len(word); {
		prefix := ""
		if start > 0 {
			prefix = m.prefix
		}
		end := min(len(word), start+max(m.longest-len(prefix), 0))
		for ; end > start; end-- {
			if end < len(word) && !utf8.RuneStart(word[end]) {
				continue
			}
			if id, found := m.pieces[prefix+word[start:end]]; found {
				out = append(out, subword{id, start, end})
				break
			}
		}
		if end == start {
			return unknown
		}
		start = end
	}
	return out
}

// bytePieces returns the ids of the pieces <0x00> to <0xFF>, -1 for one that is missing.
func bytePieces(vocabulary map[string]int32) (out [256]int32) {
	for b := range out {
		id, found := vocabulary[fmt.Sprintf("<0x%02X>", b)]
		if !found {
			id = -1
		}
		out[b] = id
	}
	return out
}

// unigram takes the likeliest cut (Kudo 2018), by the Viterbi algorithm.
type unigram struct {
	pieces   map[string]int32
	scores   []float64
	longest  int
	unknown  int32 // -1: none
	missing  float64
	fallback bool
	bytes    [256]int32
}

// unknownPenalty is how much less likely than the least likely piece a character without one is.
const unknownPenalty = 10

func readUnigram(c component) (subwords, error) {
	var f struct {
		Type     string               `json:"type"`
		Unknown  *int32               `json:"unk_id"`
		Pieces   [][2]json.RawMessage `json:"vocab"`
		Fallback bool                 `json:"byte_fallback"`
	}
	if err := c.fields(&f); err != nil {
		return nil, err
	}
	if len(f.Pieces) > maxVocabulary {
		return nil, fmt.Errorf("tokenizer.json: a vocabulary of %d pieces, the limit is %d: %w", len(f.Pieces), maxVocabulary, retrieval.ErrTooLarge)
	}
	m := &unigram{pieces: make(map[string]int32, len(f.Pieces)), scores: make([]float64, len(f.Pieces)), unknown: -1, fallback: f.Fallback, missing: math.Inf(1)}
	for id, p := range f.Pieces {
		var piece string
		if json.Unmarshal(p[0], &piece) != nil || json.Unmarshal(p[1], &m.scores[id]) != nil {
			return nil, fmt.Errorf("tokenizer.json: piece %d of the vocabulary is not a text and a number: %w", id, retrieval.ErrInvalid)
		}
		m.pieces[piece] = int32(id)
		m.longest = max(m.longest, len(piece))
		m.missing = min(m.missing, m.scores[id])
	}
	m.missing -= unknownPenalty
	if f.Unknown == nil || *f.Unknown < 0 || int(*f.Unknown) >= len(f.Pieces) {
		return nil, unsupported("Unigram without an unk_id in its vocabulary")
	}
	m.unknown = *f.Unknown
	m.bytes = bytePieces(m.pieces)
	return m, nil
}

func (m *unigram) vocabulary() map[string]int32 { return m.pieces }

func (m *unigram) cut(word string) []subword {
	type node struct {
		score float64
		from  int // -1: not reached
		id    int32
	}
	best := make([]node, len(word)+1)
	for i := range best {
		best[i].from = -1
	}
	reach := func(from, to int, id int32, score float64) {
		if n := &best[to]; n.from < 0 || score > n.score {
			*n = node{score, from, id}
		}
	}
	for at, size := 0, 0; at < len(word); at += size {
		_, size = utf8.DecodeRuneInString(word[at:])
		here, single := best[at].score, false
		for end := at + 1; end <= min(len(word), at+m.longest); end++ {
			if end < len(word) && !utf8.RuneStart(word[end]) {
				continue
			}
			if id, found := m.pieces[word[at:end]]; found {
				reach(at, end, id, m.scores[id]+here)
				single = single || end == at+size
			}
		}
		if !single {
			reach(at, at+size, m.unknown, m.missing+here)
		}
	}
	var out []subword // from the end; neighbours that are unknown become one
	for end := len(word); end > 0; end = best[end].from {
		n := best[end]
		if last := len(out) - 1; n.id == m.unknown && last >= 0 && out[last].id == m.unknown && out[last].start == end {
			out[last].start = n.from
			continue
		}
		out = append(out, subword{n.id, n.from, end})
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return m.resolve(word, out)
}

// resolve looks the unknown stretches up once more, since several together may be a piece, and falls back to bytes where asked.
func (m *unigram) resolve(word string, cut []subword) []subword {
	var out []subword
	for _, s := range cut {
		id, found := m.pieces[word[s.start:s.end]]
		switch {
		case found:
			out = append(out, subword{id, s.start, s.end})
		case m.fallback && m.allBytes(word[s.start:s.end]):
			for _, b := range []byte(word[s.start:s.end]) {
				out = append(out, subword{m.bytes[b], s.start, s.end})
			}
		default:
			out = append(out, subword{m.unknown, s.start, s.end})
		}
	}
	return out
}

func (m *unigram) allBytes(s string) bool {
	for _, b := range []byte(s) {
		if m.bytes[b] < 0 {
			return false
		}
	}
	return true
}
