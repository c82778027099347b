// SPDX-License-Identifier: Apache-2.0

//go:build hubbletools

package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/renat-project/renat/internal/upkeep/docs"
	"github.com/renat-project/renat/internal/view/usage"
)

// hubbleReads lets the hubble command of make test-tools print flows.
func hubbleReads(t *testing.T, in []byte, format string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(os.Getenv("HUBBLE_TOOLS"), "hubble"), "observe", "--input-file", "-", "-o", format)
	cmd.Env = []string{"HOME=" + t.TempDir()}
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestStockToolsReadWhatEnrichWrites pipes recordings from hubble through
// renat enrich to hubble.
func TestStockToolsReadWhatEnrichWrites(t *testing.T) {
	for _, dir := range recordings {
		in := hubbleReads(t, unzipped(t, filepath.Join(dir, "flows.jsonl.gz")), "jsonpb")
		file := filepath.Join(t.TempDir(), "flows.jsonl")
		if err := os.WriteFile(file, in, 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if code := run(t.Context(), streams{out: &out, err: io.Discard}, []string{"enrich", "--recording", dir, "--input-file", file}); code != usage.Done {
			t.Fatalf("ended with %d", code)
		}
		incidents := bytes.Count(out.Bytes(), []byte(`"incident"`))
		lines := bytes.Count(in, []byte("\n"))
		for _, format := range []string{"json", "jsonpb", "compact"} {
			got := hubbleReads(t, out.Bytes(), format)
			mark := `"incident"`
			if format == "compact" {
				mark = " SNAT "
				incidents = bytes.Count(out.Bytes(), []byte(mark))
			}
			if n := bytes.Count(got, []byte("\n")); n != lines {
				t.Errorf("%s: %d lines of %d as %s", dir, n, lines, format)
			}
			if n := bytes.Count(got, []byte(mark)); n != incidents || n == 0 {
				t.Errorf("%s: %q is there %d times of %d as %s", dir, mark, n, incidents, format)
			}
		}
	}
}

// What docs/hubble.md shows of hubble's output is what hubble prints.
func TestStockToolsShowWhatIsDocumented(t *testing.T) {
	set, err := docs.Load("../..")
	if err != nil {
		t.Fatal(err)
	}
	all, err := set.Sessions()
	if err != nil {
		t.Fatal(err)
	}
	dir, env := shellDir(t)
	compared := 0
	for _, s := range all {
		if s.Output == "" || !strings.Contains(s.Command, "hubble observe") {
			continue
		}
		of := env(s.Command)
		of[0] += ":" + os.Getenv("HUBBLE_TOOLS")
		out, err := s.Run(t.Context(), dir, of)
		if err = errors.Join(err, s.Compare(out)); err != nil {
			t.Errorf("%s: %v", s.Where, err)
		}
		compared++
	}
	if compared == 0 {
		t.Error("no document shows any")
	}
}
