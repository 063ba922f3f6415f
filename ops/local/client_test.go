package local

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// TestClients: clients of other languages walk through the HTTP API of a real router.
func TestClients(t *testing.T) {
	t.Parallel()
	path, err := command()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Start(t.Context(), Options{Command: []string{path}, Dir: t.TempDir(), Nodes: 1, Shards: 2, Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, client := range []struct{ script, needs string }{{"client.py", "python3"}, {"client.sh", "curl"}} {
		t.Run(client.script, func(t *testing.T) {
			if _, err := exec.LookPath(client.needs); err != nil {
				t.Skipf("%s is not on this machine; .ci/run needs it", client.needs)
			}
			out, err := exec.CommandContext(t.Context(), filepath.Join("..", "..", "testdata", "clients", client.script), "http://"+c.HTTP()).CombinedOutput()
			if err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}
