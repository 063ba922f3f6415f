package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/rivo/uniseg"
	"google.golang.org/protobuf/types/known/structpb"

	"ostraca/api"
	"ostraca/ops/dataset"
	"ostraca/retrieval"
	"ostraca/shard/endpoint"
)

// This file turns documents of the public contract into those of files and screens, and back.

// documentJSON is a document as --json prints it.
type documentJSON struct {
	ID      string           `json:"id"`
	Text    string           `json:"text"`
	Fields  map[string]any   `json:"fields,omitempty"`
	Version uint64           `json:"version,string"` // beyond what a float64 holds
	Codes   *api.Codes       `json:"codes,omitempty"`
	Spans   []retrieval.Span `json:"spans,omitempty"`
}

func documentsJSON(all []*api.Document) []documentJSON {
	out := make([]documentJSON, len(all))
	for i, d := range all {
		out[i] = documentJSON{d.Id, d.Text, fieldsOf(d.Fields), d.Version, d.Codes, spansOf(d.Spans)}
	}
	return out
}

func fieldsOf(s *structpb.Struct) map[string]any {
	if len(s.GetFields()) == 0 {
		return nil
	}
	return s.AsMap()
}

func spansOf(all []*api.Span) []retrieval.Span {
	var out []retrieval.Span
	for _, s := range all {
		out = append(out, retrieval.Span{Start: s.Start, End: s.End})
	}
	return out
}

// storedOf is a document as an export writes it.
func storedOf(d *api.Document) (dataset.Stored, error) {
	out := dataset.Stored{Document: dataset.Document{ID: d.Id, Text: d.Text, Fields: fieldsOf(d.Fields)}, Spans: spansOf(d.Spans)}
	if d.Codes == nil {
		return out, nil
	}
	codes, err := endpoint.CodesOf(d.Codes)
	out.Codes = &codes
	return out, err
}

func wireSpans(all []retrieval.Span) []*api.Span {
	out := make([]*api.Span, len(all))
	for i, s := range all {
		out[i] = &api.Span{Start: s.Start, End: s.End}
	}
	return out
}

// wireVectors cuts vectors that lie end to end.
func wireVectors(vectors []float32, width int) []*api.Vector {
	var out []*api.Vector
	for v := range slices.Chunk(vectors, width) {
		out = append(out, &api.Vector{Values: v})
	}
	return out
}

// describeFields shows fields in one line, sorted by name.
func describeFields(fields map[string]any) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		raw, err := json.Marshal(fields[name])
		if err != nil { // of what came from JSON none is expected
			raw = []byte(err.Error())
		}
		out = append(out, printable(name)+"="+printable(string(raw)))
	}
	return strings.Join(out, " ")
}

// listWidth is how much of a document a line of list shows.
const listWidth = 80

// printLine shows a document in one line.
func (a *app) printLine(d *api.Document) {
	text := d.Text
	if text == "" {
		text = "(no text)"
	}
	id := printable(d.Id) // whole, to be copied
	a.printf("%s%s  %s\n", id, strings.Repeat(" ", max(0, questionWidth-uniseg.StringWidth(id))), cut(text, listWidth))
}

// printWhole shows a document with all that it has.
func (a *app) printWhole(d *api.Document) {
	p := a.palette()
	a.printf("%s  %s\n", p.strong.Sprint(printable(d.Id)), p.dim.Sprintf("version %d", d.Version))
	if d.Text != "" {
		a.printf("    %s\n", strings.Join(strings.Fields(printable(d.Text)), " "))
	}
	if fields := describeFields(fieldsOf(d.Fields)); fields != "" {
		a.printf("    %s\n", p.dim.Sprint(fields))
	}
	if c := d.Codes; c != nil {
		a.printf("    %d tokens x %d, codec %s\n", len(c.Scales)/2, c.Width, c.Codec)
	}
}
