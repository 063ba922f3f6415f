package ops

import (
	"context"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	grpcmetrics "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"google.golang.org/grpc"

	"ostraca/shard"
	"ostraca/storage"
)

// namespace is before every name of ours.
const namespace = "ostraca"

// buckets of durations, seconds: a search takes some milliseconds, a batch that is encoded seconds.
var buckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// Metrics are what one process measures of itself, under the names of docs/metrics.md.
type Metrics struct {
	Registry *prometheus.Registry
	server   *grpcmetrics.ServerMetrics
	client   *grpcmetrics.ClientMetrics
}

// NewMetrics returns the metrics that every process has; the role is node or router.
func NewMetrics(role, kernel string) *Metrics {
	counter, histogram := grpcmetrics.WithNamespace(namespace), grpcmetrics.WithHistogramNamespace(namespace)
	m := &Metrics{
		Registry: prometheus.NewRegistry(),
		server: grpcmetrics.NewServerMetrics(grpcmetrics.WithServerCounterOptions(counter),
			grpcmetrics.WithServerHandlingTimeHistogram(histogram, grpcmetrics.WithHistogramBuckets(buckets))),
		client: grpcmetrics.NewClientMetrics(grpcmetrics.WithClientCounterOptions(counter),
			grpcmetrics.WithClientHandlingTimeHistogram(histogram, grpcmetrics.WithHistogramBuckets(buckets))),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: "build_info", Help: "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": Version, "revision": revision(), "go": runtime.Version(), "role": role, "kernel": kernel}})
	build.Set(1)
	m.Registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), m.server, m.client, build)
	return m
}

// revision is the commit that the binary was built of, as far as the build noted it.
func revision() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return ""
}

// Server returns the interceptors that count and time the requests of a server.
func (m *Metrics) Server() (grpc.UnaryServerInterceptor, grpc.StreamServerInterceptor) {
	return m.server.UnaryServerInterceptor(), m.server.StreamServerInterceptor()
}

// Dial counts and times the calls to other processes.
func (m *Metrics) Dial() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithChainUnaryInterceptor(m.client.UnaryClientInterceptor()), grpc.WithChainStreamInterceptor(m.client.StreamClientInterceptor())}
}

func describe(subsystem, name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, subsystem, name), help, labels, nil)
}

// number is a metric of what is counted elsewhere, read when it is asked for.
type number[T any] struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(*T) float64
}

// replicaNumbers are those of a replica.
var replicaNumbers = []number[shard.ReplicaStatus]{
	{describe("replica", "applied_index", "Last log entry that is in memory.", "shard"), prometheus.GaugeValue, func(s *shard.ReplicaStatus) float64 { return float64(s.Applied) }},
	{describe("replica", "commit_index", "Last log entry known to be committed.", "shard"), prometheus.GaugeValue, func(s *shard.ReplicaStatus) float64 { return float64(s.Commit) }},
	{describe("replica", "is_leader", "1 where the replica leads its shard.", "shard"), prometheus.GaugeValue, func(s *shard.ReplicaStatus) float64 { return truth(s.Leader == s.Node) }},
	{describe("replica", "has_leader", "1 where the replica knows a leader of its shard.", "shard"), prometheus.GaugeValue, func(s *shard.ReplicaStatus) float64 { return truth(s.Leader != "") }},
	{describe("replica", "is_voter", "1 where the replica has a vote.", "shard"), prometheus.GaugeValue, func(s *shard.ReplicaStatus) float64 { return truth(s.Voter()) }},
	{describe("replica", "in_trouble", "1 where something keeps the replica from writing; /readyz says what.", "shard"), prometheus.GaugeValue, func(s *shard.ReplicaStatus) float64 { return truth(s.Trouble != "") }},
	{describe("replica", "log_bytes", "The log file.", "shard"), prometheus.GaugeValue, func(s *shard.ReplicaStatus) float64 { return float64(s.LogFileBytes) }},
	{describe("replica", "state_bytes", "The state file.", "shard"), prometheus.GaugeValue, func(s *shard.ReplicaStatus) float64 { return float64(s.StateFileBytes) }},
	{describe("replica", "overlay_bytes", "Rows in memory that are not yet in the state file.", "shard"), prometheus.GaugeValue, func(s *shard.ReplicaStatus) float64 { return float64(s.OverlayBytes) }},
	{describe("replica", "index_bytes", "The index in memory.", "shard"), prometheus.GaugeValue, func(s *shard.ReplicaStatus) float64 { return float64(s.IndexBytes) }},
}

// nodeNumbers are those of all replicas of a node together.
var nodeNumbers = []number[storage.ArenaUsage]{
	{describe("node", "hot_bytes", "Vectors that find candidates, of large segments: in memory."), prometheus.GaugeValue, func(u *storage.ArenaUsage) float64 { return float64(u.Hot) }},
	{describe("node", "cold_bytes", "Token vectors of large segments in memory, up to --memory-limit."), prometheus.GaugeValue, func(u *storage.ArenaUsage) float64 { return float64(u.Cold) }},
	{describe("node", "mapped_bytes", "Token vectors of large segments in mapped files, beyond --memory-limit."), prometheus.GaugeValue, func(u *storage.ArenaUsage) float64 { return float64(u.File) }},
}

// collectionNumbers are those of what a replica holds of a collection.
var collectionNumbers = []number[shard.CollectionStatus]{
	{describe("collection", "documents", "Documents in this replica.", "shard", "collection"), prometheus.GaugeValue, func(c *shard.CollectionStatus) float64 { return float64(c.Documents) }},
	{describe("collection", "tokens", "Token vectors in this replica.", "shard", "collection"), prometheus.GaugeValue, func(c *shard.CollectionStatus) float64 { return float64(c.Tokens) }},
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Node adds the replicas of a node.
func (m *Metrics) Node(n *shard.Node) { m.Registry.MustRegister(nodeCollector{n}) }

type nodeCollector struct{ node *shard.Node }

func (c nodeCollector) Describe(out chan<- *prometheus.Desc) {
	for _, n := range nodeNumbers {
		out <- n.desc
	}
	for _, n := range replicaNumbers {
		out <- n.desc
	}
	for _, n := range collectionNumbers {
		out <- n.desc
	}
}

func (c nodeCollector) Collect(out chan<- prometheus.Metric) {
	memory := c.node.Memory()
	for _, n := range nodeNumbers {
		out <- prometheus.MustNewConstMetric(n.desc, n.kind, n.of(&memory))
	}
	status, err := c.node.Status(context.Background())
	if err != nil {
		out <- prometheus.NewInvalidMetric(replicaNumbers[0].desc, err)
		return
	}
	for i := range status.Shards {
		s := &status.Shards[i]
		label := strconv.FormatUint(uint64(s.Shard), 10)
		for _, n := range replicaNumbers {
			out <- prometheus.MustNewConstMetric(n.desc, n.kind, n.of(s), label)
		}
		for j := range s.Collections {
			for _, n := range collectionNumbers {
				out <- prometheus.MustNewConstMetric(n.desc, n.kind, n.of(&s.Collections[j]), label, s.Collections[j].Name)
			}
		}
	}
}

// routerView is what a router's numbers are read of.
type routerView struct {
	shard.RouterStats
	shards int
	now    time.Duration // cluster time
	limit  *Limit
}

var routerNumbers = []number[routerView]{
	{describe("router", "hedges_total", "Reads for which a second replica was asked because the first was slow."), prometheus.CounterValue, func(v *routerView) float64 { return float64(v.Hedges) }},
	{describe("router", "write_retries_total", "Requests to a shard that repeat writes without an outcome."), prometheus.CounterValue, func(v *routerView) float64 { return float64(v.WriteRetries) }},
	{describe("router", "partial_answers_total", "Answers that lacked a shard, whether they were given or became an error."), prometheus.CounterValue, func(v *routerView) float64 { return float64(v.Partial) }},
	{describe("router", "shards", "Shards of the placement that the router knows; 0 until a node has told it."), prometheus.GaugeValue, func(v *routerView) float64 { return float64(v.shards) }},
	{describe("router", "cluster_time_seconds", "Cluster time that the router saw last, since 1970."), prometheus.GaugeValue, func(v *routerView) float64 { return v.now.Seconds() }},
	{describe("router", "requests", "Requests under way."), prometheus.GaugeValue, func(v *routerView) float64 { return float64(v.limit.now.Load()) }},
	{describe("router", "streams", "Exports under way."), prometheus.GaugeValue, func(v *routerView) float64 { return float64(v.limit.streams.Load()) }},
	{describe("router", "requests_refused_total", "Requests refused because too many, or too many streams, were under way."), prometheus.CounterValue, func(v *routerView) float64 { return float64(v.limit.refused.Load()) }},
}

// Router adds a router and the limit of its server.
func (m *Metrics) Router(r *shard.Router, l *Limit) { m.Registry.MustRegister(routerCollector{r, l}) }

type routerCollector struct {
	router *shard.Router
	limit  *Limit
}

func (c routerCollector) Describe(out chan<- *prometheus.Desc) {
	for _, n := range routerNumbers {
		out <- n.desc
	}
}

func (c routerCollector) Collect(out chan<- prometheus.Metric) {
	v := routerView{c.router.Stats(), len(c.router.Map().Shards), time.Duration(c.router.Now()) * time.Millisecond, c.limit}
	for _, n := range routerNumbers {
		out <- prometheus.MustNewConstMetric(n.desc, n.kind, n.of(&v))
	}
}
