// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/renat-project/renat/internal/view/usage"
)

func TestVersion(t *testing.T) {
	var v struct{ Program, Version, Platform, Go string }
	got := renat(t, "version", "-o", "json").must(t)
	if err := json.Unmarshal([]byte(got.out), &v); err != nil || v.Program != "renat" || v.Version == "" || v.Platform != runtime.GOOS+"/"+runtime.GOARCH || v.Go != runtime.Version() {
		t.Errorf("%v: %s", err, got.out)
	}
	if line := renat(t, "version").must(t).out; line != "renat "+v.Version+" "+v.Platform+" "+v.Go+"\n" {
		t.Errorf("got %q", line)
	}
	if short := renat(t, "--version").must(t).out; short != "renat "+v.Version+"\n" {
		t.Errorf("got %q", short)
	}
	if got := renat(t, "version", "-o", "xml"); got.code != usage.Wrong || !strings.Contains(got.err, "not one of json, yaml") {
		t.Errorf("exit %d, %s", got.code, got.err)
	}
}

// What contradicts itself is refused, not ignored.
func TestContradictions(t *testing.T) {
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte(strings.Repeat("0123456789abcdef", 2)), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"[nats-url state-dir]":                           {"observe", "--state-dir", dir, "--nats-url", "nats://127.0.0.1:1"},
		"if any flags in the group [nats-url state-dir]": {"describe", "142cbfff", "--state-dir", dir, "--nats-url", "nats://127.0.0.1:1"},
		"whoever is on the way to --listen 0.0.0.0:0":    {"hub", "--state-dir", dir, "--listen", "0.0.0.0:0", "--http-token-file", token},
	} {
		if got := renat(t, args...); got.code != usage.Wrong || !strings.Contains(got.err, want) {
			t.Errorf("%v: exit %d, %s", args, got.code, got.err)
		}
	}
}

// Who forgot -o jsonpb is told, and gets what came in.
func TestEnrichOfText(t *testing.T) {
	text := "Nov 22 22:52:06.926: shop/client <- 192.168.50.2:443 to-endpoint FORWARDED\n"
	file := filepath.Join(t.TempDir(), "flows.txt")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := renat(t, "enrich", "--recording", recordings[0], "--input-file", file).must(t); got.out != text || !strings.Contains(got.err, "hubble observe -o jsonpb") {
		t.Errorf("%q, %q", got.out, got.err)
	}
}

// A client that does not speak TLS is a line of the log, as everything else is.
func TestMistakesOfClientsAreLogged(t *testing.T) {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	server := newServer(http.NotFoundHandler(), zerolog.New(w))
	go func() { _ = server.Serve(tls.NewListener(plain, &tls.Config{Certificates: []tls.Certificate{{}}})) }() // until it is closed
	defer server.Close()
	client, err := net.Dial("tcp", plain.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := io.WriteString(client, "this is no TLS\n"); err != nil {
		t.Fatal(err)
	}
	var event struct{ Message string }
	if err := json.NewDecoder(r).Decode(&event); err != nil || !strings.Contains(event.Message, "TLS handshake error") {
		t.Errorf("%v: the log says %q", err, event.Message)
	}
}
