// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"
)

// client is a pod's end of a connection. It belongs to one goroutine.
type client struct {
	key
	t     *traffic
	class Class
	conn  *net.TCPConn
	r     *bufio.Reader
	id    uint64
}

// connect opens a connection of a class's pod; port 0 takes a free one. The
// caller closes it.
func (t *traffic) connect(c Class, port, to uint16) (*client, error) {
	k := &client{t: t, class: c, key: t.key(c, port, to)}
	from := t.net.pods
	if c == Own {
		from = t.net.node
	}
	err := from.do(func() error {
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(k.client), KeepAlive: -1, Timeout: openWait}
		conn, err := d.Dial("tcp", k.server.String())
		if err == nil {
			k.conn = conn.(*net.TCPConn)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	k.client = k.conn.LocalAddr().(*net.TCPAddr).AddrPort()
	k.r = bufio.NewReader(k.conn)
	k.id = t.nextID.Add(1)
	t.servers.expect(k.id, expected{key: k.key, keepAlive: c == Idle && k.id%2 == 0})
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open[k] = struct{}{}
	return k, nil
}

// key returns the connection of a class's pod, or of the node, from a port to one of
// the server's.
func (t *traffic) key(c Class, port, to uint16) key {
	client := t.net.pod(t.podOf(c))
	if c == Own {
		client = t.net.family.node
	}
	return key{netip.AddrPortFrom(client, port), netip.AddrPortFrom(t.net.server, to)}
}

// exchange sends 1 to 8 KiB and waits for as much.
func (c *client) exchange() error {
	if err := c.conn.SetDeadline(time.Now().Add(c.t.cfg.Patience)); err != nil {
		return err
	}
	size := randomSize()
	b := binary.BigEndian.AppendUint64(make([]byte, 0, requestHeader+size), c.id)
	b = binary.BigEndian.AppendUint32(b, uint32(size))
	b = binary.BigEndian.AppendUint32(b, uint32(randomSize()))
	if _, err := c.conn.Write(append(b, payload[:size]...)); err != nil {
		return err
	}
	for {
		tag, err := c.receive()
		if err != nil || tag == tagAnswer {
			return err
		}
	}
}

// receive takes the next frame.
func (c *client) receive() (tag byte, err error) {
	var header [frameHeader]byte
	if _, err := io.ReadFull(c.r, header[:]); err != nil {
		return 0, err
	}
	_, err = io.CopyN(io.Discard, c.r, int64(binary.BigEndian.Uint32(header[1:])))
	return header[0], err
}

// pushWait is how long a client waits for what its server sends on its own,
// before it speaks itself.
const pushWait = 500 * time.Millisecond

// openWait is enough for two SYNs.
const openWait = 3 * time.Second

// remainsWait covers a delayed ACK (at most 200 ms in Linux) and its answer.
const remainsWait = time.Second

// pushed has the server speak first and then speaks itself. What the server
// sends may get lost: that is the failure, and no error yet.
func (c *client) pushed() error {
	c.t.servers.push(c.id, randomSize())
	if err := c.conn.SetDeadline(time.Now().Add(pushWait)); err != nil {
		return err
	}
	_, _ = c.r.Peek(frameHeader) // exchange reads it, or the error again
	return c.exchange()
}

// waits has the server speak first and waits for it, as long as it has patience.
func (c *client) waits() error {
	c.t.servers.push(c.id, randomSize())
	if err := c.conn.SetDeadline(time.Now().Add(c.t.cfg.Patience)); err != nil {
		return err
	}
	_, err := c.receive()
	return err
}

// remains waits for the last packets of what was exchanged, an ACK mostly, and
// tells whether the connection survived them.
func (c *client) remains() error {
	if err := c.conn.SetDeadline(time.Now().Add(remainsWait)); err != nil {
		return err
	}
	_, err := c.r.Peek(1)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// abort resets the connection.
func (c *client) abort() {
	_ = c.conn.SetLinger(0) // fails when it is reset already
	c.close()
}

func (c *client) close() {
	c.conn.Close()
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	delete(c.t.open, c)
}

func randomSize() int { return 1<<10 + rand.N(maxPayload-1<<10) }
