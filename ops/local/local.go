// Package local runs a whole cluster on this machine: nodes and a router as real processes of one binary, on loopback, on ports that the system
// chooses. It can kill, stop, pause and restart each of them. Demo, eval and tests use it.
package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"ostraca/api"
)

// Errors of the package.
var (
	// ErrInvalid: the options or the process named make no sense.
	ErrInvalid = errors.New("local cluster: invalid")
	// ErrProcess: a process ended early, or was not ready in time. The end of its log is part of the message.
	ErrProcess = errors.New("local cluster: process failed")
)

// MaxNodes is the most nodes that are started on one machine.
const MaxNodes = 16

// Router names the router where a process is asked for by number; nodes have 0, 1, ...
const Router = -1

// Options of a cluster.
type Options struct {
	Command                 []string // what comes before the verbs "node" and "router": a binary, and arguments of its own
	Dir                     string   // for data and logs; empty: a temporary one, which Close removes
	Nodes, Shards, Replicas int
	NodeFlags, RouterFlags  []string
}

// Cluster is the processes that were started. Its methods are safe for concurrent use.
type Cluster struct {
	options Options
	made    bool // the folder is ours

	mu     sync.Mutex
	parts  []*process // the nodes, and the router last
	closed bool
}

// Start starts the nodes and the router and returns once all are ready. The first node begins alone; the others join it.
func Start(ctx context.Context, o Options) (_ *Cluster, err error) {
	if len(o.Command) == 0 || o.Nodes < 1 || o.Nodes > MaxNodes {
		return nil, fmt.Errorf("%d nodes of command %q: 1 to %d nodes and a command are needed: %w", o.Nodes, o.Command, MaxNodes, ErrInvalid)
	}
	c := &Cluster{options: o}
	if o.Dir == "" {
		if c.options.Dir, err = os.MkdirTemp("", "ostraca-cluster-"); err != nil {
			return nil, fmt.Errorf("start a local cluster: %w", err)
		}
		c.made = true
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start a local cluster: %w", err), c.Close())
		}
	}()
	for i := range o.Nodes {
		c.parts = append(c.parts, newProcess(c.options.Dir, fmt.Sprintf("n%d", i+1), c.nodeArgs))
	}
	c.parts = append(c.parts, newProcess(c.options.Dir, "router-1", c.routerArgs))
	all := []int{Router}
	for i := range o.Nodes {
		all = slices.Insert(all, i, i)
	}
	return c, c.Restart(ctx, all...)
}

// address is where a process listens until the system has chosen a port.
const address = "127.0.0.1:0"

func (c *Cluster) nodeArgs(p *process) []string {
	o := c.options
	args := []string{"node", "--id", p.id, "--dir", p.dir, "--bootstrap-expect", strconv.Itoa(o.Nodes), "--replicas", strconv.Itoa(o.Replicas), "--shards", strconv.Itoa(o.Shards)}
	return append(args, o.NodeFlags...)
}

func (c *Cluster) routerArgs(p *process) []string {
	return append([]string{"router", "--id", p.id, "--grpc", address}, c.options.RouterFlags...)
}

// part returns a process by its number, under the lock.
func (c *Cluster) part(i int) (*process, error) {
	if i == Router {
		i = len(c.parts) - 1
	}
	if i < 0 || i >= len(c.parts) || c.closed {
		return nil, fmt.Errorf("there is no process %d (closed: %v): %w", i, c.closed, ErrInvalid)
	}
	return c.parts[i], nil
}

// started returns the run of a process that was started, which may have ended.
func (c *Cluster) started(i int) (*process, *run, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, err := c.part(i)
	if err == nil && p.run == nil {
		err = fmt.Errorf("%s was not started: %w", p.id, ErrInvalid)
	}
	if err != nil {
		return nil, nil, err
	}
	return p, p.run, nil
}

// Restart starts processes that do not run, on new ports and on their old folders, one after the other; each is told the present addresses of
// all that run. It returns once all of them are ready.
func (c *Cluster) Restart(ctx context.Context, which ...int) error {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	for _, i := range which {
		p, r, err := c.launch(i)
		if err == nil {
			err = c.listening(ctx, p, r)
		}
		if err != nil {
			return err
		}
	}
	for _, i := range which {
		p, r, err := c.started(i)
		if err == nil {
			err = p.ready(ctx, r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// launch starts a process.
func (c *Cluster) launch(i int) (*process, *run, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, err := c.part(i)
	if err != nil {
		return nil, nil, err
	}
	if p.run.running() {
		return nil, nil, fmt.Errorf("%s runs: kill or stop it first: %w", p.id, ErrInvalid)
	}
	var seeds []string
	for _, other := range c.parts {
		if other.run.running() && other.run.at.Listen != "" {
			seeds = append(seeds, other.run.at.Listen)
		}
	}
	args := slices.Concat(c.options.Command[1:], p.args(p), []string{"--listen", address, "--http", address, "--address-file", p.addresses, "--exit-with-stdin"})
	if len(seeds) > 0 {
		args = append(args, "--join", strings.Join(seeds, ","))
	}
	p.run, err = p.start(c.options.Command[0], args)
	return p, p.run, err
}

// listening waits until a process has told its addresses.
func (c *Cluster) listening(ctx context.Context, p *process, r *run) error {
	at, err := p.listening(ctx, r)
	c.mu.Lock()
	defer c.mu.Unlock()
	r.at = at
	return err
}

// Kill ends a process with SIGKILL and returns when it is gone.
func (c *Cluster) Kill(i int) error {
	p, r, err := c.started(i)
	if err != nil {
		return err
	}
	return p.kill(r)
}

// Stop ends a process with SIGTERM and returns when it is gone. One that has not ended within a while is killed; that, and an exit code other
// than 0, is an error.
func (c *Cluster) Stop(i int) error {
	p, r, err := c.started(i)
	if err != nil {
		return err
	}
	return p.stop(r)
}

// Pause stops a process with SIGSTOP, where the system can: it answers nothing until Resume.
func (c *Cluster) Pause(i int) error {
	_, r, err := c.started(i)
	if err != nil {
		return err
	}
	return pause(r.cmd.Process)
}

// Resume lets a paused process go on.
func (c *Cluster) Resume(i int) error {
	_, r, err := c.started(i)
	if err != nil {
		return err
	}
	return resume(r.cmd.Process)
}

// Close ends all processes, each with SIGTERM and, where that takes too long, SIGKILL, and removes the folder if Start made it. Only
// processes that were started here are touched.
func (c *Cluster) Close() error {
	c.mu.Lock()
	parts := c.parts
	if c.closed {
		parts = nil
	}
	c.closed = true
	c.mu.Unlock()
	errs := make([]error, len(parts))
	var wait sync.WaitGroup
	for i, p := range parts {
		wait.Go(func() { errs[i] = p.stop(p.run) })
	}
	wait.Wait()
	return errors.Join(append(errs, c.remove())...)
}

func (c *Cluster) remove() error {
	if !c.made {
		return nil
	}
	return os.RemoveAll(c.options.Dir)
}

// Info tells of one process.
type Info struct {
	ID      string // name in the cluster
	PID     int    // of the last start, 0 before it
	Running bool
	Addresses
	Dir string // of a node: its data
	Log string // file that both its outputs go to
}

// Info tells of a process.
func (c *Cluster) Info(i int) Info {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, err := c.part(i)
	if err != nil {
		return Info{}
	}
	out := Info{ID: p.id, Running: p.run.running(), Dir: p.dir, Log: p.log}
	if p.run != nil {
		out.PID, out.Addresses = p.run.cmd.Process.Pid, p.run.at
	}
	return out
}

// Nodes tells of all nodes.
func (c *Cluster) Nodes() []Info {
	out := make([]Info, c.options.Nodes)
	for i := range out {
		out[i] = c.Info(i)
	}
	return out
}

// Address returns the router's gRPC address, host:port.
func (c *Cluster) Address() string { return c.Info(Router).GRPC }

// HTTP returns the router's HTTP address, host:port.
func (c *Cluster) HTTP() string { return c.Info(Router).HTTP }

// Dir returns the folder of data and logs.
func (c *Cluster) Dir() string { return c.options.Dir }

// Dial returns a connection to the router that finds it again where it was restarted.
func (c *Cluster) Dial() (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+filepath.Base(c.options.Dir),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", c.Address())
		}),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: time.Second,
			Backoff: backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.6, Jitter: .2, MaxDelay: 200 * time.Millisecond}}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(api.MaxMessageBytes), grpc.MaxCallSendMsgSize(api.MaxMessageBytes)))
}
