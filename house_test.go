// Package ostraca_test holds the rules of the house, as tests over the source: who may import whom, who may read judgements,
// and how long things may grow.
package ostraca_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "ostraca"

// folders lists every folder of the design and the folders of ours that it may import; "x/..." allows all below x. A folder
// that is missing here may not exist. Imports point down only: the list runs from the ground up.
var folders = []struct {
	folder string
	may    []string
}{
	{"retrieval", nil},
	{"retrieval/kernel", nil},
	{"storage", nil},
	{"api", nil},
	{"api/nodeapi", nil},
	{"retrieval/index", []string{"retrieval", "retrieval/kernel"}},
	{"retrieval/encoder", []string{"retrieval", "retrieval/kernel"}},
	{"retrieval/encoder/bge", nil},
	{"retrieval/encoder/encodertest", nil},
	{"retrieval/attention", []string{"retrieval", "retrieval/kernel"}},
	{"retrieval/learn", []string{"retrieval", "retrieval/kernel"}},
	{"gnn", []string{"retrieval", "retrieval/kernel"}},
	{"consensus", []string{"storage"}},
	{"consensus/simnet", []string{"consensus", "storage"}},
	{"shard", []string{"api/nodeapi", "consensus", "storage", "gnn", "retrieval", "retrieval/index", "retrieval/encoder", "retrieval/attention", "retrieval/learn"}},
	{"shard/shardtest", []string{"shard", "consensus", "consensus/simnet", "storage", "retrieval", "retrieval/index", "retrieval/encoder", "retrieval/encoder/encodertest"}},
	{"shard/endpoint", []string{"shard", "api", "retrieval", "retrieval/index", "retrieval/encoder"}},
	{"ops", []string{"shard", "api", "consensus", "storage", "retrieval/..."}},
	{"ops/dataset", []string{"retrieval"}},
	{"ops/eval", []string{"retrieval"}},
	{"ops/daemon", []string{"ops", "shard", "shard/endpoint", "api", "consensus", "storage", "retrieval/..."}},
	{"ops/local", []string{"ops", "api"}},
	{"ops/console", []string{"api", "retrieval"}},
	{"ops/deploy", nil},
	{"ops/python", nil},
	{"cmd/node", []string{"ops/...", "shard/...", "api", "consensus", "storage", "gnn", "retrieval/..."}},
	{"cmd/router", []string{"ops/...", "shard/...", "api", "consensus", "storage", "gnn", "retrieval/..."}},
	{"cmd/ostraca", []string{"ops/...", "shard/...", "api", "consensus", "storage", "gnn", "retrieval/..."}},
}

// only lists packages that few may import, with the reason.
var only = []struct {
	pkg, why string
	may      []string
}{
	{"go.etcd.io/bbolt", "durable bytes are storage's alone", []string{"storage"}},
	{"github.com/hashicorp/raft", "agreement is consensus's alone", []string{"consensus/..."}},
	{"github.com/hashicorp/memberlist", "membership is consensus's alone", []string{"consensus/..."}},
	{"google.golang.org/grpc", "the core knows no wire", []string{"api/...", "shard/...", "ops/...", "cmd/..."}},
	{module + "/retrieval/encoder/bge", "35 MB go into every binary that imports it", []string{"cmd/..."}},
	{module + "/retrieval/encoder/encodertest", "a random encoder is for tests", []string{"shard/shardtest"}},
	{"os", "retrieval and gnn are pure", []string{"storage", "consensus/...", "shard/...", "ops/...", "cmd/...", "api/..."}},
	{"net", "retrieval and gnn are pure", []string{"storage", "consensus/...", "shard/...", "ops/...", "cmd/...", "api/..."}},
	{"syscall", "retrieval and gnn are pure; the loops ask Linux for the state of tiles", []string{"retrieval/kernel", "storage", "consensus/...", "shard/...", "ops/...", "cmd/..."}},
	{"golang.org/x/sys/unix", "retrieval and gnn are pure", []string{"storage", "consensus/...", "shard/...", "ops/...", "cmd/..."}},
	{"log", "retrieval and gnn are pure", []string{"storage", "consensus/...", "shard/...", "ops/...", "cmd/..."}},
	{"time", "retrieval and gnn are pure", []string{"storage", "consensus/...", "shard/...", "ops/...", "cmd/...", "api/..."}},
}

// pure is all that the vocabulary and its algebra, package retrieval, may import of the standard library: no I/O, no clock, no
// goroutine, no chance.
var pure = []string{"bytes", "cmp", "context", "errors", "fmt", "math", "math/bits", "slices", "strconv", "strings", "unicode", "unicode/utf8"}

// nested lists the modules of their own below this one.
var nested = []string{"retrieval/kernel/gen", "testdata/peers"}

// source is one parsed Go file of the module.
type source struct {
	path, folder string
	test         bool
	*ast.File
}

var files = token.NewFileSet()

func sources(t *testing.T) []source {
	t.Helper()
	var out []source
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains(nested, filepath.ToSlash(p)) || p != "." && strings.HasPrefix(d.Name(), ".") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		f, err := parser.ParseFile(files, p, nil, parser.ParseComments)
		p = filepath.ToSlash(p)
		out = append(out, source{p, path.Dir(p), strings.HasSuffix(p, "_test.go"), f})
		return err
	})
	if err != nil || len(out) == 0 {
		t.Fatalf("%d files: %v", len(out), err)
	}
	return out
}

func matches(folder string, patterns []string) bool {
	for _, p := range patterns {
		below, all := strings.CutSuffix(p, "/...")
		if folder == below || all && strings.HasPrefix(folder, below+"/") {
			return true
		}
	}
	return false
}

func (s source) imports() []string {
	var out []string
	for _, i := range s.Imports {
		out = append(out, strings.Trim(i.Path.Value, `"`))
	}
	return out
}

// broken returns what is wrong with a file of a folder that imports the given packages.
func broken(folder string, test bool, imports []string) []string {
	at := slices.IndexFunc(folders, func(f struct {
		folder string
		may    []string
	}) bool {
		return f.folder == folder
	})
	if at < 0 && folder != "." || folder == "." && !test {
		return []string{"the folder " + folder + " is not in the design: add it to the table, with what it may import"}
	}
	var wrong []string
	for _, i := range imports {
		if test { // tests may reach further, to compare and to feed, but not for the big weights
			if i == module+"/retrieval/encoder/bge" && !matches(folder, []string{"cmd/...", "retrieval/encoder/bge"}) {
				wrong = append(wrong, "a test imports "+i)
			}
			continue
		}
		if ours, ok := strings.CutPrefix(i, module+"/"); ok && !matches(ours, folders[at].may) {
			wrong = append(wrong, "imports "+ours)
		}
		if !strings.Contains(i, ".") && !strings.HasPrefix(i, module+"/") && folder == "retrieval" && !slices.Contains(pure, i) {
			wrong = append(wrong, "imports "+i+", which is not pure")
		}
		for _, o := range only {
			if (i == o.pkg || strings.HasPrefix(i, o.pkg+"/")) && !matches(folder, o.may) {
				wrong = append(wrong, "imports "+i+": "+o.why)
			}
		}
	}
	return wrong
}

// TestImports: the arrows between our folders point down only.
func TestImports(t *testing.T) {
	for _, s := range sources(t) {
		for _, w := range broken(s.folder, s.test, s.imports()) {
			t.Errorf("%s: %s", s.path, w)
		}
	}
}

// TestImportRules feeds the rules what they must refuse, and what they must allow.
func TestImportRules(t *testing.T) {
	for _, c := range []struct {
		folder, imports string
		test, ok        bool
	}{
		{"retrieval/index", "ostraca/retrieval", false, true},
		{"retrieval/index", "ostraca/ops/eval", false, false},
		{"retrieval/index", "os", false, false},
		{"retrieval/encoder", "net/http", false, false},
		{"retrieval/kernel", "syscall", false, true},
		{"retrieval/encoder", "syscall", false, false},
		{"retrieval", "sync", false, false},
		{"retrieval", "math/bits", false, true},
		{"retrieval/index", "sync", false, true},
		{"retrieval/index", "go.etcd.io/bbolt", false, false},
		{"storage", "go.etcd.io/bbolt", false, true},
		{"consensus/simnet", "github.com/hashicorp/raft", false, true},
		{"shard", "github.com/hashicorp/raft", false, false},
		{"consensus", "google.golang.org/grpc/codes", false, false},
		{"shard", "ostraca/retrieval/encoder/bge", false, false},
		{"cmd/node", "ostraca/retrieval/encoder/bge", false, true},
		{"retrieval/index", "ostraca/retrieval/encoder/bge", true, false},
		{"retrieval/encoder/bge", "ostraca/ops/eval", true, true},
		{"util", "fmt", false, false},
		{".", "fmt", false, false},
		{"retrieval/util", "fmt", false, false},
	} {
		if wrong := broken(c.folder, c.test, []string{c.imports}); (len(wrong) == 0) != c.ok {
			t.Errorf("%s imports %s (test: %v): %v", c.folder, c.imports, c.test, wrong)
		}
	}
}

// judgementReader is the one place outside package dataset that may read judgements: for the verbs eval and demo, which report them.
const judgementReader = "cmd/ostraca/eval.go"

// TestJudgementsAreReadOnce: nothing that encodes, fits or searches can see a judgement, neither in Go nor in the scripts that make
// weights. Tests may read them.
func TestJudgementsAreReadOnce(t *testing.T) {
	found := false
	for _, s := range sources(t) {
		if s.test || s.folder == "ops/dataset" {
			continue
		}
		ast.Inspect(s.File, func(n ast.Node) bool {
			if x, ok := n.(*ast.SelectorExpr); ok && x.Sel.Name == "ReadJudgements" {
				found = true
				if s.path != judgementReader {
					t.Errorf("%s reads judgements: only %s may", files.Position(n.Pos()), judgementReader)
				}
			}
			return true
		})
	}
	if !found {
		t.Errorf("%s does not read judgements: has this test gone blind?", judgementReader)
	}
	scripts, _ := filepath.Glob("retrieval/encoder/*/*.py")
	if len(scripts) == 0 {
		t.Error("no scripts found: has this test gone blind?")
	}
	for _, p := range scripts {
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "qrels") {
			t.Errorf("%s mentions qrels: what is fitted may not see judgements", p)
		}
	}
}

// Lengths that a newcomer can hold in mind.
const (
	maxFileLines     = 400
	maxFunctionLines = 70
	maxTestLines     = 600
)

// TestHouse: every package says what it is, files and functions stay short.
func TestHouse(t *testing.T) {
	said := map[string]bool{}
	for _, s := range sources(t) {
		if s.Doc != nil && strings.HasPrefix(s.Doc.Text(), "Package "+s.Name.Name) || s.Name.Name == "main" && s.Doc != nil {
			said[s.folder] = true
		}
		if ast.IsGenerated(s.File) {
			continue
		}
		lines, most := files.File(s.Pos()).LineCount(), maxFileLines
		if s.test {
			most = maxTestLines
		}
		if lines > most {
			t.Errorf("%s has %d lines, the limit is %d: split it by concern", s.path, lines, most)
		}
		for _, d := range s.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || s.test {
				continue
			}
			if n := files.Position(f.End()).Line - files.Position(f.Pos()).Line + 1; n > maxFunctionLines {
				t.Errorf("%s: %s has %d lines, the limit is %d", s.path, f.Name.Name, n, maxFunctionLines)
			}
		}
	}
	for _, s := range sources(t) {
		if !said[s.folder] {
			t.Errorf("package %s has no doc comment", s.folder)
			said[s.folder] = true
		}
	}
}
