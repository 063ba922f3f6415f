package daemon

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ostraca/ops"
	"ostraca/retrieval/encoder"
	"ostraca/retrieval/kernel"
	"ostraca/shard"
)

// MaxReplicas is the most replicas that a shard may have.
const MaxReplicas = 7

// Ranges of settings, and what they are where nothing is said.
const (
	maxThreads   = 1024
	maxNodes     = 256 // that a cluster starts with
	maxInFlight  = 1 << 16
	leastBytes   = 64 << 10 // of a limit on bytes
	mostDuration = time.Hour

	defaultReplicas = 3
	defaultShards   = 3
	defaultDrain    = 10 * time.Second
	defaultInFlight = 256
)

// common is what nodes and routers are told alike.
type common struct {
	settings *settings
	config   string

	id, listen, advertise, http string
	join                        []string
	logFormat, logLevel         string
	addressFile, kernel         string
	threads                     int
	exitWithStdin               bool
	drain                       time.Duration
	set                         *kernel.Set // of kernel
	log                         *slog.Logger
}

// register adds the flags.
func (o *common) register(c *cobra.Command, listen, http string) {
	f := c.Flags()
	f.StringVar(&o.listen, "listen", listen, "`address` of the one port that processes of the cluster speak over, TCP and UDP; port 0 takes a free one")
	f.StringVar(&o.advertise, "advertise", "", "`address` at which the others reach it (default: what it listens on)")
	f.StringSliceVar(&o.join, "join", nil, "`addresses` of some nodes, with commas or given again: names are resolved anew at every attempt")
	f.StringVar(&o.http, "http", http, "`address` for HTTP: /healthz, /readyz, /metrics, and on a router the API as JSON")
	f.StringVar(&o.logFormat, "log-format", ops.LogText, "text or json, to standard error")
	f.StringVar(&o.logLevel, "log-level", "info", "debug (every request), info, warn or error")
	f.StringVar(&o.addressFile, "address-file", "", "`file` to write the real addresses to, as JSON, once the process listens")
	f.StringVar(&o.kernel, "kernel", "", "force a kernel `variant`: go, avx2, avx512vnni, avx512amx or neon (default: the fastest this CPU has)")
	f.IntVar(&o.threads, "threads", 0, "threads of one request at most, 0 to 1024; 0: all")
	f.BoolVar(&o.exitWithStdin, "exit-with-stdin", false, "end as after SIGTERM when standard input ends: for whoever starts it and may die")
	f.DurationVar(&o.drain, "drain-timeout", defaultDrain, "time that requests under way have to end after SIGTERM or SIGINT")
	o.settings = newSettings(f)
	f.StringVar(&o.config, "config", "", "`file` in YAML with settings by the names of these flags; a flag wins over it")
	c.Args = cobra.NoArgs
}

// check checks them, after the file was read, and begins the log.
func (o *common) check(out io.Writer) {
	s := o.settings
	if len(o.id) > 64 || strings.Trim(o.id, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		s.refuse("id", "is %q: it must be 1 to 64 of a-z, 0-9, - and _", o.id)
	}
	s.address("listen", o.listen, true)
	s.address("http", o.http, true)
	if host, _, err := net.SplitHostPort(o.listen); o.advertise != "" {
		s.address("advertise", o.advertise, false)
	} else if ip := net.ParseIP(host); err == nil && (host == "" || ip.IsUnspecified()) {
		s.refuse("advertise", "is needed, for --listen %s takes every address: it must be a host and a port that others can reach", o.listen)
	}
	for _, a := range o.join {
		s.address("join", a, false)
	}
	s.oneOf("log-format", o.logFormat, ops.LogText, ops.LogJSON)
	s.oneOf("log-level", o.logLevel, "debug", "info", "warn", "error")
	s.between("threads", o.threads, 0, maxThreads)
	s.duration("drain-timeout", o.drain, 0)
	o.set = kernel.Best()
	if o.kernel != "" {
		var err error
		if o.set, err = kernel.ByName(o.kernel); err != nil {
			s.refuse("kernel", "is %q: %v", o.kernel, err)
		}
	}
	o.log, _ = ops.NewLogger(out, o.logFormat, o.logLevel) // checked above
}

// warn tells of addresses that others can reach: nothing asks yet who they are.
func (o *common) warn(addresses ...string) {
	for _, a := range addresses {
		if host, _, err := net.SplitHostPort(a); err == nil && host != "localhost" && !net.ParseIP(host).IsLoopback() {
			o.log.Warn("listening beyond this machine, without TLS and without asking who calls: whoever reaches the port can read and change everything", "address", a)
		}
	}
}

// nodeOptions are those of a node.
type nodeOptions struct {
	common
	dir                         string
	expect, replicas, shards    int
	snapshotBytes, overlayBytes int
	memoryLimit                 int
}

func (o *nodeOptions) register(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.id, "id", "", "the node's `name`: 1 to 64 of a-z, 0-9, - and _; it stays when the address changes (needed)")
	f.StringVar(&o.dir, "dir", "", "`folder` of the node's files, made where it is not there (needed)")
	f.IntVar(&o.expect, "bootstrap-expect", 0, "nodes that a new cluster starts with, the same on all of them; needed with --join (default 1 without)")
	f.IntVar(&o.replicas, "replicas", 0, "of a new cluster: replicas of each shard, 1 to 7 (default: 3, or as many as there are nodes)")
	f.IntVar(&o.shards, "shards", defaultShards, fmt.Sprintf("of a new cluster: shards, 1 to %d", shard.MaxShards))
	f.IntVar(&o.snapshotBytes, "snapshot-bytes", 0, "`bytes` of a shard's log after which a snapshot is taken and the log purged (default 64 MiB)")
	f.IntVar(&o.overlayBytes, "overlay-bytes", 0, "`bytes` of a shard's rows in memory that wait for the state file; writes wait beyond it (default 64 MiB)")
	f.IntVar(&o.memoryLimit, "memory-limit", 0, "`bytes` of token vectors that the node keeps in memory; others lie in files of --dir that are mapped; 0: no limit")
	o.common.register(c, "127.0.0.1:7400", "127.0.0.1:7401")
}

func (o *nodeOptions) check(out io.Writer) error {
	s := o.settings
	o.common.check(out)
	if o.id == "" {
		s.refuse("id", "is needed: 1 to 64 of a-z, 0-9, - and _")
	} else if strings.HasPrefix(o.id, routerPrefix) {
		s.refuse("id", "is %q: only a router's begins with %s", o.id, routerPrefix)
	}
	if o.dir == "" {
		s.refuse("dir", "is needed: a folder for the node's files")
	}
	switch {
	case o.expect == 0 && len(o.join) > 0:
		s.refuse("bootstrap-expect", "is needed with --join: it must be the number of nodes that the cluster starts with, 1 to %d", maxNodes)
	case o.expect == 0:
		o.expect = 1
	}
	s.between("bootstrap-expect", o.expect, 1, maxNodes)
	if o.replicas == 0 {
		o.replicas = min(defaultReplicas, max(o.expect, 1))
	}
	most := MaxReplicas
	if !s.bad["bootstrap-expect"] {
		most = min(most, o.expect)
	}
	s.between("replicas", o.replicas, 1, most)
	s.between("shards", o.shards, 1, shard.MaxShards)
	for name, bytes := range map[string]int{"snapshot-bytes": o.snapshotBytes, "overlay-bytes": o.overlayBytes} {
		s.zeroOrBetween(name, bytes, leastBytes, math.MaxInt32)
	}
	s.zeroOrBetween("memory-limit", o.memoryLimit, leastBytes, math.MaxInt)
	return s.err()
}

// routerPrefix begins a router's name in the cluster.
const routerPrefix = "router-"

// noEncoder is the name of none.
const noEncoder = "none"

// defaultEncoder is the name of the one in the binary.
const defaultEncoder = "bge"

// routerOptions are those of a router.
type routerOptions struct {
	common
	grpc, encoder          string
	maxTokens, queryTokens int
	maxInFlight            int
	hedge, timeout         time.Duration
}

func (o *routerOptions) register(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.id, "id", "", "the router's `name`; router- is put in front (default: of the machine and a random part)")
	f.StringVar(&o.grpc, "grpc", "127.0.0.1:7600", "`address` for the API over gRPC, with reflection and health")
	f.StringVar(&o.encoder, "encoder", defaultEncoder, "what turns texts into vectors: bge, which is in the binary, none, or a `folder` with a Hugging Face model")
	f.IntVar(&o.maxTokens, "max-tokens", 0, fmt.Sprintf("cut documents to this many tokens, [CLS] and [SEP] counted, %d to %d; 0: to the model's own length, or read whole, in windows", encoder.MinTokens, encoder.MaxTokens))
	f.IntVar(&o.queryTokens, "query-tokens", 0, fmt.Sprintf("cut questions likewise; 0: to the model's own length, or to %d", encoder.QueryTokens))
	f.IntVar(&o.maxInFlight, "max-requests", defaultInFlight, "requests under way at most, a quarter of them exports; one more is refused with RESOURCE_EXHAUSTED")
	f.DurationVar(&o.hedge, "hedge", shard.DefaultHedge, "time after which a second replica is asked")
	f.DurationVar(&o.timeout, "timeout", shard.DefaultTimeout, "time of a request that brings no deadline")
	o.common.register(c, "127.0.0.1:7500", "127.0.0.1:7601")
}

func (o *routerOptions) check(out io.Writer) error {
	s := o.settings
	if o.id == "" {
		o.id = routerID()
	}
	if !strings.HasPrefix(o.id, routerPrefix) {
		o.id = routerPrefix + o.id
	}
	o.common.check(out)
	s.address("grpc", o.grpc, true)
	if len(o.join) == 0 {
		s.refuse("join", "is needed: host:port of one node at least, better of three")
	}
	if o.encoder == "" {
		s.refuse("encoder", "is empty: it must be %s, %s or a folder", defaultEncoder, noEncoder)
	}
	for name, tokens := range map[string]int{"max-tokens": o.maxTokens, "query-tokens": o.queryTokens} {
		if tokens != 0 && (tokens < encoder.MinTokens || tokens > encoder.MaxTokens) {
			s.refuse(name, "is %d: it must be 0 (the model's own) or %d to %d", tokens, encoder.MinTokens, encoder.MaxTokens)
		}
	}
	s.between("max-requests", o.maxInFlight, 1, maxInFlight)
	s.duration("hedge", o.hedge, time.Millisecond)
	s.duration("timeout", o.timeout, 100*time.Millisecond)
	return s.err()
}

// routerID makes a name that no other router has, and that says where it runs.
func routerID() string {
	host, _ := os.Hostname() // the random part does without
	host = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(host))
	var b [4]byte
	rand.Read(b[:])
	return strings.Trim(host[:min(len(host), 32)], "-") + "-" + hex.EncodeToString(b[:])
}
