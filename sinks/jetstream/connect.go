// SPDX-License-Identifier: Apache-2.0

package jetstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

const (
	dialTimeout   = 2 * time.Second
	reconnectWait = 500 * time.Millisecond
	// sayAfter is how long Connect waits in silence.
	sayAfter = time.Second
	// The agents of a cluster that lost one server come back spread over this.
	reconnectJitter = time.Second
)

// ErrUnreachable says that no server answered within Config.Wait.
var ErrUnreachable = errors.New("NATS is not reachable")

// ErrRefused says that a server answered and refused this client: its
// credentials or the TLS settings of one side are wrong. Trying again is no use.
var ErrRefused = errors.New("NATS refused the connection")

// MinServer is the oldest NATS server that renat works with: the first that
// tells who watches a bucket when a value in it has expired (limit_marker_ttl).
const MinServer = "2.11.0"

// ErrTooOld says that a server is older than MinServer.
var ErrTooOld = errors.New("the NATS server is too old")

// Config says how to reach NATS.
type Config struct {
	// URL of the server, or several separated by commas. It may hold a user
	// and password or a token; they never appear in errors or logs.
	URL string
	// InProcess is an embedded server to use instead of URL.
	InProcess nats.InProcessConnProvider
	// Name is what the server's operator sees, e.g. "renat agent node-a".
	Name string
	// Inbox begins the subjects on which answers come, e.g.
	// "_INBOX.production.node-a"; empty: _INBOX. A server can then let this
	// client hear its own answers only.
	Inbox string
	// Creds is a NATS credentials file (JWT and seed). It is read again at
	// every reconnect, so it can be rotated.
	Creds string
	// User and the file with its password, for servers that ask for these.
	// URL then holds none. The file is read again at every connect.
	User, PasswordFile string
	// CA, Cert and Key are PEM files for TLS: who signed the server's
	// certificate, and the client's own pair for mutual TLS.
	CA, Cert, Key string
	// Wait is how long Connect waits for a server. 0: it does not wait, and
	// the connection is made in the background whenever a server appears.
	Wait time.Duration
	// Log takes that Connect waits, and what happens to the connection later.
	Log zerolog.Logger
}

// Connect connects to NATS and keeps reconnecting until the connection is
// closed. Files that cannot be used are reported at once, whatever Wait is.
// While waiting, an attempt in progress may outlast ctx by two seconds a server.
func Connect(ctx context.Context, c Config) (*nats.Conn, error) {
	dial, shown, err := c.target()
	if err != nil {
		return nil, fmt.Errorf("connecting to NATS: %w", err)
	}
	opts, err := c.options()
	if err != nil {
		return nil, fmt.Errorf("connecting to NATS at %s: %w", shown, err)
	}
	up, failed := make(chan struct{}, 1), make(chan error, 1)
	opts = append(opts,
		nats.ConnectHandler(func(nc *nats.Conn) {
			c.connected(nc, "connected to NATS")
			up <- struct{}{}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			c.Log.Debug().Err(err).Str("url", shown).Msg("connecting to NATS")
			select {
			case <-failed: //nolint:errcheck // only the latest is of interest
			default:
			}
			failed <- err
		}))
	timeout := time.NewTimer(c.Wait)
	defer timeout.Stop()
	if c.Wait > sayAfter {
		defer time.AfterFunc(sayAfter, func() {
			c.Log.Warn().Str("url", shown).Stringer("at_most", c.Wait).Msg("waiting for NATS to answer")
		}).Stop()
	}
	nc, err := nats.Connect(dial, opts...)
	if err != nil {
		return nil, fmt.Errorf("connecting to NATS at %s: %w", shown, err)
	}
	if c.Wait == 0 {
		return nc, nil
	}
	err = c.await(ctx, shown, timeout.C, up, failed)
	if err == nil {
		err = Supported(nc)
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return nc, nil
}

// Supported returns nil if the server that nc is connected to is one that renat
// works with, or if it is not connected, else ErrTooOld.
func Supported(nc *nats.Conn) error {
	if version := nc.ConnectedServerVersion(); version != "" && older(version, MinServer) {
		return fmt.Errorf("%w: %s runs %s, renat needs %s or later", ErrTooOld, nc.ConnectedAddr(), version, MinServer)
	}
	return nil
}

// older reports whether the version a is before b. What does not begin with
// three numbers is before none.
func older(a, b string) bool {
	x, errA := numbers(a)
	y, errB := numbers(b)
	return errA == nil && errB == nil && slices.Compare(x[:], y[:]) < 0
}

func numbers(version string) (n [3]int, err error) {
	_, err = fmt.Sscanf(version, "%d.%d.%d", &n[0], &n[1], &n[2])
	return n, err
}

func (c Config) connected(nc *nats.Conn, what string) {
	c.Log.Info().Str("server", nc.ConnectedAddr()).Str("version", nc.ConnectedServerVersion()).Msg(what)
	if err := Supported(nc); err != nil {
		c.Log.Error().Err(err).Msg("upgrade it")
	}
}

func (c Config) target() (dial, shown string, err error) {
	if c.InProcess != nil {
		return nats.DefaultURL, "the embedded server", nil
	}
	if c.URL == "" {
		return "", "", errNoURL
	}
	return parseURLs(c.URL)
}

// await returns when the connection is up or will not be.
func (c Config) await(ctx context.Context, shown string, timeout <-chan time.Time, up <-chan struct{}, failed <-chan error) error {
	last := errors.New("no answer")
	for {
		select {
		case <-up:
			return nil
		case last = <-failed:
			if err := refusal(last); err != nil {
				return fmt.Errorf("%s: %w: %w", shown, err, last)
			}
		case <-timeout:
			return fmt.Errorf("%w at %s within %s: see that the URL is right and the server runs: %w", ErrUnreachable, shown, c.Wait, last)
		case <-ctx.Done():
			return fmt.Errorf("connecting to NATS at %s: %w", shown, ctx.Err())
		}
	}
}

// refusal returns what to do about an error that trying again does not mend,
// or nil.
func refusal(err error) error {
	var cert *tls.CertificateVerificationError
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired),
		errors.Is(err, nats.ErrAuthRevoked), errors.Is(err, nats.ErrAccountAuthExpired):
		return fmt.Errorf("%w: check the user and password, token or credentials file", ErrRefused)
	case errors.As(err, &cert):
		return fmt.Errorf("%w: check the CA file and the host name in the URL", ErrRefused)
	case errors.Is(err, nats.ErrTLS), isAlert(err):
		return fmt.Errorf("%w: check the client certificate and key, and the server's log", ErrRefused)
	case errors.Is(err, nats.ErrSecureConnWanted):
		return fmt.Errorf("%w: the server offers no TLS: use nats:// and give no TLS files, or turn it on there", ErrRefused)
	}
	return nil
}

// isAlert reports whether the server ended the TLS connection with an alert.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error" // crypto/tls, conn.go
}

// options are those that do not depend on how Connect waits.
func (c Config) options() ([]nats.Option, error) {
	var complaints Complaints
	opts := []nats.Option{
		nats.Name(c.Name),
		nats.Timeout(dialTimeout),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectJitter, reconnectJitter),
		// Credentials may be put right while we run.
		nats.IgnoreAuthErrorAbort(),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // nil: we closed it
				c.Log.Warn().Err(err).Msg("lost the connection to NATS, reconnecting")
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			c.connected(nc, "connected to NATS again")
		}),
		nats.ErrorHandler(func(_ *nats.Conn, s *nats.Subscription, err error) {
			e, text := c.Log.Warn().Err(err), err.Error()
			if s != nil {
				e, text = e.Str("subject", s.Subject), s.Subject+" "+text
			}
			if complaints.Due(text) {
				e.Msg("NATS reported an error")
			}
		}),
	}
	if c.Inbox != "" {
		opts = append(opts, nats.CustomInboxPrefix(c.Inbox))
	}
	if c.InProcess != nil {
		return append(opts, nats.InProcessServer(c.InProcess)), nil
	}
	files, err := c.fileOptions()
	return append(opts, files...), err
}
