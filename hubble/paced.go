// SPDX-License-Identifier: Apache-2.0

package hubble

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Pace is how reads of a connection keep apart so that what a busy server sends
// gathers, instead of waking this process for every flow: that costs several
// times as much as the flow itself.
type Pace struct {
	// Between is the time between reads of a busy connection, which come at its
	// whole multiples of the clock: one wake-up serves all that keep the same
	// pace. One with less than a packet in that time is not delayed. A wait takes
	// longer than that if it is below 1 ms and the process idle: epoll's clock
	// ticks so.
	Between time.Duration
	// Burst is how many reads may come at once before the first waits: packets
	// that are close together by chance are not delayed.
	Burst int
}

// clientPace is a Client's. It is small beside the tens of milliseconds by which
// an agent's flows trail the kernel.
var clientPace = Pace{Between: 10 * time.Millisecond, Burst: 1}

// pacedConn keeps a pace. It is not for TLS, which reads one record at a time
// however much has gathered.
//
// Its socket is not among the files that Go's scheduler polls: that would wake up
// for each flow, whether Read waits for it or not. An epoll set of its own is,
// and has the socket in it while Read waits. And Read receives without telling
// the scheduler, whose monitor then looks 20 µs apart how long a call takes.
type pacedConn struct {
	Pace
	local, remote net.Addr
	socket        int             // used under lock only, which Close waits for
	set           *os.File        // the epoll set
	lock          syscall.RawConn // its
	waits         bool            // the socket is in set; Read's caller owns it
	due           time.Time       // when the pace allows the next read without a burst; Read's caller owns it
}

// newPacedConn takes a connection over, which has been used for nothing yet.
func newPacedConn(nc net.Conn, pace Pace) (*pacedConn, error) {
	defer nc.Close()
	c := &pacedConn{Pace: pace, local: nc.LocalAddr(), remote: nc.RemoteAddr()}
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("%T has no socket", nc)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { c.socket, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, os.NewSyscallError("fcntl", failed)); err != nil {
		return nil, err
	}
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("epoll_create1", err), unix.Close(c.socket))
	}
	err = unix.SetNonblock(set, true) // or os does not have it polled
	c.set = os.NewFile(uintptr(set), "epoll")
	if err == nil {
		c.lock, err = c.set.SyscallConn()
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Read implements net.Conn; gRPC calls it from one goroutine.
func (c *pacedConn) Read(b []byte) (n int, err error) {
	if rest := time.Until(c.due.Add(-time.Duration(c.Burst-1) * c.Between)); rest > 0 {
		time.Sleep(rest)
	}
	closed := c.lock.Read(func(set uintptr) bool {
		if c.waits {
			c.waits = false
			if err = c.control(set, unix.EPOLL_CTL_DEL); err != nil {
				return true
			}
		}
		n, err = receive(c.socket, b)
		if !errors.Is(err, unix.EAGAIN) {
			return true
		}
		err = c.control(set, unix.EPOLL_CTL_ADD)
		c.waits = err == nil
		return !c.waits
	})
	switch {
	case closed != nil:
		return 0, closed
	case err != nil:
		return 0, err
	case n == 0 && len(b) > 0:
		return 0, io.EOF
	}
	if n < len(b) { // all there was
		if now := time.Now(); c.due.Before(now) {
			c.due = now
		}
		c.due = c.due.Add(c.Between - time.Duration(c.due.UnixNano())%c.Between)
	}
	return n, nil
}

func (c *pacedConn) control(set uintptr, op int) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(int(set), op, c.socket, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP}))
}

// receive reads what there is.
func receive(socket int, b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(socket), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, os.NewSyscallError("read", errno)
		}
	}
}

// writeWait is how long Write waits for room at once: Close waits for it, too.
const writeWait = 50 * time.Millisecond

// Write implements net.Conn.
func (c *pacedConn) Write(b []byte) (done int, err error) {
	for done < len(b) && err == nil {
		closed := c.lock.Write(func(uintptr) bool {
			var n int
			n, err = unix.Write(c.socket, b[done:])
			if errors.Is(err, unix.EAGAIN) {
				_, err = unix.Poll([]unix.PollFd{{Fd: int32(c.socket), Events: unix.POLLOUT}}, int(writeWait.Milliseconds())) //nolint:gosec // a file descriptor
			}
			if errors.Is(err, unix.EINTR) {
				err = nil
			}
			done += max(n, 0)
			return true
		})
		err = errors.Join(closed, os.NewSyscallError("write", err))
	}
	return done, err
}

// Close implements net.Conn.
func (c *pacedConn) Close() error {
	if err := c.set.Close(); err != nil { // once
		return err
	}
	return os.NewSyscallError("close", unix.Close(c.socket))
}

// LocalAddr implements net.Conn.
func (c *pacedConn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *pacedConn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *pacedConn) SetDeadline(t time.Time) error { return c.set.SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (c *pacedConn) SetReadDeadline(t time.Time) error { return c.set.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn. A Write that waits notices it late, by
// writeWait at most.
func (c *pacedConn) SetWriteDeadline(t time.Time) error { return c.set.SetWriteDeadline(t) }
