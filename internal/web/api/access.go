// SPDX-License-Identifier: Apache-2.0

package api

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// AccessConfig says who may ask. The zero value lets in this machine only.
type AccessConfig struct {
	// TokenFile has the bearer token, read at each request so that it can be
	// rotated; "": there is none. With a token everybody needs it, this
	// machine too, and from elsewhere TLS.
	TokenFile string
	// UserHeader is the header in which a proxy names who it has let in. It
	// counts only in requests from TrustedProxies, and those need it.
	UserHeader     string
	TrustedProxies []netip.Prefix
}

// Access lets requests in or not. The zero Access lets in this machine only.
type Access struct {
	config  AccessConfig
	signIns *rate.Limiter
	foreign http.CrossOriginProtection
}

// minToken is how long a token must be, in bytes.
const minToken = 16

// NewAccess checks the configuration.
func NewAccess(c AccessConfig) (*Access, error) {
	a := &Access{config: c, signIns: rate.NewLimiter(rate.Every(time.Second), 10)}
	if c.TokenFile != "" {
		if _, err := a.token(); err != nil {
			return nil, err
		}
	}
	if (c.UserHeader == "") != (len(c.TrustedProxies) == 0) {
		return nil, errors.New("a header with the user's name and the proxies that may set it go together: name both or neither")
	}
	return a, nil
}

func (a *Access) token() (string, error) {
	b, err := os.ReadFile(a.config.TokenFile)
	if err != nil {
		return "", fmt.Errorf("reading the token: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if len(token) < minToken {
		return "", fmt.Errorf("the token in %s has fewer than %d characters: make one with openssl rand -hex 32", a.config.TokenFile, minToken)
	}
	return token, nil
}

// Wrap lets requests through to next, and serves /v1/session, where a browser
// exchanges the token for a cookie.
func (a *Access) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == sessionPath {
			a.session(w, r)
			return
		}
		if err := fromElsewhere(r); err != nil {
			Refuse(w, err)
			return
		}
		if err := a.check(r); err != nil {
			if err.Status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Bearer realm="renat"`)
			}
			w.Header().Set("Cache-Control", "no-store")
			Refuse(w, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// fromElsewhere refuses what a browser asks for in another site's name: that
// cannot read the answer, but it could make a node read its maps. What is not a
// browser does not say where it comes from. The page itself can be linked to.
func fromElsewhere(r *http.Request) *Problem {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return nil
	}
	return &Problem{Status: http.StatusForbidden, Title: "another site asks", Detail: "this is answered to renat's own page and to programs only"}
}

// check returns nil for who may pass.
func (a *Access) check(r *http.Request) *Problem {
	if a.fromProxy(r) {
		if r.Header.Get(a.config.UserHeader) == "" {
			return &Problem{Status: http.StatusUnauthorized, Title: "not signed in", Detail: "the proxy did not name a user in " + a.config.UserHeader}
		}
		return nil
	}
	if a.config.TokenFile == "" {
		if isLocal(r) {
			return nil
		}
		return &Problem{Status: http.StatusForbidden, Title: "only for this machine",
			Detail: "this is served to its own machine only (kubectl port-forward counts), not to " + r.RemoteAddr +
				"; to open it, configure TLS and a bearer token, or a trusted proxy: see docs/page.md"}
	}
	if p := private(r); p != nil {
		return p
	}
	token, err := a.token()
	if err != nil {
		return &Problem{Status: http.StatusServiceUnavailable, Title: "no token", Detail: "the file with the token cannot be used: see the log of the start, or the file"}
	}
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if ok && same(bearer, token) || validCookie(r, token, time.Now()) {
		return nil
	}
	return &Problem{Status: http.StatusUnauthorized, Title: "not signed in", Detail: "send the token: Authorization: Bearer …"}
}

// private refuses to take or ask for a token where others could read it.
func private(r *http.Request) *Problem {
	if r.TLS != nil || isLocal(r) {
		return nil
	}
	return &Problem{Status: http.StatusForbidden, Title: "TLS is needed", Detail: "a token is not taken over an open connection: use https"}
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func (a *Access) fromProxy(r *http.Request) bool {
	from, ok := remote(r)
	return ok && slices.ContainsFunc(a.config.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(from) })
}

func remote(r *http.Request) (netip.Addr, bool) {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	return from.Addr().Unmap(), err == nil
}

// forwarded are headers that proxies add: who comes through one that is not
// trusted is not this machine.
var forwarded = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"}

// isLocal reports whether this machine asks for itself: from a loopback
// address, and by a loopback name, because a page elsewhere can have its own
// name resolve to loopback (DNS rebinding).
func isLocal(r *http.Request) bool {
	from, ok := remote(r)
	if !ok || !from.IsLoopback() || slices.ContainsFunc(forwarded, func(h string) bool { return r.Header.Get(h) != "" }) {
		return false
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return addr.IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}
