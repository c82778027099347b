// SPDX-License-Identifier: Apache-2.0

package sysdump_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/renat-project/renat/internal/view/sysdump"
)

// read returns the files of a bundle by name, and the names in order.
func read(t *testing.T, raw []byte) (files map[string]string, names []string) {
	t.Helper()
	zipped, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	files = map[string]string{}
	for archive := tar.NewReader(zipped); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files, names
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name], names = string(body), append(names, h.Name)
	}
}

func text(s string) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) { return []byte(s), nil }
}

func TestBundle(t *testing.T) {
	secret := `nats://hub:geheim@nats.example:4222 Bearer abcdef0123 10.0.3.7:443 10.0.3.7 fd00::7 127.0.0.1 12:00:07 1.20.2 worker-1.example worker-1 ` +
		`https://hooks.example/services/x {"args":["--nats-url=nats://a:b@nats.example"]}`
	b := sysdump.Bundle{
		Time: time.Now(),
		Parts: []sysdump.Part{
			{Name: "nodes/worker-1/log.txt", Get: text(secret)},
			{Name: "nodes/worker-2/log.txt", Get: func(context.Context) ([]byte, error) { return nil, errors.New("worker-2 is away") }},
			{Name: "long.txt", Get: text(strings.Repeat("old ", 1<<19) + "newest")},
		},
		Redact: sysdump.NewRedactor(map[string]string{"worker-1": "node-1", "worker-1.example": "node-0", "worker-2": "node-2"}),
	}
	for range 30 {
		b.Parts = append(b.Parts, sysdump.Part{Name: "x", Get: text("x")})
	}
	var out bytes.Buffer
	missing, err := b.Write(t.Context(), &out)
	if err != nil || !slices.Equal(missing, []string{"nodes/node-2/log.txt: node-2 is away"}) {
		t.Errorf("%v, missing %q", err, missing)
	}
	files, names := read(t, out.Bytes())
	want := `nats://host-1:4222 Bearer … ip-3:443 ip-3 ip-4 127.0.0.1 12:00:07 1.20.2 node-0 node-1 https://host-2/services/x {"args":["--nats-url=nats://host-1"]}`
	if got := files["renat-sysdump/nodes/node-1/log.txt"]; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := files["renat-sysdump/long.txt"]; len(got) != 2<<20 || !strings.HasSuffix(got, "newest") {
		t.Errorf("of a long part %d bytes were kept", len(got))
	}
	if len(names) != 33 || names[32] != "renat-sysdump/missing.txt" || files[names[32]] != missing[0]+"\n" {
		t.Errorf("the files are %q", names)
	}

	b.Redact, b.Parts = nil, b.Parts[:1]
	out.Reset()
	if _, err := b.Write(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	files, _ = read(t, out.Bytes())
	if got := files["renat-sysdump/nodes/worker-1/log.txt"]; strings.Contains(got, "geheim") || strings.Contains(got, "abcdef0123") || strings.Contains(got, "a:b@") || !strings.Contains(got, "10.0.3.7:443") {
		t.Errorf("with names: %s", got)
	}
}

// Whoever ends it need not wait for who does not answer.
func TestBundleEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b := sysdump.Bundle{}
	for range 40 {
		b.Parts = append(b.Parts, sysdump.Part{Name: "x", Get: func(ctx context.Context) ([]byte, error) {
			cancel()
			<-ctx.Done()
			return nil, ctx.Err()
		}})
	}
	if _, err := b.Write(ctx, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
