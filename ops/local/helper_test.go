package local

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"ostraca/api"
)

// command is the real command, built once for all tests of this package.
var command = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "ostraca-binary-")
	if err != nil {
		return "", err
	}
	built = dir
	path := filepath.Join(dir, "ostraca")
	if out, err := exec.Command("go", "build", "-o", path, "ostraca/cmd/ostraca").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the command: %w\n%s", err, out)
	}
	return path, nil
})

var built string // the folder of the binary

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		if err := os.RemoveAll(built); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	os.Exit(code)
}

const (
	testCollection = "c"
	testWidth      = 16
	testPatience   = 30 * time.Second // of one wait for an event
)

// startCluster starts three nodes and a router without an encoder, makes a collection, and ends all with the test.
func startCluster(tb testing.TB, shards int) (*Cluster, api.MemoryClient) {
	tb.Helper()
	if testing.Short() {
		tb.Skip("it starts real processes, and kills them")
	}
	path, err := command()
	if err != nil {
		tb.Fatal(err)
	}
	c, err := Start(tb.Context(), Options{Command: []string{path}, Dir: tb.TempDir(), Nodes: 3, Shards: shards, Replicas: 3, RouterFlags: []string{"--encoder", "none"}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			for i := Router; i < len(c.Nodes()); i++ {
				tb.Log(c.parts[(i+len(c.parts))%len(c.parts)].tail())
			}
		}
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	conn, err := c.Dial()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	client := api.NewMemoryClient(conn)
	if _, err := client.CreateCollection(tb.Context(), &api.CreateCollectionRequest{Name: testCollection, Encoder: "none", Width: testWidth}); err != nil {
		tb.Fatal(err)
	}
	return c, client
}

// vectors are n tokens that depend on a number.
func vectors(number, n int) []*api.Vector {
	out := make([]*api.Vector, n)
	for i := range out {
		values := make([]float32, testWidth)
		for j := range values {
			values[j] = float32((number*7+i*13+j*29)%31) - 15
		}
		out[i] = &api.Vector{Values: values}
	}
	return out
}

// traffic sets writers and readers to work; ids begin with a name, and each is written again and again.
func traffic(tb testing.TB, client api.MemoryClient, name string) *Traffic {
	t := StartTraffic(tb.Context(), TrafficOptions{
		Client: client, Collection: testCollection, Writers: 3, Readers: 3,
		Document: func(writer, n int) *api.PutDocument {
			return &api.PutDocument{Id: fmt.Sprintf("%s-%d-%d", name, writer, n%40), Text: fmt.Sprint("write ", n), Tokens: vectors(n, 4)}
		},
		Search: func(reader, n int) *api.SearchRequest {
			return &api.SearchRequest{Collection: testCollection, Tokens: vectors(reader+n, 3), K: 5}
		},
	})
	tb.Cleanup(func() { t.Stop() })
	return t
}

// more waits until clients have succeeded some more times, in reading and in writing.
func more(tb testing.TB, t *Traffic, n int) {
	tb.Helper()
	start, began := t.Report(), time.Now()
	for {
		r := t.Report()
		if r.Writes >= start.Writes+n && r.Reads >= start.Reads+n {
			return
		}
		if time.Since(began) > testPatience {
			tb.Fatalf("no progress in %v: %+v", testPatience, r)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// whole checks that nothing acknowledged is lost, that no read was stale, and that all replicas are equal.
func whole(tb testing.TB, client api.MemoryClient, t *Traffic) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), testPatience)
	defer cancel()
	lost, acked, err := t.Lost(ctx)
	if err != nil || len(lost) > 0 || acked == 0 {
		tb.Errorf("of %d acknowledged writes %d are lost: %v %v", acked, len(lost), lost, err)
	}
	if r := t.Report(); r.Stale > 0 {
		tb.Errorf("%d stale reads", r.Stale)
	}
	if _, err := Settled(ctx, client); err != nil {
		tb.Error(err)
	}
}
