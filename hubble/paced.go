// SPDX-License-Identifier: Apache-2.0

package hubble

import (
	"net"
	"time"
)

// pace is a Client's shortest time between two reads of a busy connection. It is
// small beside the tens of milliseconds by which an agent's flows trail the
// kernel.
const pace = 5 * time.Millisecond

// pacedConn lets what a busy server sends gather, instead of waking this
// process for every flow: that costs several times as much as the flow itself.
// A connection with less than one packet in a pace is not delayed. It is not
// for TLS, which reads one record at a time however much has gathered.
type pacedConn struct {
	net.Conn
	pace time.Duration
	last time.Time // when a read last took all there was; Read's caller owns it
}

// Read implements net.Conn; gRPC calls it from one goroutine.
func (c *pacedConn) Read(b []byte) (int, error) {
	if rest := c.pace - time.Since(c.last); rest > 0 {
		time.Sleep(rest)
	}
	n, err := c.Conn.Read(b)
	if n < len(b) {
		c.last = time.Now()
	}
	return n, err
}
