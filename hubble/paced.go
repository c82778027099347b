// SPDX-License-Identifier: Apache-2.0

package hubble

import (
	"net"
	"time"
)

// Pace is how reads of a connection keep apart so that what a busy server sends
// gathers, instead of waking this process for every flow: that costs several
// times as much as the flow itself.
type Pace struct {
	// Between is the mean time between reads of a busy connection. One with
	// less than a packet in that time is not delayed. A wait takes longer than
	// that if it is below 1 ms and the process idle: epoll's clock ticks so.
	Between time.Duration
	// Burst is how many reads may come at once before the first waits: packets
	// that are close together by chance are not delayed.
	Burst int
}

// clientPace is a Client's. It is small beside the tens of milliseconds by which
// an agent's flows trail the kernel.
var clientPace = Pace{Between: 5 * time.Millisecond, Burst: 1}

// pacedConn keeps a pace. It is not for TLS, which reads one record at a time
// however much has gathered.
type pacedConn struct {
	net.Conn
	Pace
	due time.Time // when the pace allows the next read without a burst; Read's caller owns it
}

// Read implements net.Conn; gRPC calls it from one goroutine.
func (c *pacedConn) Read(b []byte) (int, error) {
	if rest := time.Until(c.due.Add(-time.Duration(c.Burst-1) * c.Between)); rest > 0 {
		time.Sleep(rest)
	}
	n, err := c.Conn.Read(b)
	if n < len(b) { // all there was
		if now := time.Now(); c.due.Before(now) {
			c.due = now
		}
		c.due = c.due.Add(c.Between)
	}
	return n, err
}
