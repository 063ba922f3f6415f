package api_test

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"ostraca/api"
	"ostraca/api/nodeapi"
)

// linked finds what a .proto imports among what is linked into this binary.
func linked(path string) (protocompile.SearchResult, error) {
	f, err := protoregistry.GlobalFiles.FindFileByPath(path)
	return protocompile.SearchResult{Desc: f}, err
}

// compile compiles a file below folder, as it stands.
func compile(t *testing.T, folder, name string) *descriptorpb.FileDescriptorProto {
	t.Helper()
	source := protocompile.ResolverFunc(func(path string) (protocompile.SearchResult, error) {
		if path != name {
			return linked(path)
		}
		b, err := os.ReadFile(folder + "/" + path)
		return protocompile.SearchResult{Source: strings.NewReader(string(b))}, err
	})
	c := protocompile.Compiler{Resolver: protocompile.WithStandardImports(source)}
	files, err := c.Compile(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return plain(t, protodesc.ToFileDescriptorProto(files[0]))
}

// plain returns a descriptor whose options are of the types that are linked, without JSON names: only some tools write down those that follow
// from the names of fields.
func plain(t *testing.T, f *descriptorpb.FileDescriptorProto) *descriptorpb.FileDescriptorProto {
	t.Helper()
	b, err := proto.Marshal(f)
	out := &descriptorpb.FileDescriptorProto{}
	if err == nil {
		err = proto.Unmarshal(b, out)
	}
	if err != nil {
		t.Fatal(err)
	}
	out.SourceCodeInfo = nil
	var strip func(messages []*descriptorpb.DescriptorProto)
	strip = func(messages []*descriptorpb.DescriptorProto) {
		for _, m := range messages {
			for _, f := range m.Field {
				f.JsonName = nil
			}
			strip(m.NestedType)
		}
	}
	strip(out.MessageType)
	return out
}

// TestGenerated: what is generated is of the .proto files as they stand.
func TestGenerated(t *testing.T) {
	for _, c := range []struct {
		folder string
		is     protoreflect.FileDescriptor
	}{{".", api.File_ostraca_proto}, {"nodeapi", nodeapi.File_node_proto}} {
		t.Run(c.is.Path(), func(t *testing.T) {
			want, got := compile(t, c.folder, c.is.Path()), plain(t, protodesc.ToFileDescriptorProto(c.is))
			if !proto.Equal(want, got) {
				t.Errorf("run `make generate`: first difference at\n%s", difference(protojson.Format(want), protojson.Format(got)))
			}
		})
	}
}

// difference returns the first lines in which two texts differ.
func difference(a, b string) string {
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(as), len(bs)) {
		if x, y := strings.Join(strings.Fields(as[i]), " "), strings.Join(strings.Fields(bs[i]), " "); x != y {
			return x + "\n" + y
		}
	}
	return "the end of one"
}

// method returns the verb and path of a binding.
func method(r *annotations.HttpRule) string {
	for verb, path := range map[string]string{"get": r.GetGet(), "post": r.GetPost(), "put": r.GetPut(), "delete": r.GetDelete(), "patch": r.GetPatch()} {
		if path != "" {
			return verb + " " + path
		}
	}
	return ""
}

// TestOpenAPI: the HTTP paths that are described are those of the annotations, no more and no less.
func TestOpenAPI(t *testing.T) {
	var described struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal(api.OpenAPI, &described); err != nil {
		t.Fatal(err)
	}
	is, want := map[string]bool{}, map[string]bool{}
	for path, verbs := range described.Paths {
		for verb := range verbs {
			is[verb+" "+path] = true
		}
	}
	for _, s := range compile(t, ".", api.File_ostraca_proto.Path()).Service {
		for _, m := range s.Method {
			rule, ok := proto.GetExtension(m.GetOptions(), annotations.E_Http).(*annotations.HttpRule)
			if !ok || method(rule) == "" {
				t.Errorf("%s has no HTTP path", m.GetName())
				continue
			}
			for _, r := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
				want[method(r)] = true
			}
		}
	}
	if !maps.Equal(is, want) {
		t.Errorf("run `make generate`: described are\n%q, annotated\n%q", slices.Sorted(maps.Keys(is)), slices.Sorted(maps.Keys(want)))
	}
}
