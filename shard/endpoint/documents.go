package endpoint

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"ostraca/api"
	"ostraca/retrieval"
	"ostraca/shard"
)

func (s *Service) get(ctx context.Context, q *api.GetRequest) (*api.GetResponse, error) {
	read, err := readOf(q)
	if err = cmp.Or(err, atMost(len(q.GetIds()), MaxGet, "ids of a get", "get several batches")); err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	a, err := s.router.Get(ctx, &shard.GetRequest{Collection: q.GetCollection(), IDs: q.GetIds(), Codes: q.GetCodes(), Read: read})
	if err != nil {
		return nil, err
	}
	out, told := &api.GetResponse{}, make(map[string]bool, len(q.GetIds()))
	for i := range a.Documents {
		d, err := toDocument(&a.Documents[i], q.GetCodes())
		if err != nil {
			return nil, fmt.Errorf("get: %w", err)
		}
		out.Documents, told[d.Id] = append(out.Documents, d), true
	}
	for _, id := range q.GetIds() {
		if !told[id] {
			out.Missing, told[id] = append(out.Missing, id), true
		}
	}
	return out, nil
}

func (s *Service) list(ctx context.Context, q *api.ListRequest) (*api.ListResponse, error) {
	read, err := readOf(q)
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	limit := int(q.GetLimit())
	if limit == 0 {
		limit = DefaultLimit
	}
	a, err := s.router.List(ctx, &shard.ListRequest{Collection: q.GetCollection(), After: q.GetCursor(), Limit: limit, Codes: q.GetCodes(), Read: read, Filter: q.GetFilter()})
	if err != nil {
		return nil, err
	}
	out, bytes := &api.ListResponse{}, 0
	for i := range a.Documents {
		d, err := toDocument(&a.Documents[i], q.GetCodes())
		if err != nil {
			return nil, fmt.Errorf("list: %w", err)
		}
		if bytes += proto.Size(d); bytes > answerBytes && i > 0 { // the pages of many shards are longer than one message may be
			out.NextCursor = out.Documents[i-1].Id
			return out, nil
		}
		out.Documents = append(out.Documents, d)
	}
	if a.More {
		out.NextCursor = a.Next
	}
	return out, nil
}

func (s *Service) count(ctx context.Context, q *api.CountRequest) (*api.CountResponse, error) {
	read, err := readOf(q)
	if err != nil {
		return nil, fmt.Errorf("count: %w", err)
	}
	a, err := s.router.List(ctx, &shard.ListRequest{Collection: q.GetCollection(), Filter: q.GetFilter(), Count: true, Read: read})
	if err != nil {
		return nil, fmt.Errorf("count: %w", err)
	}
	return &api.CountResponse{Count: uint32(a.Count)}, nil
}

// export sends all documents, page by page: who does not take what was sent gets no further page.
func (s *Service) export(ctx context.Context, q *api.ExportRequest, send func(*api.Document) error) error {
	read, err := readOf(q)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	ask := &shard.ListRequest{Collection: q.GetCollection(), After: q.GetCursor(), Limit: exportPage, Codes: q.GetCodes(), Read: read, Filter: q.GetFilter()}
	for more := true; more; {
		a, err := s.router.List(ctx, ask)
		if err != nil {
			return fmt.Errorf("export: %w", err)
		}
		for i := range a.Documents {
			d, err := toDocument(&a.Documents[i], q.GetCodes())
			if err != nil {
				return fmt.Errorf("export: %w", err)
			}
			if err := send(d); err != nil {
				return err
			}
		}
		more, ask.After = a.More, a.Next
	}
	return nil
}

func (s *Service) forget(ctx context.Context, q *api.ForgetRequest) (*api.ForgetResponse, error) {
	body := &shard.Forget{IDs: q.GetIds(), Parents: q.GetParents()}
	n := len(body.IDs) + len(body.Parents)
	if n == 0 {
		return nil, fmt.Errorf("forget: there are no ids and no parents: %w", retrieval.ErrInvalid)
	}
	if err := atMost(n, shard.MaxForget, "ids and parents of a forget", "send several"); err != nil {
		return nil, fmt.Errorf("forget: %w", err)
	}
	if q.GetDryRun() {
		return s.forgetDry(ctx, q)
	}
	id, err := s.operation(ctx, q.GetOperationId())
	if err != nil {
		return nil, fmt.Errorf("forget: %w", err)
	}
	results, err := s.router.Write(ctx, &shard.WriteRequest{Operations: []shard.Operation{{ID: id, Collection: q.GetCollection(), Body: body}}})
	if err == nil {
		err = results[0].Failure()
	}
	if err != nil {
		return nil, fmt.Errorf("forget: %w", err)
	}
	all := receipts{}
	all.add(results[0].Receipts)
	return &api.ForgetResponse{Count: uint32(results[0].Count), Receipts: all.api(), OperationId: text(id)}, nil
}

// forgetDry tells what a forget would do now: linearizable, shard by shard.
func (s *Service) forgetDry(ctx context.Context, q *api.ForgetRequest) (*api.ForgetResponse, error) {
	out := &api.ForgetResponse{}
	tell := func(id string) {
		if out.Count++; len(out.Ids) < MaxDryRunIDs {
			out.Ids = append(out.Ids, id)
		}
	}
	parents, ids := map[string]bool{}, map[string]bool{}
	for _, parent := range q.GetParents() {
		parents[parent] = true
	}
	for _, id := range q.GetIds() {
		if !parents[shard.Parent(id)] { // else it is told of with its parent
			ids[id] = true
		}
	}
	for _, parent := range sorted(parents) {
		if shard.Parent(parent) == parent {
			ids[parent] = true
		}
		ids[parent+"#"] = true // the list begins after it
		if err := s.passages(ctx, q.GetCollection(), parent, tell); err != nil {
			return nil, fmt.Errorf("forget, dry run: %w", err)
		}
	}
	rest := sorted(ids)
	for len(rest) > 0 {
		n := min(len(rest), MaxGet)
		a, err := s.router.Get(ctx, &shard.GetRequest{Collection: q.GetCollection(), IDs: rest[:n]})
		if err != nil {
			return nil, fmt.Errorf("forget, dry run: %w", err)
		}
		for _, d := range a.Documents {
			tell(d.ID)
		}
		rest = rest[n:]
	}
	return out, nil
}

// passages tells the ids of a parent's passages that follow parent + "#".
func (s *Service) passages(ctx context.Context, collection, parent string, tell func(string)) error {
	prefix := parent + "#"
	ask := &shard.ListRequest{Collection: collection, After: prefix, Limit: shard.MaxListed}
	for {
		a, err := s.router.List(ctx, ask)
		if err != nil {
			return err
		}
		for _, d := range a.Documents {
			if !strings.HasPrefix(d.ID, prefix) {
				return nil
			}
			if shard.Parent(d.ID) == parent {
				tell(d.ID)
			}
		}
		if !a.More {
			return nil
		}
		ask.After = a.Next
	}
}
