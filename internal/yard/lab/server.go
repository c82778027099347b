// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// A request is the client's id of the connection, the size of what follows and
// of the wanted answer. What a server sends begins with a tag and a size.
const (
	requestHeader = 8 + 4 + 4
	frameHeader   = 1 + 4

	tagAnswer = 'a'
	tagPush   = 'p' // sent without being asked

	maxPayload = 8 << 10
)

// port is the server's; there is one of a port for each way to talk.
const (
	portLong = 8443
	portPush = 9443
	// portScarce is that to which there are few source ports.
	portScarce = 7443
	// portFiltered is that whose resets the node's firewall drops.
	portFiltered = 6443
	portShort    = 8080
)

// keepAlive is when a server probes a silent connection: not Go's 15 s, so that
// short runs have some, too.
const keepAlive = 5 * time.Second

// servers answer clients, and speak first when told to.
type servers struct {
	account   *account
	listeners []net.Listener
	running   sync.WaitGroup

	mu       sync.Mutex // guards what follows
	expected map[uint64]expected
	sockets  map[net.Conn]struct{}
	byID     map[uint64]net.Conn
}

// expected is a connection that a client is about to use.
type expected struct {
	key
	keepAlive bool
}

func listen(at *space, ip netip.Addr, a *account) (*servers, error) {
	s := &servers{account: a, expected: map[uint64]expected{}, sockets: map[net.Conn]struct{}{}, byID: map[uint64]net.Conn{}}
	for _, port := range []uint16{portLong, portPush, portScarce, portFiltered, portShort} {
		err := at.do(func() error {
			cfg := net.ListenConfig{KeepAlive: -1}
			l, err := cfg.Listen(context.Background(), "tcp", netip.AddrPortFrom(ip, port).String())
			if err == nil {
				s.listeners = append(s.listeners, l)
			}
			return err
		})
		if err != nil {
			s.close()
			return nil, fmt.Errorf("starting the servers: %w", err)
		}
	}
	for _, l := range s.listeners {
		s.running.Go(func() { s.accept(l) })
	}
	return s, nil
}

// close ends all connections and waits until they have ended.
func (s *servers) close() {
	for _, l := range s.listeners {
		l.Close()
	}
	s.mu.Lock()
	for c := range s.sockets {
		c.Close()
	}
	s.mu.Unlock()
	s.running.Wait()
}

// expect tells which connection will show id in its first request.
func (s *servers) expect(id uint64, e expected) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expected[id] = e
}

// push has the server send something on a connection. Its failure is no news:
// what counts is what the client sees.
func (s *servers) push(id uint64, size int) {
	s.mu.Lock()
	conn := s.byID[id]
	s.mu.Unlock()
	if conn != nil {
		_ = send(conn, tagPush, size)
	}
}

func (s *servers) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // that of a connection which ended before it was taken
		}
		s.mu.Lock()
		s.sockets[conn] = struct{}{}
		s.mu.Unlock()
		s.running.Go(func() { s.serve(conn) })
	}
}

// serve answers until the connection ends.
func (s *servers) serve(conn net.Conn) {
	var id uint64
	defer func() {
		conn.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.sockets, conn)
		delete(s.byID, id)
	}()
	r := bufio.NewReader(conn)
	header := make([]byte, requestHeader)
	for {
		if _, err := io.ReadFull(r, header); err != nil {
			return
		}
		if id == 0 {
			id = binary.BigEndian.Uint64(header)
			s.greet(id, conn)
		}
		if _, err := io.CopyN(io.Discard, r, int64(binary.BigEndian.Uint32(header[8:]))); err != nil {
			return
		}
		if err := send(conn, tagAnswer, int(binary.BigEndian.Uint32(header[12:]))); err != nil {
			return
		}
	}
}

// greet takes a connection's first request.
func (s *servers) greet(id uint64, conn net.Conn) {
	s.mu.Lock()
	e := s.expected[id]
	delete(s.expected, id)
	s.byID[id] = conn
	s.mu.Unlock()
	s.account.accepted(e.key, conn.RemoteAddr().(*net.TCPAddr).AddrPort())
	if e.keepAlive {
		probe := net.KeepAliveConfig{Enable: true, Idle: keepAlive, Interval: keepAlive, Count: 3}
		// A connection that has just ended cannot be configured; nobody minds.
		_ = conn.(*net.TCPConn).SetKeepAliveConfig(probe)
	}
}

// payload is what all send: its content does not matter.
var payload = make([]byte, maxPayload)

func send(w io.Writer, tag byte, size int) error {
	b := make([]byte, 0, frameHeader+size)
	b = append(b, tag)
	b = binary.BigEndian.AppendUint32(b, uint32(size))
	_, err := w.Write(append(b, payload[:size]...))
	return err
}
