package shard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"ostraca/storage"
)

// Most filters ask for a few fields by name, so what they say of a document depends on the values of these alone. Such fields are kept as columns, the
// values that differ numbered, and the filter is evaluated once over each combination of values. So it means the same as over rows: CEL is evaluated, not
// imitated.

const (
	maxColumns      = 4       // fields of a filter, beyond which it reads rows
	maxCombinations = 1 << 16 // of values whose outcome one evaluation remembers
	valueBytes      = 128     // what a value takes in memory besides several times its text: measured
)

// column is the values of one field. Only whoever has the turn looks at it.
type column struct {
	codes  []uint32 // by number: 0 is not known yet, noField none, else firstCode and the place in values
	values []any    // as filters compare them
	places map[string]uint32
	bytes  int  // of values and places
	large  bool // too large to be kept: rows are read instead
}

func (c *column) size() int { return 4*cap(c.codes) + c.bytes }

const (
	noField   = 1
	firstCode = 2
)

func (c *column) code(number uint32) uint32 {
	if int(number) < len(c.codes) {
		return c.codes[number]
	}
	return 0
}

// set gives a document's value as JSON, nil where there is none.
func (c *column) set(number uint32, raw []byte) error {
	if raw == nil {
		c.tell(number, noField)
		return nil
	}
	place, ok := c.places[string(raw)]
	if !ok {
		value, err := parseValue(raw)
		if err != nil {
			return err
		}
		place = uint32(len(c.values))
		c.values = append(c.values, value)
		c.name(string(raw), place)
	}
	c.tell(number, firstCode+place)
	return nil
}

// tell sets a document's code.
func (c *column) tell(number, code uint32) {
	if short := int(number) + 1 - len(c.codes); short > 0 {
		c.codes = append(c.codes, make([]uint32, short)...)
	}
	c.codes[number] = code
}

// name sets the place of a value.
func (c *column) name(raw string, place uint32) {
	if c.places == nil {
		c.places = map[string]uint32{}
	}
	c.places[raw] = place
	c.bytes += valueBytes + 8*len(raw)
}

// columns returns those of the filter's fields with the values of all documents that are to be judged, and what gives their turns back; none where one is
// too large to be kept.
func (g *judging) columns() (next []*column, back func(), err error) {
	names := make([]kept, len(g.filter.fields))
	grows := make([]*growing[column], len(names))
	next = make([]*column, len(names))
	var turns []func()
	back = func() {
		for i := range turns { // what was read is kept, also if it is not all, but for what was forgotten since the view
			if g.applied < g.verdicts.forgotten.Load() {
				next[i].keep(g.verdicts.living(names[i]))
			}
			g.verdicts.columns.grown(names[i], grows[i], next[i], next[i].size())
			turns[i]()
		}
	}
	for i, field := range g.filter.fields { // in order, so that no two wait for each other
		names[i] = kept{g.collections[g.collection].Numbering(), field}
		grows[i] = g.verdicts.columns.begin(names[i])
		turn, err := wait(g.ctx, grows[i].turn)
		if err != nil {
			back()
			return nil, nil, err
		}
		turns = append(turns, turn)
		next[i] = grows[i].now.Load()
	}
	whole, err := g.read(next)
	if err != nil || !whole {
		back()
		return nil, func() {}, err
	}
	return next, back, nil
}

// read reads into columns what they lack, and tells whether it could.
func (g *judging) read(columns []*column) (whole bool, err error) {
	for number, id := range g.documents() {
		if err := g.ctx.Err(); err != nil {
			return false, err
		}
		lacks := false
		for _, c := range columns {
			if c.large {
				return false, nil
			}
			lacks = lacks || c.code(number) == 0
		}
		if !lacks {
			continue
		}
		raw, err := g.rawFields(g.collection, id)
		if err != nil {
			return false, err
		}
		for i, c := range columns {
			value, err := fieldValue(raw, g.filter.quoted[i])
			if err == nil {
				err = c.set(number, value)
			}
			if err != nil {
				return false, fmt.Errorf("fields of document %q: %w", id, err)
			}
			if c.size() > g.verdicts.large {
				*c = column{large: true}
			}
		}
		if err := g.spend(uint64(len(raw))); err != nil {
			return false, err
		}
	}
	return true, nil
}

// byColumns evaluates the filter once over each combination of values.
func (g *judging) byColumns(columns []*column, next *verdict) error {
	outcomes := map[[maxColumns]uint32]bool{}
	for number, id := range g.documents() {
		if err := g.ctx.Err(); err != nil {
			return err
		}
		var codes [maxColumns]uint32
		for i, c := range columns {
			codes[i] = c.code(number)
		}
		passes, ok := outcomes[codes]
		spent := uint64(1)
		if !ok {
			fields := make(map[string]any, len(columns))
			for i, c := range columns {
				if codes[i] >= firstCode {
					fields[g.filter.fields[i]] = c.values[codes[i]-firstCode]
				}
			}
			var err error
			if passes, spent, err = g.filter.eval(&filtered{id: id, fields: fields}); err != nil {
				return err
			}
			if len(outcomes) < maxCombinations {
				outcomes[codes] = passes
			}
		}
		next.add(number, passes)
		if err := g.spend(spent); err != nil {
			return err
		}
	}
	return nil
}

// namedFields returns the fields that an expression asks for by name, in order, if it asks for nothing else.
func namedFields(e celast.Expr) ([]string, bool) {
	var names []string
	whole, uses := false, 0
	isFields := func(e celast.Expr) bool { return e.Kind() == celast.IdentKind && e.AsIdent() == "fields" }
	name := func(of, by celast.Expr) {
		if !isFields(of) || by.Kind() != celast.LiteralKind {
			return
		}
		if s, ok := by.AsLiteral().(types.String); ok {
			names, uses = append(names, string(s)), uses-1
		}
	}
	celast.PreOrderVisit(e, celast.NewExprVisitor(func(e celast.Expr) {
		switch e.Kind() {
		case celast.IdentKind:
			switch e.AsIdent() {
			case "fields":
				uses++
			case "id", "parent", ".id", ".parent", ".fields":
				whole = true
			}
		case celast.SelectKind:
			if s := e.AsSelect(); isFields(s.Operand()) {
				names, uses = append(names, s.FieldName()), uses-1
			}
		case celast.CallKind:
			switch c := e.AsCall(); {
			case c.FunctionName() == operators.Index && len(c.Args()) == 2:
				name(c.Args()[0], c.Args()[1])
			case c.FunctionName() == operators.In && len(c.Args()) == 2:
				name(c.Args()[1], c.Args()[0])
			}
		}
	}))
	slices.Sort(names)
	names = slices.Compact(names)
	return names, !whole && uses == 0 && len(names) <= maxColumns
}

// fieldValue returns the value of a field of an object in canonical form, nil where there is none. The name is as JSON has it there.
func fieldValue(object, quoted []byte) ([]byte, error) {
	for at := 1; at < len(object)-1; at++ { // behind a brace or a comma
		behind := valueEnd(object, at)
		found := bytes.Equal(object[at:behind], quoted)
		if behind >= len(object)-1 || object[behind] != ':' {
			return nil, fmt.Errorf("a name without a value: %w", storage.ErrCorrupt)
		}
		at = valueEnd(object, behind+1)
		if found {
			return object[behind+1 : at], nil
		}
	}
	return nil, nil
}

// valueEnd returns where the JSON value that begins at a place ends, if it is one.
func valueEnd(b []byte, at int) int {
	for depth := 0; at < len(b); at++ {
		switch b[at] {
		case '"':
			for at++; at < len(b) && b[at] != '"'; at++ {
				if b[at] == '\\' {
					at++
				}
			}
			if depth == 0 {
				return min(at+1, len(b))
			}
		case '[', '{':
			depth++
		case ']', '}':
			if depth--; depth == 0 {
				return at + 1
			}
			if depth < 0 {
				return at
			}
		case ',', ':':
			if depth == 0 {
				return at
			}
		}
	}
	return len(b)
}

// parseValue reads a JSON value, with numbers as filters compare them.
func parseValue(raw []byte) (any, error) {
	var value any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&value); err != nil || d.InputOffset() != int64(len(raw)) {
		return nil, fmt.Errorf("%.50q is no value (%v): %w", raw, err, storage.ErrCorrupt)
	}
	return adapt(value), nil
}
