package local

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ostraca/api"
)

// TestFaults: whatever becomes of its processes, a cluster keeps what it acknowledged and reads what was acknowledged before, and its replicas
// are equal afterwards. One cluster goes through all of it, with clients at work.
func TestFaults(t *testing.T) {
	t.Parallel()
	c, client := startCluster(t, 2)
	for _, f := range []struct {
		name    string
		trouble func(t *testing.T, c *Cluster, client api.MemoryClient, clients *Traffic)
		errors  bool // clients may be told that a request failed
	}{
		{"LeaderKilled", killLeader, false},
		{"FollowerKilled", killFollower, false},
		{"LeaderPaused", pauseLeader, false},
		{"LeaderTerminated", terminateLeader, false},
		{"RouterKilled", killRouter, true},
		{"AllKilled", killAll, true},
	} {
		t.Run(f.name, func(t *testing.T) {
			traffic := traffic(t, client, strings.ToLower(f.name))
			more(t, traffic, 50)
			traffic.Mark()
			f.trouble(t, c, client, traffic)
			more(t, traffic, 50)
			r := traffic.Stop()
			t.Logf("%d writes and %d reads, %d and %d failed; longest gap of a writer %v, of a reader %v", r.Writes, r.Reads, r.FailedWrites, r.FailedReads,
				r.WriteGap.Round(time.Millisecond), r.ReadGap.Round(time.Millisecond))
			if r.FailedReads+r.FailedWrites > 0 && !f.errors {
				t.Errorf("clients were told of %d failures: %v", r.FailedReads+r.FailedWrites, r.Errors)
			}
			whole(t, client, traffic)
		})
	}
}

func do(t *testing.T, steps ...error) {
	t.Helper()
	if err := errors.Join(steps...); err != nil {
		t.Fatal(err)
	}
}

// Nodes come back on new ports, always.
func killLeader(t *testing.T, c *Cluster, client api.MemoryClient, _ *Traffic) {
	leads, _ := leads(t, c, client)
	was := c.Info(leads)
	do(t, c.Kill(leads))
	do(t, c.Restart(t.Context(), leads))
	if is := c.Info(leads); is.Listen == was.Listen || is.PID == was.PID || !is.Running {
		t.Errorf("was %+v, is %+v", was, is)
	}
}

func killFollower(t *testing.T, c *Cluster, client api.MemoryClient, _ *Traffic) {
	_, follows := leads(t, c, client)
	do(t, c.Kill(follows))
	do(t, c.Restart(t.Context(), follows))
}

// pauseLeader: a leader that hears and says nothing is replaced, and must not believe, when it wakes up, that it leads.
func pauseLeader(t *testing.T, c *Cluster, client api.MemoryClient, clients *Traffic) {
	leads, _ := leads(t, c, client)
	do(t, c.Pause(leads))
	more(t, clients, 50)
	do(t, c.Resume(leads))
}

func terminateLeader(t *testing.T, c *Cluster, client api.MemoryClient, _ *Traffic) {
	leads, _ := leads(t, c, client)
	do(t, c.Stop(leads))
	do(t, c.Restart(t.Context(), leads))
}

func killRouter(t *testing.T, c *Cluster, _ api.MemoryClient, _ *Traffic) {
	do(t, c.Kill(Router))
	do(t, c.Restart(t.Context(), Router))
}

// killAll: and every process finds the others at new addresses, without having been told.
func killAll(t *testing.T, c *Cluster, _ api.MemoryClient, _ *Traffic) {
	do(t, c.Kill(0), c.Kill(1), c.Kill(2))
	do(t, c.Restart(t.Context(), 2, 0, 1))
}

// leads returns the leader of shard 0 and one that follows it, while clients are at work.
func leads(t testing.TB, c *Cluster, client api.MemoryClient) (leads, follows int) {
	t.Helper()
	for began := time.Now(); time.Since(began) < testPatience; time.Sleep(askEvery) {
		s, err := client.Status(t.Context(), &api.StatusRequest{})
		if err != nil || len(s.GetShards()) == 0 {
			continue
		}
		for i, n := range c.Nodes() {
			if n.ID == s.GetShards()[0].GetLeader() {
				return i, (i + 1) % len(c.Nodes())
			}
		}
	}
	t.Fatal("shard 0 has no leader")
	return 0, 0
}

// TestTornFile: a node whose state file was cut or changed says so and serves nothing of it; once the replica's folder is moved away, the others fill
// it anew.
func TestTornFile(t *testing.T) {
	t.Parallel()
	c, client := startCluster(t, 1)
	traffic := traffic(t, client, "torn")
	more(t, traffic, 100)
	_, follows := leads(t, c, client)
	do(t, c.Stop(follows))
	more(t, traffic, 100)
	traffic.Stop()
	state := filepath.Join(c.Info(follows).Dir, "shard-0", "state")
	sound, err := os.ReadFile(state)
	do(t, err)
	used := int(max(number(sound[56:]), number(sound[4096+56:]))) * 4096 // the first page that nothing was ever written to, of both headers
	random := rand.New(rand.NewPCG(1, 2))
	refused := 0
	for _, tear := range []func() []byte{
		func() []byte { return sound[:random.IntN(used)] },
		func() []byte { return flipped(sound, random.IntN(used)) },
		func() []byte { return flipped(sound, 4096*(2+random.IntN(used/4096-2))+random.IntN(64)) }, // near the head of a page
		func() []byte { return append(sound[:8192:8192], make([]byte, used-8192)...) },
	} {
		torn := tear()
		do(t, os.WriteFile(state, torn, 0o600))
		err := c.Restart(t.Context(), follows)
		if err == nil { // the change met what nothing is read from
			whole(t, client, traffic)
			do(t, c.Stop(follows))
			continue
		}
		refused++
		for _, said := range []string{state, "move the folder"} {
			if !strings.Contains(err.Error(), said) {
				t.Errorf("the node does not say %q: %v", said, err)
			}
		}
		if c.Info(follows).Running {
			t.Error("it runs all the same")
			do(t, c.Kill(follows))
		}
	}
	if refused < 2 {
		t.Errorf("%d of 4 torn files were refused: that cut short and that of zeros have to be", refused)
	}
	do(t, os.Rename(filepath.Dir(state), filepath.Join(t.TempDir(), "away")))
	do(t, c.Restart(t.Context(), follows))
	whole(t, client, traffic)
	if _, err := os.Stat(state); err != nil {
		t.Error(err)
	}
}

func number(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

func flipped(b []byte, at int) []byte {
	out := append([]byte{}, b...)
	out[at] ^= 0xff
	return out
}

// TestStart: what cannot start says why, with the end of its log, and leaves nothing behind.
func TestStart(t *testing.T) {
	path, err := command()
	do(t, err)
	dir := t.TempDir()
	_, err = Start(t.Context(), Options{Command: []string{path}, Dir: dir, Nodes: 2, Shards: 1, Replicas: 3, NodeFlags: []string{"--nonsense"}})
	if !errors.Is(err, ErrProcess) || !strings.Contains(err.Error(), "nonsense") || !strings.Contains(err.Error(), "n1.log") {
		t.Errorf("a flag that is none: %v", err)
	}
	for _, o := range []Options{{Command: []string{path}}, {Nodes: 3}, {Command: []string{path}, Nodes: MaxNodes + 1}} {
		if _, err := Start(t.Context(), o); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := Start(t.Context(), Options{Command: []string{filepath.Join(dir, "none")}, Dir: dir, Nodes: 1, Shards: 1, Replicas: 1}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a binary that is not there: %v", err)
	}
}

// TestEndsWithParent: a process whose input ends, as it does when whoever started it is gone, ends in order.
func TestEndsWithParent(t *testing.T) {
	t.Parallel()
	c, _ := startCluster(t, 1)
	for _, p := range c.parts {
		do(t, p.run.stdin.Close())
	}
	for _, p := range c.parts {
		if !p.run.wait(testPatience) || p.run.err != nil {
			t.Errorf("%s: running %v, %v%s", p.id, p.run.running(), p.run.err, p.tail())
		}
	}
}
