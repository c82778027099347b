// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"
)

// socketMode is that of Cilium's own socket (pkg/api.SetDefaultPermissions).
const socketMode = 0o660

// ErrAddress says that an address is none, or is not one to serve at as things
// are.
var ErrAddress = errors.New("not an address to serve the Observer at")

// Listen opens where to serve: unix:///path, or host:port of TCP.
//
// A Unix socket belongs to root and group, if there is such a group, as
// Cilium's does; nobody else may connect. TCP beyond this machine is for
// clients with a certificate only: t must name the authorities of theirs.
func Listen(ctx context.Context, address, group string, t *ServerTLS) (net.Listener, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return listenUnix(ctx, strings.TrimPrefix(path, "//"), group)
	}
	hostport := strings.TrimPrefix(strings.TrimPrefix(address, "tcp://"), "tls://")
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, fmt.Errorf("%q is %w: it is neither unix:///path nor host:port", address, ErrAddress)
	}
	if ip, err := netip.ParseAddr(host); (err != nil || !ip.IsLoopback()) && host != "localhost" {
		switch {
		case t == nil:
			return nil, fmt.Errorf("%q is %w: beyond 127.0.0.1 it needs TLS, give a certificate and its key", address, ErrAddress)
		case len(t.ClientCAFiles) == 0:
			return nil, fmt.Errorf("%q is %w: beyond 127.0.0.1 only clients with a certificate may see flows, give their authority", address, ErrAddress)
		}
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", hostport)
	if err != nil {
		return nil, fmt.Errorf("serving the Observer, choose another address: %w", err)
	}
	return l, nil
}

// listenUnix makes the socket beside its place and moves it there when its
// rights are set: it is never there with others. What a killed process left
// behind is replaced.
func listenUnix(ctx context.Context, path, group string) (net.Listener, error) {
	fail := func(err error) (net.Listener, error) {
		return nil, fmt.Errorf("serving the Observer on the socket %s: %w", path, err)
	}
	switch info, err := os.Lstat(path); {
	case path == "":
		return fail(errors.New("give its path like unix:///var/run/renat/hubble.sock"))
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fail(err)
	case info.Mode().Type() != fs.ModeSocket:
		return fail(errors.New("something else is there"))
	case alive(ctx, path):
		return fail(errors.New("another process serves there"))
	}
	gid, err := groupID(group)
	if err != nil {
		return fail(err)
	}
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", fresh)
	if err != nil {
		return fail(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := errors.Join(own(fresh, gid), os.Chmod(fresh, socketMode), os.Rename(fresh, path)); err != nil {
		l.Close()
		os.Remove(fresh)
		return fail(err)
	}
	return &socket{Listener: l, path: path}, nil
}

// own gives the socket to a group; -1: to none.
func own(path string, gid int) error {
	if gid < 0 {
		return nil
	}
	return os.Chown(path, -1, gid)
}

// groupID returns -1 for no group, and for a name that is unknown, as all are
// in an image without /etc/group: only the socket's owner may connect then, or
// who is in this process's group.
func groupID(group string) (int, error) {
	if group == "" {
		return -1, nil
	}
	g, err := user.LookupGroup(group)
	var unknown user.UnknownGroupError
	if errors.As(err, &unknown) || errors.Is(err, fs.ErrNotExist) {
		n, err := strconv.Atoi(group)
		if err != nil {
			return -1, nil
		}
		return n, nil
	}
	if err != nil {
		return -1, err
	}
	return strconv.Atoi(g.Gid)
}

// alive reports whether somebody answers on a socket.
func alive(ctx context.Context, path string) bool {
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// socket removes its file when it is closed.
type socket struct {
	net.Listener
	path string
}

func (s *socket) Close() error {
	if err := s.Listener.Close(); err != nil {
		return err // closed before
	}
	return os.Remove(s.path)
}
