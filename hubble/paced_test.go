// SPDX-License-Identifier: Apache-2.0

package hubble

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pacedPair returns both ends of a connection, the first of which keeps a pace.
func pacedPair(t *testing.T, network string, pace Pace) (*pacedConn, net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "sock")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c, err := newPacedConn(near, pace)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); far.Close() })
	return c, far
}

// TestPacedConnection has bytes pass in both directions, as they come: at once,
// and after pauses in which the reader begins to wait.
func TestPacedConnection(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		for _, pace := range []Pace{clientPace, {Between: 250 * time.Microsecond, Burst: 4}} {
			c, far := pacedPair(t, network, pace)
			sent := make([]byte, 1<<20)
			for i := range sent {
				sent[i] = byte(rand.Uint32())
			}
			ends := [2]struct {
				w io.WriteCloser
				r io.Reader
			}{{far, c}, {c, far}}
			for _, end := range ends {
				go func() {
					for rest := sent; len(rest) > 0; {
						n := min(1+rand.IntN(1<<17), len(rest))
						if _, err := end.w.Write(rest[:n]); err != nil {
							return // what is read tells
						}
						rest = rest[n:]
						time.Sleep(rand.N(2 * pace.Between))
					}
				}()
				got := make([]byte, len(sent))
				if _, err := io.ReadFull(end.r, got); err != nil || !bytes.Equal(got, sent) {
					t.Fatalf("%s: %v", network, err)
				}
			}
			far.Close()
			if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
				t.Errorf("%s: at the end: %d, %v", network, n, err)
			}
		}
	}
}

// TestPacedConnectionGathers has what comes one by one read in few pieces.
func TestPacedConnectionGathers(t *testing.T) {
	c, far := pacedPair(t, "unix", clientPace)
	const flows = 200
	go func() {
		for range flows {
			_, _ = far.Write([]byte{1}) // what is read tells
			time.Sleep(clientPace.Between / 20)
		}
		far.Close()
	}()
	reads, got, b := 0, 0, make([]byte, flows)
	began := time.Now()
	for {
		n, err := c.Read(b)
		if got += n; errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		reads++
	}
	if most := int(time.Since(began)/clientPace.Between) + 2; got != flows || reads > most {
		t.Errorf("%d of %d bytes in %d reads, want at most %d", got, flows, reads, most)
	}
}

// TestPacedConnectionEnds wants who waits to be told when the connection is
// closed, and when its deadline is set to a moment that passes.
func TestPacedConnectionEnds(t *testing.T) {
	write := func(c *pacedConn) error {
		for {
			if _, err := c.Write(make([]byte, 1<<20)); err != nil {
				return err
			}
		}
	}
	read := func(c *pacedConn) error {
		_, err := c.Read(make([]byte, 1))
		return err
	}
	close := func(c *pacedConn) error { return c.Close() }
	soon := func(c *pacedConn) error { return c.SetDeadline(time.Now().Add(time.Millisecond)) }
	for name, tc := range map[string]struct {
		do, end func(*pacedConn) error
		want    string
	}{
		"read, closed":      {read, close, "closed"},
		"read, too long":    {read, soon, "timeout"},
		"write, closed":     {write, close, "closed"},
		"write, too long":   {write, soon, "timeout"},
		"read, after that":  {func(c *pacedConn) error { c.Close(); return read(c) }, close, "closed"},
		"write, after that": {func(c *pacedConn) error { c.Close(); return write(c) }, close, "closed"},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := pacedPair(t, "unix", clientPace)
			ended := make(chan error)
			go func() { ended <- tc.do(c) }()
			time.Sleep(30 * time.Millisecond) // it waits
			_ = tc.end(c)                     // it may be closed
			if err := <-ended; !strings.Contains(err.Error(), tc.want) {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}
