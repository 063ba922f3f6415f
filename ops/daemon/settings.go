package daemon

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"ostraca/retrieval"
)

// settings are flags that a file may give as well. What is wrong with them is collected, so that all of it is told at once.
type settings struct {
	flags *pflag.FlagSet
	where map[string]string // setting -> where its value comes from
	wrong []error
	bad   map[string]bool // settings that are wrong already
}

// setting is the value of one flag. It accepts whatever it is given, and notes what it cannot read.
type setting struct {
	pflag.Value
	name string
	all  *settings
}

// needs says what a type of flag takes.
var needs = map[string]string{"bool": "true or false", "int": "a whole number, without a unit", "duration": "a duration with its unit, such as 500ms or 10s"}

func (v setting) Set(text string) error {
	if err := v.Value.Set(text); err != nil {
		v.all.refuse(v.name, "is %q: it must be %s", text, needs[v.Type()])
	}
	return nil
}

// newSettings takes all flags that are there for settings.
func newSettings(flags *pflag.FlagSet) *settings {
	s := &settings{flags: flags, where: map[string]string{}, bad: map[string]bool{}}
	flags.VisitAll(func(f *pflag.Flag) {
		f.Value = setting{f.Value, f.Name, s}
		if f.DefValue == "[]" {
			f.DefValue = ""
		}
	})
	return s
}

// refuse notes what is wrong with a setting; the first of it counts.
func (s *settings) refuse(name, format string, args ...any) {
	if s.bad[name] {
		return
	}
	s.bad[name] = true
	where := s.where[name]
	if where == "" {
		where = "--" + name
	}
	s.wrong = append(s.wrong, fmt.Errorf("%s "+format, append([]any{where}, args...)...))
}

// err returns all that is wrong, or nil.
func (s *settings) err() error {
	if len(s.wrong) == 0 {
		return nil
	}
	return fmt.Errorf("the configuration is wrong: %w:\n%w", retrieval.ErrInvalid, errors.Join(s.wrong...))
}

// read takes over the settings of a file, in YAML, whose keys are the names of the flags. What the command line says stays.
func (s *settings) read(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	var all yaml.Node
	if err := yaml.Unmarshal(b, &all); err != nil {
		return fmt.Errorf("--config: %s is no YAML: %v: %w", path, err, retrieval.ErrInvalid)
	}
	if len(all.Content) == 0 { // nothing but comments
		return nil
	}
	top := all.Content[0]
	if top.Kind != yaml.MappingNode {
		return fmt.Errorf("--config: %s must be keys and values, such as listen: 127.0.0.1:7400: %w", path, retrieval.ErrInvalid)
	}
	for i := 0; i+1 < len(top.Content); i += 2 {
		s.take(path, top.Content[i], top.Content[i+1])
	}
	return nil
}

// take takes over one setting of a file.
func (s *settings) take(path string, key, value *yaml.Node) {
	where := fmt.Sprintf("%s:%d: %s", path, key.Line, key.Value)
	f := s.flags.Lookup(key.Value)
	if f == nil || f.Value.Type() == "" || !s.known(f) {
		s.wrong = append(s.wrong, fmt.Errorf("%s is no setting; there are %s", where, strings.Join(s.names(), ", ")))
		return
	}
	if s.where[f.Name] != "" {
		s.wrong = append(s.wrong, fmt.Errorf("%s is there twice", where))
		return
	}
	if f.Changed {
		return
	}
	s.where[f.Name] = where
	texts, ok := scalars(value)
	list, takesList := f.Value.(setting).Value.(pflag.SliceValue)
	switch {
	case !ok, len(texts) == 0 && !takesList, value.Kind == yaml.SequenceNode && !takesList:
		s.refuse(f.Name, "has a value of the wrong kind: it must be %s", kind(f.Value.Type()))
	case value.Kind == yaml.SequenceNode:
		_ = list.Replace(texts) // of strings: nothing is wrong with one
		f.Changed = true
	default:
		_ = s.flags.Set(f.Name, texts[0]) // a setting notes its errors
	}
}

// scalars returns the texts of a value or a list.
func scalars(n *yaml.Node) ([]string, bool) {
	all := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		all = n.Content
	}
	var out []string
	for _, x := range all {
		if x.Kind != yaml.ScalarNode || x.Tag == "!!null" {
			return nil, false
		}
		out = append(out, x.Value)
	}
	return out, true
}

// kind says what a type of setting takes in a file.
func kind(of string) string {
	switch of {
	case "string":
		return "a text"
	case "stringSlice":
		return "a list of texts, or one with commas"
	}
	return needs[of]
}

func (s *settings) known(f *pflag.Flag) bool {
	v, ok := f.Value.(setting)
	return ok && v.all == s
}

// names returns what a file may set.
func (s *settings) names() []string {
	names := map[string]bool{}
	s.flags.VisitAll(func(f *pflag.Flag) {
		if s.known(f) {
			names[f.Name] = true
		}
	})
	return slices.Sorted(maps.Keys(names))
}

// between checks a number.
func (s *settings) between(name string, value, low, high int) {
	if value < low || value > high {
		s.refuse(name, "is %d: it must be %d to %d", value, low, high)
	}
}

// zeroOrBetween checks a number whose 0 stands for none, or for the default.
func (s *settings) zeroOrBetween(name string, value, low, high int) {
	if value != 0 && (value < low || value > high) {
		s.refuse(name, "is %d: it must be 0, or %d to %d", value, low, high)
	}
}

// oneOf checks a word.
func (s *settings) oneOf(name, value string, of ...string) {
	if !slices.Contains(of, value) {
		s.refuse(name, "is %q: it must be %s or %s", value, strings.Join(of[:len(of)-1], ", "), of[len(of)-1])
	}
}

// address checks an address to listen at, whose host and port may be left open, or one to reach others at.
func (s *settings) address(name, value string, listen bool) {
	host, port, err := net.SplitHostPort(value)
	n, bad := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil || bad != nil || strings.TrimSpace(host) != host:
		s.refuse(name, "is %q: it must be host:port, such as 127.0.0.1:7400", value)
	case !listen && (host == "" || n == 0):
		s.refuse(name, "is %q: it must be a host and a port above 0 that others can reach", value)
	}
}

// duration checks a time.
func (s *settings) duration(name string, value, least time.Duration) {
	if value < least || value > mostDuration {
		s.refuse(name, "is %v: it must be %v to %v", value, least, mostDuration)
	}
}
