// SPDX-License-Identifier: Apache-2.0

package hubble

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Reasons why a stream ended that the server does not name.
var (
	errSilent = errors.New("the server sees flows but sends none")
	errEnded  = errors.New("the server ended the stream")
	errMask   = errors.New("the server refuses the field mask")
)

// explain names the address and says what to do about an error of a call.
func (c *Client) explain(conn *connection, err error) error {
	cause := err
	if fault := conn.fault(); fault != nil && status.Code(err) == codes.Unavailable {
		cause = fault
	} else if st, ok := status.FromError(err); ok {
		cause = errors.New(st.Message())
		if st.Message() == "" {
			cause = errors.New(st.Code().String())
		}
	}
	if advice := c.advice(cause, status.Code(err)); advice != "" {
		cause = fmt.Errorf("%w: %s", cause, advice)
	}
	return c.named("reading flows from Hubble at", cause)
}

func (c *Client) advice(err error, code codes.Code) string {
	var (
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		lookup    *net.DNSError
	)
	switch text := err.Error(); {
	case errors.Is(err, fs.ErrNotExist):
		return "is Cilium running on this node with Hubble enabled, and is the socket's directory mounted here?"
	case errors.Is(err, fs.ErrPermission):
		return "the socket belongs to root and the group cilium: run as one of them"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there: the Cilium agent may be restarting, or Hubble is disabled"
	case errors.As(err, &lookup):
		return "check the server's name"
	case errors.As(err, &authority):
		return "give the authority that signed Hubble's certificates (ca.crt of its TLS secret) as CA file"
	case errors.As(err, &hostname):
		return "set the TLS server name to one of the certificate's names, such as <node>.default.hubble-grpc.cilium.io or ui.hubble-relay.cilium.io"
	case errors.As(err, &invalid):
		return "check the certificate's dates and usage, and this machine's clock"
	case errors.As(err, &record), strings.Contains(text, "first record does not look like a TLS handshake"):
		return "the server speaks plain text: connect without TLS (tcp:// or unix://)"
	case strings.Contains(text, "remote error: tls:"):
		return "the server does not accept this client's certificate: give a client certificate and key signed by Hubble's authority"
	case c.target.tls != nil && (strings.Contains(text, "broken pipe") || strings.Contains(text, "connection reset by peer")):
		// A server that refuses a certificate may be gone before it can be asked why.
		return "the server broke off; if that goes on, give a client certificate and key signed by Hubble's authority"
	case strings.Contains(text, "error reading server preface") && c.target.tls == nil:
		return "the server seems to want TLS: connect with tls:// and give its CA"
	case code == codes.Unimplemented:
		return "what listens there is no Hubble server"
	case code == codes.DeadlineExceeded:
		return "the server does not answer in time: the agent may be overloaded"
	}
	return ""
}
