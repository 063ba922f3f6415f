package encoder

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/rivo/uniseg"

	"ostraca/retrieval"
)

const (
	maxCharsmapBytes = 8 << 20
	maxGraphemeBytes = 6 // a longer cluster is looked up character by character
)

// charsmap is sentencepiece's compiled map of characters: a double-array trie over UTF-8 (Darts; Aoe 1989) whose values are places in a
// text of strings that end in a zero byte.
type charsmap struct {
	units   []uint32
	strings string
}

func (r *normalizerReader) readPrecompiled(c component) ([]step, error) {
	var f struct {
		Type string `json:"type"`
		Map  string `json:"precompiled_charsmap"`
	}
	if err := c.fields(&f); err != nil {
		return nil, err
	}
	if f.Map == "" {
		return nil, nil
	}
	if len(f.Map) > maxCharsmapBytes {
		return nil, fmt.Errorf("tokenizer.json: a charsmap of %d bytes, the limit is %d: %w", len(f.Map), maxCharsmapBytes, retrieval.ErrTooLarge)
	}
	data, err := base64.StdEncoding.DecodeString(f.Map)
	if err != nil || len(data) < 4 {
		return nil, fmt.Errorf("tokenizer.json: precompiled_charsmap is not a map in base64: %w", retrieval.ErrInvalid)
	}
	size := int(binary.LittleEndian.Uint32(data))
	if data = data[4:]; size > len(data) || size%4 != 0 {
		return nil, fmt.Errorf("tokenizer.json: precompiled_charsmap: a trie of %d bytes in %d: %w", size, len(data), retrieval.ErrInvalid)
	}
	m := &charsmap{units: make([]uint32, size/4), strings: string(data[size:])}
	for i := range m.units {
		m.units[i] = binary.LittleEndian.Uint32(data[4*i:])
	}
	if !utf8.ValidString(m.strings) {
		return nil, fmt.Errorf("tokenizer.json: precompiled_charsmap: its strings are not UTF-8: %w", retrieval.ErrInvalid)
	}
	longest := 0
	for value := range strings.SplitSeq(m.strings, "\x00") {
		longest = max(longest, utf8.RuneCountInString(value))
	}
	return []step{m.apply}, r.grow(longest)
}

// lookup returns what stands for the shortest prefix of key that the map has; the reference takes that for the whole key.
func (m *charsmap) lookup(key string) (string, bool) {
	if len(m.units) == 0 {
		return "", false
	}
	offset := func(unit uint32) int { return int(unit>>10) << (unit & (1 << 9) >> 6) }
	at := offset(m.units[0])
	for i := range len(key) {
		at ^= int(key[i])
		if key[i] == 0 || at >= len(m.units) {
			return "", false
		}
		unit := m.units[at]
		if unit&(1<<31|0xff) != uint32(key[i]) {
			return "", false
		}
		if at ^= offset(unit); unit>>8&1 == 1 {
			if at >= len(m.units) {
				return "", false
			}
			start := int(m.units[at] & (1<<31 - 1))
			if start > len(m.strings) {
				return "", false
			}
			value, _, _ := strings.Cut(m.strings[start:], "\x00")
			return value, utf8.ValidString(value)
		}
	}
	return "", false
}

// apply maps clusters of up to five bytes whole, longer ones character by character.
func (m *charsmap) apply(t []mapped) []mapped {
	var changes []change
	modified := false
	put := func(old int, value string) {
		modified = true
		first := len(changes)
		for _, c := range value {
			changes = append(changes, change{char: c})
		}
		count := len(changes) - first
		switch {
		case count > old:
			for i := len(changes) - (count - old); i < len(changes); i++ {
				changes[i].by = 1
			}
		case count < old && len(changes) > 0: // what is gone goes with the character before, which may be of an earlier cluster
			changes[len(changes)-1].by -= old - count
		}
	}
	for rest, state := textOf(t), -1; rest != ""; {
		var cluster string
		cluster, rest, _, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if len(cluster) < maxGraphemeBytes {
			if value, found := m.lookup(cluster); found {
				put(utf8.RuneCountInString(cluster), value)
				continue
			}
		}
		for _, c := range cluster {
			if value, found := m.lookup(string(c)); found {
				put(1, value)
			} else {
				changes = append(changes, change{char: c})
			}
		}
	}
	if !modified {
		return t
	}
	return rewrite(t, changes, 0)
}
