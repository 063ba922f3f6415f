package endpoint

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"ostraca/api"
	"ostraca/retrieval"
	"ostraca/shard"
)

// Handler returns the JSON gateway: it passes requests on to a service at the other end of a connection, each with its header X-Request-Id.
// Beside the paths of the service it has GET /openapi.json; to any other it answers with a JSON error. What admit returns, unless it is nil, stands
// before all that follows the arrival of a request's body.
func Handler(conn grpc.ClientConnInterface, admit func(http.Handler) http.Handler) (http.Handler, error) {
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, codec{}),
		runtime.WithIncomingHeaderMatcher(func(header string) (string, bool) {
			return api.RequestIDKey, strings.EqualFold(header, api.RequestIDKey)
		}),
		runtime.WithOutgoingHeaderMatcher(func(string) (string, bool) { return "", false }),
		runtime.WithOutgoingTrailerMatcher(func(string) (string, bool) { return "", false }),
		runtime.WithErrorHandler(func(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, err error) {
			WriteError(w, err)
		}),
		runtime.WithRoutingErrorHandler(routingError),
		runtime.WithForwardResponseOption(streamType),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
	)
	if err := api.RegisterMemoryHandlerClient(context.Background(), mux, client{api.NewMemoryClient(large{conn})}); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	if err := mux.HandlePath(http.MethodGet, "/openapi.json", func(w http.ResponseWriter, _ *http.Request, _ map[string]string) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(api.OpenAPI) // who does not take it is gone
	}); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	b := &bodies{next: mux, most: MaxBodiesBytes}
	if admit != nil {
		b.next = admit(mux)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := checkQuery(r); err != nil {
			WriteError(w, err)
			return
		}
		b.ServeHTTP(w, r)
	}), nil
}

// large is a connection that carries what the service takes and gives, whatever it was made with. A body of JSON can be shorter than its message.
type large struct{ grpc.ClientConnInterface }

func (c large) Invoke(ctx context.Context, method string, q, a any, o ...grpc.CallOption) error {
	if n := proto.Size(q.(proto.Message)); n > api.MaxMessageBytes {
		return shard.Public(fmt.Errorf("the request has %d bytes as a message, the limit is %d: send several smaller ones: %w", n, api.MaxMessageBytes, retrieval.ErrTooLarge))
	}
	return c.ClientConnInterface.Invoke(ctx, method, q, a, append([]grpc.CallOption{grpc.MaxCallRecvMsgSize(api.MaxMessageBytes)}, o...)...)
}

func (c large) NewStream(ctx context.Context, d *grpc.StreamDesc, method string, o ...grpc.CallOption) (grpc.ClientStream, error) {
	return c.ClientConnInterface.NewStream(ctx, d, method, append([]grpc.CallOption{grpc.MaxCallRecvMsgSize(api.MaxMessageBytes)}, o...)...)
}

// client waits for the first document of an export, so that what is wrong from the start has its status.
type client struct{ api.MemoryClient }

func (c client) Export(ctx context.Context, q *api.ExportRequest, o ...grpc.CallOption) (grpc.ServerStreamingClient[api.Document], error) {
	stream, err := c.MemoryClient.Export(ctx, q, o...)
	if err != nil {
		return nil, err
	}
	first, err := stream.Recv()
	if err != nil && err != io.EOF {
		return nil, err
	}
	return &begun{stream, first, err, false}, nil
}

// begun is an export whose first document has come.
type begun struct {
	grpc.ServerStreamingClient[api.Document]
	first *api.Document
	err   error
	taken bool
}

func (b *begun) Recv() (*api.Document, error) {
	if !b.taken {
		b.taken = true
		return b.first, b.err
	}
	return b.ServerStreamingClient.Recv()
}

// streamType is called with no message before a stream.
func streamType(_ context.Context, w http.ResponseWriter, m proto.Message) error {
	if m == nil {
		w.Header().Set("Content-Type", ndjson)
	}
	return nil
}

// queries are the requests that have parameters behind a '?': a page of documents, and the drop of a collection.
var queries = map[string]protoreflect.FieldDescriptors{
	http.MethodGet:    (*api.ListRequest)(nil).ProtoReflect().Descriptor().Fields(),
	http.MethodDelete: (*api.DropCollectionRequest)(nil).ProtoReflect().Descriptor().Fields(),
}

// checkQuery refuses parameters behind a '?' that nothing would look at.
func checkQuery(r *http.Request) error {
	known := queries[r.Method]
	for name := range r.URL.Query() {
		if known == nil || known.ByName(protoreflect.Name(name)) == nil {
			return fmt.Errorf("unknown parameter %.50q after the path: members of a request stand in its body: %w", name, retrieval.ErrInvalid)
		}
	}
	return nil
}

// errorJSON is what is told of an error.
type errorJSON struct {
	Code    string `json:"code"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

func toJSON(err error) errorJSON {
	c, reason := shard.Reason(err)
	text := err.Error()
	if s, ok := status.FromError(err); ok {
		text = s.Message()
	}
	if c == codes.InvalidArgument && reason == code.Code(c).String() { // the gateway's own word on a body or a parameter
		_, reason = shard.Reason(retrieval.ErrInvalid)
	}
	return errorJSON{code.Code(c).String(), reason, toText(text)}
}

// WriteError answers an HTTP request with an error, as the gateway does.
func WriteError(w http.ResponseWriter, err error) {
	c, _ := shard.Reason(err)
	writeError(w, runtime.HTTPStatusFromCode(c), err)
}

func writeError(w http.ResponseWriter, httpStatus int, err error) {
	w.Header().Del("Trailer")
	w.Header().Del("Transfer-Encoding")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(httpStatus)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.Encode(toJSON(err)) // who does not take it is gone
}

func routingError(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, httpStatus int) {
	path := toText(r.URL.Path)
	switch httpStatus {
	case http.StatusMethodNotAllowed:
		writeError(w, httpStatus, status.Errorf(codes.Unimplemented, "%s is not a method of %.200q: see /openapi.json", r.Method, path))
	case http.StatusNotFound:
		WriteError(w, fmt.Errorf("there is no path %.200q: see /openapi.json: %w", path, retrieval.ErrNotFound))
	default:
		WriteError(w, fmt.Errorf("the path %.200q cannot be read: %w", path, retrieval.ErrInvalid))
	}
}
