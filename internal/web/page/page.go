// SPDX-License-Identifier: Apache-2.0

package page

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"
)

//go:embed static
var static embed.FS

// policy lets the page load its own files and ask its own server, nothing else;
// and no text become markup.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// file is one that is served.
type file struct {
	plain             []byte
	packed            func() []byte // by gzip, when somebody wants it
	contentType, etag string
}

// Handler serves the page: /, /incidents and /incidents/ID are its views.
func Handler() http.Handler {
	mux := http.NewServeMux()
	entries, err := static.ReadDir("static")
	if err != nil {
		panic(err) // the files are part of the program
	}
	for _, e := range entries {
		f := load(e.Name())
		if e.Name() == "index.html" {
			for _, view := range []string{"GET /{$}", "GET /incidents", "GET /incidents/{id}"} {
				mux.HandleFunc(view, f.serve)
			}
			continue
		}
		mux.HandleFunc("GET /assets/"+e.Name(), f.serve)
	}
	return mux
}

func load(name string) *file {
	plain, err := static.ReadFile("static/" + name)
	if err != nil {
		panic(err) // see Handler
	}
	sum := sha256.Sum256(plain)
	packed := sync.OnceValue(func() []byte { return pack(plain) })
	return &file{plain, packed, mime.TypeByExtension(path.Ext(name)), `"` + hex.EncodeToString(sum[:8]) + `"`}
}

func pack(plain []byte) []byte {
	var packed bytes.Buffer
	z, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression) // the level is a valid one
	_, _ = z.Write(plain)                                      // memory takes everything
	_ = z.Close()
	return packed.Bytes()
}

func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache")
	h.Set("Vary", "Accept-Encoding")
	h.Set("ETag", f.etag)
	if r.Header.Get("If-None-Match") == f.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", f.contentType)
	body := f.plain
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = f.packed()
	}
	_, _ = w.Write(body) // who asked has gone
}
