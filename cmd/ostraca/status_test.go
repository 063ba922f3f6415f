package main

import (
	"bytes"
	"strings"
	"testing"

	"ostraca/api"
)

// TestStatusUnreachable: of a replica that does not answer no number is made up, and a node none of whose replicas answers is not called
// alive.
func TestStatusUnreachable(t *testing.T) {
	var out bytes.Buffer
	a := &app{out: &out}
	a.printStatus(&api.StatusResponse{
		Nodes: []*api.NodeStatus{{Node: "n1", Address: "a:1", Alive: true, Replicas: 1}, {Node: "n2", Address: "a:2", Alive: true, Replicas: 1}, {Node: "n3", Address: "a:3", Alive: true}},
		Shards: []*api.ShardStatus{{Leader: "n1", DigestsAgree: true, Replicas: []*api.ReplicaStatus{
			{Node: "n1", Role: "leader", Applied: 7}, {Node: "n2", Role: unreachable, Trouble: strings.Repeat("no route to it; ", 20)},
		}}},
	})
	var lines []string
	for line := range strings.Lines(out.String()) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	text := strings.Join(lines, "\n")
	for _, want := range []string{"n1 a:1 alive 1 0", "n2 a:2 unreachable 1 0", "n3 a:3 alive 0 0", "0 n1 leader 7 0 0 0", "0 n2 unreachable - - - - - - - no route to it;"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	for _, line := range lines {
		if len([]rune(line)) > 120 {
			t.Errorf("a line of %d characters: %s", len([]rune(line)), line)
		}
	}
}
