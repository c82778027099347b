// SPDX-License-Identifier: Apache-2.0

package hubble

import (
	"fmt"
	"net"
	"strings"
)

// DefaultAddress is where a Cilium agent listens on its own node.
const DefaultAddress = "unix:///var/run/cilium/hubble.sock"

// address is a server's address, taken apart.
type address struct {
	network string // "unix" or "tcp"
	target  string // a path, or host:port
	tls     bool   // tls:// was given
}

// parseAddress reads unix:///path, unix:path, host:port, tcp://host:port and
// tls://host:port, the forms that the hubble CLI takes.
func parseAddress(s string) (address, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		path = strings.TrimPrefix(path, "//")
		if path == "" {
			return address{}, fmt.Errorf("hubble address %q has no path: give one like %s", s, DefaultAddress)
		}
		return address{network: "unix", target: path}, nil
	}
	a := address{network: "tcp"}
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		scheme, rest = "tcp", s
	}
	switch scheme {
	case "tcp":
	case "tls":
		a.tls = true
	default:
		return address{}, fmt.Errorf("hubble address %q has the unknown scheme %q: use unix://, tcp:// or tls://", s, scheme)
	}
	if _, port, err := net.SplitHostPort(rest); err != nil || port == "" {
		return address{}, fmt.Errorf("hubble address %q is not host:port: give one like tls://node:4244 or %s", s, DefaultAddress)
	}
	a.target = rest
	return a, nil
}

// host returns the name a server's certificate is checked against when no
// other was configured.
func (a address) host() string {
	if a.network == "unix" {
		return "localhost"
	}
	host, _, err := net.SplitHostPort(a.target)
	if err != nil {
		return a.target
	}
	return host
}

// dialed returns the address as gRPC takes it, for a dialer that knows the
// network. A path is no host name to send.
func (a address) dialed() string {
	if a.network == "unix" {
		return "passthrough:///localhost"
	}
	return "passthrough:///" + a.target
}
