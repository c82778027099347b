// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// Whoever keeps connections open cannot make the agent keep more of them than
// it has memory for; when one closes, the next is served.
func TestConnectionsAreBounded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		ended <- serve(ctx, l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	}()
	defer func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}()
	ask := func(wait time.Duration) (net.Conn, error) {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(wait))
		_, err = io.ReadAtLeast(conn, make([]byte, 512), 12)
		return conn, err
	}
	var open []net.Conn
	defer func() {
		for _, conn := range open {
			conn.Close()
		}
	}()
	for n := range maxConnections {
		conn, err := ask(time.Minute)
		open = append(open, conn)
		if err != nil {
			t.Fatalf("connection %d: %v", n, err)
		}
	}
	conn, err := ask(100 * time.Millisecond)
	open = append(open, conn)
	if err == nil {
		t.Fatalf("%d connections are served at once", maxConnections+1)
	}
	open[0].Close()
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.ReadAtLeast(conn, make([]byte, 512), 12); err != nil {
		t.Errorf("one has closed, and the next is not served: %v", err)
	}
}
