// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/renat-project/renat/internal/upkeep/docs"
)

// asRenat in the environment makes the test's binary the program itself, for shells.
const asRenat = "TEST_BINARY_IS_RENAT"

func TestMain(m *testing.M) {
	if os.Getenv(asRenat) != "" {
		main() // ends the process
	}
	os.Exit(m.Run())
}

// exception is a kind of command line that is not run, and why.
type exception struct {
	line *regexp.Regexp
	why  string
}

// notRun are command lines that are not run here, and what they need.
var notRun = []exception{
	{regexp.MustCompile(`^(sudo )?(bin/)?renat (agent|lab|record)\b`), "a kernel to watch, and rights"},
	{regexp.MustCompile(`--follow|--watch|renat trace|^(bin/)?renat hub (--demo|--state-dir|--config hub.yaml --)`), "somebody who ends it"},
	{regexp.MustCompile(`nats://nats`), "a server of that name"},
	{regexp.MustCompile(`127\.0\.0\.1:99`), "an agent or hub on this machine's own ports"},
	{regexp.MustCompile(`\bhubble observe`), "hubble: make test-tools runs them"},
	{regexp.MustCompile(`^kubectl `), "a cluster"},
	{regexp.MustCompile(`^make `), "a machine of its own"},
	{regexp.MustCompile(`RECEIVER`), "a name in the place of a word"},
}

// shellDir is a folder as the documents have it in mind: the source's recordings, a
// recording, what was made of it, and a hub's configuration; bin/renat is this
// binary, and env lets it find an agent and NATS.
func shellDir(t *testing.T) (dir string, env func(command string) []string) {
	t.Helper()
	dir = t.TempDir()
	webhook := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(webhook.Close)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(
		os.Symlink(filepath.Join(root, "internal"), filepath.Join(dir, "internal")),
		os.Symlink(filepath.Join(root, "internal/recording/testdata/cilium-1.20.2"), filepath.Join(dir, "recording")),
		os.Mkdir(filepath.Join(dir, "bin"), 0o700),
		os.WriteFile(filepath.Join(dir, "bin", "renat"), []byte("#!/bin/sh\n"+asRenat+"=1 exec '"+self+"' \"$@\"\n"), 0o700),
		os.WriteFile(filepath.Join(dir, "hub.yaml"), []byte("receivers: [{name: ops, webhook: {url: '"+webhook.URL+"'}}]\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "cilium-config.yaml"), []byte("bpf-nat-global-max: \"131072\"\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "token"), []byte("a-long-enough-token\n"), 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
	url, agent := startNATS(t), startAgent(t)
	renat(t, "replay", recordings[0], "--nats-url", url).must(t)
	renat(t, "replay", recordings[0], "--state-dir", filepath.Join(dir, "store")).must(t)
	return dir, func(command string) []string {
		env := []string{"PATH=" + filepath.Join(dir, "bin") + ":" + os.Getenv("PATH"), "HOME=" + dir, "TZ=UTC"}
		switch {
		case regexp.MustCompile(`renat (status|nodes|top|at-risk|advise)`).MatchString(command):
			env = append(env, "RENAT_AGENT="+agent, "RENAT_TOKEN_FILE="+filepath.Join(dir, "token"))
		case !strings.Contains(command, "--state-dir") && !strings.Contains(command, "--recording"):
			env = append(env, "RENAT_NATS_URL="+url)
		}
		return env
	}
}

// Every command line of renat in the documents and in the help that needs nothing
// but a machine is run, and does what is shown.
func TestSessions(t *testing.T) {
	set, err := docs.Load("../..")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := set.Sessions()
	if err != nil {
		t.Fatal(err)
	}
	help, err := docs.Examples(commands())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("jq"); err != nil {
		t.Fatalf("%v: install Debian's jq", err)
	}
	dir, env := shellDir(t)
	ran, compared, needed := 0, 0, map[string]bool{}
	for _, s := range slices.Concat(pages, help) {
		if _, ours := s.Args("renat"); !ours {
			continue
		}
		needs := slices.IndexFunc(notRun, func(e exception) bool { return e.line.MatchString(s.Command) })
		if needs >= 0 {
			needed[notRun[needs].why] = true
			continue
		}
		out, err := s.Run(t.Context(), dir, env(s.Command))
		if err != nil && !strings.Contains(s.Command, "--fail-on") {
			t.Errorf("%s: %s: %v\n%s", s.Where, s.Command, err, out)
			continue
		}
		if err := s.Compare(out); err != nil {
			t.Errorf("%s: %s: %v", s.Where, s.Command, err)
		}
		if ran++; s.Output != "" {
			compared++
		}
	}
	t.Logf("%d were run, %d of them show what they write", ran, compared)
	if ran < 25 || compared < 3 || len(needed) != len(notRun) {
		t.Errorf("%d were run, %d compared; of what others need, %v is asked for", ran, compared, needed)
	}
}
