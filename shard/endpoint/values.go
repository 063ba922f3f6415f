package endpoint

import (
	"bytes"
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"ostraca/retrieval"
	"ostraca/shard"
)

// A request of few bytes can have millions of empty values, each some hundred bytes once it is decoded. So values are counted before.

func tooManyValues() error {
	return fmt.Errorf("the request has more than %d objects, lists, strings and values in fields, the limit: send several smaller ones: %w", MaxValues, retrieval.ErrTooLarge)
}

// values counts the values of a JSON text, whether or not it is well formed: objects, lists, strings, true, false and null, and numbers in
// fields. Other numbers are components of vectors, which are small. It stops beyond MaxValues.
func values(text []byte) (n int) {
	var name []byte    // the last string
	depth, all := 0, 0 // of objects and lists; from which depth on everything counts, 0 outside of fields
	number := func(c byte) bool { return c >= '0' && c <= '9' || c == '-' || c == '+' || c == '.' || c|' ' == 'e' }
	for i := 0; i < len(text) && n <= MaxValues; i++ {
		switch c := text[i]; c {
		case '"':
			start := i + 1
			for i = start; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
			name = text[start:min(i, len(text))]
			n++
		case ':':
			n--                                                                             // the string was a name
			if all == 0 && (string(name) == "fields" || bytes.IndexByte(name, '\\') >= 0) { // escaped, it may be "fields" too
				all = depth + 1
			}
		case '{', '[':
			depth++
			n++
		case '}', ']', ',':
			if c != ',' {
				depth--
			}
			if depth < all {
				all = 0
			}
		case 't', 'f', 'n':
			n++
		default:
			if all > 0 && number(c) {
				for n++; i+1 < len(text) && number(text[i+1]); i++ {
				}
			}
		}
	}
	return n
}

// counted is gRPC's own codec, for a server: a message of too many values is not decoded. It is left empty but for a mark, by which
// refuseUnary and refuseStream know it: an error of a codec would be told as a fault of the server.
type counted struct{ encoding.CodecV2 }

// mark is an unknown field of the highest number that there is.
var mark = protowire.AppendVarint(protowire.AppendTag(nil, protowire.MaxValidNumber, protowire.VarintType), MaxValues)

func (c counted) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(proto.Message)
	if !ok || data.Len() <= MaxValues { // too short for so many
		return c.CodecV2.Unmarshal(data, v)
	}
	whole := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer whole.Free()
	n := 0
	count(whole.ReadOnlyData(), m.ProtoReflect().Descriptor(), protowire.DefaultRecursionLimit, &n)
	if n > MaxValues {
		proto.Reset(m)
		m.ProtoReflect().SetUnknown(mark)
		return nil
	}
	return c.CodecV2.Unmarshal(mem.BufferSlice{whole}, v)
}

// count adds the messages, strings and bytes of an encoded message to n, until there are too many, and stops where it cannot be read.
func count(b []byte, of protoreflect.MessageDescriptor, depth int, n *int) {
	for len(b) > 0 && depth > 0 && *n <= MaxValues {
		number, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return
		}
		b = b[size:]
		if kind != protowire.BytesType {
			if size = protowire.ConsumeFieldValue(number, kind, b); size < 0 {
				return
			}
			b = b[size:]
			continue
		}
		value, size := protowire.ConsumeBytes(b)
		if size < 0 {
			return
		}
		b = b[size:]
		*n++
		if f := of.Fields().ByNumber(number); f != nil && f.Message() != nil {
			count(value, f.Message(), depth-1, n)
		}
	}
}

func refused(request any) bool {
	m, ok := request.(proto.Message)
	return ok && bytes.Equal(m.ProtoReflect().GetUnknown(), mark)
}

func refuseUnary(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if refused(request) {
		return nil, shard.Public(tooManyValues())
	}
	return handler(ctx, request)
}

func refuseStream(service any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return handler(service, refusing{stream})
}

type refusing struct{ grpc.ServerStream }

func (s refusing) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if err == nil && refused(m) {
		err = shard.Public(tooManyValues())
	}
	return err
}
