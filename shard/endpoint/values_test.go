package endpoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"ostraca/api"
	"ostraca/shard"
)

func TestValues(t *testing.T) {
	for text, want := range map[string]int{
		``: 0, `{}`: 1, `[[]`: 2, `{"a": {"b": []}}`: 3, `{"text": "{[\"{["}`: 2, `{"text": "\\", "x": "y"}`: 3, `{"text": "not closed {{{`: 2,
		`{"tokens": [{"values": [1, -2.5e-3, 3]}]}`: 4, `{"ids": ["", "", "a"], "codes": true, "x": null}`: 7,
		`{"fields": {"a": [1, -2.5e-3, 3], "b": 4}, "k": 5}`: 7, `{"f\u0069elds": {"values": [1, 2]}, "k": 5}`: 5, `{"fields": 1, "values": [1, 2]}`: 3,
		`{"documents": [{"fields": {"x": {"fields": 1}}}, {"values": [1, 2]}]}`: 8,
	} {
		if got := values([]byte(text)); got != want {
			t.Errorf("%s: %d values, not %d", text, got, want)
		}
	}
}

// bombs are short requests of very many values.
func bombs() map[string]*api.PutRequest {
	many := &api.PutRequest{}
	for range MaxValues + 1 {
		many.Documents = append(many.Documents, &api.PutDocument{})
	}
	deep := &api.PutRequest{Documents: []*api.PutDocument{{}}}
	for range MaxValues + 1 {
		deep.Documents[0].Tokens = append(deep.Documents[0].Tokens, &api.Vector{})
	}
	return map[string]*api.PutRequest{"documents": many, "vectors": deep}
}

// A request of too many values is refused before it is decoded, by both codecs, and the mark of one is told with its reason.
func TestBombs(t *testing.T) {
	check := func(name string, err error) {
		t.Helper()
		if _, reason := shard.Reason(err); reason != "OVER_LIMIT" || !strings.Contains(err.Error(), "send several smaller ones") {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := counted{encoding.GetCodecV2(grpcproto.Name)}
	handler := func(context.Context, any) (any, error) { return nil, nil }
	for name, q := range bombs() {
		b, err := proto.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		got := &api.PutRequest{}
		if err := c.Unmarshal(mem.BufferSlice{mem.SliceBuffer(b)}, got); err != nil || len(got.Documents) > 0 {
			t.Errorf("%s: %v, %d documents", name, err, len(got.Documents))
		}
		_, err = refuseUnary(t.Context(), got, nil, handler)
		check(name, err)
	}
	text := strings.Repeat("0a", MaxValues) // bytes of a string that would be many fields, were they a message
	q := &api.PutRequest{Documents: []*api.PutDocument{{Text: text}}}
	b, err := proto.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	got := &api.PutRequest{}
	if err := c.Unmarshal(mem.BufferSlice{mem.SliceBuffer(b)}, got); err != nil || !proto.Equal(q, got) {
		t.Errorf("%v", err)
	}
	if _, err := refuseUnary(t.Context(), got, nil, handler); err != nil {
		t.Error(err)
	}
	for cut := range 20 { // what cannot be read is the codec's to refuse
		if err := c.Unmarshal(mem.BufferSlice{mem.SliceBuffer(b[:len(b)-1-cut])}, got); err == nil {
			t.Error("a message that is cut is read")
		}
	}
}

// Bodies are counted while they arrive and until they are answered, and given back; those beyond the limit are refused.
func TestBodies(t *testing.T) {
	b := &bodies{most: 3 * firstBytes}
	ask := func(body io.Reader) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		b.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", body))
		return w
	}
	long := strings.Repeat("x", 2*firstBytes)
	b.next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		if err != nil || string(got) != "short" {
			t.Errorf("%q, %v", got, err)
		}
		if a := ask(strings.NewReader(long)); a.Code != http.StatusTooManyRequests || !strings.Contains(a.Body.String(), "try again") {
			t.Errorf("%d %s", a.Code, a.Body)
		}
		w.WriteHeader(http.StatusNoContent)
	})
	if a := ask(strings.NewReader("short")); a.Code != http.StatusNoContent || b.held.Load() != 0 {
		t.Errorf("%d %s, %d bytes held", a.Code, a.Body, b.held.Load())
	}
	if a := ask(io.MultiReader(strings.NewReader(long[1:]), broken{})); a.Code != http.StatusBadRequest || b.held.Load() != 0 {
		t.Errorf("%d %s, %d bytes held", a.Code, a.Body, b.held.Load())
	}
	if a := ask(strings.NewReader(`["` + strings.Repeat(`",0,"`, 100) + `"]`)); a.Code != http.StatusTooManyRequests { // few bytes that decode to many
		t.Errorf("%d %s", a.Code, a.Body)
	}
	b.most, b.next = MaxBodiesBytes, nil
	if a := ask(strings.NewReader(`{"documents":[` + strings.Repeat(`{},`, MaxValues) + `{}]}`)); a.Code != http.StatusBadRequest || !strings.Contains(a.Body.String(), `"OVER_LIMIT"`) {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	whole := strings.Repeat("0123456789", 10_000)
	got, err := read(strings.NewReader(whole), func(int64) error { return nil })
	if err != nil || string(got) != whole {
		t.Errorf("%d bytes of %d, %v", len(got), len(whole), err)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("broken") }

// batch is an ordinary put.
func batch() *api.PutRequest {
	q := &api.PutRequest{Collection: "papers"}
	for i := range 256 {
		d := &api.PutDocument{Id: fmt.Sprint(i), Text: strings.Repeat("Potsherds were ballots. ", 20)}
		for range 8 {
			d.Tokens = append(d.Tokens, &api.Vector{Values: make([]float32, 384)})
		}
		q.Documents = append(q.Documents, d)
	}
	return q
}

func BenchmarkUnmarshal(b *testing.B) {
	plain := encoding.GetCodecV2(grpcproto.Name)
	m, err := proto.Marshal(batch())
	if err != nil {
		b.Fatal(err)
	}
	for name, c := range map[string]encoding.CodecV2{"plain": plain, "counted": counted{plain}} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(m)))
			for b.Loop() {
				if err := c.Unmarshal(mem.BufferSlice{mem.SliceBuffer(m)}, &api.PutRequest{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkJSON(b *testing.B) {
	text, err := protojson.Marshal(batch())
	if err != nil {
		b.Fatal(err)
	}
	b.Run("values", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			values(text)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if err := (codec{}).Unmarshal(bytes.Clone(text), &api.PutRequest{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
