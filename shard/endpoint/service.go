// Package endpoint is what a router answers to the world: the methods of api/ostraca.proto over a [shard.Router], and the JSON gateway in
// front of them. docs/endpoint.md tells of them from outside.
package endpoint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto" // registers its codec
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"ostraca/api"
	"ostraca/retrieval"
	"ostraca/shard"
)

// Options of a service.
type Options struct {
	Router  *shard.Router // stays the caller's to close
	Encoder shard.Encoder // the router's own; nil: documents and questions come as vectors or codes
	Name    string        // of the router, told in its status
	Logger  *slog.Logger
}

// Service answers for a router. Every error that it returns is one of [shard.Public].
type Service struct {
	api.UnimplementedMemoryServer
	router  *shard.Router
	encoder shard.Encoder
	name    string
	logger  *slog.Logger
}

// New returns a service over a router.
func New(o Options) *Service {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{router: o.Router, encoder: o.Encoder, name: o.Name, logger: o.Logger}
}

// ServerOptions are what a gRPC server that carries the service needs: its limits, and that a panic ends one request, not the process. Put
// interceptors of others before them.
func (s *Service) ServerOptions() []grpc.ServerOption {
	recovered := recovery.WithRecoveryHandlerContext(s.recovered)
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(api.MaxMessageBytes), grpc.MaxSendMsgSize(api.MaxMessageBytes),
		grpc.StaticStreamWindowSize(shard.WindowBytes), grpc.StaticConnWindowSize(shard.WindowBytes), grpc.NumStreamWorkers(shard.StreamWorkers),
		grpc.ForceServerCodecV2(counted{encoding.GetCodecV2(grpcproto.Name)}),
		grpc.ChainUnaryInterceptor(refuseUnary, recovery.UnaryServerInterceptor(recovered)),
		grpc.ChainStreamInterceptor(refuseStream, recovery.StreamServerInterceptor(recovered)),
	}
}

var errPanic = errors.New("internal error")

// recovered tells of a panic: the log all, the caller which entry of the log to look for.
func (s *Service) recovered(ctx context.Context, p any) error {
	id := requestOf(ctx)
	s.logger.ErrorContext(ctx, "panic in a request", "request_id", id, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	return shard.Public(fmt.Errorf("%w: the router's log tells more of request %s", errPanic, id))
}

// requestOf returns the id of a request: the one that its calls to nodes carry, or the one that it came with.
func requestOf(ctx context.Context) string {
	out, _ := metadata.FromOutgoingContext(ctx)
	in, _ := metadata.FromIncomingContext(ctx)
	for _, ids := range [][]string{out.Get(api.RequestIDKey), in.Get(api.RequestIDKey)} {
		if len(ids) > 0 {
			return ids[len(ids)-1]
		}
	}
	return "without an id"
}

// guard calls f, and makes its panic an error: for goroutines that are not gRPC's own, whose recovery does not reach them.
func (s *Service) guard(ctx context.Context, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = s.recovered(ctx, p)
		}
	}()
	return f()
}

// answer is the way out of every method.
func answer[M proto.Message](m M, err error) (M, error) {
	var none M
	if err == nil {
		if n := proto.Size(m); n > api.MaxMessageBytes {
			err = fmt.Errorf("the answer has %d bytes, the limit is %d: ask for fewer, or without texts, codes or vectors: %w", n, api.MaxMessageBytes, retrieval.ErrTooLarge)
		}
	}
	if err != nil {
		return none, shard.Public(err)
	}
	return m, nil
}

// CreateCollection makes a collection in every shard.
func (s *Service) CreateCollection(ctx context.Context, q *api.CreateCollectionRequest) (*api.Collection, error) {
	return answer(s.createCollection(ctx, q))
}

// ListCollections tells of all collections, in the order of their names.
func (s *Service) ListCollections(ctx context.Context, _ *api.ListCollectionsRequest) (*api.ListCollectionsResponse, error) {
	return answer(s.listCollections(ctx))
}

// ChangeCollection changes what of a collection can be changed while it holds documents.
func (s *Service) ChangeCollection(ctx context.Context, q *api.ChangeCollectionRequest) (*api.Collection, error) {
	return answer(s.changeCollection(ctx, q))
}

// DropCollection forgets a collection and everything in it.
func (s *Service) DropCollection(ctx context.Context, q *api.DropCollectionRequest) (*api.DropCollectionResponse, error) {
	return answer(s.dropCollection(ctx, q))
}

// NewOperation returns an operation id.
func (s *Service) NewOperation(ctx context.Context, _ *api.NewOperationRequest) (*api.NewOperationResponse, error) {
	return answer(s.newOperation(ctx))
}

// Put inserts or replaces documents.
func (s *Service) Put(ctx context.Context, q *api.PutRequest) (*api.WriteResponse, error) {
	return answer(s.put(ctx, q))
}

// Patch sets fields of documents.
func (s *Service) Patch(ctx context.Context, q *api.PatchRequest) (*api.WriteResponse, error) {
	return answer(s.patch(ctx, q))
}

// Forget removes documents.
func (s *Service) Forget(ctx context.Context, q *api.ForgetRequest) (*api.ForgetResponse, error) {
	return answer(s.forget(ctx, q))
}

// Get returns documents by id.
func (s *Service) Get(ctx context.Context, q *api.GetRequest) (*api.GetResponse, error) {
	return answer(s.get(ctx, q))
}

// List returns a page of documents.
func (s *Service) List(ctx context.Context, q *api.ListRequest) (*api.ListResponse, error) {
	return answer(s.list(ctx, q))
}

// Count counts documents.
func (s *Service) Count(ctx context.Context, q *api.CountRequest) (*api.CountResponse, error) {
	return answer(s.count(ctx, q))
}

// Export streams documents.
func (s *Service) Export(q *api.ExportRequest, to grpc.ServerStreamingServer[api.Document]) error {
	if err := s.export(to.Context(), q, to.Send); err != nil {
		return shard.Public(err)
	}
	return nil
}

// Search finds the best documents for a question.
func (s *Service) Search(ctx context.Context, q *api.SearchRequest) (*api.SearchResponse, error) {
	return answer(s.search(ctx, q))
}

// SearchBatch answers several questions.
func (s *Service) SearchBatch(ctx context.Context, q *api.SearchBatchRequest) (*api.SearchBatchResponse, error) {
	return answer(s.searchBatch(ctx, q))
}

// Rerank scores the caller's own candidates.
func (s *Service) Rerank(ctx context.Context, q *api.RerankRequest) (*api.SearchResponse, error) {
	return answer(s.rerank(ctx, q))
}

// Encode turns texts into tokens.
func (s *Service) Encode(ctx context.Context, q *api.EncodeRequest) (*api.EncodeResponse, error) {
	return answer(s.encode(ctx, q))
}

// Status tells of the cluster.
func (s *Service) Status(ctx context.Context, _ *api.StatusRequest) (*api.StatusResponse, error) {
	return answer(s.status(ctx))
}
