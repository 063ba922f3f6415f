package daemon

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"ostraca/api"
)

// scrape returns the metrics of a process by name, with the sum of each one's values (of a histogram, its count).
func (d *daemon) scrape() map[string]float64 {
	d.t.Helper()
	a, err := http.Get("http://" + d.at.HTTP + "/metrics")
	if err != nil {
		d.t.Fatal(err)
	}
	defer a.Body.Close()
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(a.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	out := map[string]float64{}
	for name, f := range families {
		out[name] = 0
		for _, m := range f.GetMetric() {
			out[name] += m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return out
}

// TestMetrics: docs/metrics.md lists what a node and a router tell, no more and no less; and the numbers are right where they are known.
func TestMetrics(t *testing.T) {
	t.Parallel()
	const documents, tokens = 3, 3 // that the encoder makes of each text
	node, router, c := loaded(t, documents)
	if _, err := c.Search(t.Context(), &api.SearchRequest{Collection: "papers", Text: "owl"}); err != nil {
		t.Fatal(err)
	}
	ofNode, ofRouter := node.scrape(), router.scrape()
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(ostraca_[a-z_]+)` \\|").FindAllStringSubmatch(string(text), -1) {
		listed[row[1]] = true
		if _, ok := ofNode[row[1]]; !ok {
			if _, ok := ofRouter[row[1]]; !ok {
				t.Errorf("docs/metrics.md lists %s, which nobody tells", row[1])
			}
		}
	}
	for _, all := range []map[string]float64{ofNode, ofRouter} {
		for name := range all {
			if !listed[name] && !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
				t.Errorf("docs/metrics.md does not list %s", name)
			}
		}
		if all["process_resident_memory_bytes"] == 0 || all["go_goroutines"] == 0 {
			t.Error("the process's own are missing")
		}
	}
	for _, x := range []struct {
		of          map[string]float64
		name        string
		least, most float64
	}{
		{ofNode, "ostraca_replica_is_leader", 2, 2}, {ofNode, "ostraca_replica_in_trouble", 0, 0}, {ofNode, "ostraca_collection_documents", documents, documents},
		{ofNode, "ostraca_collection_tokens", documents * tokens, documents * tokens}, {ofNode, "ostraca_replica_applied_index", 4, 1000}, {ofNode, "ostraca_replica_commit_index", 4, 1000},
		{ofNode, "ostraca_replica_log_bytes", 1, 1 << 30}, {ofNode, "ostraca_replica_state_bytes", 1, 1 << 30}, {ofNode, "ostraca_replica_index_bytes", 1, 1 << 30},
		{ofRouter, "ostraca_router_shards", 2, 2}, {ofRouter, "ostraca_router_encode_texts_total", documents + 1, documents + 1},
		{ofRouter, "ostraca_router_encode_tokens_total", (documents + 1) * tokens, (documents + 1) * tokens}, {ofRouter, "ostraca_router_encode_seconds", 2, documents + 1},
		{ofRouter, "ostraca_router_cluster_time_seconds", 1.7e9, 1e11}, {ofRouter, "ostraca_router_partial_answers_total", 0, 0},
		{ofRouter, "ostraca_router_requests", 0, 0}, {ofRouter, "ostraca_router_requests_refused_total", 0, 0}, {ofRouter, "ostraca_build_info", 1, 1},
	} {
		if got := x.of[x.name]; got < x.least || got > x.most {
			t.Errorf("%s is %g, wanted %g to %g", x.name, got, x.least, x.most)
		}
	}
}
