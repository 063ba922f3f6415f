// Command peers writes documents to a replicated store, three nodes of it, as fast as so many clients can, and prints a line of figures:
// the same load for ostraca, etcd and rqlite. `run` starts them in turn.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"ostraca/api"
)

// store writes one value and returns when it is replicated.
type store func(ctx context.Context, key string, value []byte) error

func main() {
	system := flag.String("system", "ostraca", "ostraca, etcd or rqlite")
	address := flag.String("address", "", "host:port of the router, or of the leader")
	clients := flag.Int("clients", 1, "writers, each with one write under way")
	span := flag.Duration("for", 5*time.Second, "how long to write")
	size := flag.Int("size", 20<<10, "bytes of a value")
	flag.Parse()
	put, err := open(*system, *address)
	if err != nil {
		log.Fatal(err)
	}
	if err := put(context.Background(), "warm", value(*size)); err != nil {
		log.Fatal(err)
	}
	var mu sync.Mutex
	var times []time.Duration
	start := time.Now()
	var running sync.WaitGroup
	for c := range *clients {
		running.Go(func() {
			var mine []time.Duration
			for i := 0; time.Since(start) < *span; i++ {
				v, began := value(*size), time.Now()
				if err := put(context.Background(), fmt.Sprintf("c%d-%d-%d", *clients, c, i), v); err != nil {
					log.Fatal(err)
				}
				mine = append(mine, time.Since(began))
			}
			mu.Lock()
			times = append(times, mine...)
			mu.Unlock()
		})
	}
	running.Wait()
	took := time.Since(start)
	slices.Sort(times)
	at := func(p float64) float64 { return float64(times[int(p*float64(len(times)-1))].Microseconds()) / 1e3 }
	fmt.Printf("%-8s clients %2d size %d  writes/s %6.0f  p50 %6.1f ms  p99 %6.1f ms  %d writes\n",
		*system, *clients, *size, float64(len(times))/took.Seconds(), at(.5), at(.99), len(times))
}

// value is text that no store can make much smaller.
func value(size int) []byte {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	b := make([]byte, size)
	for i := range b {
		b[i] = letters[rand.Uint32()&63]
	}
	return b
}

func open(system, address string) (store, error) {
	switch system {
	case "etcd":
		return openEtcd(address)
	case "rqlite":
		return openRqlite(address)
	case "ostraca":
		return openOstraca(address)
	}
	return nil, fmt.Errorf("system %q: it must be ostraca, etcd or rqlite", system)
}

func openEtcd(address string) (store, error) {
	c, err := clientv3.New(clientv3.Config{Endpoints: strings.Split(address, ","), DialTimeout: 5 * time.Second})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, key string, v []byte) error {
		_, err := c.Put(ctx, key, string(v))
		return err
	}, nil
}

func openRqlite(address string) (store, error) {
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	execute := func(ctx context.Context, statement ...any) error {
		body, err := json.Marshal([]any{statement})
		if err != nil {
			return err
		}
		r, err := http.NewRequestWithContext(ctx, "POST", "http://"+address+"/db/execute", bytes.NewReader(body))
		if err != nil {
			return err
		}
		r.Header.Set("Content-Type", "application/json")
		a, err := c.Do(r)
		if err != nil {
			return err
		}
		defer a.Body.Close()
		text, err := io.ReadAll(a.Body)
		if err != nil || a.StatusCode != 200 || bytes.Contains(text, []byte(`"error"`)) {
			return fmt.Errorf("%s: %s %w", a.Status, text, err)
		}
		return nil
	}
	if err := execute(context.Background(), "CREATE TABLE IF NOT EXISTS kv (k TEXT PRIMARY KEY, v TEXT)"); err != nil {
		return nil, err
	}
	return func(ctx context.Context, key string, v []byte) error {
		return execute(ctx, "INSERT OR REPLACE INTO kv(k, v) VALUES(?, ?)", key, string(v))
	}, nil
}

// width of the token vectors that our value is made of, as the codes of a document.
const width = 128

func openOstraca(address string) (store, error) {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	memory := api.NewMemoryClient(conn)
	_, err = memory.CreateCollection(context.Background(), &api.CreateCollectionRequest{Name: "peers", Width: width, Encoder: "none", IfAbsent: true})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, key string, v []byte) error {
		tokens := len(v) / (width + 2)
		codes := &api.Codes{Codec: "int8", Width: width, Rows: v[:tokens*width], Scales: v[tokens*width : tokens*(width+2)]}
		a, err := memory.Put(ctx, &api.PutRequest{Collection: "peers", Documents: []*api.PutDocument{{Id: key, Codes: codes}}})
		if err == nil && a.GetOutcomes()[0].GetError() != nil {
			err = fmt.Errorf("put: %s", a.GetOutcomes()[0].GetError().GetMessage())
		}
		return err
	}, nil
}
