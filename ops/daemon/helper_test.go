package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"ostraca/ops"
	"ostraca/retrieval/encoder/encodertest"
)

// patience is how long a test waits for what takes a second.
const patience = 30 * time.Second

// daemon is a node or a router that runs in this process, by its command.
type daemon struct {
	t    *testing.T
	at   addresses
	log  *locked
	stop context.CancelFunc
	done chan struct{}
	err  error // once done
}

// locked is a log that can be read while it grows.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs a command until the test ends, and returns once it listens.
func start(t *testing.T, c *cobra.Command, args ...string) *daemon {
	t.Helper()
	path := filepath.Join(t.TempDir(), "addresses")
	d := begin(t, c, append(args, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--address-file", path, "--log-level", "debug")...)
	t.Cleanup(func() { d.end() })
	d.until("listening", func() error {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return json.Unmarshal(b, &d.at)
	})
	return d
}

// begin runs a command.
func begin(t *testing.T, c *cobra.Command, args ...string) *daemon {
	d := &daemon{t: t, log: &locked{}, done: make(chan struct{})}
	var ctx context.Context
	ctx, d.stop = context.WithCancel(context.Background())
	c.SetArgs(args)
	c.SetErr(d.log)
	c.SilenceUsage, c.SilenceErrors = true, true
	go func() {
		defer close(d.done)
		d.err = c.ExecuteContext(ctx)
	}()
	return d
}

// end asks for the end, as a signal does, and waits for it.
func (d *daemon) end() error {
	d.stop()
	select {
	case <-d.done:
	case <-time.After(patience):
		d.t.Errorf("it does not end\n%s", d.log)
	}
	return d.err
}

// until asks again and again until the answer is good.
func (d *daemon) until(what string, good func() error) {
	d.t.Helper()
	deadline := time.Now().Add(patience)
	for err := good(); err != nil; err = good() {
		select {
		case <-d.done:
			d.t.Fatalf("ended before it was %s: %v\n%s", what, d.err, d.log)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("not %s in time: %v\n%s", what, err, d.log)
		}
	}
}

// get asks for a path over HTTP.
func (d *daemon) get(path string) (int, string) {
	d.t.Helper()
	a, err := http.Get("http://" + d.at.HTTP + path)
	if err != nil {
		return 0, err.Error()
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return a.StatusCode, string(b)
}

// readiness is what /readyz says.
func (d *daemon) readiness() (r ops.Readiness) {
	d.t.Helper()
	code, body := d.get("/readyz")
	if err := json.Unmarshal([]byte(body), &r); err != nil || r.Ready != (code == http.StatusOK) || r.Ready != (len(r.Missing) == 0) {
		d.t.Fatalf("/readyz: %d %s", code, body)
	}
	return r
}

func (d *daemon) ready() {
	d.t.Helper()
	d.until("ready", func() error {
		if r := d.readiness(); !r.Ready {
			return fmt.Errorf("missing: %q", r.Missing)
		}
		return nil
	})
}

// conn is a connection to the router.
func (d *daemon) conn() *grpc.ClientConn {
	d.t.Helper()
	c, err := grpc.NewClient(d.at.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { c.Close() })
	return c
}

// startNode starts a node of a cluster of so many.
func startNode(t *testing.T, id string, expect int, join ...string) *daemon {
	t.Helper()
	args := []string{"--id", id, "--dir", filepath.Join(t.TempDir(), id), "--bootstrap-expect", fmt.Sprint(expect), "--shards", "2"}
	if len(join) > 0 {
		args = append(args, "--join", strings.Join(join, ","))
	}
	return start(t, NodeCommand(), args...)
}

func startRouter(t *testing.T, join string, args ...string) *daemon {
	t.Helper()
	return start(t, RouterCommand(small), append(args, "--grpc", "127.0.0.1:0", "--join", join)...)
}

// small is the encoder of tests.
var small = ops.Embedded{Name: defaultEncoder, Weights: encodertest.Int8()}
