// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/renat-project/renat/internal/web/page"
)

func get(path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for n := 0; n < len(header); n += 2 {
		r.Header.Set(header[n], header[n+1])
	}
	w := httptest.NewRecorder()
	page.Handler().ServeHTTP(w, r)
	return w
}

func TestViewsAreOnePage(t *testing.T) {
	for path, want := range map[string]int{
		"/": 200, "/incidents": 200, "/incidents?kind=renat": 200, "/incidents/0123": 200,
		"/assets/app.js": 200, "/assets/style.css": 200, "/assets/icon.svg": 200, "/assets/licences.txt": 200,
		"/nodes": 404, "/assets/": 404, "/assets/index.html": 404, "/assets/../page.go": 404,
	} {
		if w := get(path); w.Code != want && (want != 404 || w.Code != http.StatusTemporaryRedirect) {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
	if w := get("/"); w.Header().Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("content type %s", w.Header().Get("Content-Type"))
	}
}

// The page loads nothing from elsewhere, and its policy would not let it.
func TestOnlyItsOwn(t *testing.T) {
	w := get("/")
	for _, want := range []string{"default-src 'none'", "script-src 'self';", "style-src 'self';", "connect-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
		if got := w.Header().Get("Content-Security-Policy"); !strings.Contains(got, want) {
			t.Errorf("policy %q lacks %q", got, want)
		}
	}
	elsewhere := regexp.MustCompile(`(?:src|href)="[^/]|url\(["']?[^#)]|@import|<script>|<style| on\w+=`)
	for _, path := range []string{"/", "/assets/style.css"} {
		if found := elsewhere.FindString(get(path).Body.String()); found != "" {
			t.Errorf("%s has %q", path, found)
		}
	}
}

func TestCaching(t *testing.T) {
	w := get("/assets/app.js", "Accept-Encoding", "gzip")
	z, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := io.ReadAll(z)
	if err != nil || string(unpacked) != get("/assets/app.js").Body.String() {
		t.Errorf("packed and plain differ: %v", err)
	}
	if again := get("/assets/app.js", "If-None-Match", w.Header().Get("ETag")); again.Code != http.StatusNotModified || again.Body.Len() > 0 {
		t.Errorf("asked again: %d, %d bytes", again.Code, again.Body.Len())
	}
}

// budget is how large JavaScript and CSS may be together, compressed.
const budget = 200_000

func TestBudget(t *testing.T) {
	size := 0
	for _, path := range []string{"/assets/app.js", "/assets/style.css"} {
		size += get(path, "Accept-Encoding", "gzip").Body.Len()
	}
	t.Logf("%d bytes compressed", size)
	if size > budget {
		t.Errorf("%d bytes compressed, more than %d", size, budget)
	}
}
