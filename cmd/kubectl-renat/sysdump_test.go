// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/renat-project/renat/internal/view/usage"
)

// dumped runs sysdump, and returns the files of the bundle.
func dumped(t *testing.T, s *apiServer, args ...string) (files map[string]string, errs string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "dump.tar.gz")
	code, out, errs := s.renat(t, append([]string{"sysdump", name}, args...)...)
	if code != usage.Done || out != name+"\n" {
		t.Fatalf("exit %d, %s%s", code, out, errs)
	}
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	zipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	files = map[string]string{}
	for archive := tar.NewReader(zipped); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files, errs
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(h.Name, "renat-sysdump/")] = string(body)
	}
}

func TestSysdump(t *testing.T) {
	s := threeNodes(t)
	s.hubs = []testPod{hubPod("renat-hub-a", active)}
	files, errs := dumped(t, s, "--log-lines", "7")
	for name, part := range map[string]string{
		"status.txt": "Agents               3: 1 breaking, 1 evicting, 1 ok", "cilium-config.json": `"bpf-map-dynamic-size-ratio": 0.0025`,
		"agents/node-1/status.json": `"node":"node-1","cluster":"cluster"`, "agents/node-1/log.txt": "now of agent-1, 7 lines: ip-",
		"agents/node-3/log-before.txt": "before of agent-3", "agents/node-3/pod.json": `"--nats-url=nats://host-`,
		"hubs/hub-1/status.json": `"name":"hub-1"`, "missing.txt": "agents/node-1/readyz.txt: it answered 404",
	} {
		if !strings.Contains(files[name], part) {
			t.Errorf("%s lacks %q: %s", name, part, files[name])
		}
	}
	for name, text := range files {
		for _, secret := range []string{"geheim", "of-the-environment", "10.0.1.10", "compute.internal", "renat-agent-", "renat-hub-a", "nats.example"} {
			if strings.Contains(name+text, secret) {
				t.Errorf("%s tells %q: %s", name, secret, text)
			}
		}
	}
	if _, there := files["agents/node-1/log-before.txt"]; there || !strings.Contains(errs, "files could not be had") {
		t.Errorf("a log of nothing; %s", errs)
	}
	s.forbidden["get pods/log"] = true
	if files, _ = dumped(t, s, "--redact=false"); !strings.Contains(files["missing.txt"], "resources: [pods/log]") || !strings.Contains(files["agents/node-c/pod.json"], "renat-agent-node-c") || strings.Contains(files["agents/node-c/pod.json"], "geheim") {
		t.Errorf("got %q", files)
	}
	if code, _, errs := s.renat(t, "sysdump", "sysdump_test.go"); code != usage.Failed || !strings.Contains(errs, "file exists") {
		t.Errorf("another's file: exit %d, %s", code, errs)
	}
}
