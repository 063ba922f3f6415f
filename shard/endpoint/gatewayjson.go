package endpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/rpc/status"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

const ndjson = "application/x-ndjson"

// codec is the JSON of the gateway: names as in api/ostraca.proto, lists and scalars also where they are empty, one line a message.
type codec struct{}

var (
	toLine   = protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}
	fromBody = protojson.UnmarshalOptions{}
)

// Marshal is given messages; of a stream they are wrapped by name, and so is its error, which alone keeps its name.
func (codec) Marshal(v any) ([]byte, error) {
	switch v := v.(type) {
	case map[string]any:
		return codec{}.Marshal(v["result"])
	case map[string]proto.Message:
		if s, ok := v["error"].(*status.Status); ok {
			return json.Marshal(map[string]errorJSON{"error": toJSON(grpcstatus.ErrorProto(s))})
		}
	case proto.Message:
		b, err := toLine.Marshal(v)
		if err != nil {
			return nil, err
		}
		var line bytes.Buffer // protojson varies its spaces
		if err := json.Compact(&line, b); err != nil {
			return nil, err
		}
		return line.Bytes(), nil
	}
	return nil, fmt.Errorf("no JSON of a %T", v)
}

// Unmarshal reads one JSON object that fills the whole body; no body is an empty object.
func (codec) Unmarshal(b []byte, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("no JSON of a %T", v)
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return nil
	}
	if err := fromBody.Unmarshal(b, m); err != nil {
		why := strings.ReplaceAll(err.Error(), "\u00a0", " ") // protojson varies these too
		return errors.New("body: " + strings.TrimPrefix(why, "proto: "))
	}
	return nil
}

func (c codec) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		b, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		return c.Unmarshal(b, v)
	})
}

func (c codec) NewEncoder(w io.Writer) runtime.Encoder {
	return runtime.EncoderFunc(func(v any) error {
		b, err := c.Marshal(v)
		if err == nil {
			_, err = w.Write(b)
		}
		return err
	})
}

func (codec) ContentType(any) string       { return "application/json" }
func (codec) StreamContentType(any) string { return ndjson }
func (codec) Delimiter() []byte            { return []byte("\n") }
