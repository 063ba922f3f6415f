package shard

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/interpreter"
	lru "github.com/hashicorp/golang-lru"

	"ostraca/retrieval"
	"ostraca/storage"
)

// A filter is an expression in CEL (cel.dev) over a document's id, parent and fields: docs/endpoint.md. It lets a document through when
// it is true; where it cannot be computed, as over a field that is not there, it is not.

// keptFilters is how many compiled filters a process keeps: the same few come again and again.
const keptFilters = 256

// filter is a compiled expression, safe for concurrent use.
type filter struct {
	program    cel.Program
	expression string
	narrow     bool     // it asks for nothing but these fields
	fields     []string // in order
	quoted     [][]byte // the same as JSON
}

// filterCompiler makes filters, and keeps those that it made: *filter by expression.
type filterCompiler struct {
	env  *cel.Env
	kept *lru.Cache
}

var filters = sync.OnceValues(func() (c filterCompiler, err error) {
	if c.kept, err = lru.New(keptFilters); err != nil {
		return c, err
	}
	c.env, err = cel.NewEnv(cel.Variable("id", cel.StringType), cel.Variable("parent", cel.StringType),
		cel.Variable("fields", cel.MapType(cel.StringType, cel.DynType)), cel.CrossTypeNumericComparisons(true), cel.ASTValidators(cel.ValidateRegexLiterals()))
	return c, err
})

// CheckFilter reports why an expression is no filter, in CEL's words, or nil; the empty one lets everything through. Errors wrap
// retrieval.ErrInvalid or retrieval.ErrTooLarge.
func CheckFilter(expression string) error {
	_, err := compileFilter(expression)
	return err
}

// compileFilter returns the filter of an expression, nil of the empty one.
func compileFilter(expression string) (*filter, error) {
	if expression == "" {
		return nil, nil
	}
	if len(expression) > MaxFilterBytes {
		return nil, fmt.Errorf("filter has %d bytes, the limit is %d: %w", len(expression), MaxFilterBytes, retrieval.ErrTooLarge)
	}
	if !utf8.ValidString(expression) {
		return nil, fmt.Errorf("filter is not UTF-8: %w", retrieval.ErrInvalid)
	}
	c, err := filters()
	if err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	if f, ok := c.kept.Get(expression); ok {
		return f.(*filter), nil
	}
	ast, issues := c.env.Compile(expression)
	if issues.Err() != nil {
		var told []string
		for _, e := range issues.Errors() {
			told = append(told, fmt.Sprintf("line %d, column %d: %s", e.Location.Line(), e.Location.Column()+1, e.Message))
		}
		return nil, fmt.Errorf("filter: %s: %w", strings.Join(told[:min(len(told), 3)], "; "), retrieval.ErrInvalid)
	}
	if out := ast.OutputType(); !out.IsExactType(cel.BoolType) && !out.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("filter gives a value of type %s, it must be true or false: %w", out, retrieval.ErrInvalid)
	}
	program, err := c.env.Program(ast, cel.CostLimit(MaxFilterCost))
	if err != nil {
		return nil, fmt.Errorf("filter: %v: %w", err, retrieval.ErrInvalid)
	}
	f := &filter{program: program, expression: expression}
	f.fields, f.narrow = namedFields(ast.NativeRep().Expr())
	for _, name := range f.fields {
		quoted, err := marshal(name)
		if err != nil {
			return nil, err
		}
		f.quoted = append(f.quoted, quoted)
	}
	c.kept.Add(expression, f)
	return f, nil
}

// lets tells whether a document passes, and how much work it was to tell: steps of CEL and bytes of fields. Fields are read where the
// filter asks for them.
func (f *filter) lets(id string, fields func() ([]byte, error)) (bool, uint64, error) {
	return f.eval(&filtered{id: id, read: fields})
}

func (f *filter) eval(d *filtered) (bool, uint64, error) {
	out, details, err := f.program.Eval(d)
	work := uint64(d.bytes)
	if details != nil && details.ActualCost() != nil {
		work += *details.ActualCost()
	}
	if d.err != nil {
		return false, work, d.err
	}
	if cancelled := (interpreter.EvalCancelledError{}); errors.As(err, &cancelled) {
		return false, work, fmt.Errorf("filter takes over %d steps on document %q, the limit: make it simpler: %w", MaxFilterCost, d.id, retrieval.ErrTooLarge)
	}
	return err == nil && out == types.True, work, nil
}

// filtered is a document's variables.
type filtered struct {
	id     string
	read   func() ([]byte, error)
	fields map[string]any
	bytes  int
	err    error
}

// ResolveName returns a variable.
func (d *filtered) ResolveName(name string) (any, bool) {
	switch name {
	case "id":
		return d.id, true
	case "parent":
		return Parent(d.id), true
	case "fields":
		if d.fields == nil {
			d.fields = map[string]any{}
			var raw []byte
			if raw, d.err = d.read(); d.err == nil {
				d.bytes = len(raw)
				d.err = parseFields(raw, d.fields)
			}
		}
		return d.fields, true
	}
	return nil, false
}

// Parent returns nil: there are no variables around a document's.
func (d *filtered) Parent() cel.Activation { return nil }

// parseFields reads a document's fields into an object, with numbers as filters compare them.
func parseFields(raw []byte, object map[string]any) error {
	if len(raw) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&object); err != nil {
		return fmt.Errorf("fields: %v: %w", err, storage.ErrCorrupt)
	}
	for name, value := range object {
		object[name] = adapt(value)
	}
	return nil
}

// adapt replaces the numbers of a JSON value: by int64 where they are written as an integer that fits, else by the nearest float64.
func adapt(value any) any {
	switch x := value.(type) {
	case json.Number:
		if n, err := strconv.ParseInt(string(x), 10, 64); err == nil {
			return n
		}
		n, _ := strconv.ParseFloat(string(x), 64) // beyond its range infinity, which compares rightly
		return n
	case []any:
		for i := range x {
			x[i] = adapt(x[i])
		}
	case map[string]any:
		for name := range x {
			x[name] = adapt(x[name])
		}
	}
	return value
}
