// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/recording"
	"github.com/renat-project/renat/internal/view/usage"
)

// recordings are real runs, see internal/recording/testdata/README.md.
var recordings = []string{
	"../../internal/recording/testdata/cilium-1.20.2",
	"../../internal/recording/testdata/cilium-1.15.19",
}

// result is what a command line did.
type result struct {
	code     int
	out, err string
}

// renat runs a command line in this process.
func renat(t *testing.T, args ...string) result {
	t.Helper()
	return renatUntil(t.Context(), args...)
}

func renatUntil(ctx context.Context, args ...string) result {
	var out, errs bytes.Buffer
	code := run(ctx, streams{in: strings.NewReader(""), out: &out, err: &errs}, args)
	return result{code, out.String(), errs.String()}
}

// must fails the test unless the command succeeded.
func (r result) must(t *testing.T) result {
	t.Helper()
	if r.code != usage.Done {
		t.Fatalf("exit code %d: %s", r.code, r.err)
	}
	return r
}

// incidents decodes the output of -o json.
func (r result) incidents(t *testing.T) (all []*incident.Incident) {
	t.Helper()
	for line := range strings.Lines(r.out) {
		i, err := incident.UnmarshalCloudEvent([]byte(line))
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, i)
	}
	return all
}

// variant writes a copy of a recording, uncompressed, whose lines edit may change.
func variant(t *testing.T, from string, edit func(name string, lines []string) []string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{recording.FlowsFile, recording.NATFile} {
		lines := edit(name, readLines(t, filepath.Join(from, name+".gz")))
		write(t, filepath.Join(dir, name), strings.Join(lines, ""))
	}
	meta, err := os.ReadFile(filepath.Join(from, recording.MetaFile))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, recording.MetaFile), string(meta))
	return dir
}

func readLines(t testing.TB, path string) (lines []string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	switch filepath.Ext(path) {
	case ".zst":
		z, err := zstd.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		if b, err = io.ReadAll(z); err != nil {
			t.Fatal(err)
		}
	case ".gz":
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if b, err = io.ReadAll(z); err != nil {
			t.Fatal(err)
		}
	}
	for line := range strings.Lines(string(b)) {
		lines = append(lines, line)
	}
	return lines
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
