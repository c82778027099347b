// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/pflag"

	"github.com/renat-project/renat/internal/view/usage"
	"github.com/renat-project/renat/internal/web/api"
)

// httpFlags say where to serve HTTP, and to whom.
type httpFlags struct {
	listen     string
	cert, key  string
	token      string
	userHeader string
	proxies    []string
}

func (h *httpFlags) register(f *pflag.FlagSet, listen string) {
	f.StringVar(&h.listen, "listen", listen, "where to serve the page, /v1, /metrics, /healthz and /readyz; empty: nowhere")
	f.StringVar(&h.cert, "http-tls-cert-file", "", "file with the certificate, for TLS on --listen; it may be renewed")
	f.StringVar(&h.key, "http-tls-key-file", "", "file with its key")
	f.StringVar(&h.token, "http-token-file", "", "file with the bearer token that the page and /v1 ask for; without, they answer to this machine only")
	f.StringVar(&h.userHeader, "http-user-header", "", "header in which a proxy names the user it let in; see --http-trusted-proxies")
	f.StringSliceVar(&h.proxies, "http-trusted-proxies", nil, "networks of the proxies whose --http-user-header counts")
}

// access returns who may see the page.
func (h *httpFlags) access() (*api.Access, error) {
	c := api.AccessConfig{TokenFile: h.token, UserHeader: h.userHeader}
	for _, s := range h.proxies {
		p, err := netip.ParsePrefix(s)
		if addr, e := netip.ParseAddr(s); e == nil {
			p, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return nil, usage.Errorf("--http-trusted-proxies %q is neither an address nor a network", s)
		}
		c.TrustedProxies = append(c.TrustedProxies, p)
	}
	if (c.UserHeader == "") != (len(c.TrustedProxies) == 0) {
		return nil, usage.Errorf("--http-user-header and --http-trusted-proxies go together")
	}
	a, err := api.NewAccess(c)
	if err != nil {
		return nil, fmt.Errorf("--http-token-file: %w", err)
	}
	return a, nil
}

// url is where people find what is served on l.
func (h *httpFlags) url(l net.Listener) string {
	scheme := "http"
	if h.cert != "" {
		scheme = "https"
	}
	host, port, _ := net.SplitHostPort(l.Addr().String()) // it is one
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// isLoopback says whether only this machine reaches an address.
func isLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	ip, notIP := netip.ParseAddr(host)
	return err == nil && (host == "localhost" || notIP == nil && ip.IsLoopback())
}

// newServer serves h; what a client did wrong is a line of log.
func newServer(h http.Handler, log zerolog.Logger) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, ErrorLog: stdlog.New(log, "", 0)}
}

// open opens the socket; nil if nothing is to be served.
func (h *httpFlags) open(ctx context.Context) (net.Listener, error) {
	if (h.cert == "") != (h.key == "") {
		return nil, usage.Errorf("--http-tls-cert-file and --http-tls-key-file go together")
	}
	if h.listen == "" {
		return nil, nil
	}
	if h.token != "" && h.cert == "" && !isLoopback(h.listen) {
		return nil, usage.Errorf("--http-token-file without TLS: whoever is on the way to --listen %s could read the token; add --http-tls-cert-file and --http-tls-key-file", h.listen)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", h.listen)
	if err != nil {
		return nil, fmt.Errorf("serving HTTP, choose another address with --listen: %w", err)
	}
	if h.cert == "" {
		return l, nil
	}
	load := func() (*tls.Certificate, error) {
		c, err := tls.LoadX509KeyPair(h.cert, h.key)
		return &c, err
	}
	if _, err := load(); err != nil {
		l.Close()
		return nil, fmt.Errorf("reading --http-tls-cert-file and --http-tls-key-file: %w", err)
	}
	// Read at each handshake, which is rare here: certificates are renewed.
	return tls.NewListener(l, &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return load() },
	}), nil
}
