// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/renat-project/renat/sinks/jetstream/embedded"
)

// hub is a NATS server that can be stopped and comes back where it was.
type hub struct {
	*embedded.Server
	t           testing.TB
	dir, listen string
}

func startHub(t testing.TB) *hub {
	t.Helper()
	h := &hub{t: t, dir: t.TempDir(), listen: "127.0.0.1:0"}
	h.start()
	t.Cleanup(func() { h.Shutdown() })
	return h
}

func (h *hub) start() {
	h.t.Helper()
	s, err := embedded.Start(h.t.Context(), embedded.Config{Dir: h.dir, Listen: h.listen, Log: zerolog.Nop()})
	if err != nil {
		h.t.Fatal(err)
	}
	h.Server, h.listen = s, s.ClientURL()[len("nats://"):]
}

// slowLine returns the address of a proxy that delivers everything late, in
// both directions.
func slowLine(t testing.TB, to string, delay time.Duration) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var lines sync.WaitGroup
	t.Cleanup(func() { l.Close(); lines.Wait() })
	lines.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				near.Close()
				continue
			}
			lines.Go(func() { carry(far, near, delay) })
			lines.Go(func() { carry(near, far, delay) })
		}
	})
	return l.Addr().String()
}

// carry copies with a delay until one side ends.
func carry(to, from net.Conn, delay time.Duration) {
	type parcel struct {
		due  time.Time
		data []byte
	}
	parcels := make(chan parcel, 4096)
	go func() {
		defer close(parcels)
		for {
			data := make([]byte, 16<<10)
			n, err := from.Read(data)
			parcels <- parcel{time.Now().Add(delay), data[:n]}
			if err != nil {
				return
			}
		}
	}()
	for p := range parcels {
		time.Sleep(time.Until(p.due))
		if _, err := to.Write(p.data); err != nil {
			break
		}
	}
	to.Close()
	from.Close()
	for range parcels {
	}
}
