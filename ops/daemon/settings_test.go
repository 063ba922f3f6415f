package daemon

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"ostraca/retrieval"
)

// read reads a command line, and a file where there is one, as the commands do.
func read(t *testing.T, o *common, c *cobra.Command, check func(io.Writer) error, file string, args ...string) error {
	t.Helper()
	if file != "" {
		path := filepath.Join(t.TempDir(), "settings.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	if err := c.ParseFlags(args); err != nil {
		return err
	}
	return o.configure(io.Discard, check)
}

func readNode(t *testing.T, file string, args ...string) (*nodeOptions, error) {
	o, c := &nodeOptions{}, &cobra.Command{Use: "node"}
	o.register(c)
	return o, read(t, &o.common, c, o.check, file, args...)
}

func readRouter(t *testing.T, file string, args ...string) (*routerOptions, error) {
	o, c := &routerOptions{}, &cobra.Command{Use: "router"}
	o.register(c)
	return o, read(t, &o.common, c, o.check, file, args...)
}

// TestSettings: what is said nowhere, in the file, on the command line, and in both.
func TestSettings(t *testing.T) {
	o, err := readNode(t, "", "--id", "n1", "--dir", "d")
	if err != nil || o.listen != "127.0.0.1:7400" || o.http != "127.0.0.1:7401" || o.expect != 1 || o.replicas != 1 || o.shards != defaultShards || o.drain != defaultDrain {
		t.Errorf("%v: %+v", err, o)
	}
	o, err = readNode(t, "# comment\nid: n2\ndir: d\njoin: [a:1, b:2]\nbootstrap-expect: 5\ndrain-timeout: 3s\nshards: 7\nexit-with-stdin: true\n", "--shards", "9")
	if err != nil || o.id != "n2" || !slices.Equal(o.join, []string{"a:1", "b:2"}) || o.expect != 5 || o.replicas != 3 || o.drain != 3*time.Second || o.shards != 9 || !o.exitWithStdin {
		t.Errorf("%v: %+v", err, o)
	}
	for _, join := range []string{"join: a:1,b:2", "join: [a:1, b:2]"} {
		r, err := readRouter(t, join)
		if err != nil || !slices.Equal(r.join, []string{"a:1", "b:2"}) || !strings.HasPrefix(r.id, routerPrefix) || r.encoder != defaultEncoder {
			t.Errorf("%s: %v: %+v", join, err, r)
		}
	}
	r, err := readRouter(t, "join: [a:1]", "--join", "c:3", "--join", "d:4", "--id", "east")
	if err != nil || !slices.Equal(r.join, []string{"c:3", "d:4"}) || r.id != "router-east" {
		t.Errorf("%v: %+v", err, r)
	}
	if r, err = readRouter(t, "", "--join", "a:1", "--id", "router-east"); err != nil || r.id != "router-east" {
		t.Errorf("%v: %q", err, r.id)
	}
	if err := func() error { _, err := readNode(t, "#\n", "--id", "n", "--dir", "d"); return err }(); err != nil {
		t.Errorf("a file of comments: %v", err)
	}
}

// TestSettingsWrong: all that is wrong is told at once, where it stands, with what is allowed; and it is right again without it.
func TestSettingsWrong(t *testing.T) {
	for _, c := range []struct {
		name, file string
		router     bool
		args, want []string
	}{
		{"missing", "", false, nil, []string{"--id is needed", "--dir is needed"}},
		{"missing of a router", "", true, nil, []string{"--join is needed"}},
		{"flags", "", false, []string{"--id", "N!", "--shards", "x", "--drain-timeout", "10", "--listen", "here", "--join", "a:0", "--log-level", "loud", "--log-format", "xml",
			"--threads", "-1", "--kernel", "abacus", "--snapshot-bytes", "1", "--replicas", "0.5"},
			[]string{`--id is "N!": it must be 1 to 64 of a-z`, "--dir is needed", `--shards is "x": it must be a whole number`, `--drain-timeout is "10": it must be a duration with its unit`,
				`--listen is "here": it must be host:port`, `--join is "a:0"`, `--log-level is "loud": it must be debug, info, warn or error`, `--log-format is "xml": it must be text or json`,
				"--threads is -1: it must be 0 to 1024", `--kernel is "abacus"`, "--snapshot-bytes is 1: it must be 0, or 65536 to", "--replicas", "--bootstrap-expect is needed with --join"}},
		{"file", "id: n1\ndir: [a]\nshards: 3.5\nliste: 1\nreplicas: {a: b}\nid: n2\nhttp:\nlisten: 127.0.0.1:99999\n", false, nil,
			[]string{":2: dir has a value of the wrong kind: it must be a text", `:3: shards is "3.5": it must be a whole number`, ":4: liste is no setting; there are address-file, advertise",
				":5: replicas has a value of the wrong kind: it must be a whole number", ":6: id is there twice", ":7: http has a value", `:8: listen is "127.0.0.1:99999"`}},
		{"too many", "id: n1\ndir: d\nbootstrap-expect: 2\nreplicas: 3\nshards: 5000\n", false, nil, []string{":4: replicas is 3: it must be 1 to 2", ":5: shards is 5000: it must be 1 to 4096"}},
		{"a router's name", "", false, []string{"--id", "router-1", "--dir", "d"}, []string{"only a router's begins with router-"}},
		{"every address", "", false, []string{"--id", "n", "--dir", "d", "--listen", "0.0.0.0:7400"}, []string{"--advertise is needed"}},
		{"advertise", "", false, []string{"--id", "n", "--dir", "d", "--advertise", ":7400"}, []string{`--advertise is ":7400"`}},
		{"router", "", true, []string{"--join", "a:1", "--grpc", "x", "--encoder", "", "--max-tokens", "5000", "--query-tokens", "1", "--max-requests", "0", "--hedge", "0s", "--timeout", "2h"},
			[]string{`--grpc is "x"`, "--encoder is empty", "--max-tokens is 5000: it must be 0 (the model's own) or", "--query-tokens is 1", "--max-requests is 0", "--hedge is 0s", "--timeout is 2h0m0s"}},
		{"no YAML", "a: b: c", false, nil, []string{"is no YAML"}},
		{"a list", "- a", false, nil, []string{"must be keys and values"}},
		{"config in the file", "config: x", false, []string{"--id", "n", "--dir", "d"}, []string{"config is no setting"}},
	} {
		var err error
		if c.router {
			_, err = readRouter(t, c.file, c.args...)
		} else {
			_, err = readNode(t, c.file, c.args...)
		}
		if !errors.Is(err, retrieval.ErrInvalid) {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q is missing in\n%v", c.name, w, err)
			}
		}
		if lines := strings.Count(err.Error(), "\n"); len(c.want) > 1 && lines != len(c.want) {
			t.Errorf("%s: %d complaints, %d wanted:\n%v", c.name, lines, len(c.want), err)
		}
	}
	if _, err := readNode(t, "", "--config", "/does/not/exist"); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "--config") {
		t.Error(err)
	}
}

// TestHelp: every setting says what it is, and its type or unit.
func TestHelp(t *testing.T) {
	for _, c := range []*cobra.Command{NodeCommand(), RouterCommand(small)} {
		help := c.UsageString()
		for _, f := range []string{"--listen", "--join", "--http", "--config", "--drain-timeout duration", `(default "127.0.0.1:`, "10s"} {
			if !strings.Contains(help, f) {
				t.Errorf("%s: %q is missing in\n%s", c.Name(), f, help)
			}
		}
	}
}
