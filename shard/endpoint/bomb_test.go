package endpoint_test

import (
	"testing"

	"ostraca/api"
	"ostraca/shard/endpoint"
)

// Both doors refuse a short request of very many values, and say what to do.
func TestTooManyValues(t *testing.T) {
	q := &api.PutRequest{Collection: "papers", Documents: make([]*api.PutDocument, endpoint.MaxValues+1)}
	for i := range q.Documents {
		q.Documents[i] = &api.PutDocument{}
	}
	each(t, one, func(t *testing.T, d door) {
		d.refuse(t, "Put", q, "INVALID_ARGUMENT", "OVER_LIMIT", "send several smaller ones")
	})
	receipts := make([]*api.Receipt, endpoint.MaxValues+1)
	for i := range receipts {
		receipts[i] = &api.Receipt{}
	}
	export, err := one.client.Export(t.Context(), &api.ExportRequest{Collection: "papers", After: receipts})
	if err == nil {
		_, err = export.Recv()
	}
	if e := toldOf(err); e.Code != "INVALID_ARGUMENT" || e.Reason != "OVER_LIMIT" {
		t.Errorf("%+v", e)
	}
}
