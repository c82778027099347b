// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/renat-project/renat/internal/web/api"
)

const secret = "correct-horse-battery-staple"

func tokenFile(t *testing.T, token string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// guard returns a handler behind access that says "in".
func guard(t *testing.T, c api.AccessConfig) http.Handler {
	t.Helper()
	a, err := api.NewAccess(c)
	if err != nil {
		t.Fatal(err)
	}
	return a.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
}

// request is one that a guard judges.
type request struct {
	from, host string
	tls        bool
	header     map[string]string
}

func (r request) ask(h http.Handler) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodGet, "/v1/nodes", nil)
	req.RemoteAddr, req.Host = r.from, r.host
	if r.tls {
		req.TLS = &tls.ConnectionState{}
	}
	for k, v := range r.header {
		req.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

func TestAccess(t *testing.T) {
	const local, away = "127.0.0.1:5000", "192.0.2.7:5000"
	open := guard(t, api.AccessConfig{})
	token := guard(t, api.AccessConfig{TokenFile: tokenFile(t, secret)})
	proxies := api.AccessConfig{UserHeader: "X-Forwarded-User", TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	proxy := guard(t, proxies)
	proxies.TokenFile = tokenFile(t, secret)
	both := guard(t, proxies)
	bearer := map[string]string{"Authorization": "Bearer " + secret}
	user := map[string]string{"X-Forwarded-User": "ada", "X-Forwarded-For": "192.0.2.7"}
	for name, c := range map[string]struct {
		guard http.Handler
		request
		want int
	}{
		"another site's page":            {open, request{from: local, host: "localhost:9972", header: map[string]string{"Sec-Fetch-Site": "cross-site"}}, 403},
		"a page of the same domain":      {token, request{from: local, host: "localhost:9972", header: map[string]string{"Sec-Fetch-Site": "same-site", "Authorization": "Bearer " + secret}}, 403},
		"its own page":                   {open, request{from: local, host: "localhost:9972", header: map[string]string{"Sec-Fetch-Site": "same-origin"}}, 200},
		"the address bar":                {open, request{from: local, host: "localhost:9972", header: map[string]string{"Sec-Fetch-Site": "none"}}, 200},
		"this machine":                   {open, request{from: local, host: "localhost:9972"}, 200},
		"by address":                     {open, request{from: "[::1]:5000", host: "[::1]:9972"}, 200},
		"mapped":                         {open, request{from: "[::ffff:127.0.0.1]:5000", host: "127.0.0.1"}, 200},
		"another machine":                {open, request{from: away, host: "localhost"}, 403},
		"another with TLS":               {open, request{from: away, host: "renat.example", tls: true}, 403},
		"a name that resolves here":      {open, request{from: local, host: "evil.example:9972"}, 403},
		"no name":                        {open, request{from: local}, 403},
		"through some proxy":             {open, request{from: local, host: "localhost", header: user}, 403},
		"token here":                     {token, request{from: local, host: "localhost", header: bearer}, 200},
		"token with TLS":                 {token, request{from: away, host: "renat.example", tls: true, header: bearer}, 200},
		"token in the open":              {token, request{from: away, host: "renat.example", header: bearer}, 403},
		"no token here":                  {token, request{from: local, host: "localhost"}, 401},
		"no token":                       {token, request{from: away, host: "renat.example", tls: true}, 401},
		"wrong token":                    {token, request{from: local, host: "localhost", header: map[string]string{"Authorization": "Bearer x"}}, 401},
		"not Bearer":                     {token, request{from: local, host: "localhost", header: map[string]string{"Authorization": secret}}, 401},
		"proxy":                          {proxy, request{from: "10.1.2.3:5000", host: "renat.example", header: user}, 200},
		"proxy without a user":           {proxy, request{from: "10.1.2.3:5000", host: "renat.example"}, 401},
		"somebody claims to be a proxy":  {proxy, request{from: away, host: "renat.example", header: user}, 403},
		"somebody here claims so":        {proxy, request{from: local, host: "localhost", header: user}, 403},
		"this machine beside a proxy":    {proxy, request{from: local, host: "localhost"}, 200},
		"proxy, and a token for others":  {both, request{from: "10.1.2.3:5000", host: "renat.example", header: user}, 200},
		"others with the token":          {both, request{from: away, host: "renat.example", tls: true, header: bearer}, 200},
		"others who claim to be a proxy": {both, request{from: away, host: "renat.example", tls: true, header: user}, 401},
	} {
		if w := c.ask(c.guard); w.Code != c.want || strings.Contains(w.Body.String(), secret) {
			t.Errorf("%s: %d, want %d: %s", name, w.Code, c.want, w.Body)
		}
	}
}

func TestSignIn(t *testing.T) {
	file := tokenFile(t, secret)
	h := guard(t, api.AccessConfig{TokenFile: file})
	post := func(method, body string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "https://renat.example/v1/session", strings.NewReader(body))
		for n := 0; n < len(header); n += 2 {
			r.Header.Set(header[n], header[n+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	right := `{"token":"` + secret + `"}`
	for name, c := range map[string]struct {
		*httptest.ResponseRecorder
		want int
	}{
		"wrong token":  {post(http.MethodPost, `{"token":"x"}`), 401},
		"no JSON":      {post(http.MethodPost, `token`), 400},
		"long":         {post(http.MethodPost, `{"token":"`+strings.Repeat("x", 10000)+`"}`), 400},
		"get":          {post(http.MethodGet, ""), 405},
		"another site": {post(http.MethodPost, right, "Sec-Fetch-Site", "cross-site"), 403},
	} {
		if c.Code != c.want || c.Header().Get("Set-Cookie") != "" {
			t.Errorf("%s: %d, want %d", name, c.Code, c.want)
		}
	}
	w := post(http.MethodPost, right, "Sec-Fetch-Site", "same-origin")
	cookie := w.Header().Get("Set-Cookie")
	for _, want := range []string{"HttpOnly", "Secure", "SameSite=Strict"} {
		if w.Code != http.StatusNoContent || !strings.Contains(cookie, want) || strings.Contains(cookie, secret) {
			t.Errorf("%d %s, want %s", w.Code, cookie, want)
		}
	}
	value, _, _ := strings.Cut(cookie, ";")
	ask := func(value string) int {
		return request{from: "192.0.2.7:1", host: "renat.example", tls: true, header: map[string]string{"Cookie": value}}.ask(h).Code
	}
	if got := ask(value); got != http.StatusOK {
		t.Errorf("with the cookie: %d", got)
	}
	if got := ask(strings.Replace(value, "=1", "=2", 1)); got != http.StatusUnauthorized {
		t.Errorf("with a later end: %d", got)
	}
	if err := os.WriteFile(file, []byte("another-token-of-enough-length"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := ask(value); got != http.StatusUnauthorized {
		t.Errorf("after the token was rotated: %d", got)
	}
	for range 20 {
		w = post(http.MethodPost, right)
	}
	if w.Code != http.StatusTooManyRequests {
		t.Errorf("after many attempts: %d", w.Code)
	}
	if w := post(http.MethodDelete, ""); w.Code != http.StatusNoContent || !strings.Contains(w.Header().Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("signing out: %d %s", w.Code, w.Header())
	}
}

func TestWrongAccess(t *testing.T) {
	for says, c := range map[string]api.AccessConfig{
		"no such file":         {TokenFile: "/does/not/exist"},
		"fewer than 16":        {TokenFile: tokenFile(t, "short")},
		"name both":            {UserHeader: "X-User"},
		"name both or neither": {TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
	} {
		if _, err := api.NewAccess(c); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "short\n") {
			t.Errorf("%+v: %v, want %s", c, err, says)
		}
	}
}
