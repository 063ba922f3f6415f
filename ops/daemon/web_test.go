package daemon

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestMovingAnswer: an answer whose reader takes nothing ends; one that is taken comes whole, and the next on the same connection too.
func TestMovingAnswer(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	whole := strings.Repeat("0123456789abcdef", 3*progressBytes/16) + "rest"
	s := httptest.NewServer(moving(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/whole" {
			fmt.Fprint(w, whole)
			return
		}
		for {
			if _, err := fmt.Fprint(w, whole); err != nil {
				ended <- err
				return
			}
		}
	}), time.Second))
	defer s.Close()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /endless HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := (<-ended).(net.Error); !err.Timeout() {
		t.Error(err)
	}
	for range 2 {
		a, err := http.Get(s.URL + "/whole")
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(a.Body); err != nil || string(b) != whole {
			t.Errorf("%d bytes of %d, %v", len(b), len(whole), err)
		}
		a.Body.Close()
	}
}

// TestBodyThatDoesNotCome: it keeps no place from others.
func TestBodyThatDoesNotCome(t *testing.T) {
	t.Parallel()
	_, router, _ := loaded(t, 0, "--max-requests", "1")
	c, err := net.Dial("tcp", router.at.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "POST /v1/collections/papers:search HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") { // its handler waits
		t.Fatalf("%q, %v", line, err)
	}
	if code, body := router.get("/v1/status"); code != http.StatusOK {
		t.Errorf("%d %s", code, body)
	}
}
