// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/renat-project/renat/internal/view/usage"
	"github.com/renat-project/renat/sinks/slack/slacktest"
)

// blocks returns the blocks of a document that are in a language.
func blocks(t *testing.T, file, language string) (blocks []string) {
	t.Helper()
	b, err := os.ReadFile("../../docs/" + file)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(b), -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// The document's commands are run as they are written, against a stand-in for Slack.
func TestNotificationsDoc(t *testing.T) {
	yaml, commands := blocks(t, "notifications.md", "yaml"), blocks(t, "notifications.md", "sh")
	repo, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if err := os.Symlink(filepath.Join(repo, "internal"), "internal"); err != nil {
		t.Fatal(err)
	}
	slack := slacktest.New()
	defer slack.Close()
	write(t, "hub.yaml", yaml[0])
	write(t, "slack-url", slack.URL+slacktest.WebhookPath+"\n")
	t.Setenv("RENAT_LISTEN", "127.0.0.1:0")
	for _, block := range commands {
		for command := range strings.Lines(block) {
			args := strings.Fields(command)[1:]
			if strings.Join(args[:2], " ") != "hub --config" {
				renat(t, args...).must(t)
				continue
			}
			before, _ := slack.Messages()
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			go func() {
				for ctx.Err() == nil {
					if now, _ := slack.Messages(); len(now) > len(before)+1 {
						stop() // as Ctrl-C does
					}
					time.Sleep(10 * time.Millisecond)
				}
			}()
			if r := renatUntil(ctx, args...); r.code != usage.Done {
				t.Fatalf("%s: %d: %s", command, r.code, r.err)
			}
			stop()
		}
	}
	all, _ := slack.Messages()
	if len(all) < 3 || !strings.HasPrefix(all[0].Text, "TEST: ") || !strings.Contains(all[1].Blocks[1].Text.Text, "evicted their entries") {
		t.Errorf("%d messages: %+v", len(all), all)
	}
	t.Setenv("WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	t.Setenv("WEBHOOK_SECRET_BEFORE", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
	t.Setenv("SLACK_TOKEN", slacktest.Token)
	for _, text := range yaml[1:] {
		write(t, "example.yaml", text)
		args := []string{"hub", "--check-config", "--config", "example.yaml"}
		if strings.Contains(text, "kubernetes_events") {
			args = append(args, "--without-secrets") // those of a pod
		}
		renat(t, args...).must(t)
	}
}

func TestHubUsage(t *testing.T) {
	dir := t.TempDir()
	bad, good := filepath.Join(dir, "bad.yaml"), filepath.Join(dir, "good.yaml")
	write(t, bad, "receivers:\n  - name: x\n    colour: red\n")
	write(t, good, "receivers:\n  - name: x\n    webhook: {url: 'http://127.0.0.1:1/VerySecret'}\n")
	for _, c := range []struct {
		args []string
		code int
		say  string
	}{
		{[]string{"hub", "--listen", ""}, usage.Wrong, "--config"},
		{[]string{"hub", "--page-incidents", "0"}, usage.Wrong, "--page-incidents 0"},
		{[]string{"hub", "--http-tls-cert-file", "x"}, usage.Wrong, "--http-tls-key-file"},
		{[]string{"hub", "--http-tls-cert-file", "x", "--http-tls-key-file", "y", "--listen", "127.0.0.1:0"}, usage.Failed, "no such file"},
		{[]string{"hub", "--http-token-file", filepath.Join(dir, "none")}, usage.Failed, "--http-token-file: reading the token"},
		{[]string{"hub", "--http-user-header", "X-User"}, usage.Wrong, "--http-trusted-proxies"},
		{[]string{"hub", "--http-user-header", "X-User", "--http-trusted-proxies", "10.0.0"}, usage.Wrong, `"10.0.0" is neither`},
		{[]string{"hub", "--check-config", "--config", bad}, usage.Failed, `line 3: there is no key "colour"`},
		{[]string{"hub", "--check-config", "--config", filepath.Join(dir, "none")}, usage.Failed, "no such file"},
		{[]string{"hub", "--without-secrets", "--config", bad}, usage.Wrong, "--without-secrets is for --check-config only"},
		{[]string{"hub", "--external-url", "renat.example", "--config", bad}, usage.Wrong, `--external-url "renat.example" is not a URL`},
		{[]string{"hub", "--config", bad}, usage.Failed, "line 3"},
		{[]string{"hub", "--config", good, "--listen", "nonsense"}, usage.Failed, "--listen"},
		{[]string{"hub", "extra", "--config", good}, usage.Wrong, "extra"},
		{[]string{"hub", "test-notification", "--config", good}, usage.Wrong, "is missing"},
		{[]string{"hub", "test-notification", "y", "--config", good}, usage.Wrong, `no receiver "y"`},
		{[]string{"hub", "test-notification", "x", "--config", good}, usage.Failed, "did not take the sample: reaching http://127.0.0.1:1:"},
		{[]string{"hub", "redeliver", "--receiver", "y", "--config", good}, usage.Wrong, `no receiver "y"`},
	} {
		r := renat(t, c.args...)
		if r.code != c.code || !strings.Contains(r.err, c.say) || strings.Contains(r.err, "VerySecret") {
			t.Errorf("renat %s: exit code %d, %s", strings.Join(c.args, " "), r.code, r.err)
		}
	}
}

// A changed file is read again by a running hub.
func TestHubReloadsChangedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hub.yaml")
	write(t, path, "receivers:\n  - {name: one, webhook: {url: 'http://127.0.0.1:1'}}\n")
	address := freeAddress(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan result, 1)
	go func() {
		ended <- renatUntil(ctx, "hub", "--config", path, "--state-dir", t.TempDir(), "--listen", address)
	}()
	has := func(want string) func() bool {
		return func() bool {
			b, err := get("http://" + address + "/metrics")
			return err == nil && strings.Contains(b, want)
		}
	}
	until(t, has(`renat_hub_groups{receiver="one"}`))
	write(t, path, "receivers:\n  - {name: two, webhook: {url: 'http://127.0.0.1:1'}}\n")
	until(t, has(`renat_hub_groups{receiver="two"}`))
	write(t, path, "receivers: nonsense\n")
	until(t, has("renat_hub_config_last_reload_successful 0"))
	if !has(`renat_hub_groups{receiver="two"}`)() {
		t.Error("the old configuration is not kept")
	}
	stop()
	if r := <-ended; r.code != usage.Done || !strings.Contains(r.err, "keeping the old one") {
		t.Errorf("exit code %d: %s", r.code, r.err)
	}
}

// The link that docs/page.md shows is one that a receiver can have.
func TestPageDocLink(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hub.yaml")
	write(t, path, "receivers:\n  - name: x\n    webhook: {url: 'http://127.0.0.1:1'}\n    "+blocks(t, "page.md", "yaml")[0])
	renat(t, "hub", "--check-config", "--config", path).must(t)
}

// Without receivers a hub serves what a replay stored.
func TestHubServesThePage(t *testing.T) {
	store, address := t.TempDir(), freeAddress(t)
	renat(t, "replay", recordings[0], "--state-dir", store).must(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan result, 1)
	go func() { ended <- renatUntil(ctx, "hub", "--state-dir", store, "--listen", address) }()
	until(t, func() bool {
		list, err := get("http://" + address + "/v1/incidents?kind=renat&limit=1")
		return err == nil && strings.Contains(list, `"total":2,`)
	})
	page, err := get("http://" + address + "/incidents?kind=renat")
	if err != nil || !strings.Contains(page, `src="/assets/app.js"`) {
		t.Errorf("%v: %s", err, page)
	}
	stop()
	if r := <-ended; r.code != usage.Done {
		t.Errorf("exit code %d: %s", r.code, r.err)
	}
}

func get(url string) (string, error) {
	resp, err := http.Get(url) //nolint:gosec // the test's own
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func until(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}
