// SPDX-License-Identifier: Apache-2.0

package notification

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// ClientConfig is how to reach a destination.
type ClientConfig struct {
	// CA, Cert and Key are PEM files: who signed the server's certificate
	// (empty: the system's authorities), and a client certificate.
	CA, Cert, Key string
	// Proxy is the URL of a proxy; empty: HTTPS_PROXY and its like decide.
	Proxy string
	// Timeout of one attempt; 0: only the context's.
	Timeout time.Duration
}

// Client returns an HTTP client. It follows no redirect: a notification is
// never sent to where its signature and token were not meant to go.
func Client(c ClientConfig) (*http.Client, error) {
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 2,
		IdleConnTimeout:     90 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second,
	}
	if c.Proxy != "" {
		u, err := url.Parse(c.Proxy)
		if err != nil || u.Host == "" {
			return nil, errors.New("the proxy is not a URL like http://proxy.example:3128")
		}
		t.Proxy = http.ProxyURL(u)
	}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("reading the CA file: %w", err)
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("the CA file %s holds no certificate in PEM", c.CA)
		}
	}
	if c.Cert != "" || c.Key != "" {
		if _, err := tls.LoadX509KeyPair(c.Cert, c.Key); err != nil {
			return nil, fmt.Errorf("reading the client certificate: %w", err)
		}
		// Read again at every handshake, so that it can be rotated.
		t.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
			return &pair, err
		}
	}
	return &http.Client{
		Transport:     t,
		Timeout:       c.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// maxAnswer is how much of an answer is read, maxSaid how much of a refusal an
// error repeats; in bytes.
const (
	maxAnswer = 1 << 20
	maxSaid   = 200
)

// Post is Do with the method POST.
func Post(ctx context.Context, client *http.Client, target string, header http.Header, body []byte, secrets ...string) ([]byte, error) {
	return Do(ctx, client, http.MethodPost, target, header, body, secrets...)
}

// Do sends body to target and returns the answer's body; there is no error if
// its status is 2xx. The error is an *Error that says what kind of failure it is
// and names of target only scheme and host; whatever of secrets, or of target's
// path, query and user, the server repeats in its answer is left out of it.
func Do(ctx context.Context, client *http.Client, method, target string, header http.Header, body []byte, secrets ...string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, Refuse(errors.New("the destination's URL is not one")) // the cause would repeat it
	}
	req.Header = header.Clone()
	req.Header.Set("User-Agent", "renat")
	where := req.URL.Scheme + "://" + req.URL.Host
	resp, err := client.Do(req)
	if err != nil {
		return nil, &Error{Err: fmt.Errorf("reaching %s: %w", where, Cause(err))}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode/100 == 2 {
		if err != nil {
			return nil, &Error{Err: fmt.Errorf("reading the answer of %s: %w", where, Cause(err))}
		}
		return answer, nil
	}
	secrets = append(secrets, partsOf(req.URL)...)
	err = fmt.Errorf("%s answered %d %s", where, resp.StatusCode, http.StatusText(resp.StatusCode))
	if said := Redact(string(answer), secrets...); said != "" {
		err = fmt.Errorf("%w: %s", err, said)
	}
	return answer, Status(resp.StatusCode, resp.Header, err)
}

// Status returns err as what an answer that is not 2xx means: 408, 425, 429
// and 5xx may pass, everything else not, 410 is for good.
func Status(code int, h http.Header, err error) error {
	e := &Error{Err: err, Code: code, After: retryAfter(h, time.Now())}
	switch {
	case code == http.StatusGone:
		e.Gone, e.Refused = true, true
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests, code >= 500:
	default:
		e.Refused = true
	}
	return e
}

// Cause returns what is inside an error of net/http, which itself repeats the
// whole URL.
func Cause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// partsOf returns what of a URL may be secret.
func partsOf(u *url.URL) []string {
	parts := []string{u.String(), u.EscapedPath(), u.Path, u.RawQuery}
	for _, s := range strings.Split(u.Path, "/") {
		if len(s) >= 8 { // a shorter word is no secret, and may be part of any sentence
			parts = append(parts, s)
		}
	}
	for _, vs := range u.Query() {
		parts = append(parts, vs...)
	}
	if u.User != nil {
		p, _ := u.User.Password()
		parts = append(parts, u.User.Username(), p)
	}
	return parts
}

// Redact returns the beginning of s on one line, without control characters
// and without any of secrets that is longer than one byte.
func Redact(s string, secrets ...string) string {
	for _, secret := range secrets {
		if len(secret) > 1 {
			s = strings.ReplaceAll(s, secret, "[redacted]")
		}
	}
	return strings.TrimSpace(Cut(Line(s), maxSaid))
}
